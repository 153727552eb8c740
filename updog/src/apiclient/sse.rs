//! PURE: server-sent events out of bytes that come in pieces.

/// Bytes of one message; a status fits many times over.
pub(super) const MESSAGE_LIMIT: usize = 4 << 20;

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Its kind.
    pub(super) event: String,
    /// Its lines of data.
    pub(super) data: String,
}

/// A message has no end within [`MESSAGE_LIMIT`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// What came so far of the next message.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    message: Message,
    has_data: bool,
    /// A newline that follows belongs to it.
    was_return: bool,
}

impl Parser {
    /// The messages that `bytes` complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Message>, TooLarge> {
        let mut messages = Vec::new();
        for &byte in bytes {
            let follows = std::mem::replace(&mut self.was_return, byte == b'\r');
            match byte {
                b'\n' if follows => {}
                b'\r' | b'\n' => messages.extend(self.end_line()),
                _ if self.line.len() + self.message.data.len() >= MESSAGE_LIMIT => {
                    return Err(TooLarge);
                }
                _ => self.line.push(byte),
            }
        }
        Ok(messages)
    }

    fn end_line(&mut self) -> Option<Message> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // A comment, which keeps the connection alive; or what nobody asked for.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let found = pieces.iter().flat_map(|piece| parser.feed(piece).unwrap());
        found.map(|it| (it.event, it.data)).collect()
    }

    #[test]
    fn a_message_is_its_fields_up_to_an_empty_line() {
        let pair = |event: &str, data: &str| (event.to_owned(), data.to_owned());
        for (stream, expected) in [
            ("", vec![]),
            ("event: status\ndata: {}\n", vec![]),
            ("event: status\ndata: {}\n\n", vec![pair("status", "{}")]),
            (
                "event:status\r\ndata:{}\r\n\r\n",
                vec![pair("status", "{}")],
            ),
            (
                "event: a\rdata: b\r\rdata: c\r\r",
                vec![pair("a", "b"), pair("", "c")],
            ),
            (": alive\n\nevent: e\n\ndata:  x\n\n", vec![pair("", " x")]),
            ("data: a\ndata\ndata: b\n\n", vec![pair("", "a\n\nb")]),
            ("id: 7\nretry: 1\ndata: a:b\n\n", vec![pair("", "a:b")]),
        ] {
            assert_eq!(messages(&[stream.as_bytes()]), expected, "{stream:?}");
            let single: Vec<_> = stream.as_bytes().chunks(1).collect();
            assert_eq!(messages(&single), expected, "{stream:?}, byte by byte");
        }
    }

    #[test]
    fn a_message_without_an_end_is_not_kept() {
        let mut parser = Parser::default();
        assert_eq!(parser.feed(&vec![b'x'; MESSAGE_LIMIT]), Ok(vec![]));
        assert_eq!(parser.feed(b"x"), Err(TooLarge));
        let mut parser = Parser::default();
        let line = [b"data:", &vec![b'x'; MESSAGE_LIMIT / 2 + 1][..], b"\n"].concat();
        assert_eq!(parser.feed(&line), Ok(vec![]));
        assert_eq!(parser.feed(&line), Err(TooLarge));
    }
}
