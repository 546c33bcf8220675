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
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
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
    /// What to wait for, where that is wanted and there is room to remember who waits.
    pub receipt: Option<Arc<Receipt>>,
    answer: Answer<u64>,
}

/// What waits on disk.
pub struct Backlog {
    spool: Spool,
    clock: fn() -> u64,
    /// The position of the last entry that has gone to the queue.
    loaded: AtomicU64,
    /// Who waits to hear of a message, by a number that goes to the disk with it. Those of another process mean nothing.
    receipts: Receipts,
    numbers: AtomicU64,
    /// What was asked for and has not come yet: whoever asks again gets that, and the disk reads it once.
    loading: Mutex<Option<Answer<Vec<spool::Entry>>>>,
}

#[derive(Clone, Default)]
struct Receipts(Arc<Mutex<HashMap<u64, Arc<Receipt>>>>);

impl Receipts {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Receipt>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is kept of a message: the number of who waits for it, and the message.
fn parts(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk::<8>().map(|(number, message)| (u64::from_le_bytes(*number), message))
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
        let receipts = Receipts::default();
        let known = receipts.clone();
        let heard = move |news: spool::News<'_>| match news {
            spool::News::Arrived => on_news(News::Arrived),
            spool::News::Expired(entries) => {
                let parts = entries.iter().filter_map(|entry| Some((entry.position, parts(&entry.bytes)?)));
                let mut messages = Vec::new();
                for (position, (number, message)) in parts {
                    // Of what has not gone to the queue nobody else tells.
                    if let Some(receipt) = known.lock().remove(&number) {
                        receipt.end();
                    }
                    messages.extend(Message::decode(message).map(|message| (position, message)));
                }
                on_news(News::Expired(messages));
            }
        };
        Ok(Backlog {
            spool: Spool::start(options.clone(), clock, heard)?,
            clock,
            loaded: AtomicU64::new(0),
            receipts,
            loading: Mutex::default(),
            // No process begins where another one has begun.
            numbers: AtomicU64::new(clock().wrapping_shl(20)),
        })
    }

    /// Hands a message to the disk; [`Backlog::kept`] says whether it is there. Where too many wait already nobody waits for
    /// this one.
    ///
    /// # Errors
    /// `spool_full`, `spool_io`, `closed`.
    pub fn append(&self, message: &Message, receipt: Option<Arc<Receipt>>) -> Result<Keeping, Error> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let receipt = receipt.filter(|receipt| {
            let mut receipts = self.receipts.lock();
            let has_room = receipts.len() < MAX_RECEIPTS;
            if has_room {
                receipts.insert(number, receipt.clone());
            }
            has_room
        });
        let bytes = [&number.to_le_bytes()[..], &message.encode()].concat();
        let answer = self.spool.append(bytes).inspect_err(|_| {
            self.receipts.lock().remove(&number);
        })?;
        Ok(Keeping { number, receipt, answer })
    }

    /// Waits until a message is on disk, as the spool's `sync` says; so long at most.
    ///
    /// # Errors
    /// `spool_io`, `closed`.
    pub fn kept(&self, keeping: Keeping, limit: Duration) -> Result<(), Error> {
        keeping.answer.wait(limit).map(drop).inspect_err(|_| {
            self.receipts.lock().remove(&keeping.number);
        })
    }

    /// The entries that go to the queue next, as many as go out in one batch. May be dropped at any time.
    ///
    /// # Errors
    /// `spool_io`, `closed`.
    pub async fn load(&self) -> Result<Vec<Entry>, Error> {
        let found = std::future::poll_fn(|context| self.poll_loading(context)).await?;
        let (now, now_ms) = (Instant::now(), (self.clock)());
        let mut entries = Vec::with_capacity(found.len());
        for kept in found {
            self.loaded.store(kept.position, Ordering::Relaxed);
            let kept_parts = parts(&kept.bytes);
            let receipt = kept_parts.and_then(|(number, _)| self.receipts.lock().remove(&number));
            let Some(mut message) = kept_parts.and_then(|(_, message)| Message::decode(message)) else {
                if let Some(receipt) = receipt {
                    receipt.end();
                }
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
                receipt,
                is_turn: false,
                position: Some(kept.position),
            });
        }
        Ok(entries)
    }

    /// Forgets what was asked for: by the time that it is wanted it may be out of date.
    pub fn forget_loading(&self) {
        *self.loading.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn poll_loading(&self, context: &mut Context<'_>) -> Poll<Result<Vec<spool::Entry>, Error>> {
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || self.spool.read(self.loaded.load(Ordering::Relaxed), BATCH, BATCH_BYTES);
        let polled = Pin::new(loading.get_or_insert_with(read)).poll(context);
        if polled.is_ready() {
            *loading = None;
        }
        polled
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
