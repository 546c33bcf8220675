//! What requests and subscriptions go over: the connection that is up now, whichever it is.
//!
//! A link ends with its connection, and so does what is under way on it. What lasts - a subscription - goes over to the next.

use super::link::Link;
use super::marks::{ASK_WHO, OVERHEARD};
use super::questions::{Answered, Questions, serve};
use super::received::Received;
use super::signals::Signals;
use super::subscription::Subscription;
use crate::error::{Code, Error};
use crate::message::{Headers, Message};
use async_nats::client::PublishErrorKind;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// So many unanswered questions are borne with on one connection, a few hundred bytes each.
const MAX_UNANSWERED: u64 = 20_000;

/// The connection of a link.
#[derive(Clone)]
pub(super) struct Live {
    pub client: Client,
    pub signals: Arc<Signals>,
    /// Whether the server keeps from us what we publish.
    no_echo: bool,
    /// Tells one connection from the next.
    pub number: u64,
    /// The subject of the marks that the link sends; an echo of another one means nothing to it.
    pub mark_subject: String,
    /// How many questions nobody has answered that async-nats may keep a place for.
    unanswered: Arc<AtomicU64>,
}

impl Live {
    /// Tells this connection from those before and after it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Counts one more question that was given up. async-nats keeps a place for its answer as long as the connection lasts,
    /// which ends when they are too many.
    fn give_up(&self) {
        if self.unanswered.fetch_add(1, Ordering::Relaxed) >= MAX_UNANSWERED {
            self.signals.ended.store(true, Ordering::Relaxed);
            self.signals.changed.notify_one();
        }
    }
}

/// A question that async-nats asks for us, until it is answered.
struct Open<'l>(Option<&'l Live>);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(live) = self.0 {
            live.give_up();
        }
    }
}

/// The connection that is up now, or none.
pub struct Session {
    live: watch::Sender<Option<Live>>,
    /// How many there have been: what is kept of one must never be taken for another's.
    count: AtomicU64,
    questions: Arc<Questions>,
}

impl Default for Session {
    fn default() -> Session {
        Session { live: watch::Sender::new(None), count: AtomicU64::default(), questions: Arc::default() }
    }
}

/// What the server tells of itself and of this connection.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The name of its cluster, if it is in one.
    pub cluster: String,
    /// Its largest message, in bytes.
    pub max_payload: usize,
    /// The number of this connection, there.
    pub client_id: u64,
    /// The address that it sees this side at.
    pub client_ip: String,
    /// Whether it knows headers.
    pub headers: bool,
    /// Whether it has JetStream.
    pub jetstream: bool,
    /// Whether it is about to end.
    pub lame_duck_mode: bool,
    /// Further servers of its cluster: host and port.
    pub connect_urls: Vec<String>,
}

/// When the answers to one question are complete.
#[derive(Clone, Copy, Debug)]
pub struct Enough {
    /// After so many; 0 is any number.
    pub max: usize,
    /// When none has come for so long.
    pub stall: Duration,
    /// With one that is empty.
    pub sentinel: bool,
    /// The most bytes that are kept.
    pub max_bytes: usize,
}

impl Session {
    /// Takes up the connection of a new link.
    pub fn attach(&self, link: &Link) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let (client, signals) = (link.client.clone(), link.signals.clone());
        let mark_subject = link.mark_subject.clone();
        let (no_echo, unanswered) = (link.no_echo, Arc::default());
        self.live.send_replace(Some(Live { client, signals, no_echo, number, mark_subject, unanswered }));
    }

    /// Lets go of it: it is lost.
    pub fn detach(&self) {
        self.live.send_replace(None);
    }

    /// The connection that is up now.
    pub(super) fn now(&self) -> Option<Live> {
        self.live.borrow().clone()
    }

    /// The connection, once there is one.
    pub(super) async fn next(&self) -> Option<Live> {
        self.live.subscribe().wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Waits until a connection is no longer the one that is up.
    pub(super) async fn is_over(&self, live: &Live) {
        let _ = self.live.subscribe().wait_for(|now| now.as_ref().is_none_or(|now| now.number != live.number)).await;
    }

    /// The connection, if there is one in time.
    ///
    /// # Errors
    /// `disconnected`.
    pub(super) async fn live(&self, deadline: Instant) -> Result<Live, Error> {
        if let Some(live) = self.now() {
            return Ok(live);
        }
        let found = tokio::time::timeout_at(deadline.into(), self.next()).await;
        found.ok().flatten().ok_or_else(|| Error::new(Code::Disconnected, "no server has been reached in time"))
    }

    /// What comes of some work on the connection, as long as that lasts, until `deadline`.
    ///
    /// # Errors
    /// `disconnected`, `timeout`; `denied`, if the server denies `subject`; and those of the work.
    pub(super) async fn with<T, F: Future<Output = Result<T, Error>>>(
        &self,
        deadline: Instant,
        subject: &str,
        work: impl FnOnce(Live) -> F,
    ) -> Result<T, Error> {
        let live = self.live(deadline).await?;
        let since = Instant::now();
        let mut open = Open(Some(&live));
        let answered = async {
            let done = work(live.clone()).await;
            // async-nats may give up before the deadline.
            let is_late = |error: &Error| error.code() == Code::Timeout || error.to_string().contains("timed out");
            if !done.as_ref().is_err_and(is_late) {
                open.0 = None;
            }
            done
        };
        tokio::select! {
            biased;
            done = answered => match done {
                // What async-nats says of a connection that has ended, before that is known here. Whoever would go on over the
                // next one must not come back to this one.
                Err(error) if error.code() == Code::JetStream && error.to_string().contains("channel closed") => {
                    let _ = tokio::time::timeout_at(deadline.into(), self.is_over(&live)).await;
                    Err(lost())
                }
                done => done,
            },
            () = live.signals.denies(subject, since) => Err(denied(subject)),
            () = self.is_over(&live) => Err(lost()),
            () = tokio::time::sleep_until(deadline.into()) => {
                Err(Error::new(Code::Timeout, format!("{subject}: no answer in time")))
            }
        }
    }

    /// Sends a question, and gives the first answer to `answered`: `no_responders`, `timeout`, `disconnected`, `denied` and
    /// `too_large` are its errors. Returns the number by which it can be cancelled, and what must run on the runtime from then
    /// on, if nothing does yet. Does not block.
    pub fn ask(
        &self,
        question: Message,
        deadline: Instant,
        answered: Answered,
    ) -> (u64, Option<impl Future<Output = ()> + Send + 'static>) {
        let (number, is_first) = self.questions.ask(question, deadline, answered);
        (number, is_first.then(|| serve(self.questions.clone(), self.live.subscribe())))
    }

    /// Wants no answer to a question any more. Does not block.
    pub fn cancel(&self, number: u64) {
        self.questions.cancel(number);
    }

    /// Sends a question and waits for the first answer, until `deadline`, on the runtime.
    ///
    /// # Errors
    /// As for [`Session::ask`].
    pub async fn request(&self, question: Message, deadline: Instant) -> Result<Received, Error> {
        let (sender, answer) = oneshot::channel();
        let answered = Box::new(move |answer| drop(sender.send(answer)));
        let (number, serve) = self.ask(question, deadline, answered);
        if let Some(serve) = serve {
            tokio::spawn(serve);
        }
        let mut guard = Cancelling { session: self, number: Some(number) };
        let answer = answer.await.unwrap_or_else(|_| Err(lost()));
        guard.number = None;
        answer
    }

    /// Sends a question and collects answers until there are enough, or until `deadline`.
    ///
    /// # Errors
    /// As for [`Session::request`]; that no further answer comes is none.
    pub async fn request_many(
        &self,
        question: Message,
        enough: Enough,
        deadline: Instant,
    ) -> Result<Vec<Received>, Error> {
        let subject = question.subject.clone();
        self.with(deadline + Duration::from_millis(100), &subject, |live| async move {
            let inbox = live.client.new_inbox();
            let mut answers = live.client.subscribe(inbox.clone()).await.map_err(|_| lost())?;
            publish(&live.client, &question, Some(inbox)).await?;
            let (mut found, mut bytes) = (Vec::new(), 0_usize);
            let mut until = deadline;
            while let Ok(Some(answer)) = tokio::time::timeout_at(until.into(), answers.next()).await {
                let answer = Received::from(answer);
                if answer.status == Some(503) && found.is_empty() {
                    return Err(no_responders(&question.subject));
                }
                bytes = bytes.saturating_add(answer.cost());
                if (enough.sentinel && answer.payload.is_empty() && answer.headers.is_empty())
                    || bytes > enough.max_bytes
                {
                    break;
                }
                found.push(answer);
                if found.len() == enough.max {
                    break;
                }
                until = deadline.min(Instant::now() + enough.stall);
            }
            Ok(found)
        })
        .await
    }

    /// Waits until the connection has these subscriptions; those that have ended aside.
    ///
    /// # Errors
    /// `timeout`, `disconnected`.
    pub async fn take_up(&self, subscriptions: &[Arc<Subscription>], deadline: Instant) -> Result<(), Error> {
        self.with(deadline, "the subscriptions", |live| async move {
            for subscription in subscriptions {
                subscription.is_taken(&live).await;
            }
            Ok(())
        })
        .await
    }

    /// How long a message takes to the server and back: it has read all that was sent before.
    ///
    /// # Errors
    /// `timeout`, `disconnected`, `denied` (the user's inbox).
    pub async fn round_trip(&self, deadline: Instant) -> Result<Duration, Error> {
        let live = self.live(deadline).await?;
        let inbox = live.client.new_inbox();
        self.with(deadline, &inbox.clone(), |live| async move {
            let mut echo = live.client.subscribe(inbox.clone()).await.map_err(|_| lost())?;
            let since = Instant::now();
            // Without an echo the server says that nobody else has subscribed. It does not where somebody hears all there is.
            live.client.publish_with_reply(inbox.clone(), inbox.clone(), Bytes::new()).await.map_err(|_| lost())?;
            if live.no_echo {
                if let Ok(answer) = tokio::time::timeout(OVERHEARD, echo.next()).await {
                    return answer.map(|_| since.elapsed()).ok_or_else(lost);
                }
                live.client.publish_with_reply(ASK_WHO, inbox, Bytes::new()).await.map_err(|_| lost())?;
            }
            echo.next().await.map(|_| since.elapsed()).ok_or_else(lost)
        })
        .await
    }

    /// Sends an acknowledgement, without waiting for anything.
    ///
    /// # Errors
    /// `disconnected`, `too_large`.
    pub async fn send(&self, question: Message, deadline: Instant) -> Result<(), Error> {
        let live = self.live(deadline).await?;
        publish(&live.client, &question, None).await
    }

    /// Whether the server that is connected to has at least this version; not if there is none.
    pub fn is_at_least(&self, major: i64, minor: i64, patch: i64) -> bool {
        self.now().is_some_and(|live| live.client.is_server_compatible(major, minor, patch))
    }

    /// What the server tells of itself, while there is a connection.
    pub fn server_info(&self) -> Option<ServerInfo> {
        let info = self.now()?.client.server_info();
        Some(ServerInfo {
            id: info.server_id,
            name: info.server_name,
            version: info.version,
            cluster: info.cluster.unwrap_or_default(),
            max_payload: info.max_payload,
            client_id: info.client_id,
            client_ip: info.client_ip,
            headers: info.headers,
            jetstream: info.jetstream,
            lame_duck_mode: info.lame_duck_mode,
            connect_urls: info.connect_urls,
        })
    }
}

/// Cancels a question whose answer nobody waits for any more.
struct Cancelling<'s> {
    session: &'s Session,
    number: Option<u64>,
}

impl Drop for Cancelling<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.session.cancel(number);
        }
    }
}

/// Hands a message to async-nats.
pub(super) async fn publish(client: &Client, question: &Message, reply: Option<String>) -> Result<(), Error> {
    let (subject, payload) = (question.subject.clone(), question.payload.clone());
    let sent = match (headers(&question.headers), reply) {
        (None, None) => client.publish(subject, payload).await,
        (None, Some(reply)) => client.publish_with_reply(subject, reply, payload).await,
        (Some(headers), None) => client.publish_with_headers(subject, headers, payload).await,
        (Some(headers), Some(reply)) => client.publish_with_reply_and_headers(subject, reply, headers, payload).await,
    };
    sent.map_err(|error| match error.kind() {
        PublishErrorKind::Send => lost(),
        PublishErrorKind::MaxPayloadExceeded => too_large(&question.subject, &error),
        _ => Error::new(Code::BadSubject, format!("{}: {error}", question.subject)),
    })
}

/// Headers as async-nats wants them; none if there are none.
pub(super) fn headers(given: &Headers) -> Option<HeaderMap> {
    if given.is_empty() {
        return None;
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given.iter() {
        headers.append(name, value);
    }
    Some(headers)
}

pub(super) fn lost() -> Error {
    Error::new(Code::Disconnected, "the connection was lost on the way")
}

pub(super) fn denied(subject: &str) -> Error {
    Error::new(Code::Denied, format!("the server denies {subject}"))
}

pub(super) fn no_responders(subject: &str) -> Error {
    Error::new(Code::NoResponders, format!("nobody has subscribed to {subject}"))
}

fn too_large(subject: &str, error: &impl std::fmt::Display) -> Error {
    Error::new(Code::TooLarge, format!("a message to {subject}: {error}"))
}
