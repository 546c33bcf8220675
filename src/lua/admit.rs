//! `admit`: refuses a request before it is done, where its event would find no room.

use super::boundary::{Call, Function, Key};
use super::client::options;
use super::features::can_abort;
use super::ffi::{self, lua_State};
use super::read;
use super::request;
use super::write;
use crate::config::refuse;
use crate::error::Error;
use crate::event::Text;
use crate::process;
use crate::value::Value;
use std::ffi::CStr;

/// `admit(Request, configuration, options)`, for scripts before the operation: `return nats.admit(Request, configuration)`.
pub struct Admit;

/// What RGW takes for "do not do this request", `RGW_ABORT_REQUEST` among the globals.
const ABORT: i64 = -1;

/// The status that `admit` writes into the response where it is asked to.
pub const STATUS: i64 = 503;

impl Function for Admit {
    const NAME: &'static CStr = c"admit";
    const WRITES: bool = true;

    unsafe fn read(state: *mut lua_State, call: &mut Call) {
        // SAFETY: as the trait says.
        unsafe {
            ffi::lua_settop(state, 3);
            read::value(state, 2, 0, call);
            read::value(state, 3, 0, call);
            // Elsewhere nothing could be refused, and before 20 the bucket and the object are not known yet.
            call.can_abort = can_abort(state);
            request::to_be(state, 1, call);
            if call.refused.is_none() {
                // For write, which has no arguments.
                ffi::lua_pushvalue(state, 1);
                ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, Key::Admitted.address());
            }
        }
    }

    fn work(call: &mut Call) -> Result<Value, Error> {
        let mut fields = options(call, 2)?;
        let writes = fields.boolean("write_response", false);
        refuse(&fields.finish())?;
        let request = std::mem::take(&mut call.request);
        if !call.can_abort {
            process::admit_in_vain()?;
            return Ok(Value::Boolean(true));
        }
        // Once the bucket is loaded, which it is in postAuth, nothing tells notify whether a request under a response that
        // was written is executed; nor of one that is not remembered.
        let before = request.bytes(Text::BucketId).is_empty();
        Ok(match process::refuses(&request, call.argument(1))? {
            Some(true) if writes && before => Value::list([Value::Integer(ABORT)]),
            Some(_) => Value::Integer(ABORT),
            None => Value::Boolean(true),
        })
    }

    unsafe fn write(state: *mut lua_State, value: &Value) {
        // SAFETY: as the trait says; the three slots suffice for each of these, and lua_setfield may raise.
        unsafe {
            // A list stands for: write the response, and give what is in it.
            if !matches!(value, Value::Integer(_) | Value::Boolean(_)) {
                ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, Key::Admitted.address());
                if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
                    ffi::lua_getfield(state, -1, c"Response".as_ptr());
                    if ffi::lua_type(state, -1) == ffi::LUA_TTABLE {
                        ffi::lua_pushinteger(state, STATUS);
                        ffi::lua_setfield(state, -2, c"HTTPStatusCode".as_ptr());
                        write::string(state, b"ServiceUnavailable");
                        ffi::lua_setfield(state, -2, c"HTTPStatus".as_ptr());
                        write::string(state, b"no room for the notification of this request; try again later");
                        ffi::lua_setfield(state, -2, c"Message".as_ptr());
                    }
                    ffi::lua_settop(state, -2);
                }
                ffi::lua_settop(state, -2);
                ffi::lua_pushinteger(state, ABORT);
                return;
            }
            write::value(state, value);
        }
    }
}
