//! The status of an HTTP answer, as a check needs it: interim answers are skipped, the final one is judged by
//! its first line.
//!
//! Reads what a stranger wrote, so everything is bounded: no line and no run of interim answers is longer
//! than [`LONGEST`]; the time is the caller's to bound. Bodies are not read.

use std::io;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// So much is read before the final status line has ended.
const LONGEST: u64 = 64 << 10;

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("the connection was closed without an answer")]
    Nothing,
    #[error("the connection was closed after an interim answer ({0}), before the final one")]
    Interim(u16),
    #[error("the answer is not HTTP/1.1")]
    NotHttp,
    #[error("the final answer does not begin within {} KiB", LONGEST >> 10)]
    TooLong,
}

/// The status code of the final answer. Any number of interim answers may come first (RFC 9110, section
/// 15.2); `101 Switching Protocols` is final, as nobody asked for that.
pub(super) async fn final_status(stream: impl AsyncRead + Unpin) -> Result<u16, AnswerError> {
    let mut reader = BufReader::new(stream.take(LONGEST));
    let mut interim = None;
    loop {
        let line = read_line(&mut reader).await?;
        if line.is_empty() || !line.ends_with(b"\n") && reader.get_ref().limit() == 0 {
            return Err(ended(&reader, interim));
        }
        let code = status_code(&line).ok_or(AnswerError::NotHttp)?;
        if !(100..200).contains(&code) || code == 101 {
            return Ok(code);
        }
        interim = Some(code);
        // Its fields, up to the empty line.
        loop {
            match &*read_line(&mut reader).await? {
                b"\r\n" | b"\n" => break,
                [] => return Err(ended(&reader, interim)),
                _ => {}
            }
        }
    }
}

/// One line with its end; without one, what came last.
async fn read_line(
    reader: &mut BufReader<tokio::io::Take<impl AsyncRead + Unpin>>,
) -> Result<Vec<u8>, AnswerError> {
    let mut line = vec![];
    reader.read_until(b'\n', &mut line).await?;
    Ok(line)
}

/// Why there is nothing more to read.
fn ended(reader: &BufReader<tokio::io::Take<impl AsyncRead + Unpin>>, interim: Option<u16>) -> AnswerError {
    match interim {
        _ if reader.get_ref().limit() == 0 => AnswerError::TooLong,
        Some(code) => AnswerError::Interim(code),
        None => AnswerError::Nothing,
    }
}

/// The code of `HTTP/1.1 200 OK\r\n` (RFC 9112, section 4). As it allows: a line may end in LF alone, words
/// may be apart by more than a space, the reason may be missing or hold any bytes.
fn status_code(line: &[u8]) -> Option<u16> {
    let line = line.strip_suffix(b"\n")?;
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (version, code) = (words.next()?, words.next()?);
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] = version else { return None };
    let digits = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    let known = line.starts_with(b"HTTP") && minor.is_ascii_digit() && code.len() == 3 && digits(code);
    known.then(|| std::str::from_utf8(code).ok()?.parse().ok()).flatten().filter(|code| *code >= 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is made of an answer that comes byte by byte.
    async fn of(pieces: &[&[u8]]) -> Result<u16, String> {
        let bytes = pieces.concat();
        final_status(Slow(bytes.into())).await.map_err(|error| error.to_string())
    }

    /// Gives one byte with each read.
    struct Slow(std::collections::VecDeque<u8>);

    impl AsyncRead for Slow {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            if let Some(byte) = self.0.pop_front() {
                buffer.put_slice(&[byte]);
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn the_final_status_decides() {
        const NOT: Result<u16, &str> = Err("the answer is not HTTP/1.1");
        let table: &[(&[u8], Result<u16, &str>)] = &[
            (b"HTTP/1.1 200 OK\r\n\r\n", Ok(200)),
            (b"HTTP/1.1 200 OK\r\n", Ok(200)),
            (b"HTTP/1.0 404 Not Found\r\nConnection: close\r\n\r\n", Ok(404)),
            (b"HTTP/1.1 204\r\n\r\n", Ok(204)),
            (b"HTTP/1.1 204 \r\n\r\n", Ok(204)),
            (b"HTTP/1.1 304 Not Modified\r\n\r\n", Ok(304)),
            (b"HTTP/1.1 200 OK\n\n", Ok(200)),
            (b"HTTP/1.1  200  OK\r\n\r\n", Ok(200)),
            (b"HTTP/1.1 200 Tr\xe8s bien\r\n\r\n", Ok(200)),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", Ok(200)),
            (b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Ok(200)),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 \r\n\r\nHTTP/1.1 503 Busy\r\n\r\n", Ok(503)),
            (b"HTTP/1.1 103\nLink: x\n\nHTTP/1.1 200\n\n", Ok(200)),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", Ok(101)),
            (b"HTTP/1.1 999 \r\n", Ok(999)),
            (
                b"HTTP/1.1 103 Early Hints\r\n\r\n",
                Err("the connection was closed after an interim answer (103), before the final one"),
            ),
            (
                b"HTTP/1.1 103 Early Hints\r\nLink: <",
                Err("the connection was closed after an interim answer (103), before the final one"),
            ),
            (b"", Err("the connection was closed without an answer")),
            (b"HTTP/1.1 103 Early Hints\r\n\r\nnonsense\r\n", NOT),
            (b"HTTP/1.1 200 OK", NOT),
            (b"HTTP/2 200\r\n", NOT),
            (b"HTTP/1.1 20 OK\r\n", NOT),
            (b"HTTP/1.1 020 OK\r\n", NOT),
            (b"HTTP/1.1 +20 OK\r\n", NOT),
            (b"HTTP/1.1 2000 OK\r\n", NOT),
            (b" HTTP/1.1 200 OK\r\n", NOT),
            (b"\r\nHTTP/1.1 200 OK\r\n", NOT),
            (b"<html>\n", NOT),
            (b"SSH-2.0-OpenSSH\r\n", NOT),
        ];
        for (answer, expected) in table {
            let said = of(&[answer]).await;
            assert_eq!(said, expected.map_err(String::from), "{}", String::from_utf8_lossy(answer));
        }
    }

    #[tokio::test]
    async fn what_is_long_ends() {
        let long = vec![b'x'; 100 << 10];
        let too_long = Err("the final answer does not begin within 64 KiB".to_owned());
        let head = b"HTTP/1.1 103 Early Hints\r\nLink: ";
        assert_eq!(of(&[head, &long, b"\r\n\r\nHTTP/1.1 200 OK\r\n"]).await, too_long);
        let many = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
        assert_eq!(of(&[&many]).await, too_long);
        let fields = b"X: y\r\n".repeat(5_000);
        assert_eq!(of(&[b"HTTP/1.1 103 \r\n", &fields, b"\r\nHTTP/1.1 200 OK\r\n"]).await, Ok(200));
        // What comes after the final status line is nobody's business.
        assert_eq!(of(&[b"HTTP/1.1 200 OK\r\n", &long]).await, Ok(200));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_status_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            if let Ok(code) = runtime.block_on(of(&[&bytes])) {
                prop_assert!((100..1000).contains(&code));
            }
        }
    }
}
