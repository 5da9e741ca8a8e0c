//! Netlink attributes: type, length, value, padded to four bytes; numbers with the highest byte first.

/// Attributes one after the other.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

/// The bytes of the attributes that `fill` adds.
pub(super) fn nested(fill: impl FnOnce(Attributes) -> Attributes) -> Vec<u8> {
    fill(Attributes::new()).0
}

impl Attributes {
    pub(super) fn new() -> Attributes {
        Attributes::default()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn raw(mut self, kind: u16, nested: bool, value: &[u8]) -> Attributes {
        const NESTED: u16 = 0x8000;
        let length = u16::try_from(value.len() + 4).expect("an attribute holds less than 64 kB");
        self.0.extend(length.to_ne_bytes());
        self.0.extend((kind | if nested { NESTED } else { 0 }).to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn text(self, kind: u16, text: &str) -> Attributes {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.raw(kind, false, &bytes)
    }

    pub(super) fn word(self, kind: u16, number: u32) -> Attributes {
        self.raw(kind, false, &number.to_be_bytes())
    }

    pub(super) fn long(self, kind: u16, number: u64) -> Attributes {
        self.raw(kind, false, &number.to_be_bytes())
    }
}
