//! A key-value bucket of JetStream.

use super::context::JetStream;
use super::session::{Live, lost};
use crate::error::{Code, Error};
use async_nats::jetstream::kv;
use bytes::Bytes;
use futures_util::StreamExt;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many keys a list may have.
const MAX_KEYS: usize = 1_000_000;

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
            created_ms: u64::try_from(entry.created.unix_timestamp_nanos() / 1_000_000).unwrap_or_default(),
            operation: match entry.operation {
                kv::Operation::Put => "put",
                kv::Operation::Delete => "delete",
                kv::Operation::Purge => "purge",
            },
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
            async_nats::jetstream::context::KeyValueErrorKind::GetBucket if says(&error, "10059") => {
                Error::new(Code::NotFound, format!("there is no bucket {}", self.name))
            }
            _ => self.failed(&error),
        })?;
        *known() = Some((live.number(), store.clone()));
        Ok(store)
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // From 2.10 on nobody answers for a bucket that is gone.
        let gone = says(error, "no responders") || says(error, "10059");
        let code = if gone { Code::NotFound } else { Code::JetStream };
        Error::new(code, format!("the bucket {}: {}", self.name, with_causes(error)))
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
        self.with(deadline, |store| async move {
            let found = match revision {
                Some(revision) => store.entry_for_revision(key.clone(), revision).await,
                None => store.entry(key.clone()).await,
            };
            match found {
                Ok(entry) => Ok(entry.map(KeyValue::from)),
                // The server's word for a revision that is gone, or of another key.
                Err(error) if says(&error, "10037") => Ok(None),
                Err(error) if error.kind() == kv::EntryErrorKind::InvalidKey => Err(bad_key(&key)),
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
        self.with(deadline, |store| async move {
            store.put(&key, value).await.map_err(|error| match error.kind() {
                kv::PutErrorKind::InvalidKey => bad_key(&key),
                _ => self.failed(&error),
            })
        })
        .await
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
        self.with(deadline, |store| async move {
            let made = match ttl {
                Some(ttl) => store.create_with_ttl(&key, value, ttl).await,
                None => store.create(&key, value).await,
            };
            made.map_err(|error| match error.kind() {
                kv::CreateErrorKind::AlreadyExists => Error::new(Code::Conflict, format!("the key {key} has a value")),
                kv::CreateErrorKind::InvalidKey => bad_key(&key),
                _ => self.failed(&error),
            })
        })
        .await
    }

    /// Sets a key whose last revision is this one.
    ///
    /// # Errors
    /// `conflict`, if it is another; and as for [`Bucket::entry`].
    pub async fn update(&self, key: String, value: Bytes, revision: u64, deadline: Instant) -> Result<u64, Error> {
        self.with(deadline, |store| async move {
            store.update(&key, value, revision).await.map_err(|error| match error.kind() {
                kv::UpdateErrorKind::WrongLastRevision => wrong_revision(&key, revision),
                kv::UpdateErrorKind::InvalidKey => bad_key(&key),
                _ => self.failed(&error),
            })
        })
        .await
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
        self.with(deadline, |store| async move {
            let failed = |error: &(dyn std::error::Error + 'static)| match revision {
                Some(revision) if says(error, "10071") || says(error, "wrong last") => wrong_revision(&key, revision),
                _ if says(error, "key cannot") => bad_key(&key),
                _ => self.failed(error),
            };
            if purge {
                store.purge_expect_revision(&key, revision).await.map_err(|error| failed(&error))
            } else {
                store.delete_expect_revision(&key, revision).await.map_err(|error| failed(&error))
            }
        })
        .await
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
        self.with(deadline, |store| async move {
            let mut history = store.history(&key).await.map_err(|error| match error.kind() {
                kv::HistoryErrorKind::InvalidKey => bad_key(&key),
                _ => self.failed(&error),
            })?;
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
    last: u64,
    open: Option<(u64, kv::Watch)>,
}

impl Watch {
    /// A watch of the keys that a pattern stands for: one, or `>` for all, with `*` for any token.
    pub fn new(bucket: Arc<Bucket>, keys: String, from: WatchFrom) -> Watch {
        Watch { bucket, keys, from, place: tokio::sync::Mutex::default() }
    }

    /// Begins, so that nothing that changes from now on is missed.
    ///
    /// # Errors
    /// As for [`Bucket::entry`], and `not_found`.
    pub async fn begin(&self, deadline: Instant) -> Result<(), Error> {
        let session = &self.bucket.js.session;
        session
            .with(deadline, &self.keys, |live| async move {
                let mut place = self.place.lock().await;
                place.open = Some((live.number(), self.open(&live, place.last).await?));
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
                    _ => self.open(&live, place.last).await?,
                };
                let next = tokio::time::timeout_at(deadline.into(), changes.next()).await;
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
                place.last = entry.revision;
                Ok(entry.into())
            })
            .await
    }

    async fn open(&self, live: &Live, last: u64) -> Result<kv::Watch, Error> {
        let store = self.bucket.store(live).await?;
        let opened = match self.from {
            _ if last > 0 => store.watch_from_revision(&self.keys, last.saturating_add(1)).await,
            WatchFrom::Revision(revision) => store.watch_from_revision(&self.keys, revision).await,
            WatchFrom::Values => store.watch_with_history(&self.keys).await,
            WatchFrom::History => store.watch_from_revision(&self.keys, 1).await,
            WatchFrom::Now => store.watch(&self.keys).await,
        };
        opened.map_err(|error| match error.kind() {
            kv::WatchErrorKind::InvalidKey => bad_key(&self.keys),
            _ => self.bucket.failed(&error),
        })
    }
}

fn bad_key(key: &str) -> Error {
    let text = "a key is letters, digits and -/_=. with no dot at either end";
    Error::new(Code::BadArgument, format!("{key:?} is no key: {text}"))
}

fn wrong_revision(key: &str, revision: u64) -> Error {
    Error::new(Code::Conflict, format!("the last revision of {key} is not {revision}"))
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
