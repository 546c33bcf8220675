//! The limit of memory that Ceph 20 sets, and what is left in memory.

use super::{connected, on_threads};
use host::process::resident;
use host::{Broker, ClosedPort, Ended, Release, Setup, State};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `rgw_lua_max_memory_per_state`.
const LIMIT: usize = 128_000;

/// What a script may do, each with all results judged. `{url}` is where the broker is.
pub const SCRIPTS: [(&str, &str); 5] = [
    ("require", "local nats = require('rgw_nats') judge('require', type(nats) == 'table')"),
    ("notify", "local nats = require('rgw_nats') judge('notify', nats.notify(Request, { url = '{url}' }))"),
    (
        "bad configuration",
        "local nats = require('rgw_nats')
         judge('notify', nats.notify(Request, { urk = '{url}', subject = 'a..b', id = {}, [7] = true }))",
    ),
    (
        "client",
        "local nats = require('rgw_nats')
         local nc = judge('connect', nats.connect('{url}', { name = 'memory' }))
         if not nc then return end
         judge('publish', nc:publish('memory', 'payload', { ['X-Header'] = 'value' }))
         judge('tostring', tostring(nc))
         judge('handle:status', nc:status())
         judge('status', nats.status())
         judge('close', nc:close())
         judge('publish', nc:publish('memory', 'payload'))",
    ),
    (
        "collection",
        "local nats = require('rgw_nats')
         for n = 1, 3 do
           local nc = judge('connect', nats.connect('{url}'))
           nc = nil
           collectgarbage()
         end
         judge('status', nats.status())
         collectgarbage('step')",
    ),
];

/// What came of runs of one script.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many ran through.
    pub well: u64,
    /// How many ended with Lua's own error.
    pub raised: u64,
    /// How often our functions gave each outcome.
    pub outcomes: BTreeMap<String, u64>,
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, state: &State, ended: Ended) {
        state.gateway().acquit();
        match ended {
            Ended::Well(_) => self.well += 1,
            Ended::Raised(text) => {
                // The second is what Lua's `tostring` makes of it when ours has no memory for the text.
                let of_memory = ["not enough memory", "'__tostring' must return a string"];
                assert!(of_memory.iter().any(|part| text.contains(part)), "not of memory: {text}");
                self.raised += 1;
            }
            Ended::Threw => panic!("nobody throws here"),
        }
        for (outcome, count) in state.gateway().outcomes.borrow().iter() {
            *self.outcomes.entry(outcome.clone()).or_default() += count;
        }
    }

    /// Both together.
    fn and(mut self, other: Tally) -> Tally {
        self.well += other.well;
        self.raised += other.raised;
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self
    }
}

/// Every script under every limit from Ceph's own down to the one under which there can be no state.
pub fn limits() {
    let broker = Broker::start();
    for (name, script) in SCRIPTS {
        let script = script.replace("{url}", &format!("nats://127.0.0.1:{}", broker.port()));
        let setup = |memory| Setup { release: Release::Tentacle, memory: Some(memory), ..Setup::default() };
        let state = State::open(&setup(LIMIT)).expect("Ceph's own limit");
        assert_eq!(state.run(&script), Ended::Well(String::new()), "{name}, under Ceph's own limit");
        state.gateway().acquit();
        assert_eq!(state.gateway().outcome("memory"), 0, "{name}: no memory under Ceph's own limit");
        let peak = state.gateway().heap.peak();

        // Above what the script takes no limit is ever met: some of those are enough, and below that each single one.
        let step = |limit: usize| if limit > peak + 2_000 { 491 } else { 1 };
        let limit = AtomicUsize::new(LIMIT);
        let tallies = on_threads(2, |_| {
            let mut tally = Tally::default();
            loop {
                let lower = |limit: usize| Some(limit.saturating_sub(step(limit)));
                let next = limit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower).unwrap_or_default();
                let Some(state) = State::open(&setup(next)) else { return tally };
                let ended = state.run(&script);
                tally.add(&state, ended);
            }
        });
        let tally = tallies.into_iter().fold(Tally::default(), Tally::and);
        println!("{name}: takes {peak} bytes; {tally:?}");
        assert!(tally.well > 1_000 && tally.raised > 1_000, "{name}: the limits did not bite, or always did");
    }
}

/// What was copied for calls that came to nothing, and for handles that could not be given, is given back.
pub fn leftovers() {
    let port = ClosedPort::take();
    let state = connected(port.port(), "");
    state.must_run(&format!("url = 'nats://127.0.0.1:{}'  large = ('x'):rep(256 * 1024)", port.port()));
    let calls = |count: usize| {
        state.must_run(&format!(
            "local raising = setmetatable({{}}, {{ __index = function() error(large) end }})
             for n = 1, {count} do
               judge('notify', nats.notify(raising, {{ url = url, opaque_data = large }}))
               judge('publish', nc:publish('a..b', large, {{ [large] = large }}))
               judge('connect', nats.connect(large, {{ name = large }}))
             end"
        ));
    };
    calls(100);
    let early = resident();
    calls(2_000);
    let late = resident();
    state.gateway().acquit();
    assert_eq!(state.gateway().outcome("ok"), 0, "all of these are refused");
    println!("{} KiB, and {} KiB after 6,000 refused calls of 256 KiB and more", early >> 10, late >> 10);
    assert!(late < early + (32 << 20), "refused calls leave {} KiB behind", (late - early) >> 10);
}
