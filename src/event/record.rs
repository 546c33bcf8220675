//! The record: RGW's own, name for name and in its order (rgw-lua.md 4), as compact JSON.

use super::json::{Json, hexadecimal};
use super::request::{Map, Request, Text};
use super::rule::{KeyEncoding, Rule};
use super::{Moment, Omit, Operation};
use std::borrow::Cow;

/// How many bytes a record takes besides what the request brings.
const FRAME: usize = 800;

/// A record but for what each rule puts into it.
#[derive(Debug)]
pub struct Record {
    bytes: Vec<u8>,
    /// Where the rule's id goes, and its opaque data.
    id_at: usize,
    opaque_at: usize,
}

/// The region: the zone group, where native records name it.
pub fn region(request: &Request) -> &[u8] {
    if request.features.records_have_region() { request.bytes(Text::ZoneGroup) } else { b"" }
}

/// The key, in one encoding or the other.
pub fn key(request: &Request, encoding: KeyEncoding) -> Cow<'_, [u8]> {
    let key = request.bytes(Text::Key);
    match encoding {
        KeyEncoding::Raw => Cow::Borrowed(key),
        KeyEncoding::Aws => {
            let mut text = String::new();
            for byte in key {
                match byte {
                    b' ' => text.push('+'),
                    b'/' | b'-' | b'_' | b'.' | b'*' => text.push(char::from(*byte)),
                    byte if byte.is_ascii_alphanumeric() => text.push(char::from(*byte)),
                    byte => super::subject::percent(&[*byte], &mut text),
                }
            }
            Cow::Owned(text.into_bytes())
        }
    }
}

impl Record {
    /// The record of an operation, without anything of a rule but its encoding of keys.
    pub fn of(
        request: &Request,
        operation: &Operation,
        key_encoding: KeyEncoding,
        moment: Moment,
        omit: Omit,
    ) -> Record {
        let (region, key) = (region(request), key(request, key_encoding));
        let text = |text| request.bytes(text);
        let mut json = Json::with_capacity(FRAME + request.len());
        json.raw(r#"{"Records":[{"eventVersion":"2.2","eventSource":"ceph:s3","awsRegion":""#);
        json.text(region);
        json.raw(r#"","eventTime":""#);
        event_time(text(Text::Time), moment, |part| json.raw(part));
        json.raw(r#"","eventName":""#);
        json.raw(operation.event_name());
        json.raw(r#"","userIdentity":{"principalId":""#);
        json.text(text(Text::User));
        // RGW itself leaves it empty.
        json.raw(r#""},"requestParameters":{"sourceIPAddress":""#);
        json.text(text(Text::SourceIp));
        json.raw(r#""},"responseElements":{"x-amz-request-id":""#);
        json.text(text(Text::Id));
        json.raw(r#"","x-amz-id-2":""#);
        json.text(text(Text::RgwId));
        json.raw(r#""},"s3":{"s3SchemaVersion":"1.0","configurationId":""#);
        let id_at = json.len();
        json.raw(r#"","bucket":{"name":""#);
        json.text(text(Text::Bucket));
        json.raw(r#"","ownerIdentity":{"principalId":""#);
        json.text(text(Text::BucketOwner));
        json.raw(r#""},"arn":"arn:aws:s3:"#);
        json.text(region);
        json.raw(":");
        json.text(text(Text::Tenant));
        json.raw(":");
        json.text(text(Text::Bucket));
        json.raw(r#"","id":""#);
        json.text(text(Text::BucketId));
        json.raw(r#""},"object":{"key":""#);
        json.text(&key);
        json.raw(r#"","size":"#);
        json.integer(request.size);
        // No release shows the eTag to a script.
        json.raw(r#","eTag":"","versionId":""#);
        json.text(text(Text::VersionId));
        // RGW's is a dump of memory that does not sort; this one sorts as text.
        json.raw(r#"","sequencer":""#);
        json.hexadecimal(moment.sequence);
        json.raw(r#"","metadata":["#);
        pairs(&mut json, &request.metadata, omit.metadata());
        json.raw(r#"],"tags":["#);
        pairs(&mut json, &request.tags, omit.tags());
        // RGW's ends in the eTag; ours in the sequencer, which is at hand and unique.
        json.raw(r#"]}},"eventId":""#);
        json.decimal(moment.nanos / 1_000_000_000, 10);
        json.raw(".");
        json.decimal(moment.nanos % 1_000_000_000 / 1000, 6);
        json.raw(".");
        json.hexadecimal(moment.sequence);
        json.raw(r#"","opaqueData":""#);
        let opaque_at = json.len();
        json.raw(r#""}]}"#);
        Record { bytes: json.into_bytes(), id_at, opaque_at }
    }

    /// The record under a rule, as JSON.
    pub fn under(&self, rule: &Rule) -> Vec<u8> {
        let part = |from: usize, to: usize| self.bytes.get(from..to).unwrap_or_default();
        let (id, opaque) = (rule.id_json(), rule.opaque_json());
        // No byte more, so that nothing has to move when these become the message's.
        let mut bytes = Vec::with_capacity(self.bytes.len().saturating_add(id.len()).saturating_add(opaque.len()));
        bytes.extend_from_slice(part(0, self.id_at));
        bytes.extend_from_slice(id);
        bytes.extend_from_slice(part(self.id_at, self.opaque_at));
        bytes.extend_from_slice(opaque);
        bytes.extend_from_slice(part(self.opaque_at, self.bytes.len()));
        bytes
    }
}

fn pairs(json: &mut Json, map: &Map, omit: bool) {
    if omit {
        return;
    }
    for (place, (key, value)) in map.iter().enumerate() {
        json.raw(if place == 0 { r#"{"key":""# } else { r#",{"key":""# });
        json.text(key);
        json.raw(r#"","val":""#);
        json.text(value);
        json.raw(r#""}"#);
    }
}

/// The time of the request with microseconds, as RGW writes times; `moment` if the gateway gave none that reads so. Given in
/// parts.
pub fn event_time(given: &[u8], moment: Moment, mut write: impl FnMut(&str)) {
    // 2026-11-22T07:11:03.723344050Z
    let micros = given.get(..26).and_then(|micros| std::str::from_utf8(micros).ok());
    match (micros, given.get(19), given.last()) {
        (Some(micros), Some(b'.'), Some(b'Z')) => {
            write(micros);
            write("Z");
        }
        _ => {
            let nanos = i128::from(moment.nanos);
            let time =
                time::OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
            let (date, clock) = (time.date(), time.time());
            write(&format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
                date.year(),
                u8::from(date.month()),
                date.day(),
                clock.hour(),
                clock.minute(),
                clock.second(),
                clock.microsecond()
            ));
        }
    }
}

/// A number that sorts as text.
pub fn sortable(number: u64) -> String {
    hexadecimal(number).into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Configuration, Features};
    use crate::value::Value;

    const MOMENT: Moment = Moment { nanos: 1_795_331_934_454_048_123, sequence: 0x18EA_5B00_0000_0001 };

    /// The request whose native record stands first in a capture of RGW 18.2.7's own notifications.
    fn request() -> Request {
        let mut request = Request::default();
        (request.features, request.status, request.size) = (Features::REEF, 200, 11);
        for (text, value) in [
            (Text::RgwOp, "put_obj"),
            (Text::Id, "a164264a-7680-4efe-9372-8c53f1f5dbca.4227.8864992342245288281"),
            (Text::RgwId, "1083-default-default"),
            (Text::ZoneGroup, "default"),
            (Text::Bucket, "nbk"),
            (Text::BucketId, "a164264a-7680-4efe-9372-8c53f1f5dbca.4229.1"),
            (Text::BucketOwner, "tester"),
            (Text::User, "tester"),
            (Text::Key, "dir/a b+é%.txt"),
            (Text::Time, "2026-11-22T07:18:54.450557123Z"),
        ] {
            request.set(text, value.as_bytes());
        }
        request.metadata.add(b"x-amz-meta-foo", b"bar");
        request.metadata.add(b"x-amz-meta-mixed-case", b"x y");
        request.tags.add(b"k1", b"v1");
        request.tags.add(b"k2", b"v2");
        request
    }

    fn rule() -> Rule {
        let table =
            Value::record([("url", "nats://h:1".into()), ("id", "cfg-nbk".into()), ("opaque_data", "op@que".into())]);
        let (mut configuration, problems) = Configuration::read(&table);
        assert_eq!(problems, []);
        configuration.rules.remove(0)
    }

    fn message(request: &Request) -> crate::message::Message {
        let (rule, event) = (rule(), request.event().unwrap());
        crate::event::Scribe::new(request, MOMENT).message(event, &rule, Some(1 << 20)).unwrap()
    }

    /// Bytes from a small generator, so that the same ones come each time.
    fn bytes(state: &mut u64, most: u64) -> Vec<u8> {
        let mut next = || {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *state >> 33
        };
        let alphabet = b"a\"\\\n\0\x7f\xff\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80<&";
        let length = next() % most;
        (0..length)
            .map(|n| if n % 3 == 0 { next() as u8 } else { alphabet[next() as usize % alphabet.len()] })
            .collect()
    }

    #[test]
    fn any_record_parses_and_equals_what_went_in() {
        let mut state = 1;
        for _ in 0..5000 {
            let mut request = request();
            let texts =
                [Text::Id, Text::RgwId, Text::ZoneGroup, Text::Tenant, Text::BucketId, Text::User, Text::SourceIp];
            for text in texts.into_iter().chain([Text::BucketOwner, Text::VersionId]) {
                request.set(text, &bytes(&mut state, 20));
            }
            request.set(Text::Key, &[&b"k"[..], &bytes(&mut state, 40)].concat());
            for _ in 0..bytes(&mut state, 4).len() {
                request.metadata.add(&bytes(&mut state, 10), &bytes(&mut state, 30));
                request.tags.add(&bytes(&mut state, 10), &bytes(&mut state, 30));
            }
            request.size = state as i64;
            let record: serde_json::Value = serde_json::from_slice(&message(&request).payload).unwrap();
            let record = &record["Records"][0];
            let s3 = &record["s3"];
            let responses = &record["responseElements"];
            for (found, text) in [
                (&responses["x-amz-request-id"], Text::Id),
                (&responses["x-amz-id-2"], Text::RgwId),
                (&record["awsRegion"], Text::ZoneGroup),
                (&record["userIdentity"]["principalId"], Text::User),
                (&record["requestParameters"]["sourceIPAddress"], Text::SourceIp),
                (&s3["bucket"]["id"], Text::BucketId),
                (&s3["bucket"]["ownerIdentity"]["principalId"], Text::BucketOwner),
                (&s3["object"]["versionId"], Text::VersionId),
                (&s3["object"]["key"], Text::Key),
            ] {
                assert_eq!(found.as_str().unwrap(), request.text(text), "{text:?}");
            }
            assert_eq!(s3["object"]["size"].as_i64(), Some(request.size));
            for (found, map) in [(&s3["object"]["metadata"], &request.metadata), (&s3["object"]["tags"], &request.tags)]
            {
                let plain = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let wanted: Vec<_> =
                    map.iter().map(|(key, val)| serde_json::json!({ "key": plain(key), "val": plain(val) })).collect();
                assert_eq!(found.as_array().unwrap(), &wanted);
            }
        }
    }

    #[test]
    fn the_record_is_rgws_byte_for_byte_but_for_what_lua_cannot_know() {
        let native = concat!(
            r#"{"Records":[{"eventVersion":"2.2","eventSource":"ceph:s3","awsRegion":"default","#,
            r#""eventTime":"2026-11-22T07:18:54.450557Z","eventName":"ObjectCreated:Put","#,
            r#""userIdentity":{"principalId":"tester"},"requestParameters":{"sourceIPAddress":""},"#,
            r#""responseElements":{"x-amz-request-id":"a164264a-7680-4efe-9372-8c53f1f5dbca.4227.8864992342245288281","#,
            r#""x-amz-id-2":"1083-default-default"},"s3":{"s3SchemaVersion":"1.0","configurationId":"cfg-nbk","#,
            r#""bucket":{"name":"nbk","ownerIdentity":{"principalId":"tester"},"arn":"arn:aws:s3:default::nbk","#,
            r#""id":"a164264a-7680-4efe-9372-8c53f1f5dbca.4229.1"},"object":{"key":"dir/a b+é%.txt","size":11,"#,
            r#""eTag":"5eb63bbbe01eeed093cb22bb8f5acdc3","versionId":"","sequencer":"5E97026B3C3C101B","#,
            r#""metadata":[{"key":"x-amz-meta-foo","val":"bar"},{"key":"x-amz-meta-mixed-case","val":"x y"}],"#,
            r#""tags":[{"key":"k1","val":"v1"},{"key":"k2","val":"v2"}]}},"#,
            r#""eventId":"1795331934.454048.5eb63bbbe01eeed093cb22bb8f5acdc3","opaqueData":"op@que"}]}"#
        );
        let ours = native
            .replace(r#""eTag":"5eb63bbbe01eeed093cb22bb8f5acdc3""#, r#""eTag":"""#)
            .replace("5E97026B3C3C101B", "18EA5B0000000001")
            .replace("454048.5eb63bbbe01eeed093cb22bb8f5acdc3", "454048.18EA5B0000000001");
        let message = message(&request());
        assert_eq!(std::str::from_utf8(&message.payload).unwrap(), ours);
        assert_eq!(message.subject, "s3.nbk.ObjectCreated:Put");
        let id =
            "a164264a-7680-4efe-9372-8c53f1f5dbca.4227.8864992342245288281/ObjectCreated:Put/cfg-nbk/e7826735b7087004";
        assert_eq!(message.headers.iter().next(), Some(("Nats-Msg-Id", id)));
    }

    #[test]
    fn sixteen_leaves_the_region_empty() {
        let mut request = request();
        request.features = Features::PACIFIC;
        let message = message(&request);
        let record: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(record["Records"][0]["awsRegion"], "");
        assert_eq!(record["Records"][0]["s3"]["bucket"]["arn"], "arn:aws:s3:::nbk");
    }

    #[test]
    fn a_time_that_does_not_read_is_replaced_by_the_moment() {
        for given in ["", "yesterday", "2026-11-22 07:18:54", "2026-11-22T07:18:54.4Z"] {
            let mut time = String::new();
            event_time(given.as_bytes(), MOMENT, |part| time.push_str(part));
            assert_eq!(time, "2026-11-22T07:18:54.454048Z", "{given}");
        }
    }

    #[test]
    fn bytes_that_are_no_utf8_still_make_json() {
        let mut request = request();
        request.set(Text::Key, b"a\xff\"\\\n\0b");
        request.metadata.add(b"x-amz-meta-\xfe", b"\xc3");
        let message = message(&request);
        let record: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(record["Records"][0]["s3"]["object"]["key"], "a\u{fffd}\"\\\n\0b");
    }
}
