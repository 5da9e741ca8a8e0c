//! One table of the packet filter as the kernel has it now, so that a change by others is seen.
//!
//! A [`Picture`] leaves out what changes by itself: counters, handles, and what expires. The kernel counts
//! its transactions (the generation): while that number stands still no picture needs to be taken.

use super::{Family, HEADER, Netfilter, REQUEST, SUBSYSTEM};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
};

/// Everything of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// The table's flags; one that is dormant does nothing.
    flags: Vec<u8>,
    /// Hook, policy, type and flags of each chain.
    chains: BTreeMap<String, Vec<u8>>,
    /// The rules of each chain, in order.
    rules: BTreeMap<String, Vec<Vec<u8>>>,
    /// What each set holds.
    sets: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

/// How a table is otherwise than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference(String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Picture {
    /// How `now` differs from this; `None`: not at all.
    pub(crate) fn difference(&self, now: Option<&Picture>) -> Option<Difference> {
        let Some(now) = now else { return Some(Difference("is gone".into())) };
        if self == now {
            return None;
        }
        let gone = self.chains.keys().find(|chain| !now.chains.contains_key(*chain));
        let rules = |picture: &Picture, chain: &str| picture.rules.get(chain).map_or(0, Vec::len);
        let changed = self.chains.keys().find(|chain| self.rules.get(*chain) != now.rules.get(*chain));
        let set = self.sets.keys().find(|set| self.sets.get(*set) != now.sets.get(*set));
        Some(Difference(match (gone, changed, set) {
            (Some(chain), ..) => format!("has lost its chain {chain}"),
            (None, Some(chain), _) => {
                let (was, is) = (rules(self, chain), rules(now, chain));
                format!("was changed: its chain {chain} has other rules ({is}, of {was} that were set)")
            }
            (None, None, Some(set)) => format!("was changed: its set {set} holds something else"),
            (None, None, None) => "was changed: a hook, a policy or a flag of it".into(),
        }))
    }
}

impl Netfilter {
    /// The number of the kernel's last transaction in this network namespace.
    pub(crate) fn generation(&self) -> io::Result<u32> {
        let answers = self.fetch(Family::Unspecified, GETGEN, 0, &[])?;
        let said = answers.iter().find_map(|body| Fields::of(body).word(1));
        said.ok_or_else(|| io::Error::other("the packet filter does not say its generation"))
    }

    /// The table as it is; `None`: there is none.
    pub(crate) fn picture(&self, family: Family, table: &str) -> io::Result<Option<Picture>> {
        const ATTEMPTS: usize = 8;
        for _ in 0..ATTEMPTS {
            let before = self.generation()?;
            let seen = self.look(family, table);
            if self.generation()? == before {
                return seen;
            }
        }
        Err(io::Error::other("the packet filter is changed by others all the time"))
    }

    fn look(&self, family: Family, table: &str) -> io::Result<Option<Picture>> {
        let name = super::Attributes::new().text(1, table);
        let found = match self.fetch(family, GETTABLE, 0, name.bytes()) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(body) = found.first() else { return Ok(None) };
        let mut picture = Picture { flags: Fields::of(body).only(&[2]), ..Picture::default() };
        let ours = |body: &&Vec<u8>| Fields::of(body).text(1) == Some(table);
        for body in self.fetch(family, GETCHAIN, DUMP, &[])?.iter().filter(ours) {
            let fields = Fields::of(body);
            let chain = fields.text(3).unwrap_or_default().to_owned();
            picture.chains.insert(chain, fields.only(&[4, 5, 7, 10]));
        }
        for body in self.fetch(family, GETRULE, DUMP, name.bytes())?.iter().filter(ours) {
            let fields = Fields::of(body);
            let chain = fields.text(2).unwrap_or_default().to_owned();
            picture.rules.entry(chain).or_default().push(uncounted(fields.raw(4)));
        }
        for body in self.fetch(family, GETSET, DUMP, name.bytes())?.iter().filter(ours) {
            let set = Fields::of(body).text(2).unwrap_or_default().to_owned();
            let elements = self.elements(family, table, &set)?;
            picture.sets.insert(set, elements);
        }
        Ok(Some(picture))
    }

    fn elements(&self, family: Family, table: &str, set: &str) -> io::Result<BTreeSet<Vec<u8>>> {
        let which = super::Attributes::new().text(1, table).text(2, set);
        let parts = self.fetch(family, GETSETELEM, DUMP, which.bytes())?;
        let mut all = BTreeSet::new();
        for part in &parts {
            let list = Fields::of(part).raw(3);
            all.extend(Fields(list).all().map(|(_, element)| Fields(element).only(&[1, 2])));
        }
        Ok(all)
    }

    /// Asks, and answers with the bodies of what comes, after the family's header.
    fn fetch(&self, family: Family, kind: u16, flags: u16, attributes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut question = vec![];
        let length = (HEADER + 4 + attributes.len()) as u32;
        question.extend(length.to_ne_bytes());
        question.extend(((SUBSYSTEM << 8) | kind).to_ne_bytes());
        question.extend((REQUEST | flags).to_ne_bytes());
        question.extend([0; 8]);
        question.extend([family as u8, 0, 0, 0]);
        question.extend(attributes);
        self.socket.send(&question, 0)?;
        let (mut bodies, mut buffer) = (vec![], vec![0; 64 << 10]);
        while let Some(length) = self.receive(&mut buffer)? {
            for (kind, body) in messages(&buffer[..length]) {
                match kind {
                    ERROR => match body.first_chunk::<4>().map(|code| i32::from_ne_bytes(*code)) {
                        Some(code) if code != 0 => {
                            return Err(self.drained(io::Error::from_raw_os_error(-code)));
                        }
                        _ => {}
                    },
                    DONE => {}
                    _ => bodies.push(body.get(4..).unwrap_or_default().to_vec()),
                }
            }
        }
        Ok(bodies)
    }

    /// What else was on its way must not be taken for the answer to the next question.
    fn drained(&self, error: io::Error) -> io::Error {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(Some(_)) = self.receive(&mut buffer) {}
        error
    }
}

const GETTABLE: u16 = 1;
const GETCHAIN: u16 = 4;
const GETRULE: u16 = 7;
const GETSET: u16 = 10;
const GETSETELEM: u16 = 13;
const GETGEN: u16 = 16;

const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Kinds and bodies of the messages in `bytes` (netlink(7)).
fn messages(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = vec![];
    while let Some((length, kind)) = bytes.first_chunk::<6>().map(|[a, b, c, d, e, f]| {
        (u32::from_ne_bytes([*a, *b, *c, *d]) as usize, u16::from_ne_bytes([*e, *f]))
    }) {
        let Some(body) = bytes.get(HEADER..length) else { break };
        found.push((kind, body));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// Attributes one after the other.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Those of a message's body.
    fn of(body: &'a [u8]) -> Fields<'a> {
        Fields(body)
    }

    fn all(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let [a, b, c, d] = *rest.first_chunk::<4>()?;
            let (length, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]));
            let value = rest.get(4..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            // The two highest bits say how a value is encoded.
            Some((kind & 0x3fff, value))
        })
    }

    fn raw(self, wanted: u16) -> &'a [u8] {
        self.all().find(|(kind, _)| *kind == wanted).map_or(&[], |(_, value)| value)
    }

    fn text(self, wanted: u16) -> Option<&'a str> {
        let value = self.all().find(|(kind, _)| *kind == wanted)?.1;
        std::str::from_utf8(value).ok().map(|text| text.trim_end_matches('\0'))
    }

    fn word(self, wanted: u16) -> Option<u32> {
        self.raw(wanted).first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Those of these kinds, in the order of `wanted`.
    fn only(self, wanted: &[u16]) -> Vec<u8> {
        let mut kept = vec![];
        for kind in wanted {
            let value = self.raw(*kind);
            kept.extend(kind.to_ne_bytes());
            kept.extend((value.len() as u32).to_ne_bytes());
            kept.extend(value);
        }
        kept
    }
}

/// The expressions of a rule without what its counters have counted.
fn uncounted(expressions: &[u8]) -> Vec<u8> {
    let mut kept = vec![];
    for (_, expression) in Fields(expressions).all() {
        let fields = Fields(expression);
        let counts = fields.text(1) == Some("counter");
        kept.extend(fields.only(if counts { &[1] } else { &[1, 2] }));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_said_in_words() {
        let chain = |name: &str| (name.to_owned(), vec![]);
        let whole = Picture {
            chains: [chain("forward"), chain("input")].into(),
            rules: [("forward".into(), vec![vec![1], vec![2]])].into(),
            sets: [("outbound".into(), [vec![7]].into())].into(),
            flags: vec![],
        };
        let said = |now: Option<&Picture>| whole.difference(now).map(|it| it.to_string());
        assert_eq!(said(Some(&whole)), None);
        assert_eq!(said(None).as_deref(), Some("is gone"));
        let mut less = whole.clone();
        less.chains.remove("input");
        assert_eq!(said(Some(&less)).as_deref(), Some("has lost its chain input"));
        let mut less = whole.clone();
        less.rules.get_mut("forward").unwrap().pop();
        assert!(said(Some(&less)).unwrap().contains("chain forward has other rules (1, of 2"));
        // In another order they say something else.
        let mut turned = whole.clone();
        turned.rules.get_mut("forward").unwrap().reverse();
        assert!(said(Some(&turned)).unwrap().contains("chain forward"));
        let mut emptied = whole.clone();
        emptied.sets.get_mut("outbound").unwrap().clear();
        assert!(said(Some(&emptied)).unwrap().contains("set outbound"));
        let asleep = Picture { flags: vec![1], ..whole.clone() };
        assert!(said(Some(&asleep)).unwrap().contains("flag"));
    }

    #[test]
    fn what_a_counter_has_counted_is_no_difference() {
        use super::super::Attributes;
        let rule = |counted: u64, after: &str| {
            let counter = Attributes::new().text(1, "counter");
            let counter = counter.raw(2, true, Attributes::new().long(1, counted).bytes());
            let verdict = Attributes::new().text(1, after).raw(2, true, &[]);
            Attributes::new().raw(1, true, counter.bytes()).raw(1, true, verdict.bytes()).bytes().to_vec()
        };
        assert_eq!(uncounted(&rule(1, "reject")), uncounted(&rule(2, "reject")));
        assert_ne!(uncounted(&rule(1, "reject")), uncounted(&rule(1, "masq")));
    }

    #[test]
    fn bytes_that_are_cut_short_are_no_message_and_no_attribute() {
        assert!(messages(&[40, 0, 0, 0, 1, 0]).is_empty());
        assert_eq!(Fields(&[9, 0, 1, 0, 5]).all().count(), 0);
        assert_eq!(Fields(&[2, 0, 1, 0]).all().count(), 0);
    }
}
