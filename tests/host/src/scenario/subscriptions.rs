//! What scripts subscribed to, and left to be closed with their states.

use super::{connected, on_threads};
use host::Broker;
use host::process::resident;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How many subscriptions each round opens.
const SUBSCRIPTIONS: usize = 10_000;
/// How many each state has.
const EACH: usize = 10;
/// The most that memory may grow by in half of the rounds: 52 bytes for each subscription.
const EACH_ROUND: usize = 512 << 10;
/// How long the server may take to hear of all ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rounds of 10,000 subscriptions on 4 threads, with requests in the air and messages that nobody takes.
pub fn dropped() {
    // One arena, as those that threads get when they meet grow in steps of megabytes.
    // SAFETY: no other thread is there yet.
    assert_eq!(unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) }, 1, "one arena");
    let broker = Broker::start();
    let first = connected(broker.port(), "");
    first
        .must_run("silent = assert(nc:subscribe('silent')) assert(nc:request_async('silent')) assert(nc:flush(10000))");
    let before = broker.subscriptions();
    assert!(before < 100, "{before} subscriptions to begin with, the system account's among them");
    let number = AtomicUsize::new(0);
    // Subjects of its own in each state, so that messages are not for all of them.
    let script = || {
        format!(
            "-- The thread keeps up: what is measured is what is left, and not how much is open at a time.
             assert(nc:flush(10000))
             local own = '.{}.'
             for n = 1, {EACH} / 2 do assert(assert(nc:subscribe('dropped' .. own .. n)):status().open) end
             -- Held by globals, so that only the end of the state ends them.
             for n = 1, {EACH} / 2 do _G['kept' .. n] = assert(nc:subscribe('kept' .. own .. n)) end
             waiting = assert(nc:request_async('silent', 'x', {{ timeout_ms = 500 }}))
             poller = assert(nats.poller())
             assert(poller:add(waiting, 1))
             routine = coroutine.create(function() nats.yielding(true) kept1:next(3600000) end)
             assert(coroutine.resume(routine))
             for n = 2, 4 do assert(nc:publish('kept' .. own .. n, 'nobody takes this')) end",
            number.fetch_add(1, Ordering::Relaxed)
        )
    };
    let rounds: Vec<usize> = (0..16)
        .map(|_| {
            on_threads(4, |_| {
                for _ in 0..SUBSCRIPTIONS / EACH / 4 {
                    connected(broker.port(), "").must_run(&script());
                }
            });
            let deadline = Instant::now() + PATIENCE;
            while broker.subscriptions() > before {
                assert!(Instant::now() < deadline, "{} subscriptions, not {before}", broker.subscriptions());
                std::thread::sleep(Duration::from_millis(20));
            }
            // What lies in the last one that is held is no leak.
            first.must_run("silent:unsubscribe() silent = assert(nc:subscribe('silent')) assert(nc:flush(10000))");
            resident()
        })
        .collect();
    println!("{:?} KiB after each round", rounds.iter().map(|size| size >> 10).collect::<Vec<_>>());
    // Round by round the same, if it is a leak: the allocator takes its steps once, at moments that nobody can tell.
    let mut grown: Vec<usize> = rounds.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    grown.sort_unstable();
    let median = grown[grown.len() / 2];
    assert!(median < EACH_ROUND, "memory grows by {} KiB a round", median >> 10);
    let pending = first.must_run("assert(nc:flush(10000)) return tostring(nc:status().pending)");
    assert_eq!(pending, "0", "nothing waits, and the connection is as good as ever");
}
