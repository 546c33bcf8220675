//! Lua's C API, as far as this library uses it: one binary serves Lua 5.3 and Lua 5.4.
//!
//! Debian's and Ubuntu's gateways link Lua 5.3; those of EL, and with that all official container images, link 5.4. Each
//! function listed here is exported by both with the same parameters and results, and each macro expands to the same in both.
//! [`new_userdata`] is the exception: its function has another name in each, and is looked up in the running process.
//! Not to be added: `lua_version`, `lua_rawlen`, `lua_resume`, `lua_gc`, user values and `lua_Debug`, which differ.
//! `spec/34-lua_versions_spec.lua` holds what the built library imports against what both export.

pub use mlua::ffi::{
    LUA_ERRMEM, LUA_MULTRET, LUA_OK, LUA_REGISTRYINDEX, LUA_TBOOLEAN, LUA_TFUNCTION, LUA_TLIGHTUSERDATA, LUA_TNIL,
    LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE, LUA_TTHREAD, LUA_TUSERDATA, lua_CFunction, lua_Integer, lua_KContext,
    lua_State, lua_call, lua_checkstack, lua_createtable, lua_getfield, lua_getmetatable, lua_gettable, lua_gettop,
    lua_insert, lua_isinteger, lua_isyieldable, lua_next, lua_pcall, lua_pushboolean, lua_pushcfunction,
    lua_pushglobaltable, lua_pushinteger, lua_pushlightuserdata, lua_pushlstring, lua_pushnil, lua_pushnumber,
    lua_pushstring, lua_pushthread, lua_pushvalue, lua_rawequal, lua_rawget, lua_rawgeti, lua_rawgetp, lua_rawset,
    lua_rawseti, lua_rawsetp, lua_replace, lua_rotate, lua_setfield, lua_setmetatable, lua_settop, lua_toboolean,
    lua_tointegerx, lua_tolstring, lua_tonumberx, lua_touserdata, lua_type, lua_yieldk, luaL_checkstack, luaL_error,
    luaL_getmetafield, luaL_tolstring,
};

use std::ffi::{CStr, c_int, c_void};
use std::mem::{MaybeUninit, transmute};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Functions of Lua 5.3 and 5.4 that Lua 5.1, 5.2 or LuaJIT lack. As weak references they are null there instead of making
/// the loader refuse the library in its own words, so that [`check`] can say what is supported.
macro_rules! weak {
    ($($name:ident)*) => {
        $(#[cfg(not(test))] std::arch::global_asm!(concat!(".weak ", stringify!($name)));)*

        /// Whether the process has all of them.
        fn has_all() -> bool {
            [$(mlua::ffi::$name as *const c_void),*].iter().all(|function| !std::hint::black_box(*function).is_null())
        }
    };
}
weak! {
    lua_absindex lua_callk lua_isinteger lua_isyieldable lua_pcallk lua_rawgetp lua_rawsetp lua_rotate lua_copy lua_tointegerx
    lua_tonumberx lua_yieldk luaL_tolstring
}

/// A userdata's function: Lua 5.4's `lua_newuserdatauv`, or Lua 5.3's `lua_newuserdata`, which ignores the third argument.
type NewUserdata = unsafe extern "C-unwind" fn(*mut lua_State, usize, c_int) -> *mut c_void;

const OLDER: &CStr =
    c"rgw_nats works in Lua 5.3 and 5.4, as Ceph's gateways have them; this is an older Lua (5.1, 5.2 or \
    LuaJIT): run it by lua5.3 or lua5.4";
const NEWER: &CStr =
    c"rgw_nats works in Lua 5.3 and 5.4, as Ceph's gateways have them; this is a newer Lua: run it by lua5.4";
const MIXED: &CStr = c"rgw_nats found the functions of two different Luas in this process, and can use neither";

/// The function that [`check`] has found. The loader binds this library to one Lua, whatever states the process has, so that
/// one for all is right.
static NEW_USERDATA: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
/// How many user values a userdata gets; Lua 5.3 ignores it.
const USER_VALUES: c_int = 0;

/// Finds out whether the running Lua is one that this library works in. Must succeed before anything else of this file is used.
///
/// # Errors
/// The text to raise, by nothing but `luaL_error`, which all Luas have: the registry's index differs in Lua 5.5.
pub fn check() -> Result<(), &'static CStr> {
    if !NEW_USERDATA.load(Ordering::Acquire).is_null() {
        return Ok(());
    }
    if !has_all() {
        return Err(OLDER);
    }
    // 5.5 added it, and keeps the registry at another index.
    if !symbol(c"lua_numbertocstring").is_null() {
        return Err(NEWER);
    }
    // A process can have both: those that belong to the Lua of this library's other functions are wanted.
    let lua = object(symbol(c"lua_createtable"));
    let found = [c"lua_newuserdatauv", c"lua_newuserdata"].map(symbol);
    let function = found.into_iter().find(|function| !function.is_null() && object(*function) == lua);
    NEW_USERDATA.store(function.ok_or(MIXED)?, Ordering::Release);
    Ok(())
}

/// Pushes a new full userdata without user values and returns its memory, as aligned as `malloc`'s.
///
/// # Safety
/// [`check`] has succeeded; needs a free slot; raises where Lua has no memory.
pub unsafe fn new_userdata(state: *mut lua_State, bytes: usize) -> *mut c_void {
    // SAFETY: check stores a function of this type, and `None` has the representation of null.
    unsafe {
        let function = transmute::<*mut c_void, Option<NewUserdata>>(NEW_USERDATA.load(Ordering::Acquire));
        function.map_or(ptr::null_mut(), |function| function(state, bytes, USER_VALUES))
    }
}

/// A symbol of the running process; null if there is none.
fn symbol(name: &CStr) -> *mut c_void {
    // SAFETY: looks a name up.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

/// The object file in memory that an address belongs to; null if it belongs to none.
fn object(address: *mut c_void) -> *mut c_void {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr fills the structure, all of whose zeros are valid, or leaves it.
    unsafe {
        libc::dladdr(address, info.as_mut_ptr());
        info.assume_init().dli_fbase
    }
}
