//! Questions with one answer each, many at a time: requests of scripts, and messages that a stream acknowledges.
//!
//! A task for each, with a time limit of its own, costs more than all the rest of its way. Here is one for all of a session's:
//! it sends in one piece what has come together meanwhile, and gives answers to those who wait as they come in.

use super::parcel::Parcel;
use super::received::Received;
use super::session::{Live, denied, lost, no_responders, publish};
use crate::error::{Code, Error};
use crate::message::Message;
use async_nats::Subject;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// How many answers are taken up at a time.
const MAX_TOGETHER: usize = 512;
/// How long nobody looks at time limits where there are none.
const IDLE: Duration = Duration::from_secs(3600);
/// How long after it is lost a connection is known to be.
const SOON: Duration = Duration::from_secs(1);

/// Who wants an answer. Called on the runtime's thread, once, unless that ends before; must not block.
pub type Answered = Box<dyn FnOnce(Result<Received, Error>) + Send>;

/// A question, and who wants its answer.
struct Question {
    number: u64,
    message: Message,
    /// When `timeout` is the answer; `disconnected`, if there was no connection until then.
    deadline: Instant,
    answered: Answered,
}

/// What scripts have done since the last look.
#[derive(Default)]
struct News {
    /// The number of the last question.
    last: u64,
    asked: Vec<Question>,
    cancelled: Vec<u64>,
    is_served: bool,
}

/// The questions of a session.
#[derive(Default)]
pub struct Questions {
    news: Mutex<News>,
    rung: Notify,
}

/// One that is asked, until its answer comes.
struct Waiting {
    subject: String,
    since: Instant,
    deadline: Instant,
    answered: Answered,
}

impl Questions {
    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks. Gives the number of the question, and whether somebody must [`serve`] it, who does not yet. Does not block.
    pub fn ask(&self, message: Message, deadline: Instant, answered: Answered) -> (u64, bool) {
        let mut news = self.news();
        news.last = news.last.wrapping_add(1);
        let number = news.last;
        let is_first = news.asked.is_empty();
        news.asked.push(Question { number, message, deadline, answered });
        let is_served = std::mem::replace(&mut news.is_served, true);
        drop(news);
        if is_first {
            self.rung.notify_one();
        }
        (number, !is_served)
    }

    /// Wants no answer to a question any more. It may have been asked. Does not block.
    pub fn cancel(&self, number: u64) {
        self.news().cancelled.push(number);
        self.rung.notify_one();
    }
}

/// Asks all questions of a session, on the runtime, for as long as there is one. `now` is its connection.
pub async fn serve(questions: Arc<Questions>, mut now: watch::Receiver<Option<Live>>) {
    let _serving = Serving(questions.clone());
    let mut unasked: Vec<Question> = Vec::new();
    loop {
        take_up(&questions, &mut unasked, |_| {});
        refuse_late(&mut unasked);
        let first = unasked.iter().map(|question| question.deadline).min();
        let live = tokio::select! {
            live = now.wait_for(Option::is_some) => match live {
                Ok(live) => live.clone(),
                // Nobody has the session any more.
                Err(_) => return,
            },
            () = questions.rung.notified() => None,
            () = until(first) => None,
        };
        let Some(live) = live else { continue };
        let own = live.number;
        let over = now.wait_for(|now| now.as_ref().is_none_or(|now| now.number != own));
        tokio::pin!(over);
        let Some(mut desk) = Desk::open(&live).await else {
            // It is lost, which is told soon.
            let _ = tokio::time::timeout(SOON, over).await;
            continue;
        };
        loop {
            // Who is denied something while this goes on is told the next time.
            let denial = live.signals.next_denial();
            take_up(&questions, &mut unasked, |number| desk.forget(number));
            if desk.ask(std::mem::take(&mut unasked)).await.is_err() {
                break;
            }
            desk.deny();
            desk.refuse_late();
            let first = desk.due.first().map(|(deadline, _)| *deadline);
            tokio::select! {
                biased;
                answer = desk.answers.next() => match answer {
                    Some(answer) => desk.settle(answer),
                    None => break,
                },
                _ = &mut over => break,
                () = questions.rung.notified() => {}
                () = denial => {}
                () = until(first) => {}
            }
        }
        desk.end();
    }
}

/// However it ends, the next question begins anew.
struct Serving(Arc<Questions>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.news().is_served = false;
    }
}

async fn until(deadline: Option<Instant>) {
    let idle = || tokio::time::Instant::now() + IDLE;
    tokio::time::sleep_until(deadline.map_or_else(idle, Into::into)).await;
}

/// Takes up what scripts have done; `forget` is told of what is cancelled and was asked.
fn take_up(questions: &Questions, unasked: &mut Vec<Question>, mut forget: impl FnMut(u64)) {
    let (asked, cancelled) = {
        let mut news = questions.news();
        (std::mem::take(&mut news.asked), std::mem::take(&mut news.cancelled))
    };
    unasked.extend(asked);
    if cancelled.is_empty() {
        return;
    }
    let cancelled: HashSet<u64> = cancelled.into_iter().collect();
    unasked.retain(|question| !cancelled.contains(&question.number));
    cancelled.into_iter().for_each(&mut forget);
}

fn refuse_late(unasked: &mut Vec<Question>) {
    let now = Instant::now();
    for question in unasked.extract_if(.., |question| question.deadline <= now) {
        (question.answered)(Err(Error::new(Code::Disconnected, "no server has been reached in time")));
    }
}

/// What is asked over one connection.
struct Desk {
    live: Live,
    /// The beginning of the subjects that answers go to.
    prefix: String,
    answers: async_nats::Subscriber,
    waiting: HashMap<u64, Waiting>,
    /// Those that wait, by their time limits.
    due: BTreeSet<(Instant, u64)>,
    /// The number of the last denial that was looked at.
    denial: u64,
}

impl Desk {
    /// None if the connection is lost.
    async fn open(live: &Live) -> Option<Desk> {
        let prefix = format!("{}.", live.client.new_inbox());
        let answers = live.client.subscribe(format!("{prefix}*")).await.ok()?;
        let (live, waiting, due) = (live.clone(), HashMap::new(), BTreeSet::new());
        Some(Desk { live, prefix, answers, waiting, due, denial: 0 })
    }

    /// Sends questions, in their order. An error says that the connection is lost.
    async fn ask(&mut self, questions: Vec<Question>) -> Result<(), ()> {
        if questions.is_empty() {
            return Ok(());
        }
        let since = Instant::now();
        let limit = self.live.client.max_payload();
        // A user may not be allowed the mark that stands in a parcel.
        let alone = questions.len() == 1 || self.live.signals.unconfirmable.load(Ordering::Relaxed);
        let mut parcel = (!alone).then(Parcel::default);
        let mut is_lost = false;
        for Question { number, message, deadline, answered } in questions {
            let size = message.size();
            if size > limit {
                let text = format!("a message of {size} bytes to {}; the server takes {limit}", message.subject);
                answered(Err(Error::new(Code::TooLarge, text)));
                continue;
            }
            let mut reply = String::with_capacity(self.prefix.len().saturating_add(20));
            reply.push_str(&self.prefix);
            reply.push_str(itoa::Buffer::new().format(number));
            let sent = match &mut parcel {
                _ if is_lost => Err(lost()),
                Some(parcel) => put(&self.live, &message, reply, parcel).await,
                None => publish(&self.live.client, &message, Some(reply)).await,
            };
            match sent {
                Ok(()) => {
                    self.due.insert((deadline, number));
                    let subject = message.subject;
                    self.waiting.insert(number, Waiting { subject, since, deadline, answered });
                }
                Err(error) => {
                    is_lost |= error.code() == Code::Disconnected;
                    answered(Err(error));
                }
            }
        }
        if let Some(parcel) = &mut parcel {
            is_lost |= post(&self.live, parcel).await.is_err();
        }
        if is_lost { Err(()) } else { Ok(()) }
    }

    /// Gives an answer, and those that have come in besides, to those who wait for them.
    fn settle(&mut self, answer: async_nats::Message) {
        self.give(answer);
        for _ in 1..MAX_TOGETHER {
            let Some(Some(answer)) = self.answers.next().now_or_never() else { break };
            self.give(answer);
        }
    }

    fn give(&mut self, answer: async_nats::Message) {
        let number = answer.subject.get(self.prefix.len()..).and_then(|number| number.parse().ok());
        // One that comes too late, or a second time, is nobody's.
        if let Some(waiting) = number.and_then(|number| self.take(number)) {
            let answer = Received::from(answer);
            let is_nobody = answer.status == Some(503);
            (waiting.answered)(if is_nobody { Err(no_responders(&waiting.subject)) } else { Ok(answer) });
        }
    }

    fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.due.remove(&(waiting.deadline, number));
        Some(waiting)
    }

    fn forget(&mut self, number: u64) {
        drop(self.take(number));
    }

    /// Tells those whose subject the server denies.
    fn deny(&mut self) {
        let (last, denials) = self.live.signals.denials(self.denial);
        self.denial = last;
        for (at, subject) in denials {
            let is_denied = |(number, waiting): (&u64, &Waiting)| {
                (waiting.subject == subject && waiting.since <= at).then_some(*number)
            };
            for number in self.waiting.iter().filter_map(is_denied).collect::<Vec<_>>() {
                if let Some(waiting) = self.take(number) {
                    (waiting.answered)(Err(denied(&subject)));
                }
            }
        }
    }

    fn refuse_late(&mut self) {
        let now = Instant::now();
        while let Some((_, number)) = self.due.first().filter(|(deadline, _)| *deadline <= now).copied() {
            if let Some(waiting) = self.take(number) {
                let text = format!("{}: no answer in time", waiting.subject);
                (waiting.answered)(Err(Error::new(Code::Timeout, text)));
            }
        }
    }

    /// The connection is lost: nobody knows what has become of these.
    fn end(self) {
        self.waiting.into_values().for_each(|waiting| (waiting.answered)(Err(lost())));
    }
}

/// Puts a question into a parcel, and sends that if it is full.
async fn put(live: &Live, message: &Message, reply: String, parcel: &mut Parcel) -> Result<(), Error> {
    if !parcel.add(message, Some(&reply), None, &live.mark_subject) {
        post(live, parcel).await?;
        return publish(&live.client, message, Some(reply)).await;
    }
    if parcel.is_full() { post(live, parcel).await } else { Ok(()) }
}

async fn post(live: &Live, parcel: &mut Parcel) -> Result<(), Error> {
    if parcel.is_empty() {
        return Ok(());
    }
    let text = Subject::from(parcel.close(&live.mark_subject));
    live.client.publish(text, Bytes::new()).await.map_err(|_| lost())
}
