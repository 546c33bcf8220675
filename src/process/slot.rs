//! A configuration that is read on another thread: what is in force, what is wrong, and the requests that wait for it.

use crate::error::{Code, Error};
use crate::event::{Configuration, Moment, Request};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many requests can wait for the first reading, which takes some milliseconds.
const MAX_WAITING: usize = 1000;

/// How often those are looked for that came while others were published.
const MAX_ROUNDS: usize = 100;

/// What to do with a request.
pub enum Use {
    /// Publish it by this configuration.
    Now(Arc<Configuration>),
    /// Nothing: it is kept until the configuration has been read.
    Later,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Configuration>>,
    error: Option<Error>,
    /// Whether someone has waited for the reading in vain: nobody else does then.
    slow: bool,
    waiting: Vec<(Request, Moment)>,
}

/// The place of one configuration.
#[derive(Default)]
pub struct Slot {
    state: Mutex<State>,
    read: Condvar,
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration in force, for a request; what `request` gives is kept if there is none yet. `name` is for messages.
    ///
    /// # Errors
    /// What is wrong with the configuration, if it never was right; `queue_full` if too many requests wait for it.
    pub fn configuration(&self, name: &str, request: impl FnOnce() -> Option<(Request, Moment)>) -> Result<Use, Error> {
        let mut state = self.state();
        if let Some(configuration) = &state.current {
            return Ok(Use::Now(configuration.clone()));
        }
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        if state.waiting.len() >= MAX_WAITING {
            return Err(Error::new(Code::QueueFull, format!("{MAX_WAITING} requests wait for {name} to be read")));
        }
        state.waiting.extend(request());
        Ok(Use::Later)
    }

    /// Waits until it has been read once, so long at most.
    pub fn wait(&self, limit: Duration) {
        let unread = |state: &mut State| state.current.is_none() && state.error.is_none() && !state.slow;
        let waited = self.read.wait_timeout_while(self.state(), limit, unread);
        let (mut state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        state.slow |= result.timed_out();
    }

    /// Puts what was read in its place; the one before stays in force where this one is wrong. Publishes the requests that
    /// have waited, or says how many there were if there is nothing to publish them by.
    pub fn fill(
        &self,
        read: Result<Configuration, Error>,
        publish: impl Fn(&[(Request, Moment)], &Configuration),
    ) -> usize {
        let configuration = match read {
            Ok(configuration) => Arc::new(configuration),
            Err(error) => {
                let mut state = self.state();
                state.error = Some(error);
                let lost = if state.current.is_none() { std::mem::take(&mut state.waiting).len() } else { 0 };
                self.read.notify_all();
                return lost;
            }
        };
        // Those that have waited go first: a request that comes meanwhile waits too. At some time it must be enough.
        for round in 0.. {
            let mut state = self.state();
            let waiting = std::mem::take(&mut state.waiting);
            if waiting.is_empty() || round >= MAX_ROUNDS {
                (state.current, state.error) = (Some(configuration.clone()), None);
                self.read.notify_all();
            }
            drop(state);
            if waiting.is_empty() {
                break;
            }
            publish(&waiting, &configuration);
        }
        0
    }

    /// What is in force, if anything.
    pub fn current(&self) -> Option<Arc<Configuration>> {
        self.state().current.clone()
    }

    /// What was wrong at the last reading.
    pub fn error(&self) -> Option<Error> {
        self.state().error.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn request() -> Option<(Request, Moment)> {
        Some((Request::default(), Moment { nanos: 1, sequence: 1 }))
    }

    #[test]
    fn requests_wait_within_bounds_and_come_back_when_it_is_read() {
        let slot = Slot::default();
        for _ in 0..MAX_WAITING {
            assert!(matches!(slot.configuration("f", request), Ok(Use::Later)));
        }
        let full = slot.configuration("f", request).err().unwrap();
        assert_eq!(full.to_string(), "queue_full: 1000 requests wait for f to be read");
        let (configuration, _) = Configuration::read(&Value::record([("url", "nats://h".into())]));
        let published = std::cell::Cell::new(0);
        assert_eq!(slot.fill(Ok(configuration), |waiting, _| published.set(published.get() + waiting.len())), 0);
        assert_eq!(published.get(), MAX_WAITING);
        assert!(matches!(slot.configuration("f", request), Ok(Use::Now(_))));
        slot.fill(Err(Error::new(Code::BadConfig, "x")), |_, _| panic!("nothing waits"));
        assert!(matches!(slot.configuration("f", request), Ok(Use::Now(_))), "the one before stays in force");
        assert!(slot.error().is_some());
    }

    #[test]
    fn the_wait_for_a_reading_ends() {
        let slot = Arc::new(Slot::default());
        let other = slot.clone();
        let reader = std::thread::spawn(move || other.fill(Err(Error::new(Code::BadConfig, "x")), |_, _| {}));
        slot.wait(Duration::from_secs(60));
        assert!(slot.error().is_some());
        assert_eq!(reader.join().unwrap(), 0);
    }
}
