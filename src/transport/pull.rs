//! Messages of a stream's consumers: pulled from one that acknowledges, or read in order from one of our own.

use super::context::JetStream;
use super::received::Received;
use super::session::{Live, lost};
use crate::error::{Code, Error};
use async_nats::jetstream::consumer::{Consumer, DeliverPolicy, pull};
use futures_util::StreamExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What an ordered consumer can be told, of what a consumer of the API can.
const ORDERED: [&str; 8] = [
    "filter_subject",
    "filter_subjects",
    "deliver_policy",
    "opt_start_seq",
    "opt_start_time",
    "replay_policy",
    "headers_only",
    "description",
];
/// How many bytes of messages one fetch may bring.
const MAX_BYTES: usize = 64 << 20;
/// How much longer than the server's side of a fetch ours lasts: what is sent last must have time to come.
const MARGIN: Duration = Duration::from_millis(50);
/// How long may be asked, once a fetch is over, for what it was that there was nothing of.
const ASIDE: Duration = Duration::from_millis(200);

/// A message of a stream, and where it stands there.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The message; its reply is where acknowledgements go.
    pub message: Received,
    /// The stream.
    pub stream: String,
    /// The consumer.
    pub consumer: String,
    /// Its number in the stream.
    pub sequence: u64,
    /// The number of this delivery for the consumer.
    pub consumer_sequence: u64,
    /// How often it was delivered.
    pub delivered: u64,
    /// How many more there are for the consumer.
    pub pending: u64,
    /// When the stream took it, in milliseconds since 1970.
    pub timestamp_ms: u64,
}

impl Stored {
    fn of(message: async_nats::jetstream::Message) -> Option<Stored> {
        let info = message.info().ok()?;
        let (stream, consumer) = (info.stream.to_owned(), info.consumer.to_owned());
        let (sequence, consumer_sequence, pending) = (info.stream_sequence, info.consumer_sequence, info.pending);
        let delivered = u64::try_from(info.delivered).unwrap_or_default();
        let timestamp_ms = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
        let message = Received::from(message.message);
        Some(Stored { message, stream, consumer, sequence, consumer_sequence, delivered, pending, timestamp_ms })
    }
}

/// A consumer that hands messages out and waits for acknowledgements.
pub struct Pull {
    js: Arc<JetStream>,
    stream: String,
    name: String,
    /// async-nats' own, with the number of the connection that it goes over.
    known: Mutex<Option<(u64, Consumer<pull::Config>)>>,
}

/// What one fetch is to bring.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// So many messages at most.
    pub most: usize,
    /// What is there, without waiting for more.
    pub no_wait: bool,
}

impl Pull {
    /// The consumer of this name.
    pub fn new(js: Arc<JetStream>, stream: String, name: String) -> Pull {
        Pull { js, stream, name, known: Mutex::default() }
    }

    /// Its stream.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    async fn consumer(&self, live: &Live) -> Result<Consumer<pull::Config>, Error> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, consumer)) = &*known()
            && *number == live.number()
        {
            return Ok(consumer.clone());
        }
        let found = self.js.context(live).get_consumer_from_stream(&self.name, &self.stream).await;
        let consumer: Consumer<pull::Config> = found.map_err(|error| {
            let text = error.to_string();
            let code = if text.contains("not found") { Code::NotFound } else { Code::JetStream };
            Error::new(code, format!("the consumer {} of {}: {text}", self.name, self.stream))
        })?;
        *known() = Some((live.number(), consumer.clone()));
        Ok(consumer)
    }

    /// Messages, until there are as many as are wanted or `deadline`; an empty list if there are none.
    ///
    /// # Errors
    /// `not_found`, `jetstream`, `disconnected`, `timeout`, `denied`.
    pub async fn fetch(&self, batch: Batch, deadline: Instant) -> Result<Vec<Stored>, Error> {
        let found = self.pull(batch, deadline).await?;
        if found.is_empty() && !self.js.session.is_at_least(2, 10, 0) {
            // Before 2.10 what is gone is as silent as what has nothing. Whether it is there is no matter if none tells.
            let asked = format!("CONSUMER.INFO.{}.{}", self.stream, self.name);
            let told = self.js.ask(&asked, &serde_json::Value::Null, Instant::now() + ASIDE).await;
            if let Err(error) = told.map_err(|error| self.failed(&error))
                && error.code() == Code::NotFound
            {
                return Err(error);
            }
        }
        Ok(found)
    }

    async fn pull(&self, batch: Batch, deadline: Instant) -> Result<Vec<Stored>, Error> {
        let limit = deadline + MARGIN;
        self.js
            .session
            .with(limit, &self.name, |live| async move {
                let consumer = self.consumer(&live).await?;
                let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                let failed = |error: &dyn std::fmt::Display| self.failed(error);
                // A consumer refuses to be asked for more than its own bound.
                let own = usize::try_from(consumer.cached_info().config.max_bytes).unwrap_or_default();
                let max_bytes = if own > 0 { own.min(MAX_BYTES) } else { MAX_BYTES };
                let mut messages = if batch.no_wait {
                    let fetch = consumer.fetch().max_messages(batch.most).max_bytes(max_bytes);
                    fetch.messages().await.map_err(|error| failed(&error))?
                } else {
                    let fetch = consumer.batch().max_messages(batch.most).max_bytes(max_bytes).expires(left);
                    fetch.messages().await.map_err(|error| failed(&error))?
                };
                let mut found = Vec::new();
                loop {
                    // What the server has sent by the deadline would else come again, and only after the consumer's ack_wait.
                    match tokio::time::timeout_at(limit.into(), messages.next()).await {
                        Ok(Some(Ok(message))) => found.extend(Stored::of(message)),
                        // What has come is worth more than why no more does.
                        Ok(Some(Err(error))) if found.is_empty() => return Err(failed(&error)),
                        _ => return Ok(found),
                    }
                    if found.len() >= batch.most {
                        return Ok(found);
                    }
                }
            })
            .await
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let text = error.to_string();
        // From 2.10 on nobody answers for a consumer that is gone.
        let told = text.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| told.contains(word));
        let code = match () {
            () if says(&["not found", "deleted", "no responders", "503"]) => Code::NotFound,
            // It goes on with the next server.
            () if says(&["shutdown", "leadership change"]) => Code::Disconnected,
            () => Code::JetStream,
        };
        Error::new(code, format!("the consumer {} of {}: {text}", self.name, self.stream))
    }
}

/// Reads a stream in order, each message once, over however many connections; nothing is acknowledged.
pub struct Ordered {
    js: Arc<JetStream>,
    stream: String,
    config: pull::OrderedConfig,
    /// Where it stands. Whoever reads has it alone.
    place: tokio::sync::Mutex<Place>,
}

#[derive(Default)]
struct Place {
    /// The number of the first message that is wanted, once that is known.
    next: Option<u64>,
    open: Option<(u64, pull::Ordered)>,
}

impl Ordered {
    /// A reader of a stream; `config` is as for a consumer of the API, in JSON.
    ///
    /// # Errors
    /// `bad_config`.
    pub fn new(js: Arc<JetStream>, stream: String, config: serde_json::Value) -> Result<Ordered, Error> {
        let mut config = config;
        if let Some(config) = config.as_object_mut() {
            if let Some(key) = config.keys().find(|key| !ORDERED.contains(&key.as_str())) {
                let text = format!("an ordered consumer has no option {key}; known are {}", ORDERED.join(", "));
                return Err(Error::new(Code::BadConfig, text));
            }
            // The type behind would take a number for the place of a word in its list.
            for key in ["filter_subject", "deliver_policy", "opt_start_time", "replay_policy", "description"] {
                if config.get(key).is_some_and(|value| !value.is_string()) {
                    let text = format!("the option {key} of an ordered consumer must be a string");
                    return Err(Error::new(Code::BadConfig, text));
                }
            }
            // Without it they would say nothing.
            for (key, policy) in [("opt_start_seq", "by_start_sequence"), ("opt_start_time", "by_start_time")] {
                if config.contains_key(key) && config.get("deliver_policy").and_then(|own| own.as_str()) != Some(policy)
                {
                    let text = format!("an ordered consumer has {key} only with deliver_policy = \"{policy}\"");
                    return Err(Error::new(Code::BadConfig, text));
                }
            }
            // What the type behind wants to be there.
            config.entry("deliver_policy").or_insert("all".into());
            config.entry("replay_policy").or_insert("instant".into());
            for key in ["max_waiting", "max_batch", "max_bytes"] {
                config.insert(key.to_owned(), 0.into());
            }
            config.insert("max_expires".to_owned(), serde_json::json!({ "secs": 0, "nanos": 0 }));
        }
        let config = serde_json::from_value(config)
            .map_err(|error| Error::new(Code::BadConfig, format!("the options of an ordered consumer: {error}")))?;
        Ok(Ordered { js, stream, config, place: tokio::sync::Mutex::default() })
    }

    /// Its stream.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The next message, until `deadline`.
    ///
    /// # Errors
    /// `timeout`, `not_found`, `jetstream`, `disconnected`.
    pub async fn next(&self, deadline: Instant) -> Result<Stored, Error> {
        loop {
            match self.attempt(deadline).await {
                // It goes on over the next connection where it was.
                Err(error) if error.code() == Code::Disconnected && Instant::now() < deadline => {}
                result => return result,
            }
        }
    }

    async fn attempt(&self, deadline: Instant) -> Result<Stored, Error> {
        let js = &self.js;
        js.session
            .with(deadline, &self.stream, |live| async move {
                let mut place = self.place.lock().await;
                let mut messages = match place.open.take() {
                    Some((number, messages)) if number == live.number() => messages,
                    _ => {
                        let (first, messages) = self.open(&live, place.next, deadline).await?;
                        place.next = first;
                        messages
                    }
                };
                let first = place.next.unwrap_or_default();
                // Where async-nats has to begin anew before anything came, it begins with the first there is.
                let wanted = std::pin::pin!(async {
                    loop {
                        match messages.next().await {
                            Some(Ok(message)) if message.info().is_ok_and(|info| info.stream_sequence < first) => {}
                            next => return next,
                        }
                    }
                });
                let next = tokio::time::timeout_at(deadline.into(), wanted).await;
                let message = match next {
                    Err(_) => {
                        place.open = Some((live.number(), messages));
                        return Err(Error::new(Code::Timeout, format!("{}: no message in time", self.stream)));
                    }
                    Ok(None) => return Err(lost()),
                    Ok(Some(Err(error))) => return Err(self.failed(&error)),
                    Ok(Some(Ok(message))) => message,
                };
                place.open = Some((live.number(), messages));
                let stored = Stored::of(message);
                let stored = stored.ok_or_else(|| Error::new(Code::JetStream, "a message without its place"))?;
                place.next = Some(stored.sequence.saturating_add(1));
                Ok(stored)
            })
            .await
    }

    /// Begins, and tells with which message, where that is known; `next` is the first that is wanted, likewise.
    async fn open(
        &self,
        live: &Live,
        next: Option<u64>,
        deadline: Instant,
    ) -> Result<(Option<u64>, pull::Ordered), Error> {
        let mut config = self.config.clone();
        if !config.filter_subjects.is_empty() {
            self.js.needs((2, 10), "filter_subjects", deadline).await?;
        }
        let next = match (next, config.deliver_policy) {
            // A number, as over another connection "new" would be another one.
            (None, DeliverPolicy::New) => Some(self.js.last_sequence(&self.stream, deadline).await?.saturating_add(1)),
            (next, _) => next,
        };
        if let Some(start_sequence) = next {
            config.deliver_policy = DeliverPolicy::ByStartSequence { start_sequence };
        }
        let made = self.js.context(live).create_consumer_on_stream(config, &self.stream).await;
        let messages = made.map_err(|error| self.failed(&error))?.messages().await;
        Ok((next, messages.map_err(|error| self.failed(&error))?))
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        let text = error.to_string();
        let code = if text.contains("not found") { Code::NotFound } else { Code::JetStream };
        Error::new(code, format!("{}: {text}", self.stream))
    }
}
