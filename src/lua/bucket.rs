//! The bucket of a request, and its tags.

use super::boundary::Call;
use super::ffi::{self, lua_State};
use super::fields::{optional, optional_field, pop, table, text};
use super::read::{Token, bytes};
use crate::event::{Features, Text, distinct_tag_keys};
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

/// Reads the tags of the bucket on top of the stack that rules look at, where the gateway shows them and has loaded the
/// bucket. RGW's map has no `__pairs`: its keys are asked for.
unsafe fn tags(state: *mut lua_State, features: Features, call: &mut Call) {
    // SAFETY: as for bucket. What is collected is the call's, as asking for a key may raise.
    unsafe {
        let bucket = ffi::lua_gettop(state);
        collect_keys(state, call);
        if call.tag_keys.is_empty() || (!features.plain && call.request.bytes(Text::BucketId).is_empty()) {
            return;
        }
        // A bucket without tags has nil there, and one whose tags are not shown raises.
        if let Some(kind) = optional_field(state, bucket, features, c"Tags") {
            let map = ffi::lua_gettop(state);
            let mut place = 0;
            while let Some(key) = call.tag_keys.get(place) {
                call.request.bucket_tags.push((key.clone(), None));
                place = place.saturating_add(1);
                if kind != ffi::LUA_TTABLE {
                    continue;
                }
                ffi::lua_pushlstring(state, key.as_ptr().cast(), key.len());
                if optional(state, map, features) == Some(ffi::LUA_TSTRING)
                    && let Some((_, value)) = call.request.bucket_tags.last_mut()
                {
                    *value = Some(bytes(state, -1).to_vec());
                }
                ffi::lua_settop(state, map);
            }
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
            call.tag_keys = path.map(process::bucket_tag_keys).unwrap_or_default();
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
    call.tag_keys = distinct_tag_keys(keys).into();
}
