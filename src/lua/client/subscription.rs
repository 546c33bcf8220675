//! `subscribe`, and the methods of what it returns.

use super::{Client, arguments, received};
use crate::config::refuse;
use crate::error::{Code, Error};
use crate::lua::boundary::{Call, Entry, Function};
use crate::lua::handle;
use crate::process;
use crate::transport::{SlowConsumer, Subscription, Wanted};
use crate::value::{Class, Handle, Object, Value};
use std::ffi::CStr;
use std::sync::Arc;
use std::time::Instant;

/// What scripts do with a subscription.
pub const METHODS: &[Entry] =
    &[Entry::of::<Next>(), Entry::of::<Unsubscribe>(), Entry::of::<Drain>(), Entry::of::<Status>()];

/// What Lua itself does with one.
pub const METAMETHODS: &[Entry] = &[Entry::of::<Iterate>(), Entry::of::<ToString>()];

/// The choices of `slow_consumer` by name.
const SLOW_CONSUMERS: [(&str, SlowConsumer); 3] =
    [("drop_new", SlowConsumer::DropNew), ("drop_oldest", SlowConsumer::DropOldest), ("end", SlowConsumer::End)];

/// A script's hold on a subscription, which ends with it.
pub struct Held {
    subscription: Arc<Subscription>,
    /// By which messages are answered.
    client: Handle,
}

impl Object for Held {
    fn class(&self) -> Class {
        Class::Subscription
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.subscription.unsubscribe(0);
    }
}

impl Held {
    fn of(call: &Call) -> Result<Arc<Held>, Error> {
        let held = match call.argument(1) {
            Value::Handle(handle) => handle::downcast::<Held>(handle),
            _ => None,
        };
        held.ok_or_else(|| {
            let kind = call.argument(1).kind();
            Error::new(
                Code::BadArgument,
                format!("a subscription is wanted as first argument, got {kind}; write a colon"),
            )
        })
    }

    /// The next message, or the promise of one.
    fn next(self: Arc<Held>, limit: &Value) -> Result<Value, Error> {
        let limit = arguments::limit(limit, arguments::WAIT)?;
        if let Some(message) = self.subscription.take()? {
            return Ok(received::value(message, &self.client));
        }
        if limit.is_zero() {
            return Err(Error::new(Code::Timeout, format!("{}: no message is here", self.subscription.subject())));
        }
        let deadline = Instant::now() + limit;
        let promise = process::wish(limit, async move {
            let message = self.subscription.next(deadline).await?;
            Ok(received::value(message, &self.client))
        })?;
        Ok(Value::Handle(promise))
    }
}

/// How long subject and queue group may be together, in bytes.
const MAX_LINE: usize = 3900;

/// `connection:subscribe(subject, options)`.
pub struct Subscribe;

impl Function for Subscribe {
    const NAME: &'static CStr = c"subscribe";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let client = Client::of(call)?;
        let subject = arguments::wildcard_subject(call.argument(2))?;
        let mut fields = arguments::options(call, 3)?;
        let queue_group = fields.text("queue", 255).map(str::to_owned);
        if queue_group.as_ref().is_some_and(|group| group.is_empty() || group.contains([' ', '\t'])) {
            fields.problem("queue", "must be a word without white space");
        }
        // The server ends a connection for a line of more than 4,096 bytes, each time that it is subscribed to anew.
        if queue_group.as_ref().is_some_and(|group| group.len().saturating_add(subject.len()) > MAX_LINE) {
            fields.problem("queue", format!("and the subject must have {MAX_LINE} bytes together at most"));
        }
        let capacity = fields.integer("capacity", 1..=10_000_000, 65_536);
        let capacity_bytes = fields.integer("capacity_bytes", 1024..=1 << 36, 64 << 20);
        let slow_consumer = fields.choice("slow_consumer", &SLOW_CONSUMERS);
        refuse(&fields.finish())?;
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let (capacity, capacity_bytes) = (size(capacity), size(capacity_bytes));
        let wanted = Wanted { subject, queue_group, capacity, capacity_bytes, slow_consumer };
        let session = client.connection()?.session().clone();
        let subscription = Arc::new(Subscription::new(wanted));
        client.adopt(&subscription)?;
        // What this script publishes from now on is behind it.
        let begun = subscription.begin(&session);
        process::run(subscription.clone().run(session, begun))?;
        Ok(Value::Handle(Arc::new(Held { subscription, client })))
    }
}

/// `subscription:next(timeout_ms)`.
struct Next;

impl Function for Next {
    const NAME: &'static CStr = c"next";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        Held::of(call)?.next(call.argument(2))
    }
}

/// `for message in subscription do`: as `next`, with the usual time limit.
struct Iterate;

impl Function for Iterate {
    const NAME: &'static CStr = c"__call";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        // What else `for` gives is the message before.
        Held::of(call)?.next(&Value::Nil)
    }
}

/// `subscription:unsubscribe(max)`.
struct Unsubscribe;

impl Function for Unsubscribe {
    const NAME: &'static CStr = c"unsubscribe";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let held = Held::of(call)?;
        let max = match call.argument(2) {
            Value::Nil => Some(0),
            Value::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        let max = max.ok_or_else(|| Error::new(Code::BadArgument, "the number of messages must be a whole number"))?;
        held.subscription.unsubscribe(max);
        Ok(Value::Boolean(true))
    }
}

/// `subscription:drain(timeout_ms)`.
struct Drain;

impl Function for Drain {
    const NAME: &'static CStr = c"drain";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let held = Held::of(call)?;
        let limit = arguments::limit(call.argument(2), arguments::WAIT)?;
        held.subscription.drain();
        let deadline = Instant::now() + limit;
        let promise = process::promise(limit, async move {
            let ended = tokio::time::timeout_at(deadline.into(), held.subscription.ended()).await;
            ended.map_err(|_| Error::new(Code::Timeout, "the server has not ended this subscription yet"))?;
            Ok(Value::Boolean(true))
        })?;
        Ok(Value::Handle(promise))
    }
}

/// `subscription:status()`.
struct Status;

impl Function for Status {
    const NAME: &'static CStr = c"status";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let held = Held::of(call)?;
        let tally = held.subscription.tally();
        let size = |number: usize| Value::from(u64::try_from(number).unwrap_or(u64::MAX));
        Ok(Value::record([
            ("subject", held.subscription.subject().into()),
            ("pending", size(tally.pending)),
            ("pending_bytes", size(tally.pending_bytes)),
            ("received", tally.received.into()),
            ("dropped", tally.dropped.into()),
            ("open", tally.is_open.into()),
        ]))
    }
}

/// `tostring(subscription)`.
struct ToString;

impl Function for ToString {
    const NAME: &'static CStr = c"__tostring";

    fn work(call: &mut Call) -> Result<Value, Error> {
        Ok(format!("rgw_nats.subscription: {}", Held::of(call)?.subscription.subject()).into())
    }
}
