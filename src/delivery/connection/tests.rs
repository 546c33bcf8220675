//! What becomes of messages in a connection without a server.

use super::*;
use crate::message::Message;
use crate::value::Value;
use futures_util::FutureExt;

fn connection(options: &[(&str, Value)]) -> Connection {
    let options = Value::Table(options.iter().map(|(key, value)| ((*key).into(), value.clone())).collect());
    Connection::new(Endpoint::from_arguments(&Value::from("nats://h:1"), &options).unwrap(), || 1)
}

fn message() -> Message {
    Message::new("s".into(), Vec::new(), vec![1]).unwrap()
}

fn again() -> Outcome {
    Outcome::Again(Error::new(Code::NotStored, "x"))
}

fn try_once(connection: &Connection, outcome: Outcome) -> usize {
    let batch = lock(&connection.queue).take(10, Instant::now() + Duration::from_secs(3600));
    let count = batch.len();
    connection.settle(batch.into_iter().map(|entry| (entry, outcome.clone())));
    count
}

#[test]
fn retries_end_by_number_and_by_age_and_never_by_default() {
    let number = |connection: &Connection| (connection.is_pending(), connection.refused.load(Ordering::Relaxed));
    let endless = connection(&[]);
    endless.publish(message()).unwrap();
    for _ in 0..100 {
        assert_eq!(try_once(&endless, again()), 1);
    }
    assert_eq!(number(&endless), (true, 0));
    let limited = connection(&[("max_retries", Value::Integer(2))]);
    limited.publish(message()).unwrap();
    assert_eq!((0..9).map(|_| try_once(&limited, again())).sum::<usize>(), 3, "the first attempt and two more");
    assert_eq!(number(&limited), (false, 1));
    let aged = connection(&[("time_to_live", Value::Integer(1))]);
    aged.publish(message()).unwrap();
    aged.expire();
    assert_eq!(number(&aged), (true, 0));
    let mut old = lock(&aged.queue).take(1, Instant::now());
    old[0].accepted = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    aged.put_back(old);
    aged.expire();
    assert_eq!(number(&aged), (false, 1));
}

#[test]
fn pauses_grow_unless_one_is_given() {
    let pauses = |connection: &Connection| [1, 2, 3, 30].map(|attempts| connection.pause(attempts).as_millis());
    assert_eq!(pauses(&connection(&[])), [100, 200, 400, 4000]);
    assert_eq!(pauses(&connection(&[("retry_sleep_duration", Value::Integer(2))])), [2000; 4]);
}

#[test]
fn a_request_waits_for_room_and_for_delivery_so_long_and_no_longer() {
    let options = [("max_pending", Value::Integer(1)), ("overflow", "block".into()), ("wait_ms", Value::Integer(50))];
    let connection = Arc::new(connection(&options));
    // Nobody delivers: it is accepted all the same.
    connection.publish(message()).unwrap().unwrap().wait(Duration::from_millis(1));
    assert_eq!(connection.publish(message()).unwrap_err().code(), Code::QueueFull);
    let other = connection.clone();
    let waiting = std::thread::spawn(move || other.publish(message()));
    while try_once(&connection, Outcome::Delivered) == 0 || connection.delivered.load(Ordering::Relaxed) < 2 {
        if waiting.is_finished() {
            break;
        }
    }
    let receipt = waiting.join().unwrap().unwrap().unwrap();
    try_once(&connection, Outcome::Delivered);
    receipt.wait(Duration::from_secs(60));
}

#[test]
fn all_messages_of_a_request_wait_for_the_disk_together() {
    let directory = std::env::temp_dir().join(format!("rgw_nats-patience-{}", std::process::id()));
    let spool = Value::record([
        ("directory", directory.to_str().unwrap().into()),
        ("group_ms", Value::Integer(1000)),
        ("commit_timeout_ms", Value::Integer(60_000)),
    ]);
    let options = Value::record([("spool", spool)]);
    let endpoint = Endpoint::from_arguments(&Value::from("nats://h:1"), &options).unwrap();
    let connection = Connection::open(endpoint, || 1).unwrap();
    let deadline = Connection::patience(connection.endpoint());
    assert!(deadline > Instant::now() + Duration::from_secs(50));
    // What came before has used the time up: this one does not begin to wait anew.
    let late = connection.publish_all(vec![message()], Instant::now()).1.unwrap_err();
    assert_eq!(late.code(), Code::SpoolIo);
    assert!(connection.publish_all(vec![message()], deadline).1.is_ok());
    connection.end(Duration::from_secs(10));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn messages_that_are_published_together_go_to_disk_together() {
    let directory = std::env::temp_dir().join(format!("rgw_nats-together-{}", std::process::id()));
    let spool = Value::record([("directory", directory.to_str().unwrap().into()), ("group_ms", Value::Integer(200))]);
    let options = Value::record([("spool", spool)]);
    let endpoint = Endpoint::from_arguments(&Value::from("nats://h:1"), &options).unwrap();
    let connection = Connection::open(endpoint, || 1).unwrap();
    let begin = Instant::now();
    let (_, result) = connection.publish_all(vec![message(); 50], begin + Duration::from_secs(60));
    assert_eq!(result.map_err(|error| error.code()), Ok(()));
    assert!(begin.elapsed() < Duration::from_secs(5), "one after the other they take 10 s");
    assert_eq!(connection.accepted.load(Ordering::Relaxed), 50);
    connection.end(Duration::from_secs(10));
    std::fs::remove_dir_all(&directory).unwrap();
}

/// A connection with a spool in a directory of its own, and what removes that.
fn spooled(name: &str, keys: &[(&str, Value)], options: &[(&str, Value)]) -> (Arc<Connection>, impl FnOnce()) {
    let directory = std::env::temp_dir().join(format!("rgw_nats-{name}-{}", std::process::id()));
    let mut spool: Vec<(Value, Value)> = vec![("directory".into(), directory.to_str().unwrap().into())];
    spool.extend(keys.iter().map(|(key, value)| ((*key).into(), value.clone())));
    let mut all: Vec<(Value, Value)> = vec![("spool".into(), Value::Table(spool))];
    all.extend(options.iter().map(|(key, value)| ((*key).into(), value.clone())));
    let endpoint = Endpoint::from_arguments(&Value::from("nats://h:1"), &Value::Table(all)).unwrap();
    let clock = || u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis()).unwrap_or_default();
    let connection = Connection::open(endpoint, clock).unwrap();
    let of = connection.clone();
    (connection, move || {
        of.end(Duration::from_secs(10));
        std::fs::remove_dir_all(&directory).unwrap();
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_flush_ends_when_all_that_is_on_disk_is_delivered() {
    let (connection, end) = spooled("flush", &[], &[]);
    connection.publish(message()).unwrap();
    runtime().block_on(async {
        let batch = connection.take(10).await;
        connection.settle(batch.into_iter().map(|entry| (entry, Outcome::Delivered)));
        tokio::time::timeout(LONG, connection.flushed()).await.unwrap();
    });
    end();
}

#[test]
fn what_is_read_from_disk_is_not_lost_with_who_has_asked_for_it() {
    let (connection, end) = spooled("asked", &[], &[]);
    for _ in 0..3 {
        connection.publish(message()).unwrap();
    }
    // Asks as the courier does that always has something more urgent to do: for a moment, again and again.
    let (mut found, begin) = (0, Instant::now());
    runtime().block_on(async {
        while found < 3 && begin.elapsed() < Duration::from_secs(20) {
            found += connection.take(10).now_or_never().map_or(0, |batch| batch.len());
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(found, 3);
    end();
}

#[test]
fn a_request_waits_no_longer_when_its_message_has_expired_on_disk() {
    let (connection, end) =
        spooled("expired", &[("max_age_ms", Value::Integer(100))], &[("wait_ms", Value::Integer(10_000))]);
    // Nobody loads it.
    let receipt = connection.publish(message()).unwrap().unwrap();
    let begin = Instant::now();
    receipt.wait(LONG);
    assert!(begin.elapsed() < LONG);
    end();
}

#[test]
fn time_passes_too_for_what_nobody_takes_or_refuses() {
    let aged = connection(&[("time_to_live", Value::Integer(1))]);
    aged.publish(message()).unwrap();
    let unsent = || Outcome::Unsent(Error::new(Code::NotStored, "JetStream says nothing"));
    let mut batch = lock(&aged.queue).take(1, Instant::now());
    batch[0].accepted = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    aged.settle(batch.into_iter().map(|entry| (entry, unsent())));
    assert_eq!((aged.is_pending(), aged.refused.load(Ordering::Relaxed)), (false, 1));
}

#[test]
fn there_is_room_where_the_oldest_make_it() {
    for (overflow, wanted) in [("reject", false), ("block", false), ("drop_oldest", true)] {
        let connection = connection(&[("max_pending", Value::Integer(1)), ("overflow", overflow.into())]);
        assert!(connection.has_room(), "{overflow}");
        connection.publish(message()).unwrap();
        assert_eq!(connection.has_room(), wanted, "{overflow}");
    }
}

#[test]
fn what_one_message_comes_to_means_nothing_to_the_others() {
    let connection = connection(&[("max_pending", Value::Integer(2))]);
    let (receipts, result) = connection.publish_all(vec![message(); 5], Instant::now());
    assert_eq!((receipts.len(), result.unwrap_err().code()), (0, Code::QueueFull));
    let counts = [&connection.accepted, &connection.rejected].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counts, [2, 3]);
}

#[test]
fn status_counts_and_hides_secrets() {
    let options =
        Value::record([("max_pending", Value::Integer(1)), ("allow_cleartext_secrets", Value::Boolean(true))]);
    let endpoint = Endpoint::from_arguments(&Value::from("nats://u:hunter2@h:1"), &options).unwrap();
    let connection = Connection::new(endpoint, || 1);
    let message = Message::new("s".into(), Vec::new(), vec![1]).unwrap();
    assert!(connection.publish(message.clone()).is_ok());
    assert!(connection.publish(message).is_err());
    let status = format!("{:?}", connection.status());
    assert!(!status.contains("hunter2"));
    let Value::Table(fields) = connection.status() else { panic!("status is no table") };
    let number = |name: &str| {
        let field = fields.iter().find(|(key, _)| key.text() == Some(name));
        if let Some((_, Value::Integer(number))) = field { *number } else { panic!("{name} is no number") }
    };
    assert_eq!((number("pending"), number("accepted"), number("rejected")), (1, 1, 1));
}
