//! `connect`, and the methods of what it returns; and which methods each class has.

mod arguments;
mod bucket;
mod consumer;
mod exchange;
mod future;
mod jetstream;
mod received;
mod stream;
mod subscription;

use super::boundary::{Call, Entry, Function};
use super::handle::{self, Shape};
use crate::config::Endpoint;
use crate::delivery::Connection;
use crate::error::{Code, Error};
use crate::message::{Pattern, Purpose};
use crate::process;
use crate::transport::Subscription;
use crate::value::{Class, Object, Value};
use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

pub use arguments::options;
pub use future::{NewPoller, Sleep, Yielding};

/// How many subscriptions one handle has at a time.
const MAX_SUBSCRIPTIONS: usize = 100_000;

/// What a class has for Lua.
pub fn shape(class: Class) -> Shape {
    const TO_STRING: Entry = Entry::of::<ToString>();
    const CONNECTION: &[Entry] = &[
        Entry::of::<Publish>(),
        Entry::of::<exchange::RequestOne>(),
        Entry::of::<exchange::RequestLater>(),
        Entry::of::<exchange::RequestMany>(),
        Entry::of::<subscription::Subscribe>(),
        Entry::of::<exchange::Flush>(),
        Entry::of::<exchange::RoundTrip>(),
        Entry::of::<exchange::Server>(),
        Entry::of::<jetstream::Open>(),
        Entry::of::<Status>(),
        Entry::of::<exchange::Drain>(),
        Entry::of::<Close>(),
    ];
    match class {
        Class::Connection => Shape { name: c"rgw_nats.connection", metamethods: &[TO_STRING], methods: CONNECTION },
        Class::Subscription => Shape {
            name: c"rgw_nats.subscription",
            metamethods: subscription::METAMETHODS,
            methods: subscription::METHODS,
        },
        Class::Future => Shape { name: c"rgw_nats.future", metamethods: &[], methods: future::METHODS },
        Class::Poller => Shape { name: c"rgw_nats.poller", metamethods: &[], methods: future::POLLER },
        Class::Message => Shape { name: c"rgw_nats.message", metamethods: &[], methods: received::METHODS },
        Class::JetStream => Shape { name: c"rgw_nats.jetstream", metamethods: &[], methods: jetstream::METHODS },
        Class::Consumer => {
            Shape { name: c"rgw_nats.consumer", metamethods: consumer::METAMETHODS, methods: consumer::METHODS }
        }
        Class::Bucket => Shape { name: c"rgw_nats.bucket", metamethods: bucket::METAMETHODS, methods: bucket::METHODS },
        Class::Watch => {
            Shape { name: c"rgw_nats.watch", metamethods: bucket::WATCH_METAMETHODS, methods: bucket::WATCH }
        }
        Class::StreamMessage => {
            Shape { name: c"rgw_nats.message", metamethods: &[], methods: received::STREAM_METHODS }
        }
    }
}

/// A script's hold on a connection, which it shares with all others.
pub struct Client {
    endpoint: Endpoint,
    generation: u32,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// None once it was closed.
    connection: Option<Arc<Connection>>,
    /// What this handle has subscribed to, as long as the script holds on to it.
    subscriptions: Vec<Weak<Subscription>>,
}

impl Object for Client {
    fn class(&self) -> Class {
        Class::Connection
    }
}

impl Client {
    /// The client that is the first argument.
    pub fn of(call: &Call) -> Result<Arc<Client>, Error> {
        let client = match call.argument(1) {
            Value::Handle(handle) => handle::downcast::<Client>(handle),
            _ => None,
        };
        client.ok_or_else(|| {
            let text =
                format!("a connection is wanted as first argument, got {}; write a colon", call.argument(1).kind());
            Error::new(Code::BadArgument, text)
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its connection.
    pub fn connection(&self) -> Result<Arc<Connection>, Error> {
        let Some(connection) = self.held().connection.clone() else {
            return Err(Error::new(Code::Closed, "this connection was closed by the script; connect again"));
        };
        if self.generation != process::generation() {
            // Made before a fork: the parent's queue is not ours.
            return process::connection(&self.endpoint);
        }
        Ok(connection)
    }

    /// Notes a subscription, which ends with this handle.
    fn adopt(&self, subscription: &Arc<Subscription>) -> Result<(), Error> {
        let mut held = self.held();
        if held.subscriptions.len() >= held.subscriptions.capacity() {
            held.subscriptions.retain(|subscription| subscription.strong_count() > 0);
        }
        if held.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let text = format!("this connection has {MAX_SUBSCRIPTIONS} subscriptions");
            return Err(Error::new(Code::QueueFull, text));
        }
        held.subscriptions.push(Arc::downgrade(subscription));
        Ok(())
    }

    /// What it has subscribed to.
    fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.held().subscriptions.iter().filter_map(Weak::upgrade).collect()
    }

    /// Ends it, and leaves its subscriptions to whoever reads what has come in.
    fn let_go(&self) {
        self.held().connection = None;
    }

    /// Ends it. What is held by nothing else can end when it is idle; a handle may lie about for as long as Lua likes.
    fn close(&self) {
        let Held { connection, subscriptions, .. } = std::mem::take(&mut *self.held());
        subscriptions.iter().filter_map(Weak::upgrade).for_each(|subscription| subscription.unsubscribe(0));
        drop(connection);
    }
}

/// `connect(servers, options)`.
pub struct Connect;

impl Function for Connect {
    const NAME: &'static CStr = c"connect";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let endpoint = Endpoint::from_arguments(call.argument(1), call.argument(2))?;
        let connection = Some(process::connection(&endpoint)?);
        let generation = process::generation();
        let held = Mutex::new(Held { connection, ..Held::default() });
        Ok(Value::Handle(Arc::new(Client { endpoint, generation, held })))
    }
}

/// `connection:publish(subject, payload, headers, reply)`.
struct Publish;

impl Function for Publish {
    const NAME: &'static CStr = c"publish";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let client = Client::of(call)?;
        let connection = client.connection()?;
        let mut message = arguments::message(call, 2, 4)?;
        message.reply = arguments::subject_or_none(call.argument(5), "reply subject")?;
        match message.reply {
            Some(_) => message.purpose = Purpose::Exchange,
            None => message.pattern = Pattern::Kin,
        }
        if let Some(receipt) = connection.publish(message)? {
            receipt.wait(Duration::from_millis(connection.endpoint().wait_ms));
        }
        Ok(Value::Boolean(true))
    }
}

/// `connection:status()`.
struct Status;

impl Function for Status {
    const NAME: &'static CStr = c"status";

    fn work(call: &mut Call) -> Result<Value, Error> {
        Ok(Client::of(call)?.connection()?.status())
    }
}

/// `connection:close()`.
struct Close;

impl Function for Close {
    const NAME: &'static CStr = c"close";

    fn work(call: &mut Call) -> Result<Value, Error> {
        Client::of(call)?.close();
        Ok(Value::Boolean(true))
    }
}

/// `tostring(connection)`.
struct ToString;

impl Function for ToString {
    const NAME: &'static CStr = c"__tostring";

    fn work(call: &mut Call) -> Result<Value, Error> {
        Ok(format!("rgw_nats.connection: {}", Client::of(call)?.endpoint.shown()).into())
    }
}
