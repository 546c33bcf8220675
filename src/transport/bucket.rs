//! A key-value bucket of JetStream.

use super::context::JetStream;
use super::session::{Live, lost};
use crate::error::{Code, Error};
use crate::message::Message;
use async_nats::HeaderMap;
use async_nats::jetstream::kv;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageErrorKind};
use bytes::Bytes;
use futures_util::StreamExt;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many keys a list may have.
const MAX_KEYS: usize = 1_000_000;
/// How long a key may be, in bytes: it is part of a subject.
const MAX_KEY: usize = 3_000;

/// A key with its value at some time.
#[derive(Clone, Debug)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value; empty if it was removed.
    pub value: Bytes,
    /// The number of this change in the bucket.
    pub revision: u64,
    /// How many changes came after it.
    pub delta: u64,
    /// When it was changed, in milliseconds since 1970.
    pub created_ms: u64,
    /// `put`, `delete` or `purge`.
    pub operation: &'static str,
}

impl From<kv::Entry> for KeyValue {
    fn from(entry: kv::Entry) -> KeyValue {
        KeyValue {
            key: entry.key,
            value: entry.value,
            revision: entry.revision,
            delta: entry.delta,
            created_ms: milliseconds(entry.created),
            operation: match entry.operation {
                kv::Operation::Put => "put",
                kv::Operation::Delete => "delete",
                kv::Operation::Purge => "purge",
            },
        }
    }
}

impl KeyValue {
    /// A key's change as its stream keeps it.
    fn kept(key: String, message: StreamMessage) -> KeyValue {
        KeyValue {
            key,
            value: message.payload,
            revision: message.sequence,
            delta: 0,
            created_ms: milliseconds(message.time),
            operation: operation(&message.headers),
        }
    }
}

/// One bucket.
pub struct Bucket {
    js: Arc<JetStream>,
    name: String,
    known: Mutex<Option<(u64, kv::Store)>>,
}

impl Bucket {
    /// The bucket of this name.
    pub fn new(js: Arc<JetStream>, name: String) -> Bucket {
        Bucket { js, name, known: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    async fn store(&self, live: &Live) -> Result<kv::Store, Error> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, store)) = &*known()
            && *number == live.number()
        {
            return Ok(store.clone());
        }
        let found = self.js.context(live).get_key_value(&self.name).await;
        let store = found.map_err(|error| match error.kind() {
            async_nats::jetstream::context::KeyValueErrorKind::GetBucket if says(&error, "10059") => self.gone(),
            _ => self.failed(&error),
        })?;
        *known() = Some((live.number(), store.clone()));
        Ok(store)
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Nobody answers for a bucket that is gone.
        if says(error, "no responders") || says(error, "10059") {
            return self.gone();
        }
        let code = if says(error, "timed out") { Code::Timeout } else { Code::JetStream };
        Error::new(code, format!("the bucket {}: {}", self.name, with_causes(error)))
    }

    fn gone(&self) -> Error {
        Error::new(Code::NotFound, format!("there is no bucket {}", self.name))
    }

    /// Does something with the store, until `deadline`.
    async fn with<T, F: Future<Output = Result<T, Error>>>(
        &self,
        deadline: Instant,
        work: impl FnOnce(kv::Store) -> F,
    ) -> Result<T, Error> {
        let session = &self.js.session;
        session.with(deadline, &self.name, |live| async move { work(self.store(&live).await?).await }).await
    }

    /// Makes sure that it is there.
    ///
    /// # Errors
    /// `not_found`, `jetstream`, `timeout`, `disconnected`, `no_responders`.
    pub async fn check(&self, deadline: Instant) -> Result<(), Error> {
        self.with(deadline, |_| std::future::ready(Ok(()))).await
    }

    /// The value of a key, the last one or that of a revision, removals included; none if there is none.
    ///
    /// # Errors
    /// `bad_argument` (the key), `jetstream`, `timeout`, `disconnected`.
    pub async fn entry(
        &self,
        key: String,
        revision: Option<u64>,
        deadline: Instant,
    ) -> Result<Option<KeyValue>, Error> {
        check_key(&key)?;
        self.with(deadline, |store| async move {
            // When it is asked directly, a server before 2.10 does not say that there is no such stream.
            if revision.is_none() && !self.js.session.is_at_least(2, 10, 0) {
                let last = store.stream.get_last_raw_message_by_subject(&format!("{}{key}", store.prefix)).await;
                return match last {
                    Ok(message) => Ok(Some(KeyValue::kept(key, message))),
                    Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                    Err(error) => Err(self.failed(&error)),
                };
            }
            let Some(revision) = revision else {
                return store
                    .entry(key)
                    .await
                    .map(|entry| entry.map(KeyValue::from))
                    .map_err(|error| self.failed(&error));
            };
            // Not by the store, which prints to standard output when the revision is of another key.
            match store.stream.get_raw_message(revision).await {
                Ok(message) if message.subject.strip_prefix(&store.prefix) == Some(key.as_str()) => {
                    Ok(Some(KeyValue::kept(key, message)))
                }
                Ok(_) => Ok(None),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(self.failed(&error)),
            }
        })
        .await
    }

    /// Sets a key; gives the revision.
    ///
    /// # Errors
    /// As for [`Bucket::entry`].
    pub async fn put(&self, key: String, value: Bytes, deadline: Instant) -> Result<u64, Error> {
        self.write(&key, value, Vec::new(), deadline).await
    }

    /// Sets a key that has no value, for `ttl` at most where that is given.
    ///
    /// # Errors
    /// `conflict`, if it has one; and as for [`Bucket::entry`].
    pub async fn create(
        &self,
        key: String,
        value: Bytes,
        ttl: Option<Duration>,
        deadline: Instant,
    ) -> Result<u64, Error> {
        if ttl.is_some() {
            self.js.needs((2, 11), "a value with a ttl_s", deadline).await?;
        }
        let headers = |last: u64| {
            let ttl = ttl.map(|ttl| ("Nats-TTL".to_owned(), ttl.as_secs().to_string()));
            ttl.into_iter().chain([after(last)]).collect()
        };
        match self.write(&key, value.clone(), headers(0), deadline).await {
            Err(error) if error.code() == Code::Conflict => {}
            result => return result,
        }
        // What was removed has a last revision too.
        let taken = || Error::new(Code::Conflict, format!("the key {key} has a value"));
        match self.entry(key.clone(), None, deadline).await? {
            Some(removed) if removed.operation != "put" => {
                let again = self.write(&key, value, headers(removed.revision), deadline).await;
                again.map_err(|error| if error.code() == Code::Conflict { taken() } else { error })
            }
            _ => Err(taken()),
        }
    }

    /// Sets a key whose last revision is this one.
    ///
    /// # Errors
    /// `conflict`, if it is another; and as for [`Bucket::entry`].
    pub async fn update(&self, key: String, value: Bytes, revision: u64, deadline: Instant) -> Result<u64, Error> {
        self.write(&key, value, vec![after(revision)], deadline).await
    }

    /// Removes a key's value, keeping its history (`purge`: and that too); if its last revision is this one, where one is
    /// given.
    ///
    /// # Errors
    /// As for [`Bucket::update`].
    pub async fn remove(
        &self,
        key: String,
        purge: bool,
        revision: Option<u64>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let mut headers: Vec<_> = revision.map(after).into_iter().collect();
        let mut add = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        if purge {
            add("KV-Operation", "PURGE");
            add("Nats-Rollup", "sub");
        } else {
            add("KV-Operation", "DEL");
        }
        self.write(&key, Bytes::new(), headers, deadline).await.map(|_| ())
    }

    /// Publishes what sets or removes a key; gives the revision.
    async fn write(
        &self,
        key: &str,
        value: Bytes,
        headers: Vec<(String, String)>,
        deadline: Instant,
    ) -> Result<u64, Error> {
        check_key(key)?;
        let subject = self.with(deadline, |store| async move {
            let prefix = store.put_prefix.unwrap_or(store.prefix);
            let api = if store.use_jetstream_prefix { format!("{}.", self.js.prefix()) } else { String::new() };
            Ok(format!("{api}{prefix}{key}"))
        });
        let question = Message::bare(subject.await?, headers, value);
        let answer = self.js.publish(question, deadline).await.map_err(|error| match error.code() {
            Code::NoResponders => self.gone(),
            Code::Conflict => Error::new(Code::Conflict, format!("the last revision of {key} is another one")),
            _ => error,
        })?;
        Ok(answer.get("seq").and_then(serde_json::Value::as_u64).unwrap_or_default())
    }

    /// All keys that have a value.
    ///
    /// # Errors
    /// `too_large`; and as for [`Bucket::entry`].
    pub async fn keys(&self, deadline: Instant) -> Result<Vec<String>, Error> {
        self.with(deadline, |store| async move {
            let mut keys = store.keys().await.map_err(|error| self.failed(&error))?;
            let mut found = Vec::new();
            while let Some(key) = keys.next().await {
                found.push(key.map_err(|error| self.failed(&error))?);
                if found.len() > MAX_KEYS {
                    return Err(Error::new(Code::TooLarge, format!("the bucket has more than {MAX_KEYS} keys")));
                }
            }
            found.sort_unstable();
            Ok(found)
        })
        .await
    }

    /// What a key was, oldest first, as much as the bucket keeps.
    ///
    /// # Errors
    /// As for [`Bucket::entry`].
    pub async fn history(&self, key: String, deadline: Instant) -> Result<Vec<KeyValue>, Error> {
        check_key(&key)?;
        self.with(deadline, |store| async move {
            let mut history = store.history(&key).await.map_err(|error| self.failed(&error))?;
            let mut found = Vec::new();
            while let Some(entry) = history.next().await {
                found.push(entry.map_err(|error| self.failed(&error))?.into());
            }
            Ok(found)
        })
        .await
    }
}

/// Where the watch of a bucket begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchFrom {
    /// With what is there now.
    Values,
    /// With what is kept of what was there.
    History,
    /// With what changes from now on.
    Now,
    /// With this revision.
    Revision(u64),
}

/// The changes of a bucket, or of some of its keys, over however many connections.
pub struct Watch {
    bucket: Arc<Bucket>,
    keys: String,
    from: WatchFrom,
    /// Where it stands. Whoever reads has it alone.
    place: tokio::sync::Mutex<Place>,
}

#[derive(Default)]
struct Place {
    /// The first revision that is wanted, once that is known.
    next: Option<u64>,
    open: Option<(u64, kv::Watch)>,
}

impl Watch {
    /// A watch of the keys that a pattern stands for: one, or `>` for all, with `*` for any token.
    pub fn new(bucket: Arc<Bucket>, keys: String, from: WatchFrom) -> Watch {
        let next = match from {
            WatchFrom::Revision(revision) => Some(revision),
            WatchFrom::History => Some(1),
            WatchFrom::Values | WatchFrom::Now => None,
        };
        Watch { bucket, keys, from, place: tokio::sync::Mutex::new(Place { next, open: None }) }
    }

    /// What it watches.
    pub fn keys(&self) -> &str {
        &self.keys
    }

    /// Begins, so that nothing that changes from now on is missed.
    ///
    /// # Errors
    /// As for [`Bucket::entry`], and `not_found`.
    pub async fn begin(&self, deadline: Instant) -> Result<(), Error> {
        let session = &self.bucket.js.session;
        if self.from == WatchFrom::Now {
            // A number, and not «new», which over another connection would be another one.
            let last = self.bucket.js.last_sequence(&format!("KV_{}", self.bucket.name), deadline).await?;
            self.place.lock().await.next = Some(last.saturating_add(1));
        }
        session
            .with(deadline, &self.keys, |live| async move {
                let mut place = self.place.lock().await;
                place.open = Some((live.number(), self.open(&live, place.next).await?));
                Ok(())
            })
            .await
    }

    /// The next change, until `deadline`.
    ///
    /// # Errors
    /// `timeout`, `not_found`, `jetstream`, `disconnected`.
    pub async fn next(&self, deadline: Instant) -> Result<KeyValue, Error> {
        loop {
            match self.attempt(deadline).await {
                // It goes on over the next connection where it was.
                Err(error) if error.code() == Code::Disconnected && Instant::now() < deadline => {}
                result => return result,
            }
        }
    }

    async fn attempt(&self, deadline: Instant) -> Result<KeyValue, Error> {
        let session = &self.bucket.js.session;
        session
            .with(deadline, &self.keys, |live| async move {
                let mut place = self.place.lock().await;
                let mut changes = match place.open.take() {
                    Some((number, changes)) if number == live.number() => changes,
                    _ => self.open(&live, place.next).await?,
                };
                let first = place.next.unwrap_or_default();
                // Where async-nats has to begin anew before anything came, it begins with the first there is.
                let wanted = std::pin::pin!(async {
                    loop {
                        match changes.next().await {
                            Some(Ok(entry)) if entry.revision < first => {}
                            next => return next,
                        }
                    }
                });
                let next = tokio::time::timeout_at(deadline.into(), wanted).await;
                let entry = match next {
                    Err(_) => {
                        place.open = Some((live.number(), changes));
                        return Err(Error::new(Code::Timeout, format!("{}: no change in time", self.keys)));
                    }
                    Ok(None) => return Err(lost()),
                    Ok(Some(Err(error))) => return Err(self.bucket.failed(&error)),
                    Ok(Some(Ok(entry))) => entry,
                };
                place.open = Some((live.number(), changes));
                place.next = Some(entry.revision.saturating_add(1));
                Ok(entry.into())
            })
            .await
    }

    async fn open(&self, live: &Live, next: Option<u64>) -> Result<kv::Watch, Error> {
        let store = self.bucket.store(live).await?;
        let opened = match next {
            Some(revision) => store.watch_from_revision(&self.keys, revision).await,
            None => store.watch_with_history(&self.keys).await,
        };
        opened.map_err(|error| self.bucket.failed(&error))
    }
}

/// Whether NATS takes this as a key (ADR-8), and as part of a subject.
fn check_key(key: &str) -> Result<(), Error> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-/_=.".contains(&byte);
    if key.len() <= MAX_KEY && key.bytes().all(legal) && key.split('.').all(|token| !token.is_empty()) {
        return Ok(());
    }
    let text = "a key is letters, digits and -/_=. with no dot at either end or after another";
    Err(Error::new(Code::BadArgument, format!("{key:?} is no key: {text}, {MAX_KEY} bytes at most")))
}

/// The header that wants this revision to be a key's last one; 0 is none at all.
fn after(revision: u64) -> (String, String) {
    ("Nats-Expected-Last-Subject-Sequence".to_owned(), revision.to_string())
}

fn milliseconds(time: time::OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

/// What a message of a bucket's stream does; the server removes too, from 2.11 on.
fn operation(headers: &HeaderMap) -> &'static str {
    let text = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str).unwrap_or_default();
    match (text("KV-Operation"), text("Nats-Marker-Reason")) {
        ("DEL", _) | (_, "Remove") => "delete",
        ("PURGE", _) | (_, "MaxAge" | "Purge") => "purge",
        _ => "put",
    }
}

/// An error with what has led to it.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

/// Whether an error or what has led to it says this.
fn says(error: &(dyn std::error::Error + 'static), what: &str) -> bool {
    let error: &dyn Display = &with_causes(error);
    error.to_string().contains(what)
}
