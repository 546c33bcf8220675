//! Rules: which requests are notified of, and how; RGW's notification configurations, with RGW's meanings.

use super::Template;
use super::gate::{Gate, Look};
use super::glob::Glob;
use super::json::Json;
use super::operation::{OPERATIONS, Operation};
use super::request::{Request, Text};
use crate::config::{Endpoint, Fields, Problem};
use crate::value::Value;
use regex::bytes::{Regex, RegexBuilder};
use std::collections::HashSet;
use std::sync::Arc;

/// The formats by name.
const FORMATS: [(&str, Format); 3] = [
    ("s3", Format::S3),
    ("cloudevents", Format::CloudEvents),
    ("cloudevents-structured", Format::CloudEventsStructured),
];
/// The encodings of keys by name.
const KEY_ENCODINGS: [(&str, KeyEncoding); 2] = [("raw", KeyEncoding::Raw), ("aws", KeyEncoding::Aws)];
/// How many rules a configuration can have.
const MAX_RULES: usize = 10_000;
/// How large a compiled pattern may be, in bytes, and how deep it may nest.
const PATTERN_SIZE: usize = 1 << 20;
const PATTERN_DEPTH: u32 = 50;

/// A whole configuration: a broker, and the rules for it.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// The broker.
    pub endpoint: Endpoint,
    /// The rules; a request is notified of once for each that fits.
    pub rules: Vec<Rule>,
    /// A gate for each of them.
    gates: Vec<Gate>,
    needs: u32,
    bucket_tag_keys: Arc<[Vec<u8>]>,
}

/// The keys of buckets' tags that are asked for, each once. What is over 256 is left out, and fits.
pub fn distinct_tag_keys(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.sort();
    keys.dedup();
    keys.truncate(MAX_TAG_KEYS);
    keys
}

/// How many keys of buckets' tags are asked for; RGW takes 50 tags of a bucket.
const MAX_TAG_KEYS: usize = 256;

/// What the payload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// RGW's record.
    #[default]
    S3,
    /// RGW's record, and the attributes of a CloudEvent as headers.
    CloudEvents,
    /// A CloudEvent in JSON with RGW's record in it.
    CloudEventsStructured,
}

/// How a key stands in the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyEncoding {
    /// As it is, which is RGW's way.
    #[default]
    Raw,
    /// As AWS does: as in a query, with `+` for a space.
    Aws,
}

/// Which events: a bit for each of [`OPERATIONS`].
type Events = u32;

/// One rule: a `[[notification]]`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The record's `configurationId`, and part of the message's id. Default: `rgw_nats`.
    pub id: String,
    /// The subject, a template. Default: `s3.{bucket}.{event}`.
    pub subject: Template,
    /// What the payload is. Default: RGW's record.
    pub format: Format,
    /// How a key stands in the record. Default: as it is.
    pub key_encoding: KeyEncoding,
    id_json: Vec<u8>,
    opaque_json: Vec<u8>,
    tenants: Vec<Glob>,
    buckets: Vec<Glob>,
    versioned: Vec<Glob>,
    events: Events,
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    regex: Option<Regex>,
    metadata: Vec<(Vec<u8>, Vec<u8>)>,
    tags: Vec<(Vec<u8>, Vec<u8>)>,
    bucket_tags: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Configuration {
    /// Reads a configuration: a broker with its options, and either a list `notification` or, where there is only one, the
    /// keys of that one beside the broker's. All that is wrong comes back as problems.
    pub fn read(table: &Value) -> (Configuration, Vec<Problem>) {
        let mut fields = Fields::new("", table);
        let servers = fields.value("url");
        let endpoint = Endpoint::read(servers, &mut fields);
        let mut rules = Vec::new();
        match fields.value("notification") {
            None => rules.push(Rule::read(&mut fields)),
            Some(Value::Table(entries)) if entries.len() <= MAX_RULES => {
                for (place, (_, entry)) in entries.iter().enumerate() {
                    let mut inner = Fields::new(&format!("notification[{}]", place.saturating_add(1)), entry);
                    rules.push(Rule::read(&mut inner));
                    fields.adopt(inner.finish());
                }
                if rules.is_empty() {
                    fields.problem("notification", "is empty: nothing would be notified of");
                }
                for key in RULE {
                    if fields.value(key).is_some() {
                        fields.problem(
                            key,
                            "stands outside of the [[notification]] tables; it belongs into each of them",
                        );
                    }
                }
            }
            Some(Value::Table(_)) => fields.problem("notification", format!("has more than {MAX_RULES} entries")),
            Some(other) => fields.wrong_type("notification", "a list of tables, [[notification]]", other),
        }
        let mut ids = HashSet::new();
        for (place, rule) in rules.iter().enumerate() {
            // The id is part of a message's id: two that share it would take each other's place in a stream.
            if !ids.insert(&rule.id) {
                let key = format!("notification[{}].id", place.saturating_add(1));
                fields.problem(&key, format!("is {} as in another notification; ids must differ", rule.id));
            }
        }
        let needs = rules.iter().fold(0, |all, rule| all | rule.needs());
        let gates = rules.iter().map(|rule| Gate::new(rule.events, &rule.buckets, &rule.prefix)).collect();
        let tag_keys = rules.iter().flat_map(|rule| &rule.bucket_tags).map(|(key, _)| key.clone());
        let bucket_tag_keys = distinct_tag_keys(tag_keys.collect()).into();
        (Configuration { endpoint, rules, gates, needs, bucket_tag_keys }, fields.finish())
    }

    /// The rules that a request of `operation` fits, in their order, and which event it is under each.
    pub fn fitting<'c>(
        &'c self,
        request: &'c Request,
        operation: &'static Operation,
    ) -> impl Iterator<Item = (&'c Rule, &'static Operation)> {
        let look = Look::at(request, operation.bits());
        let passed = self.gates.iter().zip(&self.rules).filter(move |(gate, _)| gate.lets(&look));
        passed.filter_map(move |(_, rule)| Some((rule, rule.fits(request, operation)?)))
    }

    /// What its rules need: the bits of the operations that they ask for, and [`BUCKET_TAGS`] where one looks at these.
    pub fn needs(&self) -> u32 {
        self.needs
    }

    /// The keys of buckets' tags that its rules look at.
    pub fn bucket_tag_keys(&self) -> Arc<[Vec<u8>]> {
        self.bucket_tag_keys.clone()
    }
}

/// Beside the bits of operations: whether the tags of the bucket are needed.
pub const BUCKET_TAGS: u32 = 1 << 31;

/// The keys of a rule: of a table `[[notification]]`, or of the whole where there is none.
const RULE: [&str; 10] =
    ["subject", "id", "opaque_data", "events", "versioned", "tenant", "bucket", "format", "key_encoding", "filter"];

impl Rule {
    fn read(fields: &mut Fields<'_>) -> Rule {
        let subject = fields.text("subject", 1024).unwrap_or("s3.{bucket}.{event}");
        let subject = Template::parse(subject).unwrap_or_else(|problem| {
            fields.problem("subject", problem);
            Template::none()
        });
        let id = fields.text("id", 256).unwrap_or("rgw_nats").to_owned();
        let opaque_data = fields.text("opaque_data", 4096).unwrap_or_default();
        let (events, versioned) = (events(fields), globs(fields, "versioned"));
        let markers = OPERATIONS.iter().find(|operation| operation.is_marker()).map_or(0, Operation::bit);
        if events == markers && versioned.is_empty() {
            let text =
                "asks for delete markers alone, which no script can tell from deletes; versioned must list the buckets";
            fields.problem("events", text);
        }
        let (tenants, buckets) = (globs(fields, "tenant"), globs(fields, "bucket"));
        let json = |text: &str| {
            let mut json = Json::default();
            json.text(text.as_bytes());
            json.into_bytes()
        };
        let mut rule = Rule {
            id_json: json(&id),
            opaque_json: json(opaque_data),
            id,
            subject,
            format: fields.choice("format", &FORMATS),
            key_encoding: fields.choice("key_encoding", &KEY_ENCODINGS),
            tenants,
            buckets,
            versioned,
            events,
            prefix: Vec::new(),
            suffix: Vec::new(),
            regex: None,
            metadata: Vec::new(),
            tags: Vec::new(),
            bucket_tags: Vec::new(),
        };
        if let Some(filter) = fields.value("filter") {
            let mut inner = Fields::new(&fields.path("filter"), filter);
            rule.read_filter(&mut inner);
            fields.adopt(inner.finish());
        }
        rule
    }

    fn read_filter(&mut self, fields: &mut Fields<'_>) {
        self.prefix = fields.text("prefix", 1024).unwrap_or_default().as_bytes().to_vec();
        self.suffix = fields.text("suffix", 1024).unwrap_or_default().as_bytes().to_vec();
        if let Some(pattern) = fields.text("regex", 4096) {
            // RGW matches the whole key, as std::regex_match does.
            let built = RegexBuilder::new(&format!(r"\A(?:{pattern})\z"))
                .size_limit(PATTERN_SIZE)
                .nest_limit(PATTERN_DEPTH)
                .build();
            match built {
                Ok(regex) => self.regex = Some(regex),
                Err(error) => {
                    let lines: Vec<String> = error.to_string().lines().map(|line| line.trim().to_owned()).collect();
                    fields.problem("regex", format!("is no pattern: {}", lines.last().cloned().unwrap_or_default()));
                }
            }
        }
        self.metadata = pairs(fields, "metadata");
        for (key, _) in &mut self.metadata {
            // RGW has these in lower case, whatever the client wrote.
            key.make_ascii_lowercase();
        }
        if self.metadata.iter().any(|(key, _)| !key.starts_with(b"x-amz-meta-")) {
            fields.problem("metadata", "has a name that does not begin with x-amz-meta-");
        }
        self.tags = pairs(fields, "tags");
        self.bucket_tags = pairs(fields, "bucket_tags");
    }

    /// The bits of the operations that it asks for, and [`BUCKET_TAGS`].
    fn needs(&self) -> u32 {
        self.events | if self.bucket_tags.is_empty() { 0 } else { BUCKET_TAGS }
    }

    /// Its id as the inside of a JSON string.
    pub fn id_json(&self) -> &[u8] {
        &self.id_json
    }

    /// The record's `opaqueData`, likewise. Default: empty.
    pub fn opaque_json(&self) -> &[u8] {
        &self.opaque_json
    }

    /// Which event a request of `operation` is under this rule, if it is to be notified of. All that is given must fit.
    pub fn fits(&self, request: &Request, operation: &'static Operation) -> Option<&'static Operation> {
        let matches = |globs: &[Glob], text| globs.iter().any(|glob| glob.is_match(request.bytes(text)));
        let one_of = |globs: &[Glob], text| globs.is_empty() || matches(globs, text);
        let operation = match operation.as_marker() {
            Some(marker) if request.bytes(Text::VersionId).is_empty() && matches(&self.versioned, Text::Bucket) => {
                marker
            }
            _ => operation,
        };
        let key = request.bytes(Text::Key);
        let has = |wanted: &[(Vec<u8>, Vec<u8>)], map: &super::Map| {
            wanted.iter().all(|(key, value)| map.contains(key, value))
        };
        let fits = self.events & operation.bit() != 0
            && one_of(&self.buckets, Text::Bucket)
            && one_of(&self.tenants, Text::Tenant)
            && key.starts_with(&self.prefix)
            && key.ends_with(&self.suffix)
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(key))
            && has(&self.metadata, &request.metadata)
            && has(&self.tags, &request.tags)
            && self.bucket_tags.iter().all(|(key, wanted)| {
                // What was not asked for, or is not shown, may fit: an event too many is better than a lost one.
                let found = request.bucket_tags.iter().find(|(known, _)| known == key);
                found.is_none_or(|(_, value)| value.as_ref() == Some(wanted))
            });
        fits.then_some(operation)
    }
}

/// The events that RGW has: what no list of events stands for.
fn native() -> Events {
    OPERATIONS.iter().filter(|operation| operation.is_native()).map(Operation::bit).fold(0, |all, one| all | one)
}

/// Event types that RGW knows and that no request of a client causes.
const UNSEEN: [&str; 5] =
    ["ObjectLifecycle:", "LifecycleExpiration:", "LifecycleTransition", "ObjectSynced:", "Replication:"];

fn events(fields: &mut Fields<'_>) -> Events {
    let Some(value) = fields.value("events") else { return native() };
    let Value::Table(entries) = value else {
        fields.wrong_type("events", "a list of event types", value);
        return 0;
    };
    if entries.is_empty() {
        return native();
    }
    let mut events = 0;
    for (_, entry) in entries {
        let Some(text) = entry.text() else {
            fields.wrong_type("events", "a list of event types", entry);
            continue;
        };
        let name = text.strip_prefix("s3:").unwrap_or(text);
        let family = name.strip_suffix('*').filter(|family| family.ends_with(':'));
        let found = OPERATIONS.iter().filter(|operation| match family {
            Some(family) => operation.event_name().starts_with(family),
            None => operation.event_name() == name,
        });
        let found = found.map(Operation::bit).fold(0, |all, one| all | one);
        let shown: String = text.chars().take(60).filter(|c| !c.is_control()).collect();
        if found != 0 {
            events |= found;
        } else if UNSEEN.iter().any(|unseen| name.starts_with(unseen)) {
            fields.problem("events", format!("has {shown}, which RGW knows but shows no script"));
        } else {
            let near = OPERATIONS
                .iter()
                .map(|one| (strsim::damerau_levenshtein(one.event_name(), name), one))
                .min_by_key(|near| near.0);
            let near = near.map(|(_, near)| near.event_name()).unwrap_or_default();
            fields.problem("events", format!("has the unknown {shown}; the nearest is s3:{near}"));
        }
    }
    events
}

/// A glob or a list of them: `*` any characters, `?` one, `[…]` one of some, `{a,b}` either.
fn globs(fields: &mut Fields<'_>, key: &'static str) -> Vec<Glob> {
    let texts: Vec<&Value> = match fields.value(key) {
        None => return Vec::new(),
        Some(Value::Table(entries)) => entries.iter().map(|(_, value)| value).collect(),
        Some(value) => vec![value],
    };
    let mut globs = Vec::new();
    for value in texts {
        let Some(text) = value.text().filter(|text| text.len() <= 1024) else {
            fields.wrong_type(key, "a name with * and ?, or a list of them", value);
            continue;
        };
        match Glob::parse(text) {
            Ok(glob) => globs.push(glob),
            Err(error) => fields.problem(key, format!("has no pattern of names: {error}")),
        }
    }
    globs
}

/// A table of names with a text each.
fn pairs(fields: &mut Fields<'_>, key: &'static str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = match fields.value(key) {
        None => return Vec::new(),
        Some(Value::Table(entries)) => entries,
        Some(value) => {
            fields.wrong_type(key, "a table of names with a text each", value);
            return Vec::new();
        }
    };
    let mut pairs = Vec::new();
    for (name, value) in entries {
        match (name, value) {
            (Value::String(name), Value::String(value)) => pairs.push((name.clone(), value.clone())),
            _ => fields.wrong_type(key, "a table of names with a text each", value),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration of one rule, from TOML.
    fn read(text: &str) -> (Configuration, Vec<String>) {
        let document = crate::config::Document::parse("f", &format!("url = 'h:1'\n{text}")).unwrap();
        let (configuration, problems) = Configuration::read(document.table());
        (configuration, problems.into_iter().map(|problem| problem.text).collect())
    }

    fn request(op: &str, method: &str, bucket: &str, key: &str) -> Request {
        let mut request = Request::default();
        request.status = 200;
        for (text, value) in [(Text::RgwOp, op), (Text::Method, method), (Text::Bucket, bucket), (Text::Key, key)] {
            request.set(text, value.as_bytes());
        }
        request
    }

    fn fits(text: &str, request: &Request) -> bool {
        let (configuration, problems) = read(text);
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        // A gate may not turn away what fits.
        request.event().is_some_and(|operation| {
            let passed = configuration.fitting(request, operation).next().is_some();
            assert_eq!(passed, configuration.rules[0].fits(request, operation).is_some());
            passed
        })
    }

    #[test]
    fn events_are_chosen_by_name_and_wildcard_and_rgws_by_default() {
        let put = request("put_obj", "PUT", "b", "k");
        let delete = request("delete_obj", "DELETE", "b", "k");
        let get = request("get_obj", "GET", "b", "k");
        let head = request("get_obj", "HEAD", "b", "k");
        let make = request("create_bucket", "PUT", "b", "");
        for (text, expected) in [
            ("", [true, true, false, false, false]),
            ("events = []", [true, true, false, false, false]),
            ("events = ['s3:ObjectCreated:*']", [true, false, false, false, false]),
            ("events = ['ObjectRemoved:Delete']", [false, true, false, false, false]),
            ("events = ['s3:ObjectAccessed:*']", [false, false, true, true, false]),
            ("events = ['s3:ObjectAccessed:Head', 's3:BucketCreated:*']", [false, false, false, true, true]),
        ] {
            let found = [&put, &delete, &get, &head, &make].map(|request| fits(text, request));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn all_filters_must_fit() {
        let mut put = request("put_obj", "PUT", "photos-raw", "2026/a.jpg");
        put.metadata.add(b"x-amz-meta-color", b"red");
        put.tags.add(b"stage", b"raw");
        put.tags.add(b"stage", b"old");
        for (text, expected) in [
            ("bucket = 'photos-*'", true),
            ("bucket = ['films', 'photos-?aw']", true),
            ("bucket = 'photos'", false),
            ("tenant = ''", true),
            ("tenant = 'acme'", false),
            ("tenant = '*'", true),
            ("filter = { prefix = '2026/', suffix = '.jpg' }", true),
            ("filter = { prefix = '2026/', suffix = '.png' }", false),
            ("filter = { regex = '[0-9]+/.*' }", true),
            ("filter = { regex = '[0-9]+' }", false),
            ("filter = { regex = 'x|2026/a.jpg' }", true),
            ("filter = { metadata = { 'X-Amz-Meta-Color' = 'red' } }", true),
            ("filter = { metadata = { 'x-amz-meta-color' = 'blue' } }", false),
            ("filter = { tags = { stage = 'raw' } }", true),
            ("filter = { tags = { stage = 'old' } }", true),
            ("filter = { tags = { stage = 'raw', more = 'x' } }", false),
        ] {
            assert_eq!(fits(text, &put), expected, "{text}");
        }
    }

    #[test]
    fn a_rule_for_tagged_buckets_fits_all_where_the_gateway_does_not_show_these_tags() {
        let mut put = request("put_obj", "PUT", "b", "k");
        let rule = "filter = { bucket_tags = { team = 'a' } }";
        assert!(fits(rule, &put));
        for (value, expected) in [(None, false), (Some(b"b".to_vec()), false), (Some(b"a".to_vec()), true)] {
            put.bucket_tags = vec![(b"team".to_vec(), value)];
            assert_eq!(fits(rule, &put), expected);
        }
        put.bucket_tags = vec![(b"another".to_vec(), None)];
        assert!(fits(rule, &put), "a key that was not asked for");
        let needs = |text: &str| read(text).0.needs() & BUCKET_TAGS != 0;
        assert!(needs(rule) && !needs("filter = { tags = { team = 'a' } }"));
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let text = "
            [[notification]]
            id = 'a'
            events = ['s3:ObjectCreate:Put', 's3:ObjectSynced:Create', 7]
            bucket = '[a'
            [[notification]]
            id = 'a'
            subject = 'a..b'
            filter = { prefx = 'x', regex = '(a', metadata = { color = 'red' }, tags = { a = 1 } }
        ";
        let (_, problems) = read(text);
        for part in [
            "notification[1].events has the unknown s3:ObjectCreate:Put; the nearest is s3:ObjectCreated:Put",
            "notification[1].events has s3:ObjectSynced:Create, which RGW knows but shows no script",
            "notification[1].events must be a list of event types, got number",
            "notification[1].bucket has no pattern of names",
            "notification[2].subject a..b has an empty token",
            "notification[2].filter: unknown key prefx; did you mean prefix?",
            "notification[2].filter.regex is no pattern: ",
            "notification[2].filter.metadata has a name that does not begin with x-amz-meta-",
            "notification[2].filter.tags must be a table of names with a text each, got number",
            "notification[2].id is a as in another notification; ids must differ",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} is not in {problems:#?}");
        }
        assert_eq!(problems.len(), 10, "{problems:#?}");
    }

    #[test]
    fn a_key_of_a_rule_belongs_into_its_table_where_there_are_tables() {
        let (_, problems) = read("subject = 'a'\n[[notification]]\nid = 'b'");
        let wanted = "subject stands outside of the [[notification]] tables; it belongs into each of them";
        assert!(problems.len() == 1 && problems[0].contains(wanted), "{problems:?}");
    }

    #[test]
    fn the_keys_of_a_rule_are_those_that_it_reads() {
        let table = Value::record([("quite another", Value::Nil)]);
        let mut fields = Fields::new("", &table);
        Rule::read(&mut fields);
        let problem = fields.finish().remove(0).text;
        let mut read: Vec<&str> = problem.split_once("known are ").unwrap().1.split(", ").collect();
        let mut listed = RULE.to_vec();
        read.sort_unstable();
        listed.sort_unstable();
        assert_eq!(read, listed);
    }

    #[test]
    fn a_url_is_enough() {
        let (configuration, problems) = read("");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(configuration.rules[0].id, "rgw_nats");
        assert_eq!(configuration.endpoint.max_pending, 100_000);
    }

    #[test]
    fn a_pattern_that_would_grow_without_end_is_refused() {
        let (_, problems) = read("filter = { regex = '((a{100}){100}){100}' }");
        assert!(problems[0].contains("filter.regex is no pattern"), "{problems:?}");
    }
}
