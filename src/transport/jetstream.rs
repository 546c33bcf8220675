//! JetStream's API, as far as delivery needs it: which streams there are.

use super::link::{Link, lock};
use super::preflight;
use super::streams::{Streams, matches};
use crate::config::{Ack, EnsureStream};
use crate::message::Message;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// JetStream's code for an account that has no JetStream.
const NOT_ENABLED: u64 = 10_039;
/// How long JetStream's API has for an answer.
const API_TIMEOUT: Duration = Duration::from_secs(2);

/// Why JetStream's API has not said what it was asked.
#[derive(Debug)]
enum Silence {
    /// It will not.
    Refused(String),
    /// It may, if it is asked again.
    NoAnswer(String),
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Silence::Refused(text) | Silence::NoAnswer(text)) = self;
        f.write_str(text)
    }
}

impl Link {
    /// Asks JetStream which streams there are for the messages of a batch, as far as that is not known, and warns of what is
    /// wrong with them. Says for which patterns it should have answered and has not: nothing is known of their messages then.
    pub(super) async fn ask(&self, batch: &[&Message], streams: &mut Streams) -> Vec<Arc<str>> {
        let mut unanswered = Vec::new();
        // Without JetStream there is no stream.
        if self.ack == Ack::None || !self.client.server_info().jetstream {
            return unanswered;
        }
        for (message, pattern) in batch.iter().filter_map(|message| Some((message, message.pattern.as_ref()?))) {
            let now = Instant::now();
            if !streams.is_due(pattern, now) || unanswered.contains(pattern) {
                continue;
            }
            let answer = match &self.stream {
                Some(name) => self.look_at(name, &message.subject).await,
                None => self.streams_of(pattern, &message.subject).await,
            };
            if let (Err(problem), Some(observer)) = (&answer, self.observer.upgrade()) {
                observer.trouble(&format!("JetStream does not say which streams there are for {pattern}: {problem}"));
            }
            match answer {
                Ok(subjects) => streams.learn(pattern, Some(subjects), now),
                // A no is an answer too: this user, or account, has no JetStream.
                Err(Silence::Refused(_)) => streams.learn(pattern, None, now),
                // A named stream is to acknowledge each message, whatever is known of it.
                Err(Silence::NoAnswer(_)) if self.stream.is_some() => streams.learn(pattern, Some(Vec::new()), now),
                Err(Silence::NoAnswer(_)) => unanswered.push(pattern.clone()),
            }
        }
        unanswered
    }

    /// The subjects of the streams that may take some of the subjects of a pattern.
    async fn streams_of(&self, pattern: &str, subject: &str) -> Result<Vec<String>, Silence> {
        let names = self.api("STREAM.NAMES", &json!({ "subject": pattern })).await?;
        let names = names.get("streams").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut subjects = Vec::new();
        for name in names.iter().filter_map(Value::as_str) {
            let info = self.api(&format!("STREAM.INFO.{name}"), &json!({})).await?;
            let config = info.get("config").unwrap_or(&Value::Null);
            let found = preflight::subjects(config);
            // That a stream takes some subjects of a pattern and not this one is no fault where none was named.
            let own = found.first().map_or(subject, String::as_str);
            let taken = if found.iter().any(|filter| matches(filter, subject)) { subject } else { own };
            self.warn(name, config, taken);
            // Such a stream says nothing of what it has taken.
            if config.get("no_ack").and_then(Value::as_bool) != Some(true) {
                subjects.extend(found);
            }
        }
        Ok(subjects)
    }

    /// The subjects of the stream that was named; makes it, if it is not there and that is wanted.
    async fn look_at(&self, name: &str, subject: &str) -> Result<Vec<String>, Silence> {
        let info = match self.api(&format!("STREAM.INFO.{name}"), &json!({})).await {
            Err(Silence::Refused(problem)) if problem.contains("stream not found") => match &self.ensure_stream {
                Some(wanted) => self.make(name, wanted).await?,
                None => {
                    let text = format!("stream {name}: is not there; nats stream add {name} --subjects={subject}");
                    self.tell_warnings(name, vec![text]);
                    return Ok(Vec::new());
                }
            },
            info => info?,
        };
        let config = info.get("config").unwrap_or(&Value::Null);
        self.warn(name, config, subject);
        Ok(preflight::subjects(config))
    }

    /// Makes a stream.
    async fn make(&self, name: &str, wanted: &EnsureStream) -> Result<Value, Silence> {
        let nanos = |seconds: u64| seconds.saturating_mul(1_000_000_000);
        let unlimited = |number: u64| if number == 0 { json!(-1) } else { json!(number) };
        let config = json!({
            "name": name,
            "subjects": wanted.subjects,
            "storage": if wanted.memory { "memory" } else { "file" },
            "retention": "limits",
            "num_replicas": wanted.replicas,
            "max_age": nanos(wanted.max_age),
            "max_bytes": unlimited(wanted.max_bytes),
            "max_msgs": -1,
            "max_consumers": -1,
            "max_msg_size": -1,
            "discard": if wanted.discard_new { "new" } else { "old" },
            "duplicate_window": nanos(wanted.duplicate_window),
        });
        let made = self.api(&format!("STREAM.CREATE.{name}"), &config).await?;
        if let Some(observer) = self.observer.upgrade() {
            observer.trouble(&format!("stream {name} was not there and has been made: ensure_stream"));
        }
        Ok(made)
    }

    /// Warns of what is wrong with a stream, and no longer of what is not.
    fn warn(&self, name: &str, config: &Value, subject: &str) {
        let info = self.client.server_info();
        let wanted = preflight::Use {
            subject,
            max_payload: info.max_payload,
            ack_timeout_ms: u64::try_from(self.ack_timeout.as_millis()).unwrap_or(u64::MAX),
            clustered: info.cluster.is_some(),
        };
        let mut found = preflight::warnings(name, config, &wanted);
        if let Some(ensured) = &self.ensure_stream {
            for filter in &ensured.subjects {
                if !preflight::subjects(config).contains(filter) {
                    found.push(format!(
                        "stream {name}: is there without the subject {filter} of ensure_stream; it is left as it is"
                    ));
                }
            }
        }
        self.tell_warnings(name, found);
    }

    fn tell_warnings(&self, name: &str, found: Vec<String>) {
        if let Some(observer) = self.observer.upgrade() {
            observer.warn(name, found);
        }
    }

    /// A request to JetStream's API.
    async fn api(&self, name: &str, body: &Value) -> Result<Value, Silence> {
        let subject = format!("$JS.API.{name}");
        let asked = self.client.request(subject.clone(), body.to_string().into());
        tokio::pin!(asked);
        let deadline = tokio::time::Instant::now() + API_TIMEOUT;
        let answer = loop {
            tokio::select! {
                answer = &mut asked => break answer.map_err(|error| Silence::NoAnswer(error.to_string()))?,
                () = self.signals.changed.notified() => {
                    if lock(&self.signals.denied).contains(&subject) {
                        return Err(Silence::Refused("this user may not ask".to_owned()));
                    }
                    if self.is_lost() {
                        return Err(Silence::NoAnswer("the connection has ended".to_owned()));
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Err(Silence::NoAnswer("no answer".to_owned())),
            }
        };
        let broken = |error: serde_json::Error| Silence::NoAnswer(error.to_string());
        let answer: Value = serde_json::from_slice(&answer.payload).map_err(broken)?;
        let Some(error) = answer.get("error") else { return Ok(answer) };
        let text = error.get("description").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
        // JetStream that is there and not ready says so with 503; that it is not enabled for this account is final.
        let code = |key| error.get(key).and_then(Value::as_u64);
        if code("code") == Some(503) && code("err_code") != Some(NOT_ENABLED) {
            return Err(Silence::NoAnswer(text));
        }
        Err(Silence::Refused(text))
    }
}
