//! The bucket of a request, and its tags.

use super::boundary::Call;
use super::ffi::{self, lua_State};
use super::fields::{optional, pop, table, text};
use super::read::{Token, bytes};
use crate::event::{Features, Map, Text};
use crate::process;
use crate::value::Value;
use std::ffi::c_int;

/// Reads the bucket of a request, and its tags if `with_tags`.
///
/// # Safety
/// As for `request::done`.
pub unsafe fn bucket(state: *mut lua_State, index: c_int, features: Features, with_tags: bool, call: &mut Call) {
    // SAFETY: as for done.
    unsafe {
        if !table(state, index, c"Bucket") {
            return;
        }
        text(state, -1, c"Tenant", call, Text::Tenant);
        text(state, -1, c"Name", call, Text::Bucket);
        text(state, -1, c"Id", call, Text::BucketId);
        if with_tags {
            tags(state, features, call);
        }
        if table(state, -1, c"User") {
            text(state, -1, c"Id", call, Text::BucketOwner);
            if features.has_accounts() {
                ffi::lua_getfield(state, -1, c"Tenant".as_ptr());
                if ffi::lua_type(state, -1) == ffi::LUA_TSTRING {
                    call.request.qualify(Text::BucketOwner, bytes(state, -1));
                }
                pop(state);
            }
            pop(state);
        } else if features.has_accounts() {
            text(state, -1, c"Account", call, Text::BucketOwner);
        }
        pop(state);
    }
}

/// Reads the tags of the bucket on top of the stack that rules look at, where the gateway shows them. Elsewhere reading
/// `Tags` raises, which tells it. RGW's map has no `__pairs`: its keys are asked for.
unsafe fn tags(state: *mut lua_State, features: Features, call: &mut Call) {
    // SAFETY: as for bucket; `optional` makes room for the map and a value. What is collected is the
    // call's, as asking for a key may raise.
    unsafe {
        let bucket = ffi::lua_gettop(state);
        let Some(kind) = optional(state, bucket, features, c"Tags") else {
            ffi::lua_settop(state, bucket);
            return;
        };
        let has_tags = kind == ffi::LUA_TTABLE;
        collect_keys(state, call);
        let (map, mut place) = (ffi::lua_gettop(state), 0);
        // A bucket without tags has nil there.
        if call.tag_keys.is_some() {
            call.request.bucket_tags = Some(Map::default());
        }
        while let Some(key) = call.tag_keys.as_ref().filter(|_| has_tags).and_then(|keys| keys.get(place)) {
            ffi::lua_pushlstring(state, key.as_ptr().cast(), key.len());
            ffi::lua_gettable(state, map);
            if ffi::lua_type(state, -1) == ffi::LUA_TSTRING
                && let Some(tags) = &mut call.request.bucket_tags
            {
                tags.add(key, bytes(state, -1));
            }
            pop(state);
            place += 1;
        }
        ffi::lua_settop(state, bucket);
    }
}

/// Collects the keys that the rules of the second argument look at; none as long as its file was not read.
unsafe fn collect_keys(state: *mut lua_State, call: &mut Call) {
    // SAFETY: as for bucket.
    unsafe {
        if ffi::lua_type(state, 2) == ffi::LUA_TSTRING {
            let path = std::str::from_utf8(bytes(state, 2));
            call.tag_keys = path.ok().and_then(process::bucket_tag_keys);
            return;
        }
    }
    let mut keys = Vec::new();
    let mut tokens = call.tokens.iter();
    while let Some(token) = tokens.next() {
        let Token::Value(Value::String(name)) = token else { continue };
        if name != b"bucket_tags" || !matches!(tokens.next(), Some(Token::Open)) {
            continue;
        }
        while let (Some(Token::Value(Value::String(key))), Some(Token::Value(_))) = (tokens.next(), tokens.next()) {
            keys.push(key.clone());
        }
    }
    call.tag_keys = Some(keys);
}
