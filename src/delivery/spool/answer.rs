//! What the spool's thread says to a question, for one who waits with a deadline as well as for a future.

use crate::error::{Code, Error};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

struct State<T> {
    result: Option<Result<T, Error>>,
    waker: Option<Waker>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    come: Condvar,
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A result that comes later. Can be awaited, or waited for.
#[must_use]
pub struct Answer<T>(Arc<Shared<T>>);

/// The other end: gives the result, at the latest when it is dropped.
pub struct Reply<T>(Arc<Shared<T>>);

/// An answer, and what fills it.
pub fn pair<T>() -> (Reply<T>, Answer<T>) {
    let state = Mutex::new(State { result: None, waker: None });
    let shared = Arc::new(Shared { state, come: Condvar::new() });
    (Reply(shared.clone()), Answer(shared))
}

impl<T> Reply<T> {
    /// Gives the result; the first one counts.
    pub fn give(&self, result: Result<T, Error>) {
        let mut state = self.0.state();
        state.result.get_or_insert(result);
        let waker = state.waker.take();
        drop(state);
        self.0.come.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let taken = Arc::strong_count(&self.0) == 1;
        if !taken {
            self.give(Err(Error::new(Code::SpoolIo, "the spool's thread has ended without an answer")));
        }
    }
}

impl<T> Answer<T> {
    /// Waits on this thread, so long at most.
    ///
    /// # Errors
    /// That of the spool; `spool_io` when the time is over, which says nothing about what the disk makes of it later.
    pub fn wait(self, limit: Duration) -> Result<T, Error> {
        let state = self.0.state();
        let (mut state, _) = self
            .0
            .come
            .wait_timeout_while(state, limit, |state| state.result.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        let late = || Error::new(Code::SpoolIo, format!("the disk has not answered within {} ms", limit.as_millis()));
        state.result.take().unwrap_or_else(|| Err(late()))
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state();
        match state.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_late_never_or_in_time() {
        let (reply, answer) = pair();
        reply.give(Ok(1));
        reply.give(Ok(2));
        assert_eq!(answer.wait(Duration::ZERO), Ok(1));
        let (_kept, answer) = pair::<u32>();
        assert_eq!(answer.wait(Duration::from_millis(1)).unwrap_err().code(), Code::SpoolIo);
        let (reply, answer) = pair::<u32>();
        let waiter = std::thread::spawn(move || answer.wait(Duration::from_secs(60)));
        drop(reply);
        assert!(waiter.join().unwrap().unwrap_err().to_string().contains("without an answer"));
    }

    #[test]
    fn an_answer_wakes_the_future() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (reply, answer) = pair();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            reply.give(Ok("it"));
        });
        assert_eq!(runtime.block_on(answer), Ok("it"));
        thread.join().unwrap();
    }
}
