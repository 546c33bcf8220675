//! The one error of this library: a stable code for programs, a sentence for people.

use std::fmt;
use std::io::{self, ErrorKind};

/// What went wrong, as scripts can tell it apart. The names are frozen by SemVer; see `docs/api.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// An argument has the wrong type, is missing, or is out of bounds.
    BadArgument,
    /// An option or a table of options is refused: unknown key, wrong type, value out of range, contradiction.
    BadConfig,
    /// `Request` is no request of a RADOS Gateway, or reading it failed.
    BadRequest,
    /// A subject that NATS does not allow, or that is too long.
    BadSubject,
    /// The handle was closed, or the process is ending.
    Closed,
    /// A message is larger than this library takes.
    TooLarge,
    /// The queue of this connection is full; the message was not accepted.
    QueueFull,
    /// The spool has reached one of its limits; the message was not accepted.
    SpoolFull,
    /// The spool can't be written or read, or has not answered in time.
    SpoolIo,
    /// So many different endpoints are open that no further one is opened.
    TooManyConnections,
    /// Lua has no memory left for this call.
    Memory,
    /// The machine gives this process no further thread or descriptor.
    NoResources,
    /// The stream did not take the message, or has not said so; it is sent again.
    NotStored,
    /// The message was given up: `time_to_live` or `max_retries` is over.
    Expired,
    /// The server denied publishing to this subject, or subscribing to it.
    Denied,
    /// It did not end in time.
    Timeout,
    /// Nobody has subscribed to the subject of a request.
    NoResponders,
    /// There is no connection to a server, or it was lost on the way.
    Disconnected,
    /// The script has cancelled it.
    Cancelled,
    /// There is no such stream, consumer, message, bucket or key.
    NotFound,
    /// It is there already, or was changed meanwhile: another revision or sequence than the one that was expected.
    Conflict,
    /// JetStream refuses it for another reason.
    JetStream,
    /// A defect of this library; nothing was accepted.
    Internal,
}

impl Code {
    /// The code as Lua gets it, as the third result.
    pub fn name(self) -> &'static str {
        match self {
            Code::BadArgument => "bad_argument",
            Code::BadConfig => "bad_config",
            Code::BadRequest => "bad_request",
            Code::BadSubject => "bad_subject",
            Code::Closed => "closed",
            Code::TooLarge => "too_large",
            Code::QueueFull => "queue_full",
            Code::SpoolFull => "spool_full",
            Code::SpoolIo => "spool_io",
            Code::TooManyConnections => "too_many_connections",
            Code::Memory => "memory",
            Code::NoResources => "no_resources",
            Code::NotStored => "not_stored",
            Code::Expired => "expired",
            Code::Denied => "denied",
            Code::Timeout => "timeout",
            Code::NoResponders => "no_responders",
            Code::Disconnected => "disconnected",
            Code::Cancelled => "cancelled",
            Code::NotFound => "not_found",
            Code::Conflict => "conflict",
            Code::JetStream => "jetstream",
            Code::Internal => "internal",
        }
    }
}

/// A failure: its code, and a sentence that names the thing and the way out. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
}

impl Error {
    /// An error with this code and sentence (lower case, no full stop, no code in it). Control characters, as a server's
    /// own words or a path may have them, become spaces: a sentence is one line wherever it is shown.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error { code, message: one_line(message) }
    }

    /// With what it is about before its sentence.
    pub fn about(mut self, what: &str) -> Error {
        self.message = one_line(format!("{what}: {}", self.message));
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }
}

/// The text without control characters: with a space for each.
pub fn one_line(text: impl Into<String>) -> String {
    let text = text.into();
    if text.contains(char::is_control) { text.replace(char::is_control, " ") } else { text }
}

/// What the operating system says of a file or a directory, and what mends it. In a container radosgw is seldom root, and
/// what is no volume can't be written to.
pub fn with_remedy(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            // SAFETY: the calls only return what the process is.
            let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
            format!(
                "{error}; the gateway is user {user}, group {group}, and needs access: chown or chmod mends that, for a \
                 Secret of Kubernetes its defaultMode"
            )
        }
        ErrorKind::ReadOnlyFilesystem => format!("{error}; it must be on a volume that the gateway can write to"),
        _ => error.to_string(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_code_and_sentence() {
        let error = Error::new(Code::QueueFull, "65536 messages wait");
        assert_eq!(error.to_string(), "queue_full: 65536 messages wait");
    }

    #[test]
    fn a_denied_or_read_only_path_comes_with_what_mends_it() {
        let denied = with_remedy(&io::Error::from_raw_os_error(libc::EACCES));
        assert!(denied.starts_with("Permission denied (os error 13); the gateway is user "), "{denied}");
        assert!(denied.contains("chown or chmod"), "{denied}");
        let read_only = with_remedy(&io::Error::from_raw_os_error(libc::EROFS));
        assert!(read_only.ends_with("; it must be on a volume that the gateway can write to"), "{read_only}");
        assert_eq!(with_remedy(&io::Error::from_raw_os_error(libc::ENOENT)), "No such file or directory (os error 2)");
    }

    #[test]
    fn an_error_is_one_line_whatever_a_server_says() {
        let error = Error::new(Code::JetStream, "no\r\nstream\u{1b}[2J").about("orders\n");
        assert_eq!(error.to_string(), "jetstream: orders : no  stream [2J");
    }
}
