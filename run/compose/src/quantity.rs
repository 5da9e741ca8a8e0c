//! Compose's units: bytes, durations, processors.

use freehold_model::{Bytes, Millicores, Millis};

/// `64m`, `1g`, `512mb`, `1.5g`, or bytes; Docker's units are binary, whatever they are called.
pub(crate) fn bytes(text: &str) -> Option<Bytes> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let value = number.parse::<f64>().ok()? * (1_u64 << shift) as f64;
    (value.is_finite() && value >= 0.0 && value < (1_u64 << 62) as f64).then_some(Bytes(value as u64))
}

/// `1h30m`, `90s`, `1m30s`, `500ms`, `1.5s`; a bare number is not a duration.
pub(crate) fn duration(text: &str) -> Option<Millis> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Millis(0));
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        let scale = match &rest[digits..unit_end] {
            "ns" => 0.000_001,
            "us" | "µs" => 0.001,
            "ms" => 1.0,
            "s" => 1000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            "w" => 604_800_000.0,
            _ => return None,
        };
        total += number * scale;
        rest = &rest[unit_end..];
    }
    (!text.trim().is_empty() && total.is_finite() && total < 1e15).then_some(Millis(total.round() as u64))
}

/// `0.5`, `2`: cores.
pub(crate) fn cores(text: &str) -> Option<Millicores> {
    let cores: f64 = text.trim().parse().ok()?;
    (cores > 0.0 && cores <= 1024.0).then(|| Millicores(((cores * 1000.0).round() as u32).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_docker_s() {
        let sizes = [
            ("64m", 64 << 20),
            ("1G", 1 << 30),
            ("512mb", 512 << 20),
            ("1.5k", 1536),
            ("10", 10),
            ("2GiB", 2 << 30),
        ];
        for (text, expected) in sizes {
            assert_eq!(bytes(text), Some(Bytes(expected)), "{text}");
        }
        for bad in ["", "m", "1x", "-1m", "1e400g", "NaN"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_add_up() {
        for (text, expected) in
            [("1m30s", 90_000), ("500ms", 500), ("1.5s", 1500), ("2h", 7_200_000), ("0", 0)]
        {
            assert_eq!(duration(text), Some(Millis(expected)), "{text}");
        }
        for bad in ["", "10", "s", "1y", "1s2", "é1s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn cores_are_thousandths() {
        assert_eq!(cores("0.50"), Some(Millicores(500)));
        assert_eq!(cores("2"), Some(Millicores(2000)));
        for bad in ["0", "-1", "inf", "x", "NaN", "9999"] {
            assert_eq!(cores(bad), None, "{bad}");
        }
    }
}
