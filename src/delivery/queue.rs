//! A bounded queue of messages, those in flight included, in the order of each lane.
//!
//! Messages of one lane (an object's) go out one at a time, so that none can overtake another, even where one has to be sent
//! again. Messages of different lanes, and those of none, do not wait for each other.

use super::epochs::Epochs;
use super::receipt::Receipt;
use crate::error::{Code, Error};
use crate::message::Message;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many messages go out as one batch; two may be unconfirmed.
pub const BATCH: usize = 2048;
/// How many bytes a batch has, unless one message alone is larger.
pub const BATCH_BYTES: usize = 1 << 20;

/// So many messages do not linger for more.
const CROWD: usize = 64;

/// How many of the messages that are put off are looked at for the oldest one.
const MAX_LOOK: usize = 1000;

/// A message on its way.
#[derive(Debug)]
pub struct Entry {
    /// What is sent.
    pub message: Message,
    /// When it was accepted.
    pub accepted: Instant,
    /// How often it was sent in vain.
    pub attempts: u32,
    /// Who waits to hear of it.
    pub receipt: Option<Arc<Receipt>>,
    /// Its place on disk, if it is there.
    pub position: Option<u64>,
    /// Whether it has its lane to itself.
    pub(super) is_turn: bool,
    /// Between which flushes it was accepted; see [`Queue::so_far`].
    pub(super) epoch: Option<u64>,
}

impl Entry {
    /// A message that is accepted now.
    pub fn new(message: Message, receipt: Option<Arc<Receipt>>) -> Entry {
        Entry { message, accepted: Instant::now(), attempts: 0, receipt, position: None, is_turn: false, epoch: None }
    }

    /// Whether it may wait for others to come: it is of an object, and nobody awaits it.
    fn may_linger(&self) -> bool {
        self.message.lane != 0 && self.receipt.is_none()
    }
}

/// What to do where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many messages may be here or in flight.
    pub messages: usize,
    /// How many bytes of messages may.
    pub bytes: usize,
    /// Whether the oldest ones make room for a new one.
    pub drop_oldest: bool,
}

/// What [`Queue::push`] has come to.
#[derive(Debug)]
pub struct Pushed {
    /// Whether someone must be woken: it is the first that waits, or the first that is not to linger.
    pub wake: bool,
    /// What had to make room.
    pub dropped: Vec<Entry>,
}

/// The messages of one object. Those that wait are older than those of the same lane in `ready`, but for the one whose turn it
/// is, which stands there before all others.
#[derive(Debug, Default)]
struct Lane {
    /// Whether one is in flight or put off.
    busy: bool,
    waiting: VecDeque<Entry>,
}

/// A message that was not accepted: the entry, why, and what had to go for it nonetheless.
pub type Refused = Box<(Entry, Error, Vec<Entry>)>;

/// Messages in the order in which they were accepted.
#[derive(Debug, Default)]
pub struct Queue {
    ready: VecDeque<Entry>,
    /// The lanes that have a message in flight or put off, or messages that wait for their turn.
    lanes: HashMap<u64, Lane>,
    /// Messages that are put off, by when they are due.
    later: BTreeMap<(Instant, u64), Entry>,
    serial: u64,
    /// How many messages and bytes are here or in flight.
    pending: usize,
    bytes: usize,
    closed: bool,
    epochs: Epochs,
    /// Whether one of those that are ready is not to wait for others to come.
    hurried: bool,
    /// When the last batch went out.
    left: Option<Instant>,
}

impl Queue {
    /// Accepts a message.
    ///
    /// # Errors
    /// The entry, and `queue_full`, if one of the bounds would be passed; `too_large`, if this message alone passes one;
    /// `closed`, after [`Queue::close`].
    pub fn push(&mut self, entry: Entry, bounds: Bounds) -> Result<Pushed, Refused> {
        let refused = |entry, code, text: String, dropped| Err(Box::new((entry, Error::new(code, text), dropped)));
        if self.closed {
            return refused(entry, Code::Closed, "this connection was closed".to_owned(), Vec::new());
        }
        let cost = entry.message.cost();
        if cost > bounds.bytes {
            let text = format!("a message that takes {cost} bytes; max_pending_bytes is {}", bounds.bytes);
            return refused(entry, Code::TooLarge, text, Vec::new());
        }
        // What is dropped may make another one ready.
        let (was_empty, was_hurried) = (self.ready.is_empty(), self.hurried);
        let mut dropped = Vec::new();
        while self.pending >= bounds.messages || self.bytes.saturating_add(cost) > bounds.bytes {
            match if bounds.drop_oldest { self.take_oldest() } else { None } {
                Some(oldest) => dropped.push(oldest),
                None => {
                    let text = format!(
                        "{} messages of {} bytes wait for the broker; the bounds are max_pending = {} and \
                         max_pending_bytes = {}",
                        self.pending, self.bytes, bounds.messages, bounds.bytes
                    );
                    return refused(entry, Code::QueueFull, text, dropped);
                }
            }
        }
        self.bytes = self.bytes.saturating_add(cost);
        self.pending = self.pending.saturating_add(1);
        // A queue that is half full has nothing to linger for, nor has a crowd.
        let full = self.pending > bounds.messages / 2 || self.bytes > bounds.bytes / 2;
        let hurried = full || !entry.may_linger() || self.ready.len() >= CROWD;
        self.hurried |= hurried;
        let wake = was_empty || (self.hurried && !was_hurried);
        let mut entry = entry;
        entry.epoch = Some(self.epochs.enter());
        self.ready.push_back(entry);
        Ok(Pushed { wake, dropped })
    }

    /// Takes up a message that was accepted before and waits on disk.
    pub fn load(&mut self, entry: Entry) {
        self.bytes = self.bytes.saturating_add(entry.message.cost());
        self.pending = self.pending.saturating_add(1);
        self.hurried = true;
        self.ready.push_back(entry);
    }

    /// What to ask [`Queue::is_through`] by, of all messages that were accepted until now.
    pub fn so_far(&mut self) -> u64 {
        self.epochs.end()
    }

    /// Whether none of those messages is here or in flight any more.
    pub fn is_through(&self, epoch: u64) -> bool {
        self.epochs.is_through(epoch)
    }

    /// Whether all further messages are refused.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes out the oldest message that is not in flight, or one of the oldest where messages are put off.
    fn take_oldest(&mut self) -> Option<Entry> {
        let age = |entry: &Entry| entry.accepted;
        let later =
            self.later.iter().take(MAX_LOOK).min_by_key(|(_, entry)| age(entry)).map(|(key, entry)| (*key, age(entry)));
        let ready = self.ready.front().map(age);
        let oldest = match (ready, later) {
            (Some(ready), Some((_, later))) if ready <= later => self.take_ready()?,
            (_, Some((key, _))) => {
                let entry = self.later.remove(&key)?;
                self.release(&entry);
                entry
            }
            (Some(_), None) => self.take_ready()?,
            (None, None) => self.lanes.values_mut().find_map(|lane| lane.waiting.pop_front())?,
        };
        self.forget(&oldest);
        Some(oldest)
    }

    /// Takes out the first message that is ready. If it was its lane's turn, it is that of the next one there.
    fn take_ready(&mut self) -> Option<Entry> {
        let entry = self.ready.pop_front()?;
        if self.lanes.get(&entry.message.lane).is_some_and(|lane| !lane.busy) {
            self.release(&entry);
        }
        Some(entry)
    }

    /// Takes out those that are too old, from the oldest on. Of a lane the first one that is in flight stays.
    pub fn take_older(&mut self, is_old: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut old = Vec::new();
        for key in self.later.iter().filter(|(_, entry)| is_old(entry)).map(|(key, _)| *key).collect::<Vec<_>>() {
            old.extend(self.later.remove(&key));
        }
        while self.ready.front().is_some_and(&is_old) {
            old.extend(self.take_ready());
        }
        old
    }

    /// Takes the messages that go next, so many at most; they stay counted until [`Queue::done`]. Each has its lane to
    /// itself until then.
    pub fn take(&mut self, limit: usize, now: Instant) -> Vec<Entry> {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let entry = first.remove();
            self.give_back(entry);
        }
        let mut batch = Vec::with_capacity(limit.min(self.ready.len()));
        let mut bytes = 0_usize;
        while let Some(entry) = self.ready.front() {
            let lane = entry.message.lane;
            // Those of none have nobody to wait for.
            let known = if lane == 0 { None } else { self.lanes.get_mut(&lane) };
            if let Some(busy) = known.filter(|lane| lane.busy) {
                busy.waiting.extend(self.ready.pop_front());
                continue;
            }
            bytes = bytes.saturating_add(entry.message.cost());
            if batch.len() >= limit || (bytes > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            let Some(mut entry) = self.ready.pop_front() else { break };
            if lane != 0 {
                self.lanes.entry(lane).or_default().busy = true;
                entry.is_turn = true;
            }
            batch.push(entry);
        }
        if !batch.is_empty() {
            self.left = Some(now);
        }
        // What is left has waited already.
        self.hurried = !self.ready.is_empty();
        batch
    }

    /// Until when to leave those that are ready where they are, so that what comes meanwhile goes with them: so long after the
    /// last batch, or until another one is due. None if there are none, or one of them is not to wait.
    pub fn lingers(&self, limit: Duration, now: Instant) -> Option<Instant> {
        let until = self.left.filter(|_| !self.hurried && !self.ready.is_empty())? + limit;
        let until = self.due().map_or(until, |due| until.min(due));
        Some(until).filter(|until| *until > now)
    }

    /// Has those that are ready wait no longer.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// When the first of the messages that are put off is due.
    pub fn due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((due, _), _)| *due)
    }

    /// Gives a lane back: it is the turn of the next message there.
    fn release(&mut self, entry: &Entry) {
        let Some(lane) = self.lanes.get_mut(&entry.message.lane) else { return };
        lane.busy = false;
        match lane.waiting.pop_front() {
            Some(next) => {
                // It has waited already.
                self.hurried = true;
                self.ready.push_front(next);
            }
            None => _ = self.lanes.remove(&entry.message.lane),
        }
    }

    /// Puts a message to the front, to be sent again; it still is its lane's turn.
    fn give_back(&mut self, mut entry: Entry) {
        entry.is_turn = false;
        if let Some(lane) = self.lanes.get_mut(&entry.message.lane) {
            lane.busy = false;
        }
        self.hurried = true;
        self.ready.push_front(entry);
    }

    /// Puts messages back that were taken, to the front and in their order.
    pub fn put_back(&mut self, batch: Vec<Entry>) {
        for entry in batch.into_iter().rev() {
            self.give_back(entry);
        }
    }

    /// Puts a message off that was taken; its lane waits for it.
    pub fn put_off(&mut self, entry: Entry, due: Instant) {
        self.serial = self.serial.wrapping_add(1);
        self.later.insert((due, self.serial), entry);
    }

    /// Forgets a message that was taken.
    pub fn done(&mut self, entry: &Entry) {
        // One that was too old while it waited has given its lane back, or it was another one's turn.
        if entry.is_turn {
            self.release(entry);
        }
        self.forget(entry);
    }

    fn forget(&mut self, entry: &Entry) {
        if let Some(epoch) = entry.epoch {
            self.epochs.leave(epoch);
        }
        self.bytes = self.bytes.saturating_sub(entry.message.cost());
        self.pending = self.pending.saturating_sub(1);
    }

    /// How many messages and bytes wait or are in flight.
    pub fn pending(&self) -> (usize, usize) {
        (self.pending, self.bytes)
    }

    /// Refuses all further messages.
    pub fn close(&mut self) {
        self.closed = true;
    }
}

#[cfg(test)]
mod tests;
