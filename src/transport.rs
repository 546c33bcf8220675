//! NATS itself: the only layer that knows async_nats. Sends messages and says which ones the server has.

mod jetstream;
mod link;
mod login;
mod preflight;
mod signals;
mod streams;
mod tls;

pub use link::{Interrupted, Link, Observer, Outcome};
pub use streams::Streams;
