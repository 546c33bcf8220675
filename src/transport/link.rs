//! One connection to one NATS server, and the delivery of messages with the server's confirmation.
//!
//! A message counts as delivered when the server has read it. async-nats' `publish` and `flush` tell nothing of that. So
//! each batch ends with a mark (see `marks`): when that comes back, the server has read the whole batch. Meanwhile the next
//! batch may go out already.
//!
//! A link ends with its connection: what async-nats still had in its channel would go out on a new connection, behind a
//! gap, before the batch that is sent again. async-nats can't be told not to connect again; so the link has no login for a
//! second time (see [`options`]), and whoever holds it makes a new link.

use super::marks::MARK;
use super::options::{options, secrets};
use super::parcel::{Parcel, numbered};
use super::signals::Signals;
use super::streams::Streams;
use crate::config::{Ack, Endpoint, EnsureStream, Server};
use crate::error::{Code, Error};
use crate::message::{Message, Purpose};
use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How often a connection is looked at, should async-nats have dropped an event (it keeps 128).
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long the last words of a server take to come through, once its connection is gone.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// How long a server takes to say that it does not take a message, where that is waited for.
const VERDICT: Duration = Duration::from_millis(250);
/// How many acknowledgements are taken up at a time.
const MAX_TOGETHER: usize = 512;
/// The header with the name of the stream that must take a message.
const EXPECTED: &str = "Nats-Expected-Stream";

/// Hears of what goes wrong. Called on the runtime's thread; must not block.
pub trait Observer: Send + Sync + 'static {
    /// Something failed; it will be tried again.
    fn trouble(&self, what: &str);
    /// The login that is used now ends then, in seconds since 1970, if it has an end.
    fn login_expires(&self, at: Option<u64>);
    /// These things, and no others, are wrong with a stream.
    fn warn(&self, stream: &str, what: Vec<String>);
}

/// The connection broke before a batch was confirmed. Nothing is known of its messages: each must be delivered again, with
/// the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// What the server said, if it ended the connection for one of the messages.
    pub culprit: Option<String>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is with the server: in a stream, if one takes it.
    Delivered,
    /// No stream has it yet; it must be sent again, with the same id.
    Again(Error),
    /// It was not sent, as nobody knows what to wait for; that is no attempt.
    Unsent(Error),
    /// It is lost: nothing will make the server take it.
    Never(Error),
    /// It is with the server, and a stream is to say that it has it: see [`Link::answers`], which has this number then.
    Awaited(u64),
}

impl Outcome {
    /// With the subject before the reason, as a stream's answer does not say it.
    pub fn about(self, subject: &str) -> Outcome {
        let about = |error: Error| error.about(subject);
        match self {
            Outcome::Again(error) => Outcome::Again(about(error)),
            Outcome::Never(error) => Outcome::Never(about(error)),
            other => other,
        }
    }
}

/// What is known of the streams that take a message.
#[derive(Clone, Copy)]
struct Known {
    is_taken: bool,
    is_unknown: bool,
}

impl Known {
    fn of(message: &Message, streams: &Streams) -> Known {
        Known { is_taken: streams.take(&message.subject), is_unknown: streams.is_unknown(message) }
    }
}

/// A batch that was sent and is to be confirmed.
#[derive(Debug)]
pub struct Sent {
    outcomes: Vec<Outcome>,
    /// The mark behind it; none if nothing went out, or nothing is to be confirmed.
    mark: Option<u64>,
    /// The highest number that a message of this batch, or one before it, can have; those of later ones are higher.
    pub last: u64,
}

/// A connection that is up, or was.
pub struct Link {
    pub(super) client: Client,
    pub(super) inbox: String,
    /// The subject of our own marks.
    pub(super) mark_subject: String,
    /// What comes in under the inbox: our own marks, and the acknowledgements of streams.
    pub(super) echoes: Subscriber,
    /// The number of the last mark, or message that is to be acknowledged.
    pub(super) serial: u64,
    /// The last mark that has come back.
    pub(super) marked: u64,
    /// The numbers of the messages that streams are to acknowledge.
    pub(super) awaited: HashSet<u64>,
    /// What has become of some of them.
    pub(super) answers: Vec<(u64, Outcome)>,
    pub(super) ack: Ack,
    pub(super) stream: Option<String>,
    pub(super) ensure_stream: Option<EnsureStream>,
    /// Whether the server keeps from us what we publish.
    pub(super) no_echo: bool,
    /// Whether marks go to [`ASK_WHO`](super::marks::ASK_WHO); otherwise to our own inbox.
    pub(super) asks_who: bool,
    pub(super) ack_timeout: Duration,
    pub(super) signals: Arc<Signals>,
    pub(super) observer: Weak<dyn Observer>,
}

impl Link {
    /// Connects to a server, once (`busy` says whether an earlier attempt still hangs on files): `connect_timeout_ms` at most for each address that its name has. Must be called on the
    /// runtime.
    ///
    /// # Errors
    /// Why it did not come to be, without a secret.
    pub async fn open(
        endpoint: &Endpoint,
        server: &Server,
        busy: &Arc<AtomicBool>,
        observer: Weak<dyn Observer>,
    ) -> Result<Link, String> {
        let signals = Arc::new(Signals::default());
        let (login, tls) = secrets(endpoint, server, busy).await.map_err(|problem| format!("{server}: {problem}"))?;
        if let Some(observer) = observer.upgrade() {
            observer.login_expires(login.expires());
        }
        if endpoint.tls.as_ref().is_some_and(|tls| tls.insecure_skip_verify)
            && let Some(observer) = observer.upgrade()
        {
            observer.trouble(&format!("{server}: anyone can pose as this server: tls.insecure_skip_verify is set"));
        }
        let mut options = options(endpoint, login, &signals, observer.clone());
        if let Some(tls) = tls {
            options = options.require_tls(true).tls_client_config(tls);
            if endpoint.tls.as_ref().is_some_and(|tls| tls.first) {
                options = options.tls_first();
            }
        }
        let client = options.connect(server.address()).await.map_err(|error| format!("{server}: {error}"))?;
        signals.up.store(true, Ordering::Relaxed);
        let inbox = client.new_inbox();
        let _ = signals.inbox.set(inbox.clone());
        let echoes = client.subscribe(format!("{inbox}.*")).await.map_err(|error| format!("{server}: {error}"))?;
        let ack_timeout = Duration::from_millis(endpoint.ack_timeout_ms);
        Ok(Link {
            client,
            mark_subject: format!("{inbox}.{MARK}"),
            inbox,
            echoes,
            serial: 0,
            marked: 0,
            awaited: HashSet::new(),
            answers: Vec::new(),
            ack: endpoint.ack,
            stream: endpoint.stream.clone(),
            ensure_stream: endpoint.ensure_stream.clone(),
            no_echo: endpoint.no_echo,
            asks_who: false,
            ack_timeout,
            signals,
            observer,
        })
    }

    /// The name of the server.
    pub fn server_name(&self) -> String {
        self.client.server_info().server_name
    }

    /// The largest message that the server takes, in bytes, headers included, less what this link adds to each.
    pub fn max_payload(&self) -> usize {
        let added = |stream: &String| EXPECTED.len() + stream.len() + "NATS/1.0\r\n: \r\n\r\n".len();
        self.client.max_payload().saturating_sub(self.stream.as_ref().map_or(0, added))
    }

    /// The stream that must take a message, if one was named.
    pub(super) fn named(&self, message: &Message) -> Option<&str> {
        self.stream.as_deref().filter(|_| message.purpose == Purpose::Event)
    }

    /// Further servers of the same cluster, as the server tells of them: host and port.
    pub fn discovered(&self) -> Vec<String> {
        self.client.server_info().connect_urls
    }

    /// Whether the connection is lost.
    pub(super) fn is_lost(&self) -> bool {
        self.signals.ended.load(Ordering::Relaxed) || self.client.connection_state() != State::Connected
    }

    /// Waits until the connection is lost.
    pub(super) async fn lost(&self) {
        while !self.is_lost() {
            let _ = tokio::time::timeout(LOOK_AGAIN, self.signals.changed.notified()).await;
        }
    }

    /// Sends messages in their order, as long as the connection holds, and a mark behind them. `carefully` waits for the
    /// server's verdict before anything else is sent: when it ends the connection with more to read, its reason is lost on
    /// the way. `ahead` says that an earlier batch is still to be confirmed.
    ///
    /// # Errors
    /// [`Interrupted`]: none of the messages is known to have arrived.
    pub async fn send(
        &mut self,
        batch: &[&Message],
        streams: &mut Streams,
        carefully: bool,
        ahead: bool,
    ) -> Result<Sent, Interrupted> {
        self.ask(batch, streams).await;
        if !ahead {
            lock(&self.signals.denied).clear();
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut parcel = (self.ack != Ack::None && !carefully && batch.len() > 1).then(Parcel::default);
        let mut last: Option<(&Message, Known)> = None;
        for message in batch {
            let unconfirmable = self.ack == Ack::None
                || message.purpose == Purpose::Exchange
                || self.signals.unconfirmable.load(Ordering::Relaxed);
            // Many messages in a row go to one subject.
            let alike = last.filter(|(last, _)| last.subject == message.subject && last.pattern == message.pattern);
            let known = alike.map_or_else(|| Known::of(message, streams), |(_, known)| known);
            last = Some((message, known));
            let named = self.named(message).is_some();
            if !unconfirmable && !named && known.is_unknown {
                let text = format!("{}: JetStream does not say whether a stream takes it", message.subject);
                outcomes.push(Outcome::Unsent(Error::new(Code::NotStored, text)));
                continue;
            }
            let taken = if named { !streams.is_silent } else { known.is_taken };
            let (outcome, reply) = if !unconfirmable && taken {
                self.serial = self.serial.wrapping_add(1);
                self.awaited.insert(self.serial);
                (Outcome::Awaited(self.serial), Some(numbered(&self.inbox, self.serial)))
            } else {
                (Outcome::Delivered, message.reply.clone())
            };
            let put = match &mut parcel {
                Some(parcel) => self.put(message, reply, parcel).await,
                None => self.publish(message, reply).await,
            };
            match put {
                Ok(()) => outcomes.push(outcome),
                Err(Some(error)) => {
                    self.forget(&outcome);
                    outcomes.push(Outcome::Never(error));
                }
                Err(None) => return Err(self.interrupted().await),
            }
        }
        if let Some(parcel) = &mut parcel
            && self.post(parcel).await.is_err()
        {
            return Err(self.interrupted().await);
        }
        if carefully && self.ack != Ack::None && self.client.flush().await.is_ok() {
            tokio::time::sleep(VERDICT).await;
        }
        let sent = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Delivered | Outcome::Awaited(_)));
        let mark = if sent && self.ack != Ack::None {
            let Some(mark) = self.mark().await else { return Err(self.interrupted().await) };
            Some(mark)
        } else {
            None
        };
        Ok(Sent { outcomes, mark, last: self.serial })
    }

    /// Waits until the server has read what was sent, and returns what became of each message; streams may take longer to
    /// say. Batches are confirmed in the order in which they were sent; `ahead` says that another one is on its way.
    ///
    /// # Errors
    /// [`Interrupted`]: none of the messages is known to have arrived.
    pub async fn confirm(&mut self, batch: &[&Message], sent: Sent, ahead: bool) -> Result<Vec<Outcome>, Interrupted> {
        let Sent { mut outcomes, mark, .. } = sent;
        if self.ack == Ack::None {
            return Ok(outcomes);
        }
        if let Some(mark) = mark
            && !self.await_mark(mark).await
        {
            return Err(self.interrupted().await);
        }
        // The server denies before it confirms, and async-nats passes both on in their order, though to different tasks: the
        // one that hears of denials has its turn first. What is denied no stream will acknowledge. What is on its way already
        // may be denied as well; that is told until it is confirmed.
        tokio::task::yield_now().await;
        let denied = {
            let mut denied = lock(&self.signals.denied);
            if ahead { denied.clone() } else { std::mem::take(&mut *denied) }
        };
        let unconfirmable = self.signals.unconfirmable.load(Ordering::Relaxed);
        if denied.is_empty() && !unconfirmable {
            return Ok(outcomes);
        }
        for (message, outcome) in batch.iter().zip(&mut outcomes) {
            if denied.contains(&message.subject) {
                self.forget(outcome);
                let text = format!("the server denies publishing to {}", message.subject);
                *outcome = Outcome::Never(Error::new(Code::Denied, text));
            } else if unconfirmable && matches!(outcome, Outcome::Awaited(_)) {
                self.forget(outcome);
                *outcome = Outcome::Delivered;
            }
        }
        Ok(outcomes)
    }

    /// Whether another batch may be sent before the last one is confirmed.
    pub fn may_go_ahead(&self) -> bool {
        self.ack != Ack::None
            && !self.signals.unconfirmable.load(Ordering::Relaxed)
            && lock(&self.signals.denied).is_empty()
    }

    /// What streams have said until now of messages that they are to acknowledge, up to one with this number.
    pub fn answered(&mut self, last: u64) -> Vec<(u64, Outcome)> {
        let (answered, later) = std::mem::take(&mut self.answers).into_iter().partition(|(serial, _)| *serial <= last);
        self.answers = later;
        answered
    }

    /// Waits for what streams say of messages that they are to acknowledge; none if the connection is lost. May be dropped at
    /// any time.
    pub async fn answers(&mut self) -> Option<Vec<(u64, Outcome)>> {
        while self.answers.is_empty() {
            if self.is_lost() {
                return None;
            }
            tokio::select! {
                echo = self.echoes.next() => {
                    self.take_up(&echo?);
                    // What has come in besides is settled with it.
                    for _ in 0..MAX_TOGETHER {
                        let Some(Some(echo)) = self.echoes.next().now_or_never() else { break };
                        self.take_up(&echo);
                    }
                }
                () = self.signals.changed.notified() => {}
                // Should async-nats have dropped an event.
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        Some(std::mem::take(&mut self.answers))
    }

    /// Awaits no acknowledgement any more. Whatever comes still, comes too late.
    pub fn forget(&mut self, outcome: &Outcome) {
        if let Outcome::Awaited(serial) = outcome {
            self.awaited.remove(serial);
        }
    }

    /// The form of a message that the server takes.
    fn fitting<'m>(&self, message: &'m Message) -> Result<&'m Message, Option<Error>> {
        let limit = self.max_payload();
        message.within(limit).ok_or_else(|| Some(message.too_large(limit)))
    }

    /// Puts one message into a parcel, and sends that if it is full. As for [`Link::publish`].
    async fn put(&self, message: &Message, reply: Option<String>, parcel: &mut Parcel) -> Result<(), Option<Error>> {
        let form = self.fitting(message)?;
        let expected = self.named(form).map(|stream| (EXPECTED, stream));
        // One that names a stream itself gets ours instead.
        let fits = expected.is_none() || form.headers.get(EXPECTED).is_none();
        if !fits || !parcel.add(form, reply.as_deref(), expected, &self.mark_subject) {
            self.post(parcel).await?;
            return self.publish(message, reply).await;
        }
        if parcel.is_full() { self.post(parcel).await } else { Ok(()) }
    }

    /// Hands a parcel to async-nats. As for [`Link::publish`].
    async fn post(&self, parcel: &mut Parcel) -> Result<(), Option<Error>> {
        if parcel.is_empty() {
            return Ok(());
        }
        self.client.publish(Subject::from(parcel.close(&self.mark_subject)), Bytes::new()).await.map_err(|_| None)
    }

    /// Hands one message to async-nats. `Err(None)` says that the connection is gone.
    async fn publish(&self, message: &Message, reply: Option<String>) -> Result<(), Option<Error>> {
        let message = self.fitting(message)?;
        let (subject, payload) = (message.subject.clone(), message.payload.clone());
        let mut headers = HeaderMap::new();
        for (name, value) in message.headers.iter() {
            headers.append(name, value);
        }
        if let Some(stream) = self.named(message) {
            headers.insert(EXPECTED, stream);
        }
        let sent = match (headers.is_empty(), reply) {
            (true, None) => self.client.publish(subject, payload).await,
            (true, Some(reply)) => self.client.publish_with_reply(subject, reply, payload).await,
            (false, None) => self.client.publish_with_headers(subject, headers, payload).await,
            (false, Some(reply)) => self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await,
        };
        sent.map_err(|error| match error.kind() {
            async_nats::client::PublishErrorKind::Send => None,
            _ => Some(Error::new(Code::BadSubject, format!("a message to {}: {error}", message.subject))),
        })
    }

    /// How it came to an interruption.
    async fn interrupted(&self) -> Interrupted {
        // async-nats tells of errors on a task of its own.
        tokio::time::sleep(LAST_WORDS).await;
        Interrupted { culprit: lock(&self.signals.culprit).take() }
    }
}
