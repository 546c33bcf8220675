//! A bounded queue of messages, those in flight included, in the order of each lane.
//!
//! Messages of one lane (an object's) go out one at a time, so that none can overtake another, even where one has to be sent
//! again. Messages of different lanes, and those of none, do not wait for each other.

use super::receipt::Receipt;
use crate::error::{Code, Error};
use crate::message::Message;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// How many messages are in flight at a time.
pub const BATCH: usize = 512;
/// How many bytes are in flight at a time, unless one message alone is larger.
pub const BATCH_BYTES: usize = 1 << 20;

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
}

impl Entry {
    /// A message that is accepted now.
    pub fn new(message: Message, receipt: Option<Arc<Receipt>>) -> Entry {
        Entry { message, accepted: Instant::now(), attempts: 0, receipt, position: None }
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
    /// Whether it is the first that waits, so that someone must be woken.
    pub first: bool,
    /// What had to make room.
    pub dropped: Vec<Entry>,
}

/// Messages in the order in which they were accepted.
#[derive(Debug, Default)]
pub struct Queue {
    ready: VecDeque<Entry>,
    /// The lanes that have a message in flight or put off, each with the messages that have to wait for that one.
    lanes: HashMap<u64, VecDeque<Entry>>,
    /// Messages that are put off, by when they are due.
    later: BTreeMap<(Instant, u64), Entry>,
    serial: u64,
    /// How many messages and bytes are here or in flight.
    pending: usize,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Accepts a message.
    ///
    /// # Errors
    /// The entry, and `queue_full`, if one of the bounds would be passed; `too_large`, if this message alone passes one;
    /// `closed`, after [`Queue::close`].
    pub fn push(&mut self, entry: Entry, bounds: Bounds) -> Result<Pushed, Box<(Entry, Error)>> {
        let refused = |entry, code, text: String| Err(Box::new((entry, Error::new(code, text))));
        if self.closed {
            return refused(entry, Code::Closed, "this connection was closed".to_owned());
        }
        let cost = entry.message.cost();
        if cost > bounds.bytes {
            let text = format!("a message that takes {cost} bytes; max_pending_bytes is {}", bounds.bytes);
            return refused(entry, Code::TooLarge, text);
        }
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
                    return refused(entry, Code::QueueFull, text);
                }
            }
        }
        self.bytes = self.bytes.saturating_add(cost);
        self.pending = self.pending.saturating_add(1);
        let first = self.ready.is_empty();
        self.ready.push_back(entry);
        Ok(Pushed { first, dropped })
    }

    /// Takes up a message that was accepted before and waits on disk.
    pub fn load(&mut self, entry: Entry) {
        self.bytes = self.bytes.saturating_add(entry.message.cost());
        self.pending = self.pending.saturating_add(1);
        self.ready.push_back(entry);
    }

    /// Whether all further messages are refused.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes out the oldest message that is not in flight.
    fn take_oldest(&mut self) -> Option<Entry> {
        let oldest = match self.ready.pop_front() {
            Some(oldest) => oldest,
            None => {
                let (_, oldest) = self.later.pop_first()?;
                self.release(&oldest);
                oldest
            }
        };
        self.forget(&oldest);
        Some(oldest)
    }

    /// Takes out those that are too old, from the oldest on. Of a lane the first one that is in flight stays.
    pub fn take_older(&mut self, is_old: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut old = Vec::new();
        for key in self.later.iter().filter(|(_, entry)| is_old(entry)).map(|(key, _)| *key).collect::<Vec<_>>() {
            old.extend(self.later.remove(&key));
        }
        while self.ready.front().is_some_and(&is_old) {
            old.extend(self.ready.pop_front());
        }
        old
    }

    /// Takes the messages that go next, so many at most; they stay counted until [`Queue::done`]. Each has its lane to
    /// itself until then.
    pub fn take(&mut self, limit: usize, now: Instant) -> Vec<Entry> {
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let entry = first.remove();
            // It still has its lane.
            self.release(&entry);
            self.ready.push_front(entry);
        }
        let mut batch = Vec::new();
        let mut bytes = 0_usize;
        while let Some(entry) = self.ready.front() {
            let lane = entry.message.lane;
            if lane != 0 && self.lanes.contains_key(&lane) {
                if let (Some(entry), Some(others)) = (self.ready.pop_front(), self.lanes.get_mut(&lane)) {
                    others.push_back(entry);
                }
                continue;
            }
            bytes = bytes.saturating_add(entry.message.cost());
            if batch.len() >= limit || (bytes > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            if lane != 0 {
                self.lanes.insert(lane, VecDeque::new());
            }
            batch.extend(self.ready.pop_front());
        }
        batch
    }

    /// When the first of the messages that are put off is due.
    pub fn due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((due, _), _)| *due)
    }

    /// Gives a lane back: those that have waited for `entry` go next.
    fn release(&mut self, entry: &Entry) {
        if entry.message.lane != 0 {
            for other in self.lanes.remove(&entry.message.lane).unwrap_or_default().into_iter().rev() {
                self.ready.push_front(other);
            }
        }
    }

    /// Puts messages back that were taken, to the front and in their order.
    pub fn put_back(&mut self, batch: Vec<Entry>) {
        for entry in batch.into_iter().rev() {
            self.release(&entry);
            self.ready.push_front(entry);
        }
    }

    /// Puts a message off that was taken; its lane waits for it.
    pub fn put_off(&mut self, entry: Entry, due: Instant) {
        self.serial = self.serial.wrapping_add(1);
        self.later.insert((due, self.serial), entry);
    }

    /// Forgets a message that was taken.
    pub fn done(&mut self, entry: &Entry) {
        self.release(entry);
        self.forget(entry);
    }

    fn forget(&mut self, entry: &Entry) {
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
mod tests {
    use super::*;
    use std::time::Duration;

    fn message(size: usize) -> Message {
        Message::new("s".into(), Vec::new(), vec![0; size]).unwrap()
    }

    fn entry(size: usize, lane: u64) -> Entry {
        Entry::new(Message { lane, ..message(size) }, None)
    }

    fn bounds(messages: usize) -> Bounds {
        Bounds { messages, bytes: 1 << 20, drop_oldest: false }
    }

    fn push(queue: &mut Queue, size: usize, lane: u64) {
        queue.push(entry(size, lane), Bounds { bytes: 1 << 30, ..bounds(10_000) }).unwrap();
    }

    fn sizes(batch: &[Entry]) -> Vec<usize> {
        batch.iter().map(|entry| entry.message.payload.len()).collect()
    }

    fn code(result: Result<Pushed, Box<(Entry, Error)>>) -> Option<Code> {
        result.err().map(|refused| refused.1.code())
    }

    #[test]
    fn both_bounds_hold_with_those_in_flight() {
        let mut queue = Queue::default();
        assert!(queue.push(entry(1, 0), bounds(2)).unwrap().first);
        assert!(!queue.push(entry(1, 0), bounds(2)).unwrap().first);
        let batch = queue.take(BATCH, Instant::now());
        assert_eq!(batch.len(), 2);
        assert_eq!(code(queue.push(entry(1, 0), bounds(2))), Some(Code::QueueFull));
        batch.iter().for_each(|entry| queue.done(entry));
        assert_eq!(queue.pending(), (0, 0));
        queue.push(entry(1, 0), bounds(2)).unwrap();
        queue.push(entry(1 << 19, 0), bounds(9)).unwrap();
        assert_eq!(code(queue.push(entry(1 << 19, 0), bounds(9))), Some(Code::QueueFull));
        assert_eq!(code(queue.push(entry(1 << 20, 0), bounds(9))), Some(Code::TooLarge));
    }

    #[test]
    fn the_oldest_make_room_where_that_is_wanted_but_not_those_in_flight() {
        let mut queue = Queue::default();
        let bounds = Bounds { drop_oldest: true, ..bounds(3) };
        for size in 1..=3 {
            queue.push(entry(size, 0), bounds).unwrap();
        }
        assert_eq!(sizes(&queue.push(entry(4, 0), bounds).unwrap().dropped), [1]);
        assert_eq!(sizes(&queue.take(BATCH, Instant::now())), [2, 3, 4]);
        assert_eq!(code(queue.push(entry(5, 0), bounds)), Some(Code::QueueFull));
    }

    #[test]
    fn batches_are_bounded_and_in_order() {
        let mut queue = Queue::default();
        for size in 0..BATCH + 1 {
            push(&mut queue, size, 0);
        }
        assert_eq!(sizes(&queue.take(BATCH, Instant::now())), (0..BATCH).collect::<Vec<_>>());
        assert_eq!(queue.take(BATCH, Instant::now()).len(), 1);
        push(&mut queue, BATCH_BYTES * 2, 0);
        push(&mut queue, 1, 0);
        assert_eq!(queue.take(BATCH, Instant::now()).len(), 1);
    }

    #[test]
    fn what_is_put_back_goes_first_again() {
        let mut queue = Queue::default();
        for size in 0..5 {
            push(&mut queue, size, 7);
            push(&mut queue, size + 10, 0);
        }
        let batch = queue.take(3, Instant::now());
        assert_eq!(sizes(&batch), [0, 10, 11]);
        queue.put_back(batch);
        // Those of lane 7 that the first taking went past are behind their first one again.
        assert_eq!(sizes(&queue.take(BATCH, Instant::now())), [0, 10, 11, 12, 13, 14]);
        assert_eq!(queue.pending().0, 10);
    }

    #[test]
    fn a_lane_goes_one_by_one_and_others_go_on() {
        let mut queue = Queue::default();
        for (size, lane) in [(1, 7), (2, 7), (3, 8), (4, 7), (5, 0)] {
            push(&mut queue, size, lane);
        }
        let now = Instant::now();
        let mut batch = queue.take(BATCH, now);
        assert_eq!(sizes(&batch), [1, 3, 5]);
        assert!(queue.take(BATCH, now).is_empty());
        // The first one must be sent again: its lane waits, the others are through.
        let first = batch.remove(0);
        batch.iter().for_each(|entry| queue.done(entry));
        let due = now + Duration::from_secs(1);
        queue.put_off(first, due);
        assert_eq!(queue.due(), Some(due));
        push(&mut queue, 6, 7);
        assert!(queue.take(BATCH, now).is_empty());
        let mut order = Vec::new();
        loop {
            let batch = queue.take(BATCH, due);
            if batch.is_empty() {
                break;
            }
            order.extend(sizes(&batch));
            batch.iter().for_each(|entry| queue.done(entry));
        }
        assert_eq!(order, [1, 2, 4, 6]);
        assert_eq!((queue.pending(), queue.lanes.len()), ((0, 0), 0));
    }

    #[test]
    fn a_closed_queue_refuses() {
        let mut queue = Queue::default();
        queue.close();
        assert_eq!(code(queue.push(entry(1, 0), bounds(2))), Some(Code::Closed));
    }
}
