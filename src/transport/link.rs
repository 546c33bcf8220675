//! One connection to one NATS server, and the delivery of messages with the server's confirmation.
//!
//! A message counts as delivered when the server has read it. async-nats' `publish` and `flush` tell nothing of that. So
//! each batch ends with a message to an inbox of our own: NATS keeps the order of a connection, and when that message
//! comes back, the server has read the whole batch. Where the server is not to send back what we publish (`no_echo`), that
//! message asks for an answer: nobody has subscribed to its subject but we, and the server says so.
//!
//! A link ends with its connection: what async-nats still had in its channel would go out on a new connection, behind a
//! gap, before the batch that is sent again. async-nats can't be told not to connect again; so the link has no login for a
//! second time (see [`options`]), and whoever holds it makes a new link.

use super::options::{options, secrets};
use super::parcel::Parcel;
use super::signals::Signals;
use super::streams::{self, Reply, Streams};
use crate::config::{Ack, Endpoint, EnsureStream, Server};
use crate::error::{Code, Error};
use crate::message::{Message, Purpose};
use async_nats::connection::State;
use async_nats::{Client, HeaderMap, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How often a connection is looked at, should async-nats have dropped an event (it keeps 128).
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long the last words of a server take to come through, once its connection is gone.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// How long a server takes to say that it does not take a message, where that is waited for.
const VERDICT: Duration = Duration::from_millis(250);
/// How many acknowledgements are taken up at a time.
const MAX_TOGETHER: usize = 512;
/// How long the number of a message can be.
const MAX_DIGITS: usize = 20;
/// What a mark has as its last token, where the acknowledgement of a message has a number.
const MARK: &str = "mark";
/// How long the answer to a mark without an echo takes at most, unless somebody else hears the mark.
pub(super) const OVERHEARD: Duration = Duration::from_millis(250);
/// What every server answers (2.10 and newer), should somebody else hear our marks, as who subscribes to `>` does.
pub(super) const ASK_WHO: &str = "$SYS.REQ.USER.INFO";
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

/// What is known of the streams that take a message.
#[derive(Clone, Copy)]
struct Known {
    is_taken: bool,
    is_unknown: bool,
}

impl Known {
    fn of(message: &Message, streams: &Streams) -> Known {
        let is_unknown = |pattern| streams.is_unknown(pattern, &message.subject);
        Known { is_taken: streams.take(&message.subject), is_unknown: message.pattern.as_ref().is_some_and(is_unknown) }
    }
}

/// A connection that is up, or was.
pub struct Link {
    pub(super) client: Client,
    inbox: String,
    /// The subject of our own marks.
    mark: String,
    /// What comes in under the inbox: our own marks, and the acknowledgements of streams.
    echoes: Subscriber,
    /// The number of the last mark, or message that is to be acknowledged.
    serial: u64,
    /// The messages that streams are to acknowledge, by their numbers, with the subject of each.
    awaited: HashMap<u64, String>,
    /// What has become of some of them.
    answers: Vec<(u64, Outcome)>,
    pub(super) ack: Ack,
    pub(super) stream: Option<String>,
    pub(super) ensure_stream: Option<EnsureStream>,
    /// Whether the server keeps from us what we publish.
    pub(super) no_echo: bool,
    /// Whether marks go to [`ASK_WHO`]; otherwise to our own inbox.
    asks_who: bool,
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
            mark: format!("{inbox}.{MARK}"),
            inbox,
            echoes,
            serial: 0,
            awaited: HashMap::new(),
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
    async fn lost(&self) {
        while !self.is_lost() {
            let _ = tokio::time::timeout(LOOK_AGAIN, self.signals.changed.notified()).await;
        }
    }

    /// Sends messages in their order and waits until the server has read them, as long as the connection holds. Returns what
    /// became of each; streams may take longer to say. `carefully` waits for the server's verdict before anything else is
    /// sent: when it ends the connection with more to read, its reason is lost on the way.
    ///
    /// # Errors
    /// [`Interrupted`]: none of the messages is known to have arrived.
    pub async fn deliver(
        &mut self,
        batch: &[&Message],
        streams: &mut Streams,
        carefully: bool,
    ) -> Result<Vec<Outcome>, Interrupted> {
        self.ask(batch, streams).await;
        lock(&self.signals.denied).clear();
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
                self.awaited.insert(self.serial, message.subject.clone());
                let mut reply = String::with_capacity(self.inbox.len().saturating_add(1 + MAX_DIGITS));
                reply.push_str(&self.inbox);
                // Writing to a text does not fail.
                let _ = write!(reply, ".{}", self.serial);
                (Outcome::Awaited(self.serial), Some(reply))
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
        if self.ack == Ack::None {
            return Ok(outcomes);
        }
        if carefully && self.client.flush().await.is_ok() {
            tokio::time::sleep(VERDICT).await;
        }
        let sent = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Delivered | Outcome::Awaited(_)));
        if sent && !self.confirm().await {
            return Err(self.interrupted().await);
        }
        // The server denies before it confirms, and async-nats passes both on in their order. What it denies no stream will
        // acknowledge.
        let denied = std::mem::take(&mut *lock(&self.signals.denied));
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
        message.within(limit).ok_or_else(|| {
            let (size, subject) = (message.size(), &message.subject);
            let what = format!("a message of {size} bytes to {subject}; the server takes {limit}");
            Some(Error::new(Code::TooLarge, what))
        })
    }

    /// Puts one message into a parcel, and sends that if it is full. As for [`Link::publish`].
    async fn put(&self, message: &Message, reply: Option<String>, parcel: &mut Parcel) -> Result<(), Option<Error>> {
        let form = self.fitting(message)?;
        let expected = self.named(form).map(|stream| (EXPECTED, stream));
        // One that names a stream itself gets ours instead.
        let fits = expected.is_none() || form.headers.get(EXPECTED).is_none();
        if !fits || !parcel.add(form, reply.as_deref(), expected, &self.mark) {
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
        self.client.publish(Subject::from(parcel.close(&self.mark)), Bytes::new()).await.map_err(|_| None)
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

    /// Takes up what came in under the inbox: the acknowledgement of a message, or the number of a mark, which is returned.
    fn take_up(&mut self, echo: &async_nats::Message) -> Option<u64> {
        let (_, last) = echo.subject.rsplit_once('.')?;
        if let Some((_, mark)) = last.split_once('-') {
            // Whatever the answer to a mark is: the server has read it.
            return mark.parse().ok();
        }
        let serial = last.parse::<u64>().ok();
        let Some(serial) = serial else {
            return <[u8; 8]>::try_from(&echo.payload[..]).ok().map(u64::from_be_bytes);
        };
        let subject = self.awaited.remove(&serial)?;
        let reply = match echo.status {
            Some(StatusCode::NO_RESPONDERS) => Reply::Again("no stream takes it, or none is ready to".to_owned()),
            _ => streams::read_reply(&echo.payload),
        };
        let error = |why| Error::new(Code::NotStored, format!("{subject}: {why}"));
        let outcome = match reply {
            Reply::Stored => Outcome::Delivered,
            Reply::Never(why) => Outcome::Never(error(why)),
            Reply::Again(why) => Outcome::Again(error(why)),
        };
        self.answers.push((serial, outcome));
        None
    }

    /// Waits until the server has read all that was sent; false if the connection was lost before.
    async fn confirm(&mut self) -> bool {
        // Any mark that is sent from here on does.
        let first = self.serial.wrapping_add(1);
        let mut told = tokio::time::Instant::now();
        loop {
            if self.is_lost() {
                return false;
            }
            if self.signals.unconfirmable.load(Ordering::Relaxed) {
                // What is left is async-nats' own word that all is written.
                let flushed = tokio::select! {
                    flushed = self.client.flush() => flushed.is_ok(),
                    () = self.lost() => false,
                };
                return flushed && !self.is_lost();
            }
            self.serial = self.serial.wrapping_add(1);
            let mark = self.serial;
            if !self.send_mark(mark).await {
                return false;
            }
            let patience = if self.no_echo { self.ack_timeout.min(OVERHEARD) } else { self.ack_timeout };
            let deadline = tokio::time::Instant::now() + patience;
            loop {
                let look = deadline.min(tokio::time::Instant::now() + LOOK_AGAIN);
                tokio::select! {
                    echo = self.echoes.next() => match echo {
                        None => return false,
                        // An older mark may still come in.
                        Some(echo) => if self.take_up(&echo).is_some_and(|mark| mark >= first) { return !self.is_lost(); }
                    },
                    () = self.signals.changed.notified() => {}
                    () = tokio::time::sleep_until(look) => {}
                }
                if self.is_lost() {
                    return false;
                }
                if self.signals.unconfirmable.load(Ordering::Relaxed) {
                    break;
                }
                if tokio::time::Instant::now() >= deadline {
                    // What was sent is still on its way: nothing is lost while the connection holds, and sending it again
                    // would double it. Another marker does no harm, should the first one have been dropped.
                    self.asks_who = !self.asks_who;
                    if told.elapsed() >= self.ack_timeout
                        && let Some(observer) = self.observer.upgrade()
                    {
                        told = tokio::time::Instant::now();
                        observer.trouble(&format!("no confirmation for {} ms", self.ack_timeout.as_millis()));
                    }
                    break;
                }
            }
        }
    }

    /// Sends a mark; false if the connection is gone.
    async fn send_mark(&self, mark: u64) -> bool {
        let own = self.mark.clone();
        let bytes = mark.to_be_bytes().to_vec().into();
        let sent = if self.no_echo {
            let subject = if self.asks_who { ASK_WHO.to_owned() } else { own };
            self.client.publish_with_reply(subject, format!("{}.{MARK}-{mark}", self.inbox), bytes).await
        } else {
            self.client.publish(own, bytes).await
        };
        sent.is_ok()
    }

    /// How it came to an interruption.
    async fn interrupted(&self) -> Interrupted {
        // async-nats tells of errors on a task of its own.
        tokio::time::sleep(LAST_WORDS).await;
        Interrupted { culprit: lock(&self.signals.culprit).take() }
    }
}
