//! What a request waits for: whether the server has its message.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Shared by the one who waits and the message.
#[derive(Debug, Default)]
pub struct Receipt {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Receipt {
    /// Notes that the message is with the server, or lost for good.
    pub fn end(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits for that, so long at most. Blocks.
    pub fn wait(&self, limit: Duration) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(ended, limit, |ended| !*ended));
    }
}
