//! Reads server-sent events (WHATWG HTML, §9.2.6) from chunks of bytes. No IO.

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Frame {
    /// The `data` lines, joined by line feeds.
    pub(crate) data: String,
}

/// A reader that has seen part of a stream.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    rest: Vec<u8>,
    data: Vec<String>,
}

impl Parser {
    /// Takes the next bytes and answers with the events that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.rest.extend_from_slice(bytes);
        let mut frames = vec![];
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]);
            frames.extend(self.line(line.trim_end_matches('\r')));
        }
        frames
    }

    /// An empty line ends an event; lines that start with a colon are comments that keep the line open.
    fn line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return (!data.is_empty()).then(|| Frame { data: data.join("\n") });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            self.data.push(value.strip_prefix(' ').unwrap_or(value).to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(chunks: &[&str]) -> Vec<String> {
        let mut parser = Parser::default();
        chunks.iter().flat_map(|chunk| parser.push(chunk.as_bytes())).map(|frame| frame.data).collect()
    }

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let text = ": hello\n\nid: 1\ndata: {\"a\":\"ä\"}\n\nid: 2\r\ndata: x\r\ndata: y\r\n\r\n:\n\n";
        let whole = frames(&[text]);
        assert_eq!(whole, ["{\"a\":\"ä\"}", "x\ny"]);
        let mut parser = Parser::default();
        let single: Vec<_> = text.bytes().flat_map(|byte| parser.push(&[byte])).map(|f| f.data).collect();
        assert_eq!(single, whole);
    }

    #[test]
    fn an_event_without_its_empty_line_is_not_given_out() {
        assert!(frames(&["id: 1\ndata: x\n"]).is_empty());
    }
}
