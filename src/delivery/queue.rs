//! A bounded queue of messages, those in flight included.

use crate::error::{Code, Error};
use crate::message::Message;
use std::collections::VecDeque;

/// How many messages are in flight at a time.
pub const BATCH: usize = 512;
/// How many bytes are in flight at a time, unless one message alone is larger.
const BATCH_BYTES: usize = 1 << 20;

/// Messages in the order in which they were accepted.
#[derive(Debug, Default)]
pub struct Queue {
    messages: VecDeque<Message>,
    /// How many messages and bytes are here or in flight.
    pending: usize,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Accepts a message. Says whether it is the first that waits, so that someone must be woken.
    ///
    /// # Errors
    /// `queue_full`, if one of the bounds would be passed; `too_large`, if this message alone passes one; `closed`, after
    /// [`Queue::close`].
    pub fn push(&mut self, message: Message, max_messages: usize, max_bytes: usize) -> Result<bool, Error> {
        if self.closed {
            return Err(Error::new(Code::Closed, "this connection was closed"));
        }
        let cost = message.cost();
        if cost > max_bytes {
            let text = format!("a message that takes {cost} bytes; max_pending_bytes is {max_bytes}");
            return Err(Error::new(Code::TooLarge, text));
        }
        let bytes = self.bytes.saturating_add(cost);
        if self.pending >= max_messages || bytes > max_bytes {
            let (messages, bytes) = (self.pending, self.bytes);
            let text = format!(
                "{messages} messages of {bytes} bytes wait for the broker; \
                 the bounds are max_pending = {max_messages} and max_pending_bytes = {max_bytes}"
            );
            return Err(Error::new(Code::QueueFull, text));
        }
        self.bytes = bytes;
        self.pending = self.pending.saturating_add(1);
        let first = self.messages.is_empty();
        self.messages.push_back(message);
        Ok(first)
    }

    /// Takes the messages that go next, so many at most; they stay counted until [`Queue::done`].
    pub fn take(&mut self, limit: usize) -> Vec<Message> {
        let mut batch = Vec::new();
        let mut bytes = 0_usize;
        while let Some(message) = self.messages.front() {
            bytes = bytes.saturating_add(message.cost());
            if batch.len() >= limit || (bytes > BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            batch.extend(self.messages.pop_front());
        }
        batch
    }

    /// Puts messages back that were taken, to the front and in their order.
    pub fn put_back(&mut self, batch: Vec<Message>) {
        for message in batch.into_iter().rev() {
            self.messages.push_front(message);
        }
    }

    /// Forgets messages that were taken.
    pub fn done(&mut self, batch: &[Message]) {
        let bytes: usize = batch.iter().map(Message::cost).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
        self.pending = self.pending.saturating_sub(batch.len());
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

    fn message(size: usize) -> Message {
        Message::new("s".into(), Vec::new(), vec![0; size]).unwrap()
    }

    #[test]
    fn both_bounds_hold_with_those_in_flight() {
        let mut queue = Queue::default();
        assert_eq!(queue.push(message(1), 2, 1 << 20), Ok(true));
        assert_eq!(queue.push(message(1), 2, 1 << 20), Ok(false));
        let batch = queue.take(BATCH);
        assert_eq!(batch.len(), 2);
        assert_eq!(queue.push(message(1), 2, 1 << 20).unwrap_err().code(), Code::QueueFull);
        queue.done(&batch);
        assert_eq!(queue.pending(), (0, 0));
        assert_eq!(queue.push(message(1), 2, 1 << 20), Ok(true));
        assert_eq!(queue.push(message(1 << 19), 9, 1 << 20), Ok(false));
        assert_eq!(queue.push(message(1 << 19), 9, 1 << 20).unwrap_err().code(), Code::QueueFull);
        assert_eq!(queue.push(message(1 << 20), 9, 1 << 20).unwrap_err().code(), Code::TooLarge);
    }

    #[test]
    fn batches_are_bounded_and_in_order() {
        let mut queue = Queue::default();
        for size in 0..BATCH + 1 {
            queue.push(message(size), 10_000, 1 << 30).unwrap();
        }
        let sizes: Vec<usize> = queue.take(BATCH).iter().map(|message| message.payload.len()).collect();
        assert_eq!(sizes, (0..BATCH).collect::<Vec<_>>());
        assert_eq!(queue.take(BATCH).len(), 1);
        queue.push(message(BATCH_BYTES * 2), 10_000, 1 << 30).unwrap();
        queue.push(message(1), 10_000, 1 << 30).unwrap();
        assert_eq!(queue.take(BATCH).len(), 1);
    }

    #[test]
    fn what_is_put_back_goes_first_again() {
        let mut queue = Queue::default();
        for size in 0..5 {
            queue.push(message(size), 10, 1 << 20).unwrap();
        }
        let batch = queue.take(3);
        queue.put_back(batch);
        let sizes: Vec<usize> = queue.take(BATCH).iter().map(|message| message.payload.len()).collect();
        assert_eq!(sizes, [0, 1, 2, 3, 4]);
        assert_eq!(queue.pending().0, 5);
    }

    #[test]
    fn a_closed_queue_refuses() {
        let mut queue = Queue::default();
        queue.close();
        assert_eq!(queue.push(message(1), 2, 1 << 20).unwrap_err().code(), Code::Closed);
    }
}
