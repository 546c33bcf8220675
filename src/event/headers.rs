//! The headers of a message, so that a consumer can tell what it is without reading the record.

use super::request::{Map, Request, Text};
use super::rule::{Format, KeyEncoding, Rule};
use super::{Moment, Omit, Operation, cloudevents};

/// How long a tracestate is taken over, in bytes (W3C Trace Context, 3.3.1.1).
const MAX_TRACESTATE: usize = 512;

/// The headers of the message that a request is under a rule.
pub fn of(request: &Request, operation: &Operation, rule: &Rule, moment: Moment, omit: Omit) -> Vec<(String, String)> {
    let mut headers = Vec::with_capacity(16);
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    let event = operation.event_name();
    let request_id = match request.text(Text::Id) {
        // No gateway gave this request: nothing but its own number tells it from the next one.
        none if none.is_empty() => format!("{:016X}", moment.sequence).into(),
        id => id,
    };
    // A script may notify twice of one request, under two subjects and the same rule's id: two messages.
    add("Nats-Msg-Id", format!("{request_id}/{event}/{}/{:08x}", rule.id, rule.subject.fingerprint()));
    let structured = rule.format == Format::CloudEventsStructured;
    add("Content-Type", if structured { cloudevents::STRUCTURED } else { cloudevents::JSON }.to_owned());
    add("Rgw-Event", event.to_owned());
    add("Rgw-Bucket", request.text(Text::Bucket).into_owned());
    if !request.bytes(Text::Tenant).is_empty() {
        add("Rgw-Tenant", request.text(Text::Tenant).into_owned());
    }
    add("Rgw-Request-Id", request_id.into_owned());
    if rule.key_encoding == KeyEncoding::Aws {
        add("Rgw-Key-Encoding", "aws".to_owned());
    }
    let mut missing = Vec::new();
    for (name, map, omitted) in [("metadata", &request.metadata, omit.metadata()), ("tags", &request.tags, omit.tags())]
    {
        if map.is_truncated() || (omitted && !map.entries().is_empty()) {
            missing.push(name);
        }
    }
    if !missing.is_empty() {
        add("Rgw-Incomplete", missing.join(","));
    }
    trace(&request.metadata, &mut add);
    if rule.format == Format::CloudEvents {
        for (name, value) in cloudevents::attributes(request, operation, rule, moment) {
            add(&format!("ce-{name}"), cloudevents::header_value(&value));
        }
    }
    headers
}

/// The trace that the client's request belongs to. RGW shows a script no other headers than those that begin with x-amz-.
fn trace(metadata: &Map, add: &mut impl FnMut(&str, String)) {
    let get = |name: &[u8]| {
        let found = metadata.entries().iter().find(|(key, _)| key == name);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    };
    let Some(parent) = get(b"x-amz-meta-traceparent").filter(|parent| is_traceparent(parent)) else { return };
    add("traceparent", parent.to_owned());
    let printable =
        |state: &&str| state.len() <= MAX_TRACESTATE && state.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if let Some(state) = get(b"x-amz-meta-tracestate").filter(printable) {
        add("tracestate", state.to_owned());
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
            trace(&metadata, &mut |name: &str, value| found.push(format!("{name}={value}")));
            found.join(" ")
        };
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(traced(parent.as_bytes(), b"a=b"), format!("traceparent={parent} tracestate=a=b"));
        assert_eq!(traced(parent.as_bytes(), b"a\nb"), format!("traceparent={parent}"));
        assert_eq!(traced(b"00-x", b"a=b"), "");
    }
}
