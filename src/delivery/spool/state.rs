//! What the spool's thread and those who use the spool both look at; no one waits for a disk here.

use super::disk::Disk;
#[cfg(test)]
use super::disk::Faults;
use super::entry::{Entry, cost};
use super::slot::{Place, Slot};
use super::store::Tally;
use crate::config::{Spool as Options, SyncRule};
use crate::error::{Code, Error};
use crate::log;
use crate::value::Value;
use std::collections::HashSet;
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many appends may be on their way to the thread, and their bytes.
const MAX_PENDING: Tally = Tally { count: 16_384, bytes: 64 << 20 };

#[derive(Default)]
struct State {
    slot: String,
    /// Where the queue is.
    place: Option<Place>,
    entries: Tally,
    dead: Tally,
    quarantined: u64,
    damaged: u64,
    oldest_ms: Option<u64>,
    syncs: u64,
    /// What was handed to the thread and is not committed.
    pending: Tally,
    /// Why nothing can be kept at present.
    poisoned: Option<String>,
    last_error: String,
    /// Slots of another format.
    refused: Vec<String>,
    /// Queues whose opening has not ended: the thread has died of them.
    suspects: HashSet<PathBuf>,
}

/// What the thread tells by itself.
pub enum News<'e> {
    /// There are new entries to read.
    Arrived,
    /// These were too old, and are dead letters.
    Expired(&'e [Entry]),
}

type OnNews = Box<dyn Fn(News<'_>) + Send + Sync>;

/// What the thread and the callers share.
pub struct Shared {
    /// As configured.
    pub options: Options,
    /// After how long a slot that failed is tried again.
    pub retry: Duration,
    /// What a test has go wrong.
    #[cfg(test)]
    pub faults: Arc<Faults>,
    clock: fn() -> u64,
    on_news: OnNews,
    state: Mutex<State>,
    lock: AtomicI32,
    used: AtomicU64,
}

impl Shared {
    /// Of a spool that is about to be opened.
    pub fn new(options: Options, retry: Duration, clock: fn() -> u64, on_news: OnNews) -> Shared {
        Shared {
            options,
            retry,
            #[cfg(test)]
            faults: Arc::default(),
            clock,
            on_news,
            state: Mutex::default(),
            lock: AtomicI32::new(-1),
            used: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// Tells that there is something to read.
    pub fn arrived(&self) {
        (self.on_news)(News::Arrived);
    }

    /// Tells that entries have become dead letters for their age.
    pub fn expired(&self, entries: &[Entry]) {
        (self.on_news)(News::Expired(entries));
    }

    /// The disk under a slot's queue.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn disk(&self, slot: &Slot) -> io::Result<Disk> {
        let disk = Disk::new(slot.open_queue()?, self.options.sync != SyncRule::None);
        #[cfg(test)]
        let disk = disk.with(self.faults.clone());
        Ok(disk)
    }

    /// Holds room for an entry.
    ///
    /// # Errors
    /// `spool_full`, `spool_io`.
    pub fn reserve(&self, size: usize) -> Result<(), Error> {
        let mut state = self.state();
        if state.poisoned.is_some() {
            drop(state);
            return Err(self.poisoned());
        }
        let (new, pending) = (cost(size), state.pending);
        let full = |text: String| Err(Error::new(Code::SpoolFull, text));
        if pending.count >= MAX_PENDING.count || pending.bytes.saturating_add(new) > MAX_PENDING.bytes.max(new) {
            return full(format!("{} messages wait for the disk", pending.count));
        }
        let (count, bytes) = (state.entries.count + pending.count, state.entries.bytes + pending.bytes);
        if count >= self.options.max_messages {
            return full(format!("{count} messages wait, and max_messages is {}", self.options.max_messages));
        }
        if bytes.saturating_add(state.dead.bytes).saturating_add(new) > self.options.max_bytes {
            let (dead, limit) = (state.dead.bytes, self.options.max_bytes);
            return full(format!("{bytes} bytes wait and {dead} are dead letters, and max_bytes is {limit}"));
        }
        state.pending.add(new);
        Ok(())
    }

    /// How many entries are there or on their way.
    pub fn waiting(&self) -> u64 {
        let state = self.state();
        state.entries.count.saturating_add(state.pending.count)
    }

    /// Whether the limits leave room beside these.
    pub fn has_room(&self, entries: Tally, dead: Tally) -> bool {
        entries.count < self.options.max_messages && entries.bytes.saturating_add(dead.bytes) < self.options.max_bytes
    }

    /// Gives up the room that was held for entries of these sizes.
    pub fn release(&self, sizes: impl IntoIterator<Item = usize>) {
        let mut state = self.state();
        for size in sizes {
            state.pending.take(cost(size));
        }
    }

    /// Gives up all room that was held: the thread that it was held for is gone.
    pub fn release_all(&self) {
        self.state().pending = Tally::default();
    }

    /// Notes the slot that is ours.
    pub fn holds(&self, slot: &Slot) {
        self.lock.store(slot.descriptor(), Ordering::Release);
        let mut state = self.state();
        state.slot = slot.path().display().to_string();
        state.place = Some(slot.place().clone());
    }

    /// Where the queue was when it was last open.
    pub fn place(&self) -> Option<Place> {
        self.state().place.clone()
    }

    /// A position as high as any that a queue of this process has given out before it was last opened.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Notes the first position that a queue gives out now.
    pub fn uses(&self, position: u64) {
        self.used.fetch_max(position, Ordering::Relaxed);
    }

    /// The descriptor that holds the slot's lock; none a second time.
    pub fn take_lock(&self) -> Option<RawFd> {
        Some(self.lock.swap(-1, Ordering::AcqRel)).filter(|descriptor| *descriptor >= 0)
    }

    /// Notes what there is.
    pub fn count(&self, (entries, dead, quarantined): (Tally, Tally, u64), oldest_ms: Option<u64>, syncs: u64) {
        let mut state = self.state();
        let more = quarantined.saturating_sub(state.quarantined);
        (state.entries, state.dead, state.quarantined) = (entries, dead, quarantined);
        (state.oldest_ms, state.syncs) = (oldest_ms, syncs);
        let slot = state.slot.clone();
        drop(state);
        if more > 0 {
            log::line(format_args!("{quarantined} damaged messages are in the quarantine of the spool's {slot}"));
        }
    }

    /// Notes how many damaged files there are.
    pub fn damaged(&self, count: u64) {
        self.state().damaged = count;
    }

    /// Notes slots of another format; each is logged once.
    pub fn refused(&self, reasons: Vec<String>) {
        for reason in reasons {
            let mut state = self.state();
            if !state.refused.contains(&reason) {
                state.refused.push(reason.clone());
                drop(state);
                log::line(format_args!("{reason}"));
            }
        }
    }

    /// Notes that a queue is being opened. Whether that has been tried before and the thread has died of it.
    pub fn suspect(&self, path: &Path) -> bool {
        !self.state().suspects.insert(path.to_owned())
    }

    /// Notes that the opening of a queue has ended, well or not.
    pub fn clear(&self, path: &Path) {
        self.state().suspects.remove(path);
    }

    /// Notes something that went wrong and stops nobody; the same thing is logged once.
    pub fn trouble(&self, text: String) {
        let mut state = self.state();
        if state.last_error != text {
            state.last_error.clone_from(&text);
            drop(state);
            log::line(format_args!("spool: {text}"));
        }
    }

    /// Notes that nothing can be kept from now on, and why.
    pub fn poison(&self, reason: String) {
        self.state().poisoned = Some(reason.clone());
        self.trouble(reason);
    }

    /// Notes that the queue is open.
    pub fn opened(&self) {
        if let Some(reason) = self.state().poisoned.take() {
            log::line(format_args!("the spool is open again after {reason}"));
        }
    }

    /// The error of those who come while nothing can be kept.
    pub fn poisoned(&self) -> Error {
        let state = self.state();
        let reason = state.poisoned.clone().unwrap_or_else(|| "the spool is being opened".into());
        Error::new(Code::SpoolIo, reason)
    }

    /// All that is known, for `status()`.
    pub fn status(&self) -> Value {
        let state = self.state();
        let age = state.oldest_ms.map_or(0, |oldest| self.now_ms().saturating_sub(oldest));
        let (sync, group_ms) = match self.options.sync {
            SyncRule::Always => ("always", 0),
            SyncRule::Group(ms) => ("group", ms),
            SyncRule::None => ("none", 0),
        };
        Value::record([
            ("directory", self.options.directory.as_str().into()),
            ("slot", state.slot.as_str().into()),
            ("sync", sync.into()),
            ("group_ms", group_ms.into()),
            ("messages", state.entries.count.into()),
            ("bytes", state.entries.bytes.into()),
            ("pending", state.pending.count.into()),
            ("oldest_ms", age.into()),
            ("dead_letters", state.dead.count.into()),
            ("dead_bytes", state.dead.bytes.into()),
            ("quarantined", state.quarantined.into()),
            ("damaged_files", state.damaged.into()),
            ("refused_slots", u64::try_from(state.refused.len()).unwrap_or_default().into()),
            ("syncs", state.syncs.into()),
            ("poisoned", Value::Boolean(state.poisoned.is_some())),
            ("last_error", state.last_error.as_str().into()),
        ])
    }
}
