//! The one subscription at which the answers to all questions of a connection come in.
//!
//! async-nats has one of its own, which never forgets a question that nobody has answered.

use async_nats::Client;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Those who wait, by the number at the end of their reply subjects.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<async_nats::Message>>>>;

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<async_nats::Message>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The inbox of a connection.
pub struct Inbox {
    prefix: String,
    last: AtomicU64,
    waiting: Waiting,
}

/// One question's place in it, which is free again when this is dropped.
pub struct Place {
    number: u64,
    waiting: Waiting,
    answer: oneshot::Receiver<async_nats::Message>,
}

impl Inbox {
    /// Subscribes, on the runtime; what is published after that comes behind it. `over` ends with the connection. None if that
    /// is lost.
    pub async fn open(client: &Client, over: impl Future<Output = ()> + Send + 'static) -> Option<Inbox> {
        let prefix = format!("{}.", client.new_inbox());
        let mut answers = client.subscribe(format!("{prefix}*")).await.ok()?;
        let (waiting, start) = (Waiting::default(), prefix.len());
        let own = waiting.clone();
        tokio::spawn(async move {
            tokio::pin!(over);
            loop {
                let answer = tokio::select! {
                    answer = answers.next() => answer,
                    () = &mut over => None,
                };
                let Some(answer) = answer else { break };
                let number = answer.subject.get(start..).and_then(|number| number.parse().ok());
                // One that comes too late, or a second time, is nobody's.
                if let Some(place) = number.and_then(|number| lock(&own).remove(&number)) {
                    let _ = place.send(answer);
                }
            }
            lock(&own).clear();
        });
        Some(Inbox { prefix, last: AtomicU64::default(), waiting })
    }

    /// A place for one answer, and the subject where it is to go to.
    pub fn place(&self) -> (Place, String) {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(number, sender);
        (Place { number, waiting: self.waiting.clone(), answer }, format!("{}{number}", self.prefix))
    }
}

impl Place {
    /// Waits for the answer; none if the connection is lost.
    pub async fn answer(mut self) -> Option<async_nats::Message> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.number);
    }
}
