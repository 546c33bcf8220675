//! The part of Lua's C API that a gateway uses, as liblua exports it.
//!
//! Written out rather than taken from mlua-sys: that crate is in this workspace as the module's, built to leave Lua's
//! symbols to the program that loads it, and this is that program.

use std::ffi::{c_char, c_int, c_void};

/// A state of Lua; only Lua looks into it.
#[repr(C)]
pub struct LuaState {
    _opaque: [u8; 0],
}

/// A pointer to a state, as every function of Lua takes it.
pub type Lua = *mut LuaState;
/// A function that Lua can call.
pub type Function = unsafe extern "C-unwind" fn(Lua) -> c_int;
/// What gives Lua its memory.
pub type Allocator = unsafe extern "C-unwind" fn(*mut c_void, *mut c_void, usize, usize) -> *mut c_void;

/// The result of a call that went well.
pub const OK: c_int = 0;
/// The type `nil`.
pub const NIL: c_int = 0;
/// The type boolean.
pub const BOOLEAN: c_int = 1;
/// The type number.
pub const NUMBER: c_int = 3;
/// The type string.
pub const STRING: c_int = 4;
/// The type table.
pub const TABLE: c_int = 5;
/// Stops collections.
pub const GC_STOP: c_int = 0;
/// Lets them happen again.
pub const GC_RESTART: c_int = 1;
/// As many results as there are.
pub const MULTRET: c_int = -1;
/// Where a state keeps what no script sees.
pub const REGISTRY: c_int = -1_001_000;

#[cfg_attr(feature = "lua53", link(name = "lua5.3"))]
#[cfg_attr(feature = "lua54", link(name = "lua5.4"))]
#[allow(missing_docs, reason = "Lua's own manual has them")]
unsafe extern "C-unwind" {
    pub fn lua_newstate(allocator: Allocator, data: *mut c_void) -> Lua;
    pub fn lua_close(lua: Lua);
    pub fn lua_getallocf(lua: Lua, data: *mut *mut c_void) -> Allocator;
    pub fn luaL_openlibs(lua: Lua);
    pub fn luaL_loadbufferx(
        lua: Lua,
        text: *const c_char,
        size: usize,
        name: *const c_char,
        mode: *const c_char,
    ) -> c_int;
    pub fn lua_pcallk(
        lua: Lua,
        arguments: c_int,
        results: c_int,
        handler: c_int,
        context: isize,
        continuation: Option<Function>,
    ) -> c_int;
    pub fn lua_error(lua: Lua) -> c_int;
    pub fn luaL_checkstack(lua: Lua, size: c_int, message: *const c_char);
    pub fn lua_gc(lua: Lua, what: c_int, ...) -> c_int;
    pub fn lua_gettop(lua: Lua) -> c_int;
    pub fn lua_settop(lua: Lua, index: c_int);
    pub fn lua_pushvalue(lua: Lua, index: c_int);
    pub fn lua_type(lua: Lua, index: c_int) -> c_int;
    pub fn lua_isinteger(lua: Lua, index: c_int) -> c_int;
    pub fn lua_rawequal(lua: Lua, left: c_int, right: c_int) -> c_int;
    pub fn lua_tointegerx(lua: Lua, index: c_int, is_integer: *mut c_int) -> i64;
    pub fn lua_toboolean(lua: Lua, index: c_int) -> c_int;
    pub fn lua_tolstring(lua: Lua, index: c_int, size: *mut usize) -> *const c_char;
    pub fn lua_touserdata(lua: Lua, index: c_int) -> *mut c_void;
    pub fn lua_pushnil(lua: Lua);
    pub fn lua_pushboolean(lua: Lua, value: c_int);
    pub fn lua_pushinteger(lua: Lua, value: i64);
    pub fn lua_pushlstring(lua: Lua, text: *const c_char, size: usize) -> *const c_char;
    pub fn lua_pushstring(lua: Lua, text: *const c_char) -> *const c_char;
    pub fn lua_pushlightuserdata(lua: Lua, value: *mut c_void);
    pub fn lua_pushcclosure(lua: Lua, function: Function, upvalues: c_int);
    pub fn lua_createtable(lua: Lua, list: c_int, record: c_int);
    pub fn lua_getfield(lua: Lua, index: c_int, key: *const c_char) -> c_int;
    pub fn lua_setfield(lua: Lua, index: c_int, key: *const c_char);
    pub fn lua_getglobal(lua: Lua, name: *const c_char) -> c_int;
    pub fn lua_setglobal(lua: Lua, name: *const c_char);
    pub fn lua_setmetatable(lua: Lua, index: c_int) -> c_int;
    pub fn luaL_newmetatable(lua: Lua, name: *const c_char) -> c_int;
    #[cfg(feature = "lua53")]
    fn lua_newuserdata(lua: Lua, size: usize) -> *mut c_void;
    #[cfg(feature = "lua54")]
    fn lua_newuserdatauv(lua: Lua, size: usize, values: c_int) -> *mut c_void;
}

/// Pushes a new userdata.
///
/// # Safety
/// As for any function of Lua's that may raise.
pub unsafe fn new_userdata(lua: Lua, size: usize) -> *mut c_void {
    // SAFETY: as for this function.
    unsafe {
        #[cfg(feature = "lua53")]
        return lua_newuserdata(lua, size);
        #[cfg(feature = "lua54")]
        return lua_newuserdatauv(lua, size, 1);
    }
}

/// The index of an upvalue of the running function, counted from 1.
pub fn upvalue(number: c_int) -> c_int {
    REGISTRY - number
}

/// Takes values off the stack.
///
/// # Safety
/// There must be so many.
pub unsafe fn pop(lua: Lua, count: c_int) {
    // SAFETY: as for this function.
    unsafe { lua_settop(lua, -count - 1) }
}

/// The bytes of the string at an index; `None` if it is no string. Valid while it stays there.
///
/// # Safety
/// As said.
pub unsafe fn bytes<'s>(lua: Lua, index: c_int) -> Option<&'s [u8]> {
    // SAFETY: of a string, Lua gives its own bytes and makes nothing new.
    unsafe {
        if lua_type(lua, index) != STRING {
            return None;
        }
        let mut size = 0;
        let start = lua_tolstring(lua, index, &raw mut size);
        Some(std::slice::from_raw_parts(start.cast::<u8>(), size))
    }
}

/// A copy of the string at an index, as text; `None` if it is no string.
///
/// # Safety
/// Nothing of Lua's may raise while the copy is alive.
pub unsafe fn text(lua: Lua, index: c_int) -> Option<String> {
    // SAFETY: the copy is made at once.
    unsafe { bytes(lua, index).map(|bytes| String::from_utf8_lossy(bytes).into_owned()) }
}
