//! `require "rgw_nats"`: the table that it returns.

use super::admit::Admit;
use super::boundary::{self, Call, Entry, Function};
use super::client::{Connect, NewPoller, Sleep, Yielding};
use super::dead::{DeadLetters, Purge, Replay};
use super::json::{Array, Decode, Encode};
use super::notify::Notify;
use crate::error::Error;
use crate::process;
use crate::value::Value;
use mlua::ffi::{self, lua_State};
use std::ffi::{CStr, c_int, c_void};

/// What the module has.
const FUNCTIONS: [Entry; 13] = [
    Entry::of::<Notify>(),
    Entry::of::<Admit>(),
    Entry::of::<Connect>(),
    Entry::of::<Status>(),
    Entry::of::<DeadLetters>(),
    Entry::of::<Replay>(),
    Entry::of::<Purge>(),
    Entry::of::<NewPoller>(),
    Entry::of::<Sleep>(),
    Entry::of::<Yielding>(),
    Entry::of::<Encode>(),
    Entry::of::<Decode>(),
    Entry::of::<Array>(),
];

/// Opens the module in a state: what `require "rgw_nats"` calls, in RGW once for each request.
///
/// # Safety
/// For Lua to call.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_rgw_nats(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this as it calls any C function. Nothing on this frame needs dropping when Lua jumps over it.
    unsafe {
        let results = boundary::enter::<Open>(state);
        if results == 3 {
            // No memory for the module. `require` would take the nil for a success and return true; so this alone, of all that
            // Lua can call, raises: a string, as Lua itself does when its memory ends.
            ffi::luaL_error(state, c"rgw_nats: not enough memory".as_ptr());
        }
        results
    }
}

struct Open;

impl Function for Open {
    const NAME: &'static CStr = c"luaopen_rgw_nats";

    unsafe fn read(_: *mut lua_State, _: &mut Call) {}

    fn work(_: &mut Call) -> Result<Value, Error> {
        process::pin(luaopen_rgw_nats as *const c_void);
        Ok(Value::Nil)
    }

    unsafe fn write(state: *mut lua_State, _: &Value) {
        // SAFETY: as the trait says.
        unsafe {
            boundary::keep_memory_error(state);
            ffi::lua_createtable(state, 0, 16);
            for function in &FUNCTIONS {
                function.set(state);
            }
            ffi::lua_pushstring(state, c"null".as_ptr());
            ffi::lua_pushlightuserdata(state, std::ptr::null_mut());
            ffi::lua_rawset(state, -3);
            ffi::lua_pushstring(state, c"_VERSION".as_ptr());
            super::write::string(state, concat!("rgw_nats ", env!("CARGO_PKG_VERSION")).as_bytes());
            ffi::lua_rawset(state, -3);
        }
    }
}

/// `status()`.
struct Status;

impl Function for Status {
    const NAME: &'static CStr = c"status";

    fn work(_: &mut Call) -> Result<Value, Error> {
        Ok(process::status())
    }
}
