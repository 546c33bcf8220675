//! Lua states come and go with each request; the library stays.

use std::time::Duration;

const HOST: &str = env!("CARGO_BIN_EXE_host");

#[test]
fn a_hundred_thousand_states_leave_nothing_behind() {
    host::play(HOST, &["states"], Duration::from_secs(240)).must_be_well();
}

#[test]
fn the_library_outlives_the_states_that_load_it() {
    host::play(HOST, &["unload"], Duration::from_secs(30)).must_be_well();
}

#[test]
fn subscriptions_end_with_their_states() {
    host::play(HOST, &["subscriptions"], Duration::from_secs(240)).must_be_well();
}
