//! What is told, at `dead_letter_subject`, of messages that were given up: a copy of each. A copy that is given up itself is
//! told of nowhere, and copies that wait are bounded, so that a broker that is away costs no more than their bound.

use super::{Connection, lock};
use crate::delivery::queue::{Entry, Queue};
use crate::error::{Code, Error};
use crate::message::{Headers, Message, Pattern, Purpose};
use crate::value::Value;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many copies may wait at a time, and of how many bytes.
const MAX_WAITING: usize = 1000;
const MAX_BYTES: usize = 8 << 20;
/// How much of a reason is told, in characters.
const MAX_REASON: usize = 300;
/// What the headers that tell of a message begin with.
const DEAD: &str = "Rgw-Dead-";
const ID: &str = "Nats-Msg-Id";

/// The copies of a connection.
#[derive(Default)]
pub(super) struct Letters {
    waiting: AtomicUsize,
    bytes: AtomicUsize,
    published: AtomicU64,
    lost: AtomicU64,
}

impl Letters {
    /// Notes that a copy is delivered, or why it will not be; gives what there is to say of that.
    pub fn ended(&self, entry: &Entry, lost: Option<&Error>) -> Option<String> {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(entry.message.cost(), Ordering::Relaxed);
        match lost {
            None => {
                self.published.fetch_add(1, Ordering::Relaxed);
                None
            }
            Some(error) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                Some(format!("a dead letter is not published: {error}"))
            }
        }
    }

    /// How many were published, and how many could not be, as `status()` shows it.
    pub fn status(&self) -> [(&'static str, Value); 2] {
        let count = |counter: &AtomicU64| Value::from(counter.load(Ordering::Relaxed));
        [("letters", count(&self.published)), ("letters_lost", count(&self.lost))]
    }
}

impl Connection {
    /// Has a copy of a message that is given up go to `dead_letter_subject`, where that is wanted.
    pub(super) fn tell_of(&self, queue: &mut Queue, message: &Message, error: &Error) {
        let Some(subject) = &self.endpoint.dead_letter_subject else { return };
        let copy = letter(message, subject, error, (self.clock)());
        let (count, bytes) = (&self.letters.waiting, &self.letters.bytes);
        // Only those who hold the queue add to these.
        let is_full = count.load(Ordering::Relaxed) >= MAX_WAITING
            || bytes.load(Ordering::Relaxed).saturating_add(copy.cost()) > MAX_BYTES;
        if is_full {
            self.letters.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        count.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(copy.cost(), Ordering::Relaxed);
        queue.load(Entry::new(copy, None));
    }

    /// Notes what the disk has made dead letters for its age.
    pub(super) fn expired_on_disk(&self, expired: &[(u64, Message)]) {
        let error = Error::new(Code::Expired, "max_age_ms of the spool is over");
        let positions: HashSet<u64> = expired.iter().map(|(position, _)| *position).collect();
        self.refused.fetch_add(u64::try_from(expired.len()).unwrap_or_default(), Ordering::Relaxed);
        let mut queue = lock(&self.queue);
        // Those in flight come to their end by themselves.
        for entry in queue.take_older(|entry| entry.position.is_some_and(|position| positions.contains(&position))) {
            queue.done(&entry);
            entry.receipt.iter().for_each(|receipt| receipt.end());
        }
        expired.iter().for_each(|(_, message)| self.tell_of(&mut queue, message, &error));
        drop(queue);
        self.ready.notify_one();
    }
}

/// The copy of a message: its headers, those for JetStream aside, why it was given up, its subject and when; and its payload,
/// unless that was too large. Its smallest form has neither the payload nor the message's own headers.
fn letter(message: &Message, subject: &str, error: &Error, died_ms: u64) -> Message {
    let reason: String = error.to_string().chars().take(MAX_REASON).collect();
    let mut told = Headers::default();
    told.add(&format!("{DEAD}Reason"), &reason);
    told.add(&format!("{DEAD}Subject"), &message.subject);
    told.add(&format!("{DEAD}Time"), &died_ms.to_string());
    if let Some(id) = message.headers.get(ID) {
        // Not the message's own: a stream that takes both would drop one as a repetition.
        told.add_parts(ID, &[id, ".dead"]);
    }
    let bare = Message {
        subject: subject.to_owned(),
        headers: told.clone(),
        payload: Vec::new().into(),
        smaller: None,
        lane: 0,
        reply: None,
        pattern: Pattern::Given(subject.into()),
        purpose: Purpose::Letter,
    };
    if error.code() == Code::TooLarge { bare } else { copy(message, &told, bare) }
}

/// The forms of a message as copies, down to the one that stands at their end.
fn copy(message: &Message, told: &Headers, bare: Message) -> Message {
    // What else begins so is for JetStream to act on: to expect something of a stream, or to empty it.
    let is_own = |name: &str| {
        let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        !starts("Nats-") && !starts(DEAD)
    };
    let mut headers = Headers::with_capacity(message.headers.bytes().saturating_add(told.bytes()));
    message.headers.iter().filter(|(name, _)| is_own(name)).for_each(|(name, text)| headers.add(name, text));
    headers.append(told);
    let (payload, subject, pattern) = (message.payload.clone(), bare.subject.clone(), bare.pattern.clone());
    let smaller = match message.smaller.as_deref() {
        Some(smaller) => copy(smaller, told, bare),
        None => bare,
    };
    Message {
        subject,
        headers,
        payload,
        smaller: Some(Box::new(smaller)),
        lane: 0,
        reply: None,
        pattern,
        purpose: Purpose::Letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
        let mut found = message.headers.iter().filter(|(key, _)| *key == name);
        let first = found.next().map(|(_, value)| value);
        assert!(found.next().is_none(), "{name} is there twice");
        first
    }

    #[test]
    fn a_copy_tells_what_it_is_of_and_carries_nothing_that_jetstream_acts_on() {
        let headers = [
            (ID, "7"),
            ("Rgw-Event", "e"),
            ("Nats-Rollup", "all"),
            ("nats-expected-stream", "s"),
            ("Rgw-Dead-Time", "1"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let mut message = Message::new("s3.a".into(), headers, vec![0; 30]).unwrap();
        message.smaller = Some(Box::new(Message { payload: vec![0; 20].into(), ..message.clone() }));
        let of = |code| letter(&message, "dead", &Error::new(code, "no\r\nway"), 5);
        let copy = of(Code::Denied);
        assert_eq!((copy.subject.as_str(), copy.payload.len(), copy.purpose), ("dead", 30, Purpose::Letter));
        assert_eq!(header(&copy, "Rgw-Dead-Reason"), Some("denied: no  way"));
        assert_eq!(header(&copy, "Rgw-Dead-Subject"), Some("s3.a"));
        assert_eq!((header(&copy, "Rgw-Dead-Time"), header(&copy, ID)), (Some("5"), Some("7.dead")));
        assert_eq!((header(&copy, "Rgw-Event"), header(&copy, "Nats-Rollup")), (Some("e"), None));
        assert_eq!(copy.headers.count(), 5);
        let sizes = std::iter::successors(Some(&copy), |form| form.smaller.as_deref()).map(|form| form.payload.len());
        assert_eq!(sizes.collect::<Vec<_>>(), [30, 20, 0]);
        // What is too large can't be told of with its payload.
        let bare = of(Code::TooLarge);
        assert_eq!((bare.payload.len(), bare.headers.count(), bare.smaller.is_none()), (0, 4, true));
    }
}
