//! What is delivered: a subject, headers and bytes. The layers below the event know nothing else of it.

use crate::error::{Code, Error};
use bytes::Bytes;

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
        Ok(Message { subject, headers, payload: Bytes::from(payload) })
    }

    /// How much this message counts against the bound of a queue, in bytes.
    pub fn cost(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        self.subject.len() + headers + self.payload.len() + 128
    }
}
