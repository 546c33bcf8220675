//! What a script finds in a gateway, beside Lua itself, and what the test learns of it.

use crate::heap::Heap;
use crate::lua::{self, *};
use crate::proxy;
use crate::request::{REQUEST, Release, Sample, Table};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_int, c_void};
use std::sync::OnceLock;

/// Fields that no release has yet.
const MAY_BE_ASKED: [&str; 2] = ["Request.Objects", "Request.Bucket.Tags"];

/// The gateway of one state. Lua's functions find it through the state's allocator.
#[repr(C)]
pub struct Gateway {
    /// The state's memory; first, as the allocator is given its address.
    pub heap: Heap,
    /// The release whose ways are followed.
    pub release: Release,
    /// The request that the script runs for.
    pub sample: Cell<Sample>,
    /// What was asked of `Request` that this release lacks.
    pub trespasses: RefCell<Vec<String>>,
    /// What was asked of `Request`: table and field.
    pub asked: RefCell<BTreeSet<(&'static CStr, &'static [u8])>>,
    /// What [`judge`] found wrong.
    pub faults: RefCell<Vec<String>>,
    /// How often [`judge`] saw success, as `ok`, and each code.
    pub outcomes: RefCell<BTreeMap<String, u64>>,
    /// How often `Request` was called.
    reads: Cell<u64>,
    /// The call of `Request` that throws a C++ exception.
    throws: Cell<Option<u64>>,
    cpath: CString,
    debug: bool,
}

impl Gateway {
    /// A gateway of a release, for a script that finds modules in `cpath`.
    pub fn new(release: Release, sample: Sample, memory: Option<usize>, cpath: CString, debug: bool) -> Gateway {
        Gateway {
            heap: Heap::limited(memory),
            release,
            sample: Cell::new(sample),
            trespasses: RefCell::default(),
            asked: RefCell::default(),
            faults: RefCell::default(),
            outcomes: RefCell::default(),
            reads: Cell::new(0),
            throws: Cell::new(None),
            cpath,
            debug,
        }
    }

    /// The gateway of a state.
    ///
    /// # Safety
    /// The state must be one of [`State`](crate::State)'s, and outlive the reference's use.
    pub unsafe fn of<'s>(lua: Lua) -> &'s Gateway {
        let mut data = std::ptr::null_mut::<c_void>();
        // SAFETY: the allocator's data is the heap, which is the first part of the gateway.
        unsafe {
            lua_getallocf(lua, &raw mut data);
            &*data.cast::<Gateway>()
        }
    }

    /// Makes the n-th call of `Request` from now, counted from 1, throw.
    pub fn throw_at(&self, call: u64) {
        self.reads.set(0);
        self.throws.set(Some(call));
    }

    /// Counts a call of `Request`. Says whether it is to throw.
    pub fn read(&self) -> bool {
        self.reads.set(self.reads.get() + 1);
        self.throws.get() == Some(self.reads.get())
    }

    /// Notes what `Request` was asked for.
    pub fn note(&self, table: &'static CStr, field: &'static [u8]) {
        self.asked.borrow_mut().insert((table, field));
    }

    /// Notes what `Request` should not have been asked for.
    pub fn trespass(&self, table: &Table, what: &[u8]) {
        let trespass = format!("{}.{}", table.path.to_string_lossy(), String::from_utf8_lossy(what));
        self.trespasses.borrow_mut().push(trespass);
    }

    /// How often an outcome was seen: `ok`, or a code.
    pub fn outcome(&self, name: &str) -> u64 {
        self.outcomes.borrow().get(name).copied().unwrap_or_default()
    }

    /// Fails the test if anything was found wrong.
    ///
    /// # Panics
    /// That is how.
    pub fn acquit(&self) {
        let faults = self.faults.borrow();
        let mut trespasses = self.trespasses.borrow().clone();
        // What Ceph's main may have is asked for in a protected call where tables are named by their path.
        trespasses.retain(|field| self.release < Release::Tentacle || !MAY_BE_ASKED.contains(&field.as_str()));
        assert!(trespasses.is_empty(), "Request was asked for what {:?} lacks: {trespasses:?}", self.release);
        let some: Vec<&String> = faults.iter().take(20).collect();
        assert!(faults.is_empty(), "{} results are no results of ours: {some:#?}", faults.len());
    }
}

/// Makes a state as RGW makes it: all libraries, less what RGW takes away, and RGW's own globals.
///
/// # Safety
/// For Lua to call, in a state with a [`Gateway`].
pub unsafe extern "C-unwind" fn furnish(lua: Lua) -> c_int {
    // SAFETY: Lua calls this as any C function; nothing is on this frame when Lua raises.
    unsafe {
        let gateway = Gateway::of(lua);
        luaL_openlibs(lua);
        for name in [c"load", c"loadfile", c"loadstring", c"dofile"] {
            lua_pushnil(lua);
            lua_setglobal(lua, name.as_ptr());
        }
        if !gateway.debug {
            lua_pushnil(lua);
            lua_setglobal(lua, c"debug".as_ptr());
        }
        lua_getglobal(lua, c"os".as_ptr());
        lua_pushnil(lua);
        lua_setfield(lua, -2, c"exit".as_ptr());
        lua_getglobal(lua, c"package".as_ptr());
        lua_pushstring(lua, c"/nonexistent/?.lua".as_ptr());
        lua_setfield(lua, -2, c"path".as_ptr());
        lua_pushstring(lua, gateway.cpath.as_ptr());
        lua_setfield(lua, -2, c"cpath".as_ptr());
        lua::pop(lua, 2);
        for (name, function) in
            [(c"RGWDebugLog", ignore as Function), (c"judge", judge), (c"light_userdata", light_userdata)]
        {
            lua_pushcclosure(lua, function, 0);
            lua_setglobal(lua, name.as_ptr());
        }
        if gateway.release >= Release::Reef {
            lua_createtable(lua, 0, 0);
            let name = if gateway.release == Release::Reef { c"RGWMeta" } else { c"RGW" };
            luaL_newmetatable(lua, name.as_ptr());
            lua_setmetatable(lua, -2);
            lua_setglobal(lua, c"RGW".as_ptr());
        }
        if gateway.release >= Release::Tentacle {
            lua_pushinteger(lua, -1);
            lua_setglobal(lua, c"RGW_ABORT_REQUEST".as_ptr());
        }
        proxy::push(lua, &REQUEST);
        lua_setglobal(lua, c"Request".as_ptr());
        0
    }
}

unsafe extern "C-unwind" fn ignore(_: Lua) -> c_int {
    0
}

/// `light_userdata()`: one, which standard Lua can't make.
unsafe extern "C-unwind" fn light_userdata(lua: Lua) -> c_int {
    // SAFETY: pushes one value, which takes no memory.
    unsafe { lua_pushlightuserdata(lua, std::ptr::without_provenance_mut(1)) }
    1
}

/// `judge(what, …)`: whether … is what a function of ours may return. Returns …, so that a script can go on with it. Takes
/// no memory of Lua's.
unsafe extern "C-unwind" fn judge(lua: Lua) -> c_int {
    // SAFETY: the first argument is a string and stays on the stack; Lua is not called while anything is on this frame.
    unsafe {
        match verdict(lua, 2) {
            Ok(outcome) => {
                let gateway = Gateway::of(lua);
                let mut outcomes = gateway.outcomes.borrow_mut();
                *outcomes.entry(outcome.unwrap_or_else(|| "ok".to_owned())).or_default() += 1;
            }
            Err(fault) => {
                let what = lua::text(lua, 1).unwrap_or_default();
                Gateway::of(lua).faults.borrow_mut().push(format!("{what}: {fault}"));
            }
        }
        lua_gettop(lua) - 1
    }
}

/// What results of ours, from an index to the top of the stack, say: `None` is success, and otherwise it is the code.
///
/// # Errors
/// What is wrong with them.
///
/// # Safety
/// The state must be a running one.
pub unsafe fn verdict(lua: Lua, first: c_int) -> Result<Option<String>, String> {
    // SAFETY: nothing here takes Lua's memory or raises.
    unsafe {
        let count = lua_gettop(lua) - first + 1;
        if count < 1 {
            return Err("nothing was returned".to_owned());
        }
        if lua_type(lua, first) == NUMBER {
            // 20 takes an integer that is left on the stack for the script's return code.
            return Err("a number was returned".to_owned());
        }
        if lua_type(lua, first) == BOOLEAN && lua_toboolean(lua, first) == 0 {
            return Err("false was returned".to_owned());
        }
        if lua_type(lua, first) != NIL {
            return if count == 1 { Ok(None) } else { Err(format!("success, with {count} values")) };
        }
        let (message, code) = match (count, lua::text(lua, first + 1), lua::text(lua, first + 2)) {
            (3, Some(message), Some(code)) => (message, code),
            (_, message, code) => return Err(format!("nil, {message:?}, {code:?}, as {count} values")),
        };
        if !codes().contains(&code.as_str()) {
            return Err(format!("{code:?} is no code that src/error.rs has: {message}"));
        }
        if !message.starts_with(&format!("{code}: ")) {
            return Err(format!("the message {message:?} does not begin with the code {code:?}"));
        }
        Ok(Some(code))
    }
}

/// The codes that there are, as `Code::name` in src/error.rs lists them.
pub fn codes() -> &'static [&'static str] {
    static CODES: OnceLock<Vec<&'static str>> = OnceLock::new();
    CODES.get_or_init(|| {
        let arms = include_str!("../../../src/error.rs").lines().filter_map(|line| line.trim().strip_prefix("Code::"));
        arms.filter_map(|arm| arm.split_once("=> \"")?.1.split('"').next()).collect()
    })
}
