//! Messages that come in for a script: a bounded queue, filled for as long as the script holds on to it.

use super::received::Received;
use super::session::{Live, Session, denied};
use crate::error::{Code, Error};
use async_nats::Subscriber;
use futures_util::{FutureExt, StreamExt};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, watch};

/// What becomes of a message that finds no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowConsumer {
    /// It is dropped, as NATS itself would drop it.
    #[default]
    DropNew,
    /// The oldest make room for it.
    DropOldest,
    /// The subscription ends.
    End,
}

/// What a subscription is for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// A subject, with wildcards or without.
    pub subject: String,
    /// The group among whose members messages are shared out.
    pub queue_group: Option<String>,
    /// How many messages may lie here.
    pub capacity: usize,
    /// How many bytes of them.
    pub capacity_bytes: usize,
    /// What becomes of one too many.
    pub slow_consumer: SlowConsumer,
}

/// How long a subscription is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// For good.
    Stay,
    /// Until so many messages have come in.
    After(u64),
    /// Until what is on its way has come in.
    Drain,
    /// No longer.
    End,
}

/// A subscription that the connection which is up has taken.
pub struct Begun {
    live: Live,
    subscriber: Subscriber,
    /// When it was asked for: the server may deny it before anyone listens for that.
    since: Instant,
}

/// A subscription, on the connection that is up, and on those that follow.
pub struct Subscription {
    wanted: Wanted,
    state: Mutex<State>,
    arrived: Notify,
    wish: watch::Sender<Wish>,
    /// The number of the connection that has it.
    taken: watch::Sender<Option<u64>>,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Received>,
    bytes: usize,
    received: u64,
    dropped: u64,
    /// Why nothing more comes.
    ended: Option<Error>,
}

/// The numbers of a subscription.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    /// How many messages lie here.
    pub pending: usize,
    /// How many bytes of them.
    pub pending_bytes: usize,
    /// How many have come in.
    pub received: u64,
    /// How many of these found no room.
    pub dropped: u64,
    /// Whether more may come.
    pub is_open: bool,
}

impl Subscription {
    /// One that a task must [`run`](Subscription::run).
    pub fn new(wanted: Wanted) -> Subscription {
        Subscription {
            wanted,
            state: Mutex::default(),
            arrived: Notify::new(),
            wish: watch::Sender::new(Wish::Stay),
            taken: watch::Sender::new(None),
        }
    }

    /// The subject.
    pub fn subject(&self) -> &str {
        &self.wanted.subject
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message, if one lies here. Does not block.
    ///
    /// # Errors
    /// `closed`, `denied`, `queue_full` (it ended for want of room): nothing lies here, and nothing more comes.
    pub fn take(&self) -> Result<Option<Received>, Error> {
        let mut state = self.state();
        if let Some(message) = state.messages.pop_front() {
            state.bytes = state.bytes.saturating_sub(message.cost());
            return Ok(Some(message));
        }
        state.ended.clone().map_or(Ok(None), Err)
    }

    /// The next message, until `deadline`.
    ///
    /// # Errors
    /// `timeout`, and those of [`Subscription::take`].
    pub async fn next(&self, deadline: Instant) -> Result<Received, Error> {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            if tokio::time::timeout_at(deadline.into(), arrived).await.is_err() {
                return match self.take()? {
                    Some(message) => Ok(message),
                    None => Err(Error::new(Code::Timeout, format!("{}: no message in time", self.wanted.subject))),
                };
            }
        }
    }

    /// The numbers.
    pub fn tally(&self) -> Tally {
        let state = self.state();
        Tally {
            pending: state.messages.len(),
            pending_bytes: state.bytes,
            received: state.received,
            dropped: state.dropped,
            is_open: state.ended.is_none(),
        }
    }

    /// Ends it after so many messages in all; at once, without what lies here, with 0.
    pub fn unsubscribe(&self, after: u64) {
        if after == 0 {
            self.finish(closed());
            let mut state = self.state();
            state.messages.clear();
            state.bytes = 0;
            drop(state);
            self.wish.send_replace(Wish::End);
        } else {
            self.wish.send_replace(Wish::After(after));
        }
    }

    /// Has no more sent; what is on its way still comes in.
    pub fn drain(&self) {
        self.wish.send_replace(Wish::Drain);
    }

    /// Waits until nothing more comes in.
    pub async fn ended(&self) {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if self.state().ended.is_some() {
                return;
            }
            arrived.await;
        }
    }

    /// Waits until a connection has it, or nothing more comes in.
    pub(super) async fn is_taken(&self, live: &Live) {
        let mut taken = self.taken.subscribe();
        let _ = taken.wait_for(|taken| *taken == Some(live.number) || self.state().ended.is_some()).await;
    }

    fn finish(&self, why: Error) {
        self.state().ended.get_or_insert(why);
        self.arrived.notify_waiters();
        self.taken.send_replace(None);
    }

    /// Subscribes, if there is a connection; what is published after that comes behind it.
    pub fn begin(&self, session: &Session) -> Option<Begun> {
        let live = session.now()?;
        let begun = self.subscribe(live).now_or_never()??;
        self.taken.send_replace(Some(begun.live.number));
        Some(begun)
    }

    async fn subscribe(&self, live: Live) -> Option<Begun> {
        let (subject, since) = (self.wanted.subject.clone(), Instant::now());
        let subscribed = match &self.wanted.queue_group {
            Some(group) => live.client.queue_subscribe(subject, group.clone()).await,
            None => live.client.subscribe(subject).await,
        };
        Some(Begun { live, subscriber: subscribed.ok()?, since })
    }

    /// Takes in messages until it is ended; `begun` is what [`Subscription::begin`] gave.
    pub async fn run(self: Arc<Subscription>, session: Arc<Session>, begun: Option<Begun>) {
        let mut wish = self.wish.subscribe();
        let mut begun = begun;
        while self.state().ended.is_none() {
            let begun = match begun.take() {
                Some(begun) => begun,
                None => {
                    let live = tokio::select! {
                        biased;
                        _ = wish.wait_for(|wish| matches!(wish, Wish::End | Wish::Drain)) => None,
                        live = session.next() => live,
                    };
                    let Some(live) = live else { break };
                    match self.subscribe(live.clone()).await {
                        Some(begun) => {
                            self.taken.send_replace(Some(live.number));
                            begun
                        }
                        None => {
                            session.is_over(&live).await;
                            continue;
                        }
                    }
                }
            };
            self.fill(&session, begun, &mut wish).await;
        }
        self.finish(closed());
    }

    /// Takes in messages over one connection.
    async fn fill(&self, session: &Session, begun: Begun, wish: &mut watch::Receiver<Wish>) {
        let Begun { live, mut subscriber, since } = begun;
        let mut told = None;
        loop {
            let now = *wish.borrow_and_update();
            if told != Some(now) {
                let received = self.state().received;
                let done = match now {
                    Wish::Stay => Ok(()),
                    Wish::End => return self.finish(closed()),
                    Wish::After(after) if received >= after => return self.finish(closed()),
                    // The server counts from the beginning of this connection on.
                    Wish::After(after) => subscriber.unsubscribe_after(after.saturating_sub(received)).await,
                    Wish::Drain => subscriber.drain().await,
                };
                if done.is_err() {
                    return session.is_over(&live).await;
                }
                told = Some(now);
            }
            tokio::select! {
                message = subscriber.next() => {
                    let Some(message) = message else {
                        // The server has sent all that it was to send, or the connection is lost.
                        if matches!(now, Wish::Drain) {
                            self.finish(closed());
                        }
                        return;
                    };
                    self.put(message.into());
                    if matches!(now, Wish::After(after) if self.state().received >= after) || self.state().ended.is_some() {
                        return self.finish(closed());
                    }
                }
                changed = wish.changed() => if changed.is_err() { return },
                () = live.signals.denies_subscription(&self.wanted.subject, since) => {
                    return self.finish(denied(&self.wanted.subject));
                }
                () = session.is_over(&live) => return,
            }
        }
    }

    fn put(&self, message: Received) {
        let mut state = self.state();
        state.received = state.received.saturating_add(1);
        let cost = message.cost();
        let full = |state: &State| {
            state.messages.len() >= self.wanted.capacity
                || state.bytes.saturating_add(cost) > self.wanted.capacity_bytes
        };
        if full(&state) {
            match self.wanted.slow_consumer {
                SlowConsumer::DropOldest => {
                    while full(&state) {
                        let Some(oldest) = state.messages.pop_front() else { break };
                        state.bytes = state.bytes.saturating_sub(oldest.cost());
                        state.dropped = state.dropped.saturating_add(1);
                    }
                }
                SlowConsumer::DropNew => {
                    state.dropped = state.dropped.saturating_add(1);
                    return;
                }
                SlowConsumer::End => {
                    state.dropped = state.dropped.saturating_add(1);
                    let text = format!("{}: more messages came than were taken", self.wanted.subject);
                    drop(state);
                    return self.finish(Error::new(Code::QueueFull, text));
                }
            }
            if full(&state) {
                state.dropped = state.dropped.saturating_add(1);
                return;
            }
        }
        state.bytes = state.bytes.saturating_add(cost);
        state.messages.push_back(message);
        drop(state);
        self.arrived.notify_waiters();
    }
}

fn closed() -> Error {
    Error::new(Code::Closed, "this subscription has ended")
}
