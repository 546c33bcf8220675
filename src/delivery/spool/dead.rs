//! The dead letters of a queue: entries that will not be delivered, unless someone replays them.

use super::entry::{DeadLetter, Entry, cost, decode_dead, encode, encode_dead};
use super::failure::Failure;
use super::store::{CHUNK, DEAD, ENTRIES, Store, Tally, remove};
use redb::{ReadableDatabase, ReadableTable};
use std::collections::BTreeSet;

/// Which dead letters are meant.
#[derive(Clone, Debug)]
pub enum Which {
    /// All.
    All,
    /// These.
    These(Vec<u64>),
    /// Those that died before this time, in milliseconds since 1970.
    Before(u64),
}

/// What a dead letter counts against the limit.
pub fn dead_cost(letter: &DeadLetter) -> u64 {
    cost(encode_dead(letter).len())
}

impl Store {
    /// Moves entries to the dead letters, each with its reason.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn bury(&mut self, positions: &[u64], reason: &str, now_ms: u64) -> Result<u64, Failure> {
        Ok(u64::try_from(self.put_away(positions, reason, now_ms)?.len()).unwrap_or_default())
    }

    fn put_away(&mut self, positions: &[u64], reason: &str, now_ms: u64) -> Result<Vec<DeadLetter>, Failure> {
        let mut letters = Vec::new();
        for position in &BTreeSet::from_iter(positions) {
            let entry = self.read(position.saturating_sub(1), 1, 0)?.pop();
            letters.extend(entry.filter(|entry| entry.position == **position).map(|entry| DeadLetter {
                entry,
                died_ms: now_ms,
                reason: reason.to_owned(),
            }));
        }
        let write = self.write(true)?;
        {
            let (mut entries, mut dead) = (write.open_table(ENTRIES)?, write.open_table(DEAD)?);
            for letter in &letters {
                dead.insert(letter.entry.position, encode_dead(letter).as_slice())?;
            }
            remove(&write, &mut entries, letters.iter().map(|letter| &letter.entry.position))?;
        }
        write.commit()?;
        for letter in &letters {
            self.forget(letter.entry.position);
            self.dead.add(dead_cost(letter));
        }
        Ok(letters)
    }

    /// Moves what was accepted before a time to the dead letters, a part of it at a time; which entries.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn expire(&mut self, before_ms: u64, now_ms: u64) -> Result<Vec<Entry>, Failure> {
        let old = self.older(before_ms, CHUNK);
        let letters = if old.is_empty() { Vec::new() } else { self.put_away(&old, "expired", now_ms)? };
        Ok(letters.into_iter().map(|letter| letter.entry).collect())
    }

    /// The dead letters after a position, in order, as [`Store::read`] gives entries.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn dead(&mut self, after: u64, max_letters: usize, max_bytes: usize) -> Result<Vec<DeadLetter>, Failure> {
        let read = self.database.begin_read()?;
        let (mut found, mut damaged, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
        for row in read.open_table(DEAD)?.range(after.saturating_add(1)..)? {
            let (position, frame) = row?;
            bytes = bytes.saturating_add(frame.value().len());
            if found.len() >= max_letters || (bytes > max_bytes && !found.is_empty()) {
                break;
            }
            match decode_dead(position.value(), frame.value()) {
                Some(letter) => found.push(letter),
                None => damaged.push((DEAD, position.value())),
            }
        }
        drop(read);
        self.quarantine(&damaged)?;
        Ok(found)
    }

    /// Puts dead letters back at the end of the queue, as replays; how many.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn replay(&mut self, positions: &[u64], now_ms: u64) -> Result<u64, Failure> {
        let mut letters = Vec::new();
        for position in &BTreeSet::from_iter(positions) {
            let letter = self.dead(position.saturating_sub(1), 1, 0)?.pop();
            letters.extend(letter.filter(|letter| letter.entry.position == **position));
        }
        let first = self.next;
        let write = self.write(true)?;
        {
            let (mut entries, mut dead) = (write.open_table(ENTRIES)?, write.open_table(DEAD)?);
            for (position, letter) in (first..).zip(&letters) {
                entries.insert(position, encode(position, now_ms, true, &letter.entry.bytes).as_slice())?;
                dead.remove(letter.entry.position)?;
            }
        }
        write.commit()?;
        for (position, letter) in (first..).zip(&letters) {
            self.note(position, now_ms, letter.entry.bytes.len());
            self.dead.take(dead_cost(letter));
            self.next = position.saturating_add(1);
        }
        Ok(u64::try_from(letters.len()).unwrap_or_default())
    }

    /// Removes dead letters for good; how many.
    ///
    /// # Errors
    /// A [`Failure`].
    pub fn purge(&mut self, which: &Which) -> Result<u64, Failure> {
        let write = self.write(true)?;
        let (mut gone, mut damaged) = (Tally::default(), Vec::new());
        {
            let mut dead = write.open_table(DEAD)?;
            let mut chosen = Vec::new();
            for row in dead.iter()? {
                let (position, frame) = row?;
                let position = position.value();
                let Some(letter) = decode_dead(position, frame.value()) else {
                    damaged.push((DEAD, position));
                    continue;
                };
                let is_meant = match which {
                    Which::All => true,
                    Which::These(positions) => positions.contains(&position),
                    Which::Before(time) => letter.died_ms < *time,
                };
                if is_meant {
                    chosen.push(position);
                    gone.add(cost(frame.value().len()));
                }
            }
            for position in chosen {
                dead.remove(position)?;
            }
        }
        write.commit()?;
        self.dead.count = self.dead.count.saturating_sub(gone.count);
        self.dead.bytes = self.dead.bytes.saturating_sub(gone.bytes);
        self.quarantine(&damaged)?;
        Ok(gone.count)
    }
}
