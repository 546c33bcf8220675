//! Does to the built module what a gateway does to it: real Lua, a state per request, threads, forks, an early end, too
//! little memory.
//!
//! What can kill or hang a process is a *scenario*: a subcommand of the program `host`, which each test runs in a process
//! of its own, so that an abort is a failed test. The scenarios are in `src/scenario/`, the verdicts on them in `tests/`.
//! The module comes from the directory in `RGW_NATS_MODULE_DIR`; one build serves both Luas:
//!
//! ```sh
//! scripts/build-module.sh build/rgw_nats.so
//! RGW_NATS_MODULE_DIR=build cargo test --release -p host --features lua53
//! RGW_NATS_MODULE_DIR=build cargo run --release -p host --features lua53 -- fork-hammer
//! ```
//!
//! `CARGO_PROFILE_RELEASE_LTO=off` makes the tests build in seconds; the module itself is not built here.
//! It takes liblua5.3-dev or liblua5.4-dev, a C++ compiler, and nats-server.

#![deny(missing_docs, clippy::undocumented_unsafe_blocks)]

#[cfg(not(any(feature = "lua53", feature = "lua54")))]
compile_error!("choose the Lua to run: --features lua53 or --features lua54");
#[cfg(all(feature = "lua53", feature = "lua54"))]
compile_error!("choose one Lua to run, not both");

pub mod broker;
pub mod gateway;
pub mod heap;
pub mod lua;
pub mod process;
mod proxy;
pub mod request;
pub mod state;

pub use broker::{Broker, ClosedPort, Subscriber};
pub use gateway::Gateway;
pub use heap::Refusal;
pub use process::play;
pub use request::{RELEASES, Release, Sample, Tags};
pub use state::{Ended, Setup, State};
