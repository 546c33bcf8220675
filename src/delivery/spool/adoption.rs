//! Taking over the slots that no one holds any more, a part at a time, so that no one waits long for it.

use super::failure::Failure;
use super::recovery::open_store;
use super::slot::Slot;
use super::state::Shared;
use super::store::Store;
use super::upkeep::Load;
use crate::log;
use crate::thread;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Instant;

/// In this order: the file is closed before its slot is let go.
type Opened = (Result<Store, Failure>, Slot);

/// Orphaned slots, and the one that is being taken over.
pub struct Adoption {
    at: Instant,
    waiting: Vec<Slot>,
    opening: Option<Receiver<Opened>>,
    current: Option<(Store, Slot)>,
    moved: usize,
}

impl Adoption {
    /// One that will look at once.
    pub fn new() -> Adoption {
        Adoption { at: Instant::now(), waiting: Vec::new(), opening: None, current: None, moved: 0 }
    }

    /// Looks for orphans when it is time, and opens the next one. Checking a long queue takes its time, so a thread of its
    /// own does it.
    pub fn look(&mut self, shared: &Arc<Shared>) {
        if self.current.is_some() || self.opening.is_some() {
            return;
        }
        if self.waiting.is_empty() && Instant::now() >= self.at {
            self.at = Instant::now() + shared.retry.saturating_mul(2);
            match Slot::orphans(Path::new(&shared.options.directory)) {
                Ok(slots) => {
                    shared.refused(slots.refused);
                    self.waiting = slots.ours;
                }
                Err(error) => shared.trouble(format!("can't look for orphans: {error}")),
            }
        }
        if let Some(slot) = self.waiting.pop() {
            let (sender, receiver) = channel();
            let inner = shared.clone();
            let started = thread::start("rgw_nats_adopt", move || {
                let opened = open_store(&slot, &inner).map(|(store, _)| store);
                let _ = sender.send((opened, slot));
            });
            match started {
                Ok(_) => self.opening = Some(receiver),
                Err(error) => shared.trouble(format!("no thread to adopt with: {error}")),
            }
        }
    }

    /// The next part, if there is one and `store` has room for it.
    pub fn next(&mut self, shared: &Arc<Shared>, store: &Store) -> Option<Load> {
        let opened = self.opening.as_ref().map(Receiver::try_recv);
        if let Some(Ok(_)) = opened {
            shared.damaged(Slot::damaged(Path::new(&shared.options.directory)));
        }
        match opened {
            Some(Ok((Ok(store), slot))) => {
                (self.current, self.opening, self.moved) = (Some((store, slot)), None, 0);
            }
            Some(Ok((Err(failure), slot))) => {
                self.opening = None;
                shared.trouble(format!("{}: {failure}", slot.path().display()));
            }
            // The thread has died of it; the next one puts the file aside.
            Some(Err(TryRecvError::Disconnected)) => self.opening = None,
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        let (other, _) = self.current.as_mut()?;
        match other.unload() {
            Ok(load) if load.len() == 0 => self.end(shared, Slot::remove_queue),
            Ok(load) => {
                let (entries, dead, _) = store.tallies();
                if !load.has_entries() || shared.has_room(entries, dead) {
                    return Some(load);
                }
                // It waits where it is until there is room; someone else may have some.
                self.end(shared, |_| Ok(()));
            }
            Err(failure) => {
                shared.trouble(format!("a slot can't be adopted: {failure}"));
                self.end(shared, |_| Ok(()));
            }
        }
        None
    }

    /// Notes that a part has been taken in.
    pub fn taken(&mut self, shared: &Arc<Shared>, load: &Load) {
        self.moved = self.moved.saturating_add(load.len());
        let Some((other, _)) = &mut self.current else { return };
        if let Err(failure) = other.unloaded(load) {
            shared.trouble(format!("what was adopted can't be removed and will come once more: {failure}"));
            self.end(shared, |_| Ok(()));
        }
    }

    fn end(&mut self, shared: &Arc<Shared>, last: impl FnOnce(&Slot) -> std::io::Result<()>) {
        let Some((other, slot)) = self.current.take() else { return };
        drop(other);
        if let Err(error) = last(&slot) {
            shared.trouble(format!("{}: {error}", slot.path().display()));
        }
        if self.moved > 0 {
            log::line(format_args!("the spool has adopted {} messages of {}", self.moved, slot.path().display()));
        }
    }
}
