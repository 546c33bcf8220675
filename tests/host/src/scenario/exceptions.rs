//! C++ exceptions, which Ceph 16 throws through Lua and through this library, and catches where it had the script run.

use host::process::resident;
use host::{ClosedPort, Ended, Release, Setup, State};

fn pacific() -> State {
    State::open(&Setup { release: Release::Pacific, ..Setup::default() }).expect("a state")
}

/// An exception at each single read of `Request`, as the script calls us in several ways.
pub fn at_each_read() {
    let port = ClosedPort::take();
    for call in [
        "nats.notify(Request, configuration)",
        "pcall(nats.notify, Request, configuration)",
        "coroutine.wrap(function() nats.notify(Request, configuration) end)()",
        "setmetatable({}, { __index = function() nats.notify(Request, configuration) end }).x = nil",
        "table.sort({ 1, 2 }, function() nats.notify(Request, configuration) end)",
    ] {
        let script = format!(
            "local nats = require('rgw_nats')
             local configuration = {{ url = 'nats://127.0.0.1:{}' }}
             {call}
             judge('notify', nats.notify(Request, configuration))",
            port.port()
        );
        let mut thrown = 0;
        for place in 1.. {
            let state = pacific();
            state.gateway().throw_at(place);
            let ended = state.run(&script);
            state.gateway().acquit();
            if ended != Ended::Threw {
                assert_eq!(ended, Ended::Well(String::new()), "{call}");
                break;
            }
            thrown += 1;
        }
        println!("{thrown} exceptions out of {call}");
        assert!(thrown > 20, "{call}: Request is hardly read");
    }
}

/// An exception out of a script's finalizer, in a collection that our own work for Lua makes necessary.
pub fn of_finalizers() {
    for work in ["nats.status()", "nats.connect(url)", "nats.connect(url, { nam = 1 })", "nc:status()"] {
        for _ in 0..100 {
            let state = pacific();
            state.must_run(
                "collectgarbage('stop')
                 nats, url = require('rgw_nats'), 'nats://127.0.0.1:1'
                 nc = nats.connect(url)
                 for n = 1, 20 do setmetatable({}, { __gc = function() return Request.Id end }) end
                 collectgarbage('setstepmul', 1000000)",
            );
            state.gateway().throw_at(1);
            assert_eq!(state.run(&format!("collectgarbage('restart') {work}")), Ended::Threw, "{work}");
        }
    }
}

/// An exception leaves nothing of ours in memory, nor a lock held.
pub fn leave_nothing() {
    let port = ClosedPort::take();
    let script = format!(
        "local nats = require('rgw_nats')
         nats.notify(Request, {{ url = 'nats://127.0.0.1:{}', opaque_data = ('x'):rep(256 * 1024) }})",
        port.port()
    );
    let throw = |count: usize| {
        for _ in 0..count {
            let state = pacific();
            state.gateway().throw_at(5);
            assert_eq!(state.run(&script), Ended::Threw);
        }
    };
    throw(100);
    let early = resident();
    throw(1_000);
    let late = resident();
    println!("{} KiB, and {} KiB after 1,000 exceptions", early >> 10, late >> 10);
    assert!(late < early + (32 << 20), "exceptions leave {} KiB behind", (late - early) >> 10);
}
