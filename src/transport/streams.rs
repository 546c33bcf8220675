//! Which subjects JetStream takes: asked for by pattern, and remembered as long as the process delivers.
//!
//! A message that a stream takes is acknowledged by that stream; of one that none takes, nobody says anything but that the
//! server has read it. So it must be known beforehand.

use crate::message::Message;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an answer holds: a stream can be made at any time.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How long nobody is asked again who should have answered.
const ASK_SOON: Duration = Duration::from_secs(3);
/// How long nobody is asked again who has not answered, or has no JetStream.
const ASK_LATE: Duration = Duration::from_secs(600);
/// How many patterns and subjects are remembered.
const MAX_KNOWN: usize = 10_000;

/// The subjects that streams take.
#[derive(Debug, Default)]
pub struct Streams {
    /// Subjects with wildcards. Never fewer, unless the stream acknowledges nothing any more: where a stream was, its absence
    /// is a fault and not a reason to do without.
    filters: Vec<String>,
    asked: HashMap<Arc<str>, Known>,
    /// Whether nothing was answered for one of these.
    is_unanswered: bool,
    /// Whether the stream that was named acknowledges nothing.
    pub is_silent: bool,
}

/// What was answered for a pattern, and until when that holds.
#[derive(Debug)]
struct Known {
    until: Instant,
    answered: bool,
}

/// What was answered for a pattern.
pub enum Answer {
    /// The subjects of all streams that may take some of its subjects, and of those that acknowledge nothing.
    Streams(Vec<String>, Vec<String>),
    /// That this user, or account, has no JetStream.
    No,
    /// That this server has none, and nobody else for it at the moment.
    Nobody,
    /// Nothing, though there is JetStream.
    Nothing,
}

impl Streams {
    /// Whether it is time to ask for a pattern.
    pub fn is_due(&self, pattern: &str, now: Instant) -> bool {
        self.asked.get(pattern).is_none_or(|known| known.until <= now)
    }

    /// Notes what was answered for a pattern.
    pub fn learn(&mut self, pattern: &str, answer: Answer, now: Instant) {
        if self.asked.len() >= MAX_KNOWN {
            self.asked.clear();
        }
        let (wait, answered) = match answer {
            Answer::Streams(..) | Answer::Nobody => (ASK_AGAIN, true),
            Answer::No => (ASK_LATE, true),
            Answer::Nothing => (ASK_SOON, false),
        };
        self.asked.insert(pattern.into(), Known { until: now + wait, answered });
        self.is_unanswered = self.asked.values().any(|known| !known.answered);
        let Answer::Streams(filters, silent) = answer else { return };
        self.filters.retain(|known| !silent.contains(known));
        for filter in filters {
            if self.filters.len() < MAX_KNOWN && !self.filters.contains(&filter) {
                self.filters.push(filter);
            }
        }
    }

    /// Whether a stream takes a subject, as far as is known.
    pub fn take(&self, subject: &str) -> bool {
        self.filters.iter().any(|filter| matches(filter, subject))
    }

    /// Whether nobody knows if a stream takes a message.
    pub fn is_unknown(&self, message: &Message) -> bool {
        let is_unanswered = |pattern: Cow<'_, str>| self.asked.get(&*pattern).is_some_and(|known| !known.answered);
        // Its pattern need not be made, as a rule.
        self.is_unanswered && message.asks_by().is_some_and(is_unanswered) && !self.take(&message.subject)
    }
}

/// Whether a subject is one of those that a subject with wildcards stands for.
pub fn matches(filter: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in filter.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// What a stream has answered to a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is stored, or was before.
    Stored,
    /// It is not, and may be if it is sent again.
    Again(String),
    /// It is not and never will be.
    Never(String),
}

/// JetStream's errors that stay: the message is larger than the stream's `max_msg_size`, its headers are over 64 KiB, and the
/// stream is sealed.
const FINAL: [u64; 3] = [10_054, 10_097, 10_109];

/// What is said of a message that [`is_staged`].
pub const STAGED: &str = "the stream's leader has it, and has not stored it yet";

/// Whether an acknowledgement is none. A leader up to nats-server 2.10 notes a message's id when it proposes the message to
/// its peers, and takes it for stored when it comes again, though they may never agree: seen with one that was cut off from
/// them, whose next term lacked what it had acknowledged so. It has no sequence number then. From 2.11 on that is error 10158.
pub fn is_staged(answer: &serde_json::Value) -> bool {
    let is_repetition = answer.get("duplicate").and_then(serde_json::Value::as_bool) == Some(true);
    is_repetition && answer.get("seq").and_then(serde_json::Value::as_u64) == Some(0)
}

/// What a stream says of a message that it has stored, as far as it counts.
#[derive(serde::Deserialize)]
struct Stored {
    seq: u64,
    error: Option<serde::de::IgnoredAny>,
}

/// Reads a stream's answer.
pub fn read_reply(payload: &[u8]) -> Reply {
    // Nearly all answers are this one.
    if let Ok(Stored { seq: 1.., error: None }) = serde_json::from_slice(payload) {
        return Reply::Stored;
    }
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(payload) else {
        return Reply::Again("an answer that is none of JetStream's".to_owned());
    };
    let Some(error) = answer.get("error") else {
        return match answer.get("seq") {
            Some(_) if is_staged(&answer) => Reply::Again(STAGED.to_owned()),
            Some(_) => Reply::Stored,
            None => Reply::Again("an answer that is none of JetStream's".to_owned()),
        };
    };
    let text = error.get("description").and_then(serde_json::Value::as_str).unwrap_or("no reason given");
    let code = error.get("err_code").and_then(serde_json::Value::as_u64).unwrap_or_default();
    let text = format!("{text} ({code})");
    if FINAL.contains(&code) { Reply::Never(text) } else { Reply::Again(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Pattern;

    #[test]
    fn wildcards_stand_for_tokens() {
        for (filter, subject, expected) in [
            ("s3.>", "s3.a.b", true),
            ("s3.>", "s3", false),
            ("s3.*", "s3.a", true),
            ("s3.*", "s3.a.b", false),
            ("s3.*.b", "s3.a.b", true),
            ("s3.*.b", "s3.a.c", false),
            (">", "a", true),
            ("s3.a", "s3.a", true),
            ("s3.a", "s3.ab", false),
            ("s3.a.b", "s3.a", false),
        ] {
            assert_eq!(matches(filter, subject), expected, "{filter} {subject}");
        }
    }

    #[test]
    fn what_a_stream_took_once_is_never_forgotten() {
        let (mut streams, pattern, now) = (Streams::default(), "s3.*", Instant::now());
        assert!(streams.is_due(pattern, now));
        streams.learn(pattern, Answer::Streams(vec!["s3.>".into()], Vec::new()), now);
        assert!(!streams.is_due(pattern, now) && streams.is_due(pattern, now + ASK_AGAIN));
        streams.learn(pattern, Answer::Streams(Vec::new(), Vec::new()), now);
        assert!(streams.take("s3.a") && !streams.take("x"));
        streams.learn(pattern, Answer::No, now);
        assert!(!streams.is_due(pattern, now + ASK_AGAIN) && streams.is_due(pattern, now + ASK_LATE));
        // But one that acknowledges nothing any more is not waited for.
        streams.learn(pattern, Answer::Streams(Vec::new(), vec!["s3.>".into()]), now);
        assert!(!streams.take("s3.a"));
    }

    #[test]
    fn silence_holds_back_only_what_nobody_knows() {
        let (mut streams, pattern, now) = (Streams::default(), ">", Instant::now());
        streams.learn(pattern, Answer::Streams(vec!["s3.>".into()], Vec::new()), now);
        streams.learn(pattern, Answer::Nothing, now);
        let is_unknown = |streams: &Streams, subject: &str| {
            let mut message = Message::bare(subject.to_owned(), Vec::new(), "");
            message.pattern = Pattern::Given(pattern.into());
            streams.is_unknown(&message)
        };
        assert!(is_unknown(&streams, "x") && !is_unknown(&streams, "s3.a"));
        assert!(!streams.is_due(pattern, now) && streams.is_due(pattern, now + ASK_SOON));
        streams.learn(pattern, Answer::Nobody, now);
        assert!(!is_unknown(&streams, "x"));
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(read_reply(br#"{"stream":"S","seq":7,"duplicate":true}"#), Reply::Stored);
        // A stream with retention by interest has no number for what nobody is interested in.
        assert_eq!(read_reply(br#"{"stream":"S","seq":0}"#), Reply::Stored);
        let staged = br#"{"stream":"S","seq":0,"duplicate": true}"#;
        assert_eq!(read_reply(staged), Reply::Again(STAGED.into()));
        let error =
            |code: u64| read_reply(format!(r#"{{"error":{{"err_code":{code},"description":"d"}}}}"#).as_bytes());
        assert_eq!(error(10_077), Reply::Again("d (10077)".into()));
        assert_eq!(error(10_054), Reply::Never("d (10054)".into()));
        assert!(matches!(read_reply(b"ok"), Reply::Again(_)));
        assert!(matches!(read_reply(b"{}"), Reply::Again(_)));
    }
}
