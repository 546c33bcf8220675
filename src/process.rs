//! What lives as long as the process: one thread, the registry of connections, the clock of events.
//!
//! Lua states come and go with each request, on any thread; nothing of theirs is kept here. These are the only statics of
//! the library. A forked child has none of its parent's threads, so it starts anew: see [`forked`].

mod configurations;
mod file;
mod promises;
mod refusals;
mod runtime;
mod slot;
mod watch;
mod zone_groups;

use crate::config::Endpoint;
use crate::delivery::{Backlog, Connection, Receipt, Which, courier};
use crate::error::{Code, Error};
use crate::event::{Configuration, Moment, Request, Scribe};
use crate::log;
use crate::thread;
use crate::value::Value;
use configurations::Configurations;
pub use promises::{answer, promise, wish};
use refusals::Refusals;
use runtime::Runtime;
use slot::Use;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zone_groups::ZoneGroups;

/// How many endpoints can be open at a time.
const MAX_CONNECTIONS: usize = 64;

/// How many requests that have waited for their configuration are published together.
const LATE: usize = 256;

/// How long the end of the process waits for each spool to write down what is delivered.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// The process' own part, once something needed it. Never freed: other threads may be using it.
static PROCESS: AtomicPtr<Process> = AtomicPtr::new(ptr::null_mut());
/// Whether the library has a handle of its own.
static PINNED: AtomicBool = AtomicBool::new(false);
/// The id of the process in which a thread makes the [`Process`]; 0 if none does. One that a fork took over from a parent
/// has an id that is not this process', and is void.
static STARTING: AtomicU32 = AtomicU32::new(0);
/// How many forks lie between the first process and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);
/// Whether the handlers of fork and exit are registered; a child inherits them.
static HANDLERS: AtomicBool = AtomicBool::new(false);
/// The last sequence number given out.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);
/// Requests that removed objects and did not show which.
static MULTI_DELETES: AtomicU64 = AtomicU64::new(0);
/// Requests that were seen and were no event.
static IGNORED: AtomicU64 = AtomicU64::new(0);

struct Process {
    runtime: Runtime,
    connections: Mutex<HashMap<Endpoint, Arc<Connection>>>,
    configurations: Configurations,
    zone_groups: ZoneGroups,
    /// How much is promised to scripts and not done yet.
    promises: AtomicUsize,
    refusals: Refusals,
    ending: AtomicBool,
}

impl Process {
    fn connections(&self) -> MutexGuard<'_, HashMap<Endpoint, Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process' own part, if there is one already.
fn running() -> Option<&'static Process> {
    // SAFETY: what PROCESS points to is a leaked box, or null.
    unsafe { PROCESS.load(Ordering::Acquire).as_ref() }
}

/// The process' own part; starts the runtime's thread the first time.
fn process() -> Result<&'static Process, Error> {
    loop {
        if let Some(process) = running() {
            return Ok(process);
        }
        let (here, holder) = (std::process::id(), STARTING.load(Ordering::Acquire));
        let free =
            holder != here && STARTING.compare_exchange(holder, here, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if !free {
            // Another thread is at it, for some microseconds.
            std::thread::yield_now();
            continue;
        }
        let _guard = Starting;
        return match running() {
            Some(process) => Ok(process),
            None => start(),
        };
    }
}

/// Lets the next one start, however this one ends.
struct Starting;

impl Drop for Starting {
    fn drop(&mut self) {
        STARTING.store(0, Ordering::Release);
    }
}

fn start() -> Result<&'static Process, Error> {
    if !HANDLERS.load(Ordering::Acquire) {
        runtime::on_fork(forked);
        runtime::on_exit(exiting);
        std::panic::set_hook(Box::new(|panic| log::line(format_args!("a defect, please report it: {panic}"))));
        HANDLERS.store(true, Ordering::Release);
    }
    let runtime = Runtime::start()
        .map_err(|error| Error::new(Code::NoResources, format!("the thread rgw_nats can't be started: {error}")))?;
    let process = Process {
        runtime,
        connections: Mutex::default(),
        configurations: Configurations::new(),
        zone_groups: ZoneGroups::default(),
        promises: AtomicUsize::new(0),
        refusals: Refusals::default(),
        ending: AtomicBool::new(false),
    };
    let process: &'static Process = Box::leak(Box::new(process));
    PROCESS.store(ptr::from_ref(process).cast_mut(), Ordering::Release);
    process.runtime.spawn(watch::files(process));
    Ok(process)
}

/// In a forked child: the runtime's thread is not there, and its locks are in an unknown state. Leave all of it behind.
extern "C" fn forked() {
    // Nobody else runs in this process; a lock that is taken was taken in the parent, for good.
    if let Some(connections) = running().and_then(|process| process.connections.try_lock().ok()) {
        connections.values().for_each(|connection| connection.forked());
    }
    PROCESS.store(ptr::null_mut(), Ordering::Release);
    STARTING.store(0, Ordering::Release);
    GENERATION.fetch_add(1, Ordering::AcqRel);
}

/// At the end of the process: no more is accepted, and what waits gets `exit_timeout_ms` to leave.
extern "C" fn exiting() {
    let Some(process) = running() else { return };
    process.ending.store(true, Ordering::Release);
    let connections: Vec<Arc<Connection>> = process.connections().values().cloned().collect();
    for connection in &connections {
        connection.close();
    }
    let pending: Vec<_> = connections.iter().filter(|connection| connection.is_pending()).cloned().collect();
    let longest = pending.iter().map(|connection| connection.endpoint().exit_timeout_ms).max().unwrap_or_default();
    process.runtime.wait(Duration::from_millis(longest), async move {
        for connection in pending {
            connection.drained().await;
        }
    });
    for connection in connections {
        let pending = connection.pending();
        if pending > 0 {
            let kept = if connection.is_durable() { "; the spool keeps them" } else { "; they are lost" };
            let shown = connection.endpoint().shown();
            log::line(format_args!("the process ends with {pending} messages for {shown} undelivered{kept}"));
        }
        connection.end(LAST_WRITE);
    }
}

/// Keeps this library in memory for good; does so once. `symbol` is anything in it.
pub fn pin(symbol: *const c_void) {
    if !PINNED.swap(true, Ordering::AcqRel) {
        runtime::pin(symbol);
    }
}

/// The number of forks before this process: a handle from another generation is of no use.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Acquire)
}

/// The connection of an endpoint: the one there is, or a new one that connects in the background. Does not block.
///
/// # Errors
/// `too_many_connections`, `no_resources`, `closed` (the process is ending).
pub fn connection(endpoint: &Endpoint) -> Result<Arc<Connection>, Error> {
    let process = process()?;
    let mut connections = process.connections();
    if let Some(connection) = connections.get(endpoint) {
        return Ok(connection.clone());
    }
    if process.ending.load(Ordering::Acquire) {
        return Err(Error::new(Code::Closed, "the process is ending"));
    }
    if connections.len() >= MAX_CONNECTIONS {
        let text = format!("{MAX_CONNECTIONS} endpoints are open; each other URL or option opens a further one");
        return Err(Error::new(Code::TooManyConnections, text));
    }
    let connection = Connection::open(endpoint.clone(), now_ms)?;
    connections.insert(endpoint.clone(), connection.clone());
    process.runtime.spawn(courier(connection.clone(), |connection| retire(process, connection)));
    Ok(connection)
}

/// The process, unless it is ending.
fn unless_ending() -> Result<&'static Process, Error> {
    let process = process()?;
    if process.ending.load(Ordering::Acquire) {
        return Err(Error::new(Code::Closed, "the process is ending"));
    }
    Ok(process)
}

/// Runs work on the runtime's thread.
///
/// # Errors
/// `no_resources`.
pub fn run(work: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    process()?.runtime.spawn(work);
    Ok(())
}

/// Takes a connection out of the registry, unless someone still has it or has just used it.
fn retire(process: &Process, connection: &Arc<Connection>) -> bool {
    let mut connections = process.connections();
    // The registry has one reference and the courier another. Whoever publishes or holds a handle has a further one, and
    // can only get it under this lock.
    if Arc::strong_count(connection) > 2 || connection.is_pending() {
        return false;
    }
    connections.remove(connection.endpoint());
    true
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// The time, and the next number in the order of events. Numbers grow with the clock and never repeat.
pub fn moment() -> Moment {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let next = |last: u64| nanos.max(last.saturating_add(1));
    let last = SEQUENCE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
    Moment { nanos, sequence: next(last.unwrap_or_default()) }
}

/// Notifies of a request by a configuration: a table, or the path of a file. Both are read on another thread; the request
/// waits a quarter of a second at most for a table that is new, and is kept until a file has been read. Waits for the
/// delivery as long as `wait_ms` says.
///
/// # Errors
/// `bad_argument` and `bad_config`, by the configuration; `bad_subject`, `too_large`, `queue_full`, `closed`.
pub fn notify(request: Request, source: &Value) -> Result<(), Error> {
    if let Some(process) = running().filter(|process| process.refusals.any() && request.event().is_some()) {
        process.refusals.executed(&request);
    }
    let mut kept = Some(request);
    let moment = moment();
    match configuration(source, || Some((kept.take().unwrap_or_default(), moment)))? {
        Use::Now(configuration) => {
            let deadline = Instant::now() + Duration::from_millis(configuration.endpoint.wait_ms);
            let patience = Connection::patience(&configuration.endpoint);
            let request = (kept.unwrap_or_default(), moment);
            let (receipts, result) = publish(std::slice::from_ref(&request), &configuration, patience);
            for receipt in receipts {
                receipt.wait(deadline.saturating_duration_since(Instant::now()));
            }
            result
        }
        Use::Later => Ok(()),
    }
}

/// The configuration that a script names; `keep` gives the request that is to wait for it if it has not been read yet.
fn configuration(source: &Value, keep: impl FnOnce() -> Option<(Request, Moment)>) -> Result<Use, Error> {
    let process = process()?;
    let configurations = &process.configurations;
    if let Value::String(_) = source {
        let (file, new) = configurations.file(source.text().unwrap_or_default())?;
        if new {
            watch::look(&file);
        }
        return file.configuration(keep);
    }
    let (table, new) = configurations.table(source)?;
    if new {
        let (here, source) = (table.clone(), source.clone());
        let read = move || here.read(&source, publish_late);
        if let Err(error) = thread::start("rgw_nats_table", read) {
            let error = Error::new(Code::NoResources, format!("a thread can't be started: {error}"));
            table.fail(error.clone());
            configurations.forget(&table);
            return Err(error);
        }
    }
    table.configuration(keep)
}

/// Publishes what has waited for its configuration; there is no one left to return an error to.
fn publish_late(waiting: &[(Request, Moment)], configuration: &Configuration) {
    // Many wait for the disk together: while they did so one after the other, more would come than go.
    for some in waiting.chunks(LATE) {
        // Nobody's request is held up by the disk here; but for room in memory there is no waiting for so many.
        let patience = match configuration.endpoint.spool {
            Some(_) => Connection::patience(&configuration.endpoint),
            None => Instant::now(),
        };
        if let (_, Err(error)) = publish(some, configuration, patience) {
            log::line(format_args!("{error}"));
        }
    }
}

/// Whether `admit` refused this request; always false while it has refused none.
pub fn is_refused(request: &Request) -> bool {
    running().is_some_and(|process| process.refusals.has(request))
}

/// Whether `admit` has refused a request of which nothing was heard since.
pub fn has_refusals() -> bool {
    running().is_some_and(|process| process.refusals.any())
}

/// Notes that `admit` was called where nothing can be refused.
///
/// # Errors
/// `no_resources`.
pub fn admit_in_vain() -> Result<(), Error> {
    process()?.refusals.in_vain();
    Ok(())
}

/// Whether a request that is still to be done is to be refused, as its events have no room; and then whether it is remembered.
///
/// # Errors
/// As for [`notify`], by the configuration.
pub fn refuses(request: &Request, source: &Value) -> Result<Option<bool>, Error> {
    if has_room(request, source)? {
        return Ok(None);
    }
    Ok(Some(process()?.refusals.add(request)))
}

/// Forgets a refused request that was aborted as it should be.
pub fn forget_refusal(request: &Request) {
    if let Some(process) = running() {
        process.refusals.aborted(request);
    }
}

/// Whether there is room for the events of a request that is still to be done. Where that is not known - the configuration
/// has not been read, or is wrong - there is.
///
/// # Errors
/// As for [`notify`], by the configuration.
fn has_room(request: &Request, source: &Value) -> Result<bool, Error> {
    let Use::Now(configuration) = configuration(source, || None)? else { return Ok(true) };
    let fits = |event| configuration.fitting(request, event).next().is_some();
    if !request.event().is_some_and(fits) {
        return Ok(true);
    }
    Ok(connection(&configuration.endpoint)?.has_room())
}

/// Has something done to what a configuration keeps on disk. A file that was not read yet is waited for, a second at most.
///
/// # Errors
/// As for [`notify`], by the configuration; `bad_config`, where it has no spool or could not be read in time; what the work
/// says.
pub fn with_backlog<T>(source: &Value, work: impl FnOnce(&Backlog) -> Result<T, Error>) -> Result<T, Error> {
    let mut used = configuration(source, || None)?;
    if let (Use::Later, Value::String(_)) = (&used, source) {
        process()?.configurations.file(source.text().unwrap_or_default())?.0.wait();
        used = configuration(source, || None)?;
    }
    match used {
        Use::Now(configuration) => work(connection(&configuration.endpoint)?.backlog()?),
        Use::Later => Err(Error::new(Code::BadConfig, "the configuration is being read; try again")),
    }
}

/// The dead letters that died so long ago or longer; 0 is all.
pub fn older_than(age_ms: u64) -> Which {
    match age_ms {
        0 => Which::All,
        age_ms => Which::Before(now_ms().saturating_sub(age_ms)),
    }
}

/// The keys of buckets' tags that the rules of the configuration file of a path look at; none if it was not read yet.
pub fn bucket_tag_keys(path: &str) -> Arc<[Vec<u8>]> {
    running().map(|process| process.configurations.bucket_tag_keys(path)).unwrap_or_default()
}

/// What the rules of the configuration file of a path need: see [`Configuration::needs`]. All, if it was not read yet.
pub fn needs(path: &str) -> u32 {
    running().map_or(u32::MAX, |process| process.configurations.needs(path))
}

/// Sets the zone group of a request by those before it, if one of them was of the same bucket and instance of the gateway.
pub fn zone_group(request: &mut Request) -> bool {
    running().is_some_and(|process| process.zone_groups.set(request))
}

/// Notes the zone group of a request.
pub fn learn_zone_group(request: &Request) {
    if let Some(process) = running() {
        process.zone_groups.learn(request);
    }
}

/// Publishes what the rules of a configuration make of requests: the events of all rules, whatever becomes of each. Gives
/// what to wait for as well.
fn publish(
    requests: &[(Request, Moment)],
    configuration: &Configuration,
    patience: Instant,
) -> (Vec<Arc<Receipt>>, Result<(), Error>) {
    // One look-up for all rules: they have the broker in common. None where no rule fits.
    let connection = OnceCell::new();
    let connection = || connection.get_or_init(|| self::connection(&configuration.endpoint)).clone();
    let (mut messages, mut result) = (Vec::new(), Ok(()));
    for (request, moment) in requests {
        if request.hides_its_keys() && MULTI_DELETES.fetch_add(1, Ordering::Relaxed) == 0 {
            log::line(format_args!(
                "a multi-object delete is not notified of: RGW shows its keys to no script; docs/events.md has ways out \
                 (said once; status().multi_deletes counts)"
            ));
        }
        let listed: Vec<_> = request.of_each_object().map(|one| (one, self::moment())).collect();
        let one = [(request, *moment)];
        let each: &mut dyn Iterator<Item = (&Request, Moment)> = if listed.is_empty() {
            &mut one.into_iter()
        } else {
            &mut listed.iter().map(|(one, moment)| (one, *moment))
        };
        for (request, moment) in each {
            let mut fitted = false;
            if let Some(event) = request.event() {
                let mut scribe = Scribe::new(request, moment);
                for (rule, operation) in configuration.fitting(request, event) {
                    fitted = true;
                    let made = connection().and_then(|one| scribe.message(operation, rule, one.max_payload()));
                    match made {
                        Ok(message) => messages.push(message),
                        Err(error) => result = result.and(Err(error)),
                    }
                }
            }
            if !fitted {
                IGNORED.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    if messages.is_empty() {
        return (Vec::new(), result);
    }
    match connection() {
        Ok(connection) => {
            let (receipts, published) = connection.publish_all(messages, patience);
            (receipts, result.and(published))
        }
        Err(error) => (Vec::new(), Err(error)),
    }
}

/// All that is known, without a secret, as `status()` shows it.
pub fn status() -> Value {
    let connections = running().map(|process| process.connections().values().cloned().collect::<Vec<_>>());
    let mut connections = connections.unwrap_or_default();
    connections.sort_by_key(|connection| connection.endpoint().shown());
    Value::record([
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("ignored", IGNORED.load(Ordering::Relaxed).into()),
        ("multi_deletes", MULTI_DELETES.load(Ordering::Relaxed).into()),
        ("admit", running().map_or_else(|| Refusals::default().status(), |process| process.refusals.status())),
        ("configurations", running().map_or_else(|| Value::list([]), |process| process.configurations.status())),
        ("connections", Value::list(connections.iter().map(|connection| connection.status()))),
    ])
}
