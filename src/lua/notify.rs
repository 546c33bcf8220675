//! `notify`.

use super::boundary::{Call, Function};
use super::ffi::{self, lua_State};
use super::read;
use super::request;
use crate::error::Error;
use crate::process;
use crate::value::Value;
use std::ffi::CStr;

/// `notify(Request, configuration)`.
pub struct Notify;

impl Function for Notify {
    const NAME: &'static CStr = c"notify";

    unsafe fn read(state: *mut lua_State, call: &mut Call) {
        // SAFETY: as the trait says.
        unsafe {
            ffi::lua_settop(state, 2);
            read::value(state, 2, 0, call);
            request::done(state, 1, call);
        }
    }

    fn work(call: &mut Call) -> Result<Value, Error> {
        let request = std::mem::take(&mut call.request);
        // The request is no value; the configuration is the first that was read.
        process::notify(request, call.argument(1))?;
        Ok(Value::Boolean(true))
    }
}
