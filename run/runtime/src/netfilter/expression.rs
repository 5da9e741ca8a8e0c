//! What rules are made of: expressions that load, compare and decide, from left to right. The first that
//! does not hold ends its rule.

use super::attribute::{Attributes, nested};
use freehold_model::manifest::Protocol;
use std::net::Ipv4Addr;

/// The first register of 16 bytes; its four parts are numbered from 8 on, and this is the first of them too.
const FIRST: u32 = 1;
const SECOND_PART: u32 = 9;
const THIRD_PART: u32 = 10;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Drop,
    Accept,
    Jump(&'a str),
}

impl Verdict<'_> {
    pub(super) fn code(self) -> i32 {
        match self {
            Verdict::Drop => 0,
            Verdict::Accept => 1,
            Verdict::Jump(_) => -3,
        }
    }

    /// As the data of an expression or an element.
    pub(super) fn encoded(self) -> Vec<u8> {
        let verdict = nested(|verdict| {
            let verdict = verdict.word(1, self.code() as u32);
            if let Verdict::Jump(chain) = self { verdict.text(2, chain) } else { verdict }
        });
        nested(|data| data.raw(2, true, &verdict))
    }
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr<'a> {
    /// Loads a property of the packet that is not in it.
    Meta(u32),
    /// Loads bytes of the packet: the header (1 network, 2 transport), where, how many, into which register.
    Payload { header: u32, offset: u32, size: u32, register: u32 },
    /// Loads the protocol into a part of the first register.
    ProtocolInto(u32),
    /// Loads how far the connection is.
    State,
    /// Keeps some bits of the first register.
    Mask(Vec<u8>),
    /// The first register begins with these bytes, or does not.
    Is(bool, Vec<u8>),
    /// The first register, from its beginning, is in the set.
    In(&'a str),
    /// The verdict that the map has for the first register.
    VerdictOf(&'a str),
    /// Counts what came so far.
    Count,
    /// The end of the rule.
    Then(Verdict<'a>),
    /// The sender is told that this is forbidden.
    Reject,
    /// The packet leaves with the address of the interface that it leaves by.
    Masquerade,
    /// Loads a port.
    Port(u16),
    /// The packet is for the node itself, at the port that was loaded.
    Redirect,
}

impl Expr<'_> {
    pub(super) fn encoded(&self) -> Vec<u8> {
        let (name, data) = self.parts();
        nested(|expression| expression.text(1, name).raw(2, true, &data))
    }

    fn parts(&self) -> (&'static str, Vec<u8>) {
        let value = |bytes: &[u8]| nested(|data| data.raw(1, false, bytes));
        let attributes = Attributes::new();
        let (name, attributes) = match self {
            Expr::Meta(key) => ("meta", attributes.word(2, *key).word(1, FIRST)),
            Expr::ProtocolInto(register) => ("meta", attributes.word(2, L4PROTO).word(1, *register)),
            Expr::Payload { header, offset, size, register } => {
                ("payload", attributes.word(1, *register).word(2, *header).word(3, *offset).word(4, *size))
            }
            Expr::State => ("ct", attributes.word(2, 0).word(1, FIRST)),
            Expr::Mask(mask) => {
                let attributes = attributes.word(1, FIRST).word(2, FIRST).word(3, mask.len() as u32);
                ("bitwise", attributes.raw(4, true, &value(mask)).raw(5, true, &value(&vec![0; mask.len()])))
            }
            Expr::Is(equal, bytes) => {
                ("cmp", attributes.word(1, FIRST).word(2, u32::from(!equal)).raw(3, true, &value(bytes)))
            }
            Expr::In(set) => ("lookup", attributes.text(1, set).word(2, FIRST)),
            Expr::VerdictOf(map) => ("lookup", attributes.text(1, map).word(2, FIRST).word(3, 0)),
            Expr::Count => ("counter", attributes),
            Expr::Then(verdict) => ("immediate", attributes.word(1, 0).raw(2, true, &verdict.encoded())),
            // ICMP: administratively prohibited (RFC 1812, 5.2.7.1).
            Expr::Reject => ("reject", attributes.word(1, 0).raw(2, false, &[13])),
            Expr::Masquerade => ("masq", attributes),
            Expr::Redirect => ("redir", attributes.word(1, FIRST)),
            Expr::Port(port) => {
                ("immediate", attributes.word(1, FIRST).raw(2, true, &value(&port.to_be_bytes())))
            }
        };
        (name, attributes.bytes().to_vec())
    }
}

const IIFNAME: u32 = 6;
const OIFNAME: u32 = 7;
const L4PROTO: u32 = 16;

/// All of it, one after the other.
pub(crate) fn all<'a, const N: usize>(parts: [Vec<Expr<'a>>; N]) -> Vec<Expr<'a>> {
    parts.into_iter().flatten().collect()
}

/// The packet came by an interface whose name begins so; a whole name ends with a zero byte.
pub(crate) fn from_links(prefix: &str) -> Vec<Expr<'static>> {
    vec![Expr::Meta(IIFNAME), Expr::Is(true, prefix.into())]
}

/// The packet leaves, or does not, by an interface whose name begins so.
pub(crate) fn to_links(yes: bool, prefix: &str) -> Vec<Expr<'static>> {
    vec![Expr::Meta(OIFNAME), Expr::Is(yes, prefix.into())]
}

/// It is, or is not, for this network.
pub(crate) fn destination(yes: bool, network: Ipv4Addr, bits: u8) -> Vec<Expr<'static>> {
    within(yes, DESTINATION, network, bits)
}

/// It is, or is not, from this network.
pub(crate) fn source(yes: bool, network: Ipv4Addr, bits: u8) -> Vec<Expr<'static>> {
    within(yes, SOURCE, network, bits)
}

const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;

fn within(yes: bool, offset: u32, network: Ipv4Addr, bits: u8) -> Vec<Expr<'static>> {
    let mut expressions = vec![Expr::Payload { header: 1, offset, size: 4, register: FIRST }];
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
    if bits < 32 {
        expressions.push(Expr::Mask(mask.to_be_bytes().to_vec()));
    }
    expressions.push(Expr::Is(yes, (network.to_bits() & mask).to_be_bytes().to_vec()));
    expressions
}

/// It is of a connection that was let through before, or about one.
pub(crate) fn established() -> Vec<Expr<'static>> {
    const ESTABLISHED: u32 = 2;
    const RELATED: u32 = 4;
    let mask = (ESTABLISHED | RELATED).to_ne_bytes().to_vec();
    vec![Expr::State, Expr::Mask(mask), Expr::Is(false, vec![0; 4])]
}

/// It is of this protocol.
pub(crate) fn protocol(protocol: Protocol) -> Vec<Expr<'static>> {
    vec![Expr::Meta(L4PROTO), Expr::Is(true, vec![protocol_number(protocol)])]
}

/// It is for this port; its protocol must be known to have ports.
pub(crate) fn port(port: u16) -> Vec<Expr<'static>> {
    vec![
        Expr::Payload { header: 2, offset: 2, size: 2, register: FIRST },
        Expr::Is(true, port.to_be_bytes().to_vec()),
    ]
}

impl<'a> Expr<'a> {
    /// Its destination is in the set.
    pub(crate) fn destination_in(set: &'a str) -> Vec<Expr<'a>> {
        vec![Expr::Payload { header: 1, offset: DESTINATION, size: 4, register: FIRST }, Expr::In(set)]
    }

    /// Its source is in the set.
    pub(crate) fn source_in(set: &'a str) -> Vec<Expr<'a>> {
        vec![Expr::Payload { header: 1, offset: SOURCE, size: 4, register: FIRST }, Expr::In(set)]
    }

    /// What the map says of its source.
    pub(crate) fn verdict_of_source(map: &'a str) -> Vec<Expr<'a>> {
        vec![Expr::Payload { header: 1, offset: SOURCE, size: 4, register: FIRST }, Expr::VerdictOf(map)]
    }

    /// Its destination, protocol and port together are in the set.
    pub(crate) fn service_in(set: &'a str) -> Vec<Expr<'a>> {
        vec![
            Expr::Payload { header: 1, offset: DESTINATION, size: 4, register: FIRST },
            Expr::ProtocolInto(SECOND_PART),
            Expr::Payload { header: 2, offset: 2, size: 2, register: THIRD_PART },
            Expr::In(set),
        ]
    }

    /// The interfaces that it came by and leaves by are both in the set.
    pub(crate) fn links_in(set: &'a str) -> Vec<Expr<'a>> {
        vec![Expr::Meta(IIFNAME), Expr::In(set), Expr::Meta(OIFNAME), Expr::In(set)]
    }

    /// It goes to this port of the node instead.
    pub(crate) fn redirect(port: u16) -> Vec<Expr<'a>> {
        vec![Expr::Port(port), Expr::Redirect]
    }
}

/// An element of a set of services: address, protocol, port.
pub(crate) fn service(address: Ipv4Addr, protocol: Protocol, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    let [a, b, c, d] = address.octets();
    vec![a, b, c, d, protocol_number(protocol), 0, 0, 0, high, low, 0, 0]
}

/// As IANA numbers them.
fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    }
}
