//! Plain scalars as docker compose reads them: go-yaml v3 decides the type, and Go prints the value.
//!
//! `010` is 8, `1.50` is `1.5`, `0x1F` is 31, `True` is `true` and `2020-01-01` is a time; `yes`, `on` and
//! `22:22` are texts. Who needs digits as they stand writes them in quotes.

use crate::node::{Text, Value};

/// The value of a plain scalar, with its tag if it has one.
pub(crate) fn resolved(text: String, tag: Option<&str>) -> Value {
    let tag = tag.map(|tag| tag.trim_start_matches("tag:yaml.org,2002:").trim_start_matches('!'));
    if tag != Some("str") && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    let text = if tag == Some("str") { text } else { printed(&text).unwrap_or(text) };
    Value::Text(Text { text, ..Text::default() })
}

/// How Go prints it, where it is no text.
fn printed(text: &str) -> Option<String> {
    match text {
        "true" | "True" | "TRUE" => return Some("true".into()),
        "false" | "False" | "FALSE" => return Some("false".into()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some("+Inf".into()),
        "-.inf" | "-.Inf" | "-.INF" => return Some("-Inf".into()),
        ".nan" | ".NaN" | ".NAN" => return Some("NaN".into()),
        _ => {}
    }
    match text.as_bytes().first()? {
        b'.' => float(text),
        b'0'..=b'9' | b'+' | b'-' => {
            let plain = text.replace('_', "");
            time(text).or_else(|| integer(&plain)).or_else(|| float(&plain))
        }
        _ => None,
    }
}

/// `strconv.ParseInt` with base 0: decimal, `0x`, `0o`, `0b`, and octal after a `0`.
fn integer(text: &str) -> Option<String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    match negative {
        true if value == 0 => Some("0".into()),
        true => (value <= 1 << 63).then(|| format!("-{value}")),
        false => Some(value.to_string()),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, printed as Go's `%v` does.
fn float(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !unsigned.chars().all(allowed) {
        return None;
    }
    let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
    let shortest = format!("{value:e}");
    let (digits, exponent) = shortest.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    // Go goes over to exponents outside of these, and writes two digits of them.
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return Some(format!("{digits}e{sign}{:02}", exponent.abs()));
    }
    Some(value.to_string())
}

/// `2020-01-02`, with or without a time of day, as Go prints a time.
fn time(text: &str) -> Option<String> {
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let short = |part: &str| matches!(part.len(), 1 | 2) && part.bytes().all(|c| c.is_ascii_digit());
    let good = year.len() == 4 && year.bytes().all(|c| c.is_ascii_digit()) && short(month) && short(day);
    let (month, day): (u32, u32) = (month.parse().ok()?, day.parse().ok()?);
    if !good || parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let date = format!("{year}-{month:02}-{day:02}");
    let Some((sign, rest)) = rest else { return Some(format!("{date} 00:00:00 +0000 UTC")) };
    let at = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(at);
    let clock = clock_of(clock)?;
    match zone {
        "" if sign == " " => Some(format!("{date} {clock} +0000 UTC")),
        "Z" if sign != " " => Some(format!("{date} {clock} +0000 UTC")),
        _ if sign != " " => {
            let zone = zone.replace(':', "");
            let good = zone.len() == 5 && zone[1..].bytes().all(|c| c.is_ascii_digit());
            good.then(|| format!("{date} {clock} {zone} {zone}"))
        }
        _ => None,
    }
}

/// `15:4:5.99`
fn clock_of(text: &str) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':').map(|part| part.parse::<u32>().ok().filter(|_| part.len() <= 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let digits = fraction.bytes().all(|c| c.is_ascii_digit()) && fraction.len() <= 9;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || !digits {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    Some(format!("{hour:02}:{minute:02}:{second:02}{dot}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_printed_as_docker_compose_prints_them() {
        for (text, expected) in [
            ("010", "8"),
            ("08", "8"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("1__0", "10"),
            ("-0", "0"),
            ("+1", "1"),
            ("12345678901234567890", "12345678901234567890"),
            ("1.50", "1.5"),
            ("1.0", "1"),
            ("1.", "1"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("1e21", "1e+21"),
            ("100000000000000000000000", "1e+23"),
            ("1e-7", "1e-07"),
            ("1e6", "1e+06"),
            ("1234567.5", "1.2345675e+06"),
            ("123456.5", "123456.5"),
            ("0.0001234", "0.0001234"),
            ("True", "true"),
            ("2020-01-01", "2020-01-01 00:00:00 +0000 UTC"),
            ("2020-1-1", "2020-01-01 00:00:00 +0000 UTC"),
            ("2001-12-14 21:59:43", "2001-12-14 21:59:43 +0000 UTC"),
            ("2001-12-14T21:59:43.10-05:00", "2001-12-14 21:59:43.1 -0500 -0500"),
            ("yes", "yes"),
            ("on", "on"),
            ("22:22", "22:22"),
            ("0x", "0x"),
            ("=", "="),
            ("1.2.3", "1.2.3"),
            ("-x", "-x"),
            ("192.168.1.1", "192.168.1.1"),
            ("2020-13-01", "2020-13-01"),
            ("1e5x", "1e5x"),
        ] {
            let Value::Text(found) = resolved(text.to_owned(), None) else { panic!("{text}") };
            assert_eq!(found.text, expected, "{text}");
        }
        assert!(matches!(resolved("~".into(), None), Value::Null));
        assert!(matches!(resolved("010".into(), Some("!!str")), Value::Text(text) if text.text == "010"));
    }
}
