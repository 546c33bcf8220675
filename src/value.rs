//! Plain values, as Lua or a file gave them: what the layers above and below the boundary with Lua exchange.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What a script holds on to. Only the layer that made it looks into it.
pub trait Object: Any + Send + Sync {
    /// What it is to a script: by this it gets its methods.
    fn class(&self) -> Class;
}

/// A reference to such a thing.
pub type Handle = Arc<dyn Object>;

/// What there is for scripts to hold on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A hold on a connection.
    Connection,
    /// Messages that come in.
    Subscription,
    /// Something that comes to an end later.
    Future,
    /// What waits for the first of many futures.
    Poller,
    /// JetStream, by way of a connection.
    JetStream,
    /// A consumer of a stream.
    Consumer,
    /// A key-value bucket.
    Bucket,
    /// The changes of a bucket.
    Watch,
    /// A message; no handle, but a table with methods.
    Message,
    /// A message of a stream, which can be acknowledged; a table likewise.
    StreamMessage,
}

/// A value without a tie to any Lua state.
#[derive(Clone, Default)]
pub enum Value {
    /// Nothing was given.
    #[default]
    Nil,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Number(f64),
    /// A string: bytes, in no particular encoding.
    String(Vec<u8>),
    /// A table, in the order in which it was walked.
    Table(Vec<(Value, Value)>),
    /// A table that is a list even if it is empty: one that `array` has marked, or an array of JSON.
    List(Vec<Value>),
    /// JSON's null, which a table can hold.
    Null,
    /// A table with the methods of a class.
    Record(Class, Vec<(Value, Value)>),
    /// A handle, such as the one on a connection.
    Handle(Handle),
    /// Something that has no plain form; the name of what it was.
    Other(&'static str),
}

impl Value {
    /// What kind of value this is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Boolean(_) => "boolean",
            Value::Integer(_) | Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Table(_) | Value::List(_) | Value::Record(..) => "table",
            Value::Null => "null",
            Value::Handle(_) => "handle",
            Value::Other(kind) => kind,
        }
    }

    /// The text of a string that is UTF-8.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The items of a list in the order of their places; none if this is no table, or one with other keys than whole numbers.
    pub fn items(&self) -> Option<Vec<&Value>> {
        if let Value::List(items) = self {
            return Some(items.iter().collect());
        }
        let Value::Table(entries) = self else { return None };
        let mut places = Vec::with_capacity(entries.len());
        for (key, item) in entries {
            let Value::Integer(place) = key else { return None };
            places.push((*place, item));
        }
        // Lua walks a table in no order that the script can see, unless it was made as a list.
        places.sort_by_key(|(place, _)| *place);
        Some(places.into_iter().map(|(_, item)| item).collect())
    }

    /// Bytes that are equal for equal values, whatever the order in which tables were walked. Handles and what has no plain
    /// form are all alike.
    pub fn key(&self) -> Vec<u8> {
        let sized = |kind: u8, bytes: &[u8]| {
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes();
            [&[kind], &size[..], bytes].concat()
        };
        match self {
            Value::Nil => vec![b'n'],
            Value::Boolean(value) => vec![b'b', u8::from(*value)],
            Value::Integer(number) => sized(b'i', &number.to_le_bytes()),
            Value::Number(number) => sized(b'f', &number.to_bits().to_le_bytes()),
            Value::String(bytes) => sized(b's', bytes),
            Value::Null => vec![b'0'],
            Value::List(items) => sized(b'l', &items.iter().map(Value::key).collect::<Vec<_>>().concat()),
            Value::Table(entries) | Value::Record(_, entries) => {
                let mut keys: Vec<Vec<u8>> =
                    entries.iter().map(|(key, value)| [key.key(), value.key()].concat()).collect();
                keys.sort_unstable();
                sized(b't', &keys.concat())
            }
            Value::Handle(_) => vec![b'h'],
            Value::Other(_) => vec![b'o'],
        }
    }

    /// A table with string keys, for results.
    pub fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::Table(fields.into_iter().map(|(key, value)| (Value::from(key), value)).collect())
    }

    /// A table with the keys 1 to n, for results.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
        Value::Table((1..).map(Value::Integer).zip(items).collect())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil | Value::Null | Value::Handle(_) | Value::Other(_) => f.write_str(self.kind()),
            Value::Boolean(value) => write!(f, "Boolean({value})"),
            Value::Integer(number) => write!(f, "Integer({number})"),
            Value::Number(number) => write!(f, "Number({number:?})"),
            Value::String(bytes) => write!(f, "String({:?})", String::from_utf8_lossy(bytes)),
            Value::Table(entries) | Value::Record(_, entries) => write!(f, "Table({entries:?})"),
            Value::List(items) => write!(f, "List({items:?})"),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::String(text.into_bytes())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Boolean(value)
    }
}
