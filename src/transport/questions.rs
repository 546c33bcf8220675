//! Questions with one answer each, many at a time: requests of scripts, and messages that a stream acknowledges.
//!
//! A task for each, with a time limit of its own, costs more than all the rest of its way. Here is one for all of a session's:
//! it sends in one piece what has come together meanwhile, and gives answers to those who wait as they come in. Nothing that it
//! waits for keeps it from time limits, cancelled questions and the loss of the connection: a server that reads nothing any more
//! holds up a piece, and nobody's promise.

use super::parcel::{Parcel, numbered};
use super::received::Received;
use super::session::{Live, denied, lost, no_responders, publish};
use crate::error::{Code, Error};
use crate::message::Message;
use async_nats::Subject;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// How many answers are taken up at a time.
const MAX_TOGETHER: usize = 512;
/// How long nobody looks at time limits where there are none.
const IDLE: Duration = Duration::from_secs(3600);

/// Who wants an answer. Called on the runtime's thread, once, unless that ends before; must not block.
pub type Answered = Box<dyn FnOnce(Result<Received, Error>) + Send>;

/// A question, and who wants its answer.
struct Question {
    message: Message,
    deadline: Instant,
    answered: Answered,
}

/// What scripts have done since the last look.
#[derive(Default)]
struct News {
    /// The number of the last question.
    last: u64,
    asked: Vec<(u64, Question)>,
    cancelled: Vec<u64>,
    is_served: bool,
}

/// The questions of a session.
pub struct Questions {
    news: Mutex<News>,
    rung: Notify,
    /// In a child that it has forked, another thread may have held the lock, and nobody serves.
    process: u32,
}

impl Default for Questions {
    fn default() -> Questions {
        Questions { news: Mutex::default(), rung: Notify::new(), process: std::process::id() }
    }
}

impl Questions {
    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks; gives up at `deadline`. Gives the number of the question, and whether somebody must [`serve`] it, who does not yet.
    /// Does not block.
    pub fn ask(&self, message: Message, deadline: Instant, answered: Answered) -> (u64, bool) {
        if std::process::id() != self.process {
            let text = "this was opened before the process was forked; open it again";
            answered(Err(Error::new(Code::Disconnected, text)));
            return (0, false);
        }
        let mut news = self.news();
        news.last = news.last.saturating_add(1);
        let number = news.last;
        let is_first = news.asked.is_empty();
        news.asked.push((number, Question { message, deadline, answered }));
        let is_served = std::mem::replace(&mut news.is_served, true);
        drop(news);
        if is_first {
            self.rung.notify_one();
        }
        (number, !is_served)
    }

    /// Wants no answer to a question any more. It may have been asked. Does not block.
    pub fn cancel(&self, number: u64) {
        if std::process::id() == self.process {
            self.news().cancelled.push(number);
            self.rung.notify_one();
        }
    }
}

/// Asks all questions of a session, on the runtime, for as long as there is one. `now` is its connection.
pub async fn serve(questions: Arc<Questions>, mut now: watch::Receiver<Option<Live>>) {
    let _serving = Serving(questions.clone());
    let mut desk = Desk::default();
    // The connection that was left; it may be told a while later that it is lost.
    let mut left = None;
    loop {
        let is_another = |live: &Option<Live>| live.as_ref().is_some_and(|live| Some(live.number) != left);
        desk.take_up(&questions);
        if !is_another(&now.borrow()) {
            desk.refuse_late(&Error::new(Code::Disconnected, "no server has been reached in time"));
        }
        let live = tokio::select! {
            live = now.wait_for(is_another) => match live {
                Ok(live) => live.clone(),
                // Nobody has the session any more.
                Err(_) => return,
            },
            () = questions.rung.notified() => None,
            () = until(desk.first()) => None,
        };
        let Some(live) = live else { continue };
        desk.serve(&questions, &live, &mut now).await;
        desk.lose();
        left = Some(live.number);
    }
}

/// However it ends, the next question begins anew, and nobody waits for those that are left.
struct Serving(Arc<Questions>);

impl Drop for Serving {
    fn drop(&mut self) {
        let mut news = self.0.news();
        news.is_served = false;
        let left = (std::mem::take(&mut news.asked), std::mem::take(&mut news.cancelled));
        drop(news);
        drop(left);
    }
}

async fn until(deadline: Option<Instant>) {
    let idle = || tokio::time::Instant::now() + IDLE;
    tokio::time::sleep_until(deadline.map_or_else(idle, Into::into)).await;
}

/// One that was handed to the connection, until its answer comes.
struct Waiting {
    subject: String,
    since: Instant,
    deadline: Instant,
    answered: Answered,
}

/// A piece that is being handed to the connection; the number of a single question, and what is wrong with it.
type Sending = Pin<Box<dyn Future<Output = Result<(), (u64, Error)>> + Send>>;

/// What is to be asked, and what is to be answered.
#[derive(Default)]
struct Desk {
    /// In the order in which they came.
    unsent: BTreeMap<u64, Question>,
    /// No table, which would keep its size for the largest number that there has ever been.
    waiting: BTreeMap<u64, Waiting>,
    /// The time limits of both.
    due: BTreeSet<(Instant, u64)>,
}

impl Desk {
    /// When the first time limit is over.
    fn first(&self) -> Option<Instant> {
        self.due.first().map(|(deadline, _)| *deadline)
    }

    /// Takes up what scripts have done.
    fn take_up(&mut self, questions: &Questions) {
        let (asked, cancelled) = {
            let mut news = questions.news();
            (std::mem::take(&mut news.asked), std::mem::take(&mut news.cancelled))
        };
        for (number, question) in asked {
            self.due.insert((question.deadline, number));
            self.unsent.insert(number, question);
        }
        cancelled.into_iter().for_each(|number| drop(self.take(number)));
    }

    /// Takes out a question, wherever it is: its subject, since when it is waited for, and who does.
    fn take(&mut self, number: u64) -> Option<(String, Answered)> {
        let (subject, deadline, answered) = match self.waiting.remove(&number) {
            Some(waiting) => (waiting.subject, waiting.deadline, waiting.answered),
            None => {
                let question = self.unsent.remove(&number)?;
                (question.message.subject, question.deadline, question.answered)
            }
        };
        self.due.remove(&(deadline, number));
        Some((subject, answered))
    }

    /// Tells those whose time is over: that there was no answer, or why nothing was asked.
    fn refuse_late(&mut self, unsent: &Error) {
        let now = Instant::now();
        while let Some((_, number)) = self.due.first().filter(|(deadline, _)| *deadline <= now).copied() {
            let was_sent = self.waiting.contains_key(&number);
            let Some((subject, answered)) = self.take(number) else { break };
            let late = || Error::new(Code::Timeout, format!("{subject}: no answer in time"));
            answered(Err(if was_sent { late() } else { unsent.clone() }));
        }
    }

    /// Asks over one connection until that is lost.
    async fn serve(&mut self, questions: &Questions, live: &Live, now: &mut watch::Receiver<Option<Live>>) {
        let full = Error::new(Code::Timeout, "the server has not read what was sent before in time");
        let over = now.wait_for(|now| now.as_ref().is_none_or(|now| now.number != live.number));
        tokio::pin!(over);
        let inbox = live.client.new_inbox();
        let opening = live.client.subscribe(format!("{inbox}.*"));
        tokio::pin!(opening);
        let mut answers = loop {
            tokio::select! {
                biased;
                opened = &mut opening => match opened {
                    Ok(opened) => break opened,
                    Err(_) => return,
                },
                _ = &mut over => return,
                () = questions.rung.notified() => self.take_up(questions),
                () = until(self.first()) => self.refuse_late(&full),
            }
        };
        let mut denials = 0;
        let mut sending: Option<Sending> = None;
        loop {
            // What is denied while this goes on is told the next time.
            let denial = live.signals.next_denial();
            self.take_up(questions);
            if sending.is_none() {
                sending = self.piece(live, &inbox);
            }
            denials = self.deny(live, denials);
            if self.first().is_some_and(|first| first <= Instant::now()) {
                // What has come in and was not looked at is not late.
                for _ in 0..=self.waiting.len() {
                    let Some(Some(answer)) = tokio::task::unconstrained(answers.next()).now_or_never() else { break };
                    self.settle(answer);
                }
                self.refuse_late(&full);
            }
            tokio::select! {
                biased;
                sent = handed_over(&mut sending) => match sent {
                    Ok(()) => {}
                    Err((_, error)) if error.code() == Code::Disconnected => return,
                    Err((number, error)) => if let Some((_, answered)) = self.take(number) {
                        answered(Err(error));
                    },
                },
                answer = answers.next() => {
                    let Some(answer) = answer else { return };
                    self.settle(answer);
                    for _ in 1..MAX_TOGETHER {
                        let Some(Some(answer)) = answers.next().now_or_never() else { break };
                        self.settle(answer);
                    }
                }
                _ = &mut over => return,
                () = questions.rung.notified() => {}
                () = denial => {}
                () = until(self.first()) => {}
            }
        }
    }

    /// What goes out next: one message, or as many as make a piece.
    fn piece(&mut self, live: &Live, inbox: &str) -> Option<Sending> {
        let (since, limit) = (Instant::now(), live.client.max_payload());
        // A user may not be allowed the mark that stands in a parcel.
        let alone = self.unsent.len() < 2 || live.signals.unconfirmable.load(Ordering::Relaxed);
        let mut parcel = Parcel::default();
        while let Some(first) = self.unsent.first_entry() {
            let (number, message) = (*first.key(), &first.get().message);
            if message.size() > limit {
                let error = message.too_large(limit);
                if let Some((_, answered)) = self.take(number) {
                    answered(Err(error));
                }
                continue;
            }
            let reply = numbered(inbox, number);
            let is_in = !alone && parcel.add(message, Some(&reply), None, &live.mark_subject);
            if !is_in && !parcel.is_empty() {
                break;
            }
            let Question { message, deadline, answered } = first.remove();
            let waiting = |subject| Waiting { subject, since, deadline, answered };
            if !is_in {
                self.waiting.insert(number, waiting(message.subject.clone()));
                let client = live.client.clone();
                return Some(Box::pin(async move {
                    publish(&client, &message, Some(reply)).await.map_err(|error| (number, error))
                }));
            }
            self.waiting.insert(number, waiting(message.subject));
            if parcel.is_full() {
                break;
            }
        }
        if parcel.is_empty() {
            return None;
        }
        let (client, text) = (live.client.clone(), Subject::from(parcel.close(&live.mark_subject)));
        Some(Box::pin(async move { client.publish(text, Bytes::new()).await.map_err(|_| (0, lost())) }))
    }

    /// Gives an answer to who waits for it. One that comes too late, or a second time, is nobody's.
    fn settle(&mut self, answer: async_nats::Message) {
        let number = answer.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
        let number = number.filter(|number| self.waiting.contains_key(number));
        let Some((subject, answered)) = number.and_then(|number| self.take(number)) else { return };
        let answer = Received::from(answer);
        let is_nobody = answer.status == Some(503);
        answered(if is_nobody { Err(no_responders(&subject)) } else { Ok(answer) });
    }

    /// Tells those whose subject the server has denied after the denial of a number; returns that of the last one.
    fn deny(&mut self, live: &Live, after: u64) -> u64 {
        let (last, denials) = live.signals.denials(after);
        for (at, subject) in denials {
            let is_denied = |(number, waiting): (&u64, &Waiting)| {
                (waiting.subject == subject && waiting.since <= at).then_some(*number)
            };
            for number in self.waiting.iter().filter_map(is_denied).collect::<Vec<_>>() {
                if let Some((_, answered)) = self.take(number) {
                    answered(Err(denied(&subject)));
                }
            }
        }
        last
    }

    /// The connection is lost: nobody knows what has become of what was sent.
    fn lose(&mut self) {
        for number in self.waiting.keys().copied().collect::<Vec<_>>() {
            if let Some((_, answered)) = self.take(number) {
                answered(Err(lost()));
            }
        }
    }
}

/// Waits until a piece was handed to the connection; for ever, if there is none.
async fn handed_over(sending: &mut Option<Sending>) -> Result<(), (u64, Error)> {
    match sending {
        Some(piece) => {
            let sent = piece.await;
            *sending = None;
            sent
        }
        None => std::future::pending().await,
    }
}
