//! The reader of `Request`: with its maps (`maps.rs`), the one place that knows how each release of Ceph shows it (rgw-lua.md 3).

use super::boundary::Call;
use super::ffi::{self, lua_State};
use super::fields::{has_text, integer, kind, pop, table, text};
use super::maps::{METADATA, TAGS, map};
use super::read::{bytes, refuse};
use crate::error::Code;
use crate::event::{self, Operation, Release, Text};
use crate::process;
use std::ffi::c_int;

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
        let release = release(state, index);
        call.request.release = release;
        // Before 20 the bucket and the object are not known yet, and nothing could be refused.
        if release < Release::Tentacle {
            return;
        }
        text(state, index, c"RGWOp", call, Text::RgwOp);
        // As if it were done.
        call.request.status = 200;
        // Nobody is kept from reading.
        if !call.request.candidate().is_some_and(|operation| operation.is_native()) {
            call.request = event::Request::default();
            return;
        }
        bucket(state, index, release, call);
        if table(state, index, c"Object") {
            text(state, -1, c"Name", call, Text::Key);
            text(state, -1, c"Instance", call, Text::VersionId);
            pop(state);
        }
        if table(state, index, c"HTTP") {
            call.request.part = call.request.bytes(Text::RgwOp) == b"put_obj" && is_part(state, index);
            if table(state, -1, c"Metadata") {
                text(state, -1, c"x-amz-tagging", call, Text::Tagging);
                map(state, release, call, &METADATA);
                pop(state);
            }
            pop(state);
        }
        // There are no tags yet but those that the client has sent.
        call.request.tags.truncate();
        call.request.mend_tags();
    }
}

/// Reads a request. What is there is asked for by the release's own list of fields: reading another one raises, and on
/// 16.2 throws a C++ exception.
pub unsafe fn done(state: *mut lua_State, index: c_int, call: &mut Call) {
    // SAFETY: as for Function::read. Each table is popped before the next one is fetched, as tables of one kind take
    // each other's place on 16 and 18.
    unsafe {
        if ffi::lua_type(state, index) != ffi::LUA_TTABLE || !is_request(state, index) {
            refuse(call, Code::BadArgument, "the first argument must be Request, as RGW gives it to the script");
            return;
        }
        let release = release(state, index);
        call.request.release = release;
        text(state, index, c"RGWOp", call, Text::RgwOp);
        if call.request.bytes(Text::RgwOp).is_empty() {
            refuse(call, Code::BadRequest, "the request has no RGWOp");
            return;
        }
        if table(state, index, c"Response") {
            call.request.status = integer(state, c"HTTPStatusCode");
            if call.request.bytes(Text::RgwOp) == b"post_obj" {
                call.request.code = integer(state, c"RGWCode");
            }
            pop(state);
        }
        if table(state, index, c"HTTP") {
            if call.request.bytes(Text::RgwOp) == b"get_obj" {
                text(state, -1, c"Method", call, Text::Method);
            }
            let Some(operation) = call.request.candidate() else { return };
            // A table may ask for anything; of a file it is known what it asks for.
            let path = if ffi::lua_type(state, 2) == ffi::LUA_TSTRING { bytes(state, 2) } else { &[] };
            if std::str::from_utf8(path).is_ok_and(|path| !process::is_wanted(path, operation)) {
                call.request = event::Request::default();
                return;
            }
            call.request.part = operation.event_name() == "ObjectCreated:Put" && is_part(state, index);
            if table(state, -1, c"Metadata") {
                if is_kept(state, operation, call) {
                    map(state, release, call, &METADATA);
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
        text(state, index, c"RGWId", call, Text::RgwId);
        bucket(state, index, release, call);
        zone_group(state, index, call);
        if table(state, index, c"Object") {
            text(state, -1, c"Name", call, Text::Key);
            text(state, -1, c"Instance", call, Text::VersionId);
            call.request.size = integer(state, c"Size");
            pop(state);
        }
        if operation.is_copy() && release > Release::Pacific {
            copied_size(state, index, call);
        }
        owner(state, index, release, call);
        if !is_tagged_as_sent(state, index, operation, call) && table(state, index, c"Tags") {
            map(state, release, call, &TAGS);
            pop(state);
            // 20 takes the tags of a copy from the request as it does the metadata, and shows them nowhere else.
            if operation.is_copy() && release == Release::Tentacle && call.request.replaces() {
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

/// Finds out which release runs the script; asking `Request` for what it lacks is no way. 20 names `Request`'s table
/// otherwise than 16 and 18 do; 18 has a global `RGW`, a table with a name of its own, that 16 has not. A request that a
/// script has made is of the release whose globals are there.
unsafe fn release(state: *mut lua_State, index: c_int) -> Release {
    // SAFETY: four slots are used and given back; rawget calls no metamethod.
    unsafe {
        let name = kind(state, index);
        if name == b"Request" {
            return Release::Tentacle;
        }
        let mut found = Release::Pacific;
        ffi::lua_pushglobaltable(state);
        ffi::lua_pushstring(state, c"RGW".as_ptr());
        ffi::lua_rawget(state, -2);
        let top = ffi::lua_gettop(state);
        if ffi::lua_type(state, top) != ffi::LUA_TNIL && (name.is_empty() || !kind(state, top).is_empty()) {
            found = Release::Reef;
        }
        pop(state);
        if name.is_empty() {
            ffi::lua_pushstring(state, c"RGW_ABORT_REQUEST".as_ptr());
            if ffi::lua_rawget(state, -2) != ffi::LUA_TNIL {
                found = Release::Tentacle;
            }
            pop(state);
        }
        pop(state);
        found
    }
}

unsafe fn bucket(state: *mut lua_State, index: c_int, release: Release, call: &mut Call) {
    // SAFETY: as for done.
    unsafe {
        if !table(state, index, c"Bucket") {
            return;
        }
        text(state, -1, c"Tenant", call, Text::Tenant);
        text(state, -1, c"Name", call, Text::Bucket);
        text(state, -1, c"Id", call, Text::BucketId);
        if table(state, -1, c"User") {
            text(state, -1, c"Id", call, Text::BucketOwner);
            // 20 writes an owner as tenant$id, the others without the tenant (rgw-lua.md 4).
            if release == Release::Tentacle {
                ffi::lua_getfield(state, -1, c"Tenant".as_ptr());
                if ffi::lua_type(state, -1) == ffi::LUA_TSTRING {
                    call.request.qualify(Text::BucketOwner, bytes(state, -1));
                }
                pop(state);
            }
            pop(state);
        } else if release == Release::Tentacle {
            text(state, -1, c"Account", call, Text::BucketOwner);
        }
        pop(state);
    }
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

/// Who asked: `ObjectOwner.User`, a table before 20 and a text from then on. 16 has no `Request.User`.
unsafe fn owner(state: *mut lua_State, index: c_int, release: Release, call: &mut Call) {
    // SAFETY: as for done.
    unsafe {
        if !table(state, index, c"ObjectOwner") {
            return;
        }
        if release == Release::Tentacle {
            text(state, -1, c"User", call, Text::User);
        } else if table(state, -1, c"User") {
            text(state, -1, c"Id", call, Text::User);
            pop(state);
        }
        pop(state);
        // Of a request by Swift it is empty before 20; 18 has the user in another place.
        if call.request.bytes(Text::User).is_empty() && release == Release::Reef && table(state, index, c"User") {
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
