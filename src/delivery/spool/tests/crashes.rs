//! What a machine that stops, and a byte that changes, leave of a queue.

use super::super::failure::Failure;
use super::super::store::{Append, Store};
use super::*;
use redb::StorageBackend;
use std::collections::BTreeSet;
use std::io;

#[derive(Clone, Debug)]
enum Act {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

/// A disk in memory that remembers what was done to it.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<(Vec<u8>, Vec<Act>)>>);

impl Recorder {
    fn of(image: Vec<u8>) -> Recorder {
        Recorder(Arc::new(Mutex::new((image, Vec::new()))))
    }

    fn acts(&self) -> Vec<Act> {
        self.0.lock().unwrap().1.clone()
    }
}

fn apply(image: &mut Vec<u8>, act: &Act, upto: usize) {
    match act {
        Act::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap();
            let end = start + upto.min(data.len());
            image.resize(image.len().max(end), 0);
            image[start..end].copy_from_slice(&data[..end - start]);
        }
        Act::Length(length) => image.resize(usize::try_from(*length).unwrap(), 0),
        Act::Sync => {}
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.0.lock().unwrap().0.len()).unwrap())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let held = self.0.lock().unwrap();
        out.copy_from_slice(held.0.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut held = self.0.lock().unwrap();
        let act = Act::Length(len);
        apply(&mut held.0, &act, 0);
        held.1.push(act);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.lock().unwrap().1.push(Act::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut held = self.0.lock().unwrap();
        let act = Act::Write(offset, data.to_vec());
        apply(&mut held.0, &act, usize::MAX);
        held.1.push(act);
        Ok(())
    }
}

fn append(n: u8) -> Append {
    Append { accepted_ms: 1, bytes: vec![n; 50 + usize::from(n) * 30] }
}

fn entries(image: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let mut store = Store::open(Recorder::of(image), 0)?;
    let entries = store.read(0, usize::MAX, usize::MAX)?;
    assert_eq!(store.tallies().2, 0, "nothing is in quarantine");
    for entry in &entries {
        assert_eq!(entry.bytes, append(entry.bytes[0]).bytes, "nothing is half there");
    }
    Ok(entries.iter().map(|entry| entry.bytes[0]).collect())
}

/// A queue, what was done to its disk, and after how many acts it has had which entries for certain.
fn history() -> (Vec<Act>, Vec<(usize, Vec<u8>)>) {
    let recorder = Recorder::default();
    let mut store = Store::open(recorder.clone(), 0).unwrap();
    let mut known = vec![(recorder.acts().len(), Vec::new())];
    let mut held = Vec::new();
    let mut first = 0;
    for round in 0..4_u8 {
        let new: Vec<Append> = (0..6).map(|n| append(round * 6 + n)).collect();
        // What is done goes to the disk with the next entries.
        let done: Vec<u64> = if round == 2 { vec![first, first + 1] } else { Vec::new() };
        let position = store.commit(&new, &done).unwrap();
        first = if round == 0 { position } else { first };
        held.extend(round * 6..round * 6 + 6);
        held.retain(|n| round < 2 || *n > 1);
        known.push((recorder.acts().len(), held.clone()));
    }
    std::mem::forget(store);
    (recorder.acts(), known)
}

#[test]
fn a_process_that_stops_within_any_write_leaves_what_was_committed() {
    let (acts, known) = history();
    let mut image = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, act) in acts.iter().enumerate() {
        let certain = known.iter().rposition(|(acts, _)| *acts <= at);
        if let (Some(certain), Act::Write(_, data)) = (certain, act) {
            let next = known.get(certain + 1).unwrap_or(&known[certain]);
            // Each byte of a short write and of the last ones; some of the others.
            let step = if data.len() < 1000 || at + 3 > acts.len() { 1 } else { 211 };
            for cut in (0..data.len()).step_by(step) {
                let mut cut_off = image.clone();
                apply(&mut cut_off, act, cut);
                let found = entries(cut_off).unwrap();
                assert!(found == known[certain].1 || found == next.1, "act {at} cut at {cut}: {found:?}");
                seen.insert(found);
            }
        }
        apply(&mut image, act, usize::MAX);
    }
    assert_eq!(entries(image).unwrap(), known.last().unwrap().1);
    assert!(seen.len() >= known.len() - 1);
}

#[test]
fn a_machine_that_stops_leaves_what_was_synced_in_whatever_order_the_rest_came() {
    let (acts, known) = history();
    for pair in known.windows(2) {
        let [(from, before), (to, after)] = pair else { panic!("no pair") };
        // A commit has ended with a sync; nothing is known of the writes since then.
        assert!(matches!(acts[to - 1], Act::Sync));
        let mut synced = Vec::new();
        acts[..*from].iter().for_each(|act| apply(&mut synced, act, usize::MAX));
        let mut batch = *from;
        while batch < *to {
            let end = batch + acts[batch..*to].iter().position(|act| matches!(act, Act::Sync)).unwrap();
            let writes = &acts[batch..end];
            let lengths = writes.iter().filter(|act| matches!(act, Act::Length(_)));
            let mut base = synced.clone();
            lengths.for_each(|act| apply(&mut base, act, 0));
            for left in 0..writes.len() {
                // One of them alone; all but one; all but one half of one.
                let image = |keep: &dyn Fn(usize) -> usize| {
                    let mut image = base.clone();
                    writes.iter().enumerate().for_each(|(place, act)| apply(&mut image, act, keep(place)));
                    entries(image).unwrap()
                };
                let full = usize::MAX;
                let alone = image(&|place| if place == left { full } else { 0 });
                let without = image(&|place| if place == left { 0 } else { full });
                let torn = image(&|place| if place == left { 512 } else { full });
                for found in [alone, without, torn] {
                    assert!(found == *before || found == *after, "{found:?}");
                }
            }
            writes.iter().for_each(|act| apply(&mut synced, act, usize::MAX));
            batch = end + 1;
        }
        assert_eq!(entries(synced).unwrap(), *after);
    }
}

/// The place of an entry's bytes in a file.
fn find(file: &[u8], n: u8) -> usize {
    file.windows(60).rposition(|bytes| bytes.iter().all(|byte| *byte == n)).unwrap()
}

#[test]
fn a_changed_byte_costs_one_entry_and_is_told() {
    let scratch = Scratch::new("changed");
    let spool = scratch.spool();
    let positions: Vec<u64> = (1..40).map(|n| spool.keep(append(n).bytes).unwrap()).collect();
    spool.bury(positions[30..].to_vec(), "denied".into()).wait(LONG).unwrap();
    assert!(spool.close(LONG));
    let path = scratch.slot(0).join("queue.redb");
    let mut file = fs::read(&path).unwrap();
    for n in [20, 35] {
        let at = find(&file, n);
        file[at] ^= 1;
    }
    fs::write(&path, &file).unwrap();
    let spool = scratch.spool();
    let found: Vec<u8> = all(&spool).iter().map(|entry| entry.bytes[0]).collect();
    assert_eq!(found, (1..31).filter(|n| *n != 20).collect::<Vec<u8>>());
    let letters: Vec<u8> = dead(&spool).iter().map(|letter| letter.entry.bytes[0]).collect();
    assert_eq!(letters, (31..40).filter(|n| *n != 35).collect::<Vec<u8>>());
    assert_eq!((status(&spool, "quarantined"), status(&spool, "damaged_files")), (2, 1));
    let aside = fs::read_dir(scratch.slot(0)).unwrap().flatten().map(|entry| entry.path());
    let aside: Vec<PathBuf> = aside.filter(|path| path.display().to_string().contains("damaged")).collect();
    assert_eq!(fs::read(&aside[0]).unwrap(), file, "the damaged file is kept as it was");
    assert!(spool.keep(vec![1]).unwrap() > 0);
    assert!(spool.close(LONG));
    let spool = scratch.spool();
    assert_eq!((all(&spool).len(), status(&spool, "quarantined"), status(&spool, "damaged_files")), (30, 2, 1));
}

#[test]
fn a_frame_that_is_wrong_in_a_sound_file_goes_into_quarantine() {
    let recorder = Recorder::default();
    let mut store = Store::open(recorder.clone(), 0).unwrap();
    let first = store.commit(&(0..3).map(append).collect::<Vec<_>>(), &[]).unwrap();
    store.spoil(first + 1);
    assert_eq!(store.read(0, 9, 9999).unwrap().len(), 2);
    assert_eq!((store.tallies().0.count, store.tallies().2), (2, 1));
    store.spoil(first + 2);
    drop(store);
    let image = recorder.0.lock().unwrap().0.clone();
    let mut store = Store::open(Recorder::of(image), 0).unwrap();
    assert_eq!((store.read(0, 9, 9999).unwrap().len(), store.tallies().0.count, store.tallies().2), (1, 1, 2));
}

#[test]
fn whatever_byte_changes_nothing_is_invented_and_loss_is_told() {
    let recorder = Recorder::default();
    let mut store = Store::open(recorder.clone(), 0).unwrap();
    store.commit(&(0..20).map(append).collect::<Vec<_>>(), &[]).unwrap();
    drop(store);
    let whole = recorder.0.lock().unwrap().0.clone();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let (mut all_there, mut refused) = (0, 0);
    for at in (0..end).step_by(37).chain(0..400) {
        let mut image = whole.clone();
        image[at] ^= 0x55;
        match entries(image) {
            Ok(found) => {
                assert_eq!(found, (0..20).collect::<Vec<u8>>(), "byte {at}");
                all_there += 1;
            }
            Err(failure) => {
                assert!(failure.is_damage, "byte {at}: {failure}");
                refused += 1;
            }
        }
    }
    assert!(all_there > 0 && refused > 0, "{all_there} {refused}");
}

#[test]
fn a_damaged_orphan_is_told_and_what_can_be_read_of_it_adopted() {
    let scratch = Scratch::new("damaged-orphan");
    let (one, two) = (scratch.spool(), scratch.spool());
    one.keep(append(7).bytes).unwrap();
    two.keep(append(8).bytes).unwrap();
    assert!(one.close(LONG) && two.close(LONG));
    let path = scratch.slot(1).join("queue.redb");
    let mut file = fs::read(&path).unwrap();
    file.truncate(file.len() / 2);
    fs::write(&path, &file).unwrap();
    let spool = scratch.spool();
    until("it is told", || status(&spool, "damaged_files") == 1);
    assert!(all(&spool).len() == 1 && status(&spool, "poisoned") == 0);
    assert!(spool.close(LONG));
}
