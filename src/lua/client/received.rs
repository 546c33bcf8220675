//! Messages that came in, as tables with methods.

use super::{Client, arguments};
use crate::delivery::Connection;
use crate::error::{Code, Error};
use crate::lua::boundary::{Call, Entry, Function};
use crate::lua::read;
use crate::message::Message;
use crate::transport::Received;
use crate::value::{Class, Handle, Value};
use mlua::ffi::{self, lua_State};
use std::ffi::CStr;

/// What a message of NATS itself can do.
pub const METHODS: &[Entry] = &[Entry::of::<Respond>()];

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
                _ => call.tokens.push(read::Token::Value(Value::Nil)),
            }
            ffi::lua_settop(state, top - 1);
        }
        for index in 2..=count {
            read::value(state, index, 0, call);
        }
    }
}

/// Where the answer to a message goes to, and by which connection, as [`read`] has read it.
pub fn origin(call: &Call) -> Result<(String, std::sync::Arc<Client>), Error> {
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
        message.pattern = Some(arguments::pattern(&message.subject));
        connection.publish(message, Connection::patience(connection.endpoint()))?;
        Ok(Value::Boolean(true))
    }
}
