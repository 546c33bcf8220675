//! Plays one scenario: `host NAME [ARGUMENT…]`. A scenario that goes wrong panics; the tests see to the rest.

#![deny(missing_docs, clippy::undocumented_unsafe_blocks)]

mod scenario;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    scenario::play(&arguments);
}
