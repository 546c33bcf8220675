//! From Lua to plain values, within bounds.

use super::boundary::{Call, Key};
use super::ffi::{self, lua_State};
use super::handle;
use crate::error::{Code, Error};
use crate::message::MAX_PAYLOAD;
use crate::value::Value;
use std::ffi::c_int;

/// How many arguments of a call are looked at.
const MAX_ARGUMENTS: c_int = 8;
/// How deep tables are followed; a table that holds itself ends here too.
const MAX_DEPTH: c_int = 16;
/// How many values a call may bring in all.
const MAX_VALUES: usize = 20_000;
/// How many bytes of strings a call may bring in all: a payload, and as much again as any table needs.
const MAX_BYTES: usize = MAX_PAYLOAD + (4 << 20);

/// One step of a walk over the tables among the arguments. Flat, so that nothing half-made lies on a frame that Lua may jump
/// over.
pub enum Token {
    /// The table that follows is the argument at this place, counted from 0.
    At(usize),
    /// A value in a table that is no table.
    Value(Value),
    /// A table begins; its keys and values follow in turn.
    Open,
    /// A table that is marked as a list begins, likewise.
    OpenList,
    /// It ends.
    Close,
}

/// Reads all arguments.
///
/// # Safety
/// As for [`Function::read`](super::boundary::Function::read).
pub unsafe fn arguments(state: *mut lua_State, call: &mut Call) {
    // SAFETY: as for this function.
    unsafe {
        let count = ffi::lua_gettop(state).min(MAX_ARGUMENTS);
        for index in 1..=count {
            value(state, index, 0, call);
        }
    }
}

/// Reads the value at an index, counted from the bottom of the stack.
///
/// # Safety
/// As for [`arguments`].
pub unsafe fn value(state: *mut lua_State, index: c_int, depth: c_int, call: &mut Call) {
    if call.tokens.len().saturating_add(call.arguments.len()) >= MAX_VALUES {
        refuse(call, Code::TooLarge, "the arguments have more than 20,000 values in all");
        return;
    }
    // SAFETY: as for this function. Strings are only asked for where they are strings, so that no key of a table changes
    // under lua_next; what is copied goes to the call at once.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TNIL => plain(call, depth, Value::Nil),
            ffi::LUA_TBOOLEAN => plain(call, depth, Value::Boolean(ffi::lua_toboolean(state, index) != 0)),
            ffi::LUA_TNUMBER if ffi::lua_isinteger(state, index) != 0 => {
                plain(call, depth, Value::Integer(ffi::lua_tointegerx(state, index, std::ptr::null_mut())));
            }
            ffi::LUA_TNUMBER => {
                plain(call, depth, Value::Number(ffi::lua_tonumberx(state, index, std::ptr::null_mut())));
            }
            ffi::LUA_TSTRING => {
                let bytes = bytes(state, index);
                call.bytes = call.bytes.saturating_add(bytes.len());
                if call.bytes > MAX_BYTES {
                    refuse(call, Code::TooLarge, "the arguments have more than 68 MiB of strings in all");
                } else {
                    plain(call, depth, Value::String(bytes.to_vec()));
                }
            }
            ffi::LUA_TTABLE if depth >= MAX_DEPTH => {
                refuse(call, Code::BadArgument, "a table holds tables more than 16 deep, or itself");
            }
            ffi::LUA_TTABLE => table(state, index, depth, call),
            ffi::LUA_TUSERDATA => plain(call, depth, handle::get(state, index)),
            ffi::LUA_TFUNCTION => plain(call, depth, Value::Other("function")),
            ffi::LUA_TTHREAD => plain(call, depth, Value::Other("coroutine")),
            ffi::LUA_TLIGHTUSERDATA if ffi::lua_touserdata(state, index).is_null() => plain(call, depth, Value::Null),
            ffi::LUA_TLIGHTUSERDATA => plain(call, depth, Value::Other("light userdata")),
            _ => plain(call, depth, Value::Other("value")),
        }
    }
}

/// Whether the table at an index is marked as a list.
unsafe fn is_list(state: *mut lua_State, index: c_int) -> bool {
    // SAFETY: table made room for two values, which are taken off again.
    unsafe {
        if ffi::lua_getmetatable(state, index) == 0 {
            return false;
        }
        ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, Key::List.address());
        let list = ffi::lua_rawequal(state, -1, -2) != 0;
        ffi::lua_settop(state, -3);
        list
    }
}

unsafe fn table(state: *mut lua_State, index: c_int, depth: c_int, call: &mut Call) {
    // SAFETY: as for value; the key, the value and a metatable take four slots.
    unsafe {
        if ffi::lua_checkstack(state, 8) == 0 {
            refuse(call, Code::Memory, "Lua's stack can't grow");
            return;
        }
        if depth == 0 {
            call.tokens.push(Token::At(call.arguments.len()));
            call.arguments.push(Value::Nil);
        }
        call.tokens.push(if is_list(state, index) { Token::OpenList } else { Token::Open });
        ffi::lua_pushnil(state);
        while ffi::lua_next(state, index) != 0 {
            let top = ffi::lua_gettop(state);
            value(state, top - 1, depth + 1, call);
            value(state, top, depth + 1, call);
            ffi::lua_settop(state, top - 1);
            if call.refused.is_some() {
                ffi::lua_settop(state, top - 2);
                break;
            }
        }
        call.tokens.push(Token::Close);
    }
}

/// The bytes of the string at an index; valid as long as it stays there.
///
/// # Safety
/// There must be a string at `index`, and it must stay there while the bytes are in use.
pub unsafe fn bytes<'s>(state: *mut lua_State, index: c_int) -> &'s [u8] {
    // SAFETY: as for this function; for a string, lua_tolstring neither converts nor fails.
    unsafe {
        let mut length = 0;
        let start = ffi::lua_tolstring(state, index, &raw mut length);
        if start.is_null() { &[] } else { std::slice::from_raw_parts(start.cast::<u8>(), length) }
    }
}

fn plain(call: &mut Call, depth: c_int, value: Value) {
    match depth {
        0 => call.arguments.push(value),
        _ => call.tokens.push(Token::Value(value)),
    }
}

/// Notes the first thing that is wrong.
pub fn refuse(call: &mut Call, code: Code, text: &str) {
    if call.refused.is_none() {
        call.refused = Some(Error::new(code, text));
    }
}

/// Makes tables of the steps of a walk, and puts them where they belong among the arguments. Runs outside of Lua.
pub fn build(tokens: Vec<Token>, arguments: &mut [Value]) {
    let mut open: Vec<(Vec<Value>, bool)> = Vec::new();
    let (mut here, mut at) = (Vec::new(), 0);
    for token in tokens {
        match token {
            Token::At(place) => at = place,
            Token::Value(value) => here.push(value),
            Token::Open => open.push((std::mem::take(&mut here), false)),
            Token::OpenList => open.push((std::mem::take(&mut here), true)),
            Token::Close => {
                let mut entries = Vec::with_capacity(here.len() / 2);
                let mut flat = here.into_iter();
                while let (Some(key), Some(value)) = (flat.next(), flat.next()) {
                    entries.push((key, value));
                }
                let (outer, list) = open.pop().unwrap_or_default();
                here = outer;
                let table = Value::Table(entries);
                let built = match table.items() {
                    Some(items) if list => Value::List(items.into_iter().cloned().collect()),
                    _ => table,
                };
                match arguments.get_mut(at).filter(|_| open.is_empty()) {
                    Some(argument) => *argument = built,
                    None => here.push(built),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_back_nested_and_in_their_places() {
        let value = |number| Token::Value(Value::Integer(number));
        let tokens = vec![
            Token::At(1),
            Token::Open,
            value(2),
            Token::Open,
            value(3),
            value(4),
            Token::Close,
            Token::Close,
            Token::At(3),
            Token::Open,
            Token::Close,
        ];
        let mut arguments = [1, 0, 5, 0].map(Value::Integer);
        build(tokens, &mut arguments);
        let wanted = "[Integer(1), Table([(Integer(2), Table([(Integer(3), Integer(4))]))]), Integer(5), Table([])]";
        assert_eq!(format!("{arguments:?}"), wanted);
    }
}
