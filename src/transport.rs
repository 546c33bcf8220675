//! NATS itself: the only layer that knows async_nats. Sends messages and says which ones the server has.

mod link;

pub use link::{Link, Observer};
