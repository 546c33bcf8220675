//! One connection to NATS, kept up for ever, and the delivery of messages with the server's confirmation.
//!
//! A message counts as delivered when the server has read it. async-nats' `publish` and `flush` tell nothing of that: a
//! reconnect drops what it had buffered. So each batch ends with a message to an inbox of our own. NATS keeps the order
//! of a connection; when that message comes back, and the connection is still the one that the batch was sent on, the
//! server has read the whole batch.

use crate::config::{Endpoint, Server};
use crate::error::{Code, Error};
use crate::message::Message;
use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, HeaderMap, ServerAddr, Subscriber};
use futures_util::StreamExt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// The first wait before a further attempt to connect; each one after it is twice as long, with half of it by chance.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// The longest wait before a further attempt to connect.
const LAST_DELAY: Duration = Duration::from_secs(4);
/// How often the server is asked for a sign of life; the third unanswered one ends a connection. A broker that has vanished
/// is noticed in 30 s, where TCP alone takes a quarter of an hour.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How often the state of a connection is looked at, should async-nats have dropped an event (it keeps 128).
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// What a message to `publish_with_headers` may have in headers beyond their text: the status line and separators.
const HEADER_OVERHEAD: usize = 16;

/// Hears of what happens to a connection. Called on the runtime's thread; must not block.
pub trait Observer: Send + Sync + 'static {
    /// The connection is up, with this many connects so far.
    fn connected(&self, connects: u64);
    /// The connection is down; a new one is being made.
    fn disconnected(&self);
    /// Something failed; it will be tried again.
    fn trouble(&self, what: &str);
}

/// Why a batch was not confirmed. Nothing is known of its messages: each must be delivered again, with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// The connection broke.
    Connection,
    /// async-nats gave the connection up; a new link is needed.
    Link,
}

/// What the callbacks of async-nats tell the link.
#[derive(Default)]
struct Signals {
    changed: Notify,
    failures: AtomicU32,
    unconfirmable: AtomicBool,
}

/// A connection that is made, and made again, in the background.
pub struct Link {
    client: Client,
    inbox: String,
    echoes: Subscriber,
    marker: u64,
    ack_timeout: Duration,
    signals: Arc<Signals>,
    observer: Weak<dyn Observer>,
}

impl Link {
    /// Begins to connect; returns before the connection is up. Must be called on the runtime.
    ///
    /// # Errors
    /// `bad_config`, if async-nats does not take a server's URL; `internal`, if it gave up at once.
    pub async fn open(endpoint: &Endpoint, observer: Weak<dyn Observer>) -> Result<Link, Error> {
        let refused = |server: &Server, error| Error::new(Code::BadConfig, format!("the URL of {server}: {error}"));
        let parse = |server: &Server| server.url().parse::<ServerAddr>().map_err(|error| refused(server, error));
        let servers: Vec<ServerAddr> = endpoint.servers.iter().map(parse).collect::<Result<_, _>>()?;
        let signals = Arc::new(Signals::default());
        let client = options(endpoint, &signals, observer.clone())
            .connect(servers)
            .await
            .map_err(|error| Error::new(Code::Internal, format!("connecting can't begin: {error}")))?;
        let inbox = client.new_inbox();
        let echoes = client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| Error::new(Code::Internal, format!("no inbox for confirmations: {error}")))?;
        let ack_timeout = Duration::from_millis(endpoint.ack_timeout_ms);
        Ok(Link { client, inbox, echoes, marker: 0, ack_timeout, signals, observer })
    }

    /// Waits until the connection is up.
    async fn connected(&self) {
        while self.client.connection_state() != State::Connected {
            let _ = tokio::time::timeout(LOOK_AGAIN, self.signals.changed.notified()).await;
        }
    }

    /// How many connections there have been: another number means another connection.
    fn epoch(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Sends messages in their order and waits for the server's confirmation: as long as the connection takes to come up,
    /// and then as long as it holds. Returns what can never be sent, each by its place in `batch`.
    ///
    /// # Errors
    /// [`Interrupted`]: none of the messages is known to have arrived.
    pub async fn deliver(&mut self, batch: &[Message]) -> Result<Vec<(usize, Error)>, Interrupted> {
        self.connected().await;
        let epoch = self.epoch();
        let mut refused = Vec::new();
        for (place, message) in batch.iter().enumerate() {
            match self.publish(message).await {
                Ok(()) => {}
                Err(Some(error)) => refused.push((place, error)),
                Err(None) => return Err(Interrupted::Link),
            }
        }
        if refused.len() < batch.len() {
            self.confirm(epoch).await?;
        }
        Ok(refused)
    }

    /// Hands one message to async-nats. `Err(None)` says that it has given up.
    async fn publish(&self, message: &Message) -> Result<(), Option<Error>> {
        let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let size = message.payload.len() + headers + HEADER_OVERHEAD;
        let limit = self.client.max_payload();
        if size > limit {
            let what = format!("a message of {size} bytes to {}; the server takes {limit}", message.subject);
            return Err(Some(Error::new(Code::TooLarge, what)));
        }
        let (subject, payload) = (message.subject.clone(), message.payload.clone());
        let sent = if message.headers.is_empty() {
            self.client.publish(subject, payload).await
        } else {
            let mut headers = HeaderMap::new();
            for (name, value) in &message.headers {
                headers.append(name.as_str(), value.as_str());
            }
            self.client.publish_with_headers(subject, headers, payload).await
        };
        sent.map_err(|error| match error.kind() {
            async_nats::client::PublishErrorKind::Send => None,
            _ => Some(Error::new(Code::BadSubject, format!("a message to {}: {error}", message.subject))),
        })
    }

    /// Waits until the server has read all that was sent on the connection `epoch`, or until that connection is lost.
    async fn confirm(&mut self, epoch: u64) -> Result<(), Interrupted> {
        if self.signals.unconfirmable.load(Ordering::Relaxed) {
            return self.flush().await;
        }
        let mut marker = self.mark().await?;
        loop {
            let deadline = tokio::time::sleep(self.ack_timeout);
            tokio::select! {
                echo = self.echoes.next() => match echo {
                    None => return Err(Interrupted::Link),
                    // An older marker may still come in.
                    Some(echo) if echo.payload[..] != marker => {}
                    Some(_) if self.epoch() == epoch => return Ok(()),
                    Some(_) => return Err(Interrupted::Connection),
                },
                () = self.signals.changed.notified() => {
                    if self.signals.unconfirmable.load(Ordering::Relaxed) {
                        return self.flush().await;
                    }
                    if self.epoch() != epoch || self.client.connection_state() != State::Connected {
                        return Err(Interrupted::Connection);
                    }
                }
                () = deadline => {
                    // What was sent is still on its way: nothing is lost while the connection holds, and sending it again
                    // would double it. Another marker does no harm, should the first one have been dropped.
                    if let Some(observer) = self.observer.upgrade() {
                        observer.trouble(&format!("no confirmation for {} ms", self.ack_timeout.as_millis()));
                    }
                    marker = self.mark().await?;
                }
            }
        }
    }

    /// Where the server refuses us an inbox: async-nats' own word that all is written to the socket.
    async fn flush(&self) -> Result<(), Interrupted> {
        self.client.flush().await.map_err(|_| Interrupted::Link)
    }

    /// Sends a new marker to our own inbox; returns what it looks like.
    async fn mark(&mut self) -> Result<[u8; 8], Interrupted> {
        self.marker = self.marker.wrapping_add(1);
        let marker = self.marker.to_be_bytes();
        let sent = self.client.publish(self.inbox.clone(), marker.to_vec().into()).await;
        sent.map(|()| marker).map_err(|_| Interrupted::Link)
    }

    /// The name of the server that the connection is with; empty before the first.
    pub fn server_name(&self) -> String {
        self.client.try_server_info().map(|info| info.server_name).unwrap_or_default()
    }
}

/// The options of async-nats for an endpoint.
fn options(endpoint: &Endpoint, signals: &Arc<Signals>, observer: Weak<dyn Observer>) -> ConnectOptions {
    let failing = signals.clone();
    let signals = signals.clone();
    let connects = Arc::new(AtomicU64::new(0));
    ConnectOptions::new()
        .name(&endpoint.name)
        .connection_timeout(Duration::from_millis(endpoint.connect_timeout_ms))
        .ping_interval(PING_INTERVAL)
        .retry_on_initial_connect()
        // Subjects are checked when they are accepted.
        .skip_subject_validation(true)
        .reconnect_delay_callback(move |_| delay(failing.failures.fetch_add(1, Ordering::Relaxed)))
        .event_callback(move |event| {
            if let Some(observer) = observer.upgrade() {
                tell(event, &signals, &connects, &*observer);
            }
            signals.changed.notify_one();
            std::future::ready(())
        })
}

/// Takes up an event of async-nats.
fn tell(event: Event, signals: &Signals, connects: &AtomicU64, observer: &dyn Observer) {
    match event {
        Event::Connected => {
            signals.failures.store(0, Ordering::Relaxed);
            signals.unconfirmable.store(false, Ordering::Relaxed);
            observer.connected(connects.fetch_add(1, Ordering::Relaxed).saturating_add(1));
        }
        Event::Disconnected | Event::Closed => observer.disconnected(),
        Event::ServerError(error) => {
            let text = error.to_string();
            if text.to_ascii_lowercase().contains("permissions violation") && text.contains("_INBOX") {
                signals.unconfirmable.store(true, Ordering::Relaxed);
                observer.trouble(&format!("{text}: without _INBOX.> events are not confirmed, and can be lost"));
            } else {
                observer.trouble(&text);
            }
        }
        Event::ClientError(error) => observer.trouble(&error.to_string()),
        Event::LameDuckMode | Event::Draining | Event::SlowConsumer(_) => {}
    }
}

/// The wait before an attempt to connect, after so many failures in a row.
fn delay(failures: u32) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let full = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(16))).min(LAST_DELAY);
    // Many gateways lose the same broker at the same moment; chance keeps them from coming back in step.
    let chance = RandomState::new().hash_one(failures) % 1000;
    let chance = u32::try_from(chance).unwrap_or_default();
    full / 2 + full.saturating_mul(chance) / 2000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_four_seconds_and_differ() {
        assert_eq!(delay(0), Duration::ZERO);
        for failures in 1..200 {
            let wait = delay(failures);
            assert!(wait >= FIRST_DELAY / 2 && wait <= LAST_DELAY, "{failures}: {wait:?}");
        }
        assert!(delay(20) >= LAST_DELAY / 2);
        let waits: std::collections::HashSet<Duration> = (0..50).map(|_| delay(20)).collect();
        assert!(waits.len() > 5);
    }
}
