//! Disks that are full, read-only or broken, and a thread that dies.

use super::*;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

#[test]
fn a_failed_sync_poisons_and_recovers() {
    let scratch = Scratch::new("sync");
    let spool = scratch.spool();
    for n in 0..700_u32 {
        drop(spool.append(n.to_be_bytes().to_vec()).unwrap());
    }
    spool.keep(b"before".to_vec()).unwrap();
    let delivered = all(&spool)[..100].iter().map(|entry| entry.position).collect();
    faults(&spool).sync.store(true, Ordering::Relaxed);
    let error = spool.keep(b"during".to_vec()).unwrap_err();
    assert_eq!(error.code(), Code::SpoolIo);
    assert_eq!(status(&spool, "poisoned"), 1);
    let error = spool.append(b"poisoned".to_vec()).err().unwrap();
    assert!(error.code() == Code::SpoolIo && error.to_string().contains("slot-0"), "{error}");
    assert_eq!(spool.read(0, 1, 1).wait(LONG).unwrap_err().code(), Code::SpoolIo);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(status(&spool, "poisoned"), 1, "as long as it lasts");
    // What is delivered meanwhile does not come back.
    let last = status(&spool, "messages");
    spool.done(delivered).unwrap();
    faults(&spool).sync.store(false, Ordering::Relaxed);
    until("it recovers", || status(&spool, "poisoned") == 0);
    spool.keep(b"after".to_vec()).unwrap();
    assert!(status(&spool, "messages") < last);
    let mut left = texts(&spool).split_off(600);
    // The outcome of what failed is unknown: it is there or not.
    left.retain(|text| text != "during");
    assert_eq!(left, ["before", "after"]);
    assert_eq!(status(&spool, "quarantined"), 0);
}

#[test]
fn a_full_disk_poisons_and_recovers() {
    let scratch = Scratch::new("full");
    let spool = scratch.spool();
    spool.keep(b"before".to_vec()).unwrap();
    faults(&spool).write.store(true, Ordering::Relaxed);
    assert_eq!(spool.keep(b"during".to_vec()).unwrap_err().code(), Code::SpoolIo);
    assert_eq!(spool.append(vec![1]).err().unwrap().code(), Code::SpoolIo);
    faults(&spool).write.store(false, Ordering::Relaxed);
    until("it recovers", || spool.keep(b"after".to_vec()).is_ok());
    let left = texts(&spool);
    assert_eq!((left.first().unwrap().as_str(), left.last().unwrap().as_str()), ("before", "after"));
}

/// A small file system of its own, where this is root.
struct Mount(PathBuf);

impl Mount {
    fn new(path: &Path, options: &str) -> Option<Mount> {
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).output();
        match mount {
            Ok(output) if output.status.success() => Some(Mount(path.to_owned())),
            _ => {
                println!("skipped: no tmpfs can be mounted here");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = std::process::Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_file_system_without_room_is_told_and_outlived() {
    let scratch = Scratch::new("tmpfs");
    let Some(mount) = Mount::new(&scratch.0, "size=6m") else { return };
    let spool = scratch.spool();
    let mut kept = Vec::new();
    let error = loop {
        match spool.keep(vec![7; 100_000]) {
            Ok(position) => kept.push(position),
            Err(error) => break error,
        }
        assert!(kept.len() < 100);
    };
    assert_eq!(error.code(), Code::SpoolIo);
    assert!(kept.len() > 5, "{}", kept.len());
    mount.remount("size=60m");
    until("it recovers", || spool.keep(vec![8; 100_000]).is_ok());
    let found: Vec<u64> = all(&spool).iter().map(|entry| entry.position).collect();
    assert!(kept.iter().all(|position| found.contains(position)));
    assert!(spool.close(LONG));
}

#[test]
fn a_read_only_file_system_is_told_and_outlived() {
    let scratch = Scratch::new("read-only");
    let Some(mount) = Mount::new(&scratch.0, "size=60m") else { return };
    mount.remount("ro");
    let spool = scratch.spool();
    assert_eq!(spool.keep(vec![1]).unwrap_err().code(), Code::SpoolIo);
    assert_eq!(spool.append(vec![1]).err().unwrap().code(), Code::SpoolIo);
    mount.remount("rw");
    until("it recovers", || spool.keep(vec![2]).is_ok());
    assert!(spool.close(LONG));
}

#[test]
fn a_thread_that_dies_is_started_anew_and_a_file_that_kills_it_is_put_aside() {
    let scratch = Scratch::new("dies");
    let spool = scratch.spool();
    spool.keep(b"a".to_vec()).unwrap();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let answer: Answer<()> = spool.ask(work(|_| panic!("on purpose")));
    assert_eq!(answer.wait(LONG).unwrap_err().code(), Code::SpoolIo);
    std::panic::set_hook(hook);
    until("it is there again", || spool.keep(b"b".to_vec()).is_ok());
    until("nothing is lost", || BTreeSet::from_iter(texts(&spool)) == BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    assert!(spool.close(LONG));
    let shared = Shared::new(scratch.options(SyncRule::Always), Duration::from_millis(50), now_ms, Box::new(|_| {}));
    shared.suspect(&scratch.slot(0));
    let spool = Spool::start_with(shared).unwrap();
    spool.keep(b"c".to_vec()).unwrap();
    until("the file is put aside", || status(&spool, "damaged_files") == 1);
    assert_eq!(texts(&spool), ["c"]);
}

/// Has the disk fail, does something to what is on it, and has it work again.
fn meanwhile(spool: &Spool, work: impl FnOnce()) {
    faults(spool).write.store(true, Ordering::Relaxed);
    spool.keep(b"in vain".to_vec()).unwrap_err();
    // Long enough for several attempts to open it again.
    std::thread::sleep(Duration::from_millis(200));
    work();
    // An attempt that began before fails still.
    std::thread::sleep(Duration::from_millis(200));
    faults(spool).write.store(false, Ordering::Relaxed);
}

#[test]
fn positions_of_a_queue_that_is_gone_mean_nothing_in_the_next_one() {
    let scratch = Scratch::new("gone");
    let spool = scratch.spool();
    let former: Vec<u64> = (0..9).map(|n| spool.keep(vec![n]).unwrap()).collect();
    meanwhile(&spool, || fs::remove_file(scratch.slot(0).join("queue.redb")).unwrap());
    until("it recovers", || status(&spool, "poisoned") == 0);
    assert!(spool.keep(b"new".to_vec()).unwrap() > former[8]);
    // Who has read so far reads on.
    assert_eq!(spool.read(former[8], 9, 99).wait(LONG).unwrap().len(), 1);
    spool.done(former).unwrap();
    assert_eq!(texts(&spool), ["new"]);
}

#[test]
fn a_file_that_can_not_be_opened_for_a_while_is_not_put_aside() {
    let scratch = Scratch::new("unopened");
    let spool = scratch.spool();
    spool.keep(b"a".to_vec()).unwrap();
    let (file, away) = (scratch.slot(0).join("queue.redb"), scratch.0.join("away"));
    meanwhile(&spool, || {
        fs::rename(&file, &away).unwrap();
        fs::create_dir(&file).unwrap();
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(status(&spool, "poisoned"), 1);
    fs::remove_dir(&file).unwrap();
    fs::rename(&away, &file).unwrap();
    until("it recovers", || status(&spool, "poisoned") == 0);
    assert_eq!((texts(&spool).first().unwrap().as_str(), status(&spool, "damaged_files")), ("a", 0));
}

#[test]
fn a_slot_whose_disk_fails_is_let_go_and_taken_again_or_another_one_if_somebody_has_it() {
    let scratch = Scratch::new("let-go");
    let spool = scratch.spool();
    spool.keep(b"a".to_vec()).unwrap();
    let lock = || fs::File::open(scratch.slot(0).join("LOCK")).unwrap();
    assert!(lock().try_lock().is_err());
    // Not by taking it: the spool could come back in that very moment, and take another slot.
    let inode = format!(":{} ", lock().metadata().unwrap().ino());
    let is_held = || fs::read_to_string("/proc/locks").unwrap().lines().any(|line| line.contains(&inode));
    assert!(is_held());
    meanwhile(&spool, || until("it is let go", || !is_held()));
    until("it recovers", || status(&spool, "poisoned") == 0);
    assert_eq!(texts(&spool).first().unwrap(), "a");
    assert!(lock().try_lock().is_err());
    let other = lock();
    meanwhile(&spool, || until("it is somebody else's", || other.try_lock().is_ok()));
    until("it recovers", || status(&spool, "poisoned") == 0);
    spool.keep(b"b".to_vec()).unwrap();
    assert!(scratch.slot(1).join("queue.redb").exists());
    drop(other);
    until("what was left behind is adopted", || texts(&spool).contains(&"a".to_owned()));
}

#[test]
fn a_directory_without_its_file_system_is_not_used() {
    let scratch = Scratch::new("unmounted");
    let Some(mount) = Mount::new(&scratch.0, "size=60m") else { return };
    let spool = scratch.spool();
    spool.keep(b"a".to_vec()).unwrap();
    meanwhile(&spool, || drop(mount));
    std::thread::sleep(Duration::from_millis(300));
    let error = spool.append(b"hidden".to_vec()).err().unwrap();
    assert!(error.to_string().contains("another file system than before"), "{error}");
    assert!(!scratch.slot(0).exists());
}
