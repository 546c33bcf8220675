//! The queue of one slot in the storage engine: what waits, what is dead, what is damaged.

use super::entry::{Entry, cost, decode, decode_dead, encode};
use super::failure::Failure;
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, Table, TableDefinition, WriteTransaction,
};
use std::collections::BTreeMap;

pub type Frames<'a> = TableDefinition<'a, u64, &'static [u8]>;

pub const ENTRIES: Frames<'_> = TableDefinition::new("entries");
pub const ATTEMPTS: TableDefinition<'_, u64, u32> = TableDefinition::new("attempts");
pub const DEAD: Frames<'_> = TableDefinition::new("dead");
pub const QUARANTINE: Frames<'_> = TableDefinition::new("quarantine");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// How much memory the engine may use to cache pages, in bytes.
const CACHE: usize = 8 << 20;
/// Each opening begins a new range of positions, this large: one that was given out is never given out again, even if the
/// newest commit is lost to a damaged page.
const RANGE: u64 = 1 << 40;
/// How many entries are rewritten or moved in one go.
pub const CHUNK: usize = 500;
pub const CHUNK_BYTES: usize = 8 << 20;

/// What is known of an entry without reading it.
#[derive(Clone, Copy)]
struct Known {
    accepted_ms: u64,
    cost: u64,
}

/// How many of something there are, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// What they count against the limit.
    pub bytes: u64,
}

/// A new entry, before it has a position.
pub struct Append {
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_ms: u64,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// An open queue. The one who has it is the only one who uses it.
pub struct Store {
    pub(super) database: Database,
    index: BTreeMap<u64, Known>,
    pub(super) entries: Tally,
    pub(super) dead: Tally,
    pub(super) quarantined: u64,
    /// The position that is given out next.
    pub(super) next: u64,
    /// Whether something was committed that the disk does not have yet.
    is_dirty: bool,
}

impl Store {
    /// Opens a queue or makes one, checks every page and every entry, and puts damaged entries into quarantine. What comes
    /// new has positions beyond those that this queue has ever had, and beyond `after`, those that its reader has seen.
    ///
    /// # Errors
    /// A [`Failure`]; `is_damage` if the file can't be used.
    pub fn open(backend: impl StorageBackend, after: u64) -> Result<Store, Failure> {
        Store::open_with(backend, true, after)
    }

    /// Opens a queue whose pages are known to be damaged, for what can be read of it nonetheless.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn open_unchecked(backend: impl StorageBackend) -> Result<Store, Failure> {
        Store::open_with(backend, false, 0)
    }

    fn open_with(backend: impl StorageBackend, is_checked: bool, after: u64) -> Result<Store, Failure> {
        let mut builder = Database::builder();
        let builder = builder.set_cache_size(CACHE).set_check_integrity_on_open(is_checked);
        let database = builder.create_with_backend(backend)?;
        let write = database.begin_write()?;
        let next = {
            let mut meta = write.open_table(META)?;
            let before = meta.get("opened")?.map_or(0, |number| number.value());
            let opened = before.max(after / RANGE).saturating_add(1);
            meta.insert("opened", opened)?;
            opened.saturating_mul(RANGE)
        };
        for table in [ENTRIES, DEAD, QUARANTINE] {
            write.open_table(table)?;
        }
        write.open_table(ATTEMPTS)?;
        write.commit()?;
        let (entries, dead) = (Tally::default(), Tally::default());
        let mut store =
            Store { database, index: BTreeMap::new(), entries, dead, quarantined: 0, next, is_dirty: false };
        store.scan()?;
        Ok(store)
    }

    fn scan(&mut self) -> Result<(), Failure> {
        let read = self.database.begin_read()?;
        let mut damaged = Vec::new();
        for row in read.open_table(ENTRIES)?.iter()? {
            let (position, frame) = row?;
            let position = position.value();
            match decode(position, 0, frame.value()) {
                Some(entry) => self.note(position, entry.accepted_ms, entry.bytes.len()),
                None => damaged.push((ENTRIES, position)),
            }
        }
        for row in read.open_table(DEAD)?.iter()? {
            let (position, frame) = row?;
            self.dead.add(cost(frame.value().len()));
            if decode_dead(position.value(), frame.value()).is_none() {
                damaged.push((DEAD, position.value()));
            }
        }
        self.quarantined = u64::try_from(read.open_table(QUARANTINE)?.iter()?.count()).unwrap_or_default();
        drop(read);
        self.quarantine(&damaged)
    }

    pub(super) fn note(&mut self, position: u64, accepted_ms: u64, size: usize) {
        let cost = cost(size);
        self.index.insert(position, Known { accepted_ms, cost });
        self.entries.add(cost);
    }

    pub(super) fn forget(&mut self, position: u64) {
        if let Some(known) = self.index.remove(&position) {
            self.entries.take(known.cost);
        }
    }

    /// Begins to write; what is not durable is on disk with the next commit that is.
    pub(super) fn write(&mut self, is_durable: bool) -> Result<WriteTransaction, Failure> {
        let mut write = self.database.begin_write()?;
        if !is_durable {
            write.set_durability(Durability::None)?;
        }
        self.is_dirty = !is_durable;
        Ok(write)
    }

    /// The position of the next entry.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// What waits, what is dead, and how many are in quarantine.
    pub fn tallies(&self) -> (Tally, Tally, u64) {
        (self.entries, self.dead, self.quarantined)
    }

    /// When the oldest entry was accepted, in milliseconds since 1970, as far as the head of the queue shows it.
    pub fn oldest_ms(&self) -> Option<u64> {
        self.index.first_key_value().map(|(_, known)| known.accepted_ms)
    }

    /// The entries that were accepted before a time, so many at most.
    pub(super) fn older(&self, before_ms: u64, limit: usize) -> Vec<u64> {
        let old = self.index.iter().filter(|(_, known)| known.accepted_ms < before_ms);
        old.map(|(position, _)| *position).take(limit).collect()
    }

    /// Commits new entries, in order, and the end of others. Says the position of the first new one; the others follow it
    /// one by one. Without new ones the disk is not waited for.
    ///
    /// # Errors
    /// A [`Failure`]; what was committed then is not known until the queue has been opened anew.
    pub fn commit(&mut self, appends: &[Append], done: &[u64]) -> Result<u64, Failure> {
        let first = self.next;
        let write = self.write(!appends.is_empty())?;
        {
            let mut entries = write.open_table(ENTRIES)?;
            for (position, append) in (first..).zip(appends) {
                entries.insert(position, encode(position, append.accepted_ms, false, &append.bytes).as_slice())?;
            }
            remove(&write, &mut entries, done.iter().filter(|position| self.index.contains_key(position)))?;
        }
        write.commit()?;
        for (position, append) in (first..).zip(appends) {
            self.note(position, append.accepted_ms, append.bytes.len());
            self.next = position.saturating_add(1);
        }
        done.iter().for_each(|position| self.forget(*position));
        Ok(first)
    }

    /// Counts a failed delivery of each. The disk is not waited for.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn count_attempts(&mut self, positions: &[u64]) -> Result<(), Failure> {
        let write = self.write(false)?;
        {
            let mut attempts = write.open_table(ATTEMPTS)?;
            for position in positions.iter().filter(|position| self.index.contains_key(position)) {
                let before = attempts.get(position)?.map_or(0, |number| number.value());
                attempts.insert(position, before.saturating_add(1))?;
            }
        }
        Ok(write.commit()?)
    }

    /// Changes a byte of an entry.
    #[cfg(test)]
    pub fn spoil(&mut self, position: u64) {
        let write = self.database.begin_write().unwrap();
        {
            let mut entries = write.open_table(ENTRIES).unwrap();
            let mut frame = entries.get(position).unwrap().unwrap().value().to_vec();
            *frame.last_mut().unwrap() ^= 1;
            entries.insert(position, frame.as_slice()).unwrap();
        }
        write.commit().unwrap();
    }

    /// Brings what was committed without waiting to the disk.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.is_dirty {
            self.write(true)?.commit()?;
        }
        Ok(())
    }

    /// The entries after a position, in order: so many at most, and of so many bytes, but one at least if there is one. One
    /// that turns out to be damaged goes into quarantine.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn read(&mut self, after: u64, max_entries: usize, max_bytes: usize) -> Result<Vec<Entry>, Failure> {
        let read = self.database.begin_read()?;
        let (frames, attempts) = (read.open_table(ENTRIES)?, read.open_table(ATTEMPTS)?);
        let (mut found, mut damaged, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
        for (position, _) in self.index.range(after.saturating_add(1)..) {
            if found.len() >= max_entries {
                break;
            }
            let tried = attempts.get(position)?.map_or(0, |number| number.value());
            match frames.get(position)?.and_then(|frame| decode(*position, tried, frame.value())) {
                Some(entry) => {
                    bytes = bytes.saturating_add(entry.bytes.len());
                    if bytes > max_bytes && !found.is_empty() {
                        break;
                    }
                    found.push(entry);
                }
                None => damaged.push((ENTRIES, *position)),
            }
        }
        drop((frames, attempts, read));
        self.quarantine(&damaged)?;
        Ok(found)
    }
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, bytes: u64) {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Counts one less.
    pub fn take(&mut self, bytes: u64) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Removes entries and what else is known of them.
pub fn remove<'p>(
    write: &WriteTransaction,
    entries: &mut Table<'_, u64, &'static [u8]>,
    positions: impl Iterator<Item = &'p u64>,
) -> Result<(), Failure> {
    let mut attempts = write.open_table(ATTEMPTS)?;
    for position in positions {
        entries.remove(position)?;
        attempts.remove(position)?;
    }
    Ok(())
}
