//! The numbers of docs/decisions/0001-spool-engine.md, and of `make bench`; nothing is asserted, and nothing runs unasked.
//!
//! `RGW_NATS_SPOOL_DISK` is the directory, `RGW_NATS_SPOOL_SECONDS` how long each rate is measured (3), and
//! `RGW_NATS_SPOOL_ENTRIES` how many entries there are to recover (100,000).

use super::*;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn appends(sync: SyncRule, callers: u8, directory: &Path) {
    let _ = fs::remove_dir_all(directory);
    let spool = start(Options { directory: directory.display().to_string(), ..Scratch::new("unused").options(sync) });
    spool.keep(vec![0]).unwrap();
    let limit = Duration::from_millis(setting("RGW_NATS_SPOOL_SECONDS", 3) * 1000);
    let (before, begin) = (status(&spool, "syncs"), Instant::now());
    let mut waits: Vec<Duration> = std::thread::scope(|scope| {
        let caller = || {
            let mut waits = Vec::new();
            while begin.elapsed() < limit {
                let begin = Instant::now();
                spool.keep(vec![7; 1024]).unwrap();
                waits.push(begin.elapsed());
            }
            waits
        };
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (seconds, syncs) = (begin.elapsed().as_secs_f64(), status(&spool, "syncs") - before);
    waits.sort_unstable();
    let at = |part: usize| waits[(waits.len() - 1) * part / 100].as_secs_f64() * 1e3;
    let rate = waits.len() as f64 / seconds;
    println!("{sync:?}, {callers} callers: {rate:.0}/s, {syncs} syncs, p50 {:.2} ms, p99 {:.2} ms", at(50), at(99));
}

#[test]
#[ignore = "takes a minute: RGW_NATS_SPOOL_DISK=/a/directory, --release with CARGO_PROFILE_RELEASE_LTO=off, --nocapture"]
fn appends_a_second_and_time_to_open() {
    let root = PathBuf::from(std::env::var_os("RGW_NATS_SPOOL_DISK").unwrap_or_else(|| "/var/tmp".into()));
    let directory = root.join("rgw_nats-measure");
    for sync in [SyncRule::Always, SyncRule::Group(0), SyncRule::None] {
        for callers in [1, 8, 64] {
            appends(sync, callers, &directory);
        }
    }
    let _ = fs::remove_dir_all(&directory);
    let options = Options {
        directory: directory.display().to_string(),
        max_bytes: 1 << 40,
        ..Scratch::new("unused").options(SyncRule::Always)
    };
    let spool = start(options.clone());
    let begin = Instant::now();
    let entries = setting("RGW_NATS_SPOOL_ENTRIES", 100_000);
    for _ in 0..entries.div_ceil(1000) {
        let answers: Vec<_> = (0..1000).map(|_| spool.append(vec![7; 1024]).unwrap()).collect();
        assert!(answers.into_iter().all(|answer| answer.wait(LONG).is_ok()));
    }
    println!("{entries} entries appended by one caller, 1,000 at a time: {:.3} s", begin.elapsed().as_secs_f64());
    // As a process that dies leaves it: a copy of the file, taken while it is open.
    let died = root.join("rgw_nats-measure-died");
    let _ = fs::remove_dir_all(&died);
    fs::create_dir_all(died.join("slot-0")).unwrap();
    for name in ["FORMAT", "queue.redb"] {
        fs::copy(directory.join("slot-0").join(name), died.join("slot-0").join(name)).unwrap();
    }
    assert!(spool.close(LONG));
    for (what, directory) in [("clean", &directory), ("after a crash", &died)] {
        let begin = Instant::now();
        let spool = start(Options { directory: directory.display().to_string(), ..options.clone() });
        let first = spool.read(0, 1, 1).wait(LONG).unwrap();
        println!("reopened {what}, to the first entry: {:.3} s", begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        let (mut after, mut count) = (first[0].position - 1, 0);
        loop {
            let page = spool.read(after, 512, 1 << 20).wait(LONG).unwrap();
            let Some(entry) = page.last() else { break };
            (after, count) = (entry.position, count + page.len());
            spool.done(page.iter().map(|entry| entry.position).collect()).unwrap();
        }
        println!("{count} read and done in pages of 512, {what}: {:.3} s", begin.elapsed().as_secs_f64());
        assert!(spool.close(LONG));
        let _ = fs::remove_dir_all(directory);
    }
}
