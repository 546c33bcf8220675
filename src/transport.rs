//! NATS itself: the only layer that knows async_nats. Sends messages and says which ones the server has.

mod link;
mod login;
mod tls;

pub use link::{Link, Observer};
