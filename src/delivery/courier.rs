//! Carries messages from a connection's queue to the broker until they are confirmed.

use super::Connection;
use super::queue::BATCH;
use crate::config::Server;
use crate::error::{Code, Error};
use crate::transport::{Link, Observer};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The first wait before a further attempt to connect; each one after it is twice as long, with half of it by chance.
const FIRST_DELAY: Duration = Duration::from_millis(50);
/// The longest wait before a further attempt to connect.
const LAST_DELAY: Duration = Duration::from_secs(4);
/// After so many breaks in a row one of the messages is suspected.
const SUSPICIOUS: usize = 3;
/// A connection that has held so long was a good one, even if nothing was sent over it.
const GOOD: Duration = Duration::from_secs(10);
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
    loop {
        let wait = if idle.is_zero() { GOOD } else { idle.saturating_sub(since.elapsed()) };
        let batch = tokio::select! {
            batch = connection.take(route.batch) => batch,
            () = link.lost() => return End::Lost,
            () = tokio::time::sleep(wait) => {
                if !idle.is_zero() && since.elapsed() >= idle {
                    if retire(connection) {
                        return End::Retired;
                    }
                    since = Instant::now();
                }
                continue;
            }
        };
        let carefully = route.breaks >= SUSPICIOUS && batch.len() == 1;
        match link.deliver(&batch, carefully).await {
            Ok(refused) => {
                connection.done(&batch, &refused);
                (route.failures, route.breaks) = (0, 0);
                route.batch = route.batch.saturating_mul(2).min(BATCH);
            }
            Err(interrupted) => {
                match interrupted.culprit {
                    // Found: without it the others can go on.
                    Some(said) if batch.len() == 1 => {
                        let text = format!("the server ends the connection for a message: {said}");
                        connection.done(&batch, &[(0, Error::new(Code::TooLarge, text))]);
                    }
                    said => {
                        route.breaks = route.breaks.saturating_add(1);
                        if said.is_some() || route.breaks >= SUSPICIOUS {
                            route.breaks = route.breaks.max(SUSPICIOUS);
                            route.batch = (batch.len() / 2).max(1);
                        }
                        connection.put_back(batch);
                    }
                }
                return End::Lost;
            }
        }
        since = Instant::now();
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
}

impl Route {
    fn new(connection: &Connection) -> Route {
        Route { servers: connection.endpoint().servers.clone(), next: 0, failures: 0, breaks: 0, batch: BATCH }
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
            tokio::time::sleep(delay(rounds)).await;
            let place = self.next.checked_rem(self.servers.len()).unwrap_or_default();
            self.next = place.saturating_add(1);
            self.failures = self.failures.saturating_add(1);
            let server = self.servers.get(place)?.clone();
            let observer: Weak<Connection> = Arc::downgrade(connection);
            match Link::open(connection.endpoint(), &server, observer).await {
                Ok(link) => {
                    self.learn(&server, link.discovered());
                    connection.connected(&link.server_name(), &server, link.max_payload());
                    return Some(link);
                }
                Err(problem) => connection.trouble(&problem),
            }
            if !idle.is_zero() && since.elapsed() >= idle && retire(connection) {
                return None;
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

/// The wait before an attempt to connect, after so many rounds of failures.
fn delay(rounds: usize) -> Duration {
    let Some(doublings) = rounds.checked_sub(1) else { return Duration::ZERO };
    let doublings = u32::try_from(doublings.min(16)).unwrap_or(16);
    let full = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(doublings)).min(LAST_DELAY);
    // Many gateways lose the same broker at the same moment; chance keeps them from coming back in step.
    let chance = u32::try_from(RandomState::new().hash_one(rounds) % 1000).unwrap_or_default();
    full / 2 + full.saturating_mul(chance) / 2000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_four_seconds_and_differ() {
        assert_eq!(delay(0), Duration::ZERO);
        for rounds in 1..200 {
            let wait = delay(rounds);
            assert!(wait >= FIRST_DELAY / 2 && wait <= LAST_DELAY, "{rounds}: {wait:?}");
        }
        assert!(delay(20) >= LAST_DELAY / 2);
        let waits: std::collections::HashSet<Duration> = (0..50).map(|_| delay(20)).collect();
        assert!(waits.len() > 5);
    }
}
