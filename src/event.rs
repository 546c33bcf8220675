//! From a request to a message: which event it is, RGW's record of it, its subject and its id.
//!
//! Pure: no clock and no I/O; the time and the sequence are arguments. Knows neither Lua nor NATS' connections.

mod cloudevents;
mod features;
mod gate;
mod glob;
mod headers;
mod identity;
mod json;
mod operation;
mod record;
mod request;
mod rule;
mod subject;

pub use features::Features;
pub use operation::Operation;
pub use request::{Listed, Map, Request, Text};
pub use rule::{BUCKET_TAGS, Configuration, Rule, distinct_tag_keys};
pub use subject::{Template, check as check_subject};

use crate::error::Error;
use crate::message::{Headers, Message, Pattern};
use record::Record;
use rule::{Format, KeyEncoding};
use std::hash::{DefaultHasher, Hash, Hasher};

/// When an event is made, and which one it is: the two things that the record needs from outside.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Nanoseconds since 1970, UTC.
    pub nanos: u64,
    /// Higher for each event of a process, never used twice.
    pub sequence: u64,
}

/// What is left out of a record, so that it gets smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omit {
    /// Nothing.
    Nothing,
    /// The tags.
    Tags,
    /// The tags and the user metadata.
    Both,
}

impl Omit {
    fn tags(self) -> bool {
        self != Omit::Nothing
    }

    fn metadata(self) -> bool {
        self == Omit::Both
    }
}

/// Makes the messages of one request: most of what rules make of it they have in common.
pub struct Scribe<'r> {
    request: &'r Request,
    moment: Moment,
    lane: Option<u64>,
    object: Option<u64>,
    common: Option<Common>,
}

/// What rules have in common that agree on the event, the format and the encoding of keys.
struct Common {
    operation: &'static Operation,
    format: Format,
    key_encoding: KeyEncoding,
    omit: Omit,
    record: Record,
    headers: Headers,
}

impl Common {
    fn of(request: &Request, operation: &'static Operation, rule: &Rule, moment: Moment, omit: Omit) -> Common {
        let (format, key_encoding) = (rule.format, rule.key_encoding);
        let record = Record::of(request, operation, key_encoding, moment, omit);
        let headers = headers::common(request, operation, format, key_encoding, moment, omit);
        Common { operation, format, key_encoding, omit, record, headers }
    }

    fn suits(&self, operation: &Operation, rule: &Rule, omit: Omit) -> bool {
        *self.operation == *operation
            && self.format == rule.format
            && self.key_encoding == rule.key_encoding
            && self.omit == omit
    }
}

impl<'r> Scribe<'r> {
    /// One for a request.
    pub fn new(request: &'r Request, moment: Moment) -> Scribe<'r> {
        Scribe { request, moment, lane: None, object: None, common: None }
    }

    /// The message of the request, which is an event of `operation`, under a rule. If it is larger than `limit`, or nobody
    /// knows what the limit is, the message has smaller ones with it, without tags and without user metadata.
    ///
    /// # Errors
    /// `too_large` and `internal`, to which no request is known to lead.
    pub fn message(
        &mut self,
        operation: &'static Operation,
        rule: &Rule,
        limit: Option<usize>,
    ) -> Result<Message, Error> {
        let subject = rule.subject.fill(self.request, operation.event_name(), &rule.id);
        let mut message = self.form(operation, rule, subject, Omit::Nothing)?;
        if limit.is_none_or(|limit| message.size() > limit) {
            let (tags, metadata) = (!self.request.tags.is_empty(), !self.request.metadata.is_empty());
            let mut form = |omit| self.form(operation, rule, message.subject.clone(), omit);
            let mut smaller = if metadata { Some(Box::new(form(Omit::Both)?)) } else { None };
            if tags {
                smaller = Some(Box::new(Message { smaller, ..form(Omit::Tags)? }));
            }
            message.smaller = smaller;
        }
        message.lane = *self.lane.get_or_insert_with(|| lane(self.request));
        message.pattern = Pattern::Given(rule.subject.pattern());
        Ok(message)
    }

    fn form(
        &mut self,
        operation: &'static Operation,
        rule: &Rule,
        subject: String,
        omit: Omit,
    ) -> Result<Message, Error> {
        let (request, moment) = (self.request, self.moment);
        let kept = self.common.take().filter(|common| common.suits(operation, rule, omit));
        let common = self.common.insert(kept.unwrap_or_else(|| Common::of(request, operation, rule, moment, omit)));
        let mut payload = common.record.under(rule);
        let object = *self.object.get_or_insert_with(|| identity::object(request));
        let id = headers::message_id(rule, request, operation, moment, object);
        let headers = headers::under(&id, rule.format, &common.headers);
        if rule.format == Format::CloudEventsStructured {
            payload = cloudevents::structured(request, operation, rule.key_encoding, moment, id, payload)?;
        }
        Message::new(subject, headers, payload)
    }
}

/// A number for the object of a request: its messages must stay in order.
fn lane(request: &Request) -> u64 {
    let mut hasher = DefaultHasher::new();
    for text in [Text::Tenant, Text::Bucket, Text::Key] {
        request.bytes(text).hash(&mut hasher);
    }
    hasher.finish().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    const MOMENT: Moment = Moment { nanos: 1_795_331_934_454_048_123, sequence: 7 };
    const LIMIT: Option<usize> = Some(1 << 20);

    fn rule(keys: &[(&str, &str)]) -> Rule {
        let keys = keys.iter().chain([&("url", "nats://h:1")]);
        let table = Value::Table(keys.map(|(key, value)| ((*key).into(), (*value).into())).collect());
        let (mut configuration, problems) = Configuration::read(&table);
        assert_eq!(problems, []);
        configuration.rules.remove(0)
    }

    fn request(operation: &str) -> Request {
        let mut request = Request::default();
        (request.features, request.status) = (Features::REEF, 200);
        for (text, value) in [
            (Text::RgwOp, operation),
            (Text::Id, "z.1.2"),
            (Text::RgwId, "host"),
            (Text::ZoneGroup, "zg"),
            (Text::Bucket, "bkt"),
            (Text::Key, "a b/ü+%.txt"),
            (Text::Time, "2026-11-22T07:18:54.450557123Z"),
        ] {
            request.set(text, value.as_bytes());
        }
        request
    }

    fn made(request: &Request, rule: &Rule, limit: Option<usize>) -> Message {
        let operation = rule.fits(request, request.event().unwrap()).unwrap();
        Scribe::new(request, MOMENT).message(operation, rule, limit).unwrap()
    }

    fn header<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
        message.headers.get(name)
    }

    #[test]
    fn headers_say_what_the_message_is() {
        let mut put = request("put_obj");
        let message = made(&put, &rule(&[]), LIMIT);
        let names: Vec<&str> = message.headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Nats-Msg-Id", "Content-Type", "Rgw-Event", "Rgw-Bucket", "Rgw-Request-Id"]);
        assert_eq!(header(&message, "Content-Type"), Some("application/json"));
        assert_eq!(header(&message, "Rgw-Event"), Some("ObjectCreated:Put"));
        put.set(Text::TransactionId, b"tx0-1");
        assert_eq!(header(&made(&put, &rule(&[]), LIMIT), "Rgw-Transaction-Id"), Some("tx0-1"));
        put.set(Text::Tenant, b"acme");
        put.set(Text::Id, b"");
        let message = made(&put, &rule(&[]), LIMIT);
        assert_eq!(header(&message, "Rgw-Tenant"), Some("acme"));
        assert_eq!(header(&message, "Rgw-Request-Id"), Some("0000000000000007"));
    }

    #[test]
    fn a_cloudevent_is_headers_or_json() {
        let put = request("put_obj");
        let message = made(&put, &rule(&[("format", "cloudevents")]), LIMIT);
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "z.1.2/ObjectCreated:Put/rgw_nats/3e0aa0f12eafe52c"),
            ("ce-source", "ceph:s3.zg.bkt"),
            ("ce-type", "com.amazonaws.ObjectCreated:Put"),
            ("ce-subject", "a%20b/%C3%BC+%25.txt"),
            ("ce-time", "2026-11-22T07:18:54.450557Z"),
            ("ce-datacontenttype", "application/json"),
        ] {
            assert_eq!(header(&message, name), Some(value), "{name}");
        }
        assert_eq!(message.payload, made(&put, &rule(&[]), LIMIT).payload);
        let message = made(&put, &rule(&[("format", "cloudevents-structured")]), LIMIT);
        assert_eq!(header(&message, "Content-Type"), Some("application/cloudevents+json"));
        assert_eq!(header(&message, "ce-id"), None);
        let event: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(event["id"], header(&message, "Nats-Msg-Id").unwrap());
        assert_eq!(event["subject"], "a b/ü+%.txt");
        assert_eq!(event["data"]["Records"][0]["s3"]["object"]["key"], "a b/ü+%.txt");
    }

    #[test]
    fn a_key_can_stand_as_aws_writes_it() {
        let message = made(&request("put_obj"), &rule(&[("key_encoding", "aws")]), LIMIT);
        let record: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(record["Records"][0]["s3"]["object"]["key"], "a+b/%C3%BC%2B%25.txt");
        assert_eq!(header(&message, "Rgw-Key-Encoding"), Some("aws"));
    }

    #[test]
    fn what_is_too_large_goes_out_without_tags_and_then_without_metadata() {
        let mut put = request("put_obj");
        put.metadata.add(b"x-amz-meta-a", &[b'm'; 300]);
        put.tags.add(b"b", &[b't'; 300]);
        let whole = made(&put, &rule(&[]), LIMIT);
        assert!(whole.smaller.is_none());
        for limit in [None, Some(whole.size() - 1)] {
            let whole = made(&put, &rule(&[]), limit);
            assert_eq!(header(&whole, "Rgw-Incomplete"), None);
            let without_tags = whole.within(whole.size() - 1).unwrap();
            assert_eq!(header(without_tags, "Rgw-Incomplete"), Some("tags"));
            let text = |message: &Message| String::from_utf8(message.payload.to_vec()).unwrap();
            assert!(text(without_tags).contains(r#""tags":[]"#) && text(without_tags).contains("mmm"));
            let bare = whole.within(without_tags.size() - 1).unwrap();
            assert_eq!(header(bare, "Rgw-Incomplete"), Some("metadata,tags"));
            assert!(text(bare).contains(r#""metadata":[],"tags":[]"#));
            assert_eq!(header(bare, "Nats-Msg-Id"), header(&whole, "Nats-Msg-Id"));
            assert!(whole.within(bare.size() - 1).is_none());
        }
        // What the reader had no room for is marked as well.
        put.tags.truncate();
        assert_eq!(header(&made(&put, &rule(&[]), LIMIT), "Rgw-Incomplete"), Some("tags"));
    }

    #[test]
    fn the_id_of_a_message_tells_objects_versions_and_subjects_apart() {
        let mut delete = request("delete_obj");
        delete.status = 204;
        let id = |request: &Request, keys: &[(&str, &str)]| {
            header(&made(request, &rule(keys), LIMIT), "Nats-Msg-Id").unwrap().to_owned()
        };
        let mut ids = vec![id(&delete, &[]), id(&delete, &[("subject", "a")]), id(&delete, &[("id", "b")])];
        for (text, value) in [(Text::Key, "k"), (Text::VersionId, "v"), (Text::Bucket, "c"), (Text::Tenant, "t")] {
            delete.set(text, value.as_bytes());
            ids.push(id(&delete, &[]));
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 7);
    }

    #[test]
    fn a_key_of_a_multi_object_delete_is_a_removal_where_the_gateway_shows_it() {
        let mut delete = request("multi_object_delete");
        assert!(delete.event().is_none() && delete.hides_its_keys());
        delete.per_key = true;
        assert!(!delete.hides_its_keys());
        assert_eq!(header(&made(&delete, &rule(&[]), LIMIT), "Rgw-Event"), Some("ObjectRemoved:Delete"));
        let marked = made(&delete, &rule(&[("versioned", "b*")]), LIMIT);
        assert_eq!(header(&marked, "Rgw-Event"), Some("ObjectRemoved:DeleteMarkerCreated"));
        delete.status = 403;
        assert!(delete.event().is_none());
    }

    #[test]
    fn a_delete_makes_a_marker_where_the_rule_says_so_and_no_version_is_named() {
        let mut delete = request("delete_obj");
        delete.status = 204;
        let event = |request: &Request, keys: &[(&str, &str)]| {
            rule(keys).fits(request, request.event().unwrap()).map(Operation::event_name)
        };
        assert_eq!(event(&delete, &[]), Some("ObjectRemoved:Delete"));
        assert_eq!(event(&delete, &[("versioned", "b*")]), Some("ObjectRemoved:DeleteMarkerCreated"));
        assert_eq!(event(&delete, &[("versioned", "c*")]), Some("ObjectRemoved:Delete"));
        delete.set(Text::VersionId, b"v");
        assert_eq!(event(&delete, &[("versioned", "b*")]), Some("ObjectRemoved:Delete"));
    }
}
