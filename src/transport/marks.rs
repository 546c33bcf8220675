//! Marks: messages to an inbox of our own, behind each batch.
//!
//! NATS keeps the order of a connection: when a mark comes back, the server has read all that was sent before it. Where the
//! server is not to send back what we publish (`no_echo`), a mark asks for an answer: nobody has subscribed to its subject
//! but we, and the server says so.

use super::link::{LOOK_AGAIN, Link, Outcome};
use super::streams::{self, Reply};
use crate::error::{Code, Error};
use async_nats::StatusCode;
use futures_util::{FutureExt, StreamExt};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// What a mark has as its last token, where the acknowledgement of a message has a number.
pub(super) const MARK: &str = "mark";
/// How long the answer to a mark without an echo takes at most, unless somebody else hears the mark.
pub(super) const OVERHEARD: Duration = Duration::from_millis(250);
/// What every server answers (2.10 and newer), should somebody else hear our marks, as who subscribes to `>` does.
pub(super) const ASK_WHO: &str = "$SYS.REQ.USER.INFO";

/// How long a mark is waited for where the server may not have the subscription that it comes back by.
const DOUBT: Duration = Duration::from_secs(2);

impl Link {
    /// Sends a mark and returns its number; none if the connection is gone.
    pub(super) async fn mark(&mut self) -> Option<u64> {
        self.serial = self.serial.wrapping_add(1);
        let (mark, own) = (self.serial, self.mark_subject.clone());
        let bytes = mark.to_be_bytes().to_vec().into();
        let sent = if self.no_echo {
            let subject = if self.asks_who { ASK_WHO.to_owned() } else { own };
            self.client.publish_with_reply(subject, format!("{}.{MARK}-{mark}", self.inbox), bytes).await
        } else {
            self.client.publish(own, bytes).await
        };
        sent.is_ok().then_some(mark)
    }

    /// Waits until a mark has come back, or any that was sent after it; false if the connection was lost before.
    pub(super) async fn await_mark(&mut self, mark: u64) -> bool {
        let mut told = Instant::now();
        let begun = told;
        loop {
            let patience = if self.no_echo { self.ack_timeout.min(OVERHEARD) } else { self.ack_timeout };
            let deadline = Instant::now() + patience;
            loop {
                if self.is_lost() {
                    return false;
                }
                if self.marked >= mark {
                    return true;
                }
                if self.signals.unconfirmable.load(Ordering::Relaxed) {
                    // What is left is async-nats' own word that all is written.
                    let flushed = tokio::select! {
                        flushed = self.client.flush() => flushed.is_ok(),
                        () = self.lost() => false,
                    };
                    return flushed && !self.is_lost();
                }
                if self.signals.is_in_doubt() && begun.elapsed() >= DOUBT {
                    self.signals.unconfirmable.store(true, Ordering::Relaxed);
                    if let Some(observer) = self.observer.upgrade() {
                        observer.trouble("without its inbox events are not confirmed, and can be lost");
                    }
                    continue;
                }
                if Instant::now() >= deadline {
                    break;
                }
                tokio::select! {
                    echo = self.echoes.next() => match echo {
                        None => return false,
                        Some(echo) => self.take_up(&echo),
                    },
                    () = self.signals.changed.notified() => {}
                    () = tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_AGAIN)) => {}
                }
            }
            // What was sent is still on its way: nothing is lost while the connection holds, and sending it again would
            // double it. Another mark does no harm, should the first one have been dropped.
            self.asks_who = !self.asks_who;
            if told.elapsed() >= self.ack_timeout
                && let Some(observer) = self.observer.upgrade()
            {
                told = Instant::now();
                observer.trouble(&format!("no confirmation for {} ms", self.ack_timeout.as_millis()));
            }
            if self.mark().await.is_none() {
                return false;
            }
        }
    }

    /// Takes up all that has come in under the inbox until now.
    pub fn catch_up(&mut self) {
        // No more than there is to hear of, and the marks of two batches.
        for _ in 0..self.awaited.len().saturating_add(2) {
            let Some(Some(echo)) = tokio::task::unconstrained(self.echoes.next()).now_or_never() else { break };
            self.take_up(&echo);
        }
    }

    /// Takes up what came in under the inbox: a mark, or the acknowledgement of a message.
    pub(super) fn take_up(&mut self, echo: &async_nats::Message) {
        let Some((_, last)) = echo.subject.rsplit_once('.') else { return };
        let mark = match last.split_once('-') {
            // Whatever the answer to a mark is: the server has read it.
            Some((MARK, mark)) => mark.parse().ok(),
            Some(_) => None,
            None if last == MARK => <[u8; 8]>::try_from(&echo.payload[..]).ok().map(u64::from_be_bytes),
            None => None,
        };
        // Somebody who hears everything could send others.
        if let Some(mark) = mark.filter(|mark| *mark <= self.serial) {
            self.signals.subscribed.store(true, Ordering::Relaxed);
            self.marked = self.marked.max(mark);
        }
        let Ok(serial) = last.parse::<u64>() else { return };
        if !self.awaited.remove(&serial) {
            return;
        }
        let reply = match echo.status {
            Some(StatusCode::NO_RESPONDERS) => {
                let own =
                    if self.client.server_info().jetstream { "" } else { "; this server has no JetStream itself" };
                Reply::Again(format!("no stream takes it, or none is ready to{own}"))
            }
            _ => streams::read_reply(&echo.payload),
        };
        let error = |why: String| Error::new(Code::NotStored, why);
        let outcome = match reply {
            Reply::Stored => Outcome::Delivered,
            Reply::Never(why) => Outcome::Never(error(why)),
            Reply::Again(why) => Outcome::Again(error(why)),
        };
        self.answers.push((serial, outcome));
    }
}
