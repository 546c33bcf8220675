//! The end of the process, with messages that wait.

use super::connected;
use host::ClosedPort;
use std::time::Duration;

/// What a process publishes before it ends.
pub const MESSAGES: usize = 1_000;

fn exit(code: i32) -> ! {
    // SAFETY: this is how radosgw ends.
    unsafe { libc::exit(code) }
}

/// Ends with messages for a broker that is away.
pub fn without_broker(limit_ms: u64, code: i32) {
    let port = ClosedPort::take();
    let state = connected(port.port(), &format!("exit_timeout_ms = {limit_ms}"));
    state.must_run("for n = 1, 10 do assert(nc:publish('test', tostring(n))) end");
    exit(code)
}

/// Publishes and ends at once, before there can be a connection.
pub fn after_publishing(port: u16) {
    let state = connected(port, "");
    state.must_run(&format!("for n = 1, {MESSAGES} do assert(nc:publish('test', tostring(n))) end"));
    drop(state);
    exit(0)
}

/// Ends while eight threads publish, some of them in new states.
pub fn amid_publishing(port: u16) {
    for place in 0..8 {
        std::thread::spawn(move || {
            loop {
                let state = connected(port, "exit_timeout_ms = 1000");
                let count = if place % 2 == 0 { 1 } else { 1_000 };
                state.must_run(&format!("for n = 1, {count} do judge('publish', nc:publish('test', 'x')) end"));
                // At the end the connection is closed for all.
                state.gateway().acquit();
            }
        });
    }
    std::thread::sleep(Duration::from_millis(300));
    exit(5)
}
