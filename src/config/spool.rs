//! Where and how messages are kept on disk: the table `spool`.

use super::Fields;

/// What the table `spool` says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spool {
    /// The directory that the numbered slots are in; several gateways may share it.
    pub directory: String,
    /// What must have happened before a message counts as accepted.
    pub sync: SyncRule,
    /// How many bytes may be kept, the dead letters among them.
    pub max_bytes: u64,
    /// How many messages may wait.
    pub max_messages: u64,
    /// How long a message may wait before it becomes a dead letter; 0 for ever.
    pub max_age_ms: u64,
    /// How long a request waits for its message to be on disk.
    pub commit_timeout_ms: u64,
}

/// What must have happened before a message counts as accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncRule {
    /// It is on the disk; the disk is asked as soon as there is anything.
    Always,
    /// It is on the disk; what comes within so many milliseconds shares one round to the disk: 0 is as long as a round takes.
    Group(u64),
    /// The operating system has it: it outlives the process, not the machine.
    None,
}

#[derive(Clone, Copy, Default)]
enum Kind {
    Always,
    #[default]
    Group,
    None,
}

impl Spool {
    /// Reads the table `spool`, if there is one.
    pub fn read(fields: &mut Fields<'_>) -> Option<Spool> {
        let value = fields.value("spool")?;
        let mut inner = Fields::new(&fields.path("spool"), value);
        let spool = Spool::read_table(&mut inner);
        fields.adopt(inner.finish());
        Some(spool)
    }

    fn read_table(fields: &mut Fields<'_>) -> Spool {
        let directory = fields.text("directory", 4000).map(str::to_owned);
        if !directory.as_ref().is_some_and(|path| path.starts_with('/')) && !fields.has_problems() {
            fields.problem("directory", "must be the absolute path of a directory");
        }
        let kind = fields.choice("sync", &[("group", Kind::Group), ("always", Kind::Always), ("none", Kind::None)]);
        let has_group = fields.value("group_ms").is_some();
        let group_ms = fields.integer("group_ms", 0..=1000, 0);
        let sync = match kind {
            Kind::Always => SyncRule::Always,
            Kind::Group => SyncRule::Group(group_ms),
            Kind::None => SyncRule::None,
        };
        if has_group && !matches!(sync, SyncRule::Group(_)) {
            fields.problem("group_ms", "has an effect with sync = \"group\" alone");
        }
        Spool {
            directory: directory.unwrap_or_default(),
            sync,
            max_bytes: fields.integer("max_bytes", 1 << 20..=1 << 40, 1 << 30),
            max_messages: fields.integer("max_messages", 1..=10_000_000, 1_000_000),
            max_age_ms: fields.integer("max_age_ms", 0..=10 * 365 * 24 * 3_600_000, 0),
            commit_timeout_ms: fields.integer("commit_timeout_ms", 1..=60_000, 1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn read(entries: &[(&str, Value)]) -> Result<Spool, String> {
        let table = Value::Table(entries.iter().map(|(key, value)| ((*key).into(), value.clone())).collect());
        let value = Value::record([("spool", table)]);
        let mut fields = Fields::new("", &value);
        let spool = Spool::read(&mut fields).unwrap();
        let problems: Vec<String> = fields.finish().into_iter().map(|problem| problem.text).collect();
        if problems.is_empty() { Ok(spool) } else { Err(problems.join("; ")) }
    }

    #[test]
    fn only_the_directory_is_a_must() {
        let spool = read(&[("directory", "/var/spool".into())]).unwrap();
        assert_eq!((spool.sync, spool.max_bytes, spool.max_age_ms), (SyncRule::Group(0), 1 << 30, 0));
        assert_eq!((spool.max_messages, spool.commit_timeout_ms), (1_000_000, 1000));
        let other = [("directory", "/s".into()), ("sync", "always".into()), ("max_bytes", Value::Integer(1 << 20))];
        assert_eq!(read(&other).unwrap().sync, SyncRule::Always);
        let other = [("directory", "/s".into()), ("group_ms", Value::Integer(20))];
        assert_eq!(read(&other).unwrap().sync, SyncRule::Group(20));
        assert_eq!(read(&[("directory", "/s".into()), ("sync", "none".into())]).unwrap().sync, SyncRule::None);
        assert_eq!(Spool::read(&mut Fields::new("", &Value::Nil)), None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_path() {
        for (entries, part) in [
            (&[][..], "spool.directory must be the absolute path"),
            (&[("directory", Value::from("spool"))][..], "spool.directory must be the absolute path"),
            (&[("directory", Value::Integer(1))][..], "spool.directory must be a string, got number"),
            (
                &[("directory", "/s".into()), ("sync", "often".into())][..],
                "spool.sync must be one of group, always, none",
            ),
            (
                &[("directory", "/s".into()), ("group_ms", Value::Integer(-1))][..],
                "spool.group_ms must be a whole number",
            ),
            (
                &[("directory", "/s".into()), ("sync", "none".into()), ("group_ms", Value::Integer(5))][..],
                "spool.group_ms has an effect with sync = \"group\" alone",
            ),
            (&[("directory", "/s".into()), ("max_bytes", Value::Integer(5))][..], "spool.max_bytes must be"),
            (&[("directory", "/s".into()), ("max_size", Value::Integer(5))][..], "unknown key max_size"),
        ] {
            let error = read(entries).unwrap_err();
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
}
