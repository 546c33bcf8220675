//! `dead_letters`, `replay` and `purge`: what was given up, for administrators.

use super::boundary::{Call, Function};
use crate::config::{Fields, refuse};
use crate::delivery::Which;
use crate::error::{Code, Error};
use crate::process;
use crate::value::Value;
use std::ffi::CStr;

/// How many dead letters are listed, at most and where nothing else is said.
const MAX_LETTERS: u64 = 1000;
const LETTERS: u64 = 100;

/// `dead_letters(configuration, { after = …, limit = … })`.
pub struct DeadLetters;

impl Function for DeadLetters {
    const NAME: &'static CStr = c"dead_letters";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let mut fields = Fields::new("options", options(call)?);
        let after = fields.integer("after", 0..=u64::MAX >> 1, 0);
        let limit = fields.integer("limit", 1..=MAX_LETTERS, LETTERS);
        refuse(&fields.finish())?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        process::with_backlog(call.argument(1), |backlog| backlog.dead_letters(after, limit))
    }
}

/// `replay(configuration, positions)`.
pub struct Replay;

impl Function for Replay {
    const NAME: &'static CStr = c"replay";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let positions = positions(call.argument(2))?;
        let count = process::with_backlog(call.argument(1), |backlog| backlog.replay(positions))?;
        Ok(Value::record([("replayed", count.into())]))
    }
}

/// `purge(configuration, positions)`, or `purge(configuration, { older_than_ms = … })`.
pub struct Purge;

impl Function for Purge {
    const NAME: &'static CStr = c"purge";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let which = if call.argument(2).items().is_some_and(|items| !items.is_empty()) {
            Which::These(positions(call.argument(2))?)
        } else {
            let mut fields = Fields::new("options", options(call)?);
            let age = fields.value("older_than_ms").is_some();
            let age = age.then(|| fields.integer("older_than_ms", 0..=u64::MAX >> 1, 0));
            if age.is_none() {
                fields
                    .problem("older_than_ms", "must say which dead letters go; 0 is all. Or give a list of positions");
            }
            refuse(&fields.finish())?;
            process::older_than(age.unwrap_or_default())
        };
        let count = process::with_backlog(call.argument(1), |backlog| backlog.purge(which))?;
        Ok(Value::record([("purged", count.into())]))
    }
}

fn options(call: &Call) -> Result<&Value, Error> {
    match call.argument(2) {
        options @ (Value::Nil | Value::Table(_)) => Ok(options),
        other => Err(Error::new(Code::BadArgument, format!("the options must be a table, got {}", other.kind()))),
    }
}

fn positions(value: &Value) -> Result<Vec<u64>, Error> {
    let bad = || Error::new(Code::BadArgument, "the positions must be a list of those that dead_letters() gives");
    let items = value.items().filter(|items| !items.is_empty()).ok_or_else(bad)?;
    let number = |item: &&Value| if let Value::Integer(number) = item { u64::try_from(*number).ok() } else { None };
    items.iter().map(|item| number(item).ok_or_else(bad)).collect()
}
