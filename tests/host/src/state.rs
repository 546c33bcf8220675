//! A state of Lua, as radosgw makes one for each request, runs one script in it and closes it.

use crate::gateway::{Gateway, furnish};
use crate::heap::allocate;
use crate::lua::{self, *};
use crate::request::{Release, Sample};
use std::ffi::{CString, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;

unsafe extern "C-unwind" {
    /// Makes a call within `try`. Returns 1 if it threw a `std::runtime_error`.
    fn foreign_catch(call: unsafe extern "C-unwind" fn(*mut c_void), argument: *mut c_void) -> c_int;
}

/// The environment variable with the directory that holds `rgw_nats.so`.
const DIRECTORY: &str = "RGW_NATS_MODULE_DIR";

/// The directory that holds the module under test. A relative one is taken from the root of the repository.
///
/// # Panics
/// Without a module there is nothing to test; the message says what to do.
pub fn module_directory() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let given = std::env::var_os(DIRECTORY).unwrap_or_else(|| {
            panic!("{DIRECTORY} is not set; give the directory that holds rgw_nats.so, such as build")
        });
        let path = root.join(given);
        path.join("rgw_nats.so").canonicalize().map_or_else(
            |error| {
                let path = path.display();
                panic!("{DIRECTORY}: {path}/rgw_nats.so: {error}; scripts/build-module.sh makes one")
            },
            |module| module.parent().map(Path::to_owned).unwrap_or_default(),
        )
    })
}

/// How to make a state.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// The release whose ways are followed.
    pub release: Release,
    /// The request that the script runs for.
    pub sample: Sample,
    /// The limit of the state's memory in bytes; 20 sets 128,000.
    pub memory: Option<usize>,
    /// Whether the library `debug` stays, which RGW takes away.
    pub debug: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { release: Release::Reef, sample: Sample::of(c"put_obj", 200), memory: None, debug: false }
    }
}

/// How a script ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ran through; its first result, if that is a string.
    Well(String),
    /// It raised a string, which RGW logs.
    Raised(String),
    /// A C++ exception came out, which RGW catches.
    Threw,
}

/// A state with a script's surroundings. Dropping it closes it, which unloads the C libraries that it has loaded.
pub struct State {
    lua: Lua,
    gateway: Rc<Gateway>,
}

impl State {
    /// Makes a state; `None` if its memory does not suffice.
    pub fn open(setup: &Setup) -> Option<State> {
        let cpath = [module_directory().as_os_str().as_bytes(), b"/?.so"].concat();
        let cpath = CString::new(cpath).expect("paths have no NUL");
        let gateway = Rc::new(Gateway::new(setup.release, setup.sample, setup.memory, cpath, setup.debug));
        // SAFETY: the gateway's heap is its first part; it outlives the state, as drop closes that first.
        let lua = unsafe { lua_newstate(allocate, std::ptr::from_ref(&*gateway).cast_mut().cast()) };
        if lua.is_null() {
            return None;
        }
        let state = State { lua, gateway };
        // SAFETY: furnish runs in a protected call, which takes 2 of the 20 slots that a new state has.
        let status = unsafe {
            lua_pushcclosure(lua, furnish, 0);
            lua_pcallk(lua, 0, 0, 0, 0, None)
        };
        match status {
            OK => Some(state),
            _ if state.gateway.heap.relent() > 0 => None,
            _ => panic!("no state can be made: {}", state.fault()),
        }
    }

    /// A state of release 18 with all the memory it wants.
    ///
    /// # Panics
    /// If there is none.
    pub fn new() -> State {
        State::open(&Setup::default()).expect("an unlimited state")
    }

    /// The state's gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The state itself.
    pub fn lua(&self) -> Lua {
        self.lua
    }

    /// Runs a script as RGW does, C++'s `try` included.
    ///
    /// # Panics
    /// If the script raised what is no string: radosgw would have aborted.
    pub fn run(&self, script: &str) -> Ended {
        let mut running = Running { lua: self.lua, script, status: OK };
        // SAFETY: `running` outlives the call.
        let threw = unsafe { foreign_catch(run, (&raw mut running).cast()) };
        if threw != 0 {
            return Ended::Threw;
        }
        if running.status != OK {
            return Ended::Raised(self.fault());
        }
        // SAFETY: the results are all that is on the stack. They stay there: a value that came from a script may be what
        // keeps something else alive.
        Ended::Well(unsafe { lua::text(self.lua, 1).unwrap_or_default() })
    }

    /// Runs a script that must run through, and gives its first result.
    ///
    /// # Panics
    /// If it does not.
    pub fn must_run(&self, script: &str) -> String {
        match self.run(script) {
            Ended::Well(result) => result,
            other => panic!("the script ended badly: {other:?}"),
        }
    }

    /// Calls the function that is below so many arguments on the stack, as a script's `pcall` does not: with nothing of
    /// Lua's own between. Gives what [`verdict`](crate::gateway::verdict) says of its results, or the error that it let out.
    ///
    /// # Safety
    /// The function and its arguments must be on the stack.
    pub unsafe fn call(&self, arguments: c_int) -> Result<Option<String>, String> {
        // SAFETY: as for this function; the results are taken off again.
        unsafe {
            let base = lua_gettop(self.lua) - arguments;
            let status = lua_pcallk(self.lua, arguments, MULTRET, 0, 0, None);
            let verdict = match status {
                OK => crate::gateway::verdict(self.lua, base),
                _ => Err(format!("it raised: {}", self.fault())),
            };
            lua_settop(self.lua, base - 1);
            verdict
        }
    }

    /// Closes the state. What its gateway has learned, until the last finalizer, stays.
    pub fn close(self) -> Rc<Gateway> {
        self.gateway.clone()
    }

    /// The error value on top of the stack.
    fn fault(&self) -> String {
        // SAFETY: a failed call has left it there.
        unsafe {
            let kind = lua_type(self.lua, -1);
            lua::text(self.lua, -1).unwrap_or_else(|| {
                panic!("radosgw would have aborted: the error value is no string but of Lua's type {kind}")
            })
        }
    }
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: nobody else has this state, and its gateway is still there.
        unsafe { lua_close(self.lua) }
    }
}

struct Running<'s> {
    lua: Lua,
    script: &'s str,
    status: c_int,
}

/// Loads and runs the script of the [`Running`] that it gets.
unsafe extern "C-unwind" fn run(running: *mut c_void) {
    // SAFETY: State::run gives a pointer that outlives this call. A C++ exception may pass; nothing is on this frame.
    unsafe {
        let running = &mut *running.cast::<Running<'_>>();
        let (lua, script) = (running.lua, running.script);
        lua_settop(lua, 0);
        running.status =
            luaL_loadbufferx(lua, script.as_ptr().cast(), script.len(), c"=script".as_ptr(), c"t".as_ptr());
        if running.status == OK {
            running.status = lua_pcallk(lua, 0, MULTRET, 0, 0, None);
        }
    }
}
