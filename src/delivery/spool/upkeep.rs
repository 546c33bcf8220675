//! What a queue needs besides its daily work: quarantine, a fresh start after a failed sync, moving house, less room.

use super::dead::dead_cost;
use super::entry::{DeadLetter, Entry, cost, encode, encode_dead};
use super::failure::Failure;
use super::store::{ATTEMPTS, CHUNK, CHUNK_BYTES, DEAD, ENTRIES, Frames, QUARANTINE, Store};
use redb::{ReadableDatabase, ReadableTable, TableHandle};

/// A part of a queue on its way into another one.
#[derive(Default)]
pub struct Load {
    entries: Vec<Entry>,
    dead: Vec<DeadLetter>,
    quarantined: Vec<(u64, Vec<u8>)>,
}

impl Load {
    /// How many things there are.
    pub fn len(&self) -> usize {
        self.entries.len() + self.dead.len() + self.quarantined.len()
    }

    /// Whether there are entries to deliver.
    pub fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }
}

impl Store {
    /// Puts rows that are damaged where nobody reads them, as they are, each under its position.
    pub(super) fn quarantine(&mut self, damaged: &[(Frames<'_>, u64)]) -> Result<(), Failure> {
        if damaged.is_empty() {
            return Ok(());
        }
        let write = self.write(true)?;
        let mut moved = Vec::new();
        {
            let mut quarantine = write.open_table(QUARANTINE)?;
            for (from, position) in damaged {
                let mut table = write.open_table(*from)?;
                let frame = table.remove(position)?.map(|frame| frame.value().to_vec());
                // Two damaged rows can have one position, if an entry of it waits and another is dead.
                let mut place = *position;
                while quarantine.get(place)?.is_some() {
                    place = place.saturating_add(1);
                }
                if let Some(frame) = frame {
                    quarantine.insert(place, frame.as_slice())?;
                    moved.push((from.name() == DEAD.name(), *position, frame.len()));
                }
            }
        }
        write.commit()?;
        for (was_dead, position, size) in moved {
            self.quarantined = self.quarantined.saturating_add(1);
            if was_dead { self.dead.take(cost(size)) } else { self.forget(position) }
        }
        Ok(())
    }

    /// Writes everything anew: after a failed sync nobody knows whether what the cache shows is on the disk.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn rewrite(&mut self) -> Result<(), Failure> {
        for table in [ENTRIES, DEAD, QUARANTINE] {
            let mut after = 0;
            loop {
                let read = self.database.begin_read()?;
                let mut rows: Vec<(u64, Vec<u8>)> = Vec::new();
                let mut bytes = 0_usize;
                for row in read.open_table(table)?.range(after..)? {
                    let (position, frame) = row?;
                    bytes = bytes.saturating_add(frame.value().len());
                    rows.push((position.value(), frame.value().to_vec()));
                    if rows.len() >= CHUNK || bytes >= CHUNK_BYTES {
                        break;
                    }
                }
                drop(read);
                let Some((last, _)) = rows.last() else { break };
                after = last.saturating_add(1);
                let write = self.write(true)?;
                {
                    let mut open = write.open_table(table)?;
                    for (position, frame) in &rows {
                        open.insert(position, frame.as_slice())?;
                    }
                }
                write.commit()?;
            }
        }
        Ok(())
    }

    /// A part of this queue, to be put into another one.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn unload(&mut self) -> Result<Load, Failure> {
        let (entries, dead) = (self.read(0, CHUNK, CHUNK_BYTES)?, self.dead(0, CHUNK, CHUNK_BYTES)?);
        let read = self.database.begin_read()?;
        let mut quarantined = Vec::new();
        for row in read.open_table(QUARANTINE)?.iter()?.take(CHUNK) {
            let (position, frame) = row?;
            quarantined.push((position.value(), frame.value().to_vec()));
        }
        Ok(Load { entries, dead, quarantined })
    }

    /// Takes in a part of another queue, at the end of this one.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn load(&mut self, load: &Load) -> Result<(), Failure> {
        let first = self.next;
        let write = self.write(true)?;
        let mut next = first;
        let mut letters = Vec::new();
        {
            let (mut entries, mut attempts) = (write.open_table(ENTRIES)?, write.open_table(ATTEMPTS)?);
            for entry in &load.entries {
                let frame = encode(next, entry.accepted_ms, entry.is_replay, &entry.bytes);
                entries.insert(next, frame.as_slice())?;
                if entry.attempts > 0 {
                    attempts.insert(next, entry.attempts)?;
                }
                next = next.saturating_add(1);
            }
            let mut dead = write.open_table(DEAD)?;
            for letter in &load.dead {
                let mut letter = letter.clone();
                letter.entry.position = next;
                dead.insert(next, encode_dead(&letter).as_slice())?;
                letters.push(dead_cost(&letter));
                next = next.saturating_add(1);
            }
            let mut quarantine = write.open_table(QUARANTINE)?;
            for (_, frame) in &load.quarantined {
                quarantine.insert(next, frame.as_slice())?;
                next = next.saturating_add(1);
            }
        }
        write.commit()?;
        self.next = next;
        for (position, entry) in (first..).zip(&load.entries) {
            self.note(position, entry.accepted_ms, entry.bytes.len());
        }
        letters.into_iter().for_each(|bytes| self.dead.add(bytes));
        self.quarantined = self.quarantined.saturating_add(u64::try_from(load.quarantined.len()).unwrap_or_default());
        Ok(())
    }

    /// Removes a part that another queue has taken in.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn unloaded(&mut self, load: &Load) -> Result<(), Failure> {
        let write = self.write(true)?;
        {
            let (mut entries, mut attempts) = (write.open_table(ENTRIES)?, write.open_table(ATTEMPTS)?);
            for entry in &load.entries {
                entries.remove(entry.position)?;
                attempts.remove(entry.position)?;
            }
            let mut dead = write.open_table(DEAD)?;
            for letter in &load.dead {
                dead.remove(letter.entry.position)?;
            }
            let mut quarantine = write.open_table(QUARANTINE)?;
            for (position, _) in &load.quarantined {
                quarantine.remove(position)?;
            }
        }
        write.commit()?;
        load.entries.iter().for_each(|entry| self.forget(entry.position));
        load.dead.iter().for_each(|letter| self.dead.take(dead_cost(letter)));
        let quarantined = u64::try_from(load.quarantined.len()).unwrap_or_default();
        self.quarantined = self.quarantined.saturating_sub(quarantined);
        Ok(())
    }

    /// Gives room back to the file system.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn compact(&mut self) -> Result<(), Failure> {
        self.database.compact()?;
        Ok(())
    }
}
