//! Lua states by the thousand, and what stays when they are closed.

use super::{connected, on_threads};
use host::process::{blocked_signals, is_mapped, resident, wait_until};
use host::{ClosedPort, State};

/// The most that memory may grow by from the 20,000th state to the 100,000th.
const GROWTH: usize = 8 << 20;
/// How many messages may wait.
const PENDING: u64 = 1_000;

/// 100,000 requests on 8 threads, each in a state of its own, with a broker that is away.
pub fn many() {
    let port = ClosedPort::take();
    let script = format!(
        "local nats = require('rgw_nats')
         judge('notify', nats.notify(Request, {{ url = 'nats://127.0.0.1:{}', max_pending = {PENDING} }}))",
        port.port()
    );
    let name = std::fs::read_to_string("/proc/self/comm").expect("/proc");
    let own_masks = || blocked_signals(name.trim());
    let own_mask = own_masks();
    assert_eq!(own_mask.len(), 1, "the main thread alone has the program's name so far");
    let round = |states: usize| {
        let tallies = on_threads(8, |_| {
            let (mut accepted, mut full) = (0, 0);
            for _ in 0..states / 8 {
                let state = State::new();
                state.must_run(&script);
                state.gateway().acquit();
                accepted += state.gateway().outcome("ok");
                full += state.gateway().outcome("queue_full");
            }
            (accepted, full)
        });
        tallies.into_iter().fold((0, 0), |sum, tally| (sum.0 + tally.0, sum.1 + tally.1))
    };
    let first = round(20_000);
    let early = resident();
    let rest = round(80_000);
    let late = resident();
    println!("{} KiB after 20,000 states, {} KiB after 100,000", early >> 10, late >> 10);
    assert_eq!((first.0 + rest.0, first.1 + rest.1), (PENDING, 100_000 - PENDING), "accepted, and refused as too many");
    assert!(late < early + GROWTH, "memory grows by {} KiB", (late - early) >> 10);

    // SIGKILL and SIGSTOP can't be blocked, and the first two real-time signals are glibc's own.
    let unblockable =
        [libc::SIGKILL, libc::SIGSTOP, 32, 33].iter().fold(0_u64, |mask, signal| mask | 1 << (signal - 1));
    let masks: Vec<u64> = blocked_signals("rgw_nats").into_iter().map(|mask| mask | unblockable).collect();
    assert_eq!(masks, [u64::MAX], "one thread of ours, with all signals blocked");
    // A thread that has ended is shown for a moment more.
    wait_until("the gateway's own threads do not keep their signals", || own_masks() == own_mask);
}

/// Lua unloads the library with each state.
pub fn unload() {
    let port = ClosedPort::take();
    assert!(!is_mapped("rgw_nats.so"), "nobody has loaded the library yet");
    let state = State::new();
    assert!(!is_mapped("rgw_nats.so"), "a state alone loads nothing");
    state.must_run("require('rgw_nats')");
    drop(state);
    assert!(is_mapped("rgw_nats.so"), "closing a state that had no connection yet left nothing of the library");

    let state = connected(port.port(), "");
    state.must_run("assert(nc:publish('a', 'b'))");
    drop(state);
    assert!(is_mapped("rgw_nats.so"), "closing a state left nothing of the library");
    // A new thread names itself, a little later.
    wait_until("the thread does not go on", || blocked_signals("rgw_nats").len() == 1);

    for _ in 0..100 {
        connected(port.port(), "").must_run("assert(nc:publish('a', 'b'))");
    }
    let state = connected(port.port(), "");
    let pending = state.must_run("return tostring(nc:status().pending) .. ' ' .. #nats.status().connections");
    assert_eq!(pending, "101 1", "messages that wait, and connections: all states share what the first one opened");
}
