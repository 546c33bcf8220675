//! Children of fork: they have the memory of their parent, and none of its threads.

use super::{connected, on_threads};
use host::process::{fork, resident};
use host::{Broker, ClosedPort, State, Subscriber};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the end of a child may take beyond what it was set to.
const SLACK: Duration = Duration::from_secs(2);

/// A child uses what it was born with, and makes its own, while messages of its parent wait.
pub fn anew() {
    let port = ClosedPort::take();
    let state = connected(port.port(), "exit_timeout_ms = 300");
    state.must_run("for n = 1, 100 do assert(nc:publish('test', 'parent')) end");
    state.must_run("assert(nc:status().pending == 100)");
    let child = fork(20, || {
        state.must_run(
            "judge('status', nats.status())
             assert(#nats.status().connections == 0, 'the parent\\'s connection is none of the child\\'s')
             assert(judge('publish', nc:publish('test', 'child')))
             assert(nc:status().pending == 1, 'the parent\\'s messages are none of the child\\'s')
             judge('tostring', tostring(nc))",
        );
        state.gateway().acquit();
        drop(state);
        let state = connected(port.port(), "exit_timeout_ms = 300");
        state.must_run("assert(nc:publish('test', 'child')) assert(nc:status().pending == 2)");
    });
    let took = child.must_end_well();
    println!("the child lived for {took:.1?}");
    assert!(took >= Duration::from_millis(250), "the child did not wait for its messages: {took:?}");
    assert!(took < Duration::from_millis(300) + SLACK, "the child took {took:?} to end");
    // `state` went to the child's closure; here, in the parent, this one is as good.
    let state = connected(port.port(), "exit_timeout_ms = 300");
    state.must_run("assert(nc:publish('test', 'parent')) assert(nc:status().pending == 101)");
}

/// Parent, child and grandchild deliver each their own messages, once.
pub fn delivery() {
    let broker = Broker::start();
    let mut subscriber = Subscriber::on(broker.port(), "test");
    let publish = |state: &State, who: &str, from: usize, to: usize| {
        state.must_run(&format!("for n = {from}, {to} do assert(nc:publish('test', '{who} ' .. n)) end"));
    };
    let state = connected(broker.port(), "");
    publish(&state, "parent", 1, 100);
    let child = fork(20, || {
        publish(&state, "child", 1, 100);
        publish(&connected(broker.port(), ""), "child", 101, 200);
        let grandchild = fork(10, || {
            publish(&state, "grandchild", 1, 100);
            publish(&connected(broker.port(), ""), "grandchild", 101, 200);
        });
        grandchild.must_end_well();
    });
    publish(&state, "parent", 101, 200);
    child.must_end_well();
    publish(&state, "parent", 201, 300);
    let mut expected: Vec<String> = (1..=300).map(|n| format!("parent {n}")).collect();
    expected.extend((1..=200).flat_map(|n| [format!("child {n}"), format!("grandchild {n}")]));
    expected.sort();
    let mut came = subscriber.collect(expected.len());
    came.sort();
    assert!(came == expected, "{} messages came instead of {}", came.len(), expected.len());
}

/// Forks again and again while eight threads publish, so that any lock may be held at that moment.
pub fn hammer() {
    let broker = Broker::start();
    let state = connected(broker.port(), "exit_timeout_ms = 500");
    let over = AtomicBool::new(false);
    on_threads(9, |place| {
        if place > 0 {
            let state = connected(broker.port(), "max_pending = 10000");
            while !over.load(Ordering::Relaxed) {
                state.must_run("for n = 1, 100 do judge('publish', nc:publish('hammer', 'x')) nats.status() end");
            }
            state.gateway().acquit();
            return;
        }
        // Whatever happens, the other threads must end.
        let _over = Raised(&over);
        let mut longest = Duration::ZERO;
        for _ in 0..300 {
            let child = fork(10, || {
                let born_with = connected_copy(&state);
                born_with.must_run("judge('publish', nc:publish('test', 'x')) judge('status', nc:status())");
                born_with.gateway().acquit();
                let own = connected(broker.port(), "exit_timeout_ms = 500");
                own.must_run("assert(nc:publish('test', 'x')) assert(nats.status())");
            });
            longest = longest.max(child.must_end_well());
        }
        println!("the longest of 300 children lived for {longest:.1?}");
    });
    state.must_run("assert(nc:publish('test', 'x'))");
    println!("{} KiB", resident() >> 10);
}
