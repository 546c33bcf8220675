//! Configuration files are looked at whether requests come or not, each on a thread of its own.

use super::file::{File, LOOK_AGAIN};
use super::{Process, publish_late, running};
use crate::config::Endpoint;
use crate::log;
use crate::thread;
use std::sync::Arc;

/// Looks at all files, again and again.
pub async fn files(process: &'static Process) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        process.configurations.files().iter().for_each(look);
    }
}

/// Looks at a file, unless somebody does already.
pub fn look(file: &Arc<File>) {
    if let Some(looking) = file.free()
        && let Err(error) = thread::start("rgw_nats_io", move || looking.look(publish_late, renewed))
    {
        log::line(format_args!("no thread to read {} with: {error}; it is tried again in a second", file.path()));
    }
}

/// Has a connection that waits for its next attempt make it: its login or TLS may be in order now.
fn renewed(endpoint: &Endpoint) {
    if let Some(connection) = running().and_then(|process| process.connections().get(endpoint).cloned()) {
        connection.try_again();
    }
}
