//! Reads the [`Features`] of the gateway that runs the script, without asking `Request` for what it may lack.

use super::ffi::{self, lua_State};
use super::fields::{kind, pop};
use crate::event::Features;
use std::ffi::{CStr, c_int};

/// The features of a gateway, from the request at an index and the globals.
///
/// # Safety
/// Runs within a protected call; needs four free slots, and gives them back.
pub unsafe fn features(state: *mut lua_State, index: c_int) -> Features {
    // SAFETY: as for this function.
    unsafe {
        let (plain, paths) = match kind(state, index) {
            b"" => (true, false),
            name => (false, name == b"Request"),
        };
        Features {
            plain,
            // A script's own request is taken for one of the gateway whose globals are there; RGW's own table has a name.
            rgw_table: paths || has_global(state, c"RGW", plain),
            paths: paths || (plain && can_abort(state)),
        }
    }
}

/// Whether a script before the operation can end the request by what it returns; where it can, it sees bucket and object.
///
/// # Safety
/// As for [`features`].
pub unsafe fn can_abort(state: *mut lua_State) -> bool {
    // SAFETY: as for this function.
    unsafe { has_global(state, c"RGW_ABORT_REQUEST", true) }
}

/// Whether there is a global that a script has not made: RGW's tables are named. `any` takes what has no name, too.
unsafe fn has_global(state: *mut lua_State, name: &CStr, any: bool) -> bool {
    // SAFETY: as for features; rawget calls no metamethod.
    unsafe {
        ffi::lua_pushglobaltable(state);
        ffi::lua_pushstring(state, name.as_ptr());
        ffi::lua_rawget(state, -2);
        let top = ffi::lua_gettop(state);
        let has = ffi::lua_type(state, top) != ffi::LUA_TNIL && (any || !kind(state, top).is_empty());
        pop(state);
        pop(state);
        has
    }
}
