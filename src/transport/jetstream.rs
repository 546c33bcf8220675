//! JetStream's API, as far as delivery needs it: which streams there are.

use super::link::{Link, lock};
use super::preflight;
use super::streams::{Answer, Streams, matches};
use crate::config::{Ack, EnsureStream};
use crate::message::Message;
use async_nats::client::RequestErrorKind;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// JetStream's code for an account that has no JetStream.
const NOT_ENABLED: u64 = 10_039;
/// How many streams are looked at for one pattern.
const MAX_STREAMS: usize = 10_000;
/// How long it has where the server itself has no JetStream, and another one of its cluster may.
const ELSEWHERE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long JetStream's API has for an answer.
const API_TIMEOUT: Duration = Duration::from_secs(2);

/// Why JetStream's API has not said what it was asked.
#[derive(Debug)]
enum Silence {
    /// It will not.
    Refused(String),
    /// Nobody is there to say it.
    Nobody,
    /// It may, if it is asked again.
    NoAnswer(String),
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Silence::Refused(text) | Silence::NoAnswer(text) => text,
            Silence::Nobody => "nobody answers",
        })
    }
}

impl Link {
    /// Whether [`Link::send`] asks JetStream of one of these messages first, and so may wait.
    pub fn must_ask(&self, batch: &[&Message], streams: &Streams) -> bool {
        if self.ack == Ack::None || self.signals.unconfirmable.load(Ordering::Relaxed) {
            return false;
        }
        let (now, mut last) = (Instant::now(), None);
        batch.iter().any(|message| {
            let is_known = last.replace(*message).is_some_and(|last| message.asks_like(last));
            !is_known && message.asks_by().is_some_and(|pattern| streams.is_due(&pattern, now))
        })
    }

    /// Asks JetStream which streams there are for the messages of a batch, as far as that is not known, and warns of what is
    /// wrong with them.
    pub(super) async fn ask(&mut self, batch: &[&Message], streams: &mut Streams) {
        if self.ack != Ack::None
            && self.signals.is_in_doubt()
            && let Some(mark) = self.mark().await
        {
            self.await_mark(mark).await;
        }
        // Without an inbox there is no answer.
        if self.ack == Ack::None || self.signals.unconfirmable.load(Ordering::Relaxed) {
            return;
        }
        let mut last = None;
        for message in batch {
            // Most have the same one.
            if last.replace(*message).is_some_and(|last| message.asks_like(last)) {
                continue;
            }
            let now = Instant::now();
            let Some(pattern) = message.asks_by().filter(|pattern| streams.is_due(pattern, now)) else { continue };
            let answer = match self.named(message) {
                Some(name) => self.look_at(name, &message.subject, streams).await,
                None => self.streams_of(&pattern, &message.subject).await,
            };
            let answer = match answer {
                Ok(answer) => answer,
                // A cluster can have JetStream where this server has none; if nobody answers, there is none at all. Someone
                // who has subscribed to everything hears the question and keeps silent.
                Err(Silence::Nobody | Silence::NoAnswer(_)) if !self.client.server_info().jetstream => Answer::Nobody,
                // That is told by itself.
                Err(_) if self.signals.unconfirmable.load(Ordering::Relaxed) => Answer::No,
                Err(silence) => {
                    if let Some(observer) = self.observer.upgrade() {
                        let text = format!("JetStream does not say which streams there are for {pattern}: {silence}");
                        observer.trouble(&text);
                    }
                    if matches!(silence, Silence::Refused(_)) { Answer::No } else { Answer::Nothing }
                }
            };
            streams.learn(&pattern, answer, now);
        }
    }

    /// The subjects of the streams that may take some of the subjects of a pattern.
    async fn streams_of(&self, pattern: &str, subject: &str) -> Result<Answer, Silence> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let page = self.api("STREAM.NAMES", &json!({ "subject": pattern, "offset": names.len() })).await?;
            let found = page.get("streams").and_then(Value::as_array).cloned().unwrap_or_default();
            names.extend(found.iter().filter_map(Value::as_str).map(str::to_owned));
            let total = page.get("total").and_then(Value::as_u64).unwrap_or_default();
            if found.is_empty() || u64::try_from(names.len()).unwrap_or(u64::MAX) >= total || names.len() >= MAX_STREAMS
            {
                break;
            }
        }
        let (mut subjects, mut silent) = (Vec::new(), Vec::new());
        for name in &names {
            let info = match self.api(&format!("STREAM.INFO.{name}"), &json!({})).await {
                // It has just been deleted.
                Err(Silence::Refused(_)) => continue,
                info => info?,
            };
            let config = info.get("config").unwrap_or(&Value::Null);
            let found = preflight::subjects(config);
            // That a stream takes some subjects of a pattern and not this one is no fault where none was named.
            let own = found.first().map_or(subject, String::as_str);
            let taken = if found.iter().any(|filter| matches(filter, subject)) { subject } else { own };
            self.warn(name, pattern, config, taken);
            // Such a stream says nothing of what it has taken.
            let is_silent = config.get("no_ack").and_then(Value::as_bool) == Some(true);
            if is_silent { &mut silent } else { &mut subjects }.extend(found);
        }
        Ok(Answer::Streams(subjects, silent))
    }

    /// The subjects of the stream that was named; makes it, if it is not there and that is wanted.
    async fn look_at(&self, name: &str, subject: &str, streams: &mut Streams) -> Result<Answer, Silence> {
        let info = match self.api(&format!("STREAM.INFO.{name}"), &json!({})).await {
            Err(Silence::Refused(problem)) if problem.contains("stream not found") => match &self.ensure_stream {
                Some(wanted) => match self.make(name, wanted).await {
                    Err(Silence::Refused(problem)) => {
                        let text = format!("stream {name}: is not there, and JetStream does not make it: {problem}");
                        self.tell_warnings(name, subject, vec![text]);
                        return Ok(Answer::Streams(Vec::new(), Vec::new()));
                    }
                    made => made?,
                },
                None => {
                    let text = format!("stream {name}: is not there; nats stream add {name} --subjects={subject}");
                    self.tell_warnings(name, subject, vec![text]);
                    return Ok(Answer::Streams(Vec::new(), Vec::new()));
                }
            },
            info => info?,
        };
        let config = info.get("config").unwrap_or(&Value::Null);
        streams.is_silent = config.get("no_ack").and_then(Value::as_bool) == Some(true);
        self.warn(name, subject, config, subject);
        Ok(Answer::Streams(preflight::subjects(config), Vec::new()))
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
    fn warn(&self, name: &str, for_what: &str, config: &Value, subject: &str) {
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
        self.tell_warnings(name, for_what, found);
    }

    fn tell_warnings(&self, name: &str, for_what: &str, found: Vec<String>) {
        if let Some(observer) = self.observer.upgrade() {
            observer.warn(&format!("{name} {for_what}"), found);
        }
    }

    /// Whether JetStream answers over this server, of whatever it speaks; two seconds at most. A server that is cut off from
    /// the others of its cluster has none, or soon finds out.
    pub async fn has_jetstream(&self) -> bool {
        !matches!(self.api("INFO", &json!({})).await, Err(Silence::NoAnswer(_) | Silence::Nobody))
    }

    /// A request to JetStream's API.
    async fn api(&self, name: &str, body: &Value) -> Result<Value, Silence> {
        let subject = format!("$JS.API.{name}");
        // With an inbox of its own: async-nats never forgets a question to its common one that is not answered.
        let inbox = self.client.new_inbox();
        let request = async_nats::Request::new().payload(body.to_string().into()).inbox(inbox).timeout(None);
        let asked = self.client.send_request(subject.clone(), request);
        tokio::pin!(asked);
        let patience = if self.client.server_info().jetstream { API_TIMEOUT } else { ELSEWHERE_TIMEOUT };
        let deadline = tokio::time::Instant::now() + patience;
        let answer = loop {
            tokio::select! {
                answer = &mut asked => break answer.map_err(|error| match error.kind() {
                    RequestErrorKind::NoResponders => Silence::Nobody,
                    _ => Silence::NoAnswer(error.to_string()),
                })?,
                () = self.signals.changed.notified() => {
                    let unconfirmable = self.signals.unconfirmable.load(Ordering::Relaxed);
                    if unconfirmable || lock(&self.signals.denied).contains(&subject) {
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
