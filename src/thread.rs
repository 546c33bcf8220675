//! Threads of this library in a host that handles its signals on threads of its own choice.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that gets no signals, and neither does any that it starts.
///
/// # Errors
/// What the operating system says, when it gives no thread.
pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // A new thread inherits the mask of the one that starts it.
    let mask = block_signals();
    let thread = Builder::new().name(name.into()).spawn(work);
    restore_signals(&mask);
    thread
}

fn block_signals() -> MaybeUninit<libc::sigset_t> {
    let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both sets are written before they are read; the calls have no other effect.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    before
}

fn restore_signals(mask: &MaybeUninit<libc::sigset_t>) {
    // SAFETY: the mask comes from block_signals.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, mask.as_ptr(), ptr::null_mut());
    }
}
