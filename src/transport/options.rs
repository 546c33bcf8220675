//! What async-nats is told of one connection: its options, and the secrets that it takes.

use super::link::Observer;
use super::login::Login;
use super::signals::{Signals, said};
use super::tls;
use crate::config::{Auth, Endpoint, Server};
use crate::thread;
use async_nats::rustls::ClientConfig;
use async_nats::{AuthError, ConnectOptions, Event};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

/// That secrets are being read; ends however that ends.
struct Reading(Arc<AtomicBool>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Reads what a connection takes from files, on another thread: a disk can hang.
pub(super) async fn secrets(
    endpoint: &Endpoint,
    server: &Server,
    busy: &Arc<AtomicBool>,
) -> Result<(Login, Option<ClientConfig>), String> {
    let auth = if *server.auth() == Auth::None { &endpoint.auth } else { server.auth() };
    let (auth, tls) = (auth.clone(), endpoint.tls.clone());
    let inline = auth == Auth::None && tls.is_none();
    let read = move || Ok((Login::of(&auth)?, tls.as_ref().map(tls::client_config).transpose()?));
    if inline {
        return read();
    }
    if busy.swap(true, Ordering::AcqRel) {
        return Err("the files of the login or of TLS are still being read: a disk hangs".to_owned());
    }
    let reading = Reading(busy.clone());
    let (sender, found) = oneshot::channel();
    let work = move || {
        let found = read();
        drop(reading);
        let _ = sender.send(found);
    };
    thread::start("rgw_nats_io", work).map_err(|error| format!("no thread to read the login with: {error}"))?;
    match tokio::time::timeout(Duration::from_millis(endpoint.connect_timeout_ms), found).await {
        Ok(found) => found.unwrap_or_else(|_| Err("the login can't be read".to_owned())),
        Err(_) => Err("the files of the login or of TLS can't be read in time: a disk hangs".to_owned()),
    }
}

/// The options of async-nats for one connection to a server.
pub(super) fn options(
    endpoint: &Endpoint,
    login: Login,
    signals: &Arc<Signals>,
    observer: Weak<dyn Observer>,
) -> ConnectOptions {
    let signals = signals.clone();
    // Asked for at each connection, after the server's first word: once for each address that its name has, until one takes
    // it. A second connection gets no login, and ends the client: with one attempt allowed, async-nats gives up.
    let up = signals.clone();
    let auth = move |nonce: Vec<u8>| {
        let again = up.up.load(Ordering::Relaxed);
        std::future::ready(if again { Err(AuthError::new("")) } else { login.answer(&nonce) })
    };
    let options = ConnectOptions::with_auth_callback(auth);
    let options = if endpoint.no_echo { options.no_echo() } else { options };
    options
        .name(&endpoint.name)
        .connection_timeout(Duration::from_millis(endpoint.connect_timeout_ms))
        .ping_interval(Duration::from_millis(endpoint.ping_interval_ms))
        .custom_inbox_prefix(&endpoint.inbox_prefix)
        .max_reconnects(1)
        .reconnect_delay_callback(|_| Duration::ZERO)
        .ignore_discovered_servers()
        // Subjects are checked when they are accepted.
        .skip_subject_validation(true)
        .event_callback(move |event| {
            match event {
                Event::Disconnected | Event::Closed => signals.ended.store(true, Ordering::Relaxed),
                Event::ServerError(error) => {
                    if let Some(observer) = observer.upgrade() {
                        said(&error.to_string(), &signals, &*observer);
                    }
                }
                _ => {}
            }
            signals.changed.notify_one();
            std::future::ready(())
        })
}
