//! Reads a table of options key by key and collects all that is wrong with it.

use crate::error::{Code, Error};
use crate::value::Value;
use std::ops::RangeInclusive;

/// How many problems are told at once; nobody mends more at a time, and a script can have any number of keys.
pub const MAX_PROBLEMS: usize = 20;

/// Something that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: keys with dots between, such as `notification[2].subject`; empty for the whole.
    pub path: String,
    /// What, as a sentence that names the key.
    pub text: String,
}

/// All problems as one error.
///
/// # Errors
/// `bad_config`, if there is any.
pub fn refuse(problems: &[Problem]) -> Result<(), Error> {
    if problems.is_empty() {
        return Ok(());
    }
    let texts: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
    Err(Error::new(Code::BadConfig, texts.join("; ")))
}

/// A table of options that is being read. Each getter takes one key; [`Fields::finish`] refuses the keys that are left.
pub struct Fields<'v> {
    path: String,
    table: &'v [(Value, Value)],
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl<'v> Fields<'v> {
    /// Starts on a table, or on nothing at all; `path` is where it is, empty for the whole. What is no table has no keys,
    /// and is noted as a problem.
    pub fn new(path: &str, value: &'v Value) -> Fields<'v> {
        let mut fields = Fields { path: path.to_owned(), table: &[], known: Vec::new(), problems: Vec::new() };
        match value {
            Value::Nil => {}
            Value::Table(entries) => fields.table = entries,
            other => {
                let text = format!("{path} must be a table, got {}", other.kind());
                fields.problems.push(Problem { path: path.to_owned(), text });
            }
        }
        fields
    }

    /// Where a key is.
    pub fn path(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    /// The value of a key, which from now on is a known one.
    pub fn value(&mut self, key: &'static str) -> Option<&'v Value> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// Notes what is wrong with a key; `text` goes on from the key's name.
    pub fn problem(&mut self, key: &str, text: impl AsRef<str>) {
        let path = self.path(key);
        let text = format!("{path} {}", text.as_ref());
        self.problems.push(Problem { path, text });
    }

    /// Whether anything was wrong so far.
    pub fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Takes over what is wrong in a table within this one.
    pub fn adopt(&mut self, problems: Vec<Problem>) {
        let room = MAX_PROBLEMS.saturating_sub(self.problems.len());
        self.problems.extend(problems.into_iter().take(room));
    }

    /// A text of at most `limit` bytes that has no control characters in it.
    pub fn text(&mut self, key: &'static str, limit: usize) -> Option<&'v str> {
        let value = self.value(key)?;
        match value.text() {
            Some(text) if text.len() > limit => {
                self.problem(key, format!("is longer than {limit} bytes"));
            }
            Some(text) if text.chars().any(char::is_control) => {
                self.problem(key, "has a control character in it");
            }
            Some(text) => return Some(text),
            None => self.wrong_type(key, "a string", value),
        }
        None
    }

    /// A whole number within `range`; `default` where it is not given.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.value(key) else { return default };
        let number = match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            // A script that computes a number may come to a whole one as a float.
            Value::Number(number) if number.fract() == 0.0 && (0.0..1e15).contains(number) => Some(*number as u64),
            Value::Number(_) => None,
            _ => {
                self.wrong_type(key, "a whole number", value);
                return default;
            }
        };
        match number {
            Some(number) if range.contains(&number) => number,
            _ => {
                self.problem(key, format!("must be a whole number from {} to {}", range.start(), range.end()));
                default
            }
        }
    }

    /// `true` or `false`; `default` where it is not given.
    pub fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        match self.value(key) {
            None => default,
            Some(Value::Boolean(value)) => *value,
            Some(value) => {
                self.wrong_type(key, "true or false", value);
                default
            }
        }
    }

    /// One of some named choices, the first one where it is not given.
    pub fn choice<T: Copy + Default>(&mut self, key: &'static str, choices: &[(&str, T)]) -> T {
        let Some(text) = self.text(key, 256) else { return T::default() };
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, choice)) => *choice,
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                self.problem(key, format!("must be one of {}, not {text}", names.join(", ")));
                T::default()
            }
        }
    }

    /// Notes that a key has a value of the wrong type.
    pub fn wrong_type(&mut self, key: &str, wanted: &str, value: &Value) {
        let kind = match value {
            Value::String(_) => "a string that is not UTF-8",
            other => other.kind(),
        };
        let kind = if value.text().is_some() { "string" } else { kind };
        self.problem(key, format!("must be {wanted}, got {kind}"));
    }

    /// Ends the reading: all that is wrong, the keys that nobody knows among it.
    pub fn finish(mut self) -> Vec<Problem> {
        for (key, _) in self.table {
            if self.problems.len() >= MAX_PROBLEMS {
                break;
            }
            let Some(key) = key.text() else {
                self.problem("", format!("has a {} as key, where a name is wanted", key.kind()));
                continue;
            };
            if self.known.contains(&key) {
                continue;
            }
            let shown: String = key.chars().take(40).filter(|c| !c.is_control()).collect();
            let near = self.known.iter().map(|known| (strsim::damerau_levenshtein(known, &shown), known)).min();
            let text = match near {
                Some((distance, known)) if distance <= 3 && distance * 2 <= shown.chars().count() => {
                    format!("unknown key {shown}; did you mean {known}?")
                }
                _ => format!("unknown key {shown}; known are {}", self.known.join(", ")),
            };
            let place = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
            self.problems.push(Problem { path: self.path(key), text: format!("{place}{text}") });
        }
        self.problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, Value)]) -> Value {
        Value::Table(entries.iter().map(|(key, value)| (Value::from(*key), value.clone())).collect())
    }

    #[test]
    fn all_problems_are_told_at_once_with_the_nearest_known_key() {
        let value = table(&[
            ("url", Value::Integer(1)),
            ("name", Value::from("a\nb")),
            ("size", Value::Integer(0)),
            ("sise", Value::Integer(1)),
            ("whatever", Value::Boolean(true)),
            ("foo", Value::Boolean(true)),
        ]);
        let mut fields = Fields::new("", &value);
        assert_eq!(fields.text("url", 10), None);
        assert_eq!(fields.text("name", 10), None);
        assert_eq!(fields.integer("size", 1..=5, 3), 3);
        let message = refuse(&fields.finish()).unwrap_err().to_string();
        for part in [
            "bad_config: url must be a string, got number",
            "name has a control character",
            "size must be a whole number from 1 to 5",
            "unknown key sise; did you mean size?",
            "unknown key whatever; known are url, name, size",
        ] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
    }

    #[test]
    fn a_whole_float_is_a_whole_number() {
        let value = table(&[("size", Value::Number(4.0))]);
        let mut fields = Fields::new("", &value);
        assert_eq!(fields.integer("size", 1..=5, 3), 4);
        assert_eq!(fields.finish(), []);
    }

    #[test]
    fn something_else_than_a_table_is_refused() {
        let problems = Fields::new("filter", &Value::Boolean(true)).finish();
        assert_eq!(problems[0].text, "filter must be a table, got boolean");
    }
}
