//! `notify`, and the reader of `Request`: the one place that knows how each release of Ceph shows it (rgw-lua.md 3).

use super::boundary::{Call, Function, Key};
use super::read::{self, bytes, refuse};
use crate::error::{Code, Error};
use crate::event::{self, Map, Release, Text};
use crate::process;
use crate::value::Value;
use mlua::ffi::{self, lua_State};
use std::ffi::{CStr, c_int};

/// How many steps a walk over a map may take; more headers than any front end lets through.
const MAX_STEPS: usize = 10_000;

/// `notify(Request, configuration)`.
pub struct Notify;

impl Function for Notify {
    const NAME: &'static CStr = c"notify";

    unsafe fn read(state: *mut lua_State, call: &mut Call) {
        // SAFETY: as the trait says.
        unsafe {
            ffi::lua_settop(state, 2);
            read::value(state, 2, 0, call);
            request(state, 1, call);
        }
    }

    fn work(call: &mut Call) -> Result<Value, Error> {
        let request = std::mem::take(&mut call.request);
        // The request is no value; the configuration is the first that was read.
        process::notify(request, call.argument(1))?;
        Ok(Value::Boolean(true))
    }
}

/// Reads what can be known of a request before it is done: its operation, bucket and object.
///
/// # Safety
/// As for [`Function::read`].
pub unsafe fn request_to_be(state: *mut lua_State, index: c_int, call: &mut Call) {
    // SAFETY: as for request.
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
unsafe fn request(state: *mut lua_State, index: c_int, call: &mut Call) {
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
            pop(state);
        }
        if table(state, index, c"HTTP") {
            if call.request.bytes(Text::RgwOp) == b"get_obj" {
                text(state, -1, c"Method", call, Text::Method);
            }
            let Some(operation) = call.request.candidate() else { return };
            // A table may ask for anything; of files it is known what they ask for.
            let wanted = ffi::lua_type(state, 2) == ffi::LUA_TTABLE || process::is_wanted(operation);
            if !wanted {
                call.request = event::Request::default();
                return;
            }
            // Without a query there are no parameters; each table that is not made is half a KiB less of Lua's memory.
            if operation.event_name() == "ObjectCreated:Put"
                && (kind(state, index).is_empty() || has_text(state, c"QueryString"))
                && table(state, -1, c"Parameters")
            {
                ffi::lua_getfield(state, -1, c"uploadId".as_ptr());
                // RGW takes an empty one for none.
                call.request.part = ffi::lua_type(state, -1) == ffi::LUA_TSTRING && !bytes(state, -1).is_empty();
                ffi::lua_settop(state, -3);
            }
            if table(state, -1, c"Metadata") {
                map(state, release, call, &METADATA);
                pop(state);
            }
            pop(state);
        }
        let Some(operation) = call.request.candidate() else { return };
        text(state, index, c"Id", call, Text::Id);
        text(state, index, c"RGWId", call, Text::RgwId);
        if table(state, index, c"ZoneGroup") {
            text(state, -1, c"Name", call, Text::ZoneGroup);
            pop(state);
        }
        bucket(state, index, release, call);
        if table(state, index, c"Object") {
            text(state, -1, c"Name", call, Text::Key);
            text(state, -1, c"Instance", call, Text::VersionId);
            call.request.size = integer(state, c"Size");
            pop(state);
        }
        if operation.event_name() == "ObjectCreated:Copy" && release > Release::Pacific {
            copied_size(state, index, call);
        }
        owner(state, index, release, call);
        if table(state, index, c"Tags") {
            map(state, release, call, &TAGS);
            pop(state);
            if call.request.tags.is_truncated() {
                mend_tags(state, index, call);
            }
        }
        if table(state, index, c"Environment") {
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

/// The name that RGW gives to a kind of table, in its metatable; empty if it has none. Stays valid while the table is on
/// the stack, as RGW's metatables hold it.
unsafe fn kind<'s>(state: *mut lua_State, index: c_int) -> &'s [u8] {
    // SAFETY: two slots are used and given back.
    unsafe {
        if ffi::lua_getmetatable(state, index) == 0 {
            return &[];
        }
        ffi::lua_pushstring(state, c"__name".as_ptr());
        ffi::lua_rawget(state, -2);
        let name = if ffi::lua_type(state, -1) == ffi::LUA_TSTRING { bytes(state, -1) } else { &[] };
        ffi::lua_settop(state, -3);
        name
    }
}

unsafe fn bucket(state: *mut lua_State, index: c_int, release: Release, call: &mut Call) {
    // SAFETY: as for request.
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

/// A copy's own size is 0 in Lua; the source's is the right one. Never on 16.2, where this is a segmentation fault.
unsafe fn copied_size(state: *mut lua_State, index: c_int, call: &mut Call) {
    // SAFETY: as for request.
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
    // SAFETY: as for request.
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
    }
}

unsafe fn pop(state: *mut lua_State) {
    // SAFETY: the callers have pushed what is popped.
    unsafe { ffi::lua_settop(state, -2) }
}

/// Pushes a field if it is a table; pushes nothing otherwise.
unsafe fn table(state: *mut lua_State, index: c_int, field: &CStr) -> bool {
    // SAFETY: as for request.
    unsafe {
        ffi::lua_getfield(state, index, field.as_ptr());
        let found = ffi::lua_type(state, -1) == ffi::LUA_TTABLE;
        if !found {
            pop(state);
        }
        found
    }
}

/// Keeps a field if it is a string.
unsafe fn text(state: *mut lua_State, index: c_int, field: &CStr, call: &mut Call, text: Text) {
    // SAFETY: as for request.
    unsafe {
        ffi::lua_getfield(state, index, field.as_ptr());
        if ffi::lua_type(state, -1) == ffi::LUA_TSTRING {
            call.request.set(text, bytes(state, -1));
        }
        pop(state);
    }
}

/// A field of the table on top of the stack; 0 if it is no whole number.
unsafe fn integer(state: *mut lua_State, field: &CStr) -> i64 {
    // SAFETY: as for request.
    unsafe {
        ffi::lua_getfield(state, -1, field.as_ptr());
        let number =
            if ffi::lua_isinteger(state, -1) != 0 { ffi::lua_tointegerx(state, -1, std::ptr::null_mut()) } else { 0 };
        pop(state);
        number
    }
}

/// Whether a field of the table on top of the stack is a string that is not empty.
unsafe fn has_text(state: *mut lua_State, field: &CStr) -> bool {
    // SAFETY: as for request.
    unsafe {
        ffi::lua_getfield(state, -1, field.as_ptr());
        let has = ffi::lua_type(state, -1) == ffi::LUA_TSTRING && !bytes(state, -1).is_empty();
        pop(state);
        has
    }
}

/// A map of a request: where its entries go, and how it is known on 20.
struct Walk {
    kept: fn(&mut event::Request) -> &mut Map,
    /// Only entries whose key begins so are kept.
    prefix: &'static [u8],
    /// What RGW 20 has in the registry once someone has walked over this map.
    mark: &'static CStr,
    /// Where we keep what we have read, and what RGW walks with.
    copy: Key,
    anchor: Key,
}

const METADATA: Walk = Walk {
    kept: |request| &mut request.metadata,
    prefix: b"x-amz-meta-",
    mark: c"Request.HTTP.Metadata.Iterator",
    copy: Key::Metadata,
    anchor: Key::MetadataWalk,
};
const TAGS: Walk = Walk {
    kept: |request| &mut request.tags,
    prefix: b"",
    mark: c"Request.Tags.Iterator",
    copy: Key::Tags,
    anchor: Key::TagsWalk,
};

/// Reads the map on top of the stack.
unsafe fn map(state: *mut lua_State, release: Release, call: &mut Call, walk: &Walk) {
    // SAFETY: as for request; the stack is as it was at the end.
    unsafe {
        let top = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, 12, std::ptr::null());
        if release < Release::Tentacle || kind(state, top).is_empty() {
            whole(state, release, call, walk);
            ffi::lua_settop(state, top);
        } else {
            once(state, call, walk);
        }
    }
}

/// Where the walk over the tags had to stop early, or could not begin: what the client sent says the same; only a put has it.
unsafe fn mend_tags(state: *mut lua_State, index: c_int, call: &mut Call) {
    // SAFETY: as for request.
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

/// On 20 a map can be walked over once in a state: RGW goes on from where the last walk ended, in memory that Lua may have
/// collected since. So what we read is kept for the next call in this state, and so is what RGW walks with; and where the
/// script itself has been before us, the entries are left out.
unsafe fn once(state: *mut lua_State, call: &mut Call, walk: &Walk) {
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
        whole(state, Release::Tentacle, call, walk);
        ffi::lua_settop(state, top);
        call.scratch = (walk.kept)(&mut call.request).encode();
        ffi::lua_pushlstring(state, call.scratch.as_ptr().cast(), call.scratch.len());
        ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, walk.copy.address());
    }
}

/// Walks over the map on top of the stack and keeps its entries. May leave things above it.
unsafe fn whole(state: *mut lua_State, release: Release, call: &mut Call, walk: &Walk) {
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
        // The step function, its state and the key stand at map + 1 to 3. RGW 20 keeps a pointer to the userdata that it
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
            // 16 and 18 look the last key up to go on from it. With a key that is there twice they never get past it.
            if release < Release::Tentacle && ffi::lua_rawequal(state, -2, map + 3) != 0 {
                break;
            }
            if step == 0 {
                anchor(state, map + 4, walk);
            }
            entry(state, call, walk);
            pop(state);
            // And they look it up as far as its first NUL: what they then do not find aborts them.
            let string = ffi::lua_type(state, -1) == ffi::LUA_TSTRING;
            if release < Release::Tentacle && string && bytes(state, -1).contains(&0) {
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
            // 20 gives keys as userdata that can be made into a string; the emulator, which is Lua, as tables.
            ffi::LUA_TUSERDATA | ffi::LUA_TTABLE => {
                ffi::luaL_tolstring(state, -2, std::ptr::null_mut());
            }
            _ => return,
        }
        let (key, value) = (bytes(state, -1), bytes(state, -2));
        if key.starts_with(walk.prefix) {
            (walk.kept)(&mut call.request).add(key, value);
        }
        pop(state);
    }
}
