//! Typed options, checked whole: every problem of a table is reported at once, unknown keys with the nearest known one.

mod document;
mod endpoint;
mod fields;

pub use document::Document;
pub use endpoint::{Endpoint, Login, Server};
pub use fields::{Fields, Problem, refuse};
