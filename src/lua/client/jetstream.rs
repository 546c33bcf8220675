//! `connection:jetstream`, and the methods of what it returns: publishing, streams, consumers, buckets.

use super::bucket::{HeldBucket, create_config};
use super::consumer::HeldConsumer;
use super::{Client, arguments, exchange, stream};
use crate::config::{Fields, refuse};
use crate::error::{Code, Error};
use crate::lua::boundary::{Call, Entry, Function};
use crate::lua::{handle, json};
use crate::message::Message;
use crate::process;
use crate::transport::{Bucket, JetStream, Ordered, Pull, acknowledged};
use crate::value::{Class, Handle, Object, Value};
use serde_json::{Value as Json, json};
use std::ffi::CStr;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What scripts do with JetStream.
pub const METHODS: &[Entry] = &[
    Entry::of::<Publish>(),
    Entry::of::<PublishLater>(),
    Entry::of::<stream::AccountInfo>(),
    Entry::of::<stream::CreateStream>(),
    Entry::of::<stream::UpdateStream>(),
    Entry::of::<stream::StreamInfo>(),
    Entry::of::<stream::DeleteStream>(),
    Entry::of::<stream::PurgeStream>(),
    Entry::of::<stream::StreamNames>(),
    Entry::of::<stream::GetMessage>(),
    Entry::of::<stream::DeleteMessage>(),
    Entry::of::<OpenConsumer>(),
    Entry::of::<OrderedConsumer>(),
    Entry::of::<DeleteConsumer>(),
    Entry::of::<ConsumerNames>(),
    Entry::of::<CreateBucket>(),
    Entry::of::<OpenBucket>(),
    Entry::of::<DeleteBucket>(),
    Entry::of::<BucketNames>(),
    Entry::of::<Ask>(),
];

/// How many acknowledgements of `publish_async` one handle may be waiting for.
const MAX_IN_FLIGHT: usize = 16_384;

/// A script's hold on JetStream.
pub struct HeldJetStream {
    pub client: Arc<Client>,
    pub js: Arc<JetStream>,
    /// How long an answer is waited for where nothing else is said.
    pub limit: Duration,
    in_flight: Arc<AtomicUsize>,
}

impl Object for HeldJetStream {
    fn class(&self) -> Class {
        Class::JetStream
    }
}

impl HeldJetStream {
    pub fn of(call: &Call) -> Result<Arc<HeldJetStream>, Error> {
        let held = match call.argument(1) {
            Value::Handle(handle) => handle::downcast::<HeldJetStream>(handle),
            _ => None,
        };
        let held = held.ok_or_else(|| {
            let kind = call.argument(1).kind();
            Error::new(Code::BadArgument, format!("JetStream is wanted as first argument, got {kind}; write a colon"))
        })?;
        held.client.connection()?;
        Ok(held)
    }

    /// By which messages are acknowledged.
    pub fn handle(&self) -> Handle {
        self.client.clone()
    }

    /// Promises what some work comes to within the usual limit.
    pub fn promise<F: Future<Output = Result<Value, Error>> + Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(Arc<JetStream>, Instant) -> F,
    ) -> Result<Value, Error> {
        let work = work(self.js.clone(), Instant::now() + limit);
        Ok(Value::Handle(process::promise(limit, work)?))
    }

    /// As [`promise`](HeldJetStream::promise), of what is for nobody else than who holds on to it.
    pub fn wish<F: Future<Output = Result<Value, Error>> + Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce(Instant) -> F,
    ) -> Result<Value, Error> {
        Ok(Value::Handle(process::wish(limit, work(Instant::now() + limit))?))
    }

    /// Promises the answer of the API, or what is made of it.
    pub fn ask(
        &self,
        name: String,
        body: Json,
        then: impl FnOnce(Json) -> Result<Value, Error> + Send + 'static,
    ) -> Result<Value, Error> {
        self.promise(self.limit, |js, deadline| async move { then(js.ask(&name, &body, deadline).await?) })
    }
}

/// An answer of the API as a table, without what tells its kind.
pub fn table(answer: Json) -> Result<Value, Error> {
    let mut answer = answer;
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("type");
    }
    Ok(json::to_value(answer))
}

/// The `success` of an answer.
pub fn success(answer: Json) -> Result<Value, Error> {
    Ok(answer.get("success").and_then(Json::as_bool).unwrap_or(true).into())
}

/// An argument that is a table, as an object of JSON.
pub fn object(value: &Value, what: &str) -> Result<Json, Error> {
    match value {
        Value::Table(_) => json::from_value(value),
        other => Err(Error::new(Code::BadArgument, format!("the {what} must be a table, got {}", other.kind()))),
    }
}

pub fn stream_name(value: &Value) -> Result<&str, Error> {
    arguments::name(value, "name of the stream")
}

/// `connection:jetstream(options)`.
pub struct Open;

impl Function for Open {
    const NAME: &'static CStr = c"jetstream";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let client = Client::of(call)?;
        let mut fields = arguments::options(call, 2)?;
        let domain = fields.text("domain", 255);
        let prefix = fields.text("prefix", 255);
        let limit = Duration::from_millis(fields.integer("timeout_ms", 1..=arguments::MAX_WAIT, arguments::WAIT));
        let prefix = match (domain, prefix) {
            (Some(_), Some(_)) => {
                fields.problem("domain", "and prefix say the same thing in two ways; give one");
                String::new()
            }
            (Some(domain), None) => format!("$JS.{domain}.API"),
            (None, Some(prefix)) => prefix.trim_end_matches('.').to_owned(),
            (None, None) => "$JS.API".to_owned(),
        };
        refuse(&fields.finish())?;
        arguments::subject(&prefix.as_str().into(), "prefix or domain")?;
        let js = Arc::new(JetStream::new(client.connection()?.session().clone(), prefix));
        Ok(Value::Handle(Arc::new(HeldJetStream { client, js, limit, in_flight: Arc::default() })))
    }
}

// Publishing ------------------------------------------------------------------------------------------------------------

/// What is to be published by a call, `(jetstream, subject, payload, options)`, how long to wait, and whether it is to end by
/// itself.
fn publication(call: &mut Call, default: Duration) -> Result<(Message, Duration, bool), Error> {
    let mut fields = arguments::options(call, 4)?;
    let given = fields.value("headers").cloned().unwrap_or_default();
    let default = u64::try_from(default.as_millis()).unwrap_or_default();
    let limit = Duration::from_millis(fields.integer("timeout_ms", 0..=arguments::MAX_WAIT, default));
    let mut headers = arguments::headers(&given)?;
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value));
    for (key, header) in [
        ("id", "Nats-Msg-Id"),
        ("expected_stream", "Nats-Expected-Stream"),
        ("expected_last_id", "Nats-Expected-Last-Msg-Id"),
    ] {
        if let Some(text) = fields.text(key, 1024) {
            add(header, text.to_owned());
        }
    }
    for (key, header) in [
        ("expected_last_sequence", "Nats-Expected-Last-Sequence"),
        ("expected_last_subject_sequence", "Nats-Expected-Last-Subject-Sequence"),
    ] {
        if fields.value(key).is_some() {
            add(header, fields.integer(key, 0..=u64::MAX >> 1, 0).to_string());
        }
    }
    let ends = fields.value("ttl_s").is_some();
    if ends {
        add("Nats-TTL", fields.integer("ttl_s", 1..=u64::from(u32::MAX), 1).to_string());
    }
    refuse(&fields.finish())?;
    let subject = arguments::subject(call.argument(2), "subject")?;
    let payload = arguments::payload(call, 3)?;
    Ok((Message::new(subject, headers, payload)?, limit, ends))
}

/// Publishes, and promises the acknowledgement; `held` goes with it.
fn publish(call: &mut Call, js: &HeldJetStream, held: impl Send + 'static) -> Result<Value, Error> {
    let (message, limit, ends) = publication(call, js.limit)?;
    let connection = js.client.connection()?;
    if ends && !connection.session().is_at_least(2, 11, 0) {
        // Another one might ignore it. Which one it is may have to be seen first.
        return js.promise(limit, |js, deadline| async move {
            let _held = held;
            js.needs((2, 11), "a message with a ttl_s", deadline).await?;
            Ok(acknowledgement(&js.publish(message, deadline).await?))
        });
    }
    let subject = message.subject.clone();
    let promise = exchange::ask_for(connection.session(), message, limit, move |answer| {
        let _held = held;
        Ok(acknowledgement(&acknowledged(answer, &subject)?))
    })?;
    Ok(Value::Handle(promise))
}

fn acknowledgement(answer: &Json) -> Value {
    let number = |key: &str| Value::from(answer.get(key).and_then(Json::as_u64).unwrap_or_default());
    let text = |key: &str| Value::from(answer.get(key).and_then(Json::as_str).unwrap_or_default());
    let duplicate = answer.get("duplicate").and_then(Json::as_bool).unwrap_or_default();
    Value::record([
        ("stream", text("stream")),
        ("sequence", number("seq")),
        ("duplicate", duplicate.into()),
        ("domain", text("domain")),
    ])
}

/// `jetstream:publish(subject, payload, options)`.
struct Publish;

impl Function for Publish {
    const NAME: &'static CStr = c"publish";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let held = HeldJetStream::of(call)?;
        publish(call, &held, ())
    }
}

/// One less is in flight, however it ends.
struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `jetstream:publish_async(subject, payload, options)`.
struct PublishLater;

impl Function for PublishLater {
    const NAME: &'static CStr = c"publish_async";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let held = HeldJetStream::of(call)?;
        held.in_flight.fetch_add(1, Ordering::Relaxed);
        let flying = InFlight(held.in_flight.clone());
        if held.in_flight.load(Ordering::Relaxed) > MAX_IN_FLIGHT {
            let text = format!("{MAX_IN_FLIGHT} acknowledgements are waited for; wait for some of the futures");
            return Err(Error::new(Code::QueueFull, text));
        }
        publish(call, &held, flying)
    }
}

/// A method that asks the API one thing.
macro_rules! ask {
    ($(#[$doc:meta])* $type:ident, $name:literal, |$held:ident, $call:ident| $work:expr) => {
        $(#[$doc])*
        pub struct $type;

        impl Function for $type {
            const NAME: &'static CStr = $name;
            const WAITS: bool = true;

            fn work($call: &mut Call) -> Result<Value, Error> {
                let $held = HeldJetStream::of($call)?;
                $work
            }
        }
    };
}

pub(super) use ask;

/// Promises all names of a list.
pub(super) fn names(
    held: &HeldJetStream,
    name: String,
    body: Json,
    key: &'static str,
    prefix: &'static str,
) -> Result<Value, Error> {
    held.promise(held.limit, |js, deadline| async move {
        let names = js.names(&name, body, key, deadline).await?;
        let names = names.iter().filter_map(|name| name.strip_prefix(prefix)).map(Value::from);
        Ok(Value::List(names.collect()))
    })
}

// Consumers -------------------------------------------------------------------------------------------------------------

/// Refuses the configuration of a consumer whose name is none, or that can't be pulled from.
fn check_consumer(config: &Json) -> Result<(), Error> {
    for key in ["name", "durable_name"] {
        if let Some(name) = config.get(key).and_then(Json::as_str).filter(|name| !name.is_empty()) {
            arguments::name(&name.into(), "name of the consumer")?;
        }
    }
    if config.get("deliver_subject").is_some() {
        let text = "with deliver_subject it is a push consumer: make that by api(), and subscribe to the subject";
        return Err(Error::new(Code::BadArgument, text));
    }
    Ok(())
}

ask!(
    /// `jetstream:consumer(stream, name)`, or `jetstream:consumer(stream, configuration, action)`.
    OpenConsumer, c"consumer", |held, call| {
        let stream = stream_name(call.argument(2))?.to_owned();
        let (name, config) = match call.argument(3) {
            Value::String(_) => (Some(arguments::name(call.argument(3), "name of the consumer")?.to_owned()), Json::Null),
            config => (None, object(config, "name or configuration of the consumer")?),
        };
        check_consumer(&config)?;
        let action = match call.argument(4) {
            Value::Nil => "",
            action => match arguments::text(action, "action")? {
                action @ ("create" | "update") => action,
                _ => return Err(Error::new(Code::BadArgument, "the action must be create or update, or nothing")),
            },
        }
        .to_owned();
        let owner = held.clone();
        held.promise(held.limit, |js, deadline| async move {
            let info = match &name {
                Some(name) => js.ask(&format!("CONSUMER.INFO.{stream}.{name}"), &Json::Null, deadline).await?,
                None => js.make_consumer(&stream, config, &action, deadline).await?,
            };
            let name = info.get("name").and_then(Json::as_str).unwrap_or_default().to_owned();
            let pull = Pull::new(js, stream, name);
            Ok(Value::Handle(Arc::new(HeldConsumer::pull(owner, pull))))
        })
    }
);

/// `jetstream:ordered_consumer(stream, options)`.
struct OrderedConsumer;

impl Function for OrderedConsumer {
    const NAME: &'static CStr = c"ordered_consumer";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let held = HeldJetStream::of(call)?;
        let stream = stream_name(call.argument(2))?.to_owned();
        let config = match call.argument(3) {
            Value::Nil => json!({}),
            config => object(config, "options of the consumer")?,
        };
        let filters = config.get("filter_subjects").and_then(Json::as_array);
        let filters = filters.into_iter().flatten().chain(config.get("filter_subject"));
        for filter in filters.filter_map(Json::as_str) {
            arguments::wildcard_subject(&filter.into())?;
        }
        let ordered = Ordered::new(held.js.clone(), stream, config)?;
        Ok(Value::Handle(Arc::new(HeldConsumer::ordered(held, ordered))))
    }
}

ask!(
    /// `jetstream:delete_consumer(stream, name)`.
    DeleteConsumer, c"delete_consumer", |held, call| {
        let stream = stream_name(call.argument(2))?;
        let name = arguments::name(call.argument(3), "name of the consumer")?;
        held.ask(format!("CONSUMER.DELETE.{stream}.{name}"), Json::Null, success)
    }
);
ask!(
    /// `jetstream:consumer_names(stream)`.
    ConsumerNames, c"consumer_names", |held, call| {
        names(&held, format!("CONSUMER.NAMES.{}", stream_name(call.argument(2))?), json!({}), "consumers", "")
    }
);

// Buckets ---------------------------------------------------------------------------------------------------------------

fn bucket_name(value: &Value) -> Result<String, Error> {
    let name = arguments::text(value, "name of the bucket")?;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return Err(Error::new(Code::BadArgument, "the name of a bucket is letters, digits, - and _"));
    }
    Ok(name.to_owned())
}

/// Promises a bucket that is there.
fn open_bucket(held: Arc<HeldJetStream>, name: String, create: Option<Json>) -> Result<Value, Error> {
    let owner = held.clone();
    held.promise(held.limit, |js, deadline| async move {
        if let Some(config) = create {
            if config.get("compression").is_some() {
                js.needs((2, 10), "compression", deadline).await?;
            }
            if config.get("allow_msg_ttl").is_some() {
                js.needs((2, 11), "limit_marker_ttl_s", deadline).await?;
            }
            js.ask(&format!("STREAM.CREATE.KV_{name}"), &config, deadline).await?;
        }
        let bucket = Bucket::new(js, name);
        bucket.check(deadline).await?;
        Ok(Value::Handle(Arc::new(HeldBucket::new(owner, bucket))))
    })
}

ask!(
    /// `jetstream:create_bucket(configuration)`.
    CreateBucket, c"create_bucket", |held, call| {
        let table = match call.argument(2) {
            table @ Value::Table(_) => table,
            other => {
                let text = format!("the configuration of the bucket must be a table, got {}", other.kind());
                return Err(Error::new(Code::BadArgument, text));
            }
        };
        let mut fields = Fields::new("configuration", table);
        let name = bucket_name(fields.value("bucket").unwrap_or(&Value::Nil))?;
        let config = create_config(&name, &mut fields);
        refuse(&fields.finish())?;
        open_bucket(held, name, Some(config))
    }
);
ask!(
    /// `jetstream:bucket(name)`.
    OpenBucket, c"bucket", |held, call| {
        let name = bucket_name(call.argument(2))?;
        open_bucket(held, name, None)
    }
);
ask!(
    /// `jetstream:delete_bucket(name)`.
    DeleteBucket, c"delete_bucket", |held, call| {
        held.ask(format!("STREAM.DELETE.KV_{}", bucket_name(call.argument(2))?), Json::Null, success)
    }
);
ask!(
    /// `jetstream:bucket_names()`.
    BucketNames, c"bucket_names", |held, call| {
        names(&held, "STREAM.NAMES".to_owned(), json!({ "subject": "$KV.>" }), "streams", "KV_")
    }
);
ask!(
    /// `jetstream:api(name, request)`.
    Ask, c"api", |held, call| {
        let name = arguments::subject(call.argument(2), "name of the API")?;
        let body = match call.argument(3) {
            Value::Nil => Json::Null,
            body => object(body, "request")?,
        };
        held.ask(name, body, table)
    }
);
