//! What is delivered: a subject, headers and bytes. The layers below the event know nothing else of it.

use crate::error::{Code, Error};
use bytes::Bytes;
use std::sync::Arc;

/// The largest payload that this library takes, in bytes: what a server can be set up to take at most (`max_payload`).
pub const MAX_PAYLOAD: usize = 64 << 20;

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// A legal subject.
    pub subject: String,
    /// Names with values, none with a line break in it.
    pub headers: Vec<(String, String)>,
    /// The bytes.
    pub payload: Bytes,
    /// What to send instead where this is larger than the server takes.
    pub smaller: Option<Box<Message>>,
    /// Messages that have this number in common go out one after another, in their order; 0 is for those that need not.
    pub lane: u64,
    /// A subject with wildcards that stands for this one and its like: what to ask JetStream for streams by.
    pub pattern: Option<Arc<str>>,
}

impl Message {
    /// A message that NATS can carry.
    ///
    /// # Errors
    /// `too_large`, if the payload is larger than any server takes.
    pub fn new(subject: String, headers: Vec<(String, String)>, payload: Vec<u8>) -> Result<Message, Error> {
        if payload.len() > MAX_PAYLOAD {
            let message = format!("a payload of {} bytes; no server takes more than {MAX_PAYLOAD}", payload.len());
            return Err(Error::new(Code::TooLarge, message));
        }
        // A line break would end the header, and what follows would be another one.
        let clean = |text: String| if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], " ") } else { text };
        let headers = headers.into_iter().map(|(name, value)| (name, clean(value))).collect();
        Ok(Message { subject, headers, payload: Bytes::from(payload), smaller: None, lane: 0, pattern: None })
    }

    /// What a server counts against its `max_payload`, in bytes: the payload, and the headers as the protocol writes them.
    pub fn size(&self) -> usize {
        let lines = self.headers.iter().map(|(name, value)| name.len() + ": \r\n".len() + value.len()).sum::<usize>();
        let headers = if self.headers.is_empty() { 0 } else { "NATS/1.0\r\n\r\n".len() + lines };
        headers + self.payload.len()
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
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        let smaller = self.smaller.as_ref().map_or(0, |smaller| smaller.cost());
        self.subject.len() + headers + self.payload.len() + 128 + smaller
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
        assert_eq!(message.cost(), 3 + 60 + 3 * 128);
    }

    #[test]
    fn headers_count_as_the_protocol_writes_them() {
        let headers = vec![("A".into(), "b".into()), ("C".into(), "d".into())];
        let written = "NATS/1.0\r\nA: b\r\nC: d\r\n\r\n";
        assert_eq!(Message::new("s".into(), headers, vec![0; 5]).unwrap().size(), written.len() + 5);
        assert_eq!(Message::new("s".into(), Vec::new(), vec![0; 5]).unwrap().size(), 5);
    }
}
