//! Keeps accepted messages until the broker has them. Knows subjects, headers and bytes; no S3 and no Lua.

mod connection;
mod courier;
mod queue;
#[allow(dead_code, reason = "the connection and its courier come next")]
mod spool;

pub use connection::Connection;
pub use courier::courier;
