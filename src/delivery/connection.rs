//! One endpoint's queue and state: what Lua hands messages to, and what the courier works on.

mod accept;
mod letters;
mod report;

use super::backlog::{Backlog, News};
use super::queue::{Entry, Queue};
use crate::config::{Endpoint, Server};
use crate::error::{Code, Error, one_line};
use crate::message::Purpose;
use crate::transport::{Observer, Outcome, Session};
use letters::Letters;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long lies between the first attempts to deliver a message, if nothing else is wanted; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(4);
/// How many messages of those on disk are in memory at a time.
const MAX_LOADED: usize = 10_000;
/// How often the disk is looked at without being told to.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How often a flush looks whether it is through, without being told to.
const FLUSH_LOOK: Duration = Duration::from_millis(100);

#[derive(Default)]
struct State {
    connected: bool,
    connects: u64,
    server: String,
    trouble: String,
    told: Vec<(Instant, String)>,
    /// When the login ends, in seconds since 1970; 0 if it does not.
    login_expires: u64,
    /// What is wrong with streams, by their names.
    warnings: BTreeMap<String, Vec<String>>,
}

/// A queue of messages for one endpoint, with all that is known of the connection. Shared by every Lua state.
pub struct Connection {
    endpoint: Endpoint,
    /// Gives milliseconds since 1970.
    clock: fn() -> u64,
    queue: Mutex<Queue>,
    /// Rung when messages have left the queue.
    room: Condvar,
    ready: Notify,
    empty: Notify,
    /// Rung when something has become of messages.
    settled: Notify,
    /// Rung when another attempt to connect may succeed.
    renewed: Notify,
    session: Arc<Session>,
    state: Mutex<State>,
    /// What waits on disk, where it is to wait there.
    backlog: OnceLock<Backlog>,
    letters: Letters,
    /// What the server takes, in bytes; 0 as long as nobody knows.
    max_payload: AtomicUsize,
    accepted: AtomicU64,
    rejected: AtomicU64,
    delivered: AtomicU64,
    redelivered: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    retried: AtomicU64,
}

/// A panic elsewhere must not take the queue with it: what a lock guards here is consistent after each statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    /// A queue, with what an earlier process has left on disk for it; a [`courier`](super::courier) must carry what comes into
    /// it. `clock` gives milliseconds since 1970.
    ///
    /// # Errors
    /// `no_resources`, if the spool's thread can't be started.
    pub fn open(endpoint: Endpoint, clock: fn() -> u64) -> Result<Arc<Connection>, Error> {
        let connection = Arc::new(Connection::new(endpoint, clock));
        if let Some(options) = &connection.endpoint.spool {
            let weak = Arc::downgrade(&connection);
            let heard = move |news: News| {
                let Some(connection) = weak.upgrade() else { return };
                match news {
                    News::Arrived => connection.ready.notify_one(),
                    News::Expired(expired) => connection.expired_on_disk(&expired),
                }
            };
            let _ = connection.backlog.set(Backlog::open(options, clock, heard)?);
        }
        Ok(connection)
    }

    /// An empty queue in memory.
    fn new(endpoint: Endpoint, clock: fn() -> u64) -> Connection {
        Connection {
            endpoint,
            clock,
            queue: Mutex::default(),
            room: Condvar::new(),
            ready: Notify::new(),
            empty: Notify::new(),
            settled: Notify::new(),
            renewed: Notify::new(),
            session: Arc::default(),
            state: Mutex::default(),
            backlog: OnceLock::new(),
            letters: Letters::default(),
            max_payload: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            redelivered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            retried: AtomicU64::new(0),
        }
    }

    /// Where this connection goes to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Ends the wait for the next attempt to connect, or the next such wait if there is none.
    pub fn try_again(&self) {
        self.renewed.notify_one();
    }

    /// Waits before an attempt to connect, so long at most. Whether [`Connection::try_again`] has ended that.
    pub(super) async fn is_renewed_within(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.renewed.notified()).await.is_ok()
    }

    /// What requests and subscriptions go over.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Notes that messages had to make room for others.
    fn give_up(&self, dropped: &[Entry]) {
        if dropped.is_empty() {
            return;
        }
        let none = Error::new(Code::QueueFull, "it had to make room");
        let (letters, dropped): (Vec<_>, Vec<_>) =
            dropped.iter().partition(|entry| entry.message.purpose == Purpose::Letter);
        letters
            .into_iter()
            .filter_map(|entry| self.letters.ended(entry, Some(&none)))
            .for_each(|text| self.trouble(&text));
        if let Some(first) = dropped.first() {
            self.dropped.fetch_add(u64::try_from(dropped.len()).unwrap_or_default(), Ordering::Relaxed);
            let subject = &first.message.subject;
            self.trouble(&format!("queue_full: a message to {subject} is lost: the oldest make room for new ones"));
        }
        dropped.iter().filter_map(|entry| entry.receipt.as_ref()).for_each(|receipt| receipt.end());
    }

    /// The largest message that the server takes, or took when the connection was last up, in bytes.
    pub fn max_payload(&self) -> Option<usize> {
        Some(self.max_payload.load(Ordering::Relaxed)).filter(|limit| *limit != 0)
    }

    /// The messages that go next, as soon as there are any.
    pub(super) async fn take(&self, limit: usize) -> Vec<Entry> {
        loop {
            let now = Instant::now();
            let (batch, due) = {
                let mut queue = lock(&self.queue);
                match self.lingers(&queue, now) {
                    Some(until) => (Vec::new(), Some(until)),
                    None => (queue.take(limit, now), queue.due()),
                }
            };
            if !batch.is_empty() {
                return batch;
            }
            if self.load().await {
                continue;
            }
            // At least a millisecond, which is how finely the runtime's clock divides time.
            let due = due.map(|due| due.saturating_duration_since(now).max(Duration::from_millis(1)));
            // A disk that was away may be back without a word.
            let look = self.backlog.get().map(|_| LOOK_AGAIN);
            match due.into_iter().chain(look).min() {
                Some(wait) => _ = tokio::time::timeout(wait, self.ready.notified()).await,
                None => self.ready.notified().await,
            }
        }
    }

    /// The messages that go next, if there are any in memory.
    pub(super) fn take_at_once(&self, limit: usize) -> Vec<Entry> {
        let now = Instant::now();
        let mut queue = lock(&self.queue);
        if self.lingers(&queue, now).is_some() { Vec::new() } else { queue.take(limit, now) }
    }

    /// Until when messages wait for others to go with.
    fn lingers(&self, queue: &Queue, now: Instant) -> Option<Instant> {
        queue.lingers(Duration::from_millis(self.endpoint.linger_ms), now)
    }

    /// Has what is in memory wait for no others.
    fn hurry(&self) {
        lock(&self.queue).hurry();
        self.ready.notify_one();
    }

    /// Takes messages from the disk to the queue, if there are any and the queue has room. May be dropped at any time.
    async fn load(&self) -> bool {
        let Some(backlog) = self.backlog.get() else { return false };
        if lock(&self.queue).pending().0 >= MAX_LOADED {
            return false;
        }
        match backlog.load().await {
            Ok(entries) if entries.is_empty() => false,
            Ok(entries) => {
                let mut queue = lock(&self.queue);
                entries.into_iter().for_each(|entry| queue.load(entry));
                true
            }
            Err(error) => {
                self.trouble(&error.to_string());
                false
            }
        }
    }

    /// Notes what became of messages that were taken.
    pub(super) fn settle(&self, ended: impl IntoIterator<Item = (Entry, Outcome)>) {
        let now = Instant::now();
        let mut delivered = 0;
        let mut queue = lock(&self.queue);
        let (mut done, mut failed, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        let mut troubles = Vec::new();
        for (mut entry, outcome) in ended {
            let lost = match outcome {
                // Who awaits a stream's word does not come here with it.
                Outcome::Delivered | Outcome::Awaited(_) => None,
                Outcome::Never(error) => Some(error),
                // That is no attempt, but its time passes.
                Outcome::Unsent(error) => match self.expired(&entry, now, &error) {
                    None => {
                        troubles.push(error.to_string());
                        queue.put_off(entry, now + LAST_PAUSE);
                        continue;
                    }
                    expired => expired,
                },
                Outcome::Again(error) => {
                    entry.attempts = entry.attempts.saturating_add(1);
                    match self.expired(&entry, now, &error) {
                        None => {
                            self.retried.fetch_add(1, Ordering::Relaxed);
                            troubles.push(error.to_string());
                            failed.extend(entry.position);
                            let due = now + self.pause(entry.attempts);
                            queue.put_off(entry, due);
                            continue;
                        }
                        expired => expired,
                    }
                }
            };
            match lost {
                lost if entry.message.purpose == Purpose::Letter => {
                    troubles.extend(self.letters.ended(&entry, lost.as_ref()))
                }
                None => {
                    delivered += 1;
                    done.extend(entry.position);
                }
                Some(error) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    let what = if entry.position.is_some() { "a dead letter" } else { "lost" };
                    troubles.push(format!("a message is {what}: {error}"));
                    dead.extend(entry.position.map(|position| (position, error.to_string())));
                    self.tell_of(&mut queue, &entry.message, &error);
                }
            }
            queue.done(&entry);
            if let Some(receipt) = &entry.receipt {
                receipt.end();
            }
        }
        self.delivered.fetch_add(delivered, Ordering::Relaxed);
        let pending = queue.pending().0;
        // Whoever sees the numbers sees the reason; the log may take its time.
        if let Some(last) = troubles.last() {
            self.note(last);
        }
        drop(queue);
        self.room.notify_all();
        if let Some(backlog) = self.backlog.get() {
            backlog.done(done);
            backlog.failed(failed);
            dead.iter().for_each(|(position, reason)| backlog.bury(*position, reason));
        }
        for trouble in troubles {
            self.trouble(&trouble);
        }
        self.settled.notify_waiters();
        if pending == 0 {
            self.empty.notify_waiters();
        }
    }

    /// Why a message is given up that came to nothing once more, if it is.
    fn expired(&self, entry: &Entry, now: Instant, last: &Error) -> Option<Error> {
        let (seconds, retries) = (self.endpoint.time_to_live, self.endpoint.max_retries);
        let age = now.saturating_duration_since(entry.accepted);
        let over = if seconds != 0 && age >= Duration::from_secs(seconds) {
            format!("time_to_live of {seconds} s is over")
        } else if retries != 0 && u64::from(entry.attempts) > retries {
            format!("max_retries of {retries} is over")
        } else {
            return None;
        };
        Some(Error::new(Code::Expired, format!("{over}; the last reason: {last}")))
    }

    /// Gives those messages up that are older than `time_to_live`, while there is no connection.
    pub(super) fn expire(&self) {
        if self.endpoint.time_to_live == 0 {
            return;
        }
        let now = Instant::now();
        let none = Error::new(Code::NotStored, "there is no connection");
        let old = lock(&self.queue).take_older(|entry| self.expired(entry, now, &none).is_some());
        self.settle(old.into_iter().map(|entry| {
            let outcome = self.expired(&entry, now, &none).map_or(Outcome::Again(none.clone()), Outcome::Never);
            (entry, outcome)
        }));
    }

    /// How long lies between attempts to deliver a message.
    fn pause(&self, attempts: u32) -> Duration {
        match self.endpoint.retry_sleep_duration {
            0 => FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1).min(16))).min(LAST_PAUSE),
            seconds => Duration::from_secs(seconds),
        }
    }

    /// Takes messages back that could not be confirmed; they go first, and are delivered once more.
    pub(super) fn put_back(&self, batch: Vec<Entry>) {
        self.redelivered.fetch_add(u64::try_from(batch.len()).unwrap_or_default(), Ordering::Relaxed);
        lock(&self.queue).put_back(batch);
    }

    /// Notes that the connection is up.
    pub(super) fn connected(&self, name: &str, server: &Server, max_payload: usize) {
        self.max_payload.store(max_payload, Ordering::Relaxed);
        let mut state = lock(&self.state);
        state.connected = true;
        state.connects = state.connects.saturating_add(1);
        state.server = one_line(name);
        drop(state);
        self.tell(&format!("connected to {server}"));
    }

    /// Notes that the connection is down.
    pub(super) fn disconnected(&self) {
        self.session.detach();
        if let Some(backlog) = self.backlog.get() {
            backlog.forget_loading();
        }
        lock(&self.state).connected = false;
        self.tell("the connection has ended");
    }

    /// Refuses all further messages; those that wait do not linger.
    pub fn close(&self) {
        lock(&self.queue).close();
        self.hurry();
    }

    /// How many messages wait or are in flight. Those on disk may be in memory as well.
    pub fn pending(&self) -> u64 {
        let loaded = u64::try_from(lock(&self.queue).pending().0).unwrap_or(u64::MAX);
        loaded.max(self.backlog.get().map_or(0, Backlog::waiting))
    }

    /// Whether messages wait or are in flight.
    pub fn is_pending(&self) -> bool {
        self.pending() > 0
    }

    /// Ends what is on disk, at the end of the process; waits for that so long at most. What is there stays for the next one.
    pub fn end(&self, limit: Duration) {
        if let Some(backlog) = self.backlog.get() {
            backlog.close(limit);
        }
    }

    /// The messages on disk, and the dead letters.
    ///
    /// # Errors
    /// `bad_config`, where there is no spool.
    pub fn backlog(&self) -> Result<&Backlog, Error> {
        let none = || Error::new(Code::BadConfig, "this configuration has no spool, and so keeps no dead letters");
        self.backlog.get().ok_or_else(none)
    }

    /// Whether what is not delivered yet outlives the process.
    pub fn is_durable(&self) -> bool {
        self.backlog.get().is_some()
    }

    /// In a forked child: lets go of what is the parent's.
    pub fn forked(&self) {
        if let Some(backlog) = self.backlog.get() {
            backlog.forked();
        }
    }

    /// Waits until something has become of all messages that were accepted before.
    pub async fn flushed(&self) {
        if self.is_durable() {
            return self.drained().await;
        }
        let before = lock(&self.queue).so_far();
        self.hurry();
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if lock(&self.queue).is_through(before) {
                return;
            }
            // What makes room for others goes without a word.
            let _ = tokio::time::timeout(FLUSH_LOOK, settled).await;
        }
    }

    /// Waits until no message waits or is in flight.
    pub async fn drained(&self) {
        self.hurry();
        loop {
            let empty = self.empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if !self.is_pending() {
                return;
            }
            // What is on disk is off it a little later than all is settled, and nothing rings then.
            let _ = tokio::time::timeout(FLUSH_LOOK, empty).await;
        }
    }
}

#[cfg(test)]
mod tests;
