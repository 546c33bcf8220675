//! Fields of RGW's tables.

use super::boundary::Call;
use super::ffi::{self, lua_State};
use super::read::bytes;
use crate::event::{Features, Text};
use std::ffi::{CStr, c_int};

/// The name that RGW gives to a kind of table, in its metatable; empty if it has none. Stays valid while the table is on
/// the stack, as RGW's metatables hold it.
pub unsafe fn kind<'s>(state: *mut lua_State, index: c_int) -> &'s [u8] {
    // SAFETY: two slots are used and given back.
    unsafe {
        if ffi::lua_getmetatable(state, index) == 0 {
            return &[];
        }
        ffi::lua_pushstring(state, c"__name".as_ptr());
        ffi::lua_rawget(state, -2);
        let name = if ffi::lua_type(state, -1) == ffi::LUA_TSTRING { bytes(state, -1) } else { &[] };
        ffi::lua_settop(state, -3);
        name
    }
}

pub unsafe fn pop(state: *mut lua_State) {
    // SAFETY: the callers have pushed what is popped.
    unsafe { ffi::lua_settop(state, -2) }
}

/// Pushes a field if it is a table; pushes nothing otherwise.
pub unsafe fn table(state: *mut lua_State, index: c_int, field: &CStr) -> bool {
    // SAFETY: as for request::done.
    unsafe {
        ffi::lua_getfield(state, index, field.as_ptr());
        let found = ffi::lua_type(state, -1) == ffi::LUA_TTABLE;
        if !found {
            pop(state);
        }
        found
    }
}

/// Replaces the key on top of the stack by what one of RGW's tables has under it, which the table may lack, and gives its type.
/// Asking for a field that is not there raises, in a protected call here: `None`, with the error on the stack. Where tables are
/// named by their type it is always `None`: 16.2 would throw a C++ exception, and 18.2 gets no new fields.
pub unsafe fn optional(state: *mut lua_State, index: c_int, features: Features) -> Option<c_int> {
    // SAFETY: as for request::done; four slots are taken, and all but one given back.
    unsafe {
        ffi::luaL_checkstack(state, 8, std::ptr::null());
        if features.plain {
            let kind = ffi::lua_gettable(state, index);
            return (kind != ffi::LUA_TNIL).then_some(kind);
        }
        if !features.paths || ffi::luaL_getmetafield(state, index, c"__index".as_ptr()) != ffi::LUA_TFUNCTION {
            return None;
        }
        ffi::lua_insert(state, -2);
        ffi::lua_pushvalue(state, index);
        ffi::lua_insert(state, -2);
        (ffi::lua_pcall(state, 2, 1, 0) == ffi::LUA_OK).then(|| ffi::lua_type(state, -1))
    }
}

/// As [`optional`], of a field; pushes one value in any case, and needs nothing on the stack.
pub unsafe fn optional_field(state: *mut lua_State, index: c_int, features: Features, field: &CStr) -> Option<c_int> {
    // SAFETY: as for optional.
    unsafe {
        ffi::luaL_checkstack(state, 1, std::ptr::null());
        ffi::lua_pushstring(state, field.as_ptr());
        optional(state, index, features)
    }
}

/// Keeps a field if it is a string.
pub unsafe fn text(state: *mut lua_State, index: c_int, field: &CStr, call: &mut Call, text: Text) {
    // SAFETY: as for request::done.
    unsafe {
        ffi::lua_getfield(state, index, field.as_ptr());
        if ffi::lua_type(state, -1) == ffi::LUA_TSTRING {
            call.request.set(text, bytes(state, -1));
        }
        pop(state);
    }
}

/// A field of the table on top of the stack; 0 if it is no whole number.
pub unsafe fn integer(state: *mut lua_State, field: &CStr) -> i64 {
    // SAFETY: as for request::done.
    unsafe {
        ffi::lua_getfield(state, -1, field.as_ptr());
        let number =
            if ffi::lua_isinteger(state, -1) != 0 { ffi::lua_tointegerx(state, -1, std::ptr::null_mut()) } else { 0 };
        pop(state);
        number
    }
}

/// Whether a field of the table on top of the stack is a string that is not empty.
pub unsafe fn has_text(state: *mut lua_State, field: &CStr) -> bool {
    // SAFETY: as for request::done.
    unsafe {
        ffi::lua_getfield(state, -1, field.as_ptr());
        let has = ffi::lua_type(state, -1) == ffi::LUA_TSTRING && !bytes(state, -1).is_empty();
        pop(state);
        has
    }
}
