//! Children of fork: they have the memory of their parent, and none of its threads.

use super::connected;
use host::process::{fork, hold_registration, is_registration_held, wait_until};
use host::{Broker, ClosedPort, State, Subscriber};
use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long the end of a child may take beyond what it was set to.
const SLACK: Duration = Duration::from_millis(1_500);

/// A child uses what it was born with, and makes its own, while messages of its parent wait.
pub fn anew() {
    let port = ClosedPort::take();
    let state = connected(port.port(), "exit_timeout_ms = 300");
    state.must_run("for n = 1, 100 do assert(nc:publish('test', 'parent')) end");
    state.must_run("assert(nc:status().pending == 100)");
    let state = Cell::new(Some(state));
    let child = fork(20, || {
        let born_with = state.take().expect("a state");
        born_with.must_run(
            "judge('status', nats.status())
             assert(#nats.status().connections == 0, 'the parent\\'s connection is none of the child\\'s')
             assert(judge('publish', nc:publish('test', 'child')))
             assert(nc:status().pending == 1, 'the parent\\'s messages are none of the child\\'s')
             judge('tostring', tostring(nc))",
        );
        born_with.gateway().acquit();
        drop(born_with);
        let own = connected(port.port(), "exit_timeout_ms = 300");
        own.must_run("assert(nc:publish('test', 'child')) assert(nc:status().pending == 2)");
    });
    let took = child.must_end_well();
    println!("the child lived for {took:.1?}");
    assert!(took >= Duration::from_millis(250), "the child did not wait for its messages: {took:?}");
    assert!(took < Duration::from_millis(300) + SLACK, "the child took {took:?} to end");
    let state = state.take().expect("the parent's own copy");
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

/// Forks again and again while eight threads publish and ask, so that any lock may be held at that moment.
pub fn hammer() {
    let broker = Broker::start();
    let port = broker.port();
    let over = Arc::new(AtomicBool::new(false));
    let hammer = move |over: Arc<AtomicBool>| {
        let state = connected(port, "max_pending = 10000");
        while !over.load(Ordering::Relaxed) {
            state.must_run(
                "for n = 1, 100 do
                   judge('publish', nc:publish('hammer', 'x'))
                   judge('request_async', nc:request_async('nobody', 'x'))
                   nats.status()
                 end",
            );
        }
        state.gateway().acquit();
        state.gateway().outcome("ok")
    };
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let over = over.clone();
            std::thread::spawn(move || hammer(over))
        })
        .collect();
    let state = connected(port, "exit_timeout_ms = 500");
    state.must_run("js = assert(nc:jetstream()) judge('stream_info', js:stream_info('x'))");
    let mut longest = Duration::ZERO;
    for _ in 0..300 {
        let child = fork(10, || {
            state.must_run(
                "judge('publish', nc:publish('test', 'x'))
                 judge('status', nc:status())
                 -- What the child was born with of its parent's connection says so, and does not wait.
                 local _, _, code = js:stream_info('x')
                 assert(code == 'disconnected', code)
                 _, _, code = nc:request('nobody', 'x', { timeout_ms = 5000 })
                 assert(code == 'no_responders', code)",
            );
            state.gateway().acquit();
            let own = connected(port, "exit_timeout_ms = 500");
            own.must_run("assert(nc:publish('test', 'x')) assert(nats.status())");
        });
        longest = longest.max(child.must_end_well());
    }
    over.store(true, Ordering::Relaxed);
    let published: u64 = threads.into_iter().map(|thread| thread.join().expect("a thread")).sum();
    println!("the longest of 300 children lived for {longest:.1?}; meanwhile {published} messages were published");
    assert!(published > 10_000, "the threads hardly did anything: {published} messages");
    state.must_run("assert(nc:publish('test', 'x'))");
}

/// Forks while another thread is just about to have handlers of fork registered, with the first connection of the process.
pub fn start() {
    let port = ClosedPort::take().port();
    hold_registration(true);
    let first = std::thread::spawn(move || connected(port, "exit_timeout_ms = 100").must_run("nc:close()"));
    wait_until("the first connection has no handlers registered", is_registration_held);
    let child = fork(10, || {
        hold_registration(false);
        connected(port, "exit_timeout_ms = 100").must_run("assert(nc:publish('test', 'child'))");
    });
    child.must_end_well();
    hold_registration(false);
    first.join().expect("a thread");
}

/// The journal has stopped reading, so that a thread is stuck in writing a line of the log. A child must not wait for it.
pub fn log() {
    let (mut reader, writer) = full_pipe();
    // SAFETY: standard error becomes the pipe; the one before is kept for this program's own words.
    let own = unsafe {
        let own = OwnedFd::from_raw_fd(libc::dup(2));
        libc::dup2(writer.as_raw_fd(), 2);
        own
    };
    let port = ClosedPort::take();
    let state = connected(port.port(), "exit_timeout_ms = 100");
    // The first failure to connect is logged, as soon as it is in the status.
    let is_told = || !state.must_run("return nc:status().last_error").is_empty();
    wait_until("nothing went wrong with a broker that is away", is_told);
    std::thread::sleep(Duration::from_millis(200));
    let child = fork(10, || {
        // SAFETY: the child's log goes elsewhere: what it waits for can only be a lock.
        unsafe { libc::dup2(own.as_raw_fd(), 2) };
        state.must_run("assert(nc:publish('test', 'child'))");
    });
    // SAFETY: as above; what is stuck in the pipe stays there until it is read.
    unsafe { libc::dup2(own.as_raw_fd(), 2) };
    drop(writer);
    std::thread::spawn(move || reader.read_to_end(&mut Vec::new()));
    child.must_end_well();
}

/// A pipe that takes no further byte.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let flags = |flags: libc::c_int| {
        // SAFETY: sets the flags of a descriptor of ours.
        unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, flags) };
    };
    flags(libc::O_NONBLOCK);
    while (&mut &writer).write(&[b' '; 4096]).is_ok() {}
    while (&mut &writer).write(b" ").is_ok() {}
    flags(0);
    writer.flush().expect("nothing to flush");
    (reader, writer)
}

/// A program that a script starts gets none of our descriptors.
pub fn program() {
    let broker = Broker::start();
    let state = connected(broker.port(), "");
    wait_until("no connection", || state.must_run("return tostring(nc:status().connected)") == "true");
    let sockets = |directory: &str| {
        let open = state.must_run(&format!("return io.popen('ls -l {directory}'):read('a')"));
        assert!(open.contains("pipe:"), "no descriptors are shown: {open}");
        open.lines().filter(|line| line.contains("socket:") || line.contains("eventpoll")).count()
    };
    let ours = sockets(&format!("/proc/{}/fd", std::process::id()));
    assert!(ours >= 2, "the connection and what watches it are not seen: {ours}");
    assert_eq!(sockets("/proc/self/fd"), 0, "the program has what is ours");
}
