//! Every function with every kind of argument; the script for it is `lua/kinds.lua`.

use super::STACK;
use host::lua::{GC_RESTART, GC_STOP, lua_gc, lua_getglobal, lua_settop};
use host::{Broker, ClosedPort, Setup, State};

const SCRIPT: &str = include_str!("../../lua/kinds.lua");

/// Runs the script in a way that it knows, on a stack as small as RGW's, closes the state, and judges all calls.
fn play(way: &'static str) {
    let work = move || {
        let (port, streams) = (ClosedPort::take(), Broker::with_streams());
        let state = State::open(&Setup { debug: true, ..Setup::default() }).expect("a state");
        state.must_run(&format!("PORT, STREAMS, WAY = {}, {}, '{way}'", port.port(), streams.port()));
        let found = state.must_run(SCRIPT);
        let gateway = state.close();
        let outcomes = gateway.outcomes.borrow();
        println!("{way}: {found}, {} calls: {outcomes:?}", outcomes.values().sum::<u64>());
        gateway.acquit();
        // There is memory enough, and no kind of argument is a defect of ours.
        for code in ["memory", "internal"] {
            assert_eq!(gateway.outcome(code), 0, "{code}");
        }
        for outcome in ["ok", "bad_argument", "bad_config", "bad_request", "bad_subject", "closed"] {
            assert!(gateway.outcome(outcome) > 0, "{outcome} was never seen: did anything run?");
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
    thread.expect("a thread").join().expect("a thread that did not panic");
}

/// Every function with every kind of argument in every place, called in each way that there is while the state lives.
pub fn every() {
    for way in ["directly", "by pcall", "in a coroutine"] {
        play(way);
    }
}

/// The same out of finalizers, while the state is closed.
pub fn at_close() {
    play("at close");
}

/// Finalizers that raise, run by collections within our functions. On 5.3 such an error goes to whoever made the
/// collection necessary.
pub fn finalizers() {
    let port = ClosedPort::take();
    let state = State::open(&Setup { debug: true, ..Setup::default() }).expect("a state");
    state.must_run(&format!(
        "url = 'nats://127.0.0.1:{}'
         nats = require('rgw_nats')
         nc = assert(nats.connect(url))
         metatable = debug.getmetatable(nc)
         collected = 0
         collectgarbage('setstepmul', 1000000)",
        port.port()
    ));
    let mut within = 0;
    for (name, call) in [
        ("status", "call = nats.status"),
        ("handle:status", "call, a = nc.status, nc"),
        ("connect", "call, a, b = nats.connect, url, { name = 'x' }"),
        ("connect, refused", "call, a, b = nats.connect, url, { nam = 'x' }"),
        ("notify", "call, a, b = nats.notify, Request, { url = url }"),
        ("notify, refused", "call, a, b = nats.notify, Request, { urk = url }"),
        ("tostring", "call, a = metatable.__tostring, nc"),
        ("publish, refused", "call, a, b = nc.publish, nc, 'a..b'"),
    ] {
        for raised in ["'text'", "{}", "nil", "nc"] {
            state.must_run(&format!(
                "collectgarbage('stop')
                 repeat until pcall(collectgarbage)
                 a, b = nil, nil
                 {call}
                 for n = 1, 20 do
                   setmetatable({{}}, {{ __gc = function() collected = collected + 1 error({raised}) end }})
                 end
                 collected = 0"
            ));
            // SAFETY: the function and two arguments are pushed, and taken by the call.
            let result = unsafe {
                lua_settop(state.lua(), 0);
                for argument in [c"call", c"a", c"b"] {
                    lua_getglobal(state.lua(), argument.as_ptr());
                }
                lua_gc(state.lua(), GC_RESTART);
                let result = state.call(2);
                lua_gc(state.lua(), GC_STOP);
                result
            };
            within += state.must_run("return tostring(collected)").parse::<u64>().expect("a number");
            match result {
                Ok(code) if code.as_deref() != Some("memory") => {}
                other => panic!("{name}, with finalizers that raise {raised}: {other:?}"),
            }
        }
    }
    println!("{within} finalizers ran within our functions");
    assert!(within > 20, "collections did not happen within our functions: {within}");
}
