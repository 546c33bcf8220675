//! How soon one batch follows another: what comes one by one under load goes out together.
//!
//! Each batch wakes a thread, writes to the server, and reads its confirmation, which costs more than all the rest of a message's
//! way, on processors that the gateway needs. So the first message after a pause goes out at once, and those that come right
//! after it wait a little for each other. They are in the queue meanwhile as they always are, and no request waits for them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long lies between the beginnings of two batches, unless there is much to send.
const GAP: Duration = Duration::from_millis(4);
/// So many messages are much.
const MUCH: usize = 256;

/// When the last batch was taken, and whether the next one has to wait.
#[derive(Default)]
pub struct Pace {
    last: Mutex<Option<Instant>>,
    hurried: Notify,
}

impl Pace {
    /// Whether so few messages, at least one, can wait for more, where `room` is how many there may be in all.
    pub fn suits(waiting: usize, room: u64) -> bool {
        let waiting_of = u64::try_from(waiting).unwrap_or(u64::MAX).saturating_mul(4);
        waiting > 0 && waiting < MUCH && waiting_of < room
    }

    /// Waits until it is time for the next batch, or until someone is in a hurry. May be dropped at any time.
    pub async fn wait(&self) {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = last.map(|last| last + GAP).filter(|until| *until > Instant::now()) {
            let _ = tokio::time::timeout_at(until.into(), self.hurried.notified()).await;
        }
    }

    /// Notes that a batch was taken.
    pub fn taken(&self, now: Instant) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Someone waits for what is in the queue.
    pub fn hurry(&self) {
        self.hurried.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_messages_wait_and_many_do_not() {
        let suits = |waiting| Pace::suits(waiting, 1000);
        assert_eq!([0, 1, 249, 250, 256].map(suits), [false, true, true, false, false]);
        assert!(!Pace::suits(1, 4) && Pace::suits(1, 5));
    }

    #[test]
    fn the_first_batch_waits_for_nothing_and_the_next_until_it_is_time_or_someone_is_in_a_hurry() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let pace = Pace::default();
            let since = Instant::now();
            pace.wait().await;
            pace.taken(since);
            pace.wait().await;
            assert!(since.elapsed() >= GAP);
            // It is later now: the next one need not wait.
            assert!(futures_util::FutureExt::now_or_never(pace.wait()).is_some());
            pace.taken(Instant::now() + Duration::from_secs(3600));
            assert!(futures_util::FutureExt::now_or_never(pace.wait()).is_none());
            pace.hurry();
            pace.wait().await;
        });
    }
}
