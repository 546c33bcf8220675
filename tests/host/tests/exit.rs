//! The process ends by `exit` while messages wait.

use host::{Broker, Subscriber};
use std::time::Duration;

const HOST: &str = env!("CARGO_BIN_EXE_host");
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn without_a_broker_the_end_takes_exit_timeout_ms() {
    for (limit_ms, slack_ms) in [("300", 1_500), ("0", 1_000), ("1000", 1_500)] {
        let limit = Duration::from_millis(limit_ms.parse().expect("a number"));
        let outcome = host::play(HOST, &["exit-without-broker", limit_ms, "7"], LIMIT);
        assert_eq!((outcome.code, outcome.signal, outcome.hung), (Some(7), None, false), "{}", outcome.log);
        let took = outcome.took;
        assert!(took >= limit, "{limit_ms} ms to exit, and it took {took:?}: nobody waited for the messages");
        assert!(took < limit + Duration::from_millis(slack_ms), "{limit_ms} ms to exit, and it took {took:?}");
        let told = outcome.log.contains("the process ends with 10 messages for nats://127.0.0.1:");
        assert!(told, "the log does not tell of the loss: {}", outcome.log);
    }
}

#[test]
fn what_was_published_just_before_the_end_arrives() {
    let broker = Broker::start();
    let mut subscriber = Subscriber::on(broker.port(), "test");
    for _ in 0..5 {
        host::play(HOST, &["exit-after-publishing", &broker.port().to_string()], LIMIT).must_be_well();
        let came = subscriber.collect(1_000);
        let sent: Vec<String> = (1..=1_000).map(|n| n.to_string()).collect();
        assert!(came == sent, "{} messages came instead of 1,000, or in another order", came.len());
    }
}

#[test]
fn an_end_amid_publishing_threads_is_an_end() {
    let broker = Broker::start();
    for _ in 0..5 {
        let outcome = host::play(HOST, &["exit-amid-publishing", &broker.port().to_string()], LIMIT);
        assert_eq!((outcome.code, outcome.signal, outcome.hung), (Some(5), None, false), "{}", outcome.log);
        assert!(outcome.took < Duration::from_secs(5), "the end took {:?}", outcome.took);
    }
}
