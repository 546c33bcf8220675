//! The headers of a message, so that a consumer can tell what it is without reading the record.

use super::request::{Map, Request, Text};
use super::rule::{Format, KeyEncoding, Rule};
use super::{Moment, Omit, Operation, cloudevents, identity, record};
use crate::message::Headers;
use std::borrow::Cow;

/// How long a tracestate is taken over, in bytes (W3C Trace Context, 3.3.1.1).
const MAX_TRACESTATE: usize = 512;
/// The room that headers take but for what the request brings, in bytes.
const FRAME: usize = 256;

/// The id of a request.
fn request_id(request: &Request, moment: Moment) -> Cow<'_, str> {
    match request.text(Text::Id) {
        // No gateway gave this request: nothing but its own number tells it from the next one.
        none if none.is_empty() => record::sortable(moment.sequence).into(),
        id => id,
    }
}

/// The headers of a message: its id, and those that rules have in common.
pub fn under(id: &str, format: Format, common: &Headers) -> Headers {
    let mut headers = Headers::with_capacity(FRAME + id.len().saturating_mul(2) + common.bytes());
    headers.add("Nats-Msg-Id", id);
    if format == Format::CloudEvents {
        headers.add("ce-id", &cloudevents::header_value(id));
    }
    headers.append(common);
    headers
}

/// The id of a message, which a stream knows a repetition by: request, event, rule, and a hash of the object and the
/// subject's template. One request can be the cause of several messages: a rule for each subject, and an event for each
/// key of a multi-object delete.
pub fn message_id(rule: &Rule, request: &Request, operation: &Operation, moment: Moment, object: u64) -> String {
    let hash = identity::hexadecimal(object ^ rule.subject.hash());
    [&request_id(request, moment), "/", operation.event_name(), "/", &rule.id, "/", &hash].concat()
}

/// The headers that rules of a format and an encoding of keys have in common.
pub fn common(
    request: &Request,
    operation: &Operation,
    format: Format,
    key_encoding: KeyEncoding,
    moment: Moment,
    omit: Omit,
) -> Headers {
    let mut headers = Headers::with_capacity(FRAME);
    let mut add = |name: &str, value: &str| headers.add(name, value);
    let structured = format == Format::CloudEventsStructured;
    add("Content-Type", if structured { cloudevents::STRUCTURED } else { cloudevents::JSON });
    add("Rgw-Event", operation.event_name());
    add("Rgw-Bucket", &request.text(Text::Bucket));
    if !request.bytes(Text::Tenant).is_empty() {
        add("Rgw-Tenant", &request.text(Text::Tenant));
    }
    add("Rgw-Request-Id", &request_id(request, moment));
    if !request.bytes(Text::TransactionId).is_empty() {
        add("Rgw-Transaction-Id", &request.text(Text::TransactionId));
    }
    if key_encoding == KeyEncoding::Aws {
        add("Rgw-Key-Encoding", "aws");
    }
    let is_missing = |map: &Map, omitted: bool| map.is_truncated() || (omitted && !map.is_empty());
    match (is_missing(&request.metadata, omit.metadata()), is_missing(&request.tags, omit.tags())) {
        (false, false) => {}
        (true, false) => add("Rgw-Incomplete", "metadata"),
        (false, true) => add("Rgw-Incomplete", "tags"),
        (true, true) => add("Rgw-Incomplete", "metadata,tags"),
    }
    trace(&request.metadata, &mut add);
    if format == Format::CloudEvents {
        for (name, value) in cloudevents::attributes(request, operation, key_encoding, moment) {
            add(&format!("ce-{name}"), &cloudevents::header_value(&value));
        }
    }
    headers
}

/// The trace that the client's request belongs to. RGW shows a script no other headers than those that begin with x-amz-.
fn trace(metadata: &Map, add: &mut impl FnMut(&str, &str)) {
    let get = |name: &[u8]| metadata.get(name).and_then(|value| std::str::from_utf8(value).ok());
    let Some(parent) = get(b"x-amz-meta-traceparent").filter(|parent| is_traceparent(parent)) else { return };
    add("traceparent", parent);
    let printable =
        |state: &&str| state.len() <= MAX_TRACESTATE && state.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if let Some(state) = get(b"x-amz-meta-tracestate").filter(printable) {
        add("tracestate", state);
    }
}

/// Whether this is a traceparent of version 00 (W3C Trace Context, 3.2.2): version, trace, span and flags in hexadecimal.
fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut is_hex = |length: usize| {
        parts.next().is_some_and(|part| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        })
    };
    let zeros = |place: usize| text.split('-').nth(place).is_none_or(|part| part.bytes().all(|byte| byte == b'0'));
    text.starts_with("00-")
        && !zeros(1)
        && !zeros(2)
        && is_hex(2)
        && is_hex(32)
        && is_hex(16)
        && is_hex(2)
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_traceparent_is_one() {
        let right = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(right));
        let broken = [&right[1..], &format!("{right}-01"), &right.to_uppercase(), &format!("01{}", &right[2..]), ""];
        for wrong in broken {
            assert!(!is_traceparent(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_trace_goes_on_if_the_client_sent_one_that_is_right() {
        let traced = |parent: &[u8], state: &[u8]| {
            let mut metadata = Map::default();
            metadata.add(b"x-amz-meta-traceparent", parent);
            metadata.add(b"x-amz-meta-tracestate", state);
            let mut found = Vec::new();
            trace(&metadata, &mut |name: &str, value: &str| found.push(format!("{name}={value}")));
            found.join(" ")
        };
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traced(parent.as_bytes(), b"a=b"), format!("traceparent={parent} tracestate=a=b"));
        assert_eq!(traced(parent.as_bytes(), b"a\nb"), format!("traceparent={parent}"));
        assert_eq!(traced(b"00-x", b"a=b"), "");
    }
}
