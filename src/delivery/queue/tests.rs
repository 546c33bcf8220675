//! The queue by itself.

use super::*;

fn message(size: usize) -> Message {
    Message::new("s".into(), Vec::new(), vec![0; size]).unwrap()
}

fn entry(size: usize, lane: u64) -> Entry {
    Entry::new(Message { lane, ..message(size) }, None)
}

fn bounds(messages: usize) -> Bounds {
    Bounds { messages, bytes: 1 << 20, drop_oldest: false }
}

fn push(queue: &mut Queue, size: usize, lane: u64) {
    queue.push(entry(size, lane), Bounds { bytes: 1 << 30, ..bounds(10_000) }).unwrap();
}

fn sizes(batch: &[Entry]) -> Vec<usize> {
    batch.iter().map(|entry| entry.message.payload.len()).collect()
}

/// Takes and delivers batch after batch until there are no more; gives the sizes in their order.
fn one_by_one(queue: &mut Queue, now: Instant) -> Vec<usize> {
    let mut order = Vec::new();
    loop {
        let batch = queue.take(BATCH, now);
        if batch.is_empty() {
            return order;
        }
        order.extend(sizes(&batch));
        batch.iter().for_each(|entry| queue.done(entry));
    }
}

fn code(result: Result<Pushed, Refused>) -> Option<Code> {
    result.err().map(|refused| refused.1.code())
}

#[test]
fn both_bounds_hold_with_those_in_flight() {
    let mut queue = Queue::default();
    assert!(queue.push(entry(1, 0), bounds(2)).unwrap().wake);
    assert!(!queue.push(entry(1, 0), bounds(2)).unwrap().wake);
    let batch = queue.take(BATCH, Instant::now());
    assert_eq!(batch.len(), 2);
    assert_eq!(code(queue.push(entry(1, 0), bounds(2))), Some(Code::QueueFull));
    batch.iter().for_each(|entry| queue.done(entry));
    assert_eq!(queue.pending(), (0, 0));
    queue.push(entry(1, 0), bounds(2)).unwrap();
    queue.push(entry(1 << 19, 0), bounds(9)).unwrap();
    assert_eq!(code(queue.push(entry(1 << 19, 0), bounds(9))), Some(Code::QueueFull));
    assert_eq!(code(queue.push(entry(1 << 20, 0), bounds(9))), Some(Code::TooLarge));
}

#[test]
fn the_oldest_make_room_where_that_is_wanted_but_not_those_in_flight() {
    let mut queue = Queue::default();
    let bounds = Bounds { drop_oldest: true, ..bounds(3) };
    for size in 1..=3 {
        queue.push(entry(size, 0), bounds).unwrap();
    }
    assert_eq!(sizes(&queue.push(entry(4, 0), bounds).unwrap().dropped), [1]);
    assert_eq!(sizes(&queue.take(BATCH, Instant::now())), [2, 3, 4]);
    assert_eq!(code(queue.push(entry(5, 0), bounds)), Some(Code::QueueFull));
}

#[test]
fn a_lane_stays_in_order_when_its_first_message_is_too_old() {
    let mut queue = Queue::default();
    (1..=4).for_each(|size| push(&mut queue, size, 7));
    let first = queue.take(BATCH, Instant::now());
    queue.put_back(first);
    for old in queue.take_older(|entry| entry.message.payload.len() == 1) {
        queue.done(&old);
    }
    let order = one_by_one(&mut queue, Instant::now());
    assert_eq!(order, [2, 3, 4]);
    assert!(queue.lanes.is_empty() && queue.pending() == (0, 0));
}

#[test]
fn batches_are_bounded_and_in_order() {
    let mut queue = Queue::default();
    let size = |number: usize| number % 100;
    for number in 0..BATCH + 1 {
        push(&mut queue, size(number), 0);
    }
    assert_eq!(sizes(&queue.take(BATCH, Instant::now())), (0..BATCH).map(size).collect::<Vec<_>>());
    assert_eq!(queue.take(BATCH, Instant::now()).len(), 1);
    push(&mut queue, BATCH_BYTES * 2, 0);
    push(&mut queue, 1, 0);
    assert_eq!(queue.take(BATCH, Instant::now()).len(), 1);
}

#[test]
fn what_is_put_back_goes_first_again() {
    let mut queue = Queue::default();
    for size in 0..5 {
        push(&mut queue, size, 7);
        push(&mut queue, size + 10, 0);
    }
    let batch = queue.take(3, Instant::now());
    assert_eq!(sizes(&batch), [0, 10, 11]);
    queue.put_back(batch);
    // Those of lane 7 that the first taking went past are behind their first one again.
    assert_eq!(sizes(&queue.take(BATCH, Instant::now())), [0, 10, 11, 12, 13, 14]);
    assert_eq!(queue.pending().0, 10);
}

#[test]
fn what_had_to_go_for_a_message_that_is_refused_after_all_is_told() {
    let mut queue = Queue::default();
    let bounds = Bounds { bytes: 10_000, drop_oldest: true, ..bounds(100) };
    queue.push(entry(8000, 0), bounds).unwrap();
    let flying = queue.take(BATCH, Instant::now());
    for size in 1..=3 {
        queue.push(entry(size, 0), bounds).unwrap();
    }
    let refused = queue.push(entry(5000, 0), bounds).unwrap_err();
    assert_eq!((refused.1.code(), sizes(&refused.2)), (Code::QueueFull, vec![1, 2, 3]));
    assert_eq!(queue.pending().0, flying.len());
}

#[test]
fn the_oldest_is_found_among_those_put_off_and_in_lanes() {
    let mut queue = Queue::default();
    let bounds = Bounds { drop_oldest: true, ..bounds(4) };
    for (size, lane) in [(1, 7), (2, 7), (3, 7), (4, 8)] {
        queue.push(entry(size, lane), bounds).unwrap();
    }
    let now = Instant::now();
    let mut batch = queue.take(BATCH, now);
    assert_eq!(sizes(&batch), [1, 4]);
    queue.put_off(batch.remove(1), now + Duration::from_secs(1));
    // 1 is in flight; 2 and 3 wait for it; 4 is put off.
    let drop_for = |queue: &mut Queue, size| sizes(&queue.push(entry(size, 0), bounds).unwrap().dropped);
    assert_eq!(drop_for(&mut queue, 5), [4]);
    assert_eq!(drop_for(&mut queue, 6), [5]);
    assert_eq!(sizes(&queue.take(BATCH, now)), [6]);
    assert_eq!(drop_for(&mut queue, 7), [2]);
    queue.done(&batch[0]);
    assert_eq!(sizes(&queue.take(BATCH, now)), [3, 7]);
}

#[test]
fn a_lane_whose_turn_is_dropped_goes_on_with_the_next() {
    let mut queue = Queue::default();
    let bounds = Bounds { drop_oldest: true, ..bounds(3) };
    for size in 1..=3 {
        queue.push(entry(size, 7), bounds).unwrap();
    }
    let first = queue.take(1, Instant::now());
    assert!(queue.take(BATCH, Instant::now()).is_empty());
    queue.put_back(first);
    assert_eq!(sizes(&queue.push(entry(4, 7), bounds).unwrap().dropped), [1]);
    let order = one_by_one(&mut queue, Instant::now());
    assert_eq!((order, queue.lanes.len()), (vec![2, 3, 4], 0));
}

#[test]
fn a_lane_goes_one_by_one_and_others_go_on() {
    let mut queue = Queue::default();
    for (size, lane) in [(1, 7), (2, 7), (3, 8), (4, 7), (5, 0)] {
        push(&mut queue, size, lane);
    }
    let now = Instant::now();
    let mut batch = queue.take(BATCH, now);
    assert_eq!(sizes(&batch), [1, 3, 5]);
    assert!(queue.take(BATCH, now).is_empty());
    // The first one must be sent again: its lane waits, the others are through.
    let first = batch.remove(0);
    batch.iter().for_each(|entry| queue.done(entry));
    let due = now + Duration::from_secs(1);
    queue.put_off(first, due);
    assert_eq!(queue.due(), Some(due));
    push(&mut queue, 6, 7);
    assert!(queue.take(BATCH, now).is_empty());
    let order = one_by_one(&mut queue, due);
    assert_eq!(order, [1, 2, 4, 6]);
    assert_eq!((queue.pending(), queue.lanes.len()), ((0, 0), 0));
}

#[test]
fn a_closed_queue_refuses() {
    let mut queue = Queue::default();
    queue.close();
    assert_eq!(code(queue.push(entry(1, 0), bounds(2))), Some(Code::Closed));
}

#[test]
fn what_comes_soon_after_a_batch_lingers_unless_it_must_not() {
    const LIMIT: Duration = Duration::from_secs(10);
    let start = Instant::now();
    let mut queue = Queue::default();
    let lingers = |queue: &Queue, seconds| queue.lingers(LIMIT, start + Duration::from_secs(seconds));
    push(&mut queue, 1, 7);
    assert_eq!(lingers(&queue, 0), None, "the first one goes at once");
    let first = queue.take(BATCH, start);
    assert_eq!(lingers(&queue, 0), None, "there is none");
    push(&mut queue, 2, 7);
    push(&mut queue, 3, 8);
    assert_eq!(lingers(&queue, 0), Some(start + LIMIT));
    assert_eq!(lingers(&queue, 10), None, "its time is over");
    queue.put_off(entry(9, 0), start + Duration::from_secs(5));
    assert_eq!(lingers(&queue, 0), Some(start + Duration::from_secs(5)));
    assert_eq!(lingers(&queue, 5), None, "another one is due");
    assert_eq!(sizes(&queue.take(BATCH, start)), [3]);
    first.iter().for_each(|entry| queue.done(entry));
    assert_eq!(lingers(&queue, 0), None, "it has waited for its turn");
    assert_eq!(sizes(&queue.take(BATCH, start)), [2]);
    push(&mut queue, 4, 9);
    assert!(lingers(&queue, 0).is_some());
    assert!(queue.push(entry(5, 0), bounds(100)).unwrap().wake, "one that is not to linger");
    assert_eq!(lingers(&queue, 0), None);
    assert_eq!(sizes(&queue.take(BATCH, start)), [4, 5]);
    push(&mut queue, 6, 10);
    queue.hurry();
    assert_eq!(lingers(&queue, 0), None);
}

#[test]
fn a_crowd_does_not_linger() {
    let mut queue = Queue::default();
    push(&mut queue, 1, 1);
    let now = Instant::now();
    queue.take(BATCH, now);
    let lane = |number: usize| u64::try_from(number).unwrap() + 2;
    let wakes: Vec<bool> =
        (0..=CROWD).map(|number| queue.push(entry(1, lane(number)), bounds(1000)).unwrap().wake).collect();
    assert_eq!(wakes.iter().filter(|wakes| **wakes).count(), 2, "for the first one and for the last");
    assert!(wakes[0] && wakes[CROWD]);
    assert_eq!(queue.lingers(Duration::from_secs(10), now), None);
    assert_eq!(queue.take(BATCH, now).len(), CROWD + 1);
}

#[test]
fn what_has_half_of_the_room_does_not_linger() {
    let (now, limit) = (Instant::now(), Duration::from_secs(10));
    for bounds in [bounds(6), Bounds { bytes: 12_000, ..bounds(1000) }] {
        let mut queue = Queue::default();
        queue.push(entry(1, 1), bounds).unwrap();
        queue.take(BATCH, now).iter().for_each(|entry| queue.done(entry));
        let mut pushes =
            (2..=6).map(|lane| (queue.push(entry(1500, lane), bounds).unwrap().wake, queue.lingers(limit, now)));
        assert!(matches!(pushes.next(), Some((true, Some(_)))));
        let hurried = pushes.position(|(wake, lingers)| wake && lingers.is_none());
        assert!(hurried.is_some_and(|place| place > 0), "{hurried:?}");
    }
}

#[test]
fn a_lane_is_not_given_away_by_one_whose_turn_it_never_was() {
    let mut queue = Queue::default();
    for (size, lane) in [(1, 7), (9, 0), (2, 7), (3, 7)] {
        push(&mut queue, size, lane);
    }
    let now = Instant::now();
    let first = queue.take(1, now);
    // The second one of the lane stands behind the end of the batch; it is too old, as the one before it.
    for old in queue.take_older(|entry| [9, 2].contains(&entry.message.payload.len())) {
        queue.done(&old);
    }
    assert!(queue.take(BATCH, now).is_empty(), "1 is in flight");
    queue.done(&first[0]);
    assert_eq!(sizes(&queue.take(BATCH, now)), [3]);
}

#[test]
fn someone_is_woken_for_what_becomes_ready_when_another_one_makes_room() {
    let mut queue = Queue::default();
    let bounds = Bounds { drop_oldest: true, ..bounds(2) };
    for size in 1..=2 {
        queue.push(entry(size, 7), bounds).unwrap();
    }
    let now = Instant::now();
    let first = queue.take(BATCH, now).remove(0);
    queue.put_off(first, now + Duration::from_secs(3600));
    let pushed = queue.push(entry(3, 8), bounds).unwrap();
    assert_eq!((sizes(&pushed.dropped), pushed.wake), (vec![1], true));
    assert_eq!(sizes(&queue.take(BATCH, now)), [2, 3]);
}

#[test]
fn what_a_batch_leaves_behind_does_not_linger_again() {
    let mut queue = Queue::default();
    (1..=3).for_each(|lane| push(&mut queue, 1, lane));
    let (now, limit) = (Instant::now(), Duration::from_secs(10));
    assert_eq!(queue.take(1, now).len(), 1);
    assert_eq!(queue.lingers(limit, now), None);
    assert_eq!(queue.take(BATCH, now).len(), 2);
}
