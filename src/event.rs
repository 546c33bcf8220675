//! From a request to a message: which event it is, RGW's record of it, its subject and its id.
//!
//! Pure: no clock and no I/O; the time and the sequence are arguments. Knows neither Lua nor NATS' connections.

mod operation;
mod record;
mod request;
mod rule;
mod subject;

pub use operation::Operation;
pub use request::{Map, Release, Request, Text};
pub use rule::{Configuration, Rule};
pub use subject::{Template, check as check_subject};

use crate::error::Error;
use crate::message::Message;

/// When an event is made, and which one it is: the two things that the record needs from outside.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Nanoseconds since 1970, UTC.
    pub nanos: u64,
    /// Higher for each event of a process, never used twice.
    pub sequence: u64,
}

/// The message of a request under a rule; none if the rule does not fit it.
///
/// # Errors
/// `bad_subject`, if the subject would be longer than NATS takes.
pub fn message(request: &Request, rule: &Rule, moment: Moment) -> Result<Option<Message>, Error> {
    let Some(operation) = request.event().filter(|operation| rule.fits(request, operation)) else { return Ok(None) };
    let event = operation.event_name();
    let subject = rule.subject.fill(request, event, &rule.id)?;
    let payload = record::encode(request, operation, rule, moment)?;
    let request_id = match request.text(Text::Id) {
        // No gateway gave this request: nothing but its own number tells it from the next one.
        none if none.is_empty() => format!("{:016X}", moment.sequence).into(),
        id => id,
    };
    // A script may notify twice of one request, under two subjects and the same rule's id: two messages.
    let id = format!("{request_id}/{event}/{}/{:08x}", rule.id, rule.subject.fingerprint());
    let headers = vec![("Nats-Msg-Id".into(), id), ("Content-Type".into(), "application/json".into())];
    Ok(Some(Message::new(subject, headers, payload)?))
}
