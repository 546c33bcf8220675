//! What a connection tells: its log, and its state for `status()`.

use super::{Connection, lock};
use crate::delivery::backlog::Backlog;
use crate::error::one_line;
use crate::log;
use crate::transport::Observer;
use crate::value::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The same line is logged once in so long.
const SAME_TROUBLE: Duration = Duration::from_secs(60);
/// So many different lines are logged in so long.
const MAX_TOLD: usize = 5;
const ANY_TROUBLE: Duration = Duration::from_secs(1);
/// How many of the last lines are kept to know the same one again.
const MAX_KEPT: usize = 50;
/// How much of a server's error is kept, in characters.
const MAX_TROUBLE: usize = 300;

/// As much of somebody else's words as is kept, in one line.
fn short(text: &str) -> String {
    one_line(text.chars().take(MAX_TROUBLE).collect::<String>())
}

impl Connection {
    /// Logs a line, unless one was logged just now or the same one lately.
    pub(super) fn tell(&self, what: &str) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        let age = |when: &Instant| now.saturating_duration_since(*when);
        state.told.retain(|(when, _)| age(when) < SAME_TROUBLE);
        let recent = state.told.iter().filter(|(when, _)| age(when) < ANY_TROUBLE).count();
        if recent >= MAX_TOLD || state.told.iter().any(|(_, text)| text == what) {
            return;
        }
        if state.told.len() >= MAX_KEPT {
            state.told.remove(0);
        }
        state.told.push((now, what.to_owned()));
        drop(state);
        log::line(format_args!("{}: {what}", self.endpoint.shown()));
    }

    /// Makes a line the last error, without a word in the log.
    pub(super) fn note(&self, what: &str) {
        lock(&self.state).trouble = short(what);
    }

    /// All that is known of this connection, without a secret, as `status()` shows it: the numbers and the last error of one
    /// moment.
    pub fn status(&self) -> Value {
        let spool = self.backlog.get().map_or_else(|| Value::record([]), Backlog::status);
        let [letters, letters_lost] = self.letters.status();
        // Those on disk may be in memory as well.
        let on_disk = self.backlog.get().map_or(0, Backlog::waiting);
        let queue = lock(&self.queue);
        let (pending, pending_bytes) = queue.pending();
        let count = |counter: &AtomicU64| Value::from(counter.load(Ordering::Relaxed));
        let state = lock(&self.state);
        let size = |number: usize| Value::from(u64::try_from(number).unwrap_or(u64::MAX));
        Value::record([
            ("url", self.endpoint.shown().into()),
            ("name", self.endpoint.name.as_str().into()),
            ("connected", Value::Boolean(state.connected)),
            ("connects", state.connects.into()),
            ("server", state.server.as_str().into()),
            ("pending", u64::try_from(pending).unwrap_or(u64::MAX).max(on_disk).into()),
            ("pending_bytes", size(pending_bytes)),
            ("accepted", count(&self.accepted)),
            ("delivered", count(&self.delivered)),
            ("redelivered", count(&self.redelivered)),
            ("rejected", count(&self.rejected)),
            ("retried", count(&self.retried)),
            ("refused", count(&self.refused)),
            ("dropped", count(&self.dropped)),
            letters,
            letters_lost,
            ("last_error", state.trouble.as_str().into()),
            ("spool", spool),
            ("login_expires_ms", state.login_expires.saturating_mul(1000).into()),
            ("warnings", Value::list(state.warnings.values().flatten().map(|warning| warning.as_str().into()))),
        ])
    }
}

impl Observer for Connection {
    fn login_expires(&self, at: Option<u64>) {
        lock(&self.state).login_expires = at.unwrap_or_default();
    }

    fn warn(&self, stream: &str, what: Vec<String>) {
        // A stream's name and subjects are somebody else's words.
        let what: Vec<String> = what.iter().map(|text| short(text)).collect();
        for warning in &what {
            self.tell(warning);
        }
        let mut state = lock(&self.state);
        if what.is_empty() {
            state.warnings.remove(stream);
        } else if state.warnings.len() < MAX_KEPT {
            state.warnings.insert(stream.to_owned(), what);
        }
    }

    fn trouble(&self, what: &str) {
        self.note(what);
        self.tell(&short(what));
    }
}
