//! The objects of a multi-object delete, where the gateway shows them: one for each run of the script, or a list.

use super::boundary::Call;
use super::ffi::{self, lua_State};
use super::fields::{has_text, integer, optional, optional_field, pop, table};
use super::read::bytes;
use crate::event::{Features, Listed};
use std::ffi::c_int;

/// How many objects a request can remove (S3's `DeleteObjects`).
const MAX: ffi::lua_Integer = 1000;

/// Reads the objects of a multi-object delete.
///
/// No release shows them yet. ceph/ceph#69792 proposes a run of the script for each, and in its review a list, `Objects`,
/// which is a guess at its name; like RGW's other lists it can begin at 0.
///
/// # Safety
/// As for `request::done`.
pub unsafe fn objects(state: *mut lua_State, index: c_int, features: Features, call: &mut Call) {
    // SAFETY: as for this function; what is read is the call's.
    unsafe {
        if table(state, index, c"Object") {
            call.request.per_key = has_text(state, c"Name");
            pop(state);
            return;
        }
        let top = ffi::lua_gettop(state);
        if optional_field(state, index, features, c"Objects") == Some(ffi::LUA_TTABLE) {
            let list = ffi::lua_gettop(state);
            // It may raise where it ends; where it began, nobody has said yet.
            for place in 0..=MAX {
                ffi::lua_pushinteger(state, place);
                if optional(state, list, features) == Some(ffi::LUA_TTABLE) {
                    object(state, call);
                } else if place > 0 {
                    break;
                }
                ffi::lua_settop(state, list);
            }
        }
        ffi::lua_settop(state, top);
        call.request.per_key = !call.request.objects.is_empty();
    }
}

/// Keeps the object that is on top of the stack.
unsafe fn object(state: *mut lua_State, call: &mut Call) {
    // SAFETY: as for objects.
    unsafe {
        call.request.objects.push(Listed::default());
        let size = integer(state, c"Size");
        for (version, name) in [(false, c"Name"), (true, c"Instance")] {
            ffi::lua_getfield(state, -1, name.as_ptr());
            if ffi::lua_type(state, -1) == ffi::LUA_TSTRING
                && let Some(one) = call.request.objects.last_mut()
            {
                one.size = size;
                let kept = if version { &mut one.version } else { &mut one.key };
                kept.extend_from_slice(bytes(state, -1));
            }
            pop(state);
        }
    }
}
