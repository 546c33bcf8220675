//! `admit`: refuses a request before it is done, where its event would find no room.

use super::boundary::{Call, Function, Key};
use super::ffi::{self, lua_State};
use super::read;
use super::request;
use super::write;
use crate::error::Error;
use crate::event::Release;
use crate::process;
use crate::value::Value;
use std::ffi::CStr;

/// `admit(Request, configuration)`, for preRequest scripts: `return nats.admit(Request, configuration)`.
pub struct Admit;

/// What 20 takes for "do not do this request", and its name among the globals.
const ABORT: i64 = -1;

impl Function for Admit {
    const NAME: &'static CStr = c"admit";
    const WRITES: bool = true;

    unsafe fn read(state: *mut lua_State, call: &mut Call) {
        // SAFETY: as the trait says.
        unsafe {
            ffi::lua_settop(state, 2);
            read::value(state, 2, 0, call);
            request::to_be(state, 1, call);
            if call.refused.is_none() {
                // For write, which has no arguments.
                ffi::lua_pushvalue(state, 1);
                ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, Key::Admitted.address());
            }
        }
    }

    fn work(call: &mut Call) -> Result<Value, Error> {
        let request = std::mem::take(&mut call.request);
        // Before 20 a script can't end a request; one whose answer it had changed would be answered twice.
        let refuses = request.release == Release::Tentacle && !process::has_room(&request, call.argument(1))?;
        Ok(if refuses { Value::Integer(ABORT) } else { Value::Boolean(true) })
    }

    unsafe fn write(state: *mut lua_State, value: &Value) {
        // SAFETY: as the trait says; the three slots suffice for each of these, and lua_setfield may raise.
        unsafe {
            if matches!(value, Value::Integer(_)) {
                ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, Key::Admitted.address());
                if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
                    ffi::lua_getfield(state, -1, c"Response".as_ptr());
                    if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
                        ffi::lua_pushinteger(state, 503);
                        ffi::lua_setfield(state, -2, c"HTTPStatusCode".as_ptr());
                        write::string(state, b"ServiceUnavailable");
                        ffi::lua_setfield(state, -2, c"HTTPStatus".as_ptr());
                        write::string(state, b"no room for the notification of this request; try again later");
                        ffi::lua_setfield(state, -2, c"Message".as_ptr());
                    }
                    ffi::lua_settop(state, -2);
                }
                ffi::lua_settop(state, -2);
            }
            write::value(state, value);
        }
    }
}
