//! What comes to an end on the runtime's thread while a script does something else, or waits for it.

use crate::error::{Code, Error};
use crate::value::{Class, Object, Value};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How much longer than it is to take something is waited for; the thread that ends it has other work too.
const GRACE: Duration = Duration::from_millis(500);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A result that is still to come. Whoever makes one sees to it that it comes within the limit.
pub struct Promise {
    state: Mutex<State>,
    ended: Condvar,
    /// Wakes those who wait on the runtime.
    told: Notify,
    /// When it ends at the latest.
    deadline: Instant,
}

#[derive(Default)]
struct State {
    result: Option<Result<Value, Error>>,
    /// Whom to tell of the end, and by which number.
    bells: Vec<(Weak<Poller>, i64)>,
    /// What to do when the one who waits gives up.
    cancel: Option<Box<dyn FnOnce() + Send>>,
}

impl Object for Promise {
    fn class(&self) -> Class {
        Class::Future
    }
}

impl Promise {
    /// One that ends within `limit`.
    pub fn new(limit: Duration) -> Promise {
        let deadline = Instant::now().checked_add(limit.saturating_add(GRACE)).unwrap_or_else(Instant::now);
        Promise { state: Mutex::default(), ended: Condvar::new(), told: Notify::new(), deadline }
    }

    /// Has something done when it is cancelled before its end.
    pub fn on_cancel(&self, cancel: impl FnOnce() + Send + 'static) {
        lock(&self.state).cancel = Some(Box::new(cancel));
    }

    /// Ends it; the first end counts.
    pub fn end(&self, result: Result<Value, Error>) -> bool {
        let mut state = lock(&self.state);
        if state.result.is_some() {
            return false;
        }
        state.result = Some(result);
        let (bells, cancel) = (std::mem::take(&mut state.bells), state.cancel.take());
        drop(state);
        self.ended.notify_all();
        self.told.notify_waiters();
        for (poller, number) in bells {
            if let Some(poller) = poller.upgrade() {
                poller.ring(number);
            }
        }
        drop(cancel);
        true
    }

    /// Ends it with `cancelled`, unless it has ended. Says whether that was so.
    pub fn cancel(&self) -> bool {
        let cancel = lock(&self.state).cancel.take();
        let cancelled = self.end(Err(Error::new(Code::Cancelled, "the script has cancelled this")));
        if let Some(cancel) = cancel.filter(|_| cancelled) {
            cancel();
        }
        cancelled
    }

    /// What it has come to, if it has ended. Does not block.
    pub fn result(&self) -> Option<Result<Value, Error>> {
        lock(&self.state).result.clone()
    }

    /// Whether it has ended.
    pub fn is_done(&self) -> bool {
        lock(&self.state).result.is_some()
    }

    /// Waits for the end, for `limit` at most and not beyond the promise's own; none if it has not come by then. Blocks.
    pub fn wait(&self, limit: Option<Duration>) -> Option<Result<Value, Error>> {
        let own = self.deadline.saturating_duration_since(Instant::now());
        let wait = limit.map_or(own, |limit| limit.min(own));
        let state = lock(&self.state);
        let waited = self.ended.wait_timeout_while(state, wait, |state| state.result.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.result.clone()
    }

    /// Waits on the runtime for the end, until `deadline`; none if it has not come by then.
    pub async fn ended(&self, deadline: Instant) -> Option<Result<Value, Error>> {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if let Some(result) = self.result() {
                return Some(result);
            }
            if tokio::time::timeout_at(deadline.into(), told).await.is_err() {
                return self.result();
            }
        }
    }

    /// Waits for the end. Blocks as long as the promise's own limit.
    ///
    /// # Errors
    /// What it has come to; `timeout` if it has not ended in time, which it should have.
    pub fn conclude(&self) -> Result<Value, Error> {
        let late = || Err(Error::new(Code::Timeout, "the thread rgw_nats has not come to it in time"));
        self.wait(None).unwrap_or_else(late)
    }
}

impl Drop for Promise {
    /// Nobody can ask for its result any more, and a poller must not wait for it.
    fn drop(&mut self) {
        self.cancel();
    }
}

/// How many futures one poller may watch at a time.
const MAX_WATCHED: usize = 1 << 20;

/// Waits for the first of many promises.
#[derive(Default)]
pub struct Poller {
    state: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Default)]
struct Rung {
    /// The numbers of those that have ended.
    numbers: VecDeque<i64>,
    /// How many have not.
    watched: usize,
}

impl Object for Poller {
    fn class(&self) -> Class {
        Class::Poller
    }
}

impl Poller {
    /// Watches a promise, under a number of the caller's.
    ///
    /// # Errors
    /// `queue_full`, if it watches a million already.
    pub fn add(self: &Arc<Poller>, promise: &Promise, number: i64) -> Result<(), Error> {
        {
            let mut rung = lock(&self.state);
            if rung.watched.saturating_add(rung.numbers.len()) >= MAX_WATCHED {
                return Err(Error::new(Code::QueueFull, format!("this poller watches {MAX_WATCHED} futures")));
            }
            rung.watched = rung.watched.saturating_add(1);
        }
        let mut state = lock(&promise.state);
        if state.result.is_none() {
            state.bells.push((Arc::downgrade(self), number));
        } else {
            drop(state);
            self.ring(number);
        }
        Ok(())
    }

    fn ring(&self, number: i64) {
        let mut rung = lock(&self.state);
        rung.watched = rung.watched.saturating_sub(1);
        rung.numbers.push_back(number);
        drop(rung);
        self.changed.notify_all();
    }

    /// The numbers of those that have ended, `most` of them, and takes these off; waits for the first one, for `limit` at
    /// most. None if there is none by then, or none is watched. Blocks.
    pub fn wait(&self, most: usize, limit: Duration) -> Vec<i64> {
        let state = lock(&self.state);
        let none = |rung: &mut Rung| rung.numbers.is_empty() && rung.watched > 0;
        let waited = self.changed.wait_timeout_while(state, limit, none);
        let mut rung = waited.unwrap_or_else(PoisonError::into_inner).0;
        let count = most.min(rung.numbers.len());
        rung.numbers.drain(..count).collect()
    }

    /// How many it watches that have not been taken off.
    pub fn len(&self) -> usize {
        let rung = lock(&self.state);
        rung.watched.saturating_add(rung.numbers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_counts_and_who_waits_gets_it() {
        let promise = Arc::new(Promise::new(Duration::from_secs(60)));
        assert!(promise.result().is_none() && !promise.is_done());
        assert!(promise.wait(Some(Duration::from_millis(1))).is_none());
        let other = promise.clone();
        let waiting = std::thread::spawn(move || other.conclude());
        assert!(promise.end(Ok(Value::Integer(1))));
        assert!(!promise.end(Ok(Value::Integer(2))) && !promise.cancel());
        assert_eq!(format!("{:?}", waiting.join().unwrap()), "Ok(Integer(1))");
        assert_eq!(format!("{:?}", promise.result()), "Some(Ok(Integer(1)))");
    }

    #[test]
    fn one_that_is_cancelled_says_so_and_stops_what_it_stands_for() {
        let promise = Promise::new(Duration::ZERO);
        let stopped = Arc::new(Mutex::new(false));
        let other = stopped.clone();
        promise.on_cancel(move || *other.lock().unwrap() = true);
        assert!(promise.cancel() && *stopped.lock().unwrap());
        assert_eq!(promise.conclude().unwrap_err().code(), Code::Cancelled);
    }

    #[test]
    fn one_that_nobody_holds_stops_what_it_stands_for_and_tells_its_poller() {
        let (promise, poller) = (Promise::new(Duration::from_secs(60)), Arc::new(Poller::default()));
        let stopped = Arc::new(Mutex::new(false));
        let other = stopped.clone();
        promise.on_cancel(move || *other.lock().unwrap() = true);
        poller.add(&promise, 7).unwrap();
        drop(promise);
        assert!(*stopped.lock().unwrap());
        assert_eq!(poller.wait(9, Duration::from_secs(60)), [7]);
    }

    #[test]
    fn a_poller_tells_of_each_end_once() {
        let poller = Arc::new(Poller::default());
        assert!(poller.wait(9, Duration::from_secs(60)).is_empty(), "nothing is watched: no wait");
        let promises: Vec<Promise> = (0..3).map(|_| Promise::new(Duration::from_secs(60))).collect();
        assert!(promises[2].end(Ok(Value::Nil)));
        for (number, promise) in (0..).zip(&promises) {
            poller.add(promise, number).unwrap();
        }
        assert_eq!(poller.wait(9, Duration::from_secs(60)), [2]);
        assert!(poller.wait(9, Duration::from_millis(1)).is_empty());
        std::thread::scope(|scope| {
            scope.spawn(|| promises[0].end(Ok(Value::Nil)));
            assert_eq!(poller.wait(9, Duration::from_secs(60)), [0]);
        });
        promises[1].cancel();
        assert_eq!((poller.len(), poller.wait(9, Duration::ZERO), poller.len()), (1, vec![1], 0));
    }
}
