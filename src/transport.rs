//! NATS itself: the only layer that knows async_nats. Sends messages and says which ones the server has.

mod bucket;
mod context;
mod jetstream;
mod link;
mod login;
mod marks;
mod options;
mod parcel;
mod preflight;
mod pull;
mod questions;
mod received;
mod session;
mod signals;
mod streams;
mod subscription;
mod tls;

pub use bucket::{Bucket, KeyValue, Watch, WatchFrom};
pub use context::{JetStream, acknowledged};
pub use link::{Interrupted, Link, Observer, Outcome, Sent};
pub use pull::{Batch, Ordered, Pull, Stored};
pub use received::Received;
pub use session::{Enough, Session};
pub use streams::Streams;
pub use subscription::{SlowConsumer, Subscription, Wanted};
