//! Key-value buckets, and what changes in them.

use super::arguments;
use super::jetstream::HeldJetStream;
use crate::config::{Fields, refuse};
use crate::error::{Code, Error};
use crate::lua::boundary::{Call, Entry, Function};
use crate::lua::handle;
use crate::transport::{Bucket, KeyValue, Watch, WatchFrom};
use crate::value::{Class, Object, Value};
use bytes::Bytes;
use serde_json::{Value as Json, json};
use std::ffi::CStr;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What scripts do with a bucket.
pub const METHODS: &[Entry] = &[
    Entry::of::<Get>(),
    Entry::of::<GetEntry>(),
    Entry::of::<Put>(),
    Entry::of::<Create>(),
    Entry::of::<Update>(),
    Entry::of::<Delete>(),
    Entry::of::<Purge>(),
    Entry::of::<Keys>(),
    Entry::of::<History>(),
    Entry::of::<OpenWatch>(),
    Entry::of::<Status>(),
];

/// What Lua itself does with one.
pub const METAMETHODS: &[Entry] = &[Entry::of::<ToString>()];

/// What scripts do with a watch.
pub const WATCH: &[Entry] = &[Entry::of::<Next>()];

/// What Lua itself does with one.
pub const WATCH_METAMETHODS: &[Entry] = &[Entry::of::<Iterate>(), Entry::of::<WatchToString>()];

/// A script's hold on a bucket.
pub struct HeldBucket {
    owner: Arc<HeldJetStream>,
    bucket: Arc<Bucket>,
}

impl Object for HeldBucket {
    fn class(&self) -> Class {
        Class::Bucket
    }
}

/// What a new bucket is made with, as the stream that it is (ADR-8).
pub fn create_config(name: &str, fields: &mut Fields<'_>) -> Json {
    let seconds = |seconds: u64| seconds.saturating_mul(1_000_000_000);
    let history = fields.integer("history", 1..=64, 1);
    let ttl = seconds(fields.integer("ttl_s", 0..=1_000_000_000, 0));
    let storage = fields.choice("storage", &[("file", "file"), ("memory", "memory")]);
    let mut config = json!({
        "name": format!("KV_{name}"),
        "subjects": [format!("$KV.{name}.>")],
        "max_msgs_per_subject": history,
        "max_age": ttl,
        // Two minutes, unless values go before that.
        "duplicate_window": if ttl == 0 { seconds(120) } else { ttl.min(seconds(120)) },
        "storage": if storage.is_empty() { "file" } else { storage },
        "num_replicas": fields.integer("replicas", 1..=5, 1),
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msg_size": -1,
        "retention": "limits",
        "discard": "new",
        "deny_delete": true,
        "allow_rollup_hdrs": true,
        "allow_direct": true,
    });
    let mut set = |key: &str, value: Json| {
        if let Some(config) = config.as_object_mut() {
            config.insert(key.to_owned(), value);
        }
    };
    if let Some(description) = fields.text("description", 4096) {
        set("description", description.into());
    }
    for (key, word) in [("max_bytes", "max_bytes"), ("max_value_size", "max_msg_size")] {
        if fields.value(key).is_some() {
            set(word, fields.integer(key, 1..=u64::MAX >> 1, 1).into());
        }
    }
    if fields.boolean("compression", false) {
        set("compression", "s2".into());
    }
    // Values with a life of their own: 2.11 on.
    if fields.value("limit_marker_ttl_s").is_some() {
        set("allow_msg_ttl", true.into());
        set("subject_delete_marker_ttl", seconds(fields.integer("limit_marker_ttl_s", 1..=1_000_000_000, 1)).into());
    }
    config
}

impl HeldBucket {
    /// A hold on a bucket.
    pub fn new(owner: Arc<HeldJetStream>, bucket: Bucket) -> HeldBucket {
        HeldBucket { owner, bucket: Arc::new(bucket) }
    }

    /// The bucket that is the first argument, whatever has become of its connection.
    fn any(call: &Call) -> Result<Arc<HeldBucket>, Error> {
        let held = match call.argument(1) {
            Value::Handle(handle) => handle::downcast::<HeldBucket>(handle),
            _ => None,
        };
        held.ok_or_else(|| {
            let kind = call.argument(1).kind();
            Error::new(Code::BadArgument, format!("a bucket is wanted as first argument, got {kind}; write a colon"))
        })
    }

    fn of(call: &Call) -> Result<Arc<HeldBucket>, Error> {
        let held = HeldBucket::any(call)?;
        held.owner.client.connection()?;
        Ok(held)
    }

    fn promise<F: Future<Output = Result<Value, Error>> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Bucket>, Instant) -> F,
    ) -> Result<Value, Error> {
        let bucket = self.bucket.clone();
        self.owner.promise(self.owner.limit, |_, deadline| work(bucket, deadline))
    }
}

/// The key of a call.
fn key(call: &Call) -> Result<String, Error> {
    arguments::text(call.argument(2), "key").map(str::to_owned)
}

/// The value of a call, taken out of it.
fn bytes(call: &mut Call) -> Result<Bytes, Error> {
    Ok(arguments::payload(call, 3)?.into())
}

fn number(value: &Value, what: &str) -> Result<u64, Error> {
    let number = if let Value::Integer(number) = value { u64::try_from(*number).ok() } else { None };
    number.ok_or_else(|| {
        Error::new(Code::BadArgument, format!("the {what} must be a whole number, got {}", value.kind()))
    })
}

fn number_or_none(value: &Value, what: &str) -> Result<Option<u64>, Error> {
    if matches!(value, Value::Nil) { Ok(None) } else { number(value, what).map(Some) }
}

fn entry(entry: KeyValue, bucket: &Bucket) -> Value {
    Value::record([
        ("bucket", bucket.name().into()),
        ("key", entry.key.into()),
        ("value", Value::String(entry.value.into())),
        ("revision", entry.revision.into()),
        ("delta", entry.delta.into()),
        ("created_ms", entry.created_ms.into()),
        ("operation", entry.operation.into()),
    ])
}

fn none(bucket: &Bucket, key: &str) -> Error {
    Error::new(Code::NotFound, format!("{} has no {key}", bucket.name()))
}

/// A method of a bucket that waits for the server.
macro_rules! method {
    ($(#[$doc:meta])* $type:ident, $name:literal, |$held:ident, $call:ident| $work:expr) => {
        $(#[$doc])*
        struct $type;

        impl Function for $type {
            const NAME: &'static CStr = $name;
            const WAITS: bool = true;

            fn work($call: &mut Call) -> Result<Value, Error> {
                let $held = HeldBucket::of($call)?;
                $work
            }
        }
    };
}

method!(
    /// `bucket:get(key, revision)`: the value.
    Get, c"get", |held, call| {
        let (key, revision) = (key(call)?, number_or_none(call.argument(3), "revision")?);
        held.promise(|bucket, deadline| async move {
            match bucket.entry(key.clone(), revision, deadline).await? {
                Some(found) if found.operation == "put" => Ok(Value::String(found.value.into())),
                _ => Err(none(&bucket, &key)),
            }
        })
    }
);
method!(
    /// `bucket:entry(key, revision)`: the value and all that is known of it, removals included.
    GetEntry, c"entry", |held, call| {
        let (key, revision) = (key(call)?, number_or_none(call.argument(3), "revision")?);
        held.promise(|bucket, deadline| async move {
            let found = bucket.entry(key.clone(), revision, deadline).await?;
            found.map(|found| entry(found, &bucket)).ok_or_else(|| none(&bucket, &key))
        })
    }
);
method!(
    /// `bucket:put(key, value)`.
    Put, c"put", |held, call| {
        let (key, value) = (key(call)?, bytes(call)?);
        held.promise(|bucket, deadline| async move { bucket.put(key, value, deadline).await.map(revision) })
    }
);
method!(
    /// `bucket:create(key, value, options)`.
    Create, c"create", |held, call| {
        let mut fields = arguments::options(call, 4)?;
        let ttl = fields.value("ttl_s").is_some().then(|| fields.integer("ttl_s", 1..=1_000_000_000, 1));
        refuse(&fields.finish())?;
        let (key, value) = (key(call)?, bytes(call)?);
        held.promise(|bucket, deadline| async move {
            bucket.create(key, value, ttl.map(Duration::from_secs), deadline).await.map(revision)
        })
    }
);
method!(
    /// `bucket:update(key, value, revision)`.
    Update, c"update", |held, call| {
        let last = number(call.argument(4), "last revision")?;
        let (key, value) = (key(call)?, bytes(call)?);
        held.promise(|bucket, deadline| async move { bucket.update(key, value, last, deadline).await.map(revision) })
    }
);
method!(
    /// `bucket:delete(key, revision)`.
    Delete, c"delete", |held, call| remove(&held, call, false)
);
method!(
    /// `bucket:purge(key, revision)`.
    Purge, c"purge", |held, call| remove(&held, call, true)
);
method!(
    /// `bucket:keys()`.
    Keys, c"keys", |held, call| held.promise(|bucket, deadline| async move {
        Ok(Value::List(bucket.keys(deadline).await?.into_iter().map(Value::from).collect()))
    })
);
method!(
    /// `bucket:history(key)`.
    History, c"history", |held, call| {
        let key = key(call)?;
        held.promise(|bucket, deadline| async move {
            let history = bucket.history(key, deadline).await?;
            Ok(Value::list(history.into_iter().map(|found| entry(found, &bucket))))
        })
    }
);
method!(
    /// `bucket:watch(keys, options)`.
    OpenWatch, c"watch", |held, call| {
        let keys = match call.argument(2) {
            Value::Nil => ">".to_owned(),
            keys => arguments::wildcard_subject(keys)?,
        };
        let mut fields = arguments::options(call, 3)?;
        let revision = fields.value("from_revision").is_some();
        let revision = revision.then(|| fields.integer("from_revision", 1..=u64::MAX >> 1, 1));
        let history = fields.boolean("history", false);
        let updates_only = fields.boolean("updates_only", false);
        if usize::from(history) + usize::from(updates_only) + usize::from(revision.is_some()) > 1 {
            fields.problem("history", "updates_only and from_revision each say where to begin; give one");
        }
        refuse(&fields.finish())?;
        let from = match revision {
            Some(revision) => WatchFrom::Revision(revision),
            None if history => WatchFrom::History,
            None if updates_only => WatchFrom::Now,
            None => WatchFrom::Values,
        };
        let owner = held.clone();
        held.promise(|bucket, deadline| async move {
            let watch = Watch::new(bucket, keys, from);
            watch.begin(deadline).await?;
            Ok(Value::Handle(Arc::new(HeldWatch { owner, watch: Arc::new(watch) })))
        })
    }
);
method!(
    /// `bucket:status()`: what the server tells of the stream that it is.
    Status, c"status", |held, call| {
        let name = format!("STREAM.INFO.KV_{}", held.bucket.name());
        let bucket = held.bucket.clone();
        held.owner.promise(held.owner.limit, |js, deadline| async move {
            let info = js.ask(&name, &Json::Null, deadline).await?;
            let number = |part: &str, key: &str| {
                Value::from(info.get(part).and_then(|part| part.get(key)).and_then(Json::as_u64).unwrap_or_default())
            };
            let ttl = info.get("config").and_then(|config| config.get("max_age")).and_then(Json::as_u64);
            Ok(Value::record([
                ("bucket", bucket.name().into()),
                ("values", number("state", "messages")),
                ("bytes", number("state", "bytes")),
                ("history", number("config", "max_msgs_per_subject")),
                ("ttl_s", (ttl.unwrap_or_default() / 1_000_000_000).into()),
                ("replicas", number("config", "num_replicas")),
            ]))
        })
    }
);

/// `tostring(bucket)`.
struct ToString;

impl Function for ToString {
    const NAME: &'static CStr = c"__tostring";

    fn work(call: &mut Call) -> Result<Value, Error> {
        // Lua raises an error where this gives no string.
        Ok(format!("rgw_nats.bucket: {}", HeldBucket::any(call)?.bucket.name()).into())
    }
}

/// A revision as a result: in a table, as a script of Ceph 20 must not return a bare number by accident.
fn revision(revision: u64) -> Value {
    Value::record([("revision", revision.into())])
}

fn remove(held: &HeldBucket, call: &Call, purge: bool) -> Result<Value, Error> {
    let (key, last) = (key(call)?, number_or_none(call.argument(3), "last revision")?);
    held.promise(|bucket, deadline| async move {
        bucket.remove(key, purge, last, deadline).await?;
        Ok(Value::Boolean(true))
    })
}

/// A script's hold on a watch.
pub struct HeldWatch {
    owner: Arc<HeldBucket>,
    watch: Arc<Watch>,
}

impl Object for HeldWatch {
    fn class(&self) -> Class {
        Class::Watch
    }
}

impl HeldWatch {
    /// The watch that is the first argument, whatever has become of its connection.
    fn any(call: &Call) -> Result<Arc<HeldWatch>, Error> {
        let held = match call.argument(1) {
            Value::Handle(handle) => handle::downcast::<HeldWatch>(handle),
            _ => None,
        };
        held.ok_or_else(|| {
            let kind = call.argument(1).kind();
            Error::new(Code::BadArgument, format!("a watch is wanted as first argument, got {kind}; write a colon"))
        })
    }

    fn next(call: &Call, limit: &Value) -> Result<Value, Error> {
        let held = HeldWatch::any(call)?;
        held.owner.owner.client.connection()?;
        let limit = arguments::limit(limit, arguments::WAIT)?;
        let (watch, bucket) = (held.watch.clone(), held.owner.bucket.clone());
        held.owner.owner.wish(limit, |deadline| async move { Ok(entry(watch.next(deadline).await?, &bucket)) })
    }
}

/// `watch:next(timeout_ms)`.
struct Next;

impl Function for Next {
    const NAME: &'static CStr = c"next";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        HeldWatch::next(call, call.argument(2))
    }
}

/// `for entry in watch do`: as `next`, with the usual time limit.
struct Iterate;

impl Function for Iterate {
    const NAME: &'static CStr = c"__call";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        HeldWatch::next(call, &Value::Nil)
    }
}

/// `tostring(watch)`.
struct WatchToString;

impl Function for WatchToString {
    const NAME: &'static CStr = c"__tostring";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let held = HeldWatch::any(call)?;
        Ok(format!("rgw_nats.watch: {} of {}", held.watch.keys(), held.owner.bucket.name()).into())
    }
}
