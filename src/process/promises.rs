//! What is promised to scripts: work on the runtime's thread, and the answers to their questions.

use super::{Process, generation, unless_ending};
use crate::error::{Code, Error};
use crate::promise::Promise;
use crate::value::Value;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How many calls of scripts can be under way at a time. Each takes about a kilobyte, until its time limit at most, whether
/// somebody waits for it or not.
const MAX_PROMISES: usize = 65_536;

/// Runs work on the runtime's thread and promises its result within `limit`; it goes on when nobody holds on to the promise.
/// Does not block.
///
/// # Errors
/// `no_resources` (so much is promised already, too); `closed` (the process is ending).
pub fn promise(
    limit: Duration,
    work: impl Future<Output = Result<Value, Error>> + Send + 'static,
) -> Result<Arc<Promise>, Error> {
    promised(limit, work, true)
}

/// As [`promise`], of what is for nobody else than who holds on to the promise, such as a wait: it ends when nobody does, and
/// lets go of what it waits at.
///
/// # Errors
/// As for [`promise`].
pub fn wish(
    limit: Duration,
    work: impl Future<Output = Result<Value, Error>> + Send + 'static,
) -> Result<Arc<Promise>, Error> {
    promised(limit, work, false)
}

fn promised(
    limit: Duration,
    work: impl Future<Output = Result<Value, Error>> + Send + 'static,
    lasts: bool,
) -> Result<Arc<Promise>, Error> {
    let counted = Counted::one(unless_ending()?)?;
    let promise = Arc::new(Promise::new(limit));
    let (own, held) = (Arc::downgrade(&promise), lasts.then(|| promise.clone()));
    let stop = counted.0.runtime.spawn(async move {
        let (_counted, _held) = (counted, held);
        let result = work.await;
        if let Some(own) = own.upgrade() {
            own.end(result);
        }
    });
    promise.on_cancel(stopping(stop));
    Ok(promise)
}

/// Promises what `then` makes of an answer within `limit`; it goes on when nobody holds on to the promise. `ask` asks, until a
/// deadline, and gives the number of the question and what must run on the runtime's thread for it, if anything; `cancel` takes
/// it back. Does not block.
///
/// # Errors
/// `no_resources` (so much is promised already); `closed` (the process is ending). What else goes wrong is the promise's.
pub fn answer<A: 'static, F: Future<Output = ()> + Send + 'static>(
    limit: Duration,
    ask: impl FnOnce(Instant, Box<dyn FnOnce(A) + Send>) -> (u64, Option<F>),
    cancel: impl FnOnce(u64) + Send + 'static,
    then: impl FnOnce(A) -> Result<Value, Error> + Send + 'static,
) -> Result<Arc<Promise>, Error> {
    let counted = Counted::one(unless_ending()?)?;
    let process = counted.0;
    let promise = Arc::new(Promise::new(limit));
    let held = Held { promise: promise.clone(), _counted: counted };
    let answered = move |answer| {
        let held = held;
        held.promise.end(then(answer));
    };
    let (number, run) = ask(Instant::now() + limit, Box::new(answered));
    if let Some(run) = run {
        process.runtime.spawn(run);
    }
    let own = generation();
    promise.on_cancel(move || {
        if generation() == own {
            cancel(number);
        }
    });
    Ok(promise)
}

/// A promise that somebody is to keep; one that nobody will keep any more says so.
struct Held {
    promise: Arc<Promise>,
    _counted: Counted,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.promise.end(Err(Error::new(Code::Disconnected, "the connection was lost on the way")));
    }
}

/// One of the promises that are not kept yet, for as long as it is there.
struct Counted(&'static Process);

impl Counted {
    fn one(process: &'static Process) -> Result<Counted, Error> {
        let counted = Counted(process);
        if process.promises.fetch_add(1, Ordering::Relaxed) < MAX_PROMISES {
            return Ok(counted);
        }
        let text = format!("{MAX_PROMISES} calls of scripts are under way; wait for them, or give them less time");
        Err(Error::new(Code::NoResources, text))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.promises.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What stops a task; in a forked process nothing, as the task is the parent's, and so are its locks.
fn stopping(task: tokio::task::AbortHandle) -> impl FnOnce() + Send + 'static {
    let own = generation();
    move || {
        if generation() == own {
            task.abort();
        }
    }
}
