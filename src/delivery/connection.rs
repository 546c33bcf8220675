//! One endpoint's queue and state: what Lua hands messages to, and what the courier works on.

use super::queue::Queue;
use crate::config::{Endpoint, Server};
use crate::error::Error;
use crate::log;
use crate::message::Message;
use crate::transport::Observer;
use crate::value::Value;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The same line is logged once in so long.
const SAME_TROUBLE: Duration = Duration::from_secs(60);
/// So many different lines are logged in so long.
const MAX_TOLD: usize = 5;
const ANY_TROUBLE: Duration = Duration::from_secs(1);
/// How many of the last lines are kept to know the same one again.
const MAX_KEPT: usize = 50;
/// How much of a server's error is kept, in characters.
const MAX_TROUBLE: usize = 300;

#[derive(Default)]
struct State {
    connected: bool,
    connects: u64,
    server: String,
    trouble: String,
    told: Vec<(Instant, String)>,
}

/// A queue of messages for one endpoint, with all that is known of the connection. Shared by every Lua state.
pub struct Connection {
    endpoint: Endpoint,
    queue: Mutex<Queue>,
    ready: Notify,
    empty: Notify,
    state: Mutex<State>,
    /// What the server takes, in bytes; 0 as long as nobody knows.
    max_payload: AtomicUsize,
    accepted: AtomicU64,
    rejected: AtomicU64,
    delivered: AtomicU64,
    redelivered: AtomicU64,
    refused: AtomicU64,
}

/// A panic elsewhere must not take the queue with it: what a lock guards here is consistent after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// An empty queue; a [`courier`](super::courier) must carry what comes into it.
    pub fn new(endpoint: Endpoint) -> Connection {
        Connection {
            endpoint,
            queue: Mutex::default(),
            ready: Notify::new(),
            empty: Notify::new(),
            state: Mutex::default(),
            max_payload: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            redelivered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Where this connection goes to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Accepts a message: it is in memory, and will be delivered unless the process ends first. Does not block.
    ///
    /// # Errors
    /// `queue_full`, `too_large`, `closed`.
    pub fn publish(&self, message: Message) -> Result<(), Error> {
        let bound = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let (messages, bytes) = (bound(self.endpoint.max_pending), bound(self.endpoint.max_pending_bytes));
        let pushed = lock(&self.queue).push(message, messages, bytes);
        match pushed {
            Ok(first) => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
                if first {
                    self.ready.notify_one();
                }
                Ok(())
            }
            Err(error) => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                self.trouble(&error.to_string());
                Err(error)
            }
        }
    }

    /// The largest message that the server takes, or took when the connection was last up, in bytes.
    pub fn max_payload(&self) -> Option<usize> {
        Some(self.max_payload.load(Ordering::Relaxed)).filter(|limit| *limit != 0)
    }

    /// The messages that go next, as soon as there are any.
    pub(super) async fn take(&self, limit: usize) -> Vec<Message> {
        loop {
            let batch = lock(&self.queue).take(limit);
            if !batch.is_empty() {
                return batch;
            }
            self.ready.notified().await;
        }
    }

    /// Notes what became of a batch: all of it is with the server but what was refused, which is lost and logged.
    pub(super) fn done(&self, batch: &[Message], refused: &[(usize, Error)]) {
        for (_, error) in refused {
            self.trouble(&format!("a message is lost: {error}"));
        }
        let delivered = batch.len().saturating_sub(refused.len());
        self.refused.fetch_add(u64::try_from(refused.len()).unwrap_or_default(), Ordering::Relaxed);
        self.delivered.fetch_add(u64::try_from(delivered).unwrap_or_default(), Ordering::Relaxed);
        let pending = {
            let mut queue = lock(&self.queue);
            queue.done(batch);
            queue.pending().0
        };
        if pending == 0 {
            self.empty.notify_waiters();
        }
    }

    /// Takes messages back that could not be confirmed; they go first, and are delivered once more.
    pub(super) fn put_back(&self, batch: Vec<Message>) {
        self.redelivered.fetch_add(u64::try_from(batch.len()).unwrap_or_default(), Ordering::Relaxed);
        lock(&self.queue).put_back(batch);
    }

    /// Notes that the connection is up.
    pub(super) fn connected(&self, name: &str, server: &Server, max_payload: usize) {
        self.max_payload.store(max_payload, Ordering::Relaxed);
        let mut state = lock(&self.state);
        state.connected = true;
        state.connects = state.connects.saturating_add(1);
        name.clone_into(&mut state.server);
        drop(state);
        self.tell(&format!("connected to {server}"));
    }

    /// Notes that the connection is down.
    pub(super) fn disconnected(&self) {
        lock(&self.state).connected = false;
        self.tell("the connection has ended");
    }

    /// Logs a line, unless one was logged just now or the same one lately.
    fn tell(&self, what: &str) {
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

    /// Refuses all further messages.
    pub fn close(&self) {
        lock(&self.queue).close();
    }

    /// Whether messages wait or are in flight.
    pub fn is_pending(&self) -> bool {
        lock(&self.queue).pending().0 > 0
    }

    /// Waits until no message waits or is in flight.
    pub async fn drained(&self) {
        loop {
            let empty = self.empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if !self.is_pending() {
                return;
            }
            empty.await;
        }
    }

    /// All that is known of this connection, without a secret, as `status()` shows it.
    pub fn status(&self) -> Value {
        let (pending, pending_bytes) = lock(&self.queue).pending();
        let count = |counter: &AtomicU64| Value::from(counter.load(Ordering::Relaxed));
        let state = lock(&self.state);
        let size = |number: usize| Value::from(u64::try_from(number).unwrap_or(u64::MAX));
        Value::record([
            ("url", self.endpoint.shown().into()),
            ("name", self.endpoint.name.as_str().into()),
            ("connected", Value::Boolean(state.connected)),
            ("connects", state.connects.into()),
            ("server", state.server.as_str().into()),
            ("pending", size(pending)),
            ("pending_bytes", size(pending_bytes)),
            ("accepted", count(&self.accepted)),
            ("delivered", count(&self.delivered)),
            ("redelivered", count(&self.redelivered)),
            ("rejected", count(&self.rejected)),
            ("refused", count(&self.refused)),
            ("last_error", state.trouble.as_str().into()),
        ])
    }
}

impl Observer for Connection {
    fn trouble(&self, what: &str) {
        let what: String = what.chars().take(MAX_TROUBLE).collect();
        lock(&self.state).trouble.clone_from(&what);
        self.tell(&what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_counts_and_hides_secrets() {
        let options =
            Value::record([("max_pending", Value::Integer(1)), ("allow_cleartext_secrets", Value::Boolean(true))]);
        let endpoint = Endpoint::from_arguments(&Value::from("nats://u:hunter2@h:1"), &options).unwrap();
        let connection = Connection::new(endpoint);
        let message = Message::new("s".into(), Vec::new(), vec![1]).unwrap();
        assert_eq!(connection.publish(message.clone()), Ok(()));
        assert!(connection.publish(message).is_err());
        let status = format!("{:?}", connection.status());
        assert!(!status.contains("hunter2"));
        let Value::Table(fields) = connection.status() else { panic!("status is no table") };
        let number = |name: &str| {
            let field = fields.iter().find(|(key, _)| key.text() == Some(name));
            if let Some((_, Value::Integer(number))) = field { *number } else { panic!("{name} is no number") }
        };
        assert_eq!((number("pending"), number("accepted"), number("rejected")), (1, 1, 1));
    }
}
