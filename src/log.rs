//! One line on standard error: radosgw's journal.

use std::fmt::Arguments;

/// How long a line may be, in characters: at most 4,000 bytes, which a pipe takes in one piece.
const MAX_LINE: usize = 1000;

/// Writes a line, if it can be written at once. Never fails, blocks or panics: a gateway whose journal is stuck goes on
/// without.
pub fn line(text: Arguments<'_>) {
    let text = format!("rgw_nats: {text}");
    let mut line: String = text.chars().take(MAX_LINE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.push('\n');
    let bytes = line.as_bytes();
    // SAFETY: the pointers are to live bytes of the given length; the calls have no other effect than to write them.
    unsafe {
        let (start, length) = (bytes.as_ptr().cast::<libc::c_void>(), bytes.len());
        // Under systemd standard error is a socket.
        if libc::send(libc::STDERR_FILENO, start, length, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) >= 0 {
            return;
        }
        let mut ready = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
        let socket = std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOTSOCK);
        if !socket && libc::poll(&raw mut ready, 1, 0) == 1 && ready.revents & libc::POLLOUT != 0 {
            libc::write(libc::STDERR_FILENO, start, length);
        }
    }
}
