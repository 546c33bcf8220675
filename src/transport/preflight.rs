//! What can go wrong with a stream, said before it does, each with the command that mends it.

use super::streams::matches;
use serde_json::Value;

/// What a stream is looked at for.
pub struct Use<'u> {
    /// A subject that it is to take.
    pub subject: &'u str,
    /// The largest message that the server takes, in bytes.
    pub max_payload: usize,
    /// After how long a message is sent again of which nothing is known, in milliseconds.
    pub ack_timeout_ms: u64,
    /// Whether the server is one of a cluster.
    pub clustered: bool,
}

/// What is wrong with a stream, by its configuration as JetStream shows it.
pub fn warnings(name: &str, config: &Value, wanted: &Use<'_>) -> Vec<String> {
    let is = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
    let number = |key: &str| config.get(key).and_then(Value::as_i64).unwrap_or_default();
    let mut found = Vec::new();
    let mut warn = |text: String| found.push(format!("stream {name}: {text}"));
    if !subjects(config).iter().any(|filter| matches(filter, wanted.subject)) {
        warn(format!("does not take {}; nats stream edit {name} --subjects=… with what does", wanted.subject));
    }
    if is("sealed") {
        warn("is sealed and takes nothing any more; make another one and name it".to_owned());
    }
    if is("no_ack") {
        warn(format!("acknowledges nothing (no_ack), so it is not waited for; nats stream edit {name} --ack"));
    }
    let limits = ["max_msgs", "max_bytes", "max_msgs_per_subject"];
    let limited: Vec<&str> = limits.into_iter().filter(|limit| number(limit) > 0).collect();
    if config.get("discard").and_then(Value::as_str) != Some("new") && !limited.is_empty() {
        let limits = limited.join(" and ");
        warn(format!("drops its oldest messages when {limits} is reached; nats stream edit {name} --discard=new"));
    }
    let largest = number("max_msg_size");
    if largest > 0 && usize::try_from(largest).is_ok_and(|largest| largest < wanted.max_payload) {
        let text = format!("takes messages of {largest} bytes at most, the server {}", wanted.max_payload);
        warn(format!("{text}; nats stream edit {name} --max-msg-size=-1"));
    }
    // A message of which nothing is known is sent again after the timeout, and once more after the time that it takes to
    // come back to a broker.
    let (window, span) = (number("duplicate_window") / 1_000_000, wanted.ack_timeout_ms.saturating_mul(2) + 60_000);
    if u64::try_from(window).unwrap_or_default() < span {
        let text = format!("knows a repeated message for {window} ms only");
        warn(format!("{text}; nats stream edit {name} --dupe-window={}s", span.div_ceil(1000)));
    }
    if wanted.clustered && number("num_replicas") < 2 {
        warn(format!("is on one server of the cluster alone; nats stream edit {name} --replicas=3"));
    }
    found
}

/// The subjects that a stream takes.
pub fn subjects(config: &Value) -> Vec<String> {
    let list = config.get("subjects").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(change: &[(&str, Value)]) -> Vec<String> {
        let mut config = json!({
            "name": "events", "subjects": ["s3.>"], "max_msgs": -1, "max_bytes": -1, "max_msg_size": -1,
            "discard": "old", "duplicate_window": 120_000_000_000_i64, "num_replicas": 3,
        });
        for (key, value) in change {
            config[key] = value.clone();
        }
        let wanted = Use { subject: "s3.a.b", max_payload: 1 << 20, ack_timeout_ms: 5000, clustered: true };
        warnings("events", &config, &wanted)
    }

    #[test]
    fn each_fault_is_told_with_what_mends_it() {
        assert_eq!(of(&[]), Vec::<String>::new());
        for (change, part) in [
            (("subjects", json!(["s4.>"])), "does not take s3.a.b; nats stream edit events --subjects"),
            (("sealed", json!(true)), "is sealed"),
            (("no_ack", json!(true)), "nats stream edit events --ack"),
            (("max_bytes", json!(1000)), "when max_bytes is reached; nats stream edit events --discard=new"),
            (("max_msg_size", json!(1000)), "takes messages of 1000 bytes at most, the server 1048576"),
            (
                ("duplicate_window", json!(5_000_000_000_i64)),
                "for 5000 ms only; nats stream edit events --dupe-window=70s",
            ),
            (("num_replicas", json!(1)), "nats stream edit events --replicas=3"),
        ] {
            let found = of(std::slice::from_ref(&change));
            assert!(found.len() == 1 && found[0].contains(part), "{change:?}: {found:?}");
        }
        assert_eq!(of(&[("max_bytes", json!(1000)), ("discard", json!("new"))]), Vec::<String>::new());
    }
}
