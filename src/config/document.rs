//! A configuration file: TOML, as plain values, with the line of each key.

use super::Problem;
use crate::error::{Code, Error};
use crate::value::Value;
use std::collections::HashMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A configuration file that could be read.
pub struct Document {
    name: String,
    table: Value,
    lines: HashMap<String, usize>,
}

impl Document {
    /// Reads the text of the file `name`.
    ///
    /// # Errors
    /// `bad_config`, with file and line, if it is no TOML.
    pub fn parse(name: &str, text: &str) -> Result<Document, Error> {
        let ends = Ends::of(text);
        let root = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| ends.line_of(span.start));
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            Error::new(Code::BadConfig, format!("{name}:{line}: {message}"))
        })?;
        let mut lines = HashMap::new();
        let table = table(&ends, "", root.get_ref(), &mut lines);
        Ok(Document { name: name.to_owned(), table, lines })
    }

    /// What the file holds.
    pub fn table(&self) -> &Value {
        &self.table
    }

    /// All problems as one error, each with file and line.
    ///
    /// # Errors
    /// `bad_config`, if there is any.
    pub fn refuse(&self, problems: &[Problem]) -> Result<(), Error> {
        if problems.is_empty() {
            return Ok(());
        }
        let mut told: Vec<(usize, &str)> =
            problems.iter().map(|one| (self.line(&one.path), one.text.as_str())).collect();
        told.sort_by_key(|(line, _)| *line);
        let texts: Vec<String> = told.iter().map(|(line, text)| format!("{}:{line}: {text}", self.name)).collect();
        Err(Error::new(Code::BadConfig, texts.join("; ")))
    }

    /// The line of a key, or of the nearest table around it that has one.
    fn line(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return 1,
            }
        }
    }
}

/// Where the lines of a text end.
struct Ends(Vec<usize>);

impl Ends {
    fn of(text: &str) -> Ends {
        Ends(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// The line of a byte, counted from 1.
    fn line_of(&self, at: usize) -> usize {
        self.0.partition_point(|end| *end < at).saturating_add(1)
    }
}

fn table(text: &Ends, path: &str, table: &DeTable<'_>, lines: &mut HashMap<String, usize>) -> Value {
    let mut entries = Vec::new();
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        lines.insert(path.clone(), text.line_of(key.span().start));
        entries.push((Value::from(name), plain(text, &path, value, lines)));
    }
    Value::Table(entries)
}

fn plain(text: &Ends, path: &str, value: &Spanned<DeValue<'_>>, lines: &mut HashMap<String, usize>) -> Value {
    match value.get_ref() {
        DeValue::String(string) => Value::from(string.as_ref()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Other("number that is too large"),
        },
        DeValue::Float(float) => float.as_str().parse().map_or(Value::Other("number"), Value::Number),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(_) => Value::Other("date"),
        DeValue::Array(array) => {
            let items = array.iter().enumerate().map(|(place, item)| {
                let path = format!("{path}[{}]", place.saturating_add(1));
                lines.insert(path.clone(), text.line_of(item.span().start));
                plain(text, &path, item, lines)
            });
            let items: Vec<Value> = items.collect();
            Value::list(items)
        }
        DeValue::Table(inner) => table(text, path, inner, lines),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "url = \"nats://h\"\n\n[[notification]]\nid = 1\n[[notification]]\nid = \"b\"\n[notification.filter]\nprefix = \"x\"\n";

    #[test]
    fn keys_have_their_lines() {
        let document = Document::parse("f.toml", TEXT).unwrap();
        for (path, line) in [
            ("url", 1),
            ("notification[1].id", 4),
            ("notification[2].id", 6),
            ("notification[2].filter.prefix", 8),
            ("notification[2].filter.nothing", 7),
            ("nothing", 1),
        ] {
            assert_eq!(document.line(path), line, "{path}");
        }
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let error = Document::parse("f.toml", "a = 1\nb = \n").err().unwrap().to_string();
        assert!(error.starts_with("bad_config: f.toml:2: "), "{error}");
    }
}
