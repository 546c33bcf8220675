//! Whatever a script gives to a function, it gets a result: a raised error that is no string would end the gateway.

use std::time::Duration;

const HOST: &str = env!("CARGO_BIN_EXE_host");
const LIMIT: Duration = Duration::from_secs(240);

#[test]
fn every_function_takes_every_kind_of_argument() {
    host::play(HOST, &["kinds"], LIMIT).must_be_well();
}

#[test]
fn every_function_takes_them_while_the_state_is_closed() {
    host::play(HOST, &["kinds-at-close"], LIMIT).must_be_well();
}

#[test]
fn finalizers_that_raise_within_a_function_do_not_come_out_of_it() {
    host::play(HOST, &["finalizers"], LIMIT).must_be_well();
}
