//! JetStream's API, as far as delivery needs it: which streams there are.

use super::link::{Link, lock};
use super::streams::Streams;
use crate::config::Ack;
use crate::message::Message;
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
    /// Asks JetStream which streams there are for the messages of a batch, as far as that is not known. Says for which
    /// patterns it should have answered and has not: nothing is known of their messages then.
    pub(super) async fn ask(&self, batch: &[&Message], streams: &mut Streams) -> Vec<Arc<str>> {
        let mut unanswered = Vec::new();
        // A named stream takes all there is; and without JetStream there is none.
        if self.ack == Ack::None || self.stream.is_some() || !self.client.server_info().jetstream {
            return unanswered;
        }
        for pattern in batch.iter().filter_map(|message| message.pattern.as_ref()) {
            let now = Instant::now();
            if !streams.is_due(pattern, now) || unanswered.contains(pattern) {
                continue;
            }
            let answer = self.streams_of(pattern).await;
            if let (Err(problem), Some(observer)) = (&answer, self.observer.upgrade()) {
                observer.trouble(&format!("JetStream does not say which streams there are for {pattern}: {problem}"));
            }
            match answer {
                Ok(subjects) => streams.learn(pattern, Some(subjects), now),
                // A no is an answer too: this user, or account, has no JetStream.
                Err(Silence::Refused(_)) => streams.learn(pattern, None, now),
                Err(Silence::NoAnswer(_)) => unanswered.push(pattern.clone()),
            }
        }
        unanswered
    }

    /// The subjects of the streams that may take some of the subjects of a pattern.
    async fn streams_of(&self, pattern: &str) -> Result<Vec<String>, Silence> {
        let names = self.api("STREAM.NAMES", &serde_json::json!({ "subject": pattern })).await?;
        let names = names.get("streams").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        let mut subjects = Vec::new();
        for name in names.iter().filter_map(serde_json::Value::as_str) {
            let info = self.api(&format!("STREAM.INFO.{name}"), &serde_json::json!({})).await?;
            let config = info.get("config");
            let get = |key: &str| config.and_then(|config| config.get(key));
            // Such a stream says nothing of what it has taken.
            if get("no_ack").and_then(serde_json::Value::as_bool) == Some(true) {
                continue;
            }
            let found = get("subjects").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
            subjects.extend(found.iter().filter_map(serde_json::Value::as_str).map(str::to_owned));
        }
        Ok(subjects)
    }

    /// A request to JetStream's API.
    async fn api(&self, name: &str, body: &serde_json::Value) -> Result<serde_json::Value, Silence> {
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
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).map_err(broken)?;
        let Some(error) = answer.get("error") else { return Ok(answer) };
        let text = error.get("description").and_then(serde_json::Value::as_str).unwrap_or("no reason given").to_owned();
        // JetStream that is there and not ready says so with 503; that it is not enabled for this account is final.
        let code = |key| error.get(key).and_then(serde_json::Value::as_u64);
        if code("code") == Some(503) && code("err_code") != Some(NOT_ENABLED) {
            return Err(Silence::NoAnswer(text));
        }
        Err(Silence::Refused(text))
    }
}
