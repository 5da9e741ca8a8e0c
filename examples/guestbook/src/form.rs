//! Reads a form as browsers send it (`application/x-www-form-urlencoded`, WHATWG URL standard, §5.1).

/// The first field called `name`; empty where there is none. Bytes that are not UTF-8 are replaced.
pub(crate) fn field(body: &[u8], name: &str) -> String {
    let pairs = body.split(|c| *c == b'&').map(|pair| {
        let equals = pair.iter().position(|c| *c == b'=').unwrap_or(pair.len());
        (decoded(&pair[..equals]), decoded(pair.get(equals + 1..).unwrap_or_default()))
    });
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value).unwrap_or_default()
}

fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(c: u8) -> u8 {
    char::from(c).to_digit(16).map_or(0, |digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let body = b"name=Ada+L%C3%B6velace&text=1+%2B+1+%3D+2%0A%26&name=other&empty&bad=%zz%4";
        assert_eq!(field(body, "name"), "Ada Lövelace");
        assert_eq!(field(body, "text"), "1 + 1 = 2\n&");
        assert_eq!(field(body, "empty"), "");
        assert_eq!(field(body, "missing"), "");
        assert_eq!(field(body, "bad"), "%zz%4");
        assert_eq!(field(b"x=%ff", "x"), "\u{fffd}");
        assert_eq!(field(b"", "x"), "");
    }
}
