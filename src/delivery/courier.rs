//! Carries messages from a connection's queue to the broker until they are confirmed.

use super::Connection;
use super::queue::{BATCH, Entry};
use crate::config::{Endpoint, Server};
use crate::error::{Code, Error};
use crate::message::Message;
use crate::transport::{Interrupted, Link, Observer, Outcome, Sent, Streams};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// After so many breaks in a row one of the messages is suspected.
const SUSPICIOUS: usize = 3;
/// A connection that has held so long was a good one, even if nothing was sent over it.
const GOOD: Duration = Duration::from_secs(10);
/// How long streams take nothing before another server is thought of.
const STUCK: Duration = Duration::from_secs(10);
/// How many messages streams may be to acknowledge at a time, and one batch more.
const MAX_AWAITED: usize = 8192;
/// How many servers are kept, those that servers tell of included.
const MAX_SERVERS: usize = 64;

/// Delivers what comes into the queue, in order, each message as often as it takes. Ends when the connection has been
/// idle for `idle_timeout_ms` and `retire` says that no one needs it any more. Keeps one reference to it, and that alone.
pub async fn courier(connection: Arc<Connection>, retire: impl Fn(&Arc<Connection>) -> bool) {
    let mut route = Route::new(&connection);
    while let Some(mut link) = route.connect(&connection, &retire).await {
        let since = Instant::now();
        let end = carry(&connection, &mut link, &mut route, &retire).await;
        connection.disconnected();
        if end == End::Retired {
            return;
        }
        if since.elapsed() >= GOOD {
            route.failures = 0;
        }
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Lost,
    Retired,
}

/// Delivers over one link, until it is lost or no one needs it.
async fn carry(
    connection: &Arc<Connection>,
    link: &mut Link,
    route: &mut Route,
    retire: &impl Fn(&Arc<Connection>) -> bool,
) -> End {
    let idle = Duration::from_millis(connection.endpoint().idle_timeout_ms);
    let mut since = Instant::now();
    let mut awaited = Awaited::default();
    let mut unconfirmed: Option<Batch> = None;
    let end = loop {
        if awaited.is_stuck() && unconfirmed.is_none() {
            // This server may be cut off from the others, and know it no sooner than its clients.
            if route.servers.len() > 1 && !link.has_jetstream().await {
                connection.trouble("JetStream does not answer over this server; another one is tried");
                break End::Lost;
            }
            awaited.stuck = None;
        }
        awaited.give_up_late(connection, link);
        if let Some(batch) = unconfirmed.take() {
            match go_on(connection, link, route, batch, &mut awaited).await {
                Ok(next) => unconfirmed = next,
                Err(end) => break end,
            }
            since = Instant::now();
            continue;
        }
        let wait = if idle.is_zero() { GOOD } else { idle.saturating_sub(since.elapsed()) };
        let first = awaited.entries.first_key_value().map(|(_, first)| first.1);
        let wait = first.map_or(wait, |deadline| wait.min(deadline.saturating_duration_since(Instant::now())));
        tokio::select! {
            // What is at hand counts before the time that is over.
            biased;
            answers = link.answers() => {
                let Some(answers) = answers else { break End::Lost };
                awaited.settle(connection, answers);
                since = Instant::now();
            }
            entries = connection.take(route.batch), if awaited.entries.len() < MAX_AWAITED => {
                match send(link, route, entries, false).await {
                    Ok(batch) => unconfirmed = Some(batch),
                    Err((entries, interrupted)) => {
                        route.interrupted(connection, entries, &mut awaited, interrupted);
                        break End::Lost;
                    }
                }
                since = Instant::now();
            }
            () = tokio::time::sleep(wait) => {
                if !idle.is_zero() && since.elapsed() >= idle {
                    if awaited.entries.is_empty() && retire(connection) {
                        break End::Retired;
                    }
                    since = Instant::now();
                }
            }
        }
    };
    // Nobody will say what has become of these. Those that went out first go first again.
    if let Some(batch) = unconfirmed {
        connection.put_back(batch.entries);
    }
    connection.put_back(awaited.take());
    end
}

/// Messages that were sent over a link and are to be confirmed.
struct Batch {
    entries: Vec<Entry>,
    sent: Sent,
}

fn messages(entries: &[Entry]) -> Vec<&Message> {
    entries.iter().map(|entry| &entry.message).collect()
}

/// Sends messages; `ahead` while others are unconfirmed.
async fn send(
    link: &mut Link,
    route: &mut Route,
    entries: Vec<Entry>,
    ahead: bool,
) -> Result<Batch, (Vec<Entry>, Interrupted)> {
    let carefully = route.breaks >= SUSPICIOUS && entries.len() == 1;
    match link.send(&messages(&entries), &mut route.streams, carefully, ahead).await {
        Ok(sent) => Ok(Batch { entries, sent }),
        Err(interrupted) => Err((entries, interrupted)),
    }
}

/// Sends what waits meanwhile, so that the server has something to do until the next time, and then waits for a batch to be
/// confirmed. Returns what is to be confirmed next. If the link is lost, something has become of all that was unconfirmed.
async fn go_on(
    connection: &Connection,
    link: &mut Link,
    route: &mut Route,
    batch: Batch,
    awaited: &mut Awaited,
) -> Result<Option<Batch>, End> {
    let Batch { mut entries, sent } = batch;
    let mut next = None;
    // As long as one message is looked for that breaks connections, and until batches are whole again, each goes alone.
    let room = awaited.entries.len().saturating_add(entries.len()) < MAX_AWAITED;
    let may = route.batch == BATCH && room && !awaited.is_stuck() && link.may_go_ahead();
    let mut more = if may { connection.take_at_once(route.batch) } else { Vec::new() };
    // What the server has read already does not wait for what JetStream says.
    if !more.is_empty() && !link.must_ask(&messages(&more), &route.streams) {
        let more = std::mem::take(&mut more);
        match send(link, route, more, true).await {
            Ok(batch) => next = Some(batch),
            Err((more, interrupted)) => {
                entries.extend(more);
                route.interrupted(connection, entries, awaited, interrupted);
                return Err(End::Lost);
            }
        }
    }
    let last = sent.last;
    match link.confirm(&messages(&entries), sent, next.is_some()).await {
        Ok(outcomes) => {
            awaited.add(connection, entries, outcomes);
            awaited.settle(connection, link.answered(last));
            (route.failures, route.breaks) = (0, 0);
            route.batch = route.batch.saturating_mul(2).min(BATCH);
        }
        Err(interrupted) => {
            // It may be for any of them.
            entries.extend(next.into_iter().flat_map(|batch| batch.entries));
            entries.extend(more);
            route.interrupted(connection, entries, awaited, interrupted);
            return Err(End::Lost);
        }
    }
    if more.is_empty() {
        return Ok(next);
    }
    match send(link, route, more, false).await {
        Ok(batch) => Ok(Some(batch)),
        Err((more, interrupted)) => {
            route.interrupted(connection, more, awaited, interrupted);
            Err(End::Lost)
        }
    }
}

/// What streams are to acknowledge.
#[derive(Default)]
struct Awaited {
    /// In the order in which it was sent, and until when.
    entries: BTreeMap<u64, Box<(Entry, Instant)>>,
    /// Since when streams have taken nothing of what they were given.
    stuck: Option<Instant>,
}

impl Awaited {
    /// All that is awaited, in its order; nothing is any more.
    fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries).into_values().map(|first| first.0).collect()
    }

    /// Whether streams have taken nothing for so long that another server is thought of.
    fn is_stuck(&self) -> bool {
        self.stuck.is_some_and(|since| since.elapsed() >= STUCK)
    }

    /// Takes up a batch that was sent, and settles what streams have nothing to say of.
    fn add(&mut self, connection: &Connection, batch: Vec<Entry>, outcomes: Vec<Outcome>) {
        let deadline = Instant::now() + Duration::from_millis(connection.endpoint().ack_timeout_ms);
        let mut ended = Vec::with_capacity(batch.len());
        for (entry, outcome) in batch.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Awaited(serial) => _ = self.entries.insert(serial, Box::new((entry, deadline))),
                outcome => ended.push((entry, outcome)),
            }
        }
        connection.settle(ended);
    }

    /// Settles what streams have said something of.
    fn settle(&mut self, connection: &Connection, answers: Vec<(u64, Outcome)>) {
        let of = |(serial, outcome): (u64, Outcome)| {
            let (entry, _) = *self.entries.remove(&serial)?;
            let outcome = outcome.about(&entry.message.subject);
            Some((entry, outcome))
        };
        let ended: Vec<_> = answers.into_iter().filter_map(of).collect();
        if ended.is_empty() {
            return;
        }
        if ended.iter().any(|(_, outcome)| *outcome == Outcome::Delivered) {
            self.stuck = None;
        } else {
            self.stuck = self.stuck.or_else(|| Some(Instant::now()));
        }
        connection.settle(ended);
    }

    /// Gives up waiting for what streams have not acknowledged in time. They may have it all the same; it is sent again, and
    /// they know it by its id.
    fn give_up_late(&mut self, connection: &Connection, link: &mut Link) {
        let now = Instant::now();
        let is_late = |first: &(Entry, Instant)| first.1 <= now;
        if !self.entries.first_key_value().is_some_and(|(_, first)| is_late(first)) {
            return;
        }
        // What has come in and was not read yet is not late.
        link.catch_up();
        if let Some((last, _)) = self.entries.last_key_value() {
            let last = *last;
            self.settle(connection, link.answered(last));
        }
        let mut late = Vec::new();
        while let Some(first) = self.entries.first_entry().filter(|first| is_late(first.get())) {
            let (serial, awaited) = first.remove_entry();
            let (entry, _) = *awaited;
            link.forget(&Outcome::Awaited(serial));
            let (subject, patience) = (&entry.message.subject, connection.endpoint().ack_timeout_ms);
            let error = Error::new(Code::NotStored, format!("{subject}: no acknowledgement for {patience} ms"));
            late.push((entry, Outcome::Again(error)));
        }
        if late.is_empty() {
            return;
        }
        self.stuck = self.stuck.or_else(|| Some(Instant::now()));
        connection.settle(late);
    }
}

/// The servers to try, and how it went so far.
struct Route {
    servers: Vec<Server>,
    next: usize,
    /// Attempts and connections in a row that came to nothing.
    failures: usize,
    /// How often in a row a connection has broken under a batch.
    breaks: usize,
    /// How many messages go in one batch; fewer while one is looked for that the server does not take.
    batch: usize,
    /// What is known of JetStream's streams.
    streams: Streams,
    /// Whether some reading of secrets hangs.
    busy: Arc<AtomicBool>,
}

impl Route {
    fn new(connection: &Connection) -> Route {
        let servers = connection.endpoint().servers.clone();
        Route {
            servers,
            next: 0,
            failures: 0,
            breaks: 0,
            batch: BATCH,
            streams: Streams::default(),
            busy: Arc::default(),
        }
    }

    /// Connects to one of the servers, in turn, for ever; none when no one needs the connection any more.
    async fn connect(
        &mut self,
        connection: &Arc<Connection>,
        retire: &impl Fn(&Arc<Connection>) -> bool,
    ) -> Option<Link> {
        let idle = Duration::from_millis(connection.endpoint().idle_timeout_ms);
        let since = Instant::now();
        loop {
            // All servers have their turn before there is a wait.
            let rounds = self.failures.checked_div(self.servers.len()).unwrap_or_default();
            if connection.is_renewed_within(delay(connection.endpoint(), rounds)).await {
                self.failures = 0;
            }
            let place = self.next.checked_rem(self.servers.len()).unwrap_or_default();
            self.next = place.saturating_add(1);
            self.failures = self.failures.saturating_add(1);
            let server = self.servers.get(place)?.clone();
            let observer: Weak<Connection> = Arc::downgrade(connection);
            let (of, busy, to) = (connection.clone(), self.busy.clone(), server.clone());
            let open = async move { Link::open(of.endpoint(), &to, &busy, observer).await };
            // On a task of its own, which ends alone when a name is to be looked up and the machine gives no thread for that.
            let opened = tokio::spawn(open).await;
            match opened.unwrap_or_else(|_| Err(format!("{server}: the machine gives no thread to connect with"))) {
                Ok(link) => {
                    self.learn(&server, link.discovered());
                    connection.session().attach(&link);
                    connection.connected(&link.server_name(), &server, link.max_payload());
                    return Some(link);
                }
                Err(problem) => connection.trouble(&problem),
            }
            connection.expire();
            if !idle.is_zero() && since.elapsed() >= idle && retire(connection) {
                return None;
            }
        }
    }

    /// Takes a batch back whose connection broke, and looks for the message that broke it, if it was one.
    fn interrupted(
        &mut self,
        connection: &Connection,
        batch: Vec<Entry>,
        awaited: &mut Awaited,
        interrupted: Interrupted,
    ) {
        match interrupted.culprit {
            // Found: it went alone, and for a reason. Without it the others can go on. Before that it may have been something
            // else that was sent at the same time, or a bound that the next connection knows of.
            Some(said) if batch.len() == 1 && self.breaks >= SUSPICIOUS => {
                let text = format!("the server ends the connection for a message: {said}");
                let outcome = Outcome::Never(Error::new(Code::TooLarge, text));
                connection.settle(batch.into_iter().map(|entry| (entry, outcome.clone())));
            }
            said => {
                self.breaks = self.breaks.saturating_add(1);
                if said.is_some() || self.breaks >= SUSPICIOUS {
                    self.breaks = self.breaks.max(SUSPICIOUS);
                    // Smaller than a whole one, even where two were on their way.
                    self.batch = (batch.len() / 2).clamp(1, BATCH / 2);
                    // The suspects go first: what goes well meanwhile would clear them, again and again.
                    connection.put_back(awaited.take());
                }
                connection.put_back(batch);
            }
        }
    }

    /// Adds the servers of the same cluster that a server tells of.
    fn learn(&mut self, from: &Server, found: Vec<String>) {
        for address in found {
            if let Some(server) = from.neighbour(&address)
                && self.servers.len() < MAX_SERVERS
                && !self.servers.contains(&server)
            {
                self.servers.push(server);
            }
        }
    }
}

/// The wait before an attempt to connect, after so many rounds of failures: twice as long each time, with half of it by chance.
fn delay(endpoint: &Endpoint, rounds: usize) -> Duration {
    let Some(doublings) = rounds.checked_sub(1) else { return Duration::ZERO };
    let doublings = u32::try_from(doublings.min(32)).unwrap_or(32);
    let first = Duration::from_millis(endpoint.reconnect_wait_ms);
    let last = Duration::from_millis(endpoint.max_reconnect_wait_ms).max(first);
    let full = first.saturating_mul(2_u32.saturating_pow(doublings)).min(last);
    // Many gateways lose the same broker at the same moment; chance keeps them from coming back in step.
    let chance = u32::try_from(RandomState::new().hash_one(rounds) % 1000).unwrap_or_default();
    full / 2 + full.saturating_mul(chance) / 2000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn endpoint(options: Value) -> Endpoint {
        Endpoint::from_arguments(&"nats://a".into(), &options).unwrap()
    }

    #[test]
    fn waits_grow_to_four_seconds_and_differ() {
        let endpoint = endpoint(Value::Nil);
        assert_eq!(delay(&endpoint, 0), Duration::ZERO);
        for rounds in 1..200 {
            let wait = delay(&endpoint, rounds);
            assert!(wait >= Duration::from_millis(25) && wait <= Duration::from_secs(4), "{rounds}: {wait:?}");
        }
        assert!(delay(&endpoint, 1) <= Duration::from_millis(50));
        assert!(delay(&endpoint, 20) >= Duration::from_secs(2));
        let waits: std::collections::HashSet<Duration> = (0..50).map(|_| delay(&endpoint, 20)).collect();
        assert!(waits.len() > 5);
    }

    #[test]
    fn waits_are_as_the_endpoint_wants_them() {
        let given = |first, last| {
            let number = Value::Integer;
            endpoint(Value::record([("reconnect_wait_ms", number(first)), ("max_reconnect_wait_ms", number(last))]))
        };
        for rounds in 1..100 {
            let wait = delay(&given(1000, 1), rounds);
            assert!(wait >= Duration::from_millis(500) && wait <= Duration::from_secs(1), "{rounds}: {wait:?}");
            assert!(delay(&given(1, 10), rounds) <= Duration::from_millis(10));
        }
        assert!(delay(&given(1, 3_600_000), 60) >= Duration::from_secs(1800));
    }
}
