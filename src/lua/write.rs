//! From plain values to Lua. Each function runs within a protected call and has nothing to drop on its frame.

use super::boundary::Key;
use super::ffi::{self, lua_State};
use super::handle;
use crate::value::Value;
use std::ffi::c_int;

/// Pushes a value.
///
/// # Safety
/// Runs within a protected call with a free slot on its stack.
pub unsafe fn value(state: *mut lua_State, value: &Value) {
    // SAFETY: as for this function.
    unsafe {
        match value {
            Value::Nil | Value::Other(_) => ffi::lua_pushnil(state),
            Value::Boolean(value) => ffi::lua_pushboolean(state, c_int::from(*value)),
            Value::Integer(number) => ffi::lua_pushinteger(state, *number),
            Value::Number(number) => ffi::lua_pushnumber(state, *number),
            Value::String(bytes) => string(state, bytes),
            Value::Null => ffi::lua_pushlightuserdata(state, std::ptr::null_mut()),
            Value::Table(entries) => table(state, entries),
            Value::List(items) => list(state, items),
            Value::Record(class, fields) => {
                table(state, fields);
                handle::push_metatable(state, *class);
                ffi::lua_setmetatable(state, -2);
            }
            Value::Handle(of) => handle::push(state, of),
        }
    }
}

/// Pushes a value if that takes no memory and so can't fail; says whether it did.
///
/// # Safety
/// Needs a free slot.
pub unsafe fn plain(state: *mut lua_State, value: &Value) -> bool {
    // SAFETY: none of these takes memory or raises.
    unsafe {
        match value {
            Value::Nil => ffi::lua_pushnil(state),
            Value::Boolean(value) => ffi::lua_pushboolean(state, c_int::from(*value)),
            Value::Integer(number) => ffi::lua_pushinteger(state, *number),
            Value::Number(number) => ffi::lua_pushnumber(state, *number),
            _ => return false,
        }
        true
    }
}

/// Pushes a string.
///
/// # Safety
/// As for [`value`].
pub unsafe fn string(state: *mut lua_State, bytes: &[u8]) {
    // SAFETY: as for this function.
    unsafe {
        ffi::lua_pushlstring(state, bytes.as_ptr().cast(), bytes.len());
    }
}

/// Pushes a table that is known to be a list, even if it is empty.
unsafe fn list(state: *mut lua_State, items: &[Value]) {
    // SAFETY: as for table.
    unsafe {
        ffi::luaL_checkstack(state, 4, std::ptr::null());
        ffi::lua_createtable(state, c_int::try_from(items.len()).unwrap_or_default(), 0);
        for (place, item) in (1..).zip(items) {
            value(state, item);
            ffi::lua_rawseti(state, -2, place);
        }
        if ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, Key::List.address()) != ffi::LUA_TTABLE {
            ffi::lua_settop(state, -2);
            ffi::lua_createtable(state, 0, 1);
            ffi::lua_pushstring(state, c"__name".as_ptr());
            ffi::lua_pushstring(state, c"rgw_nats.list".as_ptr());
            ffi::lua_rawset(state, -3);
            ffi::lua_pushvalue(state, -1);
            ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, Key::List.address());
        }
        ffi::lua_setmetatable(state, -2);
    }
}

unsafe fn table(state: *mut lua_State, entries: &[(Value, Value)]) {
    // SAFETY: as for value; luaL_checkstack raises if there is no room, which the protected call catches.
    unsafe {
        ffi::luaL_checkstack(state, 4, std::ptr::null());
        ffi::lua_createtable(state, 0, c_int::try_from(entries.len()).unwrap_or_default());
        for (key, entry) in entries {
            // Lua refuses these two as keys, by raising.
            if matches!(key, Value::Nil | Value::Other(_)) || matches!(key, Value::Number(number) if number.is_nan()) {
                continue;
            }
            value(state, key);
            value(state, entry);
            ffi::lua_rawset(state, -3);
        }
    }
}
