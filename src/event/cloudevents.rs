//! CloudEvents 1.0 with the values that RGW's HTTP endpoint gives them (`cloudevents=true`; peers.md, c), in the two modes of
//! the NATS protocol binding: binary, as headers, and structured, as JSON around the record.

use super::record;
use super::request::{Request, Text};
use super::rule::KeyEncoding;
use super::{Moment, Operation};
use crate::error::{Code, Error};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The content type of a record.
pub const JSON: &str = "application/json";
/// The content type of a structured event.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// The attributes of an event but for its id.
pub fn attributes(
    request: &Request,
    operation: &Operation,
    key_encoding: KeyEncoding,
    moment: Moment,
) -> [(&'static str, String); 6] {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let source = format!("ceph:s3.{}.{}", text(record::region(request)), request.text(Text::Bucket));
    let mut time = String::new();
    record::event_time(request.bytes(Text::Time), moment, |part| time.push_str(part));
    [
        ("specversion", "1.0".to_owned()),
        ("source", source),
        ("type", format!("com.amazonaws.{}", operation.event_name())),
        ("subject", text(&record::key(request, key_encoding))),
        ("time", time),
        ("datacontenttype", JSON.to_owned()),
    ]
}

/// An event with its record in it.
///
/// # Errors
/// `internal`, if JSON can't hold it; no input is known that leads there.
pub fn structured(
    request: &Request,
    operation: &Operation,
    key_encoding: KeyEncoding,
    moment: Moment,
    id: String,
    record: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let internal = |error: String| Error::new(Code::Internal, format!("the event can't be written: {error}"));
    let data = String::from_utf8(record).map_err(|error| internal(error.to_string()))?;
    let data = RawValue::from_string(data).map_err(|error| internal(error.to_string()))?;
    let mut event: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for (name, value) in attributes(request, operation, key_encoding, moment).into_iter().chain([("id", id)]) {
        let value = serde_json::value::to_raw_value(&value).map_err(|error| internal(error.to_string()))?;
        event.insert(name, value);
    }
    event.insert("data", data);
    serde_json::to_vec(&event).map_err(|error| internal(error.to_string()))
}

/// A value as a header has it: what is no printable ASCII, and space, `"` and `%`, as `%` and two hexadecimal digits for
/// each byte (NATS protocol binding, 3.1.3.2, which is that of HTTP).
pub fn header_value(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' => super::subject::percent(&[byte], &mut text),
            b'!'..=b'~' => text.push(char::from(byte)),
            _ => super::subject::percent(&[byte], &mut text),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_printable_ascii_alone() {
        assert_eq!(header_value("a b\"%é\r\n~!"), "a%20b%22%25%C3%A9%0D%0A~!");
    }
}
