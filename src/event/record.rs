//! The record: RGW's own, name for name and in its order (rgw-lua.md 4), as compact JSON.

use super::request::{Map, Release, Request, Text};
use super::rule::{KeyEncoding, Rule};
use super::{Moment, Omit, Operation};
use crate::error::{Code, Error};
use serde::Serialize;
use std::borrow::Cow;

#[derive(Serialize)]
struct Envelope<'r> {
    #[serde(rename = "Records")]
    records: [Record<'r>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'r> {
    event_version: &'static str,
    event_source: &'static str,
    aws_region: &'r str,
    event_time: String,
    event_name: &'static str,
    user_identity: Principal<'r>,
    request_parameters: RequestParameters<'r>,
    response_elements: ResponseElements<'r>,
    s3: S3<'r>,
    event_id: String,
    opaque_data: &'r str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Principal<'r> {
    principal_id: Cow<'r, str>,
}

#[derive(Serialize)]
struct RequestParameters<'r> {
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Cow<'r, str>,
}

#[derive(Serialize)]
struct ResponseElements<'r> {
    #[serde(rename = "x-amz-request-id")]
    request_id: Cow<'r, str>,
    #[serde(rename = "x-amz-id-2")]
    host_id: Cow<'r, str>,
}

#[derive(Serialize)]
struct S3<'r> {
    #[serde(rename = "s3SchemaVersion")]
    schema_version: &'static str,
    #[serde(rename = "configurationId")]
    configuration_id: &'r str,
    bucket: Bucket<'r>,
    object: Object<'r>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bucket<'r> {
    name: Cow<'r, str>,
    owner_identity: Principal<'r>,
    arn: String,
    id: Cow<'r, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'r> {
    key: Cow<'r, str>,
    size: i64,
    e_tag: &'static str,
    version_id: Cow<'r, str>,
    sequencer: String,
    metadata: Vec<Pair<'r>>,
    tags: Vec<Pair<'r>>,
}

#[derive(Serialize)]
struct Pair<'r> {
    key: Cow<'r, str>,
    val: Cow<'r, str>,
}

fn pairs(map: &Map, omit: bool) -> Vec<Pair<'_>> {
    let text = |bytes| String::from_utf8_lossy(bytes);
    let entries = if omit { &[] } else { map.entries() };
    entries.iter().map(|(key, val)| Pair { key: text(key), val: text(val) }).collect()
}

/// The region: the zone group. 16 leaves it empty wherever it stands.
pub fn region(request: &Request) -> Cow<'_, str> {
    if request.release == Release::Pacific { Cow::Borrowed("") } else { request.text(Text::ZoneGroup) }
}

/// The key, in the rule's encoding.
pub fn key<'r>(request: &'r Request, rule: &Rule) -> Cow<'r, str> {
    match rule.key_encoding {
        KeyEncoding::Raw => request.text(Text::Key),
        KeyEncoding::Aws => {
            let mut text = String::new();
            for byte in request.bytes(Text::Key) {
                match byte {
                    b' ' => text.push('+'),
                    b'/' | b'-' | b'_' | b'.' | b'*' => text.push(char::from(*byte)),
                    byte if byte.is_ascii_alphanumeric() => text.push(char::from(*byte)),
                    byte => super::subject::percent(&[*byte], &mut text),
                }
            }
            Cow::Owned(text)
        }
    }
}

/// The record of an operation.
///
/// # Errors
/// `internal`, if JSON can't hold it; no input is known that leads there.
pub fn encode(
    request: &Request,
    operation: &Operation,
    rule: &Rule,
    moment: Moment,
    omit: Omit,
) -> Result<Vec<u8>, Error> {
    let region = region(request);
    let (seconds, micros) = (moment.nanos / 1_000_000_000, moment.nanos % 1_000_000_000 / 1000);
    let (tenant, bucket) = (request.text(Text::Tenant), request.text(Text::Bucket));
    let record = Record {
        event_version: "2.2",
        event_source: "ceph:s3",
        aws_region: &region,
        event_time: event_time(&request.text(Text::Time), moment),
        event_name: operation.event_name(),
        user_identity: Principal { principal_id: request.text(Text::User) },
        // RGW itself leaves it empty.
        request_parameters: RequestParameters { source_ip_address: request.text(Text::SourceIp) },
        response_elements: ResponseElements { request_id: request.text(Text::Id), host_id: request.text(Text::RgwId) },
        s3: S3 {
            schema_version: "1.0",
            configuration_id: &rule.id,
            bucket: Bucket {
                name: bucket.clone(),
                owner_identity: Principal { principal_id: request.text(Text::BucketOwner) },
                arn: format!("arn:aws:s3:{region}:{tenant}:{bucket}"),
                id: request.text(Text::BucketId),
            },
            object: Object {
                key: key(request, rule),
                size: request.size,
                // No release shows it to a script.
                e_tag: "",
                version_id: request.text(Text::VersionId),
                // RGW's is a dump of memory that does not sort; this one sorts as text.
                sequencer: format!("{:016X}", moment.sequence),
                metadata: pairs(&request.metadata, omit.metadata()),
                tags: pairs(&request.tags, omit.tags()),
            },
        },
        // RGW's ends in the eTag; ours in the sequencer, which is at hand and unique.
        event_id: format!("{seconds:010}.{micros:06}.{:016X}", moment.sequence),
        opaque_data: &rule.opaque_data,
    };
    serde_json::to_vec(&Envelope { records: [record] })
        .map_err(|error| Error::new(Code::Internal, format!("the record can't be written: {error}")))
}

/// The time of the request with microseconds, as RGW writes times; `moment` if the gateway gave none that reads so.
pub fn event_time(given: &str, moment: Moment) -> String {
    // 2026-11-22T07:11:03.723344050Z
    match (given.get(..26), given.as_bytes().get(19), given.ends_with('Z')) {
        (Some(micros), Some(b'.'), true) => format!("{micros}Z"),
        _ => {
            let nanos = i128::from(moment.nanos);
            let time =
                time::OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
            let (date, clock) = (time.date(), time.time());
            format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
                date.year(),
                u8::from(date.month()),
                date.day(),
                clock.hour(),
                clock.minute(),
                clock.second(),
                clock.microsecond()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Configuration;
    use crate::value::Value;

    const MOMENT: Moment = Moment { nanos: 1_795_331_934_454_048_123, sequence: 0x18EA_5B00_0000_0001 };

    /// The request whose native record stands first in a capture of RGW 18.2.7's own notifications.
    fn request() -> Request {
        let mut request = Request::default();
        (request.release, request.status, request.size) = (Release::Reef, 200, 11);
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
        crate::event::message(request, event, &rule, MOMENT, Some(1 << 20)).unwrap()
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
                let plain = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
                let wanted: Vec<_> = map
                    .entries()
                    .iter()
                    .map(|(key, val)| serde_json::json!({ "key": plain(key), "val": plain(val) }))
                    .collect();
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
        let id = "a164264a-7680-4efe-9372-8c53f1f5dbca.4227.8864992342245288281/ObjectCreated:Put/cfg-nbk/670ce205";
        assert_eq!(message.headers[0], ("Nats-Msg-Id".to_owned(), id.to_owned()));
    }

    #[test]
    fn sixteen_leaves_the_region_empty() {
        let mut request = request();
        request.release = Release::Pacific;
        let message = message(&request);
        let record: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(record["Records"][0]["awsRegion"], "");
        assert_eq!(record["Records"][0]["s3"]["bucket"]["arn"], "arn:aws:s3:::nbk");
    }

    #[test]
    fn a_time_that_does_not_read_is_replaced_by_the_moment() {
        for given in ["", "yesterday", "2026-11-22 07:18:54", "2026-11-22T07:18:54.4Z"] {
            assert_eq!(event_time(given, MOMENT), "2026-11-22T07:18:54.454048Z", "{given}");
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
