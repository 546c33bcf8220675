//! Several spools on one directory, and processes that die.

use super::*;

#[test]
fn two_spools_have_two_slots_and_the_one_that_is_left_adopts() {
    let scratch = Scratch::new("slots");
    let one = scratch.spool();
    let position = one.keep(b"a".to_vec()).unwrap();
    let two = scratch.spool();
    two.keep(b"b".to_vec()).unwrap();
    one.keep(b"c".to_vec()).unwrap();
    one.bury(vec![position], "denied".into()).wait(LONG).unwrap();
    assert!(scratch.slot(0).join("queue.redb").exists() && scratch.slot(1).join("queue.redb").exists());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(texts(&two), ["b"], "a slot in use is let alone");
    drop(one);
    until("it is adopted", || texts(&two) == ["b", "c"]);
    until("the dead letter too", || dead(&two).len() == 1);
    let letter = dead(&two).remove(0);
    assert_eq!((letter.entry.bytes.as_slice(), letter.reason.as_str()), (&b"a"[..], "denied"));
    until("nothing is left behind", || !scratch.slot(0).join("queue.redb").exists());
    let positions: Vec<u64> = all(&two).iter().map(|entry| entry.position).collect();
    assert!(positions.is_sorted_by(|a, b| a < b));
    // The slot that became free is used again.
    let three = scratch.spool();
    three.keep(b"d".to_vec()).unwrap();
    assert!(scratch.slot(0).join("queue.redb").exists());
}

#[test]
fn more_than_there_is_room_for_is_adopted_later() {
    let scratch = Scratch::new("room");
    let one = scratch.spool();
    for n in 0..3 {
        one.keep(vec![n; 100]).unwrap();
    }
    let two = start(Options { max_messages: 1, ..scratch.options(SyncRule::Always) });
    let position = two.keep(vec![9]).unwrap();
    drop(one);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(all(&two).len(), 1);
    two.done(vec![position]).unwrap();
    until("it is adopted", || all(&two).len() == 3);
}

/// The child's part of the test below; does nothing on its own.
#[test]
fn child_that_is_killed() {
    let Some(directory) = std::env::var_os("RGW_NATS_SPOOL_CHILD") else { return };
    let scratch = std::mem::ManuallyDrop::new(Scratch(directory.into()));
    let spool = scratch.spool();
    for n in 0_u64.. {
        spool.keep(n.to_be_bytes().to_vec()).unwrap();
        fs::write(scratch.0.join("acknowledged.new"), format!("{n}")).unwrap();
        fs::rename(scratch.0.join("acknowledged.new"), scratch.0.join("acknowledged")).unwrap();
    }
}

#[test]
fn what_a_killed_process_had_acknowledged_is_adopted() {
    let scratch = Scratch::new("killed");
    for round in 0..3 {
        let ours = (round > 0).then(|| scratch.spool());
        let before = ours.as_ref().map_or(0, |ours| {
            ours.keep(b"ours".to_vec()).unwrap();
            all(ours).len()
        });
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "delivery::spool::tests::slots::child_that_is_killed"])
            .env("RGW_NATS_SPOOL_CHILD", &scratch.0)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        until("the child has begun", || scratch.0.join("acknowledged").exists());
        std::thread::sleep(Duration::from_millis(100));
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged: usize = fs::read_to_string(scratch.0.join("acknowledged")).unwrap().parse().unwrap();
        fs::remove_file(scratch.0.join("acknowledged")).unwrap();
        let spool = ours.unwrap_or_else(|| scratch.spool());
        until("all is there", || all(&spool).len() > before + acknowledged);
        let entries = all(&spool);
        let found: Vec<u64> =
            entries[before..].iter().map(|entry| u64::from_be_bytes(entry.bytes.clone().try_into().unwrap())).collect();
        let length = u64::try_from(found.len()).unwrap();
        assert_eq!(found, (0..length).collect::<Vec<_>>(), "in order, nothing invented");
        spool.done(entries.iter().map(|entry| entry.position).collect()).unwrap();
        assert!(spool.close(LONG));
    }
}

#[test]
fn a_forked_child_keeps_off() {
    let scratch = Scratch::new("fork");
    let spool = scratch.spool();
    spool.keep(b"a".to_vec()).unwrap();
    // SAFETY: the child calls nothing that takes a lock of another thread's, and leaves by _exit.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let refused = spool.done(vec![1]).is_err() && !spool.is_of_this_process();
            spool.forked();
            libc::_exit(i32::from(!refused));
        }
        let mut outcome = 0;
        libc::waitpid(child, &raw mut outcome, 0);
        assert_eq!(outcome, 0);
    }
    spool.keep(b"b".to_vec()).unwrap();
    let other = scratch.spool();
    other.keep(b"c".to_vec()).unwrap();
    assert_eq!(texts(&spool), ["a", "b"], "the slot is still held");
}

#[test]
fn an_unknown_format_is_left_alone() {
    let scratch = Scratch::new("format");
    fs::create_dir(scratch.slot(0)).unwrap();
    fs::write(scratch.slot(0).join("FORMAT"), "2\n").unwrap();
    fs::write(scratch.slot(0).join("queue.redb"), "something else").unwrap();
    fs::create_dir(scratch.slot(1)).unwrap();
    fs::write(scratch.slot(1).join("queue.redb"), "no format").unwrap();
    let names = |slot| {
        let mut names: Vec<_> =
            fs::read_dir(scratch.slot(slot)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let spool = scratch.spool();
    spool.keep(b"a".to_vec()).unwrap();
    until("both are refused", || status(&spool, "refused_slots") == 2);
    assert!(scratch.slot(2).join("queue.redb").exists());
    assert_eq!((names(0).len(), names(1).len()), (2, 1));
    assert_eq!(fs::read_to_string(scratch.slot(0).join("queue.redb")).unwrap(), "something else");
    assert_eq!(fs::read_to_string(scratch.slot(1).join("queue.redb")).unwrap(), "no format");
}

#[test]
fn files_are_the_owners_alone() {
    let scratch = Scratch::new("modes");
    let directory = scratch.0.join("a").join("b");
    let spool = start(Options { directory: directory.display().to_string(), ..scratch.options(SyncRule::Always) });
    spool.keep(b"a".to_vec()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join("slot-0"))), (0o700, 0o700));
    for entry in fs::read_dir(directory.join("slot-0")).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
