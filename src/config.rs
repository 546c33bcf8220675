//! Typed options, checked whole: every problem of a table is reported at once, unknown keys with the nearest known one.

mod auth;
mod document;
mod endpoint;
mod fields;
mod secret;
#[allow(dead_code, reason = "the endpoint reads it next")]
mod spool;
mod tls;

pub use auth::Auth;
pub use document::Document;
pub use endpoint::{Endpoint, Server};
pub use fields::{Fields, Problem, refuse};
pub use secret::Secret;
#[allow(unused_imports, reason = "as above")]
pub use spool::{Spool, SyncRule};
pub use tls::Tls;
