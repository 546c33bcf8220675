//! What the client's functions have in common: subjects, payloads, headers, time limits.

use crate::config::Fields;
use crate::error::{Code, Error};
use crate::event::check_subject;
use crate::lua::boundary::Call;
use crate::message::Message;
use crate::value::Value;
use std::time::Duration;

/// How long something may be waited for, in milliseconds: an hour.
pub const MAX_WAIT: u64 = 3_600_000;
/// How long it is waited for where nothing else is said, in milliseconds. Ceph 20 ends a script after 1,000 ms.
pub const WAIT: u64 = 500;

fn bad(text: String) -> Error {
    Error::new(Code::BadArgument, text)
}

/// A string that is a subject NATS takes to publish to.
pub fn subject(value: &Value, what: &str) -> Result<String, Error> {
    legal(value, what).map(str::to_owned)
}

fn legal<'v>(value: &'v Value, what: &str) -> Result<&'v str, Error> {
    let text = text(value, what)?;
    check(text, what)?;
    Ok(text)
}

fn check(subject: &str, what: &str) -> Result<(), Error> {
    check_subject(subject).map_err(|problem| Error::new(Code::BadSubject, format!("the {what} {problem}")))
}

/// Likewise, or nothing.
pub fn subject_or_none(value: &Value, what: &str) -> Result<Option<String>, Error> {
    if matches!(value, Value::Nil) { Ok(None) } else { subject(value, what).map(Some) }
}

/// A subject to subscribe to: `*` as a token stands for any one, `>` as the last for all that follow.
pub fn wildcard_subject(value: &Value) -> Result<String, Error> {
    let text = text(value, "subject")?;
    let mut tokens: Vec<&str> = text.split('.').collect();
    if tokens.last() == Some(&">") {
        tokens.pop();
        tokens.push("x");
    }
    let plain: Vec<&str> = tokens.into_iter().map(|token| if token == "*" { "x" } else { token }).collect();
    check_subject(&plain.join("."))
        .map_err(|problem| Error::new(Code::BadSubject, format!("the subject {problem}")))?;
    Ok(text.to_owned())
}

/// A string that is UTF-8.
pub fn text<'v>(value: &'v Value, what: &str) -> Result<&'v str, Error> {
    value.text().ok_or_else(|| {
        let kind = if matches!(value, Value::String(_)) { "bytes that are no UTF-8" } else { value.kind() };
        bad(format!("the {what} must be a string, got {kind}"))
    })
}

/// A name of a stream, consumer or bucket: what may stand as one token of a subject.
pub fn name<'v>(value: &'v Value, what: &str) -> Result<&'v str, Error> {
    let name = text(value, what)?;
    let legal = |c: char| !c.is_whitespace() && !c.is_control() && !".*>/\\".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(legal) {
        return Err(bad(format!("the {what} must have 1 to 255 bytes, none of them white space, . * > / or \\")));
    }
    Ok(name)
}

/// The bytes of a payload, taken out of the call.
pub fn payload(call: &mut Call, place: usize) -> Result<Vec<u8>, Error> {
    match call.take(place) {
        Value::String(bytes) => Ok(bytes),
        Value::Nil => Ok(Vec::new()),
        other => Err(bad(format!("the payload must be a string, got {}; tostring() makes one", other.kind()))),
    }
}

/// The message of a call: subject and payload from `place` on, its headers at `headers`.
pub fn message(call: &mut Call, place: usize, headers: usize) -> Result<Message, Error> {
    let subject = match call.take(place) {
        Value::String(bytes) => String::from_utf8(bytes).map_err(|error| Value::String(error.into_bytes())),
        other => Err(other),
    };
    // What is no text is told by who knows how to.
    let subject = subject.or_else(|other| text(&other, "subject").map(str::to_owned))?;
    check(&subject, "subject")?;
    let headers = self::headers(call.argument(headers))?;
    let payload = payload(call, place.saturating_add(1))?;
    Message::new(subject, headers, payload)
}

/// Headers come as a table of names with a text each, or with a list of texts.
pub fn headers(value: &Value) -> Result<Vec<(String, String)>, Error> {
    let entries = match value {
        Value::Nil => return Ok(Vec::new()),
        Value::Table(entries) => entries,
        other => return Err(bad(format!("the headers must be a table, got {}", other.kind()))),
    };
    let mut headers = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        // RFC 9110, 5.6.2: what a name is made of; NATS takes over HTTP's.
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let name = name.text().filter(|name| !name.is_empty() && name.bytes().all(legal));
        let name = name.ok_or_else(|| bad("a header's name must be letters, digits and hyphens".into()))?;
        let values = value.items().filter(|items| !items.is_empty()).unwrap_or_else(|| vec![value]);
        for value in values {
            let text = value.text().filter(|text| !text.contains(['\r', '\n', '\0']));
            let text = text.ok_or_else(|| {
                bad(format!("the header {name} must be a string without line breaks, or a list of such"))
            })?;
            headers.push((name.to_owned(), text.to_owned()));
        }
    }
    Ok(headers)
}

/// A time limit, as one argument of a call: milliseconds.
pub fn limit(value: &Value, default: u64) -> Result<Duration, Error> {
    let number = match value {
        Value::Nil => Some(default),
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::Number(number) if (0.0..1e9).contains(number) => Some(number.ceil() as u64),
        _ => None,
    };
    number.filter(|number| *number <= MAX_WAIT).map(Duration::from_millis).ok_or_else(|| {
        bad(format!("a time limit is a number of milliseconds from 0 to {MAX_WAIT}, not this {}", value.kind()))
    })
}

/// The options that are the argument at a place; nothing, or a table.
pub fn options(call: &Call, place: usize) -> Result<Fields<'_>, Error> {
    match call.argument(place) {
        options @ (Value::Nil | Value::Table(_)) => Ok(Fields::new("options", options)),
        other => Err(bad(format!("the options must be a table, got {}", other.kind()))),
    }
}

/// The option `timeout_ms`.
pub fn timeout(fields: &mut Fields<'_>) -> Duration {
    Duration::from_millis(fields.integer("timeout_ms", 0..=MAX_WAIT, WAIT))
}
