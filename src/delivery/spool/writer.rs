//! The spool's thread: the only one that touches the disk.

use super::adoption::Adoption;
use super::answer::{Answer, Reply, pair};
use super::disk::Disk;
use super::failure::Failure;
use super::recovery::open_store;
use super::slot::Slot;
use super::state::Shared;
use super::store::{Append, Store};
use crate::config::SyncRule;
use crate::error::{Code, Error};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How much goes into one commit.
const MAX_BATCH: usize = 1024;
const MAX_BATCH_BYTES: usize = 8 << 20;
/// How often there is a look at ages, and how long the end of an entry may be on its way to the disk.
const TICK: Duration = Duration::from_secs(1);
/// A file that is larger than this and nearly empty gives its room back.
const ROOMY: u64 = 64 << 20;
const NEARLY_EMPTY: u64 = 1 << 20;

/// Work on the store: what it was to the store, and what tells the one who asked. A failure ends the store's use.
pub type Work = Box<dyn FnOnce(Result<&mut Store, Error>) -> (Result<(), Failure>, Box<dyn FnOnce()>) + Send>;

/// What the thread is asked to do.
pub enum Command {
    /// Keep this.
    Append(Append, Reply<u64>),
    /// These are delivered.
    Done(Vec<u64>),
    /// Something else.
    Work(Work),
}

/// The longest that messages are gathered where it is left to the disk's own pace.
const MOST_GROUPED: Duration = Duration::from_millis(5);

/// The thread's own part.
pub struct Writer {
    shared: Arc<Shared>,
    // In this order: the file is closed before its slot is let go.
    store: Option<(Store, Disk)>,
    slot: Option<Slot>,
    /// Whether a sync has failed since the queue was last written anew.
    is_doubtful: bool,
    retry_at: Instant,
    adoption: Adoption,
    /// What was delivered, as long as the disk may not know it: said again to a queue that was opened anew. Whoever reads is
    /// past these positions and would never come back to them.
    done: Vec<u64>,
    /// How long a round to the disk has taken, lately.
    took: Duration,
}

#[derive(Default)]
struct Batch {
    appends: Vec<Append>,
    replies: Vec<Reply<u64>>,
    bytes: usize,
    done: Vec<u64>,
}

impl Writer {
    /// One that has nothing open yet.
    pub fn new(shared: Arc<Shared>) -> Writer {
        let now = Instant::now();
        Writer {
            shared,
            slot: None,
            store: None,
            is_doubtful: false,
            retry_at: now,
            adoption: Adoption::new(),
            done: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Serves until no one can ask any more.
    pub fn run(mut self, commands: &Receiver<Command>) {
        self.open();
        let mut tick = Instant::now();
        loop {
            if Instant::now() >= tick {
                self.tick();
                tick = Instant::now() + TICK.min(self.shared.retry);
            }
            let is_moving = self.adopt();
            let wait = if is_moving { Duration::ZERO } else { tick.saturating_duration_since(Instant::now()) };
            match commands.recv_timeout(wait) {
                Ok(first) => {
                    let batch = self.gather(first, commands);
                    self.serve(batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.flush();
    }

    /// Takes what has come; with a rule of groups also what comes within their time.
    fn gather(&mut self, first: Command, commands: &Receiver<Command>) -> Batch {
        let group = match self.shared.options.sync {
            // Whoever comes first waits twice as long as for himself at most, and half as many rounds do.
            SyncRule::Group(0) => self.took.min(MOST_GROUPED),
            SyncRule::Group(ms) => Duration::from_millis(ms),
            SyncRule::Always | SyncRule::None => Duration::ZERO,
        };
        let until = Instant::now() + group;
        let mut batch = Batch::default();
        self.put(first, &mut batch);
        while batch.appends.len() < MAX_BATCH && batch.bytes < MAX_BATCH_BYTES {
            let is_waiting = !batch.appends.is_empty() && self.store.is_some();
            let left = if is_waiting { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            let Ok(next) = commands.recv_timeout(left) else { break };
            self.put(next, &mut batch);
        }
        batch
    }

    fn put(&mut self, command: Command, batch: &mut Batch) {
        match command {
            Command::Append(append, reply) => {
                batch.bytes = batch.bytes.saturating_add(append.bytes.len());
                batch.appends.push(append);
                batch.replies.push(reply);
            }
            Command::Done(positions) => batch.done.extend(positions),
            Command::Work(work) => {
                // Whoever asks sees what was done before; new entries can wait for their group.
                let done = std::mem::take(&mut batch.done);
                self.serve(Batch { done, ..Batch::default() });
                let before = self.entries();
                let (outcome, tell) = match &mut self.store {
                    Some((store, _)) => work(Ok(store)),
                    None => work(Err(self.shared.poisoned())),
                };
                self.settle(outcome);
                tell();
                if self.entries() > before {
                    self.shared.arrived();
                }
            }
        }
    }

    fn serve(&mut self, batch: Batch) {
        if batch.appends.is_empty() && batch.done.is_empty() {
            return;
        }
        self.done.extend(&batch.done);
        let began = Instant::now();
        let committed = match &mut self.store {
            Some((store, _)) => store.commit(&batch.appends, &batch.done),
            None => {
                self.shared.release(batch.appends.iter().map(|append| append.bytes.len()));
                batch.replies.iter().for_each(|reply| reply.give(Err(self.shared.poisoned())));
                return;
            }
        };
        let first = committed.as_ref().map(|first| *first).ok();
        if first.is_some() && !batch.appends.is_empty() {
            self.done.clear();
            self.took = (self.took.saturating_mul(3).saturating_add(began.elapsed())) / 4;
        }
        self.settle(committed.map(drop));
        self.shared.release(batch.appends.iter().map(|append| append.bytes.len()));
        for (place, reply) in (0..).zip(&batch.replies) {
            reply.give(first.map(|first: u64| first.saturating_add(place)).ok_or_else(|| self.shared.poisoned()));
        }
        if first.is_some() && !batch.appends.is_empty() {
            self.shared.arrived();
        }
    }

    /// Notes how something went: the counts, or that the store can't be used any more.
    fn settle(&mut self, outcome: Result<(), Failure>) {
        match outcome {
            Ok(()) => self.report(),
            Err(failure) => self.poison(&failure.to_string()),
        }
    }

    fn entries(&self) -> u64 {
        self.store.as_ref().map_or(0, |(store, _)| store.tallies().0.count)
    }

    fn report(&self) {
        if let Some((store, disk)) = &self.store {
            self.shared.count(store.tallies(), store.oldest_ms(), disk.syncs());
        }
    }

    fn poison(&mut self, reason: &str) {
        self.is_doubtful |= self.store.as_ref().is_some_and(|(_, disk)| disk.has_failed());
        self.store = None;
        self.retry_at = Instant::now() + self.shared.retry;
        let place = self.slot.as_ref().map_or(Path::new(&self.shared.options.directory), Slot::path);
        self.shared.poison(format!("{}: {reason}", place.display()));
    }

    /// Opens the queue: of the slot that is ours, or of the first one that is free. If it can't be opened nothing of it stays
    /// open, so that its file system can be mended.
    fn open(&mut self) {
        match self.try_open() {
            Ok(()) => {
                self.report();
                self.shared.opened();
                if self.entries() > 0 {
                    self.shared.arrived();
                }
            }
            Err(failure) => {
                self.poison(&failure.to_string());
                let _ = self.shared.take_lock();
                self.slot = None;
            }
        }
    }

    fn try_open(&mut self) -> Result<(), Failure> {
        if self.slot.is_none() {
            let directory = Path::new(&self.shared.options.directory);
            let (slot, refused) = match self.shared.place() {
                None => Slot::claim(directory)?,
                Some(place) => (Slot::claim_again(directory, &place)?, Vec::new()),
            };
            self.shared.refused(refused);
            self.shared.holds(&slot);
            self.slot = Some(slot);
        }
        let Some(slot) = &self.slot else { return Ok(()) };
        let (mut store, disk) = open_store(slot, &self.shared)?;
        self.shared.damaged(Slot::damaged(Path::new(&self.shared.options.directory)));
        store.commit(&[], &self.done)?;
        if self.is_doubtful {
            store.rewrite()?;
            self.is_doubtful = false;
        }
        self.store = Some((store, disk));
        Ok(())
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.store.is_none() && now >= self.retry_at {
            self.open();
        }
        self.expire();
        self.flush();
        // Without a queue of its own the former one would look like an orphan's.
        if self.store.is_some() {
            self.adoption.look(&self.shared);
        }
        self.give_room();
        self.report();
    }

    fn expire(&mut self) {
        let max_age_ms = self.shared.options.max_age_ms;
        let Some((store, _)) = self.store.as_mut().filter(|_| max_age_ms > 0) else { return };
        let now_ms = self.shared.now_ms();
        let outcome = loop {
            match store.expire(now_ms.saturating_sub(max_age_ms), now_ms) {
                Ok(expired) if expired.is_empty() => break Ok(()),
                Ok(expired) => self.shared.expired(&expired),
                Err(failure) => break Err(failure),
            }
        };
        self.settle(outcome);
    }

    fn flush(&mut self) {
        let Some((store, disk)) = &mut self.store else { return };
        let outcome = store.flush().and_then(|()| match self.shared.options.sync {
            // Nobody waits for it, but it should not take the kernel's half a minute either.
            SyncRule::None if disk.is_written() => Ok(disk.sync()?),
            _ => Ok(()),
        });
        if outcome.is_ok() {
            self.done.clear();
        }
        self.settle(outcome);
    }

    /// Takes in a part of what another has left behind. Whether there is more, and room for it.
    fn adopt(&mut self) -> bool {
        let Some((store, _)) = &mut self.store else { return false };
        let Some(load) = self.adoption.next(&self.shared, store) else { return false };
        let loaded = store.load(&load);
        let is_ours = loaded.is_ok();
        self.settle(loaded);
        if is_ours {
            self.adoption.taken(&self.shared, &load);
            if load.has_entries() {
                self.shared.arrived();
            }
        }
        is_ours
    }

    fn give_room(&mut self) {
        let Some((store, disk)) = &mut self.store else { return };
        let (entries, dead, _) = store.tallies();
        if disk.size() > ROOMY && entries.bytes.saturating_add(dead.bytes) < NEARLY_EMPTY {
            let outcome = store.compact();
            self.settle(outcome);
        }
    }
}

/// Work whose result is an answer.
pub fn work<T: Send + 'static>(
    ask: impl FnOnce(&mut Store) -> Result<T, Failure> + Send + 'static,
) -> (Command, Answer<T>) {
    let (reply, answer) = pair();
    let work: Work = Box::new(move |store| {
        let (outcome, result) = match store.map(ask) {
            Ok(Ok(result)) => (Ok(()), Ok(result)),
            Ok(Err(failure)) => {
                let error = Error::new(Code::SpoolIo, failure.to_string());
                (Err(failure), Err(error))
            }
            Err(poisoned) => (Ok(()), Err(poisoned)),
        };
        (outcome, Box::new(move || reply.give(result)))
    });
    (Command::Work(work), answer)
}
