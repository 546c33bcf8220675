//! The file that the storage engine works on.

use redb::StorageBackend;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One file, shared by the engine and the one who watches over it.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: File,
    /// Whether the engine's syncs reach the disk.
    is_synced: bool,
    syncs: AtomicU64,
    has_failed: AtomicBool,
    is_written: AtomicBool,
    #[cfg(test)]
    faults: Arc<Faults>,
}

/// What a test has go wrong.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct Faults {
    /// Syncs fail.
    pub sync: AtomicBool,
    /// Writes fail.
    pub write: AtomicBool,
}

impl Disk {
    /// On a file; the engine's syncs are left out if they are not wanted.
    pub fn new(file: File, is_synced: bool) -> Disk {
        Disk(Arc::new(Inner {
            file,
            is_synced,
            syncs: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            is_written: AtomicBool::new(false),
            #[cfg(test)]
            faults: Arc::default(),
        }))
    }

    /// With what a test has go wrong.
    #[cfg(test)]
    pub fn with(self, faults: Arc<Faults>) -> Disk {
        Disk(Arc::new(Inner { faults, ..Arc::into_inner(self.0).unwrap() }))
    }

    /// Brings all that was written to the disk.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        if self.0.faults.sync.load(Ordering::Relaxed) {
            self.0.has_failed.store(true, Ordering::Relaxed);
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.0.syncs.fetch_add(1, Ordering::Relaxed);
        self.0.is_written.store(false, Ordering::Relaxed);
        self.0.file.sync_data().inspect_err(|_| self.0.has_failed.store(true, Ordering::Relaxed))
    }

    /// Whether something was written since the last sync.
    pub fn is_written(&self) -> bool {
        self.0.is_written.load(Ordering::Relaxed)
    }

    /// How often the disk was asked.
    pub fn syncs(&self) -> u64 {
        self.0.syncs.load(Ordering::Relaxed)
    }

    /// Whether a sync has failed: what the cache then shows as written may never reach the disk.
    pub fn has_failed(&self) -> bool {
        self.0.has_failed.load(Ordering::Relaxed)
    }

    /// How large the file is, in bytes.
    pub fn size(&self) -> u64 {
        self.0.file.metadata().map_or(0, |data| data.len())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.0.is_synced { self.sync() } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if self.0.faults.write.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.0.is_written.store(true, Ordering::Relaxed);
        self.0.file.write_all_at(data, offset)
    }
}
