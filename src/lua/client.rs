//! `connect`, and the methods of what it returns.

use super::boundary::{Call, Entry, Function};
use crate::config::Endpoint;
use crate::delivery::Connection;
use crate::error::{Code, Error};
use crate::event::check_subject;
use crate::message::Message;
use crate::process;
use crate::value::Value;
use std::ffi::CStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A script's hold on a connection, which it shares with all others.
struct Client {
    endpoint: Endpoint,
    generation: u32,
    /// None once it was closed.
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Client {
    /// The client that is the first argument.
    fn of(call: &Call) -> Result<&Client, Error> {
        let client = match call.argument(1) {
            Value::Handle(handle) => handle.downcast_ref::<Client>(),
            _ => None,
        };
        client.ok_or_else(|| {
            let text =
                format!("a connection is wanted as first argument, got {}; write a colon", call.argument(1).kind());
            Error::new(Code::BadArgument, text)
        })
    }

    fn held(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its connection.
    fn connection(&self) -> Result<Arc<Connection>, Error> {
        let Some(connection) = self.held().clone() else {
            return Err(Error::new(Code::Closed, "this connection was closed by the script; connect again"));
        };
        if self.generation != process::generation() {
            // Made before a fork: the parent's queue is not ours.
            return process::connection(&self.endpoint);
        }
        Ok(connection)
    }
}

/// The methods of a connection.
pub const METHODS: [Entry; 3] = [Entry::of::<Publish>(), Entry::of::<Status>(), Entry::of::<Close>()];

/// `connect(servers, options)`.
pub struct Connect;

impl Function for Connect {
    const NAME: &'static CStr = c"connect";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let endpoint = Endpoint::from_arguments(call.argument(1), call.argument(2))?;
        let connection = process::connection(&endpoint)?;
        let generation = process::generation();
        let client = Client { endpoint, generation, connection: Mutex::new(Some(connection)) };
        Ok(Value::Handle(Arc::new(client)))
    }
}

/// `connection:publish(subject, payload, headers)`.
struct Publish;

impl Function for Publish {
    const NAME: &'static CStr = c"publish";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let connection = Client::of(call)?.connection()?;
        let subject = call.argument(2);
        let text = subject.text().ok_or_else(|| {
            let kind = if matches!(subject, Value::String(_)) { "bytes that are no UTF-8" } else { subject.kind() };
            Error::new(Code::BadArgument, format!("the subject must be a string, got {kind}"))
        })?;
        check_subject(text).map_err(|problem| Error::new(Code::BadSubject, format!("the subject {problem}")))?;
        let (subject, headers) = (text.to_owned(), headers(call.argument(4))?);
        let payload = match call.take(3) {
            Value::String(bytes) => bytes,
            Value::Nil => Vec::new(),
            other => {
                let text = format!("the payload must be a string, got {}; tostring() makes one", other.kind());
                return Err(Error::new(Code::BadArgument, text));
            }
        };
        let mut message = Message::new(subject, headers, payload)?;
        message.pattern = Some(pattern(&message.subject));
        let patience = Connection::patience(connection.endpoint());
        if let Some(receipt) = connection.publish(message, patience)? {
            receipt.wait(Duration::from_millis(connection.endpoint().wait_ms));
        }
        Ok(Value::Boolean(true))
    }
}

/// What to ask JetStream for streams by: all that begins as the subject does, so that there are few different ones.
fn pattern(subject: &str) -> Arc<str> {
    match subject.split_once('.') {
        Some((first, _)) => format!("{first}.>").into(),
        None => subject.into(),
    }
}

/// Headers come as a table of names with a text each.
fn headers(value: &Value) -> Result<Vec<(String, String)>, Error> {
    let bad = |text: String| Error::new(Code::BadArgument, text);
    let entries = match value {
        Value::Nil => return Ok(Vec::new()),
        Value::Table(entries) => entries,
        other => return Err(bad(format!("the headers must be a table, got {}", other.kind()))),
    };
    let mut headers = Vec::with_capacity(entries.len());
    for (name, text) in entries {
        // RFC 9110, 5.6.2: what a name is made of; NATS takes over HTTP's.
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let name = name.text().filter(|name| !name.is_empty() && name.bytes().all(legal));
        let name = name.ok_or_else(|| bad("a header's name must be letters, digits and hyphens".into()))?;
        let text = text.text().filter(|text| !text.contains(['\r', '\n', '\0']));
        let text = text.ok_or_else(|| bad(format!("the header {name} must be a string without line breaks")))?;
        headers.push((name.to_owned(), text.to_owned()));
    }
    Ok(headers)
}

/// `connection:status()`.
struct Status;

impl Function for Status {
    const NAME: &'static CStr = c"status";

    fn work(call: &mut Call) -> Result<Value, Error> {
        Ok(Client::of(call)?.connection()?.status())
    }
}

/// `connection:close()`.
struct Close;

impl Function for Close {
    const NAME: &'static CStr = c"close";

    fn work(call: &mut Call) -> Result<Value, Error> {
        // What nothing holds can end when it is idle; a handle may lie about for as long as Lua likes.
        drop(Client::of(call)?.held().take());
        Ok(Value::Boolean(true))
    }
}

/// `tostring(connection)`.
pub struct ToString;

impl Function for ToString {
    const NAME: &'static CStr = c"__tostring";

    fn work(call: &mut Call) -> Result<Value, Error> {
        Ok(format!("rgw_nats.connection: {}", Client::of(call)?.endpoint.shown()).into())
    }
}
