//! Futures, pollers, and coroutines that yield where others wait.

use super::arguments;
use crate::error::{Code, Error};
use crate::lua::boundary::{Call, Entry, Function, Key};
use crate::lua::ffi::{self, lua_State};
use crate::lua::handle;
use crate::process;
use crate::promise::{Poller, Promise};
use crate::value::Value;
use std::ffi::CStr;
use std::sync::Arc;
use std::time::Instant;

/// What scripts do with a future.
pub const METHODS: &[Entry] =
    &[Entry::of::<Wait>(), Entry::of::<Done>(), Entry::of::<Outcome>(), Entry::of::<Cancel>()];

/// What scripts do with a poller.
pub const POLLER: &[Entry] = &[Entry::of::<Add>(), Entry::of::<Poll>(), Entry::of::<PollerStatus>()];

/// How many futures one `wait` of a poller tells of.
const MAX_TOLD: usize = 1000;

fn future(value: &Value, place: &str) -> Result<Arc<Promise>, Error> {
    let found = match value {
        Value::Handle(handle) => handle::downcast::<Promise>(handle),
        _ => None,
    };
    found.ok_or_else(|| {
        Error::new(Code::BadArgument, format!("a future is wanted as {place} argument, got {}", value.kind()))
    })
}

/// `future:wait(timeout_ms)`.
struct Wait;

impl Function for Wait {
    const NAME: &'static CStr = c"wait";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let promise = future(call.argument(1), "first")?;
        if matches!(call.argument(2), Value::Nil) {
            return Ok(Value::Handle(promise));
        }
        let limit = arguments::limit(call.argument(2), 0)?;
        if promise.is_done() || limit.is_zero() {
            return promise.result().unwrap_or_else(|| Err(late()));
        }
        // Another one, so that the wait can end before it.
        let waiting = process::wish(limit, async move {
            let deadline = Instant::now() + limit;
            promise.ended(deadline).await.unwrap_or_else(|| Err(late()))
        })?;
        Ok(Value::Handle(waiting))
    }
}

fn late() -> Error {
    Error::new(Code::Timeout, "this future has not ended yet")
}

/// `future:done()`.
struct Done;

impl Function for Done {
    const NAME: &'static CStr = c"done";

    fn work(call: &mut Call) -> Result<Value, Error> {
        // Never `false`: what is no success is a failure with its reason, as everywhere.
        if future(call.argument(1), "first")?.is_done() { Ok(Value::Boolean(true)) } else { Err(late()) }
    }
}

/// `future:result()`.
struct Outcome;

impl Function for Outcome {
    const NAME: &'static CStr = c"result";

    fn work(call: &mut Call) -> Result<Value, Error> {
        future(call.argument(1), "first")?.result().unwrap_or_else(|| Err(late()))
    }
}

/// `future:cancel()`.
struct Cancel;

impl Function for Cancel {
    const NAME: &'static CStr = c"cancel";

    fn work(call: &mut Call) -> Result<Value, Error> {
        future(call.argument(1), "first")?.cancel();
        Ok(Value::Boolean(true))
    }
}

/// `poller()`.
pub struct NewPoller;

impl Function for NewPoller {
    const NAME: &'static CStr = c"poller";

    fn work(_: &mut Call) -> Result<Value, Error> {
        Ok(Value::Handle(Arc::new(Poller::default())))
    }
}

fn poller(call: &Call) -> Result<Arc<Poller>, Error> {
    let found = match call.argument(1) {
        Value::Handle(handle) => handle::downcast::<Poller>(handle),
        _ => None,
    };
    found.ok_or_else(|| {
        let kind = call.argument(1).kind();
        Error::new(Code::BadArgument, format!("a poller is wanted as first argument, got {kind}; write a colon"))
    })
}

/// `poller:add(future, number)`.
struct Add;

impl Function for Add {
    const NAME: &'static CStr = c"add";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let (poller, promise) = (poller(call)?, future(call.argument(2), "second")?);
        let Value::Integer(number) = call.argument(3) else {
            return Err(Error::new(Code::BadArgument, "the number that stands for the future must be a whole one"));
        };
        poller.add(&promise, *number)?;
        Ok(Value::Boolean(true))
    }
}

/// `poller:wait(timeout_ms)`.
struct Poll;

impl Function for Poll {
    const NAME: &'static CStr = c"wait";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let limit = arguments::limit(call.argument(2), arguments::WAIT)?;
        let ended = poller(call)?.wait(MAX_TOLD, limit);
        Ok(Value::list(ended.into_iter().map(Value::Integer)))
    }
}

/// `poller:status()`.
struct PollerStatus;

impl Function for PollerStatus {
    const NAME: &'static CStr = c"status";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let watched = u64::try_from(poller(call)?.len()).unwrap_or(u64::MAX);
        Ok(Value::record([("watched", watched.into())]))
    }
}

/// `sleep(milliseconds)`.
pub struct Sleep;

impl Function for Sleep {
    const NAME: &'static CStr = c"sleep";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let limit = arguments::limit(call.argument(1), 0)?;
        let promise = process::wish(limit, async move {
            tokio::time::sleep(limit).await;
            Ok(Value::Boolean(true))
        })?;
        Ok(Value::Handle(promise))
    }
}

/// `yielding(whether)`: has this coroutine yield where it would wait.
pub struct Yielding;

impl Function for Yielding {
    const NAME: &'static CStr = c"yielding";

    unsafe fn read(state: *mut lua_State, call: &mut Call) {
        // SAFETY: as the trait says. The table's keys are weak: it keeps no coroutine alive.
        unsafe {
            ffi::luaL_checkstack(state, 5, std::ptr::null());
            let on = ffi::lua_toboolean(state, 1);
            if ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, Key::Cooperative.address()) != ffi::LUA_TTABLE {
                ffi::lua_settop(state, -2);
                ffi::lua_createtable(state, 0, 1);
                ffi::lua_createtable(state, 0, 1);
                ffi::lua_pushstring(state, c"__mode".as_ptr());
                ffi::lua_pushstring(state, c"k".as_ptr());
                ffi::lua_rawset(state, -3);
                ffi::lua_setmetatable(state, -2);
                ffi::lua_pushvalue(state, -1);
                ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, Key::Cooperative.address());
            }
            ffi::lua_pushthread(state);
            if on != 0 {
                ffi::lua_pushboolean(state, 1);
            } else {
                ffi::lua_pushnil(state);
            }
            ffi::lua_rawset(state, -3);
            call.arguments.clear();
        }
    }

    fn work(_: &mut Call) -> Result<Value, Error> {
        Ok(Value::Boolean(true))
    }
}
