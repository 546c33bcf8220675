//! A state's allocator that refuses one request for memory, for every request that there is.

use super::memory::{SCRIPTS, Tally};
use host::lua::{lua_getglobal, lua_settop};
use host::process::wait_until;
use host::{Broker, ClosedPort, Ended, Refusal, Release, Setup, State};

/// The ways to refuse.
const WAYS: [fn(u64) -> Refusal; 3] = [Refusal::Once, Refusal::Twice, Refusal::From];

/// Every script, with each single request for memory refused.
pub fn scripts() {
    let broker = Broker::start();
    for (name, script) in SCRIPTS {
        let script = script.replace("{url}", &format!("nats://127.0.0.1:{}", broker.port()));
        for way in WAYS {
            let mut tally = Tally::default();
            for place in 1.. {
                let state = State::new();
                state.gateway().heap.refuse(way(place));
                let ended = state.run(&script);
                if state.gateway().heap.relent() == 0 {
                    assert_eq!(ended, Ended::Well(String::new()), "{name}, with all its memory");
                    break;
                }
                tally.add(&state, ended);
                // What was refused for a moment, no later script may notice.
                state.must_run("collectgarbage()");
            }
            println!("{name}, {:?} and on: {tally:?}", way(1));
            if matches!(way(1), Refusal::Once(_)) {
                assert_eq!(tally.raised, 0, "{name}: a refusal that a collection mends was noticed");
            } else {
                assert!(tally.raised > 20, "{name}: refusals were hardly noticed");
            }
        }
    }
}

/// What only 20 does anything in.
const ADMIT_ON_20: &str = "admit, on 20";

/// A function, and how a script prepares the call: it sets `call` and `a` to `d`.
const CALLS: [(&str, &str); 13] = [
    ("luaopen", "call = package.loadlib(package.searchpath('rgw_nats', package.cpath), 'luaopen_rgw_nats')"),
    ("notify", "call, a, b = nats.notify, Request, { url = url, idle_timeout_ms = 60000 }"),
    ("notify, refused", "call, a, b = nats.notify, Request, { urk = url, subject = 'a..b', id = {} }"),
    (
        "notify, raised",
        "call, a, b = nats.notify, setmetatable({}, { __index = function(_, k) error(k .. 'x') end }), {}",
    ),
    (ADMIT_ON_20, "call, a, b = nats.admit, Request, { url = url, idle_timeout_ms = 60000 }"),
    ("connect", "call, a, b = nats.connect, url, { name = 'refusal', idle_timeout_ms = 100 }"),
    ("connect, refused", "call, a, b = nats.connect, url, { nam = {} }"),
    ("status", "call = nats.status"),
    ("publish", "call, a, b, c, d = nc.publish, nc, 'a.b', 'payload', { name = 'value' }"),
    ("publish, refused", "call, a, b = nc.publish, nc, 'a..b'"),
    ("handle:status", "call, a = nc.status, nc"),
    ("tostring", "call, a = metatable.__tostring, nc"),
    ("close", "call, a = nc.close, nc"),
];

/// Every function, called with nothing of Lua's own around it, with each single request for memory refused. Nothing may
/// be raised at all.
pub fn calls() {
    let port = ClosedPort::take();
    for (name, prepare) in CALLS {
        let mut refusals = 0;
        for way in WAYS {
            for place in 1.. {
                let release = if name == ADMIT_ON_20 { Release::Tentacle } else { Release::Reef };
                let state = State::open(&Setup { release, debug: true, ..Setup::default() }).expect("a state");
                state.must_run(&format!("url = 'nats://127.0.0.1:{}'", port.port()));
                if name != "luaopen" {
                    // A connection that nobody uses goes away soon.
                    state.must_run(
                        "nats = require('rgw_nats')
                         nc = nats.connect(url, { idle_timeout_ms = 100 })
                         metatable = debug.getmetatable(nc)",
                    );
                }
                state.must_run(prepare);
                // SAFETY: five values are pushed, and taken by the call. None of this takes memory: the stack of a
                // script that has run is large enough.
                let (result, refused) = unsafe {
                    lua_settop(state.lua(), 0);
                    for argument in [c"call", c"a", c"b", c"c", c"d"] {
                        lua_getglobal(state.lua(), argument.as_ptr());
                    }
                    state.gateway().heap.refuse(way(place));
                    let result = state.call(4);
                    (result, state.gateway().heap.relent())
                };
                match result {
                    Ok(None) => {}
                    Ok(Some(code)) if code == "memory" => assert!(refused > 0, "{name}: no memory, when all was given"),
                    Ok(Some(code)) => {
                        let expected = ["bad_config", "bad_request", "bad_subject", "queue_full"];
                        assert!(expected.contains(&code.as_str()), "{name}, {:?}: {code}", way(place));
                    }
                    // What `require` calls may say it in Lua's own way, which is a string.
                    Err(error) if name == "luaopen" && error.starts_with("it raised: ") => {}
                    Err(error) => panic!("{name}, {:?}: {error}", way(place)),
                }
                state.must_run("collectgarbage()");
                if refused == 0 {
                    break;
                }
                refusals += refused;
            }
        }
        println!("{name}: {refusals} refusals");
        let takes_none = ["publish", "close"].contains(&name);
        assert!(refusals > 0 || takes_none, "{name} takes no memory at all?");
    }
    none_is_left(port.port());
}

/// Waits until the connections that those states opened are gone, which they are once nobody has a handle on them. Those
/// with messages stay.
fn none_is_left(port: u16) {
    let state = State::new();
    let script = "local open = {}
         for _, connection in ipairs(require('rgw_nats').status().connections) do
           if connection.pending == 0 then open[#open + 1] = connection.name end
         end
         return table.concat(open, ' ')";
    wait_until(&format!("handles on connections to {port} are left behind"), || state.must_run(script).is_empty());
}
