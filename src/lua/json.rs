//! JSON from and to Lua's values: `encode`, `decode`, and `array`, which tells a list from a table that is empty.

use super::boundary::{Call, Function};
use crate::error::{Code, Error};
use crate::value::Value;
use std::ffi::CStr;

/// How deep JSON may be nested; a script can give no deeper tables either.
const MAX_DEPTH: usize = 15;

/// A value as JSON. A table is an array if it is a list that is not empty, or marked as one; an object if its keys are strings,
/// and if it is empty.
///
/// # Errors
/// `bad_argument`: what JSON has no form for.
pub fn from_value(value: &Value) -> Result<serde_json::Value, Error> {
    let bad = |what: &str| Error::new(Code::BadArgument, format!("JSON has no form for {what}"));
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(bad("a string that is no UTF-8")),
    };
    Ok(match value {
        Value::Nil | Value::Null => serde_json::Value::Null,
        Value::Boolean(value) => (*value).into(),
        Value::Integer(number) => (*number).into(),
        Value::Number(number) => {
            serde_json::Number::from_f64(*number).ok_or_else(|| bad("infinity and what is no number"))?.into()
        }
        Value::String(bytes) => text(bytes)?.into(),
        Value::List(items) => items.iter().map(from_value).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Table(entries) | Value::Record(_, entries) => {
            let is_list = !entries.is_empty() && entries.iter().all(|(key, _)| matches!(key, Value::Integer(_)));
            if let Some(items) = value.items().filter(|_| is_list) {
                let last =
                    entries.iter().filter_map(|(key, _)| if let Value::Integer(n) = key { Some(*n) } else { None });
                if last.max() != i64::try_from(items.len()).ok() {
                    return Err(bad("a list with holes"));
                }
                return Ok(items.into_iter().map(from_value).collect::<Result<Vec<_>, _>>()?.into());
            }
            let mut object = serde_json::Map::with_capacity(entries.len());
            for (key, value) in entries {
                let Value::String(key) = key else {
                    return Err(bad("a table with other keys than strings, or than 1 to n"));
                };
                object.insert(text(key)?, from_value(value)?);
            }
            object.into()
        }
        Value::Handle(_) => return Err(bad("a handle")),
        Value::Other(kind) => return Err(bad(&format!("a {kind}"))),
    })
}

/// JSON as a value. Arrays are marked, so that an empty one stays one; null is `null`.
pub fn to_value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Boolean(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Number(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(text) => text.into(),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(to_value).collect()),
        serde_json::Value::Object(entries) => {
            Value::Table(entries.into_iter().map(|(key, value)| (key.into(), to_value(value))).collect())
        }
    }
}

fn depth(json: &serde_json::Value) -> usize {
    let below = match json {
        serde_json::Value::Array(items) => items.iter().map(depth).max(),
        serde_json::Value::Object(entries) => entries.values().map(depth).max(),
        _ => return 0,
    };
    below.unwrap_or_default().saturating_add(1)
}

/// `encode(value)`.
pub struct Encode;

impl Function for Encode {
    const NAME: &'static CStr = c"encode";

    fn work(call: &mut Call) -> Result<Value, Error> {
        Ok(from_value(call.argument(1))?.to_string().into())
    }
}

/// `decode(text)`.
pub struct Decode;

impl Function for Decode {
    const NAME: &'static CStr = c"decode";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let Value::String(text) = call.argument(1) else {
            let text = format!("the JSON must be a string, got {}", call.argument(1).kind());
            return Err(Error::new(Code::BadArgument, text));
        };
        let json: serde_json::Value = serde_json::from_slice(text)
            .map_err(|error| Error::new(Code::BadArgument, format!("this is no JSON: {error}")))?;
        if depth(&json) > MAX_DEPTH {
            return Err(Error::new(Code::TooLarge, format!("this JSON is nested more than {MAX_DEPTH} deep")));
        }
        Ok(to_value(json))
    }
}

/// `array(table)`.
pub struct Array;

impl Function for Array {
    const NAME: &'static CStr = c"array";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let items = match call.argument(1) {
            Value::Nil => Some(Vec::new()),
            table => table.items().map(|items| items.into_iter().cloned().collect()),
        };
        let none = || Error::new(Code::BadArgument, "an array is made of a table with the keys 1 to n");
        items.map(Value::List).ok_or_else(none)
    }
}
