//! Carries messages from a connection's queue to the broker until they are confirmed.

use super::Connection;
use crate::message::Message;
use crate::transport::{Interrupted, Link, Observer};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The wait before a link that was given up is replaced.
const NEW_LINK: Duration = Duration::from_secs(1);

/// Delivers what comes into the queue, in order, each message as often as it takes. Ends when the connection has been
/// idle for `idle_timeout_ms` and `retire` says that no one needs it any more. Keeps one reference to it, and that alone.
pub async fn courier(connection: Arc<Connection>, retire: impl Fn(&Arc<Connection>) -> bool) {
    let idle = Duration::from_millis(connection.endpoint().idle_timeout_ms);
    let mut link = open(&connection).await;
    loop {
        let batch = match idle {
            Duration::ZERO => connection.take().await,
            _ => match tokio::time::timeout(idle, connection.take()).await {
                Ok(batch) => batch,
                Err(_) if retire(&connection) => return,
                Err(_) => continue,
            },
        };
        deliver(&connection, &mut link, &batch).await;
    }
}

/// Delivers one batch, as often as it takes.
async fn deliver(connection: &Arc<Connection>, link: &mut Link, batch: &[Message]) {
    loop {
        match link.deliver(batch).await {
            Ok(refused) => {
                connection.done(batch, &refused);
                connection.served_by(link.server_name());
                return;
            }
            Err(Interrupted::Connection) => {
                connection.trouble(
                    "the connection broke before messages were confirmed; they are sent again with the same ids",
                );
            }
            Err(Interrupted::Link) => {
                connection.trouble("the connection was given up; a new one is made");
                tokio::time::sleep(NEW_LINK).await;
                *link = open(connection).await;
            }
        }
        connection.again(batch);
    }
}

async fn open(connection: &Arc<Connection>) -> Link {
    loop {
        let observer: Weak<Connection> = Arc::downgrade(connection);
        match Link::open(connection.endpoint(), observer).await {
            Ok(link) => return link,
            Err(error) => connection.trouble(&error.to_string()),
        }
        tokio::time::sleep(NEW_LINK).await;
    }
}
