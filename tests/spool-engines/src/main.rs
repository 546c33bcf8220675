//! What fjall and redb do as the engine under `src/delivery/spool`: one writer thread that commits and syncs all that has
//! come meanwhile. `docs/decisions/0001-spool-engine.md` has the numbers.
//!
//!     cargo run --release -- DIRECTORY          appends a second, time to reopen; on the disk in question
//!     cargo run --release -- DIRECTORY flips    one byte turned over, each in turn; best on a tmpfs
//!     cargo run --release -- MOUNT full         a disk that is full; MOUNT is a tmpfs of 90 MiB

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

const PAYLOAD: usize = 1024;
const LONG: Duration = Duration::from_secs(3);

trait Engine: Send {
    fn commit(&mut self, first: u64, batch: &[Vec<u8>], sync: bool);
    fn remove(&mut self, from: u64, to: u64);
    fn count(&self) -> usize;
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Fjall {
    fn open(path: &Path) -> Fjall {
        let database = fjall::Database::builder(path.join("fjall")).worker_threads(1).cache_size(1 << 20);
        let database = database.manual_journal_persist(true).open().unwrap();
        let entries = database
            .keyspace("entries", || fjall::KeyspaceCreateOptions::default().max_memtable_size(8 << 20))
            .unwrap();
        Fjall(database, entries)
    }
}

impl Engine for Fjall {
    fn commit(&mut self, first: u64, batch: &[Vec<u8>], sync: bool) {
        let mut write = self.0.batch().durability(Some(if sync {
            fjall::PersistMode::SyncData
        } else {
            fjall::PersistMode::Buffer
        }));
        for (place, value) in batch.iter().enumerate() {
            write.insert(&self.1, (first + place as u64).to_be_bytes(), value.as_slice());
        }
        write.commit().unwrap();
    }
    fn remove(&mut self, from: u64, to: u64) {
        let mut write = self.0.batch().durability(Some(fjall::PersistMode::Buffer));
        for key in from..to {
            write.remove(&self.1, key.to_be_bytes());
        }
        write.commit().unwrap();
    }
    fn count(&self) -> usize {
        self.1.iter().map(|entry| entry.into_inner().unwrap()).count()
    }
}

const TABLE: redb::TableDefinition<u64, &[u8]> = redb::TableDefinition::new("entries");

struct Redb(redb::Database);

impl Redb {
    fn open(path: &Path) -> Redb {
        let mut builder = redb::Database::builder();
        builder.set_cache_size(16 << 20).set_check_integrity_on_open(true);
        let database = builder.create(path.join("redb")).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(TABLE).unwrap();
        write.commit().unwrap();
        Redb(database)
    }
}

impl Engine for Redb {
    fn commit(&mut self, first: u64, batch: &[Vec<u8>], sync: bool) {
        let mut write = self.0.begin_write().unwrap();
        if !sync {
            write.set_durability(redb::Durability::None).unwrap();
        }
        let mut table = write.open_table(TABLE).unwrap();
        for (place, value) in batch.iter().enumerate() {
            table.insert(first + place as u64, value.as_slice()).unwrap();
        }
        drop(table);
        write.commit().unwrap();
    }
    fn remove(&mut self, from: u64, to: u64) {
        let mut write = self.0.begin_write().unwrap();
        write.set_durability(redb::Durability::None).unwrap();
        let mut table = write.open_table(TABLE).unwrap();
        for key in from..to {
            table.remove(key).unwrap();
        }
        drop(table);
        write.commit().unwrap();
    }
    fn count(&self) -> usize {
        use redb::{ReadableDatabase, ReadableTable};
        self.0
            .begin_read()
            .unwrap()
            .open_table(TABLE)
            .unwrap()
            .iter()
            .unwrap()
            .map(|entry| entry.unwrap().1.value().len())
            .count()
    }
}

type Job = (Vec<u8>, Sender<()>);

fn writer(mut engine: Box<dyn Engine>, jobs: Receiver<Job>, wait: Duration, sync: bool) -> (u64, u64) {
    let (mut next, mut commits) = (0, 0);
    while let Ok(first) = jobs.recv() {
        let until = Instant::now() + wait;
        let mut batch = vec![first];
        while batch.len() < 1024 {
            match jobs.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        let (values, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        engine.commit(next, &values, sync);
        next += values.len() as u64;
        commits += 1;
        for reply in replies {
            let _ = reply.send(());
        }
    }
    (next, commits)
}

fn appends(name: &str, engine: Box<dyn Engine>, callers: usize, wait: Duration, sync: bool) {
    let (sender, jobs): (SyncSender<Job>, _) = sync_channel(4096);
    let thread = std::thread::spawn(move || writer(engine, jobs, wait, sync));
    let start = Instant::now();
    let threads: Vec<_> = (0..callers)
        .map(|_| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut waits = Vec::new();
                while start.elapsed() < LONG {
                    let begin = Instant::now();
                    let (reply, done) = channel();
                    sender.send((vec![7; PAYLOAD], reply)).unwrap();
                    done.recv().unwrap();
                    waits.push(begin.elapsed());
                }
                waits
            })
        })
        .collect();
    drop(sender);
    let mut waits: Vec<Duration> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let (count, commits) = thread.join().unwrap();
    waits.sort_unstable();
    let at = |part: usize| waits[(waits.len() - 1) * part / 100].as_secs_f64() * 1e3;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    println!(
        "{name:6} sync={sync:5} wait={wait:?} callers={callers:2}: {rate:8.0}/s, {:.1} a commit, p50 {:.2} ms, p99 {:.2} ms",
        count as f64 / commits as f64,
        at(50),
        at(99)
    );
}

fn size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |data| data.blocks() * 512);
    };
    entries.map(|entry| size(&entry.unwrap().path())).sum()
}

/// 20 commits of one entry, synced; then each byte of the file is turned over, one at a time, in a copy that is opened anew.
fn flips(name: &str, open: fn(&Path) -> Box<dyn Engine>, file: &str, root: &Path, clean: bool) {
    let (path, copy) = (root.join("whole"), root.join("flipped"));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    let mut engine = open(&path);
    for first in 0..20 {
        engine.commit(first, &[vec![7; 64]], true);
    }
    if clean {
        drop(engine);
    } else {
        std::mem::forget(engine);
    }
    let whole = std::fs::read(path.join(file)).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    std::panic::set_hook(Box::new(|_| {}));
    let mut worst = 0;
    let mut outcomes = std::collections::BTreeMap::new();
    for at in (0..end).step_by((end / 2000).max(1)) {
        let _ = std::fs::remove_dir_all(&copy);
        std::process::Command::new("cp").args(["-r", "--sparse=always"]).arg(&path).arg(&copy).status().unwrap();
        use std::os::unix::fs::FileExt;
        let flipped = std::fs::OpenOptions::new().write(true).open(copy.join(file)).unwrap();
        flipped.write_all_at(&[whole[at] ^ 0x55], at as u64).unwrap();
        drop(flipped);
        let outcome = match std::panic::catch_unwind(|| open(&copy).count()) {
            Ok(20) => "opens with all 20".to_string(),
            Ok(count) => {
                worst = worst.max(20 - count);
                "opens with fewer, without a word".to_string()
            }
            Err(_) => "refuses or panics".to_string(),
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
    }
    let how = if clean { "closed" } else { "killed" };
    println!("{name:6} {how}, one byte turned over: {outcomes:?}; {worst} of 20 lost at most without a word");
}

/// Appends until the disk is full, makes room, and opens anew. `root` is a small tmpfs.
fn full(name: &str, open: fn(&Path) -> Box<dyn Engine>, root: &Path) {
    let path = root.join(name);
    std::fs::create_dir_all(&path).unwrap();
    std::panic::set_hook(Box::new(|_| {}));
    let (sender, receiver) = channel();
    let place = path.clone();
    std::thread::spawn(move || {
        let mut engine = open(&place);
        for first in 0.. {
            let kept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                engine.commit(first * 64, &vec![vec![7; 4096]; 64], true)
            }));
            let _ = sender.send(Some(first * 64));
            if kept.is_err() {
                break;
            }
        }
        let _ = sender.send(None);
        drop(engine);
        let _ = sender.send(None);
    });
    let mut last = 0;
    loop {
        match receiver.recv_timeout(Duration::from_secs(20)) {
            Ok(Some(first)) => last = first,
            Ok(None) => break println!("{name:6} full disk: an error after {last} entries"),
            Err(_) => return println!("{name:6} full disk: hangs after {last} entries, for more than 20 s"),
        }
    }
    if receiver.recv_timeout(Duration::from_secs(20)).is_err() {
        return println!("{name:6} full disk: can't be closed, for more than 20 s");
    }
    std::process::Command::new("mount").args(["-o", "remount,size=400m"]).arg(root).status().unwrap();
    let outcome = std::panic::catch_unwind(|| open(&path).count());
    println!("{name:6} opened anew with room: {:?} entries", outcome.ok());
    std::process::Command::new("rm").arg("-r").arg(&path).status().unwrap();
    std::process::Command::new("mount").args(["-o", "remount,size=90m"]).arg(root).status().unwrap();
}

fn main() {
    if std::env::args().nth(2).as_deref() == Some("full") {
        let root = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
        full("redb", |path| Box::new(Redb::open(path)), &root);
        full("fjall", |path| Box::new(Fjall::open(path)), &root);
        return;
    }
    if std::env::args().nth(2).as_deref() == Some("flips") {
        let root = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
        for clean in [true, false] {
            flips("redb", |path| Box::new(Redb::open(path)), "redb", &root, clean);
            flips("fjall", |path| Box::new(Fjall::open(path)), "fjall/0.jnl", &root, clean);
        }
        return;
    }
    let root = std::path::PathBuf::from(std::env::args().nth(1).expect("a directory"));
    let engines: [(&str, fn(&Path) -> Box<dyn Engine>); 2] =
        [("fjall", |path| Box::new(Fjall::open(path))), ("redb", |path| Box::new(Redb::open(path)))];
    if let (Some(kind), Some(path)) = (std::env::args().nth(2), std::env::args().nth(3)) {
        // The child that leaves 100,000 entries and dies.
        let mut engine = engines.iter().find(|(name, _)| *name == kind).unwrap().1(Path::new(&path));
        for batch in 0..100u64 {
            engine.commit(batch * 1000, &vec![vec![7; PAYLOAD]; 1000], true);
        }
        std::process::abort();
    }
    for (name, open) in engines {
        let fresh = || {
            let path = root.join("engine");
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        for (wait, sync) in [(Duration::ZERO, true), (Duration::from_millis(5), true), (Duration::ZERO, false)] {
            for callers in [1, 8, 64] {
                appends(name, open(&fresh()), callers, wait, sync);
            }
        }
        let path = fresh();
        std::process::Command::new(std::env::current_exe().unwrap())
            .args([root.as_os_str(), name.as_ref(), path.as_os_str()])
            .status()
            .unwrap();
        let start = Instant::now();
        let mut engine = open(&path);
        let opened = start.elapsed();
        let count = engine.count();
        println!(
            "{name:6} reopened after an abort with {count} entries: open {opened:?}, read whole {:?}, {} MiB on disk",
            start.elapsed(),
            size(&path) >> 20
        );
        let start = Instant::now();
        for batch in 0..1000u64 {
            engine.remove(batch * 100, batch * 100 + 100);
        }
        println!("{name:6} removed 100,000 in {:?}", start.elapsed());
        drop(engine);
        let start = Instant::now();
        let engine = open(&path);
        println!(
            "{name:6} reopened clean, {} left: {:?}, {} MiB on disk",
            engine.count(),
            start.elapsed(),
            size(&path) >> 20
        );
    }
}
