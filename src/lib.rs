//! `rgw_nats`: NATS notifications, and a NATS client, for the Lua scripts of Ceph's RADOS Gateway.
//!
//! The library is a guest in radosgw: nothing in it may panic, block a request, or let an error reach Lua that is no
//! string. `ARCHITECTURE.md` has the layers and the invariants.

#![deny(missing_docs, unsafe_op_in_unsafe_fn, unused_must_use)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::undocumented_unsafe_blocks
)]
#![deny(
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod config;
mod delivery;
mod error;
mod event;
#[cfg(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod glibc;
mod log;
mod lua;
mod message;
mod process;
mod promise;
mod thread;
mod transport;
mod value;

pub use lua::luaopen_rgw_nats;
