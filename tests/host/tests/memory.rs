//! Lua's memory may end anywhere (128,000 bytes on Ceph 20); what is wrong is said, and nothing raised but strings.

use std::time::Duration;

const HOST: &str = env!("CARGO_BIN_EXE_host");
const LIMIT: Duration = Duration::from_secs(240);

#[test]
fn under_any_limit_a_script_ends_well_or_with_a_string() {
    host::play(HOST, &["limits"], LIMIT).must_be_well();
}

#[test]
fn whatever_request_for_memory_is_refused_a_script_ends_well_or_with_a_string() {
    host::play(HOST, &["refused-scripts"], LIMIT).must_be_well();
}

#[test]
fn whatever_request_for_memory_is_refused_a_function_returns() {
    host::play(HOST, &["refused-calls"], LIMIT).must_be_well();
}

#[test]
fn refused_calls_leave_nothing_in_memory() {
    host::play(HOST, &["leftovers"], LIMIT).must_be_well();
}
