//! The configurations that scripts name: files, and tables, which are known again by what is in them.

use super::file::File;
use super::slot::{Slot, Use};
use crate::config::refuse;
use crate::error::{Code, Error};
use crate::event::{Configuration, Moment, Request};
use crate::log;
use crate::value::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many files can be in use at a time.
const MAX_FILES: usize = 16;
/// How many different tables are kept; of a further one the place of the one that was not used for longest is taken.
const MAX_TABLES: usize = 256;
/// How many bytes of them are.
const MAX_TABLES_BYTES: usize = 16 << 20;
/// How long a path may be, in bytes.
const MAX_PATH: usize = 4096;
/// How long a request waits for the reading of a table that is new, so that it hears of what is wrong with it.
const READING: Duration = Duration::from_millis(250);

/// A configuration that a script gave as a table.
pub struct Table {
    used: AtomicU64,
    slot: Slot,
}

impl Table {
    /// The configuration in force, for a request. Waits for a reading that is under way, a quarter of a second at most; the
    /// request is kept if that does not suffice.
    ///
    /// # Errors
    /// What is wrong with it; `queue_full` if too many requests wait for it.
    pub fn configuration(&self, request: impl FnOnce() -> Option<(Request, Moment)>) -> Result<Use, Error> {
        self.slot.wait(READING);
        self.slot.configuration("a table", request)
    }

    /// Reads it, and publishes the requests that have waited, if it is right. Can take milliseconds, and much of a stack.
    pub fn read(&self, table: &Value, publish: impl Fn(&[(Request, Moment)], &Configuration)) {
        let _unread = Unread(self);
        let (configuration, problems) = Configuration::read(table);
        self.fill(refuse(&problems).map(|()| configuration), publish);
    }

    /// Notes why it can't be read: nobody waits for it any more.
    pub fn fail(&self, error: Error) {
        self.fill(Err(error), |_, _| {});
    }

    fn fill(&self, read: Result<Configuration, Error>, publish: impl Fn(&[(Request, Moment)], &Configuration)) {
        let lost = self.slot.fill(read, publish);
        if lost > 0 {
            log::line(format_args!("{lost} requests are not notified of, for want of a table that can be read"));
        }
    }
}

/// Whatever ends the reading of a table, those who wait for it hear of that.
struct Unread<'t>(&'t Table);

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        if self.0.slot.current().is_none() && self.0.slot.error().is_none() {
            self.0.fail(Error::new(Code::Internal, "the reading of this table has broken off"));
        }
    }
}

/// All configurations in use.
pub struct Configurations {
    files: Mutex<HashMap<String, Arc<File>>>,
    tables: Mutex<HashMap<Vec<u8>, Arc<Table>>>,
    uses: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Configurations {
    /// None yet.
    pub fn new() -> Configurations {
        Configurations { files: Mutex::default(), tables: Mutex::default(), uses: AtomicU64::new(0) }
    }

    /// The file of a path, and whether it is a new one, so that someone must read it.
    ///
    /// # Errors
    /// `bad_argument` if this is no path; `bad_config` if too many are in use.
    pub fn file(&self, path: &str) -> Result<(Arc<File>, bool), Error> {
        let mut files = lock(&self.files);
        if let Some(file) = files.get(path) {
            return Ok((file.clone(), false));
        }
        if !path.starts_with('/') || path.len() > MAX_PATH || path.contains(char::is_control) {
            let text =
                "the configuration must be a table or the absolute path of a file, such as /etc/ceph/rgw_nats.toml";
            return Err(Error::new(Code::BadArgument, text));
        }
        if files.len() >= MAX_FILES {
            let text = format!("{MAX_FILES} files are in use as configurations; {path} would be one too many");
            return Err(Error::new(Code::BadConfig, text));
        }
        let file = Arc::new(File::new(path));
        files.insert(path.to_owned(), file.clone());
        Ok((file, true))
    }

    /// All files that scripts have named.
    pub fn files(&self) -> Vec<Arc<File>> {
        lock(&self.files).values().cloned().collect()
    }

    /// The configuration of a table, and whether it is a new one, so that someone must read it.
    ///
    /// # Errors
    /// `bad_argument`, if this is no table.
    pub fn table(&self, value: &Value) -> Result<(Arc<Table>, bool), Error> {
        if !matches!(value, Value::Table(_)) {
            let text = format!("the configuration must be a table or a path, got {}", value.kind());
            return Err(Error::new(Code::BadArgument, text));
        }
        let key = value.key();
        let mut tables = lock(&self.tables);
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(table) = tables.get(&key) {
            table.used.store(now, Ordering::Relaxed);
            return Ok((table.clone(), false));
        }
        let mut bytes = tables.keys().map(Vec::len).sum::<usize>().saturating_add(key.len());
        while tables.len() >= MAX_TABLES || (bytes > MAX_TABLES_BYTES && !tables.is_empty()) {
            let oldest = tables.iter().min_by_key(|(_, table)| table.used.load(Ordering::Relaxed));
            let oldest = oldest.map(|(key, _)| key.clone()).unwrap_or_default();
            bytes = bytes.saturating_sub(oldest.len());
            tables.remove(&oldest);
        }
        let table = Arc::new(Table { used: AtomicU64::new(now), slot: Slot::default() });
        tables.insert(key, table.clone());
        Ok((table, true))
    }

    /// Forgets a table: the next one like it is new.
    pub fn forget(&self, table: &Arc<Table>) {
        lock(&self.tables).retain(|_, known| !Arc::ptr_eq(known, table));
    }

    /// What the rules of the file of a path need: see [`Configuration::needs`]. All, if it was not read yet.
    pub fn needs(&self, path: &str) -> u32 {
        lock(&self.files).get(path).map_or(u32::MAX, |file| file.needs())
    }

    /// The keys of buckets' tags that the rules of the file of a path look at; none if it was not read yet.
    pub fn bucket_tag_keys(&self, path: &str) -> Arc<[Vec<u8>]> {
        let file = lock(&self.files).get(path).cloned();
        file.and_then(|file| file.current()).map(|configuration| configuration.bucket_tag_keys()).unwrap_or_default()
    }

    /// What `status()` shows of the files.
    pub fn status(&self) -> Value {
        let mut files = self.files();
        files.sort_by(|one, other| one.path().cmp(other.path()));
        Value::list(files.iter().map(|file| file.status()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(subject: &str) -> Value {
        Value::record([("url", "nats://h".into()), ("subject", subject.into())])
    }

    #[test]
    fn a_table_is_known_again_whatever_the_order_it_was_walked_in() {
        let configurations = Configurations::new();
        let (first, new) = configurations.table(&table("a")).unwrap();
        assert!(new);
        let Value::Table(mut entries) = table("a") else { panic!() };
        entries.reverse();
        let (again, new) = configurations.table(&Value::Table(entries)).unwrap();
        assert!(!new && Arc::ptr_eq(&first, &again));
        assert!(configurations.table(&table("b")).unwrap().1);
    }

    #[test]
    fn a_file_that_nobody_has_named_yet_may_ask_for_anything_whatever_others_ask_for() {
        let configurations = Configurations::new();
        let put = crate::event::Operation::of(b"put_obj", b"PUT").unwrap().bits();
        let (known, new) = configurations.file("/nowhere/at/all.toml").unwrap();
        assert!(new && !configurations.file("/nowhere/at/all.toml").unwrap().1);
        assert!(configurations.needs("/nowhere/at/all.toml") & put != 0, "it was not read yet");
        known.look(|_, _| {}, |_| {});
        assert!(configurations.needs("/nowhere/at/all.toml") & put == 0, "it is not there, and asks for nothing");
        assert!(configurations.needs("/another.toml") & put != 0);
    }

    #[test]
    fn a_table_that_could_not_be_read_is_read_the_next_time() {
        let configurations = Configurations::new();
        let (first, _) = configurations.table(&table("a")).unwrap();
        first.fail(Error::new(Code::NoResources, "no thread"));
        configurations.forget(&first);
        let error = first.configuration(|| None).err().unwrap();
        assert_eq!(error.code(), Code::NoResources, "who waits hears of it");
        let (again, new) = configurations.table(&table("a")).unwrap();
        assert!(new);
        again.read(&table("a"), |_, _| {});
        assert!(matches!(again.configuration(|| None), Ok(Use::Now(_))));
    }

    #[test]
    fn whatever_ends_a_reading_nobody_waits_for_it() {
        let configurations = Configurations::new();
        let (broken, _) = configurations.table(&table("a")).unwrap();
        drop(Unread(&broken));
        assert_eq!(broken.configuration(|| None).err().unwrap().code(), Code::Internal);
    }

    #[test]
    fn tables_are_bounded_and_the_one_that_was_not_used_for_longest_goes() {
        let configurations = Configurations::new();
        for n in 0..MAX_TABLES {
            configurations.table(&table(&n.to_string())).unwrap();
        }
        assert!(!configurations.table(&table("0")).unwrap().1);
        configurations.table(&table("one more")).unwrap();
        assert!(!configurations.table(&table("0")).unwrap().1);
        assert!(configurations.table(&table("1")).unwrap().1);
        assert_eq!(lock(&configurations.tables).len(), MAX_TABLES);
    }
}
