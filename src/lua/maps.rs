//! The maps of `Request`: user metadata and tags, each walked as its gateway stands it (rgw-lua.md 3a).

use super::boundary::{Call, Key};
use super::ffi::{self, lua_State};
use super::fields::{kind, pop};
use super::read::bytes;
use crate::event::{self, Features, Map};
use std::ffi::{CStr, c_int};

/// How many steps a walk over a map may take; more headers than any front end lets through.
const MAX_STEPS: usize = 10_000;

/// Metadata that are none: RGW shows Swift's keys for temporary URLs so.
const SECRET: [&[u8]; 2] = [b"x-amz-meta-temp-url-key", b"x-amz-meta-temp-url-key-2"];

/// A map of a request: where its entries go, and how it is known where it can be walked once.
pub struct Walk {
    kept: fn(&mut event::Request) -> &mut Map,
    /// Only entries whose key begins so are kept.
    prefix: &'static [u8],
    /// What RGW has in the registry once someone has walked over this map, where it can be walked once.
    mark: &'static CStr,
    /// Where we keep what we have read, and what RGW walks with.
    copy: Key,
    anchor: Key,
}

pub const METADATA: Walk = Walk {
    kept: |request| &mut request.metadata,
    prefix: b"x-amz-meta-",
    mark: c"Request.HTTP.Metadata.Iterator",
    copy: Key::Metadata,
    anchor: Key::MetadataWalk,
};
pub const TAGS: Walk = Walk {
    kept: |request| &mut request.tags,
    prefix: b"",
    mark: c"Request.Tags.Iterator",
    copy: Key::Tags,
    anchor: Key::TagsWalk,
};
/// Reads the map on top of the stack.
pub unsafe fn map(state: *mut lua_State, features: Features, call: &mut Call, walk: &Walk) {
    // SAFETY: as for request; the stack is as it was at the end.
    unsafe {
        let top = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, 12, std::ptr::null());
        if !features.walks_maps_once() || kind(state, top).is_empty() {
            whole(state, features, call, walk);
            ffi::lua_settop(state, top);
        } else {
            once(state, features, call, walk);
        }
    }
}

/// Where a map can be walked over once in a state, RGW goes on from where the last walk ended, in memory that Lua may have
/// collected since. So what we read is kept for the next call in this state, and so is what RGW walks with; and where the
/// script itself has been before us, the entries are left out.
unsafe fn once(state: *mut lua_State, features: Features, call: &mut Call, walk: &Walk) {
    // SAFETY: as for map, whose table stays where it is.
    unsafe {
        let top = ffi::lua_gettop(state);
        if ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, walk.copy.address()) == ffi::LUA_TSTRING {
            *(walk.kept)(&mut call.request) = Map::decode(bytes(state, -1));
            ffi::lua_settop(state, top);
            return;
        }
        ffi::lua_settop(state, top);
        ffi::lua_pushstring(state, walk.mark.as_ptr());
        let walked = ffi::lua_rawget(state, ffi::LUA_REGISTRYINDEX) != ffi::LUA_TNIL;
        ffi::lua_settop(state, top);
        if walked {
            (walk.kept)(&mut call.request).truncate();
            return;
        }
        whole(state, features, call, walk);
        ffi::lua_settop(state, top);
        call.scratch = (walk.kept)(&mut call.request).encode();
        ffi::lua_pushlstring(state, call.scratch.as_ptr().cast(), call.scratch.len());
        ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, walk.copy.address());
    }
}

/// Walks over the map on top of the stack and keeps its entries. May leave things above it.
unsafe fn whole(state: *mut lua_State, features: Features, call: &mut Call, walk: &Walk) {
    // SAFETY: as for map.
    unsafe {
        let map = ffi::lua_gettop(state);
        if ffi::luaL_getmetafield(state, map, c"__pairs".as_ptr()) == ffi::LUA_TNIL {
            // A plain table, from a script that tries its rules.
            ffi::lua_pushnil(state);
            while ffi::lua_next(state, map) != 0 {
                entry(state, call, walk);
                pop(state);
            }
            return;
        }
        ffi::lua_pushvalue(state, map);
        ffi::lua_call(state, 1, 3);
        // The step function, its state and the key stand at map + 1 to 3. RGW 19 and newer keep a pointer to the userdata that it
        // walks with, the first key: Lua must not collect it.
        anchor(state, map + 3, walk);
        for step in 0..MAX_STEPS {
            for place in 1..=3 {
                ffi::lua_pushvalue(state, map + place);
            }
            ffi::lua_call(state, 2, 2);
            if ffi::lua_type(state, -2) == ffi::LUA_TNIL {
                return;
            }
            // Others look the last key up to go on from it. With a key that is there twice they never get past it.
            if !features.walks_maps_once() && ffi::lua_rawequal(state, -2, map + 3) != 0 {
                break;
            }
            if step == 0 {
                anchor(state, map + 4, walk);
            }
            entry(state, call, walk);
            pop(state);
            // And they look it up as far as its first NUL: what they then do not find aborts them.
            let string = ffi::lua_type(state, -1) == ffi::LUA_TSTRING;
            if !features.walks_maps_once() && string && bytes(state, -1).contains(&0) {
                break;
            }
            ffi::lua_replace(state, map + 3);
        }
        (walk.kept)(&mut call.request).truncate();
    }
}

/// Keeps Lua from collecting the userdata at an index, if it is one.
unsafe fn anchor(state: *mut lua_State, index: c_int, walk: &Walk) {
    // SAFETY: as for map.
    unsafe {
        if ffi::lua_type(state, index) == ffi::LUA_TUSERDATA {
            ffi::lua_pushvalue(state, index);
            ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, walk.anchor.address());
        }
    }
}

/// Keeps the entry whose key and value are on top of the stack.
unsafe fn entry(state: *mut lua_State, call: &mut Call, walk: &Walk) {
    // SAFETY: as for map.
    unsafe {
        if ffi::lua_type(state, -1) != ffi::LUA_TSTRING {
            return;
        }
        match ffi::lua_type(state, -2) {
            ffi::LUA_TSTRING => ffi::lua_pushvalue(state, -2),
            // Where maps are walked once, keys are userdata that can be made into a string.
            ffi::LUA_TUSERDATA => {
                ffi::luaL_tolstring(state, -2, std::ptr::null_mut());
            }
            _ => return,
        }
        let (key, value) = (bytes(state, -1), bytes(state, -2));
        if key.starts_with(walk.prefix) && !SECRET.contains(&key) {
            (walk.kept)(&mut call.request).add(key, value);
        }
        pop(state);
    }
}
