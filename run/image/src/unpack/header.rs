//! Fields of an archive's headers, in each dialect: v7, ustar, GNU and pax. What they mean is what Go's
//! `archive/tar` takes them for, with which other tools that make images read and write layers.

use tar::{EntryType, Header};

/// What an entry is. In the oldest archives a folder is a file whose name ends with a slash.
pub(super) fn kind(header: &Header) -> EntryType {
    let is_oldest = header.as_old().linkflag[0] == 0;
    match header.entry_type() {
        EntryType::Regular if is_oldest && header.path_bytes().ends_with(b"/") => EntryType::Directory,
        kind => kind,
    }
}

/// A number of a header: octal digits between spaces and NULs, nothing for zero; or, when the first bit is
/// set, a signed number of base 256, as GNU and star write what is large or negative.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 == 0 {
        let padding = |byte: &u8| matches!(byte, b' ' | 0);
        let start = field.iter().position(|byte| !padding(byte)).unwrap_or(field.len());
        let digits = &field[start..];
        let end = digits.iter().position(padding).unwrap_or(digits.len());
        return match &digits[..end] {
            [] => Some(0),
            digits => i64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok().filter(|n| *n >= 0),
        };
    }
    // Two's complement; the second bit is the sign.
    let sign = if first & 0x40 == 0 { 0 } else { -1_i128 };
    let mut number = (sign << 6) | i128::from(first & 0x3f);
    for byte in rest {
        number = number.checked_mul(256)?.checked_add(i128::from(*byte))?;
    }
    i64::try_from(number).ok()
}

/// `1350244992.023960108`, as pax has it: seconds and nanoseconds after them. Negative ones are before 1970.
pub(super) fn pax_time(text: &str) -> Option<(i64, i64)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos = digits.parse::<i64>().ok()?;
    let whole = seconds.parse::<i64>().ok()?;
    match seconds.starts_with('-') && nanos > 0 {
        true => Some((whole.checked_sub(1)?, 1_000_000_000 - nanos)),
        false => Some((whole, nanos)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_of_base_256() {
        for (field, number) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"    ", Some(0)),
            (b"644\0junk", Some(0o644)),
            (b"77777777777", Some(0o77_777_777_777)),
            (b"0000-12\0", None),
            (b"000009\0", None),
            (b"\x80\0\0\0\0\0\0\x01", Some(1)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(super::number(field), number, "{field:?}");
        }
    }

    #[test]
    fn pax_times_have_fractions_and_may_be_before_1970() {
        for (text, time) in [
            ("12.5", Some((12, 500_000_000))),
            ("12", Some((12, 0))),
            ("12.", Some((12, 0))),
            ("12.0000000019", Some((12, 1))),
            ("-12", Some((-12, 0))),
            ("-12.5", Some((-13, 500_000_000))),
            ("-0.25", Some((-1, 750_000_000))),
            ("x", None),
            ("1.x", None),
            ("", None),
        ] {
            assert_eq!(pax_time(text), time, "{text}");
        }
    }
}
