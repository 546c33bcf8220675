//! The spool as its users see it, on real files.

#![allow(clippy::print_stdout)]

mod crashes;
mod disks;
mod measure;
mod slots;

use super::disk::Faults;
use super::state::Shared;
use super::*;
use crate::config::SyncRule;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const LONG: Duration = Duration::from_secs(30);

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("rgw_nats-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn slot(&self, number: u32) -> PathBuf {
        self.0.join(format!("slot-{number}"))
    }

    fn options(&self, sync: SyncRule) -> Options {
        Options {
            directory: self.0.display().to_string(),
            sync,
            max_bytes: 1 << 30,
            max_messages: 1_000_000,
            max_age_ms: 0,
            commit_timeout_ms: 30_000,
        }
    }

    fn spool(&self) -> Spool {
        start(self.options(SyncRule::Always))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn start(options: Options) -> Spool {
    start_noted(options, |_| {})
}

fn start_noted(options: Options, on_news: impl Fn(News<'_>) + Send + Sync + 'static) -> Spool {
    Spool::start_with(Shared::new(options, Duration::from_millis(50), now_ms, Box::new(on_news))).unwrap()
}

fn faults(spool: &Spool) -> Arc<Faults> {
    spool.shared.faults.clone()
}

fn all(spool: &Spool) -> Vec<Entry> {
    spool.read(0, usize::MAX, usize::MAX).wait(LONG).unwrap()
}

fn texts(spool: &Spool) -> Vec<String> {
    all(spool).into_iter().map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned()).collect()
}

fn dead(spool: &Spool) -> Vec<DeadLetter> {
    spool.dead_letters(0, 1000).wait(LONG).unwrap()
}

fn status(spool: &Spool, name: &str) -> u64 {
    let Value::Table(fields) = spool.status() else { panic!("status is no table") };
    match fields.into_iter().find(|(key, _)| key.text() == Some(name)).unwrap().1 {
        Value::Integer(number) => u64::try_from(number).unwrap(),
        Value::Boolean(is_so) => u64::from(is_so),
        other => panic!("{name} is {other:?}"),
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn order_and_positions_hold_across_reopening() {
    let scratch = Scratch::new("order");
    let spool = scratch.spool();
    let positions: Vec<u64> = (0..5).map(|n| spool.keep(format!("{n}").into_bytes()).unwrap()).collect();
    assert!(positions.is_sorted_by(|a, b| a < b));
    spool.done(positions[..2].to_vec()).unwrap();
    spool.count_attempts(vec![positions[2], 77]).wait(LONG).unwrap();
    assert!(spool.close(LONG));
    let spool = scratch.spool();
    let left = all(&spool);
    assert_eq!(left.iter().map(|entry| entry.position).collect::<Vec<_>>(), positions[2..]);
    assert_eq!((left[0].attempts, left[1].attempts, left[0].is_replay), (1, 0, false));
    assert!(left[0].accepted_ms.abs_diff(now_ms()) < 60_000);
    assert!(spool.keep(b"5".to_vec()).unwrap() > positions[4]);
    assert_eq!(texts(&spool), ["2", "3", "4", "5"]);
    // Pages: by number, by bytes, one at least.
    let page = |after, entries, bytes| spool.read(after, entries, bytes).wait(LONG).unwrap().len();
    assert_eq!([page(0, 3, 100), page(0, 9, 2), page(0, 9, 0), page(positions[4], 9, 9)], [3, 2, 1, 1]);
    spool.done(all(&spool).iter().map(|entry| entry.position).collect()).unwrap();
    assert_eq!(texts(&spool), Vec::<String>::new());
    assert_eq!((status(&spool, "messages"), status(&spool, "bytes")), (0, 0));
    // The number of a position is never used again, even if nothing is left.
    assert!(spool.close(LONG));
    let spool = scratch.spool();
    assert!(spool.keep(b"6".to_vec()).unwrap() > positions[4]);
}

#[test]
fn callers_share_a_sync() {
    for sync in [SyncRule::Always, SyncRule::Group(0), SyncRule::Group(5)] {
        let scratch = Scratch::new("group");
        let spool = start(scratch.options(sync));
        spool.keep(vec![0]).unwrap();
        let before = status(&spool, "syncs");
        std::thread::scope(|scope| {
            for caller in 0..64_u8 {
                let spool = &spool;
                scope.spawn(move || (0..20).all(|_| spool.keep(vec![caller; 100]).is_ok()));
            }
        });
        assert_eq!(status(&spool, "messages"), 64 * 20 + 1);
        let syncs = status(&spool, "syncs") - before;
        assert!(syncs < 64 * 20 / 4, "{syncs} syncs for {} entries", 64 * 20);
        assert!(syncs > 0);
    }
}

#[test]
fn without_sync_the_disk_is_not_waited_for() {
    let scratch = Scratch::new("none");
    let spool = start(scratch.options(SyncRule::None));
    spool.keep(vec![0]).unwrap();
    let before = status(&spool, "syncs");
    (0..200).for_each(|_| {
        spool.keep(vec![0]).unwrap();
    });
    assert!(status(&spool, "syncs") - before < 100);
}

#[test]
fn limits_hold_and_are_told() {
    let scratch = Scratch::new("limits");
    let spool = start(Options { max_messages: 3, ..scratch.options(SyncRule::Always) });
    let positions: Vec<u64> = (0..3).map(|_| spool.keep(vec![1; 10]).unwrap()).collect();
    let full = spool.append(vec![1]).err().unwrap();
    assert_eq!(full.to_string(), "spool_full: 3 messages wait, and max_messages is 3");
    spool.done(positions).unwrap();
    until("there is room", || spool.append(vec![1]).is_ok());
    drop(spool);
    let scratch = Scratch::new("limits-bytes");
    let spool = start(Options { max_bytes: 10_000, ..scratch.options(SyncRule::Always) });
    let position = spool.keep(vec![1; 8000]).unwrap();
    assert_eq!(spool.append(vec![1; 8000]).err().unwrap().code(), Code::SpoolFull);
    // Dead letters are on the disk too.
    assert_eq!(spool.bury(vec![position], "denied".into()).wait(LONG), Ok(1));
    let full = spool.append(vec![1; 8000]).err().unwrap();
    assert!(full.to_string().contains("are dead letters"), "{full}");
    assert_eq!(spool.purge(Which::All).wait(LONG), Ok(1));
    spool.keep(vec![1; 8000]).unwrap();
    // What is larger than all of it is refused and holds nothing up.
    assert_eq!(spool.append(vec![1; 20_000]).err().unwrap().code(), Code::SpoolFull);
    assert_eq!(status(&spool, "pending"), 0);
}

#[test]
fn what_is_too_old_is_a_dead_letter() {
    let scratch = Scratch::new("age");
    let told = Arc::new(AtomicU64::new(0));
    let noted = told.clone();
    let spool = start_noted(Options { max_age_ms: 300, ..scratch.options(SyncRule::Always) }, move |news| {
        if let News::Expired(entries) = news {
            assert!(entries.iter().all(|entry| entry.bytes == b"old"));
            noted.fetch_add(u64::try_from(entries.len()).unwrap(), Ordering::Relaxed);
        }
    });
    (0..700).for_each(|_| drop(spool.append(b"old".to_vec()).unwrap()));
    until("it is dead", || status(&spool, "dead_letters") == 700);
    assert_eq!(told.load(Ordering::Relaxed), 700);
    let letters = dead(&spool);
    assert_eq!((letters[0].reason.as_str(), letters[0].entry.bytes.as_slice()), ("expired", &b"old"[..]));
    assert!(letters[0].died_ms >= letters[0].entry.accepted_ms + 300);
    assert!(all(&spool).is_empty());
}

#[test]
fn dead_letters_come_back_as_replays() {
    let scratch = Scratch::new("dead");
    let arrivals = Arc::new(AtomicU64::new(0));
    let noted = arrivals.clone();
    let spool = start_noted(scratch.options(SyncRule::Always), move |_| {
        noted.fetch_add(1, Ordering::Relaxed);
    });
    let positions: Vec<u64> = (0..6).map(|n| spool.keep(format!("{n}").into_bytes()).unwrap()).collect();
    spool.count_attempts(vec![positions[1]]).wait(LONG).unwrap();
    assert_eq!(spool.bury(positions[1..5].to_vec(), "too large".into()).wait(LONG), Ok(4));
    assert_eq!(spool.bury(positions[1..2].to_vec(), "again".into()).wait(LONG), Ok(0));
    assert!(spool.close(LONG));
    let spool = scratch.spool();
    assert_eq!(texts(&spool), ["0", "5"]);
    let letters = dead(&spool);
    assert_eq!(letters.iter().map(|letter| letter.entry.position).collect::<Vec<_>>(), positions[1..5]);
    assert_eq!((letters[0].reason.as_str(), letters[0].entry.attempts), ("too large", 1));
    let page = spool.dead_letters(positions[1], 2).wait(LONG).unwrap();
    assert_eq!(page.iter().map(|letter| letter.entry.position).collect::<Vec<_>>(), positions[2..4]);
    assert_eq!(spool.replay(vec![positions[1], positions[1], positions[0]]).wait(LONG), Ok(1));
    let back = all(&spool).pop().unwrap();
    assert_eq!((back.bytes.as_slice(), back.is_replay, back.attempts), (&b"1"[..], true, 0));
    assert!(back.position > positions[5]);
    assert!(arrivals.load(Ordering::Relaxed) > 0);
    assert_eq!(spool.purge(Which::These(vec![positions[2]])).wait(LONG), Ok(1));
    assert_eq!(spool.purge(Which::Before(1)).wait(LONG), Ok(0));
    assert_eq!(spool.purge(Which::Before(u64::MAX)).wait(LONG), Ok(2));
    assert_eq!((status(&spool, "dead_letters"), status(&spool, "dead_bytes")), (0, 0));
}

#[test]
fn nothing_is_taken_after_closing() {
    let scratch = Scratch::new("closing");
    let spool = scratch.spool();
    let answers: Vec<Answer<u64>> = (0..100).map(|_| spool.append(vec![1]).unwrap()).collect();
    assert!(spool.close(LONG));
    assert!(answers.into_iter().all(|answer| answer.wait(Duration::ZERO).is_ok()), "what was taken is kept");
    assert_eq!(spool.append(vec![1]).err().unwrap().code(), Code::Closed);
    assert_eq!(spool.done(vec![1]).unwrap_err().code(), Code::Closed);
    assert_eq!(status(&spool, "pending"), 0);
    assert!(spool.close(LONG));
}
