//! The durable queue: what was appended is on disk, in order, until it is done or a dead letter.
//!
//! Knows bytes and positions; nothing of subjects, NATS, S3 or Lua. One thread of its own, `rgw_nats_spool`, does all that
//! touches the disk; every method here hands it a command and returns at once. What comes back is an [`Answer`], which can
//! be awaited, or waited for with a deadline.
//!
//! Several processes, and several copies of this library in one, share a directory: each has a numbered slot of its own
//! under it, and takes over those that no one holds any more. After a crash an entry may be delivered once more, since the
//! end of an entry is not waited for; none is lost that its [`Answer`] has said to be kept.

mod adoption;
mod answer;
mod dead;
mod disk;
mod entry;
mod failure;
mod recovery;
mod slot;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod upkeep;
mod writer;

pub use answer::Answer;
pub use dead::Which;
pub use entry::{DeadLetter, Entry};
pub use state::News;

use crate::config::Spool as Options;
use crate::error::{Code, Error};
use crate::thread;
use crate::value::Value;
use answer::pair;
use state::Shared;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store::Append;
use writer::{Command, Writer, work};

/// After how long a slot that failed is tried again; orphans are looked for half as often.
const RETRY: Duration = Duration::from_secs(5);
/// How many bytes of dead letters come at once.
const MAX_PAGE: usize = 8 << 20;

/// A durable queue. See the module.
pub struct Spool {
    shared: Arc<Shared>,
    thread: Mutex<Option<Thread>>,
    process: u32,
}

struct Thread {
    commands: Sender<Command>,
    handle: JoinHandle<()>,
    ended: Answer<()>,
    since: Instant,
}

impl Thread {
    fn start(shared: &Arc<Shared>) -> Result<Thread, Error> {
        let (commands, receiver) = channel();
        let (reply, ended) = pair();
        let writer = Writer::new(shared.clone());
        let handle = thread::start("rgw_nats_spool", move || {
            writer.run(&receiver);
            reply.give(Ok(()));
        });
        let failed = |error| Error::new(Code::NoResources, format!("the spool's thread can't be started: {error}"));
        Ok(Thread { commands, handle: handle.map_err(failed)?, ended, since: Instant::now() })
    }
}

impl Spool {
    /// Starts the thread, which opens a slot; what is appended meanwhile waits for that. `clock` gives milliseconds since
    /// 1970. `on_news` is called on the thread whenever there are new entries to read, those of an earlier process and of
    /// adopted slots among them, and when some were too old; it must not block.
    ///
    /// # Errors
    /// `no_resources`. That the disk is away shows in the answers and in [`Spool::status`].
    pub fn start(
        options: Options,
        clock: fn() -> u64,
        on_news: impl Fn(News<'_>) + Send + Sync + 'static,
    ) -> Result<Spool, Error> {
        Spool::start_with(Shared::new(options, RETRY, clock, Box::new(on_news)))
    }

    fn start_with(shared: Shared) -> Result<Spool, Error> {
        let shared = Arc::new(shared);
        let thread = Mutex::new(Some(Thread::start(&shared)?));
        Ok(Spool { shared, thread, process: std::process::id() })
    }

    /// Whether this is the process that started it. A forked child must use no other method than [`Spool::forked`].
    pub fn is_of_this_process(&self) -> bool {
        self.process == std::process::id()
    }

    /// In a forked child: lets go of the descriptor that holds the slot, so that the slot is free when the parent ends. Is
    /// safe in a handler of fork.
    pub fn forked(&self) {
        if let Some(descriptor) = self.shared.take_lock().filter(|_| !self.is_of_this_process()) {
            // SAFETY: the descriptor is the child's copy of the lock's; its owner's thread is not in this process.
            unsafe { libc::close(descriptor) };
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<Thread>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, command: Command) -> Result<(), Error> {
        let closed = |text| Error::new(Code::Closed, text);
        if !self.is_of_this_process() {
            return Err(closed("this spool is that of the process that has forked"));
        }
        let mut thread = self.thread();
        let running = thread.as_mut().ok_or_else(|| closed("the spool is closed"))?;
        if running.handle.is_finished() && running.since.elapsed() >= self.shared.retry {
            self.shared.release_all();
            *running = Thread::start(&self.shared)?;
        }
        let ended = |_| Error::new(Code::SpoolIo, "the spool's thread has ended and will be started anew");
        running.commands.send(command).map_err(ended)
    }

    fn ask<T: Send + 'static>(&self, (command, answer): (Command, Answer<T>)) -> Answer<T> {
        match self.send(command) {
            Ok(()) => answer,
            Err(error) => {
                let (reply, answer) = pair();
                reply.give(Err(error));
                answer
            }
        }
    }

    /// Hands an entry to the thread; the answer is its position, once it is kept as the `sync` rule says. Does not block.
    ///
    /// When the wait for the answer ends early, or the answer is `spool_io`, the entry may be kept nonetheless, and is then
    /// read and delivered as any other: to append it again makes two of it.
    ///
    /// # Errors
    /// `spool_full`, `spool_io`, `closed`: the entry was not taken.
    pub fn append(&self, bytes: Vec<u8>) -> Result<Answer<u64>, Error> {
        self.shared.reserve(bytes.len())?;
        let (reply, answer) = pair();
        let size = bytes.len();
        let append = Append { accepted_ms: self.shared.now_ms(), bytes };
        self.send(Command::Append(append, reply)).inspect_err(|_| self.shared.release([size]))?;
        Ok(answer)
    }

    /// Appends an entry and waits until it is kept, for `commit_timeout_ms` at most: for tests, which are nobody's request.
    ///
    /// # Errors
    /// As [`Spool::append`], and `spool_io` when the time is over.
    #[cfg(test)]
    pub fn keep(&self, bytes: Vec<u8>) -> Result<u64, Error> {
        self.append(bytes)?.wait(Duration::from_millis(self.shared.options.commit_timeout_ms))
    }

    /// The entries after a position, in order: so many at most, and of so many bytes, but one at least if there is one.
    pub fn read(&self, after: u64, max_entries: usize, max_bytes: usize) -> Answer<Vec<Entry>> {
        self.ask(work(move |store| store.read(after, max_entries, max_bytes)))
    }

    /// Removes entries that are delivered, within a second. One that is removed too late is delivered once more.
    ///
    /// # Errors
    /// `spool_io`, `closed`.
    pub fn done(&self, positions: Vec<u64>) -> Result<(), Error> {
        self.send(Command::Done(positions))
    }

    /// Counts a failed delivery of each.
    pub fn count_attempts(&self, positions: Vec<u64>) -> Answer<()> {
        self.ask(work(move |store| store.count_attempts(&positions)))
    }

    /// Moves entries to the dead letters; how many there were.
    pub fn bury(&self, positions: Vec<u64>, reason: String) -> Answer<u64> {
        let now_ms = self.shared.now_ms();
        self.ask(work(move |store| store.bury(&positions, &reason, now_ms)))
    }

    /// The dead letters after a position, in the order in which they were accepted: so many at most.
    pub fn dead_letters(&self, after: u64, limit: usize) -> Answer<Vec<DeadLetter>> {
        self.ask(work(move |store| store.dead(after, limit, MAX_PAGE)))
    }

    /// Puts dead letters back at the end of the queue, as replays with new positions; how many there were.
    pub fn replay(&self, positions: Vec<u64>) -> Answer<u64> {
        let now_ms = self.shared.now_ms();
        self.ask(work(move |store| store.replay(&positions, now_ms)))
    }

    /// Removes dead letters for good; how many.
    pub fn purge(&self, which: Which) -> Answer<u64> {
        self.ask(work(move |store| store.purge(&which)))
    }

    /// Whether there is room for an entry of this size at the moment.
    pub fn has_room(&self, size: usize) -> bool {
        self.shared.reserve(size).inspect(|()| self.shared.release([size])).is_ok()
    }

    /// How much is kept that is not done; dead letters aside.
    pub fn waiting(&self) -> u64 {
        self.shared.waiting()
    }

    /// All that is known of the spool, as `status()` shows it. Does not wait for the disk.
    pub fn status(&self) -> Value {
        self.shared.status()
    }

    /// Takes nothing more, and waits so long at most until everything that was taken is on disk and the slot is free.
    /// Whether that is so.
    pub fn close(&self, limit: Duration) -> bool {
        let Some(Thread { commands, ended, .. }) = self.thread().take() else { return true };
        drop(commands);
        ended.wait(limit).is_ok()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            // The channel's other end is in a thread that this process does not have.
            std::mem::forget(self.thread().take());
        }
    }
}
