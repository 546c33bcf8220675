//! Processes: running a scenario in one, forking, and what `/proc` tells.

use std::fs;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The exit code of a child of fork whose work panicked.
const PANICKED: i32 = 99;

/// How the process of a scenario ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it had to be ended, as it did not end in time.
    pub hung: bool,
    /// How long it ran.
    pub took: Duration,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub log: String,
}

impl Outcome {
    /// Fails the test unless the scenario went well.
    ///
    /// # Panics
    /// That is how.
    pub fn must_be_well(&self) {
        assert!(!self.hung, "the process hung; it was ended after {:?}\n{}\n{}", self.took, self.output, self.log);
        let (code, signal) = (self.code, self.signal);
        assert_eq!((code, signal), (Some(0), None), "as code and signal\n{}\n{}", self.output, self.log);
        println!("{:.1?}\n{}", self.took, self.output);
    }
}

/// Runs a scenario in a process of its own, for so long at most. `program` is `env!("CARGO_BIN_EXE_host")`.
///
/// # Panics
/// If the program can't be run.
pub fn play(program: &str, scenario: &[&str], limit: Duration) -> Outcome {
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(scenario)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that its children end with it.
        .process_group(0)
        .spawn()
        .expect("the program host");
    let mut streams = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
    let output = thread::spawn(move || text(&mut streams.0));
    let log = thread::spawn(move || text(&mut streams.1));
    let (status, hung) = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break (status, false);
        }
        if start.elapsed() > limit {
            child.kill().expect("a child");
            break (child.wait().expect("a child"), true);
        }
        thread::sleep(Duration::from_millis(2));
    };
    let took = start.elapsed();
    // SAFETY: no memory is touched. The group is the child's own; what is left of it hangs, and holds the pipes open.
    unsafe { libc::kill(-libc::pid_t::try_from(child.id()).expect("a process id"), libc::SIGKILL) };
    let (output, log) = (output.join().expect("its output"), log.join().expect("its log"));
    Outcome { code: status.code(), signal: status.signal(), hung, took, output, log }
}

fn text(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A child of fork.
#[must_use]
pub struct Fork {
    id: libc::pid_t,
    start: Instant,
}

/// Forks. The child does its work and then ends by `exit` with 0, or with 99 if the work panicked; it is ended by a signal
/// if that takes longer than `seconds`.
///
/// # Panics
/// If there can be no child.
pub fn fork(seconds: u32, work: impl FnOnce()) -> Fork {
    let start = Instant::now();
    // SAFETY: the child goes on in this function alone. It is one thread; glibc makes malloc usable in it.
    unsafe {
        match libc::fork() {
            -1 => panic!("no fork: {}", std::io::Error::last_os_error()),
            0 => {
                libc::alarm(seconds);
                let done = catch_unwind(AssertUnwindSafe(work));
                libc::exit(if done.is_ok() { 0 } else { PANICKED })
            }
            id => Fork { id, start },
        }
    }
}

impl Fork {
    /// Waits for the child's end, and fails unless it ended well. Gives how long it lived.
    ///
    /// # Panics
    /// If the child hung, crashed or panicked.
    pub fn must_end_well(self) -> Duration {
        let mut status = 0;
        // SAFETY: the status is written by the call.
        let waited = unsafe { libc::waitpid(self.id, &raw mut status, 0) };
        assert_eq!(waited, self.id, "no child to wait for");
        let took = self.start.elapsed();
        let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        assert_ne!(signal, Some(libc::SIGALRM), "the child hung; it was ended after {took:?}");
        assert_eq!(signal, None, "the child was ended by a signal after {took:?}");
        assert_eq!(libc::WEXITSTATUS(status), 0, "the child's exit code after {took:?}");
        took
    }
}

unsafe extern "C" {
    fn foreign_hold(hold: bool);
    fn foreign_is_held() -> bool;
}

/// Makes threads stand still where they register handlers of fork, or lets them go on.
pub fn hold_registration(hold: bool) {
    // SAFETY: sets a flag.
    unsafe { foreign_hold(hold) }
}

/// Whether a thread stands still there.
pub fn is_registration_held() -> bool {
    // SAFETY: reads a flag.
    unsafe { foreign_is_held() }
}

/// Waits until something is so, and fails after ten seconds.
///
/// # Panics
/// That is how; `what_not` is the message.
pub fn wait_until(what_not: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what_not}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many bytes of this process are in memory.
///
/// # Panics
/// Without `/proc`.
pub fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages");
    // SAFETY: asks for a constant.
    pages * usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a page size")
}

/// Which signals each thread of this process with a name blocks: a mask in which bit 0 is signal 1.
///
/// # Panics
/// Without `/proc`.
pub fn blocked_signals(name: &str) -> Vec<u64> {
    let threads = fs::read_dir("/proc/self/task").expect("/proc");
    let status = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok());
    let named = status.filter(|status| field(status, "Name:") == name);
    named.map(|status| u64::from_str_radix(field(&status, "SigBlk:"), 16).expect("a mask")).collect()
}

fn field<'s>(status: &'s str, name: &str) -> &'s str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

/// Whether a file of this name is mapped into this process.
///
/// # Panics
/// Without `/proc`.
pub fn is_mapped(name: &str) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    maps.lines().any(|line| line.ends_with(&format!("/{name}")))
}
