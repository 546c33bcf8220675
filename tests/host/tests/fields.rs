//! A field that a release lacks must never be read: on 16 it throws a C++ exception, or ends the gateway at once.

use std::time::Duration;

const HOST: &str = env!("CARGO_BIN_EXE_host");
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn no_release_is_asked_for_a_field_that_it_lacks() {
    host::play(HOST, &["fields"], LIMIT).must_be_well();
}

#[test]
fn each_value_of_a_record_comes_from_its_own_field() {
    host::play(HOST, &["records"], LIMIT).must_be_well();
}

#[test]
fn nothing_that_a_script_does_before_leads_to_such_a_field() {
    host::play(HOST, &["misleading-scripts"], LIMIT).must_be_well();
}

#[test]
fn a_second_notification_walks_no_map_again() {
    host::play(HOST, &["two-notifications"], LIMIT).must_be_well();
}
