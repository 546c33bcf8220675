//! A configuration file: read on another thread than the requests', and again when it changes.

use super::slot::{Slot, Use};
use crate::config::{Document, Endpoint};
use crate::error::{Code, Error, with_remedy};
use crate::event::{Configuration, Moment, Request};
use crate::log;
use crate::value::Value;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How large a file may be, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// How often a file is looked at.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What tells one version of a file from another: when it was changed, its size and its place on the disk.
type Stamp = (i64, i64, u64, u64);

fn stamp_of(data: &fs::Metadata) -> Stamp {
    (data.mtime(), data.mtime_nsec(), data.size(), data.ino())
}

/// Whether a file is in a Secret or a ConfigMap of Kubernetes. Only its pod sees it, and can't change its mode.
fn is_of_kubernetes(path: &str) -> bool {
    fs::read_link(path).is_ok_and(|target| target.starts_with("..data"))
}

/// A configuration file that a script has named.
pub struct File {
    path: String,
    /// Whether someone is looking, who may hang on the disk.
    looking: AtomicBool,
    stamp: Mutex<Option<Stamp>>,
    /// The files that the login and TLS of its endpoint are in.
    secrets: Mutex<Vec<Option<Stamp>>>,
    slot: Slot,
}

/// That someone looks at a file, or is about to; ends however that ends.
pub struct Looking(Arc<File>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.looking.store(false, Ordering::Release);
    }
}

impl Looking {
    /// As [`File::look`].
    pub fn look(self, publish: impl Fn(&[(Request, Moment)], &Configuration), renewed: impl FnOnce(&Endpoint)) {
        self.0.look(publish, renewed);
    }
}

impl File {
    /// The file of a path, not read yet.
    pub fn new(path: &str) -> File {
        File {
            path: path.to_owned(),
            looking: AtomicBool::new(false),
            stamp: Mutex::default(),
            secrets: Mutex::default(),
            slot: Slot::default(),
        }
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The configuration in force, for a request; the request is kept if there is none yet.
    ///
    /// # Errors
    /// What is wrong with the file, if it never was right; `queue_full` if too many requests wait for it.
    pub fn configuration(&self, request: impl FnOnce() -> Option<(Request, Moment)>) -> Result<Use, Error> {
        self.slot.configuration(&self.path, request)
    }

    /// Waits until it has been read once, a second at most.
    pub fn wait(&self) {
        self.slot.wait(LOOK_AGAIN);
    }

    /// What to look at the file with, if nobody looks at it.
    pub fn free(self: &Arc<File>) -> Option<Looking> {
        (!self.looking.swap(true, Ordering::AcqRel)).then(|| Looking(self.clone()))
    }

    /// The configuration in force, if any.
    pub fn current(&self) -> Option<Arc<Configuration>> {
        self.slot.current()
    }

    /// What its rules need: see [`Configuration::needs`]. All as long as nobody knows.
    pub fn needs(&self) -> u32 {
        match (self.slot.current(), self.slot.error()) {
            (Some(configuration), _) => configuration.needs(),
            (None, Some(_)) => 0,
            (None, None) => u32::MAX,
        }
    }

    /// Reads the file if it has changed, and publishes the requests that waited for it, if it is right. Calls `renewed` if the
    /// files have changed that its endpoint's login and TLS are in. Blocks on the disk.
    pub fn look(&self, publish: impl Fn(&[(Request, Moment)], &Configuration), renewed: impl FnOnce(&Endpoint)) {
        self.look_at_itself(publish);
        let Some(configuration) = self.slot.current() else { return };
        let files = configuration.endpoint.files();
        let found: Vec<Option<Stamp>> = files.map(|path| Some(stamp_of(&fs::metadata(path).ok()?))).collect();
        let mut known = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != found {
            *known = found;
            renewed(&configuration.endpoint);
        }
    }

    fn look_at_itself(&self, publish: impl Fn(&[(Request, Moment)], &Configuration)) {
        let before = self.slot.error();
        let first = self.slot.current().is_none() && before.is_none();
        let read = match self.read() {
            Ok(None) => return,
            Ok(Some(configuration)) => {
                if !first {
                    log::line(format_args!("took up the changed {}", self.path));
                }
                Ok(configuration)
            }
            Err(error) => {
                if before.as_ref() != Some(&error) {
                    let kept = if self.slot.current().is_some() { "; the one before stays in force" } else { "" };
                    log::line(format_args!("{error}{kept}"));
                }
                Err(error)
            }
        };
        let lost = self.slot.fill(read, publish);
        if lost > 0 {
            log::line(format_args!("{lost} requests are not notified of, for want of {}", self.path));
        }
    }

    /// The file's configuration, if it has changed since the last reading.
    fn read(&self) -> Result<Option<Configuration>, Error> {
        let mut stamp = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        // A file that can't be read is tried again as long as that lasts.
        let known = stamp.take();
        let failed =
            |error: std::io::Error| Error::new(Code::BadConfig, format!("{}: {}", self.path, with_remedy(&error)));
        // Without O_NONBLOCK a pipe under this name would be waited for.
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path).map_err(failed)?;
        let data = file.metadata().map_err(failed)?;
        let found = stamp_of(&data);
        if known == Some(found) {
            *stamp = known;
            return Ok(None);
        }
        if !data.is_file() || data.size() > MAX_FILE {
            let text = format!("{} is no file of at most {MAX_FILE} bytes", self.path);
            return Err(Error::new(Code::BadConfig, text));
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
        *stamp = Some(found);
        let document = Document::parse(&self.path, &text)?;
        let (configuration, problems) = Configuration::read(document.table());
        document.refuse(&problems)?;
        if configuration.endpoint.has_secret() && data.mode() & 0o044 != 0 && !is_of_kubernetes(&self.path) {
            log::line(format_args!("{} has a secret in it and others can read it; chmod 600 mends that", self.path));
        }
        Ok(Some(configuration))
    }

    /// What `status()` shows of it.
    pub fn status(&self) -> Value {
        let rules = self.slot.current().map_or(0, |configuration| configuration.rules.len());
        Value::record([
            ("path", self.path.as_str().into()),
            ("notifications", u64::try_from(rules).unwrap_or_default().into()),
            ("last_error", self.slot.error().as_ref().map(Error::to_string).unwrap_or_default().into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_secret_is_told_once_and_the_first_look_is_one() {
        let place = std::env::temp_dir().join(format!("rgw_nats-file-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let (path, token) = (place.join("file.toml"), place.join("token"));
        let text = format!("url = \"nats://h\"\ntls = {{}}\nauth = {{ token_file = \"{}\" }}", token.display());
        fs::write(&path, text).unwrap();
        let file = File::new(path.to_str().unwrap());
        let told = |file: &File| {
            let mut times = 0;
            file.look(|_, _| {}, |_| times += 1);
            times
        };
        assert_eq!((told(&file), file.slot.error(), told(&file)), (1, None, 0), "it is not there yet");
        for secret in ["one", "another"] {
            fs::write(&token, secret).unwrap();
            assert_eq!((told(&file), told(&file)), (1, 0));
        }
        fs::write(&path, "url = 1").unwrap();
        fs::remove_file(&token).unwrap();
        assert_eq!(told(&file), 1, "by the configuration that is in force");
        fs::remove_dir_all(&place).unwrap();
    }
}
