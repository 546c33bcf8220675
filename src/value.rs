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

    /// The items of a list in the order of their places; none if this is no table, or one with other keys than whole numbers.
    pub fn items(&self) -> Option<Vec<&Value>> {
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
            Value::Table(entries) => {
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
