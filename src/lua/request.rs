//! The reader of `Request`: with its maps (`maps.rs`), the one place that knows how gateways show it (rgw-lua.md 3). What
//! differs between them goes by [`Features`].

use super::admit;
use super::boundary::Call;
use super::bucket::bucket;
use super::features::features;
use super::ffi::{self, lua_State};
use super::fields::{has_text, integer, kind, pop, table, text};
use super::maps::{METADATA, TAGS, map};
use super::objects::objects;
use super::read::{Token, bytes, refuse};
use crate::error::Code;
use crate::event::{self, Features, Operation, Text};
use crate::process;
use crate::value::Value;
use std::ffi::c_int;

/// `Request.Response.RGWCode` of an operation that has succeeded and is answered by 204.
const NO_CONTENT: i64 = -1902;

/// The error where nothing was done yet that could be notified of.
const BEFORE: &str = "notify runs before the operation here, of which nothing is known yet: put this script with \
                      --context=postRequest";

/// Reads what can be known of a request before it is done: its operation, bucket and object.
///
/// # Safety
/// As for [`Function::read`].
pub unsafe fn to_be(state: *mut lua_State, index: c_int, call: &mut Call) {
    // SAFETY: as for done.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TTABLE || !is_request(state, index) {
            refuse(call, Code::BadArgument, "the first argument must be Request, as RGW gives it to the script");
            return;
        }
        let features = features(state, index);
        call.request.features = features;
        if !call.can_abort {
            return;
        }
        text(state, index, c"Id", call, Text::Id);
        text(state, index, c"RGWOp", call, Text::RgwOp);
        if call.request.is_multi_delete() {
            objects(state, index, features, call);
        }
        // As if it were done.
        call.request.status = 200;
        // Nobody is kept from reading.
        if !call.request.candidate().is_some_and(|operation| operation.is_native()) {
            call.request = event::Request::default();
            return;
        }
        bucket(state, index, features, needs(state, call) & event::BUCKET_TAGS != 0, call);
        if table(state, index, c"Object") {
            text(state, -1, c"Name", call, Text::Key);
            text(state, -1, c"Instance", call, Text::VersionId);
            pop(state);
        }
        if table(state, index, c"HTTP") {
            call.request.part = call.request.bytes(Text::RgwOp) == b"put_obj" && is_part(state, index);
            if table(state, -1, c"Metadata") {
                text(state, -1, c"x-amz-tagging", call, Text::Tagging);
                map(state, features, call, &METADATA);
                pop(state);
            }
            pop(state);
        }
        // There are no tags yet but those that the client has sent.
        call.request.tags.truncate();
        call.request.mend_tags();
    }
}

/// Reads a request. Only fields that the gateway is known to have are asked for: reading another one raises, and on 16.2
/// throws a C++ exception.
pub unsafe fn done(state: *mut lua_State, index: c_int, call: &mut Call) {
    // SAFETY: as for Function::read. Each table is popped before the next one is fetched, as tables of one kind take
    // each other's place on 16 and 18.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TTABLE || !is_request(state, index) {
            refuse(call, Code::BadArgument, "the first argument must be Request, as RGW gives it to the script");
            return;
        }
        let features = features(state, index);
        call.request.features = features;
        text(state, index, c"RGWOp", call, Text::RgwOp);
        if call.request.bytes(Text::RgwOp).is_empty() {
            refuse(call, Code::BadRequest, "the request has no RGWOp");
            return;
        }
        let (mut refused, mut needed) = (false, u32::MAX);
        if table(state, index, c"Response") {
            call.request.status = integer(state, c"HTTPStatusCode");
            if call.request.bytes(Text::RgwOp) == b"post_obj" {
                call.request.code = integer(state, c"RGWCode");
            }
            let failed = !(200..300).contains(&call.request.status) && process::has_refusals();
            if failed {
                call.request.code = integer(state, c"RGWCode");
            }
            pop(state);
            if failed {
                text(state, index, c"Id", call, Text::Id);
                refused = process::is_refused(&call.request);
            }
            if refused && call.request.status == admit::STATUS {
                // This is what `admit` has written, whatever became of the request.
                call.request.status = 200;
            } else if refused {
                process::forget_refusal(&call.request);
            }
        }
        if call.request.is_multi_delete() {
            objects(state, index, features, call);
        }
        if table(state, index, c"HTTP") {
            if call.request.bytes(Text::RgwOp) == b"get_obj" {
                text(state, -1, c"Method", call, Text::Method);
            }
            let Some(operation) = call.request.candidate() else { return };
            needed = needs(state, call);
            if needed & operation.bits() == 0 {
                call.request = event::Request::default();
                return;
            }
            call.request.part = operation.event_name() == "ObjectCreated:Put" && is_part(state, index);
            if table(state, -1, c"Metadata") {
                if is_kept(state, operation, call) {
                    map(state, features, call, &METADATA);
                }
                if operation.event_name() == "ObjectCreated:Put" {
                    text(state, -1, c"x-amz-tagging", call, Text::Tagging);
                }
                pop(state);
            }
            pop(state);
        }
        let Some(operation) = call.request.candidate() else { return };
        text(state, index, c"Id", call, Text::Id);
        text(state, index, c"TransactionId", call, Text::TransactionId);
        text(state, index, c"RGWId", call, Text::RgwId);
        bucket(state, index, features, needed & event::BUCKET_TAGS != 0, call);
        if table(state, index, c"Object") {
            text(state, -1, c"Name", call, Text::Key);
            text(state, -1, c"Instance", call, Text::VersionId);
            call.request.size = integer(state, c"Size");
            pop(state);
        }
        if !features.plain && !is_done(state, index, operation, refused, call) {
            if refused {
                process::forget_refusal(&call.request);
                call.request = event::Request::default();
            } else {
                refuse(call, Code::BadRequest, BEFORE);
            }
            return;
        }
        zone_group(state, index, call);
        if operation.is_copy() && features.has_user_and_copy_source() {
            copied_size(state, index, call);
        }
        owner(state, index, features, call);
        if !is_tagged_as_sent(state, index, operation, call) && table(state, index, c"Tags") {
            map(state, features, call, &TAGS);
            pop(state);
            // The copy gets the tags of the request, as it does the metadata, and nothing shows them.
            if operation.is_copy() && features.shows_source_tags_of_copy() && call.request.replaces() {
                call.request.tags.truncate();
            }
            if call.request.tags.is_truncated() {
                mend_tags(state, index, call);
            }
        }
        if table(state, index, c"Environment") {
            // What 16 has of a Swift user. Of a form's it is wrong: that is read before the form's own login.
            if call.request.bytes(Text::User).is_empty() {
                text(state, -1, c"aws:username", call, Text::User);
            }
            text(state, -1, c"aws:EpochTime", call, Text::Time);
            text(state, -1, c"aws:SourceIp", call, Text::SourceIp);
            pop(state);
        }
    }
}

/// Whether the table at an index is `Request`, and not one of the tables in it. RGW's tables carry the name of their kind
/// (`RequestMeta` on 16 and 18, `Request` on 20);
/// a table without one was made by a script, and has no fields that raise.
unsafe fn is_request(state: *mut lua_State, index: c_int) -> bool {
    // SAFETY: as for kind.
    unsafe { matches!(kind(state, index), b"" | b"Request" | b"RequestMeta") }
}

/// Whether the operation was executed, as far as the request shows it: scripts also run before it, with the status 200, and
/// where `admit` has `refused` the request, the status is what `admit` has written.
unsafe fn is_done(state: *mut lua_State, index: c_int, operation: &Operation, refused: bool, call: &mut Call) -> bool {
    // SAFETY: as for done.
    unsafe {
        let request = &call.request;
        // A bucket has its id once it is loaded. preRequest comes before that, postAuth does not.
        if request.bytes(Text::BucketId).is_empty() {
            return false;
        }
        if operation.has_no_content() && !request.per_key {
            // Swift's answer to the removal of a large object and its segments is 200.
            return if refused { request.code == NO_CONTENT } else { request.status != 200 || is_swift(state, index) };
        }
        // The size of what was put is known when it is there. A put of nothing cannot be told.
        request.size != 0 || operation.event_name() != "ObjectCreated:Put" || announced_size(state, index) == 0
    }
}

/// How many bytes the client has said that it puts.
unsafe fn announced_size(state: *mut lua_State, index: c_int) -> i64 {
    // SAFETY: as for done.
    unsafe {
        if table(state, index, c"HTTP") {
            // The length of a body in signed pieces counts their signatures.
            let decoded = table(state, -1, c"Metadata") && {
                ffi::lua_getfield(state, -1, c"x-amz-decoded-content-length".as_ptr());
                let empty = ffi::lua_type(state, -1) == ffi::LUA_TSTRING && bytes(state, -1) == b"0";
                pop(state);
                pop(state);
                empty
            };
            pop(state);
            if decoded {
                return 0;
            }
        }
        ffi::lua_pushvalue(state, index);
        let size = integer(state, c"ContentLength");
        pop(state);
        size.max(0)
    }
}

/// What the rules of the second argument need: see [`event::Configuration::needs`]. A table may ask for anything; of a file it
/// is known what it asks for.
unsafe fn needs(state: *mut lua_State, call: &Call) -> u32 {
    // SAFETY: as for done.
    unsafe {
        if ffi::lua_type(state, 2) == ffi::LUA_TSTRING {
            return std::str::from_utf8(bytes(state, 2)).map_or(u32::MAX, process::needs);
        }
    }
    let is_key = |token: &Token| matches!(token, Token::Value(Value::String(key)) if key == b"bucket_tags");
    if call.tokens.iter().any(is_key) { u32::MAX } else { !event::BUCKET_TAGS }
}

/// The zone group of the bucket. It is the same for each request of a bucket to one instance of the gateway, and both are in
/// the request; so it is looked up once. A table that is not made is a tenth of all that a request takes.
unsafe fn zone_group(state: *mut lua_State, index: c_int, call: &mut Call) {
    // SAFETY: as for done; what is made on the way is the call's.
    unsafe {
        let request = &mut call.request;
        let native = !kind(state, index).is_empty();
        if native && process::zone_group(request) {
            return;
        }
        if table(state, index, c"ZoneGroup") {
            text(state, -1, c"Name", call, Text::ZoneGroup);
            pop(state);
        }
        if native {
            process::learn_zone_group(&call.request);
        }
    }
}

/// Takes the tags of a put from its header, where they all come from, so that `Tags` need not be asked; says whether it could.
/// A request that a script has made has its tags in `Tags` alone, and one by Swift has none.
unsafe fn is_tagged_as_sent(state: *mut lua_State, index: c_int, operation: &Operation, call: &mut Call) -> bool {
    // SAFETY: as for done.
    unsafe {
        if operation.event_name() != "ObjectCreated:Put" || kind(state, index).is_empty() {
            return false;
        }
        if !call.request.has_whole_tagging() {
            return false;
        }
        if !call.request.bytes(Text::Tagging).is_empty() && !is_swift(state, index) {
            call.request.take_tagging();
        }
        true
    }
}

/// A copy's own size is 0 in Lua; the source's is the right one. Never on 16.2, where this is a segmentation fault.
unsafe fn copied_size(state: *mut lua_State, index: c_int, call: &mut Call) {
    // SAFETY: as for done.
    unsafe {
        if table(state, index, c"CopyFrom") {
            if table(state, -1, c"Object") {
                call.request.size = integer(state, c"Size");
                pop(state);
            }
            pop(state);
        }
    }
}

/// Who asked: `ObjectOwner.User`, a table with an `Id`, or a text where owners can be accounts.
unsafe fn owner(state: *mut lua_State, index: c_int, features: Features, call: &mut Call) {
    // SAFETY: as for done.
    unsafe {
        if !table(state, index, c"ObjectOwner") {
            return;
        }
        if features.has_accounts() {
            text(state, -1, c"User", call, Text::User);
        } else if table(state, -1, c"User") {
            text(state, -1, c"Id", call, Text::User);
            pop(state);
        }
        pop(state);
        // Of a request by Swift it is empty where owners are tables; `User` has it, where that is there.
        let elsewhere = features.has_user_and_copy_source() && !features.has_accounts();
        if call.request.bytes(Text::User).is_empty() && elsewhere && table(state, index, c"User") {
            text(state, -1, c"Id", call, Text::User);
            pop(state);
        }
    }
}

/// Whether the request, whose `HTTP` is on top of the stack, puts a part of an upload.
unsafe fn is_part(state: *mut lua_State, index: c_int) -> bool {
    // SAFETY: as for done.
    unsafe {
        // Without a query there are no parameters; each table that is not made is half a KiB less of Lua's memory.
        let query = kind(state, index).is_empty() || has_text(state, c"QueryString");
        if !query || !table(state, -1, c"Parameters") {
            return false;
        }
        ffi::lua_getfield(state, -1, c"uploadId".as_ptr());
        // RGW takes an empty one for none.
        let part = ffi::lua_type(state, -1) == ffi::LUA_TSTRING && !bytes(state, -1).is_empty();
        ffi::lua_settop(state, -3);
        // It means nothing to Swift.
        part && !is_swift(state, index)
    }
}

/// Whether the request speaks Swift's language.
unsafe fn is_swift(state: *mut lua_State, index: c_int) -> bool {
    // SAFETY: as for done.
    unsafe {
        ffi::lua_getfield(state, index, c"Dialect".as_ptr());
        let swift = ffi::lua_type(state, -1) == ffi::LUA_TSTRING && bytes(state, -1) == b"swift";
        pop(state);
        swift
    }
}

/// Whether the metadata of the request, on top of the stack, become the object's: a copy has those of its source, which
/// nothing shows, unless the client says otherwise.
unsafe fn is_kept(state: *mut lua_State, operation: &Operation, call: &mut Call) -> bool {
    // SAFETY: as for done.
    unsafe {
        if !operation.is_copy() {
            return true;
        }
        text(state, -1, c"x-amz-metadata-directive", call, Text::Directive);
        call.request.replaces()
    }
}

/// Where the walk over the tags had to stop early, or could not begin: what the client sent says the same; only a put has it.
unsafe fn mend_tags(state: *mut lua_State, index: c_int, call: &mut Call) {
    // SAFETY: as for done.
    unsafe {
        if table(state, index, c"HTTP") {
            if table(state, -1, c"Metadata") {
                text(state, -1, c"x-amz-tagging", call, Text::Tagging);
                pop(state);
            }
            pop(state);
        }
        call.request.mend_tags();
    }
}
