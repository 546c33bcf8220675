//! Consumers of a stream: those that acknowledge, and ordered ones.

use super::jetstream::HeldJetStream;
use super::{arguments, received};
use crate::config::refuse;
use crate::error::{Code, Error};
use crate::lua::boundary::{Call, Entry, Function};
use crate::lua::{handle, json};
use crate::transport::{Batch, Ordered, Pull};
use crate::value::{Class, Object, Value};
use serde_json::Value as Json;
use std::ffi::CStr;
use std::sync::Arc;
use std::time::Duration;

/// What scripts do with a consumer.
pub const METHODS: &[Entry] = &[Entry::of::<Fetch>(), Entry::of::<Next>(), Entry::of::<Info>(), Entry::of::<Delete>()];

/// What Lua itself does with one.
pub const METAMETHODS: &[Entry] = &[Entry::of::<Iterate>(), Entry::of::<ToString>()];

/// How many messages one fetch may bring.
const MAX_FETCH: u64 = 10_000;

enum Kind {
    Pull(Arc<Pull>),
    Ordered(Arc<Ordered>),
}

/// A script's hold on a consumer.
pub struct HeldConsumer {
    owner: Arc<HeldJetStream>,
    kind: Kind,
}

impl Object for HeldConsumer {
    fn class(&self) -> Class {
        Class::Consumer
    }
}

impl HeldConsumer {
    /// One that acknowledges.
    pub fn pull(owner: Arc<HeldJetStream>, pull: Pull) -> HeldConsumer {
        HeldConsumer { owner, kind: Kind::Pull(Arc::new(pull)) }
    }

    /// One that reads in order.
    pub fn ordered(owner: Arc<HeldJetStream>, ordered: Ordered) -> HeldConsumer {
        HeldConsumer { owner, kind: Kind::Ordered(Arc::new(ordered)) }
    }

    /// The consumer that is the first argument, whatever has become of its connection.
    fn any(call: &Call) -> Result<Arc<HeldConsumer>, Error> {
        let held = match call.argument(1) {
            Value::Handle(handle) => handle::downcast::<HeldConsumer>(handle),
            _ => None,
        };
        held.ok_or_else(|| {
            let kind = call.argument(1).kind();
            Error::new(Code::BadArgument, format!("a consumer is wanted as first argument, got {kind}; write a colon"))
        })
    }

    fn of(call: &Call) -> Result<Arc<HeldConsumer>, Error> {
        let held = HeldConsumer::any(call)?;
        held.owner.client.connection()?;
        Ok(held)
    }

    fn pulled(&self) -> Result<Arc<Pull>, Error> {
        match &self.kind {
            Kind::Pull(pull) => Ok(pull.clone()),
            Kind::Ordered(_) => {
                Err(Error::new(Code::BadArgument, "an ordered consumer has next() alone: it comes and goes by itself"))
            }
        }
    }

    /// Promises the next message.
    fn next(&self, limit: &Value) -> Result<Value, Error> {
        let limit = arguments::limit(limit, arguments::WAIT)?;
        let client = self.owner.handle();
        match &self.kind {
            Kind::Pull(pull) => {
                let pull = pull.clone();
                let batch = Batch { most: 1, no_wait: limit.is_zero() };
                self.owner.wish(patience(limit, batch.no_wait), |deadline| async move {
                    let late = || Error::new(Code::Timeout, format!("{}: no message in time", pull.name()));
                    let message = pull.fetch(batch, deadline).await?.into_iter().next().ok_or_else(late)?;
                    Ok(received::stored(message, &client))
                })
            }
            Kind::Ordered(ordered) => {
                let ordered = ordered.clone();
                self.owner
                    .wish(limit, |deadline| async move { Ok(received::stored(ordered.next(deadline).await?, &client)) })
            }
        }
    }
}

/// How long messages are waited for: what is there still takes its time to come, and what is handed out and comes too late
/// comes again only after the consumer's `ack_wait`.
fn patience(limit: Duration, no_wait: bool) -> Duration {
    if no_wait { limit.max(Duration::from_millis(arguments::WAIT)) } else { limit }
}

/// `consumer:fetch(count, options)`.
struct Fetch;

impl Function for Fetch {
    const NAME: &'static CStr = c"fetch";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let held = HeldConsumer::of(call)?;
        let pull = held.pulled()?;
        let most = match call.argument(2) {
            Value::Integer(number) => u64::try_from(*number).ok().filter(|most| (1..=MAX_FETCH).contains(most)),
            _ => None,
        };
        let most = most.and_then(|most| usize::try_from(most).ok()).ok_or_else(|| {
            Error::new(Code::BadArgument, format!("the number of messages must be a whole one from 1 to {MAX_FETCH}"))
        })?;
        let mut fields = arguments::options(call, 3)?;
        let limit = arguments::timeout(&mut fields);
        let no_wait = fields.boolean("no_wait", false) || limit.is_zero();
        refuse(&fields.finish())?;
        let client = held.owner.handle();
        held.owner.wish(patience(limit, no_wait), |deadline| async move {
            let messages = pull.fetch(Batch { most, no_wait }, deadline).await?;
            Ok(Value::list(messages.into_iter().map(|message| received::stored(message, &client))))
        })
    }
}

/// `consumer:next(timeout_ms)`.
struct Next;

impl Function for Next {
    const NAME: &'static CStr = c"next";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        HeldConsumer::of(call)?.next(call.argument(2))
    }
}

/// `for message in consumer do`: as `next`, with the usual time limit.
struct Iterate;

impl Function for Iterate {
    const NAME: &'static CStr = c"__call";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        // What else `for` gives is the message before.
        HeldConsumer::of(call)?.next(&Value::Nil)
    }
}

/// `consumer:info()`.
struct Info;

impl Function for Info {
    const NAME: &'static CStr = c"info";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let held = HeldConsumer::of(call)?;
        let pull = held.pulled()?;
        held.owner.promise(held.owner.limit, |js, deadline| async move {
            let name = format!("CONSUMER.INFO.{}.{}", pull.stream(), pull.name());
            let mut info = js.ask(&name, &Json::Null, deadline).await?;
            if let Some(info) = info.as_object_mut() {
                info.remove("type");
            }
            Ok(json::to_value(info))
        })
    }
}

/// `consumer:delete()`.
struct Delete;

impl Function for Delete {
    const NAME: &'static CStr = c"delete";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let held = HeldConsumer::of(call)?;
        let pull = held.pulled()?;
        held.owner.promise(held.owner.limit, |js, deadline| async move {
            js.ask(&format!("CONSUMER.DELETE.{}.{}", pull.stream(), pull.name()), &Json::Null, deadline).await?;
            Ok(Value::Boolean(true))
        })
    }
}

/// `tostring(consumer)`.
struct ToString;

impl Function for ToString {
    const NAME: &'static CStr = c"__tostring";

    fn work(call: &mut Call) -> Result<Value, Error> {
        // Lua raises an error where this gives no string.
        let held = HeldConsumer::any(call)?;
        Ok(match &held.kind {
            Kind::Pull(pull) => format!("rgw_nats.consumer: {} of {}", pull.name(), pull.stream()),
            Kind::Ordered(ordered) => format!("rgw_nats.consumer: ordered, of {}", ordered.stream()),
        }
        .into())
    }
}
