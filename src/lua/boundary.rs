//! The one mechanism through which Lua calls this library.
//!
//! A call has three steps. *Read*: what is needed of the arguments is copied into a [`Call`]. *Work*: a function that
//! knows no Lua turns the call into a result. *Write*: the result is pushed. Reading and writing run in a protected
//! call, as each of their steps can fail: Lua's allocator says no, a metamethod raises. A failure ends that protected call
//! by a jump over its frames, so nothing on them may need dropping; what is copied is owned by [`enter`]'s frame, below.
//! The work runs outside of it, so a jump can't meet it, and within `catch_unwind`.
//!
//! C++ exceptions: Ceph 16 throws them through Lua when a script reads what is not there. They pass reading, and the
//! frame of [`enter`], which drops its call; they must never meet `catch_unwind`, which would abort. So nothing of Lua is
//! called within it.

use super::ffi::{self, lua_State};
use super::handle;
use super::read::{self, Token};
use super::write;
use crate::error::{Code, Error};
use crate::event;
use crate::promise::Promise;
use crate::value::{Class, Value};
use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The text for when there is no memory to make one; kept in each state by [`keep`].
const MEMORY: &CStr = c"memory: Lua has no memory left for this call";
/// Where it and its code are in the table that is kept.
const KEPT_TEXT: ffi::lua_Integer = 1;
const KEPT_CODE: ffi::lua_Integer = 2;
/// How many raising finalizers a call stands in a row.
const MAX_FINALIZERS: usize = 100;
/// How much of the text of somebody else's error is kept, in bytes.
const MAX_ERROR: usize = 512;

/// What was read for one call.
#[derive(Default)]
pub struct Call {
    /// The arguments, from the first on.
    pub arguments: Vec<Value>,
    /// The request, for `notify`.
    pub request: event::Request,
    /// Whether this gateway lets a script abort a request; for `admit`.
    pub can_abort: bool,
    /// What reading found wrong; the work is not done then.
    pub refused: Option<Error>,
    /// What reading collects of tables among them.
    pub(super) tokens: Vec<Token>,
    /// How many bytes of strings were collected.
    pub(super) bytes: usize,
    /// The keys of the bucket's tags that rules look at.
    pub(super) tag_keys: std::sync::Arc<[Vec<u8>]>,
    /// Bytes to make a string of; here, as a frame of reading may own nothing.
    pub(super) scratch: Vec<u8>,
}

impl Call {
    /// The argument at a place, counted from 1; `Nil` if there is none.
    pub fn argument(&self, place: usize) -> &Value {
        place.checked_sub(1).and_then(|place| self.arguments.get(place)).unwrap_or(&Value::Nil)
    }

    /// Takes an argument away, so that it need not be copied.
    pub fn take(&mut self, place: usize) -> Value {
        let argument = place.checked_sub(1).and_then(|place| self.arguments.get_mut(place));
        argument.map(std::mem::take).unwrap_or_default()
    }
}

/// A function that Lua can call.
pub trait Function {
    /// Its name in Lua.
    const NAME: &'static CStr;

    /// Whether the caller waits for the future that the work returns, and gets what that comes to. The thread waits; but a
    /// coroutine that has asked for it (see [`Key::Cooperative`]) yields the future, and goes on when it is resumed.
    const WAITS: bool = false;

    /// Whether it pushes its result by a [`write`](Function::write) of its own.
    const WRITES: bool = false;

    /// Copies what is needed of the arguments into the call.
    ///
    /// # Safety
    /// Runs within a protected call, at the bottom of whose stack are the arguments. Must have nothing to drop on its
    /// frame when it calls Lua, and must not panic.
    unsafe fn read(state: *mut lua_State, call: &mut Call) {
        // SAFETY: as for this function.
        unsafe { read::arguments(state, call) }
    }

    /// Turns the call into its result. Must not block, but for what the function itself is there to wait for.
    ///
    /// # Errors
    /// What Lua gets as `nil`, message and code.
    fn work(call: &mut Call) -> Result<Value, Error>;

    /// Pushes the result: one value, but for what Lua itself calls and wants more of.
    ///
    /// # Safety
    /// Runs within a protected call with three free slots on its stack; as for `read`.
    unsafe fn write(state: *mut lua_State, value: &Value) {
        // SAFETY: as for this function.
        unsafe { write::value(state, value) }
    }
}

/// A [`Function`] as Lua gets it. There is no other way to make one than through [`enter`].
pub struct Entry {
    name: &'static CStr,
    function: ffi::lua_CFunction,
}

impl Entry {
    /// The entry of a function.
    pub const fn of<F: Function>() -> Entry {
        Entry { name: F::NAME, function: enter::<F> }
    }

    /// The entry of a function by something around its [`enter`].
    pub const fn around<F: Function>(function: ffi::lua_CFunction) -> Entry {
        Entry { name: F::NAME, function }
    }

    /// Its name in Lua.
    pub const fn name(&self) -> &'static CStr {
        self.name
    }

    /// Pushes this function.
    ///
    /// # Safety
    /// Needs a free slot.
    pub unsafe fn push(&self, state: *mut lua_State) {
        // SAFETY: a function without upvalues takes no memory.
        unsafe { ffi::lua_pushcfunction(state, self.function) }
    }

    /// Sets this function as a field of the table on top of the stack.
    ///
    /// # Safety
    /// Runs within a protected call with two free slots on its stack.
    pub unsafe fn set(&self, state: *mut lua_State) {
        // SAFETY: as for this function.
        unsafe {
            ffi::lua_pushstring(state, self.name.as_ptr());
            ffi::lua_pushcfunction(state, self.function);
            ffi::lua_rawset(state, -3);
        }
    }
}

/// What a call has come to, ready to be pushed without making anything.
enum Outcome {
    Success(Value),
    Failure(String, Code),
}

struct Reading<'c> {
    read: unsafe fn(*mut lua_State, &mut Call),
    call: &'c mut Call,
}

struct Writing<'o> {
    write: unsafe fn(*mut lua_State, &Value),
    outcome: &'o Outcome,
}

/// How a call goes on.
enum Step {
    /// It has pushed so many results.
    Done(c_int),
    /// It has pushed a future, and one more time to be yielded.
    Yield,
}

/// Runs a call of Lua's. Returns how many results it has pushed: one, or `nil`, message and code.
///
/// # Safety
/// `state` must be a running Lua state whose stack has this call's arguments.
pub unsafe extern "C-unwind" fn enter<F: Function>(state: *mut lua_State) -> c_int {
    // SAFETY: a yield jumps over this frame, which has nothing to drop.
    unsafe {
        match run::<F>(state) {
            Step::Done(count) => count,
            Step::Yield => ffi::lua_yieldk(state, 1, 0, Some(resumed)),
        }
    }
}

/// Goes on with a call whose coroutine has yielded its future: gives what that has come to; waits for it, should the coroutine
/// have been resumed before.
///
/// # Safety
/// For Lua to call. The future is at the bottom of the stack.
unsafe extern "C-unwind" fn resumed(state: *mut lua_State, _: c_int, _: ffi::lua_KContext) -> c_int {
    // SAFETY: reading a handle takes two slots; what was given to resume may fill the stack, and is taken off first. The handle
    // stays referenced by `future` when it goes.
    unsafe {
        ffi::lua_settop(state, 1);
        let future = if ffi::lua_type(state, 1) == ffi::LUA_TUSERDATA { handle::get(state, 1) } else { Value::Nil };
        ffi::lua_settop(state, 0);
        let outcome = outcome(|| conclude(&future));
        give(state, &Writing { write: write::value, outcome: &outcome })
    }
}

/// What a future comes to. Blocks, within the future's limit.
fn conclude(future: &Value) -> Result<Value, Error> {
    match promise(future) {
        Some(promise) => promise.conclude(),
        None => Ok(future.clone()),
    }
}

/// The promise that a value is, if it is one.
fn promise(value: &Value) -> Option<&Promise> {
    let Value::Handle(handle) = value else { return None };
    let any: &dyn std::any::Any = &**handle;
    any.downcast_ref()
}

/// Runs what knows no Lua, and catches its panics.
fn outcome(work: impl FnOnce() -> Result<Value, Error>) -> Outcome {
    let outcome = catch_unwind(AssertUnwindSafe(|| match work() {
        Ok(value) => Outcome::Success(value),
        Err(error) => Outcome::Failure(error.to_string(), error.code()),
    }));
    outcome.unwrap_or_else(|panic| {
        // Its message went to the log. What it carries might panic again when it is dropped.
        std::mem::forget(panic);
        Outcome::Failure("internal: a defect of rgw_nats; radosgw's log tells more".to_owned(), Code::Internal)
    })
}

/// Whether this coroutine has asked for yields instead of waits, and can yield.
///
/// # Safety
/// Needs two free slots.
unsafe fn is_cooperative(state: *mut lua_State) -> bool {
    // SAFETY: none of these takes memory or raises; both slots are given back.
    unsafe {
        if ffi::lua_isyieldable(state) == 0 {
            return false;
        }
        let mut cooperative = false;
        if ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, Key::Cooperative.address()) == ffi::LUA_TTABLE {
            ffi::lua_pushthread(state);
            ffi::lua_rawget(state, -2);
            cooperative = ffi::lua_toboolean(state, -1) != 0;
            ffi::lua_settop(state, -2);
        }
        ffi::lua_settop(state, -2);
        cooperative
    }
}

unsafe fn run<F: Function>(state: *mut lua_State) -> Step {
    let mut call = Call::default();
    let mut reading = Reading { read: F::read, call: &mut call };
    // SAFETY: Lua guarantees 20 free slots to a C function; two are used. None of these can fail but the last, which is
    // the protected call itself.
    let status = unsafe {
        ffi::lua_pushcfunction(state, run_reading);
        ffi::lua_insert(state, 1);
        ffi::lua_pushlightuserdata(state, (&raw mut reading).cast::<c_void>());
        ffi::lua_pcall(state, ffi::lua_gettop(state) - 1, 0, 0)
    };
    // SAFETY: a failed protected call leaves its error value on the stack.
    let caught = if status == ffi::LUA_OK { None } else { Some(unsafe { caught(state, status) }) };
    let mut begun = outcome(|| match caught {
        Some(error) => Err(error),
        None => work::<F>(&mut call),
    });
    // SAFETY: the stack is empty, as the protected call took the arguments.
    unsafe {
        if let Outcome::Success(value) = &begun
            && F::WAITS
            && let Some(promise) = promise(value)
        {
            if !promise.is_done() && is_cooperative(state) {
                let given = give(state, &Writing { write: write::value, outcome: &begun });
                if given != 1 {
                    return Step::Done(given);
                }
                ffi::lua_pushvalue(state, -1);
                return Step::Yield;
            }
            begun = outcome(|| conclude(value));
        }
        // These take no memory, so that nothing can fail.
        if let Outcome::Success(value) = &begun
            && !F::WRITES
            && write::plain(state, value)
        {
            return Step::Done(1);
        }
        Step::Done(give(state, &Writing { write: F::write, outcome: &begun }))
    }
}

fn work<F: Function>(call: &mut Call) -> Result<Value, Error> {
    if let Some(error) = call.refused.take() {
        return Err(error);
    }
    if !call.tokens.is_empty() {
        read::build(std::mem::take(&mut call.tokens), &mut call.arguments);
    }
    F::work(call)
}

/// Runs the [`Reading`] that is the last argument.
unsafe extern "C-unwind" fn run_reading(state: *mut lua_State) -> c_int {
    // SAFETY: enter pushes a pointer to a Reading that outlives this call.
    unsafe {
        let reading = ffi::lua_touserdata(state, -1).cast::<Reading<'_>>();
        ffi::lua_settop(state, -2);
        if let Some(reading) = reading.as_mut() {
            (reading.read)(state, reading.call);
        }
    }
    0
}

/// Takes the error value of a failed protected call off the stack and says it in our words.
///
/// # Safety
/// The value on top of the stack must be that error value.
unsafe fn caught(state: *mut lua_State, status: c_int) -> Error {
    // SAFETY: lua_tolstring makes nothing new of what is a string already; the copy is made before the value is popped.
    unsafe {
        let text = if ffi::lua_type(state, -1) == ffi::LUA_TSTRING {
            let mut length = 0;
            let bytes = ffi::lua_tolstring(state, -1, &raw mut length).cast::<u8>();
            String::from_utf8_lossy(std::slice::from_raw_parts(bytes, length.min(MAX_ERROR))).into_owned()
        } else {
            "an error that is no string".to_owned()
        };
        ffi::lua_settop(state, -2);
        match status {
            ffi::LUA_ERRMEM => Error::new(Code::Memory, "Lua has no memory left for this call"),
            _ => Error::new(Code::BadRequest, format!("reading the arguments failed: {text}")),
        }
    }
}

/// Pushes what a call has come to, or what stands for it when even that fails.
///
/// # Safety
/// As for [`enter`]; the stack must be empty.
unsafe fn give(state: *mut lua_State, writing: &Writing<'_>) -> c_int {
    // SAFETY: run_writing gets a pointer that outlives the protected call.
    unsafe {
        if !matches!(writing.outcome, Outcome::Failure(_, Code::Memory)) {
            // A finalizer of the script's may raise while memory is collected for the result; that one is through then.
            for _ in 0..MAX_FINALIZERS {
                ffi::lua_pushcfunction(state, run_writing);
                ffi::lua_pushlightuserdata(state, std::ptr::from_ref(writing).cast_mut().cast::<c_void>());
                let status = ffi::lua_pcall(state, 1, ffi::LUA_MULTRET, 0);
                if status == ffi::LUA_OK {
                    return ffi::lua_gettop(state);
                }
                ffi::lua_settop(state, 0);
                if status == ffi::LUA_ERRMEM {
                    break;
                }
            }
        }
        // No memory for a new string: the ones that were kept serve, and getting them takes none.
        ffi::lua_pushnil(state);
        if ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, Key::Kept.address()) != ffi::LUA_TTABLE {
            // The module itself could not be opened.
            ffi::lua_pushnil(state);
            return 3;
        }
        ffi::lua_rawgeti(state, -1, KEPT_TEXT);
        ffi::lua_rawgeti(state, -2, KEPT_CODE);
        ffi::lua_rotate(state, -3, -1);
        ffi::lua_settop(state, -2);
        3
    }
}

/// Pushes the results of the [`Writing`] that is its argument.
unsafe extern "C-unwind" fn run_writing(state: *mut lua_State) -> c_int {
    // SAFETY: give pushes a pointer to a Writing that outlives this call. Nothing on this frame needs dropping.
    unsafe {
        let writing = ffi::lua_touserdata(state, 1).cast::<Writing<'_>>();
        match writing.as_ref() {
            Some(Writing { write, outcome: Outcome::Success(value) }) => {
                let before = ffi::lua_gettop(state);
                write(state, value);
                ffi::lua_gettop(state).wrapping_sub(before)
            }
            Some(Writing { outcome: Outcome::Failure(text, code), .. }) => {
                ffi::lua_pushnil(state);
                write::string(state, text.as_bytes());
                write::string(state, code.name().as_bytes());
                3
            }
            None => 0,
        }
    }
}

/// What this library keeps in the registry of a state.
#[derive(Clone, Copy)]
pub enum Key {
    /// The module's metatable, which holds the texts for when there is no memory to make one as well.
    Kept,
    /// The module, once a script has asked what is in it.
    Module,
    /// Marks the metatables that are ours.
    Ours,
    /// The metatable of lists.
    List,
    /// The coroutines that yield where others wait, as the keys of a table.
    Cooperative,
    /// The user metadata of this state's request, once it was read (where a map is walked once), and what RGW walks it with.
    Metadata,
    /// See `Metadata`.
    MetadataWalk,
    /// The tags, likewise.
    Tags,
    /// See `Metadata`.
    TagsWalk,
    /// The request that `admit` is about.
    Admitted,
    /// The metatable of a class; the last key, as there are several.
    Class(Class),
}

impl Key {
    /// The key in the registry: an address in this copy of the library, so that no two copies take each other's things.
    pub fn address(self) -> *const c_void {
        let place = match self {
            Key::Kept => 0,
            Key::Module => 1,
            Key::Ours => 2,
            Key::List => 3,
            Key::Cooperative => 4,
            Key::Metadata => 5,
            Key::MetadataWalk => 6,
            Key::Tags => 7,
            Key::TagsWalk => 8,
            Key::Admitted => 9,
            Key::Class(class) => 10_usize.wrapping_add(class as usize),
        };
        (super::luaopen_rgw_nats as *const c_void).wrapping_byte_add(place)
    }
}

/// Keeps the table on top of the stack, with the texts for an empty memory in it, where they can be got without memory.
///
/// # Safety
/// Runs within a protected call with a free slot on its stack.
pub unsafe fn keep(state: *mut lua_State) {
    // SAFETY: as for this function; each value is taken off again.
    unsafe {
        ffi::lua_pushstring(state, MEMORY.as_ptr());
        ffi::lua_rawseti(state, -2, KEPT_TEXT);
        ffi::lua_pushstring(state, c"memory".as_ptr());
        ffi::lua_rawseti(state, -2, KEPT_CODE);
        ffi::lua_pushvalue(state, -1);
        ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, Key::Kept.address());
    }
}
