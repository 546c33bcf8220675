//! Ceph 16 throws C++ exceptions through Lua, and through this library.

use std::time::Duration;

const HOST: &str = env!("CARGO_BIN_EXE_host");
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn an_exception_at_any_read_passes_and_the_gateway_goes_on() {
    host::play(HOST, &["exceptions"], LIMIT).must_be_well();
}

#[test]
fn an_exception_of_a_finalizer_passes_too() {
    host::play(HOST, &["exceptions-of-finalizers"], LIMIT).must_be_well();
}

#[test]
fn an_exception_leaves_nothing_in_memory() {
    host::play(HOST, &["exceptions-leave-nothing"], LIMIT).must_be_well();
}
