//! Keeps accepted messages until the broker has them. Knows subjects, headers and bytes; no S3 and no Lua.

mod backlog;
mod connection;
mod courier;
mod epochs;
mod queue;
mod receipt;
mod spool;

pub use backlog::Backlog;
pub use connection::Connection;
pub use courier::courier;
pub use receipt::Receipt;
pub use spool::Which;
