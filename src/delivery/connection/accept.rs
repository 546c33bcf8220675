//! How messages come into the queue or onto the disk, and what a request waits for meanwhile.

use super::{Connection, lock};
use crate::config::{Endpoint, Overflow};
use crate::delivery::queue::{Bounds, Entry};
use crate::delivery::receipt::Receipt;
use crate::error::{Code, Error};
use crate::message::Message;
use crate::transport::Observer;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How large an ordinary message is, in bytes: a record with some metadata, and its headers.
const ORDINARY: usize = 4096;

impl Connection {
    /// Accepts a message: it is in memory, and will be delivered unless the process ends first; or on disk, where it survives
    /// that. Waits for the disk, or for room where `overflow` is `block`, as long as [`Connection::patience`] says; does not
    /// block otherwise. Gives what to wait for where `wait_ms` wants that.
    ///
    /// # Errors
    /// `queue_full`, `too_large`, `closed`, `spool_full`, `spool_io`.
    pub fn publish(&self, message: Message) -> Result<Option<Arc<Receipt>>, Error> {
        if self.backlog.get().is_some() {
            let (mut receipts, result) = self.publish_all(vec![message], Connection::patience(&self.endpoint));
            return result.map(|()| receipts.pop());
        }
        let receipt = (self.endpoint.wait_ms != 0).then(|| Arc::new(Receipt::default()));
        let entry = Entry::new(message, receipt.clone());
        let deadline = entry.accepted + Connection::patience_for(&self.endpoint);
        match self.push(entry, deadline) {
            Ok(first) => {
                if first {
                    self.ready.notify_one();
                }
                self.accepted.fetch_add(1, Ordering::Relaxed);
                Ok(receipt)
            }
            Err(error) => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                self.trouble(&error.to_string());
                Err(error)
            }
        }
    }

    /// Accepts messages, each as [`Connection::publish`] does and whatever becomes of the others: with one wait for the disk,
    /// until `deadline` at most, and one wake-up of the courier for all. The error is the first one that there was.
    pub fn publish_all(&self, messages: Vec<Message>, deadline: Instant) -> (Vec<Arc<Receipt>>, Result<(), Error>) {
        let (mut receipts, mut keeping, mut result) = (Vec::new(), Vec::new(), Ok(()));
        let (mut wake, mut accepted) = (false, 0);
        let mut refuse = |error: Error| {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            self.trouble(&error.to_string());
            if result.is_ok() {
                result = Err(error);
            }
        };
        for message in messages {
            let receipt = (self.endpoint.wait_ms != 0).then(|| Arc::new(Receipt::default()));
            match self.backlog.get() {
                // The disk tells the courier of it.
                Some(backlog) => match self.check_open().and_then(|()| backlog.append(&message, receipt)) {
                    Ok(kept) => keeping.push((backlog, kept)),
                    Err(error) => refuse(error),
                },
                None => match self.push(Entry::new(message, receipt.clone()), deadline) {
                    Ok(first) => {
                        wake |= first;
                        accepted += 1;
                        receipts.extend(receipt);
                    }
                    Err(error) => refuse(error),
                },
            }
            if wake && self.endpoint.overflow == Overflow::Block {
                // The next one may wait for the room that this one takes.
                self.ready.notify_one();
            }
        }
        if wake {
            self.ready.notify_one();
        }
        for (backlog, mut kept) in keeping {
            let receipt = kept.receipt.take();
            match backlog.kept(kept, deadline.saturating_duration_since(Instant::now())) {
                Ok(()) => {
                    accepted += 1;
                    receipts.extend(receipt);
                }
                Err(error) => refuse(error),
            }
        }
        self.accepted.fetch_add(accepted, Ordering::Relaxed);
        (receipts, result)
    }

    fn check_open(&self) -> Result<(), Error> {
        if lock(&self.queue).is_closed() {
            return Err(Error::new(Code::Closed, "this connection was closed"));
        }
        Ok(())
    }

    /// Whether there is room for one more message of an ordinary size.
    pub fn has_room(&self) -> bool {
        if let Some(backlog) = self.backlog.get() {
            return backlog.has_room(ORDINARY);
        }
        if self.endpoint.overflow == Overflow::DropOldest {
            return true;
        }
        let (messages, bytes) = lock(&self.queue).pending();
        let under = |number: usize, bound: u64| u64::try_from(number).unwrap_or(u64::MAX) < bound;
        under(messages, self.endpoint.max_pending)
            && under(bytes.saturating_add(ORDINARY), self.endpoint.max_pending_bytes)
    }

    /// Until when a request that comes now may wait for the disk or for room, all its messages together.
    pub fn patience(endpoint: &Endpoint) -> Instant {
        Instant::now() + Connection::patience_for(endpoint)
    }

    fn patience_for(endpoint: &Endpoint) -> Duration {
        Duration::from_millis(match &endpoint.spool {
            Some(spool) => spool.commit_timeout_ms,
            None if endpoint.overflow == Overflow::Block => endpoint.block_ms,
            None => 0,
        })
    }

    /// Puts an entry into the queue. Says whether someone must be woken for it.
    fn push(&self, mut entry: Entry, deadline: Instant) -> Result<bool, Error> {
        let bound = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let bounds = Bounds {
            messages: bound(self.endpoint.max_pending),
            bytes: bound(self.endpoint.max_pending_bytes),
            drop_oldest: self.endpoint.overflow == Overflow::DropOldest,
        };
        let mut queue = lock(&self.queue);
        loop {
            match queue.push(entry, bounds) {
                Ok(pushed) => {
                    drop(queue);
                    self.give_up(&pushed.dropped);
                    return Ok(pushed.wake);
                }
                Err(refused) => {
                    let (refused, error, dropped) = *refused;
                    let left = deadline.saturating_duration_since(Instant::now());
                    if error.code() != Code::QueueFull || left.is_zero() {
                        drop(queue);
                        if !dropped.is_empty() {
                            // Which may have made another one ready.
                            self.ready.notify_one();
                            self.give_up(&dropped);
                        }
                        return Err(error);
                    }
                    entry = refused;
                    let waited = self.room.wait_timeout(queue, left);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}
