//! Questions and answers on the wire (RFC 1035), by way of `simple-dns`.
//!
//! Invariant: nothing that arrives, from an instance or from a name server, is more than data to a bounded
//! parser; what cannot be read is answered with an error or not at all.

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
    rdata::{OPT, RData},
};
use std::net::Ipv4Addr;

/// An answer may be kept so long, in seconds: instances come and go.
const OWN_TTL: u32 = 5;
/// More addresses than this are not looked at.
const MOST: usize = 64;
/// What a datagram holds for those who do not say more (RFC 1035, 4.2.1).
const SMALL: usize = 512;
/// And at most, whatever they say: no fragments (RFC 9715).
const LARGE: u16 = 1232;

/// A question as it arrived.
pub(crate) struct Asked<'a> {
    packet: Packet<'a>,
    /// In lower case, without a dot at its end.
    pub(crate) name: String,
    /// What is asked for.
    pub(crate) kind: Kind,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// IPv4 addresses.
    Addresses,
    /// What instances have no use for: IPv6 addresses, and hints about them.
    Nothing,
    /// Anything else.
    Other,
}

/// How a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// With what there is.
    Found,
    /// There is no such name.
    NoName,
    /// It could not be found out.
    Failed,
}

impl<'a> Asked<'a> {
    /// Reads a question; the error is what to answer to something that is none, if anything.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Asked<'a>, Option<Vec<u8>>> {
        let packet = Packet::parse(bytes).map_err(|_| unreadable(bytes))?;
        let [question] = packet.questions.as_slice() else { return Err(unreadable(bytes)) };
        if packet.has_flags(PacketFlag::RESPONSE) || question.qclass != QCLASS::CLASS(CLASS::IN) {
            return Err(None);
        }
        let kind = match question.qtype {
            QTYPE::TYPE(TYPE::A) => Kind::Addresses,
            QTYPE::TYPE(TYPE::AAAA | TYPE::HTTPS | TYPE::SVCB) => Kind::Nothing,
            _ => Kind::Other,
        };
        let name = plain(&question.qname);
        Ok(Asked { packet, name, kind })
    }

    /// The answer without records.
    pub(crate) fn empty(&self, verdict: Verdict) -> Vec<u8> {
        self.reply(verdict, vec![], usize::MAX)
    }

    /// The answer that the name stands for addresses of this node.
    pub(crate) fn own(&self, addresses: &[Ipv4Addr], room: usize) -> Vec<u8> {
        let name = self.packet.questions[0].qname.clone();
        let record = |address: &Ipv4Addr| {
            ResourceRecord::new(name.clone(), CLASS::IN, OWN_TTL, RData::A((*address).into()))
        };
        self.reply(Verdict::Found, addresses.iter().take(MOST).map(record).collect(), room)
    }

    /// The answer of a name server, passed on.
    pub(crate) fn passed_on(&self, found: &Found<'_>, room: usize) -> Vec<u8> {
        let verdict = match found.packet.rcode() {
            RCODE::NoError => Verdict::Found,
            RCODE::NameError => Verdict::NoName,
            _ => Verdict::Failed,
        };
        self.reply(verdict, found.records.clone(), room)
    }

    /// What is asked of a name server.
    pub(crate) fn for_upstream(&self, id: u16) -> Vec<u8> {
        let mut query = Packet::new_query(id);
        query.set_flags(PacketFlag::RECURSION_DESIRED);
        let question = &self.packet.questions[0];
        query.questions.push(Question::new(question.qname.clone(), question.qtype, question.qclass, false));
        *query.opt_mut() = Some(OPT { opt_codes: vec![], udp_packet_size: LARGE, version: 0 });
        query.build_bytes_vec().unwrap_or_default()
    }

    /// How much fits into a datagram for who asked.
    pub(crate) fn datagram(&self) -> usize {
        let said = self.packet.opt().map_or(0, |opt| usize::from(opt.udp_packet_size.min(LARGE)));
        said.max(SMALL)
    }

    fn reply(&self, verdict: Verdict, records: Vec<ResourceRecord<'_>>, room: usize) -> Vec<u8> {
        let mut reply = Packet::new_reply(self.packet.id());
        reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
        if self.packet.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        *reply.rcode_mut() = match verdict {
            Verdict::Found => RCODE::NoError,
            Verdict::NoName => RCODE::NameError,
            Verdict::Failed => RCODE::ServerFailure,
        };
        reply.questions = self.packet.questions.clone();
        if self.packet.opt().is_some() {
            *reply.opt_mut() = Some(OPT { opt_codes: vec![], udp_packet_size: LARGE, version: 0 });
        }
        reply.answers = records;
        let bytes = reply.build_bytes_vec_compressed().unwrap_or_default();
        if bytes.len() <= room {
            return bytes;
        }
        reply.answers.clear();
        reply.set_flags(PacketFlag::TRUNCATION);
        reply.build_bytes_vec().unwrap_or_default()
    }
}

/// The answer of a name server.
pub(crate) struct Found<'a> {
    packet: Packet<'a>,
    /// Those that answer the question.
    records: Vec<ResourceRecord<'a>>,
}

impl<'a> Found<'a> {
    /// Reads the answer to `asked` that carries `id`; `None` if it is none. Of addresses only those are
    /// kept that `keep` accepts, and only at the end of the chain of aliases that begins with the question.
    pub(crate) fn read(
        bytes: &'a [u8],
        asked: &Asked<'_>,
        id: u16,
        keep: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Found<'a>> {
        let packet = Packet::parse(bytes).ok()?;
        let [question] = packet.questions.as_slice() else { return None };
        let fits = packet.id() == id
            && packet.has_flags(PacketFlag::RESPONSE)
            && plain(&question.qname) == asked.name;
        if !fits || question.qtype != asked.packet.questions[0].qtype {
            return None;
        }
        let mut chain = vec![asked.name.clone()];
        let mut records = vec![];
        // Aliases come before what they stand for; each record extends the chain or ends it.
        for record in packet.answers.iter().take(4 * MOST) {
            let owner = plain(&record.name);
            if !chain.contains(&owner) {
                continue;
            }
            let wanted = match &record.rdata {
                RData::CNAME(alias) => {
                    chain.push(plain(&alias.0));
                    true
                }
                RData::A(address) => {
                    asked.kind == Kind::Addresses && keep(Ipv4Addr::from_bits(address.address))
                }
                RData::AAAA(_) => false,
                _ => asked.kind == Kind::Other,
            };
            if wanted && records.len() < MOST {
                records.push(record.clone());
            }
        }
        Some(Found { packet, records })
    }

    /// Whether the rest did not fit into the datagram.
    pub(crate) fn is_cut(&self) -> bool {
        self.packet.has_flags(PacketFlag::TRUNCATION)
    }

    /// The addresses that it names, and for how many seconds at most one of them may be kept.
    pub(crate) fn addresses(&self) -> (Vec<Ipv4Addr>, u32) {
        let addresses = self.records.iter().filter_map(|record| match &record.rdata {
            RData::A(address) => Some(Ipv4Addr::from_bits(address.address)),
            _ => None,
        });
        let longest = self.records.iter().map(|record| record.ttl).max().unwrap_or(0);
        (addresses.collect(), longest.min(86_400))
    }
}

/// The question for the addresses of `name`, as an instance would ask it.
pub(crate) fn question(name: &str) -> Option<Vec<u8>> {
    let mut query = Packet::new_query(rand::random());
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    query.questions.push(Question::new(Name::new(name).ok()?, TYPE::A.into(), CLASS::IN.into(), false));
    query.build_bytes_vec().ok()
}

/// The first address in an answer.
pub(crate) fn first_address(answer: &[u8]) -> Option<Ipv4Addr> {
    let answers = Packet::parse(answer).ok()?.answers;
    answers.iter().find_map(|record| match &record.rdata {
        RData::A(address) => Some(Ipv4Addr::from_bits(address.address)),
        _ => None,
    })
}

/// A name as names are compared: in lower case, without a dot at its end.
fn plain(name: &Name<'_>) -> String {
    name.to_string().to_ascii_lowercase().trim_end_matches('.').to_owned()
}

/// "Not implemented", to a question of which only the head can be read.
fn unreadable(bytes: &[u8]) -> Option<Vec<u8>> {
    const RESPONSE: u8 = 0x80;
    const NOT_IMPLEMENTED: u8 = 4;
    let [a, b, flags, ..] = *bytes.get(..12)? else { return None };
    (flags & RESPONSE == 0).then(|| vec![a, b, flags | RESPONSE, NOT_IMPLEMENTED, 0, 0, 0, 0, 0, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).unwrap().into_owned();
        packet.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
        packet.build_bytes_vec().unwrap()
    }

    fn answer(asked: &[u8], records: &[(&str, RData<'static>)]) -> Vec<u8> {
        let asked = Packet::parse(asked).unwrap();
        let mut packet = Packet::new_reply(asked.id());
        packet.questions = asked.questions.clone();
        for (name, data) in records {
            let name = Name::new(name).unwrap().into_owned();
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, 300, data.clone()));
        }
        packet.build_bytes_vec().unwrap()
    }

    fn a(last: u8) -> RData<'static> {
        RData::A(Ipv4Addr::new(192, 0, 2, last).into())
    }

    fn alias(name: &'static str) -> RData<'static> {
        RData::CNAME(simple_dns::rdata::CNAME(Name::new(name).unwrap()))
    }

    #[test]
    fn own_names_are_answered_with_their_question() {
        let bytes = question("Web.INTERNAL", TYPE::A);
        let asked = Asked::read(&bytes).ok().unwrap();
        assert_eq!((asked.name.as_str(), asked.kind), ("web.internal", Kind::Addresses));
        let reply = asked.own(&[Ipv4Addr::new(10, 210, 0, 2)], SMALL);
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!((reply.id(), reply.answers.len(), reply.questions.len()), (7, 1, 1));
        assert_eq!(reply.questions[0].qname.to_string(), "Web.INTERNAL", "as it was asked, letter by letter");
    }

    #[test]
    fn what_does_not_fit_is_cut_and_says_so() {
        let bytes = question("web.internal", TYPE::A);
        let asked = Asked::read(&bytes).ok().unwrap();
        let many: Vec<Ipv4Addr> = (0..60).map(|n| Ipv4Addr::new(10, 210, 1, n)).collect();
        let cut = asked.own(&many, asked.datagram());
        assert!(cut.len() <= SMALL && Packet::parse(&cut).unwrap().has_flags(PacketFlag::TRUNCATION));
        assert_eq!(Packet::parse(&asked.own(&many, usize::MAX)).unwrap().answers.len(), 60);
    }

    #[test]
    fn only_what_the_question_leads_to_is_taken() {
        let bytes = question("api.example", TYPE::A);
        let asked = Asked::read(&bytes).ok().unwrap();
        let upstream = asked.for_upstream(9);
        let records = [
            ("api.example", alias("cdn.example")),
            ("evil.example", a(66)),
            ("cdn.example", a(1)),
            ("cdn.example", a(2)),
        ];
        let bytes = answer(&upstream, &records);
        let found = Found::read(&bytes, &asked, 9, |address| address.octets()[3] != 2).unwrap();
        assert_eq!(found.addresses(), (vec![Ipv4Addr::new(192, 0, 2, 1)], 300));
        assert!(Found::read(&bytes, &asked, 8, |_| true).is_none(), "another id");
        let other = question("other.example", TYPE::A);
        let other = Asked::read(&other).ok().unwrap();
        assert!(Found::read(&bytes, &other, 9, |_| true).is_none(), "another question");
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_is_more_than_data(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(asked) = Asked::read(&bytes) {
                asked.empty(Verdict::Failed);
                asked.for_upstream(1);
            }
            let own = question("api.example", TYPE::A);
            let asked = Asked::read(&own).ok().unwrap();
            if let Some(found) = Found::read(&bytes, &asked, 7, |_| true) {
                asked.passed_on(&found, SMALL);
            }
        }
    }
}
