//! What is a PROXY header and what is none: the specification's examples, and each way to be wrong.

use super::{super::header, *};
use crate::fuzz::header_bytes;
use freehold_model::manifest::ProxyProtocol;
use proptest::prelude::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn read(bytes: &[u8]) -> Header {
    header_bytes(bytes);
    parse(bytes).unwrap_or_else(|error| panic!("{error}")).expect("it is whole")
}

fn told(bytes: &[u8]) -> Option<(String, String)> {
    read(bytes).told.map(|told| (told.client.to_string(), told.here.to_string()))
}

fn two(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

#[test]
fn the_lines_of_the_specification_are_read() {
    let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n";
    assert_eq!(read(line).length, 47);
    assert_eq!(told(line), Some(("192.168.0.1:56324".into(), "192.168.0.11:443".into())));
    // The worst cases of section 2.1, in its order.
    let v6 = "ffff:f...f:ffff".replace("f...f", "ffff:ffff:ffff:ffff:ffff:ffff");
    for (line, client) in [
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_owned(),
            Some("255.255.255.255:65535".to_owned()),
        ),
        (format!("PROXY TCP6 {v6} {v6} 65535 65535\r\n"), Some(format!("[{v6}]:65535"))),
        ("PROXY UNKNOWN\r\n".to_owned(), None),
        (format!("PROXY UNKNOWN {v6} {v6} 65535 65535\r\n"), None),
        ("PROXY TCP6 ::ffff:10.0.0.1 ::ffff:10.0.0.2 1 2\r\n".to_owned(), Some("10.0.0.1:1".to_owned())),
    ] {
        assert!(line.len() <= MOST_V1, "{}", line.len());
        assert_eq!(told(line.as_bytes()).map(|told| told.0), client, "{line}");
    }
}

#[test]
fn the_binary_headers_of_the_specification_are_read() {
    let v4 = [10, 0, 0, 1, 10, 0, 0, 2, 0x12, 0x34, 0, 80];
    let bytes = [two(0x21, 0x11, &v4), b"rest".to_vec()].concat();
    assert_eq!(read(&bytes).length, 28);
    assert_eq!(told(&bytes), Some(("10.0.0.1:4660".into(), "10.0.0.2:80".into())));
    let v6 = [[0xfd; 32].as_slice(), &[0, 1, 0, 2]].concat();
    assert_eq!(told(&two(0x21, 0x21, &v6)).unwrap().0, "[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:1");
    // What is said beside the addresses (TLVs, 2.2.1 and on) is passed over, whole or not.
    let more = [v4.as_slice(), &[0x03, 0, 4, 1, 2, 3, 4], &[0x01, 0xff]].concat();
    assert_eq!(told(&two(0x21, 0x11, &more)).unwrap().0, "10.0.0.1:4660");
    // LOCAL keeps the peer's own, with whatever beside it; so does what is no TCP.
    for own in [
        two(0x20, 0, &[]),
        two(0x20, 0x21, &[]),
        two(0x20, 0xff, &v4),
        two(0x21, 0, &[]),
        two(0x21, 0x12, &v4),
        two(0x21, 0x31, &[b'/'; 216]),
    ] {
        assert_eq!(told(&own), None, "{own:?}");
    }
}

#[test]
fn what_is_no_header_is_known_at_its_first_wrong_byte() {
    for wrong in ["GET / HTTP/1.1\r\n", "X", "PROXx", "PROXY\t", "\r\n\r\n\r\n", "proxy TCP4"] {
        assert_eq!(parse(wrong.as_bytes()), Err(HeaderError::Missing), "{wrong:?}");
    }
    for wrong in [
        "PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
        "PROXY TCP4 1.1.1.1 ::1 1 1\r\n",
        "PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n",
        "PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1\r1.1.1.1 1 1\r\n",
        "PROXY \u{fffd}\r\n",
        "PROXY \r\n",
    ] {
        assert!(matches!(parse(wrong.as_bytes()), Err(HeaderError::Text(_))), "{wrong:?}");
    }
    assert_eq!(parse(b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n"), Err(HeaderError::LineEnd));
    let binary = |bytes: &[u8]| parse(bytes).unwrap_err();
    assert_eq!(binary(&two(0x22, 0x11, &[0; 12])), HeaderError::Command(0x22));
    assert_eq!(binary(&two(0x11, 0x11, &[0; 12])), HeaderError::Command(0x11));
    assert!(matches!(binary(&two(0x21, 0x11, &[0; 11])), HeaderError::Binary(_)), "addresses do not fit");
    assert!(matches!(binary(&two(0x21, 0x41, &[0; 64])), HeaderError::Binary(_)), "no such family");
}

#[test]
fn a_header_is_as_long_as_it_may_be_and_no_longer() {
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    assert_eq!(parse(&endless[..MOST_V1 - 1]), Ok(None));
    assert_eq!(parse(&endless[..MOST_V1]), Err(HeaderError::TooLong(MOST_V1)));
    let longest = two(0x21, 0x11, &[0; MOST - PREAMBLE]);
    assert_eq!(read(&longest).length, MOST);
    let longer = two(0x21, 0x11, &[0; MOST - PREAMBLE + 1]);
    assert_eq!(parse(&longer[..PREAMBLE]), Err(HeaderError::TooLong(MOST)), "nobody waits for it");
}

fn address() -> impl Strategy<Value = SocketAddr> {
    any::<(std::net::IpAddr, u16)>().prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_arrives(
        client in address(), here in address(), is_text in any::<bool>(), after in any::<Vec<u8>>(),
    ) {
        let version = if is_text { ProxyProtocol::V1 } else { ProxyProtocol::V2 };
        let written = header(version, client, here);
        let read = read(&[written.as_slice(), &after].concat());
        prop_assert_eq!(read.length, written.len());
        prop_assert_eq!(read.told, Some(Told { client, here }.plain()));
    }

    #[test]
    fn no_bytes_do_harm(bytes in any::<Vec<u8>>(), version in 0..3) {
        header_bytes(&match version {
            0 => bytes,
            1 => [b"PROXY ", bytes.as_slice()].concat(),
            _ => [SIGNATURE, &[0x21, 0x11, 0, 40], &bytes].concat(),
        });
    }
}
