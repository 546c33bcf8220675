//! What a script holds on to: a userdata that owns a reference to one of our things, until Lua collects it; or a table with
//! methods, which owns nothing.

use super::boundary::{Call, Entry, Function, Key};
use super::client;
use super::ffi::{self, lua_State};
use crate::error::Error;
use crate::value::{Class, Handle, Object, Value};
use std::ffi::{CStr, c_int};
use std::sync::Arc;

/// What a class has for Lua.
pub struct Shape {
    /// Its name, as `tostring` and error messages show it.
    pub name: &'static CStr,
    /// What Lua itself does with one, besides collecting it.
    pub metamethods: &'static [Entry],
    /// What scripts do with one.
    pub methods: &'static [Entry],
}

/// What such a userdata holds: a reference, or null once it was given back.
type Slot = *mut Handle;

/// Pushes a new userdata with a reference of its own.
///
/// # Safety
/// Runs within a protected call with a free slot on its stack; must have nothing to drop on its frame.
pub unsafe fn push(state: *mut lua_State, of: &Handle) {
    // SAFETY: the slot is null until all that can fail is done, so that its collection finds nothing to give back.
    unsafe {
        ffi::luaL_checkstack(state, 4, std::ptr::null());
        let slot = ffi::new_userdata(state, size_of::<Slot>()).cast::<Slot>();
        slot.write(std::ptr::null_mut());
        push_metatable(state, of.class());
        ffi::lua_setmetatable(state, -2);
        slot.write(Box::into_raw(Box::new(Handle::clone(of))));
    }
}

/// Pushes the metatable of a class; makes it the first time in a state.
///
/// # Safety
/// As for [`push`].
pub unsafe fn push_metatable(state: *mut lua_State, class: Class) {
    // SAFETY: as for push, which made room for the first value.
    unsafe {
        if ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, Key::Class(class).address()) == ffi::LUA_TTABLE {
            return;
        }
        ffi::lua_settop(state, -2);
        ffi::luaL_checkstack(state, 6, std::ptr::null());
        let shape = client::shape(class);
        ffi::lua_createtable(state, 0, 6);
        for metamethod in shape.metamethods {
            metamethod.set(state);
        }
        const COLLECT: Entry = Entry::of::<Collect>();
        COLLECT.set(state);
        // Scripts can neither see nor change it: getmetatable returns this instead.
        set_text(state, c"__metatable", shape.name);
        set_text(state, c"__name", shape.name);
        ffi::lua_pushstring(state, c"__index".as_ptr());
        ffi::lua_createtable(state, 0, c_int::try_from(shape.methods.len()).unwrap_or_default());
        for method in shape.methods {
            method.set(state);
        }
        ffi::lua_rawset(state, -3);
        if !matches!(class, Class::Message | Class::StreamMessage) {
            ffi::lua_pushboolean(state, 1);
            ffi::lua_rawsetp(state, -2, Key::Ours.address());
        }
        ffi::lua_pushvalue(state, -1);
        ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, Key::Class(class).address());
    }
}

unsafe fn set_text(state: *mut lua_State, key: &CStr, text: &CStr) {
    // SAFETY: as for push_metatable.
    unsafe {
        ffi::lua_pushstring(state, key.as_ptr());
        ffi::lua_pushstring(state, text.as_ptr());
        ffi::lua_rawset(state, -3);
    }
}

/// The slot of the value at an index, if that is one of our handles. Takes no memory and raises nothing.
unsafe fn slot(state: *mut lua_State, index: c_int) -> Option<*mut Slot> {
    // SAFETY: two slots are used and given back; a userdata with a metatable that has our mark was made by push.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TUSERDATA || ffi::lua_getmetatable(state, index) == 0 {
            return None;
        }
        let ours = ffi::lua_rawgetp(state, -1, Key::Ours.address()) == ffi::LUA_TBOOLEAN;
        ffi::lua_settop(state, -3);
        if ours { Some(ffi::lua_touserdata(state, index).cast::<Slot>()) } else { None }
    }
}

/// The handle at an index, as a value with a reference of its own; [`Value::Other`] for what is none.
///
/// # Safety
/// There must be a full userdata at `index`, counted from the bottom, and two free slots.
pub unsafe fn get(state: *mut lua_State, index: c_int) -> Value {
    // SAFETY: as for slot; a slot that is not null is a box that push made.
    unsafe {
        let handle = slot(state, index).and_then(|slot| slot.read().as_ref());
        handle.map_or(Value::Other("userdata"), |handle| Value::Handle(Handle::clone(handle)))
    }
}

/// The thing of a handle, as what it is.
pub fn downcast<T: Object>(handle: &Handle) -> Option<Arc<T>> {
    let any: Arc<dyn std::any::Any + Send + Sync> = handle.clone();
    any.downcast().ok()
}

/// `__gc`: gives the reference back.
struct Collect;

impl Function for Collect {
    const NAME: &'static CStr = c"__gc";

    unsafe fn read(state: *mut lua_State, call: &mut Call) {
        // SAFETY: the box leaves the slot before it goes to the call, which drops it outside of Lua.
        unsafe {
            if ffi::lua_gettop(state) < 1 {
                return;
            }
            let Some(slot) = slot(state, 1) else { return };
            let handle = slot.replace(std::ptr::null_mut());
            if !handle.is_null() {
                call.arguments.push(Value::Handle(*Box::from_raw(handle)));
            }
        }
    }

    fn work(_: &mut Call) -> Result<Value, Error> {
        Ok(Value::Boolean(true))
    }
}
