//! The numbered directories under the spool's: each has one user at a time, who holds a lock on a file in it.
//!
//! The lock is flock's: it belongs to the open file, so that another copy of this library in the same process does not get
//! it either, and it ends with the process, however that ends. A slot's directory stays for good; only its files go.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What the files of a slot look like; another number is left to whoever knows it.
const FORMAT: &str = "1\n";
/// How many slots there can be.
const MAX_SLOTS: u32 = 256;
const QUEUE: &str = "queue.redb";
const COPY: &str = "copy.redb";

/// Where a slot is: its directory, and the file system, by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
    device: u64,
}

/// A slot that is ours.
pub struct Slot {
    place: Place,
    lock: File,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Closing it is not enough while a forked child has a copy of the descriptor.
        let _ = self.lock.unlock();
    }
}

/// What becomes of an attempt to get a slot.
enum Claim {
    Ours(Slot),
    InUse,
    /// Its files are not of this format; why.
    Refused(String),
}

/// The slots of a directory that could be had.
pub struct Slots {
    /// Those that are ours now.
    pub ours: Vec<Slot>,
    /// Those that were left alone because their format is not known, each with the reason.
    pub refused: Vec<String>,
}

impl Slot {
    /// The first slot that no one uses; its directory is made if need be.
    ///
    /// # Errors
    /// What the operating system says; that all are in use.
    pub fn claim(directory: &Path) -> io::Result<(Slot, Vec<String>)> {
        if !directory.try_exists()? {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            // So that it is still there after a power failure. Those that are not ours were there before.
            directory.ancestors().skip(1).for_each(|ancestor| drop(sync_directory(ancestor)));
        }
        let mut refused = Vec::new();
        for number in 0..MAX_SLOTS {
            match claim(&path(directory, number))? {
                Claim::Ours(slot) => return Ok((slot, refused)),
                Claim::InUse => {}
                Claim::Refused(reason) => refused.push(reason),
            }
        }
        Err(io::Error::other(format!("all {MAX_SLOTS} slots in {} are in use", directory.display())))
    }

    /// The slot that was ours before: what is in memory has the positions of its queue, and these mean something else in
    /// another one. If somebody has it now, one that has no queue.
    ///
    /// # Errors
    /// What the operating system says; that all are in use; that another file system is there.
    pub fn claim_again(directory: &Path, place: &Place) -> io::Result<Slot> {
        // Where nothing is mounted any more, nobody finds again what is kept.
        if fs::metadata(directory)?.dev() != place.device {
            let shown = directory.display();
            return Err(io::Error::other(format!(
                "{shown} is on another file system than before; the gateway goes on with \
                                                 it when it is mounted again, or with this one after a restart"
            )));
        }
        let refused = match claim(&place.path)? {
            Claim::Ours(slot) => return Ok(slot),
            Claim::Refused(reason) => Err(io::Error::other(reason)),
            Claim::InUse => Ok(()),
        };
        refused?;
        for number in 0..MAX_SLOTS {
            let path = path(directory, number);
            if !path.join(QUEUE).try_exists()?
                && let Claim::Ours(slot) = claim(&path)?
                && !path.join(QUEUE).try_exists()?
            {
                return Ok(slot);
            }
        }
        Err(io::Error::other(format!("all {MAX_SLOTS} slots in {} are in use", directory.display())))
    }

    /// The slots that no one uses and that have a queue in them.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn orphans(directory: &Path) -> io::Result<Slots> {
        let mut slots = Slots { ours: Vec::new(), refused: Vec::new() };
        for number in 0..MAX_SLOTS {
            if !path(directory, number).join(QUEUE).try_exists()? {
                continue;
            }
            match claim(&path(directory, number))? {
                Claim::Ours(slot) => slots.ours.push(slot),
                Claim::InUse => {}
                Claim::Refused(reason) => slots.refused.push(reason),
            }
        }
        Ok(slots)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The descriptor that holds the lock.
    pub fn descriptor(&self) -> RawFd {
        self.lock.as_raw_fd()
    }

    /// The file of the queue, made if there is none.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open_queue(&self) -> io::Result<File> {
        let file = private().truncate(false).open(self.path().join(QUEUE))?;
        sync_directory(self.path())?;
        Ok(file)
    }

    /// Takes the file of the queue away, once nothing is in it.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn remove_queue(&self) -> io::Result<()> {
        fs::remove_file(self.path().join(QUEUE))?;
        sync_directory(self.path())
    }

    /// Puts a damaged file of the queue aside, for someone to look at; where it is now.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_aside(&self, now_ms: u64) -> io::Result<PathBuf> {
        let mut aside = self.path().join(format!("{QUEUE}.damaged-{now_ms}"));
        while aside.try_exists()? {
            aside.as_mut_os_string().push("-1");
        }
        fs::rename(self.path().join(QUEUE), &aside)?;
        sync_directory(self.path())?;
        Ok(aside)
    }

    /// A copy of a damaged file, to be worked on.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn copy_aside(&self, aside: &Path) -> io::Result<File> {
        let mut copy = private().truncate(true).open(self.path().join(COPY))?;
        io::copy(&mut File::open(aside)?, &mut copy)?;
        Ok(copy)
    }

    /// Takes that copy away.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn remove_copy(&self) -> io::Result<()> {
        fs::remove_file(self.path().join(COPY))
    }

    /// How many damaged files were put aside in all slots.
    pub fn damaged(directory: &Path) -> u64 {
        let prefix = format!("{QUEUE}.damaged-");
        let names = |path| fs::read_dir(path).into_iter().flatten().flatten();
        let slots = names(directory.to_owned()).filter(|slot| slot.file_name().to_string_lossy().starts_with("slot-"));
        let files = slots.flat_map(|slot| names(slot.path()));
        let count = files.filter(|file| file.file_name().to_string_lossy().starts_with(&prefix)).count();
        u64::try_from(count).unwrap_or_default()
    }
}

fn path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("slot-{number}"))
}

/// A file that its owner alone can read and write.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn claim(path: &Path) -> io::Result<Claim> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // What is not ours to understand is not touched, not even by a lock.
    if let Some(reason) = refusal(path)? {
        return Ok(Claim::Refused(reason));
    }
    let lock = private().truncate(false).open(path.join("LOCK"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Claim::InUse),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Its last user may have been of another version.
    if let Some(reason) = refusal(path)? {
        return Ok(Claim::Refused(reason));
    }
    if !path.join("FORMAT").try_exists()? {
        let new = path.join("FORMAT.new");
        let mut file = private().truncate(true).open(&new)?;
        file.write_all(FORMAT.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path.join("FORMAT"))?;
        sync_directory(path)?;
    }
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    let place = Place { path: path.to_owned(), device: fs::metadata(path)?.dev() };
    Ok(Claim::Ours(Slot { place, lock }))
}

/// Why a slot is left alone, if it is.
fn refusal(path: &Path) -> io::Result<Option<String>> {
    let shown = path.display();
    match fs::read(path.join("FORMAT")) {
        Ok(text) if text == FORMAT.as_bytes() => Ok(None),
        Ok(text) => {
            let text: String = String::from_utf8_lossy(&text).trim().chars().take(20).collect();
            Ok(Some(format!("{shown} has the format {text}, which this version does not know; it is left alone")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound && path.join(QUEUE).try_exists()? => {
            Ok(Some(format!("{shown} has a queue but no file FORMAT; it is left alone")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
