//! HTTP/1.1 (RFC 9112), as little of it as a guestbook needs, and strictly: one request per
//! connection, bodies with a length only, everything bounded in size and time.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

const LONGEST_HEAD: usize = 8 * 1024;
const LONGEST_BODY: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;
/// How long a whole request may take to arrive, and an answer to leave.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without its query.
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// What it is answered.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) location: Option<&'static str>,
    pub(crate) body: String,
}

/// Why there is no request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// To be answered with this status and reason.
    Bad(u16, &'static str),
    /// Nobody is there to answer.
    Gone,
}

/// The head of a request, and how long its body is.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    method: String,
    path: String,
    length: usize,
}

/// Reads the one request of a connection.
pub(crate) fn read(stream: &mut TcpStream) -> Result<Request, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut bytes = Vec::new();
    let body_at = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if bytes.len() > LONGEST_HEAD {
            return Err(Failure::Bad(431, "the head of the request is too long"));
        }
        more(stream, &mut bytes, deadline)?;
    };
    let head = parse(&bytes[..body_at])?;
    while bytes.len() < body_at + head.length {
        more(stream, &mut bytes, deadline)?;
    }
    let body = bytes[body_at..body_at + head.length].to_vec();
    Ok(Request { method: head.method, path: head.path, body })
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>, deadline: Instant) -> Result<(), Failure> {
    const LATE: Failure = Failure::Bad(408, "the request did not arrive in time");
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(LATE);
    }
    let mut part = [0; 4096];
    let read = stream.set_read_timeout(Some(left)).and_then(|()| stream.read(&mut part));
    match read {
        Ok(0) => Err(Failure::Gone),
        Ok(read) => {
            bytes.extend_from_slice(&part[..read]);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(LATE)
        }
        Err(_) => Err(Failure::Gone),
    }
}

/// Parses a head, from the request line to the empty line.
fn parse(head: &[u8]) -> Result<Head, Failure> {
    const BAD: Failure = Failure::Bad(400, "this is not an HTTP/1.1 request");
    let text = str::from_utf8(head).ok().and_then(|text| text.strip_suffix("\r\n\r\n")).ok_or(BAD)?;
    if text.replace("\r\n", "").contains(|c: char| c.is_control() && c != '\t') {
        return Err(BAD);
    }
    let mut lines = text.split("\r\n");
    let [method, target, version] = lines.next().ok_or(BAD)?.split(' ').collect::<Vec<_>>()[..] else {
        return Err(BAD);
    };
    if !is_token(method) || !target.starts_with('/') {
        return Err(BAD);
    }
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err(Failure::Bad(505, "this server speaks HTTP/1.1"));
    }
    let (mut hosts, mut length) = (0, None);
    for (at, line) in lines.enumerate() {
        let (name, value) = line.split_once(':').filter(|(name, _)| is_token(name)).ok_or(BAD)?;
        if at >= MOST_HEADERS {
            return Err(Failure::Bad(431, "the request has too many headers"));
        }
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            // Two lengths, or a length and chunks, are how requests are smuggled (RFC 9112, 6.3).
            "content-length" if length.is_some() => return Err(BAD),
            "content-length" => length = Some(parse_length(value.trim())?),
            "transfer-encoding" => {
                return Err(Failure::Bad(501, "send a body with its length, not in chunks"));
            }
            _ => {}
        }
    }
    if hosts > 1 || (hosts == 0 && version == "HTTP/1.1") {
        return Err(Failure::Bad(400, "a request names one host"));
    }
    if method == "POST" && length.is_none() {
        return Err(Failure::Bad(411, "send a body with its length"));
    }
    let path = target.split('?').next().unwrap_or(target);
    Ok(Head { method: method.into(), path: path.into(), length: length.unwrap_or(0) })
}

fn parse_length(text: &str) -> Result<usize, Failure> {
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(Failure::Bad(400, "the length of the body is not a number"));
    }
    match text.parse() {
        Ok(length) if length <= LONGEST_BODY => Ok(length),
        _ => Err(Failure::Bad(413, "the message is too long")),
    }
}

/// A token (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    let special = |c| b"!#$%&'*+-.^_`|~".contains(&c);
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || special(c))
}

impl Response {
    /// A line of text.
    pub(crate) fn text(status: u16, text: impl Into<String>) -> Response {
        let body = text.into() + "\n";
        Response { status, kind: "text/plain; charset=utf-8", location: None, body }
    }

    /// Sends it and ends the connection; `with_body` is false for HEAD.
    pub(crate) fn send(&self, stream: &mut TcpStream, with_body: bool) -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        let location = self.location.map(|to| format!("Location: {to}\r\n")).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{location}{HEADERS}\r\n",
            self.status,
            reason(self.status),
            self.kind,
            self.body.len(),
        );
        stream.write_all(head.as_bytes())?;
        if with_body {
            stream.write_all(self.body.as_bytes())?;
        }
        stream.shutdown(std::net::Shutdown::Write)
    }
}

/// Takes what a refused client is still sending: a connection closed over unread bytes is reset, and
/// the client would never see why it was refused (RFC 9112, 9.6).
pub(crate) fn drain(stream: &mut TcpStream) {
    let mut sink = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(1);
    while sink.len() < 64 * 1024 && more(stream, &mut sink, deadline).is_ok() {}
}

/// On every answer: nothing is cached, nothing but the page's own style is loaded.
const HEADERS: &str = "Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
frame-ancestors 'none'\r\n";

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> u16 {
        match parse(head.as_bytes()) {
            Ok(_) => 200,
            Err(Failure::Bad(status, _)) => status,
            Err(Failure::Gone) => 0,
        }
    }

    #[test]
    fn a_usual_request() {
        let head = b"POST /messages?x=1 HTTP/1.1\r\nhost: a\r\nContent-Length: 12\r\nAccept: */*\r\n\r\n";
        let wanted = Head { method: "POST".into(), path: "/messages".into(), length: 12 };
        assert_eq!(parse(head), Ok(wanted));
    }

    #[test]
    fn what_is_not_strictly_http_is_refused() {
        for (wanted, head) in [
            (200, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (200, "GET / HTTP/1.0\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            (400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, "GET /\r\n\r\n"),
            (400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (400, "GET / HTTP/1.1\nHost: a\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            (411, "POST / HTTP/1.1\r\nHost: a\r\n\r\n"),
            (413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 16385\r\n\r\n"),
            (413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
            (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (505, "GET / HTTP/2\r\nHost: a\r\n\r\n"),
        ] {
            assert_eq!(status(head), wanted, "{head:?}");
        }
        let many = "A: b\r\n".repeat(MOST_HEADERS + 1);
        assert_eq!(status(&format!("GET / HTTP/1.0\r\n{many}\r\n")), 431);
    }
}
