//! The one thread, and what the operating system must do for it.

use crate::thread;
use std::ffi::{CStr, c_int, c_void};
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::sync::mpsc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// A tokio runtime on a thread of its own, named `rgw_nats`, that gets no signals.
pub struct Runtime {
    handle: tokio::runtime::Handle,
}

impl Runtime {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the operating system says, when it gives no thread or no descriptors.
    pub fn start() -> io::Result<Runtime> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Names are looked up on threads of their own, for as long as it takes.
            .thread_name("rgw_nats_io")
            .max_blocking_threads(32)
            .build()?;
        let handle = runtime.handle().clone();
        thread::start("rgw_nats", move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Runtime { handle })
    }

    /// Runs a future on the thread; gives what stops it.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.handle.spawn(future).abort_handle()
    }

    /// Runs a future on the thread and waits for its end, so long at most.
    pub fn wait(&self, limit: Duration, future: impl Future<Output = ()> + Send + 'static) {
        let (ended, end) = mpsc::channel();
        self.handle.spawn(async move {
            future.await;
            let _ = ended.send(());
        });
        let _ = end.recv_timeout(limit);
    }
}

/// Has a function called in each child that this process forks.
pub fn on_fork(child: extern "C" fn()) {
    // SAFETY: the function stays where it is: the library is never unloaded.
    unsafe {
        libc::pthread_atfork(None, None, Some(child));
    }
}

/// Has a function called when the process ends by `exit`.
pub fn on_exit(handler: extern "C" fn()) {
    // SAFETY: as for on_fork.
    unsafe {
        libc::atexit(handler);
    }
}

/// Keeps this library in memory: a handle of its own, never closed, on the file that `symbol` is in. Lua closes the one it
/// has with each state. The library is linked with `-z nodelete` besides; the handle spares the loader that work.
pub fn pin(symbol: *const c_void) {
    let mut info = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: dladdr fills the structure if it returns non-zero, and the name in it lives as long as the library.
    unsafe {
        if libc::dladdr(symbol, info.as_mut_ptr()) == 0 {
            return;
        }
        let name: *const libc::c_char = info.assume_init().dli_fname;
        if name.is_null() || CStr::from_ptr(name).is_empty() {
            return;
        }
        let flags: c_int = libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
        libc::dlopen(name, flags);
    }
}
