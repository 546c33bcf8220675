//! `require "rgw_nats"`: the table that it returns.

use super::admit::Admit;
use super::boundary::{self, Call, Entry, Function, Key};
use super::client::{Connect, NewPoller, Sleep, Yielding};
use super::dead::{DeadLetters, Purge, Replay};
use super::ffi::{self, lua_State};
use super::json::{Array, Decode, Encode};
use super::notify::Notify;
use crate::error::{Code, Error};
use crate::process;
use crate::value::Value;
use std::ffi::{CStr, c_int, c_void};

/// What the module has from the beginning: all that most scripts need.
const FIRST: [Entry; 1] = [Entry::of::<Notify>()];

/// What it has besides, from the first time on that a script asks for anything else.
const OTHERS: [Entry; 12] = [
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

/// What Lua asks for the rest by.
const METAMETHODS: [Entry; 2] =
    [Entry::around::<Index>(enter_or_raise::<Index>), Entry::around::<Pairs>(enter_or_raise::<Pairs>)];

const NULL: &CStr = c"null";
const VERSION: &CStr = c"_VERSION";

/// Opens the module in a state: what `require "rgw_nats"` calls, in RGW once for each request.
///
/// # Safety
/// For Lua to call.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn luaopen_rgw_nats(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this as it calls any C function.
    unsafe {
        if let Err(text) = ffi::check() {
            return ffi::luaL_error(state, text.as_ptr());
        }
        // `require` would take a nil for a success and return true.
        enter_or_raise::<Open>(state)
    }
}

/// As [`boundary::enter`]; but raises where Lua has no memory, as the nil would be taken for a value: this module alone does,
/// of all that Lua can call, and a string, as Lua itself does.
///
/// # Safety
/// For Lua to call.
unsafe extern "C-unwind" fn enter_or_raise<F: Function>(state: *mut lua_State) -> c_int {
    // SAFETY: as for enter. Nothing on this frame needs dropping when Lua jumps over it.
    unsafe {
        let results = boundary::enter::<F>(state);
        if results == 3 {
            let mut length = 0;
            // Where there was no memory for the code either, it is nil.
            let code = ffi::lua_tolstring(state, -1, &raw mut length);
            if code.is_null() || std::slice::from_raw_parts(code.cast::<u8>(), length) == Code::Memory.name().as_bytes()
            {
                ffi::luaL_error(state, c"rgw_nats: not enough memory".as_ptr());
            }
        }
        results
    }
}

struct Open;

impl Function for Open {
    const NAME: &'static CStr = c"luaopen_rgw_nats";
    const WRITES: bool = true;

    unsafe fn read(_: *mut lua_State, _: &mut Call) {}

    fn work(_: &mut Call) -> Result<Value, Error> {
        process::pin(luaopen_rgw_nats as *const c_void);
        Ok(Value::Nil)
    }

    unsafe fn write(state: *mut lua_State, _: &Value) {
        // SAFETY: as the trait says.
        unsafe {
            ffi::lua_createtable(state, 0, 4);
            for function in &FIRST {
                function.set(state);
            }
            ffi::lua_createtable(state, 2, 2);
            for metamethod in &METAMETHODS {
                metamethod.set(state);
            }
            boundary::keep(state);
            ffi::lua_setmetatable(state, -2);
        }
    }
}

/// Puts all that the module has into the table at the bottom of the stack, and lets Lua ask no more.
///
/// # Safety
/// Runs within a protected call with three free slots on its stack.
unsafe fn complete(state: *mut lua_State) {
    // SAFETY: as for this function. The metatable is taken away last: whatever fails before is done again.
    unsafe {
        ffi::lua_settop(state, 1);
        if ffi::lua_type(state, 1) != ffi::LUA_TTABLE || ffi::lua_getmetatable(state, 1) == 0 {
            return;
        }
        // Scripts can call the metamethod with any table of theirs.
        ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, Key::Kept.address());
        let ours = ffi::lua_rawequal(state, -1, -2) != 0;
        ffi::lua_settop(state, 1);
        if !ours {
            return;
        }
        for function in &OTHERS {
            function.set(state);
        }
        for name in [NULL, VERSION] {
            ffi::lua_pushstring(state, name.as_ptr());
            push_field(state, name.to_bytes());
            ffi::lua_rawset(state, -3);
        }
        ffi::lua_pushnil(state);
        ffi::lua_setmetatable(state, 1);
    }
}

/// Pushes what the module has by a name.
unsafe fn push_field(state: *mut lua_State, name: &[u8]) {
    // SAFETY: as for complete.
    unsafe {
        if let Some(function) = OTHERS.iter().find(|function| function.name().to_bytes() == name) {
            function.push(state);
        } else if name == NULL.to_bytes() {
            ffi::lua_pushlightuserdata(state, std::ptr::null_mut());
        } else if name == VERSION.to_bytes() {
            super::write::string(state, concat!("rgw_nats ", env!("CARGO_PKG_VERSION")).as_bytes());
        } else {
            ffi::lua_pushnil(state);
        }
    }
}

/// `__index` of the module: the first time that it is asked for something else than `notify`.
struct Index;

impl Function for Index {
    const NAME: &'static CStr = c"__index";
    const WRITES: bool = true;

    unsafe fn read(state: *mut lua_State, call: &mut Call) {
        // SAFETY: as the trait says.
        unsafe {
            ffi::lua_settop(state, 2);
            if ffi::lua_type(state, 2) == ffi::LUA_TSTRING {
                super::read::value(state, 2, 0, call);
            }
            complete(state);
        }
    }

    fn work(call: &mut Call) -> Result<Value, Error> {
        Ok(call.take(1))
    }

    unsafe fn write(state: *mut lua_State, value: &Value) {
        // SAFETY: as the trait says.
        unsafe { push_field(state, if let Value::String(name) = value { name } else { b"" }) }
    }
}

/// `__pairs` of the module: `next`, and the table with all that is in it.
struct Pairs;

impl Function for Pairs {
    const NAME: &'static CStr = c"__pairs";
    const WRITES: bool = true;

    unsafe fn read(state: *mut lua_State, _: &mut Call) {
        // SAFETY: as the trait says.
        unsafe {
            complete(state);
            ffi::lua_settop(state, 1);
            // For write, which has no arguments.
            ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, Key::Module.address());
        }
    }

    fn work(_: &mut Call) -> Result<Value, Error> {
        Ok(Value::Nil)
    }

    unsafe fn write(state: *mut lua_State, _: &Value) {
        // SAFETY: as the trait says; two slots are used.
        unsafe {
            ffi::lua_pushglobaltable(state);
            ffi::lua_pushstring(state, c"next".as_ptr());
            ffi::lua_rawget(state, -2);
            ffi::lua_rotate(state, -2, 1);
            ffi::lua_settop(state, -2);
            ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, Key::Module.address());
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
