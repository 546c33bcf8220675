//! What async-nats' callbacks tell a link: that its connection has ended, and what the server has said.

use super::link::{Observer, lock};
use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;
use tokio::sync::Notify;

/// How many denied subjects of the batches that are on their way are told apart.
const MAX_DENIED: usize = 4096;
/// How many denials are remembered for those who wait for answers.
const MAX_DENIALS: usize = 100;
/// What a server says, in lower case, before it ends a connection for something that we have sent.
const CULPRITS: [&str; 5] = ["maximum payload", "control line", "parser error", "unknown protocol", "message size"];

/// What async-nats' callbacks tell the link.
#[derive(Default)]
pub struct Signals {
    pub changed: Notify,
    pub inbox: OnceLock<String>,
    pub ended: AtomicBool,
    /// Whether nothing comes to the link's own inbox, so that the server's confirmation can't be heard.
    pub unconfirmable: AtomicBool,
    /// Whether something has come there: the server has its subscription.
    pub subscribed: AtomicBool,
    /// Whether some subscription was one too many, and perhaps this one.
    pub doubtful: AtomicBool,
    /// Whether the connection has come up: it has had its login then.
    pub up: AtomicBool,
    pub culprit: Mutex<Option<String>>,
    pub denied: Mutex<HashSet<String>>,
    /// What was denied last, and when, for those who wait for answers.
    denials: Mutex<VecDeque<Denial>>,
    /// How many there were, those that are forgotten included.
    count: AtomicU64,
    denial: Notify,
}

struct Denial {
    number: u64,
    at: Instant,
    subscription: bool,
    subject: String,
}

impl Signals {
    /// Waits until the server denies publishing to a subject; `since` keeps older denials out.
    pub async fn denies(&self, subject: &str, since: Instant) {
        self.denial(false, subject, since).await;
    }

    /// Waits until it denies subscribing to one.
    pub async fn denies_subscription(&self, subject: &str, since: Instant) {
        self.denial(true, subject, since).await;
    }

    /// The subjects that the server has denied publishing to, and when, after the denial of a number; and the number of the
    /// last one.
    pub fn denials(&self, after: u64) -> (u64, Vec<(Instant, String)>) {
        // Looked at each time that something is answered.
        if self.count.load(Ordering::Acquire) <= after {
            return (after, Vec::new());
        }
        let denials = lock(&self.denials);
        let found = denials.iter().filter(|denial| denial.number > after && !denial.subscription);
        let found = found.map(|denial| (denial.at, denial.subject.clone())).collect();
        (denials.back().map_or(after, |denial| denial.number), found)
    }

    /// Waits for the next denial after this call.
    pub fn next_denial(&self) -> impl Future<Output = ()> {
        self.denial.notified()
    }

    /// Whether it is not known if the server has the subscription to the link's own inbox, and there is reason to ask.
    pub fn is_in_doubt(&self) -> bool {
        self.doubtful.load(Ordering::Relaxed) && !self.subscribed.load(Ordering::Relaxed)
    }

    async fn denial(&self, subscription: bool, subject: &str, since: Instant) {
        loop {
            let told = self.denial.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            let of = |denial: &Denial| {
                denial.subscription == subscription && denial.subject == subject && denial.at >= since
            };
            if lock(&self.denials).iter().any(of) {
                return;
            }
            told.await;
        }
    }

    fn deny(&self, subscription: bool, subject: String) {
        let mut denials = lock(&self.denials);
        if denials.len() >= MAX_DENIALS {
            denials.pop_front();
        }
        let number = self.count.load(Ordering::Relaxed).saturating_add(1);
        denials.push_back(Denial { number, at: Instant::now(), subscription, subject });
        self.count.store(number, Ordering::Release);
        drop(denials);
        self.denial.notify_waiters();
    }
}

/// What stands before the closing quotation mark, with the escapes of Go's `%q`, which the server uses, undone.
fn unquote(text: &str) -> String {
    let mut found = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next().filter(|c| *c != '"') {
        let mut put = |c: char| found.extend(c.encode_utf8(&mut [0; 4]).bytes());
        if c != '\\' {
            put(c);
            continue;
        }
        let escape = chars.next().unwrap_or_default();
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let number: String = chars.by_ref().take(digits).collect();
        match (escape, u32::from_str_radix(&number, 16)) {
            ('x', Ok(byte)) => found.extend(u8::try_from(byte)),
            (_, Ok(number)) => put(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER)),
            ('a', _) => put('\u{7}'),
            ('b', _) => put('\u{8}'),
            ('f', _) => put('\u{c}'),
            ('n', _) => put('\n'),
            ('r', _) => put('\r'),
            ('t', _) => put('\t'),
            ('v', _) => put('\u{b}'),
            (other, _) => put(other),
        }
    }
    String::from_utf8_lossy(&found).into_owned()
}

/// Takes up what the server has said.
pub fn said(text: &str, signals: &Signals, observer: &dyn Observer) {
    let lower = text.to_ascii_lowercase();
    let inbox = signals.inbox.get().is_some_and(|inbox| text.contains(inbox.as_str()));
    // Whose subscription is one too many is not said; the next mark shows whether it was the link's own.
    if lower.contains("maximum subscriptions") {
        signals.doubtful.store(true, Ordering::Relaxed);
    }
    if inbox && lower.contains("permissions violation") {
        signals.unconfirmable.store(true, Ordering::Relaxed);
        observer.trouble(&format!("{text}: without its inbox events are not confirmed, and can be lost"));
        return;
    }
    if CULPRITS.iter().any(|culprit| lower.contains(culprit)) {
        *lock(&signals.culprit) = Some(text.to_owned());
    }
    if lower.contains("permissions violation for publish to") {
        let mut denied = lock(&signals.denied);
        if let Some(subject) = text.split_once('"').filter(|_| denied.len() < MAX_DENIED) {
            denied.insert(unquote(subject.1));
        }
        drop(denied);
    }
    for (kind, subscription) in [("publish", false), ("subscription", true)] {
        if lower.contains(&format!("permissions violation for {kind} to"))
            && let Some((_, subject)) = text.split_once('"')
        {
            signals.deny(subscription, unquote(subject));
        }
    }
    // Who asks JetStream says what comes of it.
    if !lower.contains("publish to \"$js.api.") {
        observer.trouble(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Observer for Nobody {
        fn trouble(&self, _: &str) {}

        fn warn(&self, _: &str, _: Vec<String>) {}

        fn login_expires(&self, _: Option<u64>) {}
    }

    #[test]
    fn a_subscription_too_many_is_a_doubt_until_something_is_heard() {
        let signals = Signals::default();
        said("maximum subscriptions exceeded", &signals, &Nobody);
        assert!(signals.is_in_doubt() && !signals.unconfirmable.load(Ordering::Relaxed));
        signals.subscribed.store(true, Ordering::Relaxed);
        assert!(!signals.is_in_doubt());
    }

    #[test]
    fn a_denied_subject_is_read_as_the_server_quotes_it() {
        for (quoted, subject) in [
            (r#"s3.a" and more"#, "s3.a"),
            (r#"s3.\"a\\b""#, "s3.\"a\\b"),
            (r#"s3.\u200b\U0001f600\x7fé""#, "s3.\u{200b}\u{1f600}\u{7f}é"),
            (r#"s3.\n""#, "s3.\n"),
        ] {
            assert_eq!(unquote(quoted), subject);
        }
    }
}
