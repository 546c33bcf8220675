//! A stream that may be made: the table `ensure_stream`.

use super::Fields;
use crate::value::Value;

/// What a stream is made with, where it is not there. One that is there is never changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnsureStream {
    /// The subjects that it takes.
    pub subjects: Vec<String>,
    /// Whether it is kept in memory, and not in files.
    pub memory: bool,
    /// On how many servers of a cluster it is. Default 1.
    pub replicas: u64,
    /// How long it keeps a message, in seconds; 0, the default, is for ever.
    pub max_age: u64,
    /// How many bytes it keeps; 0, the default, is any number.
    pub max_bytes: u64,
    /// Whether it refuses what is new when `max_bytes` is reached, and does not drop what is old. Default true.
    pub discard_new: bool,
    /// How long it knows a message that comes a second time, in seconds. Default 120.
    pub duplicate_window: u64,
}

/// The kinds of storage by name: whether it is memory.
const STORAGE: [(&str, bool); 2] = [("file", false), ("memory", true)];

impl EnsureStream {
    /// Reads the table `ensure_stream`, if there is one.
    pub fn read(fields: &mut Fields<'_>) -> Option<EnsureStream> {
        let value = fields.value("ensure_stream")?;
        let mut inner = Fields::new(&fields.path("ensure_stream"), value);
        let stream = EnsureStream {
            subjects: subjects(&mut inner),
            memory: inner.choice("storage", &STORAGE),
            replicas: inner.integer("replicas", 1..=5, 1),
            max_age: inner.integer("max_age", 0..=3_153_600_000, 0),
            max_bytes: inner.integer("max_bytes", 0..=1 << 50, 0),
            discard_new: inner.choice("discard", &[("new", Discard(true)), ("old", Discard(false))]).0,
            duplicate_window: inner.integer("duplicate_window", 1..=31_536_000, 120),
        };
        fields.adopt(inner.finish());
        Some(stream)
    }
}

/// Whether what is new is refused.
#[derive(Clone, Copy)]
struct Discard(bool);

impl Default for Discard {
    fn default() -> Discard {
        Discard(true)
    }
}

fn subjects(fields: &mut Fields<'_>) -> Vec<String> {
    let texts: Vec<&Value> = match fields.value("subjects") {
        Some(value @ Value::Table(_)) => value.items().unwrap_or_default(),
        Some(value) => vec![value],
        None => Vec::new(),
    };
    let mut subjects = Vec::new();
    for text in texts {
        match text.text().filter(|text| !text.is_empty() && text.len() <= 1024 && !text.contains(char::is_whitespace)) {
            Some(text) => subjects.push(text.to_owned()),
            None => fields.wrong_type("subjects", "a list of subjects, such as s3.>", text),
        }
    }
    if subjects.is_empty() && !fields.has_problems() {
        fields.problem("subjects", "must list the subjects that the stream takes, such as s3.>");
    }
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entries: &[(&str, Value)]) -> (Option<EnsureStream>, String) {
        let inner = Value::Table(entries.iter().map(|(key, value)| ((*key).into(), value.clone())).collect());
        let table = Value::record([("ensure_stream", inner)]);
        let mut fields = Fields::new("", &table);
        let stream = EnsureStream::read(&mut fields);
        let texts: Vec<String> = fields.finish().into_iter().map(|problem| problem.text).collect();
        (stream, texts.join("; "))
    }

    #[test]
    fn a_stream_needs_subjects_and_has_defaults() {
        let (stream, problems) = read(&[("subjects", "s3.>".into())]);
        let stream = stream.unwrap();
        assert_eq!(problems, "");
        assert_eq!((stream.subjects, stream.memory, stream.replicas), (vec!["s3.>".to_owned()], false, 1));
        assert!(stream.discard_new && stream.duplicate_window == 120);
        assert!(read(&[]).1.contains("ensure_stream.subjects must list the subjects"));
        assert!(read(&[("subjects", "a b".into())]).1.contains("ensure_stream.subjects must be a list of subjects"));
        assert!(
            read(&[("subjects", "a".into()), ("storage", "tape".into())]).1.contains("must be one of file, memory")
        );
        assert!(!read(&[("subjects", "a".into()), ("discard", "old".into())]).0.unwrap().discard_new);
    }
}
