//! Messages that came in, as tables with methods.

use super::{Client, arguments};
use crate::error::{Code, Error};
use crate::lua::boundary::{Call, Entry, Function};
use crate::lua::ffi::{self, lua_State};
use crate::lua::read;
use crate::message::{Headers, Message, Purpose};
use crate::process;
use crate::transport::{Received, Stored};
use crate::value::{Class, Handle, Value};
use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a message of NATS itself can do.
pub const METHODS: &[Entry] = &[Entry::of::<Respond>()];

/// What a message of a stream can do.
pub const STREAM_METHODS: &[Entry] =
    &[Entry::of::<Ack>(), Entry::of::<Nak>(), Entry::of::<InProgress>(), Entry::of::<Term>(), Entry::of::<AckSync>()];

/// How long an acknowledgement waits for a connection.
const ACK_WAIT: Duration = Duration::from_millis(arguments::WAIT);

/// A message as Lua gets it; `client` is what it came by.
pub fn value(received: Received, client: &Handle) -> Value {
    Value::Record(Class::Message, fields(received, client))
}

/// The fields of a message.
pub fn fields(received: Received, client: &Handle) -> Vec<(Value, Value)> {
    let one = |mut values: Vec<String>| match (values.len(), values.pop()) {
        (1, Some(value)) => value.into(),
        (_, last) => Value::list(values.into_iter().chain(last).map(Value::from)),
    };
    let headers = received.headers.into_iter().map(|(name, values)| (Value::from(name), one(values))).collect();
    let mut fields = vec![
        ("subject".into(), received.subject.into()),
        ("payload".into(), Value::String(received.payload.into())),
        ("headers".into(), Value::Table(headers)),
    ];
    if let Some(reply) = received.reply {
        fields.push(("reply".into(), reply.into()));
        fields.push(("connection".into(), Value::Handle(client.clone())));
    }
    fields
}

/// A message of a stream as Lua gets it.
pub fn stored(stored: Stored, client: &Handle) -> Value {
    let mut fields = fields(stored.message, client);
    fields.extend([
        ("stream".into(), stored.stream.into()),
        ("consumer".into(), stored.consumer.into()),
        ("sequence".into(), stored.sequence.into()),
        ("consumer_sequence".into(), stored.consumer_sequence.into()),
        ("delivered".into(), stored.delivered.into()),
        ("pending".into(), stored.pending.into()),
        ("timestamp_ms".into(), stored.timestamp_ms.into()),
    ]);
    Value::Record(Class::StreamMessage, fields)
}

/// Reads of the message that is the first argument where an answer goes to and by which connection, instead of all of it; and
/// all further arguments.
///
/// # Safety
/// As for [`Function::read`].
pub unsafe fn read(state: *mut lua_State, call: &mut Call) {
    // SAFETY: as for this function.
    unsafe {
        ffi::luaL_checkstack(state, 8, std::ptr::null());
        let count = ffi::lua_gettop(state).min(8);
        let is_table = ffi::lua_type(state, 1) == ffi::LUA_TTABLE;
        for key in [c"reply", c"connection"] {
            ffi::lua_pushstring(state, key.as_ptr());
            if is_table {
                ffi::lua_rawget(state, 1);
            }
            let top = ffi::lua_gettop(state);
            match ffi::lua_type(state, top) {
                ffi::LUA_TSTRING | ffi::LUA_TUSERDATA if is_table => read::value(state, top, 0, call),
                _ => call.arguments.push(Value::Nil),
            }
            ffi::lua_settop(state, top - 1);
        }
        for index in 2..=count {
            read::value(state, index, 0, call);
        }
    }
}

/// Where the answer to a message goes to, and by which connection, as [`read`] has read it.
pub fn origin(call: &Call) -> Result<(String, Arc<Client>), Error> {
    let (Value::String(_), Value::Handle(client)) = (call.argument(1), call.argument(2)) else {
        let text = "a message that wants an answer is wanted as first argument: one with a reply; write a colon";
        return Err(Error::new(Code::BadArgument, text));
    };
    let client = crate::lua::handle::downcast::<Client>(client);
    let client = client.ok_or_else(|| Error::new(Code::BadArgument, "the message's connection is none"))?;
    Ok((arguments::subject(call.argument(1), "reply subject")?, client))
}

/// `message:respond(payload, headers)`.
struct Respond;

impl Function for Respond {
    const NAME: &'static CStr = c"respond";

    unsafe fn read(state: *mut lua_State, call: &mut Call) {
        // SAFETY: as the trait says.
        unsafe { read(state, call) }
    }

    fn work(call: &mut Call) -> Result<Value, Error> {
        let (reply, client) = origin(call)?;
        let connection = client.connection()?;
        let headers = arguments::headers(call.argument(4))?;
        let mut message = Message::new(reply, headers, arguments::payload(call, 3)?)?;
        message.purpose = Purpose::Exchange;
        connection.publish(message)?;
        Ok(Value::Boolean(true))
    }
}

/// Sends an acknowledgement; waits for it to be handed to the connection, and `sync` for the server's word that it has it.
fn acknowledge(call: &Call, text: String, limit: Duration, sync: bool) -> Result<Value, Error> {
    let (subject, client) = origin(call)?;
    let session = client.connection()?.session().clone();
    let question = Message::bare(subject, Headers::default(), text);
    let deadline = Instant::now() + limit;
    let promise = process::promise(limit, async move {
        if sync {
            session.request(question, deadline).await?;
        } else {
            session.send(question, deadline).await?;
        }
        Ok(Value::Boolean(true))
    })?;
    Ok(Value::Handle(promise))
}

/// A method that acknowledges in one way or another.
macro_rules! acknowledgement {
    ($(#[$doc:meta])* $type:ident, $name:literal, |$call:ident| $work:expr) => {
        $(#[$doc])*
        struct $type;

        impl Function for $type {
            const NAME: &'static CStr = $name;
            const WAITS: bool = true;

            unsafe fn read(state: *mut lua_State, call: &mut Call) {
                // SAFETY: as the trait says.
                unsafe { read(state, call) }
            }

            fn work($call: &mut Call) -> Result<Value, Error> {
                $work
            }
        }
    };
}

acknowledgement!(
    /// `message:ack()`.
    Ack, c"ack", |call| acknowledge(call, "+ACK".to_owned(), ACK_WAIT, false)
);
acknowledgement!(
    /// `message:nak(delay_ms)`.
    Nak, c"nak", |call| {
        let delay = arguments::limit(call.argument(3), 0)?;
        let text = match delay.as_nanos() {
            0 => "-NAK".to_owned(),
            nanos => format!("-NAK {{\"delay\": {nanos}}}"),
        };
        acknowledge(call, text, ACK_WAIT, false)
    }
);
acknowledgement!(
    /// `message:in_progress()`.
    InProgress, c"in_progress", |call| acknowledge(call, "+WPI".to_owned(), ACK_WAIT, false)
);
acknowledgement!(
    /// `message:term(reason)`.
    Term, c"term", |call| {
        let text = match call.argument(3) {
            Value::Nil => "+TERM".to_owned(),
            reason => {
                let text = format!("+TERM {}", arguments::text(reason, "reason")?);
                // An older server takes what has a reason for no acknowledgement at all.
                let session = origin(call)?.1.connection()?.session().clone();
                if session.is_at_least(2, 10, 4) { text } else { "+TERM".to_owned() }
            }
        };
        acknowledge(call, text, ACK_WAIT, false)
    }
);
acknowledgement!(
    /// `message:ack_sync(timeout_ms)`.
    AckSync, c"ack_sync", |call| {
        let limit = arguments::limit(call.argument(3), arguments::WAIT)?;
        acknowledge(call, "+ACK".to_owned(), limit, true)
    }
);
