//! How `Request` shows its fields: empty tables whose metatables are C functions, with the ways of each release
//! (rgw-lua.md, 3a). What it is asked for is noted; what a release lacks is a trespass, as it may end a gateway.

use crate::gateway::Gateway;
use crate::lua::{self, *};
use crate::request::{Entry, Field, Release, Table};
use std::ffi::{CStr, c_int, c_void};

unsafe extern "C-unwind" {
    /// Throws a `std::runtime_error`.
    fn foreign_throw() -> !;
}

/// Pushes a table of fields.
///
/// # Safety
/// Runs where Lua may raise, with 4 free slots on the stack.
pub unsafe fn push(lua: Lua, table: &'static Table) {
    const EVENTS: [(&CStr, Function); 4] =
        [(c"__index", index), (c"__pairs", refuse), (c"__len", refuse), (c"__newindex", refuse)];
    // SAFETY: as for this function.
    unsafe { push_with(lua, table, &EVENTS) }
}

/// Pushes a map.
unsafe fn push_map(lua: Lua, table: &'static Table) {
    const EVENTS: [(&CStr, Function); 4] =
        [(c"__index", index_map), (c"__pairs", pairs), (c"__len", length), (c"__newindex", refuse)];
    // SAFETY: as for push.
    unsafe { push_with(lua, table, &EVENTS) }
}

unsafe fn push_with(lua: Lua, table: &'static Table, events: &[(&CStr, Function)]) {
    // SAFETY: as for push. Before 20, a metatable of this kind that is there already is taken, and its functions changed:
    // that is RGW's own defect, which our reader must live with.
    unsafe {
        let name = if Gateway::of(lua).release < Release::Tentacle { table.kind } else { table.path };
        lua_createtable(lua, 0, 0);
        luaL_newmetatable(lua, name.as_ptr());
        for (event, function) in events {
            lua_pushlightuserdata(lua, std::ptr::from_ref(table).cast_mut().cast::<c_void>());
            lua_pushcclosure(lua, *function, 1);
            lua_setfield(lua, -2, event.as_ptr());
        }
        lua_setmetatable(lua, -2);
    }
}

/// The table that the running function is about. Counts the call, and throws if it is the one that is to throw.
unsafe fn here(lua: Lua) -> (&'static Gateway, &'static Table) {
    // SAFETY: push_with set the upvalue; the gateway outlives its state. Nothing is on this frame.
    unsafe {
        let gateway = Gateway::of(lua);
        if gateway.read() {
            foreign_throw();
        }
        let table = lua_touserdata(lua, lua::upvalue(1)).cast::<Table>();
        (gateway, table.as_ref().expect("an upvalue of ours"))
    }
}

unsafe fn push_field(lua: Lua, gateway: &Gateway, field: Field) {
    // SAFETY: as for push.
    unsafe {
        match field {
            Field::Text(text) => {
                lua_pushstring(lua, text.as_ptr());
            }
            Field::Time(text) if gateway.release == Release::Tentacle => {
                lua_pushlstring(lua, text.as_ptr(), text.to_bytes_with_nul().len());
            }
            Field::Time(text) => {
                lua_pushstring(lua, text.as_ptr());
            }
            Field::Integer(number) => lua_pushinteger(lua, number),
            Field::Nil => lua_pushnil(lua),
            Field::Table(table) => push(lua, table),
            Field::Map(table) => push_map(lua, table),
            Field::Of(field) => push_field(lua, gateway, field(&gateway.sample.get())),
        }
    }
}

/// Notes a trespass, which fails the test, and raises as 18 and 20 do for an unknown field.
unsafe fn trespass(lua: Lua, gateway: &Gateway, table: &Table, what: &[u8]) -> c_int {
    gateway.trespass(table, what);
    // SAFETY: nothing on this frame needs dropping.
    unsafe {
        lua_pushstring(lua, c"unknown field name".as_ptr());
        lua_error(lua)
    }
}

/// `table.field`: names count without case.
unsafe extern "C-unwind" fn index(lua: Lua) -> c_int {
    // SAFETY: Lua calls this as any C function; the key stays on the stack. Notes are complete before Lua is called.
    unsafe {
        let (gateway, table) = here(lua);
        let Some(key) = lua::bytes(lua, 2) else { return trespass(lua, gateway, table, b"no string") };
        let named = |entry: &&Entry| entry.is_in(gateway.release) && entry.name.eq_ignore_ascii_case(key);
        match table.entries.iter().find(named) {
            Some(entry) => {
                gateway.note(table.path, entry.name);
                push_field(lua, gateway, entry.field);
                1
            }
            None => trespass(lua, gateway, table, key),
        }
    }
}

/// `map[key]`: keys count with case, and one that is not there is nil.
unsafe extern "C-unwind" fn index_map(lua: Lua) -> c_int {
    // SAFETY: as for index.
    unsafe {
        let (gateway, table) = here(lua);
        let Some(key) = lua::bytes(lua, 2) else { return trespass(lua, gateway, table, b"no string") };
        match table.entries.iter().find(|entry| entry.name == key) {
            Some(entry) => push_field(lua, gateway, entry.field),
            None => lua_pushnil(lua),
        }
        1
    }
}

/// `pairs(map)`.
unsafe extern "C-unwind" fn pairs(lua: Lua) -> c_int {
    // SAFETY: as for index.
    unsafe {
        let (gateway, table) = here(lua);
        gateway.note(table.path, b"pairs");
        lua_pushvalue(lua, lua::upvalue(1));
        lua_pushcclosure(lua, if gateway.release < Release::Tentacle { step } else { step_by_iterator }, 1);
        lua_pushnil(lua);
        lua_pushnil(lua);
        3
    }
}

/// A step on 16 and 18: looks the last key up, as far as its first NUL, and goes on from there. With a key that is there
/// twice it never gets on.
unsafe extern "C-unwind" fn step(lua: Lua) -> c_int {
    // SAFETY: as for index.
    unsafe {
        let (gateway, table) = here(lua);
        let next = match lua::bytes(lua, 2) {
            None => 0,
            Some(last) => {
                let known = last.split(|byte| *byte == 0).next().unwrap_or_default();
                match table.entries.iter().position(|entry| entry.name == known) {
                    Some(place) => place + 1,
                    None => return trespass(lua, gateway, table, b" was walked on from a key with a NUL"),
                }
            }
        };
        let Some(entry) = table.entries.get(next) else {
            lua_pushnil(lua);
            return 1;
        };
        lua_pushlstring(lua, entry.name.as_ptr().cast(), entry.name.len());
        push_field(lua, gateway, entry.field);
        2
    }
}

/// A step on 20: the key is a userdata, the same one all along, which is a place in the map. The metatable that it has
/// keeps a pointer to it, by which a further walk in the same state goes on, whether Lua has collected it or not.
unsafe extern "C-unwind" fn step_by_iterator(lua: Lua) -> c_int {
    // SAFETY: as for index; the userdata has room for the place.
    unsafe {
        let (gateway, table) = here(lua);
        if lua_type(lua, 2) == NIL {
            let iterator = lua::new_userdata(lua, size_of::<usize>()).cast::<usize>();
            iterator.write(0);
            if luaL_newmetatable(lua, iterator_name(table).as_ptr().cast()) == 0 {
                return trespass(lua, gateway, table, b" was walked again");
            }
            lua_pushvalue(lua, lua::upvalue(1));
            lua_pushcclosure(lua, key_text, 1);
            lua_setfield(lua, -2, c"__tostring".as_ptr());
            lua_setmetatable(lua, -2);
        } else {
            let Some(place) = lua_touserdata(lua, 2).cast::<usize>().as_mut() else {
                return trespass(lua, gateway, table, b" was walked on from what is no iterator");
            };
            *place += 1;
            lua_pushvalue(lua, 2);
        }
        let place = lua_touserdata(lua, -1).cast::<usize>().read();
        let Some(entry) = table.entries.get(place) else {
            lua_pushnil(lua);
            return 1;
        };
        push_field(lua, gateway, entry.field);
        2
    }
}

/// What 20 calls the metatable of a map's iterator, with a NUL at the end.
fn iterator_name(table: &Table) -> [u8; 64] {
    let mut name = [0; 64];
    let whole = [table.path.to_bytes(), b".Iterator"];
    for (place, byte) in name.iter_mut().zip(whole.into_iter().flatten()) {
        *place = *byte;
    }
    name
}

/// `tostring(key)` on 20.
unsafe extern "C-unwind" fn key_text(lua: Lua) -> c_int {
    // SAFETY: as for step_by_iterator, which made the userdata.
    unsafe {
        let (_, table) = here(lua);
        let place = lua_touserdata(lua, 1).cast::<usize>();
        match place.as_ref().and_then(|place| table.entries.get(*place)) {
            Some(entry) => {
                lua_pushlstring(lua, entry.name.as_ptr().cast(), entry.name.len());
            }
            None => lua_pushnil(lua),
        }
        1
    }
}

/// `#map`.
unsafe extern "C-unwind" fn length(lua: Lua) -> c_int {
    // SAFETY: as for index.
    unsafe {
        let (_, table) = here(lua);
        lua_pushinteger(lua, i64::try_from(table.entries.len()).unwrap_or_default());
        1
    }
}

/// What these tables do not allow: writing, and walking or measuring what is no map. On 16 this throws too.
unsafe extern "C-unwind" fn refuse(lua: Lua) -> c_int {
    // SAFETY: as for index.
    unsafe {
        let (gateway, table) = here(lua);
        trespass(lua, gateway, table, b" was walked, measured or written")
    }
}
