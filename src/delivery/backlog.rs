//! The messages of a connection that are on disk: from the spool to the queue and, when they are through, out of it.

use super::queue::{BATCH, BATCH_BYTES, Entry};
use super::receipt::Receipt;
use super::spool::{self, Answer, Spool, Which};
use crate::config;
use crate::error::Error;
use crate::log;
use crate::message::Message;
use crate::value::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many requests can wait for the delivery of what they have put on disk.
const MAX_RECEIPTS: usize = 10_000;

/// How long an administrator's call waits for the disk.
const DISK: Duration = Duration::from_secs(5);

/// What the disk tells by itself.
pub enum News {
    /// There is something to load.
    Arrived,
    /// These have become dead letters for their age; with their positions.
    Expired(Vec<(u64, Message)>),
}

/// A message on its way to the disk.
pub struct Keeping {
    number: u64,
    answer: Answer<u64>,
}

/// What waits on disk.
pub struct Backlog {
    spool: Spool,
    clock: fn() -> u64,
    /// The position of the last entry that has gone to the queue.
    loaded: AtomicU64,
    /// Who waits to hear of a message, by a number that goes to the disk with it. Those of another process mean nothing.
    receipts: Mutex<HashMap<u64, Arc<Receipt>>>,
    numbers: AtomicU64,
}

impl Backlog {
    /// Opens a spool. `clock` gives milliseconds since 1970; `on_news` is called on the disk's thread.
    ///
    /// # Errors
    /// `no_resources`. That the disk is away shows later.
    pub fn open(
        options: &config::Spool,
        clock: fn() -> u64,
        on_news: impl Fn(News) + Send + Sync + 'static,
    ) -> Result<Backlog, Error> {
        let heard = move |news: spool::News<'_>| match news {
            spool::News::Arrived => on_news(News::Arrived),
            spool::News::Expired(entries) => {
                let messages =
                    entries.iter().filter_map(|entry| Some((entry.position, Message::decode(entry.bytes.get(8..)?)?)));
                on_news(News::Expired(messages.collect()));
            }
        };
        Ok(Backlog {
            spool: Spool::start(options.clone(), clock, heard)?,
            clock,
            loaded: AtomicU64::new(0),
            receipts: Mutex::default(),
            // No process begins where another one has begun.
            numbers: AtomicU64::new(clock().wrapping_shl(20)),
        })
    }

    fn receipts(&self) -> MutexGuard<'_, HashMap<u64, Arc<Receipt>>> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a message to the disk; [`Backlog::kept`] says whether it is there.
    ///
    /// # Errors
    /// `spool_full`, `spool_io`, `closed`.
    pub fn append(&self, message: &Message, receipt: Option<Arc<Receipt>>) -> Result<Keeping, Error> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        if let Some(receipt) = receipt {
            let mut receipts = self.receipts();
            if receipts.len() < MAX_RECEIPTS {
                receipts.insert(number, receipt);
            }
        }
        let bytes = [&number.to_le_bytes()[..], &message.encode()].concat();
        let answer = self.spool.append(bytes).inspect_err(|_| {
            self.receipts().remove(&number);
        })?;
        Ok(Keeping { number, answer })
    }

    /// Waits until a message is on disk, as the spool's `sync` says; so long at most.
    ///
    /// # Errors
    /// `spool_io`, `closed`.
    pub fn kept(&self, keeping: Keeping, limit: Duration) -> Result<(), Error> {
        keeping.answer.wait(limit).map(drop).inspect_err(|_| {
            self.receipts().remove(&keeping.number);
        })
    }

    /// The entries that go to the queue next, as many as go out in one batch. May be dropped at any time.
    ///
    /// # Errors
    /// `spool_io`, `closed`.
    pub async fn load(&self) -> Result<Vec<Entry>, Error> {
        let found = self.spool.read(self.loaded.load(Ordering::Relaxed), BATCH, BATCH_BYTES).await?;
        let (now, now_ms) = (Instant::now(), (self.clock)());
        let mut entries = Vec::with_capacity(found.len());
        for kept in found {
            self.loaded.store(kept.position, Ordering::Relaxed);
            let decoded = kept
                .bytes
                .split_first_chunk::<8>()
                .and_then(|(number, bytes)| Some((u64::from_le_bytes(*number), Message::decode(bytes)?)));
            let Some((number, mut message)) = decoded else {
                self.bury(kept.position, "it is no message of this version");
                continue;
            };
            if kept.is_replay {
                message.rename(kept.position);
            }
            let age = Duration::from_millis(now_ms.saturating_sub(kept.accepted_ms));
            entries.push(Entry {
                epoch: None,
                message,
                accepted: now.checked_sub(age).unwrap_or(now),
                attempts: kept.attempts,
                receipt: self.receipts().remove(&number),
                position: Some(kept.position),
            });
        }
        Ok(entries)
    }

    /// Takes delivered messages off the disk.
    pub fn done(&self, positions: Vec<u64>) {
        if !positions.is_empty()
            && let Err(error) = self.spool.done(positions)
        {
            log::line(format_args!("{error}: what was delivered is still on disk, and is sent once more"));
        }
    }

    /// Counts attempts that came to nothing.
    pub fn failed(&self, positions: Vec<u64>) {
        if !positions.is_empty() {
            drop(self.spool.count_attempts(positions));
        }
    }

    /// Puts a message that will never be delivered with the dead letters.
    pub fn bury(&self, position: u64, reason: &str) {
        drop(self.spool.bury(vec![position], reason.to_owned()));
    }

    /// The dead letters after a position, so many at most, oldest first. Blocks for the disk.
    ///
    /// # Errors
    /// `spool_io`, `closed`.
    pub fn dead_letters(&self, after: u64, limit: usize) -> Result<Value, Error> {
        let letters = self.spool.dead_letters(after, limit).wait(DISK)?;
        Ok(Value::list(letters.into_iter().map(|letter| {
            let bytes = letter.entry.bytes.get(8..).unwrap_or_default();
            let message = Message::decode(bytes);
            let header = |message: &Message| message.headers.get("Nats-Msg-Id").unwrap_or_default().to_owned();
            let payload = message.as_ref().map(|message| message.payload.to_vec()).unwrap_or_default();
            Value::record([
                ("position", letter.entry.position.into()),
                ("reason", letter.reason.into()),
                ("subject", message.as_ref().map(|message| message.subject.clone()).unwrap_or_default().into()),
                ("id", message.as_ref().map(header).unwrap_or_default().into()),
                ("payload", Value::String(payload)),
                ("accepted_ms", letter.entry.accepted_ms.into()),
                ("died_ms", letter.died_ms.into()),
            ])
        })))
    }

    /// Puts dead letters back to be delivered, each with another id than it had; how many there were. Blocks for the disk.
    ///
    /// # Errors
    /// `spool_io`, `closed`.
    pub fn replay(&self, positions: Vec<u64>) -> Result<u64, Error> {
        self.spool.replay(positions).wait(DISK)
    }

    /// Removes dead letters for good; how many there were. Blocks for the disk.
    ///
    /// # Errors
    /// `spool_io`, `closed`.
    pub fn purge(&self, which: Which) -> Result<u64, Error> {
        self.spool.purge(which).wait(DISK)
    }

    /// Whether there is room for a message of so many bytes.
    pub fn has_room(&self, size: usize) -> bool {
        self.spool.has_room(size)
    }

    /// How many messages wait on disk.
    pub fn waiting(&self) -> u64 {
        self.spool.waiting()
    }

    /// Ends the spool, and waits so long at most until all that is known is on disk.
    pub fn close(&self, limit: Duration) {
        if !self.spool.close(limit) {
            log::line(format_args!("the spool did not end in time; what was delivered last may be sent once more"));
        }
    }

    /// In a forked child: lets go of what is the parent's.
    pub fn forked(&self) {
        self.spool.forked();
    }

    /// What `status()` shows of it.
    pub fn status(&self) -> Value {
        self.spool.status()
    }
}
