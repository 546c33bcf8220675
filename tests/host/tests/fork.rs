//! A child of fork has none of its parent's threads, and its parent's locks as they were.

use std::time::Duration;

const HOST: &str = env!("CARGO_BIN_EXE_host");
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_child_of_fork_starts_anew() {
    host::play(HOST, &["fork"], LIMIT).must_be_well();
}

#[test]
fn parent_child_and_grandchild_deliver_each_their_own() {
    host::play(HOST, &["fork-delivery"], LIMIT).must_be_well();
}

#[test]
fn no_lock_that_another_thread_held_stops_a_child() {
    host::play(HOST, &["fork-hammer"], LIMIT).must_be_well();
}

#[test]
fn a_fork_amid_the_first_connection_does_not_stop_the_child() {
    host::play(HOST, &["fork-start"], LIMIT).must_be_well();
}

#[test]
fn a_child_does_not_wait_for_a_thread_that_was_writing_to_the_log() {
    host::play(HOST, &["fork-log"], LIMIT).must_be_well();
}

#[test]
fn a_program_that_a_script_starts_gets_no_descriptor_of_ours() {
    host::play(HOST, &["fork-program"], LIMIT).must_be_well();
}
