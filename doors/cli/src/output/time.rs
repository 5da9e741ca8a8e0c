//! Times and sizes for people, and the times that people type.

use freehold_model::{Bytes, Millis};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

/// A point in time as typed: `10m` (ago), an RFC 3339 timestamp, or a date, with or without a time, as the
/// clocks here show it.
///
/// # Errors
/// A sentence that says how to write one.
pub(crate) fn parse_point(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = text.parse::<Millis>() {
        let ago = i64::try_from(ago.0).map_err(|_| format!("`{text}` is too long ago"))?;
        return now
            .checked_sub(SignedDuration::from_millis(ago))
            .map_err(|_| format!("`{text}` is too long ago"));
    }
    let local = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::system()).ok();
    text.parse().ok().or_else(|| local().map(|here| here.timestamp())).ok_or_else(|| {
        format!(
            "`{text}` is not a time: write how long ago (10m, 2h), a date (2026-01-31) or a timestamp \
             (2026-01-31T12:00:00Z)"
        )
    })
}

/// The same as of now, for flags.
pub(crate) fn point(text: &str) -> Result<Timestamp, String> {
    parse_point(text, Timestamp::now())
}

/// A length of time as typed: `500ms`, `10s`, `5m`.
///
/// # Errors
/// A sentence that says how to write one.
pub(crate) fn parse_length(text: &str) -> Result<Millis, String> {
    text.parse().map_err(|error: freehold_model::units::UnitError| error.to_string())
}

/// How long ago: `now`, `12s ago`, `3m ago`, `5h ago`, `9d ago`; `in 3m` for what is to come.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    match seconds {
        ..=-1 => format!("in {}", coarse(seconds.unsigned_abs())),
        0 => "now".into(),
        _ => format!("{} ago", coarse(seconds.unsigned_abs())),
    }
}

/// How long something has lasted: `12s`, `3m`, `5h`, `9d`.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    coarse(now.duration_since(then).as_secs().max(0).unsigned_abs())
}

/// How long something took: `43 ms`, `3.2 s`, `2 min 5 s`.
pub(crate) fn took(from: Timestamp, to: Timestamp) -> String {
    let millis = to.duration_since(from).as_millis().max(0);
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => format!("{} min {} s", millis / 60_000, millis / 1000 % 60),
    }
}

fn coarse(seconds: u64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A size to one decimal, in binary units: `12.3 MiB`.
pub(crate) fn size(bytes: Bytes) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let steps = (0..4).take_while(|step| bytes.0 >> (10 * (step + 1)) > 0).count();
    let whole = 1_u64 << (10 * steps);
    match steps {
        0 => format!("{} B", bytes.0),
        _ => format!("{}.{} {}", bytes.0 / whole, bytes.0 % whole * 10 / whole, UNITS[steps]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn points_in_time_are_lengths_ago_or_timestamps() {
        assert_eq!(parse_point("10m", at(600)), Ok(at(0)));
        assert_eq!(parse_point("2026-01-31T12:00:00Z", at(0)).unwrap().to_string(), "2026-01-31T12:00:00Z");
        let here = |text: &str| text.parse::<DateTime>().unwrap().to_zoned(TimeZone::system()).unwrap();
        for text in ["2026-01-31", "2026-01-31T12:30", "2026-01-31 12:30:05"] {
            assert_eq!(parse_point(text, at(0)), Ok(here(text).timestamp()), "{text}");
        }
        for bad in ["", "10", "yesterday", "2026-13-31", "-5m", "999999999999999d"] {
            assert!(parse_point(bad, at(0)).is_err(), "{bad}");
        }
    }

    #[test]
    fn ages_are_coarse() {
        for (seconds, text) in [(0, "now"), (5, "5s ago"), (119, "119s ago"), (180, "3m ago")] {
            assert_eq!(ago(at(0), at(seconds)), text);
        }
        assert_eq!(ago(at(0), at(3 * 3600)), "3h ago");
        assert_eq!(ago(at(0), at(9 * 86_400)), "9d ago");
        assert_eq!(ago(at(30), at(0)), "in 30s");
    }

    #[test]
    fn what_took_long_is_told_in_minutes() {
        let millis = |n| Timestamp::from_millisecond(n).unwrap();
        assert_eq!(took(millis(0), millis(3_249)), "3.2 s");
        assert_eq!(took(millis(0), millis(125_900)), "2 min 5 s");
        assert_eq!(took(millis(9), millis(0)), "0 ms");
        assert_eq!(took(millis(0), millis(43)), "43 ms");
    }

    #[test]
    fn sizes_have_one_decimal() {
        assert_eq!(size(Bytes(17)), "17 B");
        assert_eq!(size(Bytes(1536)), "1.5 KiB");
        assert_eq!(size(Bytes(64 << 20)), "64.0 MiB");
        assert_eq!(size(Bytes(u64::MAX)), "16777215.9 TiB");
    }
}
