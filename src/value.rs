//! Plain values, as Lua or a file gave them: what the layers above and below the boundary with Lua exchange.

use std::any::Any;
use std::sync::Arc;

/// Something that a script holds on to and that only the layer that made it looks into.
pub type Handle = Arc<dyn Any + Send + Sync>;

/// A value without a tie to any Lua state.
#[derive(Clone, Debug, Default)]
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
            Value::Table(_) => "table",
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

    /// A table with string keys, for results.
    pub fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
        Value::Table(fields.into_iter().map(|(key, value)| (Value::from(key), value)).collect())
    }

    /// A table with the keys 1 to n, for results.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
        Value::Table((1..).map(Value::Integer).zip(items).collect())
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
