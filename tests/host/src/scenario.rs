//! The scenarios by name.

mod exceptions;
mod exit;
mod fields;
mod fork;
mod kinds;
mod memory;
mod refusal;
mod states;
mod subscriptions;

use host::State;

/// Plays the scenario that the arguments name.
pub fn play(arguments: &[&str]) {
    match *arguments {
        ["states"] => states::many(),
        ["unload"] => states::unload(),
        ["subscriptions"] => subscriptions::dropped(),
        ["fork"] => fork::anew(),
        ["fork-delivery"] => fork::delivery(),
        ["fork-hammer"] => fork::hammer(),
        ["fork-start"] => fork::start(),
        ["fork-log"] => fork::log(),
        ["fork-program"] => fork::program(),
        ["exit-without-broker", limit, code] => exit::without_broker(number(limit), number(code)),
        ["exit-after-publishing", port] => exit::after_publishing(number(port)),
        ["exit-amid-publishing", port] => exit::amid_publishing(number(port)),
        ["limits"] => memory::limits(),
        ["leftovers"] => memory::leftovers(),
        ["refused-scripts"] => refusal::scripts(),
        ["refused-calls"] => refusal::calls(),
        ["kinds"] => kinds::every(),
        ["kinds-at-close"] => kinds::at_close(),
        ["finalizers"] => kinds::finalizers(),
        ["fields"] => fields::each_release(),
        ["records"] => fields::records(),
        ["misleading-scripts"] => fields::misleading_scripts(),
        ["two-notifications"] => fields::two_notifications(),
        ["exceptions"] => exceptions::at_each_read(),
        ["exceptions-of-finalizers"] => exceptions::of_finalizers(),
        ["exceptions-leave-nothing"] => exceptions::leave_nothing(),
        _ => panic!("no such scenario: {arguments:?}"),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().unwrap_or_else(|| panic!("{text} is not the number that is wanted"))
}

/// The size of the stack on which RGW runs scripts.
const STACK: usize = 512 << 10;

/// Does work on so many threads, each with a stack as small as RGW's. Each gets its number.
fn on_threads<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let work = &work;
    std::thread::scope(|scope| {
        let start = |place| {
            let builder = std::thread::Builder::new().stack_size(STACK);
            builder.spawn_scoped(scope, move || work(place)).expect("a thread")
        };
        let threads: Vec<_> = (0..count).map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that did not panic")).collect()
    })
}

/// A state with `nats`, the module, and `nc`, a connection, as globals.
fn connected(port: u16, options: &str) -> State {
    let state = State::new();
    state.must_run(&format!(
        "nats = require('rgw_nats') nc = assert(nats.connect('nats://127.0.0.1:{port}', {{{options}}}))"
    ));
    state
}
