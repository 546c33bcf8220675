//! Many messages as one: what async-nats takes one message at a time costs more than all the rest of their way.
//!
//! async-nats writes a message as `PUB`, its subject, its length and its bytes. It leaves the subject as it is, so that this
//! may be the text of whole messages, up to the subject of a last one. All of them go into the connection's buffer in one
//! piece, between whatever else is written, and nothing else about the connection changes. The last message is a mark (see
//! `marks`), and so is the first one where that is needed: async-nats has written its verb already.
//!
//! The versions of async-nats are pinned, and each test with a server would fail if it checked or changed subjects.

use crate::message::Message;

/// How many bytes of messages go in one piece, about: as much as async-nats writes at a time.
const PIECE: usize = 60_000;

/// How long a number can be.
const MAX_DIGITS: usize = 20;

/// The subject under an inbox where the answer to a message with this number goes to.
pub fn numbered(inbox: &str, number: u64) -> String {
    let mut subject = String::with_capacity(inbox.len().saturating_add(1 + MAX_DIGITS));
    subject.push_str(inbox);
    subject.push('.');
    subject.push_str(itoa::Buffer::new().format(number));
    subject
}

/// Messages as the protocol writes them, in the making.
#[derive(Debug, Default)]
pub struct Parcel {
    text: String,
}

impl Parcel {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether it is large enough to be sent.
    pub fn is_full(&self) -> bool {
        self.text.len() >= PIECE
    }

    /// Puts a message in; false if it can't be in a parcel, as its bytes are no text. `mark` is a subject that nothing comes of;
    /// `expected` is a header of the link's own, with its value.
    pub fn add(&mut self, message: &Message, reply: Option<&str>, expected: Option<(&str, &str)>, mark: &str) -> bool {
        let Ok(payload) = std::str::from_utf8(&message.payload) else { return false };
        let headers = message.headers.as_str();
        let plain = headers.is_empty() && expected.is_none();
        match (self.text.is_empty(), plain) {
            (true, true) => {}
            // The verb that is written already is the wrong one.
            (true, false) => self.push(&[mark, " 0\r\n\r\nHPUB "]),
            (false, true) => self.text.push_str("PUB "),
            (false, false) => self.text.push_str("HPUB "),
        }
        self.push(&[&message.subject, " "]);
        if let Some(reply) = reply {
            self.push(&[reply, " "]);
        }
        if !plain {
            let own = expected.map_or(0, |(name, value)| name.len() + value.len() + ": \r\n".len());
            let size = FIRST_LINE.len() + headers.len() + own + "\r\n".len();
            self.number(size, " ");
            self.number(size + payload.len(), "\r\n");
            self.push(&[FIRST_LINE, headers]);
            if let Some((name, value)) = expected {
                self.push(&[name, ": ", value, "\r\n"]);
            }
            self.text.push_str("\r\n");
        } else {
            self.number(payload.len(), "\r\n");
        }
        self.push(&[payload, "\r\n"]);
        true
    }

    /// What async-nats is to take for the subject of a message without headers, and is one: `mark`; the others stand before it.
    pub fn close(&mut self, mark: &str) -> String {
        self.push(&["PUB ", mark]);
        let next = String::with_capacity(self.text.len());
        std::mem::replace(&mut self.text, next)
    }

    fn number(&mut self, number: usize, then: &str) {
        self.push(&[itoa::Buffer::new().format(number), then]);
    }

    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.text.push_str(part));
    }
}

/// What headers begin with.
const FIRST_LINE: &str = "NATS/1.0\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Message {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Message::new(subject.to_owned(), headers, payload.to_vec()).unwrap()
    }

    /// As async-nats writes a message without headers.
    fn written(subject: &str, payload: &str) -> String {
        format!("PUB {subject} {}\r\n{payload}\r\n", payload.len())
    }

    #[test]
    fn messages_stand_before_the_last_one_as_the_protocol_writes_them() {
        let mut parcel = Parcel::default();
        assert!(parcel.is_empty());
        assert!(parcel.add(&message("a", &[], b"one\r\n"), None, None, "mark"));
        assert!(parcel.add(&message("b", &[], b""), Some("inbox.1"), None, "mark"));
        assert!(parcel.add(&message("c", &[("X", "y")], "é".as_bytes()), Some("r"), None, "mark"));
        assert!(parcel.add(&message("d", &[("X", "y")], b"!"), None, Some(("E", "s")), "mark"));
        assert!(!parcel.add(&message("e", &[], b"\xff"), None, None, "mark"));
        assert_eq!(
            written(&parcel.close("mark"), "12345678"),
            "PUB a 5\r\none\r\n\r\n\
             PUB b inbox.1 0\r\n\r\n\
             HPUB c r 18 20\r\nNATS/1.0\r\nX: y\r\n\r\né\r\n\
             HPUB d 24 25\r\nNATS/1.0\r\nX: y\r\nE: s\r\n\r\n!\r\n\
             PUB mark 8\r\n12345678\r\n"
        );
        assert!(parcel.is_empty());
    }

    #[test]
    fn a_mark_stands_before_a_first_message_with_headers() {
        let mut parcel = Parcel::default();
        assert!(parcel.add(&message("a", &[], b""), None, Some(("E", "s")), "mark"));
        let wanted = "PUB mark 0\r\n\r\nHPUB a 18 18\r\nNATS/1.0\r\nE: s\r\n\r\n\r\nPUB mark 1\r\n.\r\n";
        assert_eq!(written(&parcel.close("mark"), "."), wanted);
    }

    #[test]
    fn a_parcel_is_full_at_some_time() {
        let mut parcel = Parcel::default();
        let large = message("a", &[], &[b'x'; 1000]);
        let count = (0..1000).take_while(|_| !parcel.is_full() && parcel.add(&large, None, None, "mark")).count();
        assert!((50..70).contains(&count), "{count}");
    }
}
