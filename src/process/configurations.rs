//! The configurations that scripts name: files, read on our thread and again when they change, and tables.

use crate::config::{Document, Problem, refuse};
use crate::error::{Code, Error};
use crate::event::{Configuration, Moment, Request};
use crate::log;
use crate::value::Value;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How many files can be in use at a time.
const MAX_FILES: usize = 16;
/// How large a file may be, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// How long a path may be, in bytes.
const MAX_PATH: usize = 4096;
/// How many requests can wait for the first reading of a file, which takes some milliseconds.
const MAX_WAITING: usize = 1000;
/// How often a file is looked at, in milliseconds.
const LOOK_AGAIN_MS: u64 = 1000;

/// What tells one version of a file from another: when it was changed, its size and its place on the disk.
type Stamp = (i64, i64, u64, u64);

#[derive(Default)]
struct State {
    current: Option<Arc<Configuration>>,
    error: Option<Error>,
    stamp: Option<Stamp>,
    read: bool,
    waiting: Vec<(Request, Moment)>,
}

/// A configuration file that a script has named.
pub struct File {
    path: String,
    looked: AtomicU64,
    state: Mutex<State>,
}

/// What to do with a request.
pub enum Use {
    /// Publish it by this configuration.
    Now(Arc<Configuration>),
    /// Nothing: it is kept until the file has been read.
    Later,
}

impl File {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration in force, for a request; the request is kept if there is none yet.
    ///
    /// # Errors
    /// What is wrong with the file, if it never was right; `queue_full` if too many requests wait for it.
    pub fn configuration(&self, request: impl FnOnce() -> (Request, Moment)) -> Result<Use, Error> {
        let mut state = self.state();
        if let Some(configuration) = &state.current {
            return Ok(Use::Now(configuration.clone()));
        }
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        if state.waiting.len() >= MAX_WAITING {
            return Err(Error::new(
                Code::QueueFull,
                format!("{MAX_WAITING} requests wait for {} to be read", self.path),
            ));
        }
        state.waiting.push(request());
        Ok(Use::Later)
    }

    /// Whether it is time to look at the file again; says so once.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let looked = self.looked.load(Ordering::Relaxed);
        now_ms.saturating_sub(looked) >= LOOK_AGAIN_MS
            && self.looked.compare_exchange(looked, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Reads the file if it has changed, and tells of what it then holds; returns the requests that waited for it, if it is
    /// right. Blocks on the disk.
    pub fn look(&self, changed: impl FnOnce(&Configuration)) -> Vec<(Request, Moment)> {
        let read = self.read();
        let mut state = self.state();
        match read {
            Ok(None) => return Vec::new(),
            Ok(Some((stamp, configuration))) => {
                if state.read {
                    log::line(format_args!("took up the changed {}", self.path));
                }
                changed(&configuration);
                state.stamp = Some(stamp);
                state.current = Some(Arc::new(configuration));
                state.error = None;
            }
            Err((stamp, error)) => {
                state.stamp = stamp.or(state.stamp);
                if state.error.as_ref() != Some(&error) {
                    let kept = if state.current.is_some() { "; the one before stays in force" } else { "" };
                    log::line(format_args!("{error}{kept}"));
                }
                state.error = Some(error);
            }
        }
        state.read = true;
        let waiting = std::mem::take(&mut state.waiting);
        if state.current.is_none() && !waiting.is_empty() {
            log::line(format_args!("{} requests are not notified of, for want of {}", waiting.len(), self.path));
            return Vec::new();
        }
        waiting
    }

    /// The file's configuration, if it has changed since the last reading.
    #[allow(clippy::type_complexity)]
    fn read(&self) -> Result<Option<(Stamp, Configuration)>, (Option<Stamp>, Error)> {
        let failed = |error: std::io::Error| (None, Error::new(Code::BadConfig, format!("{}: {error}", self.path)));
        let file = fs::File::open(&self.path).map_err(failed)?;
        let data = file.metadata().map_err(failed)?;
        let stamp = (data.mtime(), data.mtime_nsec(), data.size(), data.ino());
        if self.state().stamp == Some(stamp) {
            return Ok(None);
        }
        let refused = |text: String| (Some(stamp), Error::new(Code::BadConfig, text));
        if !data.is_file() || data.size() > MAX_FILE {
            return Err(refused(format!("{} is no file of at most {MAX_FILE} bytes", self.path)));
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
        let document = Document::parse(&self.path, &text).map_err(|error| (Some(stamp), error))?;
        let (configuration, problems) = Configuration::read(document.table());
        document.refuse(&problems).map_err(|error| (Some(stamp), error))?;
        if configuration.endpoint.has_secret() && data.mode() & 0o044 != 0 {
            log::line(format_args!("{} has a secret in it and others can read it; chmod 600 mends that", self.path));
        }
        Ok(Some((stamp, configuration)))
    }

    /// What `status()` shows of it.
    fn status(&self) -> Value {
        let state = self.state();
        let rules = state.current.as_ref().map_or(0, |configuration| configuration.rules.len());
        Value::record([
            ("path", self.path.as_str().into()),
            ("notifications", u64::try_from(rules).unwrap_or_default().into()),
            ("last_error", state.error.as_ref().map(Error::to_string).unwrap_or_default().into()),
        ])
    }
}

/// All files in use.
#[derive(Default)]
pub struct Configurations {
    files: Mutex<HashMap<String, Arc<File>>>,
    since: Option<Instant>,
}

impl Configurations {
    /// None yet.
    pub fn new() -> Configurations {
        Configurations { files: Mutex::default(), since: Some(Instant::now()) }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<String, Arc<File>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since this was made, from a start that makes a new file due at once.
    pub fn now_ms(&self) -> u64 {
        let elapsed = self.since.map(|since| since.elapsed().as_millis()).unwrap_or_default();
        u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_add(LOOK_AGAIN_MS)
    }

    /// The file of a path.
    ///
    /// # Errors
    /// `bad_argument` if this is no path; `bad_config` if too many are in use.
    pub fn file(&self, path: &str) -> Result<Arc<File>, Error> {
        let mut files = self.files();
        if let Some(file) = files.get(path) {
            return Ok(file.clone());
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
        let file = Arc::new(File { path: path.to_owned(), looked: AtomicU64::new(0), state: Mutex::default() });
        files.insert(path.to_owned(), file.clone());
        Ok(file)
    }

    /// What `status()` shows of all.
    pub fn status(&self) -> Value {
        let mut files: Vec<Arc<File>> = self.files().values().cloned().collect();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Value::list(files.iter().map(|file| file.status()))
    }
}

/// The configuration that a script gave as a table.
///
/// # Errors
/// `bad_argument` if it is none, `bad_config` with everything that is wrong.
pub fn from_table(table: &Value) -> Result<Configuration, Error> {
    if !matches!(table, Value::Table(_)) {
        let text = format!("the configuration must be a table or a path, got {}", table.kind());
        return Err(Error::new(Code::BadArgument, text));
    }
    let (configuration, problems): (Configuration, Vec<Problem>) = Configuration::read(table);
    refuse(&problems)?;
    Ok(configuration)
}
