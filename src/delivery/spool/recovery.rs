//! Opening a queue, whatever state its file is in.

use super::disk::Disk;
use super::failure::Failure;
use super::slot::Slot;
use super::state::Shared;
use super::store::Store;
use crate::log;
use std::path::Path;

/// Opens the queue of a slot. A file that is damaged is put aside, for someone to look at; a new one takes its place, and
/// takes in what can still be read. So it is with a file that the thread has died of, but for the reading.
pub fn open_store(slot: &Slot, shared: &Shared) -> Result<(Store, Disk), Failure> {
    let opened = open_or_save(slot, shared)?;
    shared.uses(opened.0.next());
    Ok(opened)
}

fn open_or_save(slot: &Slot, shared: &Shared) -> Result<(Store, Disk), Failure> {
    let mut damage = None;
    // That it can't be opened at present is no sign of damage, and no suspicion may stay behind.
    let disk = shared.disk(slot)?;
    if !shared.suspect(slot.path()) {
        let opened = Store::open(disk.clone(), shared.used());
        shared.clear(slot.path());
        match opened {
            Ok(store) => return Ok((store, disk)),
            Err(failure) if failure.is_damage => damage = Some(failure),
            Err(other) => return Err(other),
        }
    }
    let aside = slot.set_aside(shared.now_ms())?;
    shared.clear(slot.path());
    let reason = damage.as_ref().map_or("the thread has died of it".into(), ToString::to_string);
    shared.trouble(format!("a damaged queue is put aside, {}: {reason}", aside.display()));
    let disk = shared.disk(slot)?;
    let mut store = Store::open(disk.clone(), shared.used())?;
    if damage.is_some() {
        salvage(slot, &aside, &mut store)?;
    }
    Ok((store, disk))
}

/// Takes in what can be read of a damaged file. The failure is the new queue's.
fn salvage(slot: &Slot, aside: &Path, store: &mut Store) -> Result<(), Failure> {
    let mut saved = 0;
    let mut outcome = Ok(());
    match slot.copy_aside(aside).map_err(Failure::from).and_then(|file| Store::open_unchecked(Disk::new(file, false))) {
        Ok(mut damaged) => loop {
            let load = match damaged.unload() {
                Ok(load) if load.len() > 0 => load,
                Ok(_) => break,
                Err(failure) => {
                    outcome = Err(failure);
                    break;
                }
            };
            store.load(&load)?;
            saved += load.len();
            if let Err(failure) = damaged.unloaded(&load) {
                outcome = Err(failure);
                break;
            }
        },
        Err(failure) => outcome = Err(failure),
    }
    let _ = slot.remove_copy();
    let shown = aside.display();
    match outcome {
        Ok(()) => log::line(format_args!("{saved} messages were saved from {shown}")),
        Err(failure) => log::line(format_args!("{saved} messages were saved from {shown}, then: {failure}")),
    }
    Ok(())
}
