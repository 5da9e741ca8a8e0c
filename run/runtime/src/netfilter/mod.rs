//! What is said to the kernel's packet filter (nf_tables), one transaction at a time.
//!
//! The messages are our own, as in [`crate::netlink`]: an instance's rules are set within a millisecond and
//! without a program that the node would need to have. Their numbers are those of the kernel's
//! `include/uapi/linux/netfilter/nf_tables.h`. Invariant: a [`Batch`] holds as a whole or not at all.
//!
//! A [`Netfilter`] acts in the network namespace in which it was opened, wherever its thread is later.

mod attribute;
mod expression;
mod picture;

pub(crate) use expression::{
    Expr, Verdict, all, destination, established, from_links, port, protocol, service, source, to_links,
};

pub(crate) use picture::Picture;

use attribute::{Attributes, nested};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use rustix::net::sockopt;
use std::{io, os::fd::AsRawFd};

/// A conversation with the packet filter of one network namespace.
#[derive(Debug)]
pub(crate) struct Netfilter {
    socket: Socket,
}

impl Netfilter {
    /// Opens one in the current network namespace.
    pub(crate) fn open() -> io::Result<Netfilter> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // A thousand rules are one message. Without root as much as everybody may have: some hundreds.
        if sockopt::set_socket_send_buffer_size_force(&socket, 16 << 20).is_err() {
            sockopt::set_socket_send_buffer_size(&socket, 16 << 20)?;
        }
        Ok(Netfilter { socket })
    }

    /// Does everything that is in `batch`, or nothing of it.
    pub(crate) fn commit(&self, batch: Batch) -> io::Result<()> {
        let (bytes, last) = batch.finish();
        self.ask(&bytes, last)
    }

    /// Whether there is such a table.
    pub(crate) fn has(&self, family: Family, table: &str) -> io::Result<bool> {
        let mut question = Batch { family, table: table.into(), bytes: vec![], sequence: 0, sets: 0 };
        question.change(GETTABLE, 0, Attributes::new().text(1, table));
        match self.ask(&question.bytes, question.sequence) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends messages; the answer is what the kernel says of them, up to the one with number `last`.
    fn ask(&self, bytes: &[u8], last: u32) -> io::Result<()> {
        self.socket.send(bytes, 0)?;
        let mut done = false;
        let mut failure = None;
        let mut answer = vec![0; 16 << 10];
        // The kernel has answered by now: it works within the call.
        while let Some(length) = self.receive(&mut answer)? {
            for (sequence, code) in verdicts(&answer[..length]) {
                done |= sequence == last && code == 0;
                if code != 0 && failure.is_none() {
                    failure = Some(io::Error::from_raw_os_error(-code));
                }
            }
        }
        match (failure, done) {
            (Some(error), _) => Err(error),
            (None, true) => Ok(()),
            (None, false) => Err(io::Error::other("the packet filter did not answer")),
        }
    }

    /// The next answer; `None` when there is none.
    fn receive(&self, answer: &mut [u8]) -> io::Result<Option<usize>> {
        use nix::{errno::Errno, sys::socket};
        loop {
            match socket::recv(self.socket.as_raw_fd(), answer, socket::MsgFlags::MSG_DONTWAIT) {
                Ok(length) => return Ok(Some(length)),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The sequence numbers and codes of the error messages in `bytes` (netlink(7)); a code of 0 is a success.
fn verdicts(mut bytes: &[u8]) -> Vec<(u32, i32)> {
    const ERROR: u16 = 2;
    let mut found = vec![];
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes)
    };
    while let Some(length) = word(bytes, 0).map(|length| length as usize).filter(|length| *length >= HEADER) {
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        // The code is followed by the header of the message that it is about.
        if let (ERROR, Some(code), Some(sequence)) = (kind, word(bytes, HEADER), word(bytes, HEADER + 4 + 8))
        {
            found.push((sequence, code as i32));
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The size of a netlink message's header.
const HEADER: usize = 16;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

const SUBSYSTEM: u16 = 10;
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;

/// Which packets a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Family {
    Unspecified = 0,
    Ipv4 = 2,
    Ipv6 = 10,
}

/// Where a chain is called from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hook {
    kind: &'static str,
    number: u32,
    priority: i32,
    /// What becomes of packets that no rule decides about.
    policy: Verdict<'static>,
}

impl Hook {
    pub(crate) const INPUT: Hook = Hook { kind: "filter", number: 1, priority: 0, policy: Verdict::Accept };
    pub(crate) const FORWARD: Hook = Hook { kind: "filter", number: 2, priority: 0, policy: Verdict::Accept };
    pub(crate) const OUTPUT: Hook = Hook { kind: "filter", number: 3, priority: 0, policy: Verdict::Drop };
    pub(crate) const PREROUTING: Hook =
        Hook { kind: "nat", number: 0, priority: -100, policy: Verdict::Accept };
    pub(crate) const POSTROUTING: Hook =
        Hook { kind: "nat", number: 4, priority: 100, policy: Verdict::Accept };
}

/// What a set holds: the types are for `nft list`, the sizes for the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    kind: u32,
    size: u32,
}

impl Key {
    pub(crate) const ADDRESS: Key = Key { kind: 7, size: 4 };
    pub(crate) const LINK: Key = Key { kind: 41, size: 16 };
    /// Address, protocol, port: each on four bytes.
    pub(crate) const SERVICE: Key = Key { kind: (7 << 12) | (12 << 6) | 13, size: 12 };
}

/// A set of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: Key,
    /// Elements go by themselves after a time.
    pub(crate) expires: bool,
    /// Each element has a verdict.
    pub(crate) verdicts: bool,
}

/// An element of a set.
#[derive(Debug, Clone)]
pub(crate) struct Element<'a> {
    pub(crate) key: Vec<u8>,
    pub(crate) verdict: Option<Verdict<'a>>,
    pub(crate) expires_in: Option<std::time::Duration>,
}

impl Element<'_> {
    /// An element that stays.
    pub(crate) fn of(key: impl Into<Vec<u8>>) -> Element<'static> {
        Element { key: key.into(), verdict: None, expires_in: None }
    }
}

/// Changes to one table, done as one.
#[derive(Debug)]
pub(crate) struct Batch {
    family: Family,
    table: String,
    bytes: Vec<u8>,
    sequence: u32,
    sets: u32,
}

impl Batch {
    /// Changes to a table that is there.
    pub(crate) fn to(family: Family, table: &str) -> Batch {
        let mut batch = Batch { family, table: table.into(), bytes: vec![], sequence: 0, sets: 0 };
        batch.message(BEGIN, 0, 0, &[]);
        batch
    }

    /// Goes on with another table.
    pub(crate) fn and(mut self, family: Family, table: &str) -> Batch {
        (self.family, self.table) = (family, table.into());
        self
    }

    /// The table is empty, whatever was in it before.
    pub(crate) fn anew(mut self) -> Batch {
        for kind in [NEWTABLE, DELTABLE, NEWTABLE] {
            let name = Attributes::new().text(1, &self.table);
            self.change(kind, if kind == NEWTABLE { CREATE } else { 0 }, name);
        }
        self
    }

    /// The table is gone, whether it was there or not.
    pub(crate) fn gone(mut self) -> Batch {
        for kind in [NEWTABLE, DELTABLE] {
            let name = Attributes::new().text(1, &self.table);
            self.change(kind, if kind == NEWTABLE { CREATE } else { 0 }, name);
        }
        self
    }

    /// A chain that others jump to.
    pub(crate) fn chain(&mut self, name: &str) {
        self.change(NEWCHAIN, CREATE, Attributes::new().text(1, &self.table).text(3, name));
    }

    /// A chain that packets come through.
    pub(crate) fn base_chain(&mut self, name: &str, hook: Hook) {
        let place = nested(|a| a.word(1, hook.number).word(2, hook.priority as u32));
        let chain = Attributes::new().text(1, &self.table).text(3, name).raw(4, true, &place);
        self.change(NEWCHAIN, CREATE, chain.word(5, hook.policy.code() as u32).text(7, hook.kind));
    }

    /// A set, empty.
    pub(crate) fn set(&mut self, set: Set<'_>) {
        const MAP: u32 = 8;
        const TIMEOUT: u32 = 0x10;
        const VERDICT: u32 = 0xffff_ff00;
        self.sets += 1;
        let flags = if set.expires { TIMEOUT } else { 0 } | if set.verdicts { MAP } else { 0 };
        let mut new = Attributes::new().text(1, &self.table).text(2, set.name).word(3, flags);
        new = new.word(4, set.key.kind).word(5, set.key.size);
        if set.verdicts {
            new = new.word(6, VERDICT);
        }
        new = new.word(10, self.sets);
        self.change(NEWSET, CREATE, new);
    }

    /// Puts elements into a set. Those that are there already stay as they are.
    pub(crate) fn add(&mut self, set: &str, elements: &[Element<'_>]) {
        self.elements(NEWSETELEM, CREATE, set, elements);
    }

    /// Takes elements out of a set; each must be there.
    pub(crate) fn remove(&mut self, set: &str, elements: &[Element<'_>]) {
        self.elements(DELSETELEM, 0, set, elements);
    }

    /// What an attribute holds is at most 64 kB: many elements go in several messages.
    fn elements(&mut self, kind: u16, flags: u16, set: &str, elements: &[Element<'_>]) {
        for part in elements.chunks(500) {
            let list = nested(|mut list| {
                for element in part {
                    list = list.raw(1, true, &element.encoded());
                }
                list
            });
            let changed = Attributes::new().text(1, &self.table).text(2, set).raw(3, true, &list);
            self.change(kind, flags, changed);
        }
    }

    /// A rule, after those that the chain has.
    pub(crate) fn rule(&mut self, chain: &str, expressions: &[Expr<'_>]) {
        let list = nested(|mut list| {
            for expression in expressions {
                list = list.raw(1, true, &expression.encoded());
            }
            list
        });
        let rule = Attributes::new().text(1, &self.table).text(2, chain).raw(4, true, &list);
        self.change(NEWRULE, CREATE | APPEND, rule);
    }

    fn change(&mut self, kind: u16, flags: u16, attributes: Attributes) {
        self.message((SUBSYSTEM << 8) | kind, flags, self.family as u8, attributes.bytes());
    }

    fn message(&mut self, kind: u16, flags: u16, family: u8, body: &[u8]) {
        self.sequence += 1;
        let length = (HEADER + 4 + body.len()) as u32;
        // Begin and end name the subsystem where others name nothing.
        let resource = if matches!(kind, BEGIN | END) { SUBSYSTEM } else { 0 };
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        let ack = if matches!(kind, BEGIN | END) { 0 } else { ACK };
        self.bytes.extend((REQUEST | ack | flags).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(body);
    }

    /// The messages, and the number of the last that is acknowledged.
    fn finish(mut self) -> (Vec<u8>, u32) {
        let last = self.sequence;
        self.message(END, 0, 0, &[]);
        (self.bytes, last)
    }
}

const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;

impl Element<'_> {
    fn encoded(&self) -> Vec<u8> {
        nested(|mut element| {
            element = element.raw(1, true, &nested(|key| key.raw(1, false, &self.key)));
            if let Some(verdict) = self.verdict {
                element = element.raw(2, true, &verdict.encoded());
            }
            if let Some(time) = self.expires_in {
                element = element.long(4, time.as_millis() as u64);
            }
            element
        })
    }
}
