//! One line on standard error: radosgw's journal.

use std::fmt::Arguments;
use std::io::Write;

/// Writes a line. Never fails and never panics: a gateway without a standard error has no log.
pub fn line(text: Arguments<'_>) {
    let line: String = format!("rgw_nats: {text}").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // One write, so that lines of several threads do not mix.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
