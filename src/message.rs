//! What is delivered: a subject, headers and bytes. The layers below the event know nothing else of it.

mod headers;
mod pattern;

pub use headers::Headers;
pub use pattern::Pattern;

use crate::error::{Code, Error};
use bytes::Bytes;
use std::borrow::Cow;

/// The largest payload that this library takes, in bytes: what a server can be set up to take at most (`max_payload`).
pub const MAX_PAYLOAD: usize = 64 << 20;

/// How many smaller forms a message may have.
const MAX_FORMS: usize = 8;

/// What a message is for, which is what decides whom to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To arrive: at the stream that was named, at one that takes it, or at the server if none does.
    #[default]
    Event,
    /// To tell of a message that was given up. The stream that was named for others need not take it.
    Letter,
    /// To ask or to answer somebody. No stream is waited for: its acknowledgement would go where the answer is to go to.
    Exchange,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// A legal subject.
    pub subject: String,
    /// Its headers.
    pub headers: Headers,
    /// The bytes.
    pub payload: Bytes,
    /// What to send instead where this is larger than the server takes.
    pub smaller: Option<Box<Message>>,
    /// Messages that have this number in common go out one after another, in their order; 0 is for those that need not.
    pub lane: u64,
    /// Where answers are to go to.
    pub reply: Option<String>,
    /// What to ask JetStream for streams by.
    pub pattern: Pattern,
    /// What it is for.
    pub purpose: Purpose,
}

impl Message {
    /// A message that NATS can carry.
    ///
    /// # Errors
    /// `too_large`, if the payload is larger than any server takes.
    pub fn new(subject: String, headers: impl Into<Headers>, payload: Vec<u8>) -> Result<Message, Error> {
        if payload.len() > MAX_PAYLOAD {
            let message = format!("a payload of {} bytes; no server takes more than {MAX_PAYLOAD}", payload.len());
            return Err(Error::new(Code::TooLarge, message));
        }
        Ok(Message::bare(subject, headers, payload))
    }

    /// A message of a size that is known to be within bounds.
    pub fn bare(subject: String, headers: impl Into<Headers>, payload: impl Into<Bytes>) -> Message {
        Message {
            subject,
            headers: headers.into(),
            payload: payload.into(),
            smaller: None,
            lane: 0,
            reply: None,
            pattern: Pattern::None,
            purpose: Purpose::default(),
        }
    }

    /// What a server counts against its `max_payload`, in bytes: the payload, and the headers as the protocol writes them.
    pub fn size(&self) -> usize {
        self.headers.size().saturating_add(self.payload.len())
    }

    /// Gives the message, and its smaller forms, another id than it had: it is sent anew, and is no repetition.
    pub fn rename(&mut self, number: u64) {
        self.headers.extend("Nats-Msg-Id", &format!(".r{number}"));
        if let Some(smaller) = &mut self.smaller {
            smaller.rename(number);
        }
    }

    /// The subject with wildcards to ask JetStream for streams by; none for what no stream is asked for.
    pub fn asks_by(&self) -> Option<Cow<'_, str>> {
        self.pattern.of(&self.subject)
    }

    /// Whether JetStream is asked the same for both.
    pub fn asks_like(&self, other: &Message) -> bool {
        self.pattern == other.pattern
            && (self.pattern != Pattern::Kin || pattern::are_kin(&self.subject, &other.subject))
    }

    /// That it is larger than a server takes, which is so many bytes.
    pub fn too_large(&self, limit: usize) -> Error {
        let text = format!("a message of {} bytes to {}; the server takes {limit}", self.size(), self.subject);
        Error::new(Code::TooLarge, text)
    }

    /// This message or the first of its smaller ones that is within a server's `max_payload`.
    pub fn within(&self, limit: usize) -> Option<&Message> {
        let mut form = self;
        while form.size() > limit {
            form = form.smaller.as_deref()?;
        }
        Some(form)
    }

    /// How much this message counts against the bound of a queue, in bytes.
    pub fn cost(&self) -> usize {
        let smaller = self.smaller.as_ref().map_or(0, |smaller| smaller.cost());
        self.subject.len() + self.headers.bytes() + self.payload.len() + 256 + smaller
    }
}

/// What messages as bytes begin with.
const FORMAT: u8 = 2;

impl Message {
    /// As bytes that [`Message::decode`] reads, in any process.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        self.append(&mut bytes);
        bytes
    }

    fn append(&self, bytes: &mut Vec<u8>) {
        let mut put = |part: &[u8]| {
            bytes.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend(part);
        };
        put(&[u8::from(self.purpose == Purpose::Exchange)]);
        put(&self.lane.to_le_bytes());
        put(self.subject.as_bytes());
        put(self.reply.as_deref().unwrap_or_default().as_bytes());
        put(self.asks_by().unwrap_or_default().as_bytes());
        put(&self.payload);
        put(&u32::try_from(self.headers.count()).unwrap_or(u32::MAX).to_le_bytes());
        for (name, value) in self.headers.iter() {
            put(name.as_bytes());
            put(value.as_bytes());
        }
        bytes.push(u8::from(self.smaller.is_some()));
        if let Some(smaller) = &self.smaller {
            smaller.append(bytes);
        }
    }

    /// The message of what [`Message::encode`] made; none of anything else.
    pub fn decode(bytes: &[u8]) -> Option<Message> {
        let mut rest = bytes.strip_prefix(&[FORMAT])?;
        let message = Message::take(&mut rest, MAX_FORMS)?;
        rest.is_empty().then_some(message)
    }

    fn take(rest: &mut &[u8], forms: usize) -> Option<Message> {
        let mut part = || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (part, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            *rest = after;
            Some(part)
        };
        let text = |part: &[u8]| String::from_utf8(part.to_vec()).ok();
        let purpose = match part()? {
            [0] => Purpose::Event,
            [1] => Purpose::Exchange,
            _ => return None,
        };
        let lane = u64::from_le_bytes(part()?.try_into().ok()?);
        let subject = text(part()?)?;
        let reply = Some(text(part()?)?).filter(|reply| !reply.is_empty());
        let pattern = text(part()?)?;
        let pattern = if pattern.is_empty() { Pattern::None } else { Pattern::Given(pattern.into()) };
        let payload = Bytes::copy_from_slice(part()?);
        let count = u32::from_le_bytes(part()?.try_into().ok()?);
        let mut headers = Headers::default();
        for _ in 0..count {
            let name = part()?;
            headers.add(std::str::from_utf8(name).ok()?, std::str::from_utf8(part()?).ok()?);
        }
        let (more, after) = rest.split_first()?;
        *rest = after;
        let smaller = match more {
            0 => None,
            _ => Some(Box::new(Message::take(rest, forms.checked_sub(1)?)?)),
        };
        Some(Message { subject, headers, payload, smaller, lane, reply, pattern, purpose })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_form_that_fits_goes_out() {
        let form = |size: usize| Message::new("s".into(), Vec::new(), vec![0; size]).unwrap();
        let mut message = form(30);
        message.smaller = Some(Box::new(Message { smaller: Some(Box::new(form(10))), ..form(20) }));
        let size = |limit| message.within(limit).map(Message::size);
        assert_eq!([size(30), size(29), size(19), size(9)], [Some(30), Some(20), Some(10), None]);
        assert_eq!(message.cost(), 3 + 60 + 3 * 256);
    }

    #[test]
    fn a_message_comes_back_from_its_bytes() {
        let headers = vec![("Nats-Msg-Id".to_owned(), "é".to_owned()), (String::new(), String::new())];
        let mut message = Message::new("s.a".into(), headers, b"\0\xff".to_vec()).unwrap();
        (message.lane, message.pattern) = (u64::MAX, Pattern::Given("s.*".into()));
        (message.reply, message.purpose) = (Some("r".into()), Purpose::Exchange);
        message.smaller = Some(Box::new(Message::new("s.a".into(), Vec::new(), Vec::new()).unwrap()));
        let bytes = message.encode();
        assert_eq!(format!("{:?}", Message::decode(&bytes).unwrap()), format!("{message:?}"));
        for end in 0..bytes.len() {
            assert!(Message::decode(&bytes[..end]).is_none(), "{end}");
        }
        let mut other = bytes.clone();
        other.push(0);
        assert!(Message::decode(&other).is_none());
        other[0] = 9;
        assert!(Message::decode(&other).is_none());
    }

    #[test]
    fn headers_count_as_the_protocol_writes_them() {
        let headers = vec![("A".into(), "b".into()), ("C".into(), "d".into())];
        let written = "NATS/1.0\r\nA: b\r\nC: d\r\n\r\n";
        assert_eq!(Message::new("s".into(), headers, vec![0; 5]).unwrap().size(), written.len() + 5);
        assert_eq!(Message::new("s".into(), Vec::new(), vec![0; 5]).unwrap().size(), 5);
    }
}
