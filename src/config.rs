//! Typed options, checked whole: every problem of a table is reported at once, unknown keys with the nearest known one.

mod auth;
mod document;
mod endpoint;
mod fields;
mod secret;
mod server;
mod spool;
mod stream;
mod tls;

pub use auth::Auth;
pub use document::Document;
pub use endpoint::{Ack, Endpoint, Overflow};
pub use fields::{Fields, Problem, refuse};
pub use secret::Secret;
pub use server::Server;
pub use spool::{Spool, SyncRule};
pub use stream::EnsureStream;
pub use tls::Tls;
