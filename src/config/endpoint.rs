//! Where to connect to, and how: the key of the registry.

use super::{Auth, EnsureStream, Fields, Secret, Server, Spool, Tls, refuse};
use crate::error::{Code, Error};
use crate::value::Value;
use std::hash::{Hash, Hasher};

/// When a message counts as delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ack {
    /// When the broker says so: a stream's acknowledgement, or a round trip where no stream takes it.
    #[default]
    Broker,
    /// When it is handed to the connection.
    None,
}

/// What happens to a message for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// It is refused.
    #[default]
    Reject,
    /// The oldest that are not in flight make room.
    DropOldest,
    /// Its request waits for room, and it is refused if there is none in time.
    Block,
}

/// The choices of `overflow` by name.
const OVERFLOWS: [(&str, Overflow); 3] =
    [("reject", Overflow::Reject), ("drop_oldest", Overflow::DropOldest), ("block", Overflow::Block)];

/// All that tells one connection from another. Two equal endpoints share one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The servers, in the order given.
    pub servers: Vec<Server>,
    /// Who connects, where a server's URL does not say so.
    pub auth: Auth,
    /// How, if TLS is a must and not left to URLs and servers.
    pub tls: Option<Tls>,
    /// The name of the connection, as the server's monitoring shows it. Default: `rgw_nats/<version>`.
    pub name: String,
    /// What the inboxes of this connection begin with. Default: `_INBOX`.
    pub inbox_prefix: String,
    /// Whether the server keeps from this connection what it has published itself. Default: no.
    pub no_echo: bool,
    /// How often the server is asked for a sign of life, in milliseconds; the third unanswered one ends the connection. Default
    /// 10,000: a broker that has vanished is noticed in 30 s, where TCP alone takes a quarter of an hour.
    pub ping_interval_ms: u64,
    /// The first wait before a further attempt to connect, once all servers had their turn, in milliseconds. Default 50.
    pub reconnect_wait_ms: u64,
    /// The longest such wait, in milliseconds; each is twice as long as the one before. Default 4,000.
    pub max_reconnect_wait_ms: u64,
    /// How many messages may wait for this endpoint, those in flight included. Default 100,000.
    pub max_pending: u64,
    /// How many bytes of messages may wait for this endpoint. Default 67,108,864.
    pub max_pending_bytes: u64,
    /// How long one attempt to connect may take, in milliseconds. Default 5,000.
    pub connect_timeout_ms: u64,
    /// After how long without the server's confirmation that is logged and asked for again, in milliseconds. Default 5,000.
    pub ack_timeout_ms: u64,
    /// A connection that no one has used for so long is closed, in milliseconds. Default 600,000; 0 is never.
    pub idle_timeout_ms: u64,
    /// When a message counts as delivered. Default: when the broker has it.
    pub ack: Ack,
    /// The stream that must take each message; none is any stream there is for its subject, or none.
    pub stream: Option<String>,
    /// What to make that stream with, if it is not there.
    pub ensure_stream: Option<EnsureStream>,
    /// Where and how messages are kept on disk; in memory alone, if nowhere.
    pub spool: Option<Spool>,
    /// Where it is told of messages that were given up; nowhere, if none.
    pub dead_letter_subject: Option<String>,
    /// After how many seconds a message that was not delivered is given up; 0, the default, is never. RGW's
    /// `time_to_live`.
    pub time_to_live: u64,
    /// After how many further attempts that came to nothing it is; 0, the default, is never. RGW's `max_retries`.
    pub max_retries: u64,
    /// How many seconds lie between attempts; 0, the default, is from 100 ms on, twice as long each time, up to 4 s. RGW's
    /// `retry_sleep_duration`.
    pub retry_sleep_duration: u64,
    /// What happens to a message for which there is no room. Default: it is refused.
    pub overflow: Overflow,
    /// How long a request waits for room where `overflow` is `block`, in milliseconds. Default 100.
    pub block_ms: u64,
    /// How long a request waits for its message to be delivered, in milliseconds. Default 0.
    pub wait_ms: u64,
    /// How long after events went out the next ones go at the earliest, in milliseconds: those that come meanwhile go together.
    /// Default 4; 0 is at once.
    pub linger_ms: u64,
    /// How long the end of the process may wait for messages to leave, in milliseconds. Default 2,000.
    pub exit_timeout_ms: u64,
}

/// Looked up at each request, so that what seldom differs is left out.
impl Hash for Endpoint {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.servers.hash(hasher);
        self.name.hash(hasher);
    }
}

impl Endpoint {
    /// Reads the servers and all options of an endpoint; problems are noted in `fields`.
    pub fn read(servers: Option<&Value>, fields: &mut Fields<'_>) -> Endpoint {
        let cleartext = fields.boolean("allow_cleartext_secrets", false);
        let name = fields.text("name", 256).unwrap_or(concat!("rgw_nats/", env!("CARGO_PKG_VERSION"))).to_owned();
        let (auth, tls) = (Auth::read(fields), Tls::read(fields));
        let servers = Server::read(servers, fields);
        check_logins(&servers, &auth, tls.is_some(), cleartext, fields);
        Endpoint {
            servers,
            auth,
            tls,
            name,
            inbox_prefix: inbox_prefix(fields),
            no_echo: fields.boolean("no_echo", false),
            ping_interval_ms: fields.integer("ping_interval_ms", 100..=3_600_000, 10_000),
            reconnect_wait_ms: fields.integer("reconnect_wait_ms", 1..=60_000, 50),
            max_reconnect_wait_ms: fields.integer("max_reconnect_wait_ms", 1..=3_600_000, 4_000),
            max_pending: fields.integer("max_pending", 1..=10_000_000, 100_000),
            max_pending_bytes: fields.integer("max_pending_bytes", 1024..=1 << 36, 64 << 20),
            connect_timeout_ms: fields.integer("connect_timeout_ms", 10..=300_000, 5_000),
            ack_timeout_ms: fields.integer("ack_timeout_ms", 10..=300_000, 5_000),
            idle_timeout_ms: fields.integer("idle_timeout_ms", 0..=86_400_000, 600_000),
            ack: fields.choice("ack", &[("broker", Ack::Broker), ("none", Ack::None)]),
            stream: stream(fields),
            ensure_stream: ensure_stream(fields),
            spool: spool(fields),
            dead_letter_subject: dead_letter_subject(fields),
            time_to_live: fields.integer("time_to_live", 0..=31_536_000, 0),
            max_retries: fields.integer("max_retries", 0..=1_000_000, 0),
            retry_sleep_duration: fields.integer("retry_sleep_duration", 0..=86_400, 0),
            overflow: fields.choice("overflow", &OVERFLOWS),
            block_ms: fields.integer("block_ms", 0..=10_000, 100),
            wait_ms: fields.integer("wait_ms", 0..=10_000, 0),
            linger_ms: fields.integer("linger_ms", 0..=10_000, 4),
            exit_timeout_ms: fields.integer("exit_timeout_ms", 0..=60_000, 2_000),
        }
    }

    /// The endpoint of `connect(servers, options)`.
    ///
    /// # Errors
    /// `bad_argument` if `options` is no table, `bad_config` with everything that is wrong.
    pub fn from_arguments(servers: &Value, options: &Value) -> Result<Endpoint, Error> {
        if !matches!(options, Value::Nil | Value::Table(_)) {
            return Err(Error::new(Code::BadArgument, format!("options must be a table, got {}", options.kind())));
        }
        let mut fields = Fields::new("", options);
        let endpoint = Endpoint::read(Some(servers), &mut fields);
        refuse(&fields.finish())?;
        Ok(endpoint)
    }

    /// Whether a secret stands in the configuration itself, in a URL or elsewhere.
    pub fn has_secret(&self) -> bool {
        let key = self.tls.as_ref().and_then(|tls| tls.identity.as_ref()).is_some_and(|(_, key)| key.is_inline());
        key || self.auth.has_inline_secret() || self.servers.iter().any(|server| *server.auth() != Auth::None)
    }

    /// The files that its login and TLS are read from, at each connection.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.auth.secrets().filter_map(Secret::file).chain(self.tls.iter().flat_map(Tls::files))
    }

    /// The servers as one text without secrets.
    pub fn shown(&self) -> String {
        let shown: Vec<String> = self.servers.iter().map(Server::to_string).collect();
        shown.join(",")
    }
}

/// The beginning of a subject: tokens, none of them a wildcard.
fn inbox_prefix(fields: &mut Fields<'_>) -> String {
    let prefix = fields.text("inbox_prefix", 100).unwrap_or("_INBOX").to_owned();
    let legal = |c: char| !c.is_whitespace() && !c.is_control() && c != '*' && c != '>';
    if prefix.split('.').any(str::is_empty) || !prefix.chars().all(legal) {
        fields.problem("inbox_prefix", "must be tokens with dots between: no white space, no * and no >");
    }
    prefix
}

/// The name of a stream; which letters it can have is JetStream's rule.
fn stream(fields: &mut Fields<'_>) -> Option<String> {
    let name = fields.text("stream", 255)?;
    if fields.value("ack").and_then(Value::text) == Some("none") {
        fields.problem("stream", "can't be had with ack = \"none\", which awaits no stream; leave one of them out");
    }
    if name.is_empty() || name.contains(['.', '*', '>', '/', '\\']) || name.contains(char::is_whitespace) {
        fields.problem("stream", "must be the name of a stream: no dots, wildcards, slashes and white space");
    }
    Some(name.to_owned())
}

/// One subject for all: what it was that was given up is said in headers.
fn dead_letter_subject(fields: &mut Fields<'_>) -> Option<String> {
    let subject = fields.text("dead_letter_subject", 1024)?;
    let empty = subject.split('.').any(str::is_empty);
    if empty
        || subject.starts_with('$')
        || subject.contains(['*', '>', '{', '}'])
        || subject.contains(char::is_whitespace)
    {
        let text = "must be one subject, such as dead.s3: no wildcards, variables, white space and empty tokens";
        fields.problem("dead_letter_subject", text);
    }
    Some(subject.to_owned())
}

/// What is on disk has bounds of its own, and no oldest message is ever dropped for a new one there.
fn spool(fields: &mut Fields<'_>) -> Option<Spool> {
    let spool = Spool::read(fields)?;
    for key in ["overflow", "block_ms"] {
        if fields.value(key).is_some() {
            fields.problem(key, "has no effect beside spool, which refuses what it has no room for (spool_full)");
        }
    }
    Some(spool)
}

/// A stream that may be made must have a name.
fn ensure_stream(fields: &mut Fields<'_>) -> Option<EnsureStream> {
    let stream = EnsureStream::read(fields)?;
    if fields.value("stream").is_none() {
        fields.problem("ensure_stream", "needs the name of the stream beside it: stream");
    }
    Some(stream)
}

/// One login at a time, and none in clear text unless that is allowed.
fn check_logins(servers: &[Server], auth: &Auth, tls: bool, cleartext: bool, fields: &mut Fields<'_>) {
    if *auth != Auth::None && servers.iter().any(|server| *server.auth() != Auth::None) {
        fields.problem("auth", "and a URL both say who connects; one of them is enough");
    }
    if tls && servers.iter().any(|server| server.address().starts_with("ws:")) {
        fields.problem("tls", "can't be had with ws://; write wss://");
    }
    for server in servers.iter().filter(|server| server.is_clear() && !tls && !cleartext) {
        let (key, what) = match (server.auth(), auth) {
            (Auth::None, auth) if auth.is_sent() => ("auth", "has a password or a token"),
            (Auth::None, _) => continue,
            _ => ("url", "has a user or a token in it"),
        };
        let text = format!(
            "{what} that {server} would get in clear text; use tls:// or wss://, add a table tls, or set \
             allow_cleartext_secrets"
        );
        fields.problem(key, text);
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn endpoint(servers: Value, options: Value) -> Result<Endpoint, String> {
        Endpoint::from_arguments(&servers, &options).map_err(|error| error.to_string())
    }

    #[test]
    fn servers_come_as_text_or_list() {
        let one = endpoint(Value::from("nats://a:1,b:2"), Value::Nil).unwrap();
        let list = endpoint(Value::list(["nats://a:1".into(), "b:2".into()]), Value::Nil).unwrap();
        assert_eq!(one.shown(), "nats://a:1,nats://b:2");
        assert_eq!(one.shown(), list.shown());
    }

    #[test]
    fn equal_options_are_one_key_and_other_options_another() {
        let plain = endpoint(Value::from("a:1"), Value::Nil).unwrap();
        let named = endpoint(Value::from("a:1"), Value::record([("name", Value::from("x"))])).unwrap();
        assert_eq!(plain, endpoint(Value::from("a:1"), Value::record([])).unwrap());
        assert_ne!(plain, named);
    }

    #[test]
    fn a_secret_is_never_shown() {
        let allowed = Value::record([("allow_cleartext_secrets", Value::Boolean(true))]);
        let endpoint = endpoint(Value::from("nats://user:hunter2@h:1"), allowed).unwrap();
        assert_eq!(endpoint.shown(), "nats://h:1");
        assert!(!format!("{endpoint:?}").contains("hunter2"));
        assert!(!format!("{endpoint:?}").contains("user:"));
        let refused = super::Endpoint::from_arguments(&Value::from("nats://us er:hunter2@h:x"), &Value::Nil);
        assert!(!refused.unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn secrets_over_clear_text_must_be_allowed() {
        let error = endpoint(Value::from("nats://token@h:1"), Value::Nil).unwrap_err();
        assert!(error.starts_with("bad_config: url has a user or a token in it that nats://h:1 would get"), "{error}");
        let auth = |kind: &str| Value::record([("auth", Value::record([(kind, Value::from("x"))]))]);
        let error = endpoint(Value::from("nats://h:1"), auth("token")).unwrap_err();
        assert!(error.starts_with("bad_config: auth has a password or a token that nats://h:1 would get"), "{error}");
        // A seed signs; it is not sent.
        assert!(endpoint(Value::from("nats://h:1"), auth("nkey_seed")).is_ok());
        let with_tls = Value::record([("auth", Value::record([("token", "x".into())])), ("tls", Value::record([]))]);
        assert!(endpoint(Value::from("nats://h:1"), with_tls).is_ok());
        assert!(endpoint(Value::from("tls://token@h:1"), Value::Nil).is_ok());
    }

    #[test]
    fn what_is_no_server_is_refused_by_name() {
        for (servers, part) in [
            (Value::Nil, "url must be a URL or a list of URLs, got nil"),
            (Value::Integer(1), "got number"),
            (Value::from(""), "url must have URLs of 1"),
            (Value::list([]), "url must list 1 to 64 servers, not 0"),
            (Value::list([Value::Integer(1)]), "url must have URLs of 1"),
            (Value::from("http://a"), "not http://"),
            (Value::from("nats://"), "url has no host"),
            (Value::from("ws://a,nats://b"), "can't list ws://"),
            (Value::from("nats://s3cr3t#x@broker"), "write / as %2F"),
            (Value::from("tls://user:12/34@broker"), "write / as %2F"),
            (Value::from("tls://tok?en@broker"), "write / as %2F"),
            (Value::from("tls://bob:12,ss@h"), "write , as %2C"),
        ] {
            let error = endpoint(servers, Value::Nil).unwrap_err();
            assert!(error.contains(part), "{part} is not in {error}");
            assert!(!["s3cr3t", "12", "tok", "ss@"].iter().any(|secret| error.contains(secret)), "{error}");
        }
    }

    #[test]
    fn there_is_one_login_and_it_is_whole() {
        let table = |auth: Value| Value::record([("auth", auth), ("allow_cleartext_secrets", Value::Boolean(true))]);
        let text = |auth| endpoint(Value::from("h"), table(auth)).unwrap_err();
        for keys in [&["user"][..], &["password"], &["user", "token"], &["token", "credentials"], &["jwt"], &[]] {
            let auth = Value::Table(keys.iter().map(|key| ((*key).into(), "x".into())).collect());
            assert!(text(auth).contains("auth must have one kind of login, whole: user and password"), "{keys:?}");
        }
        for keys in [&["user", "password"][..], &["token"], &["nkey_seed"], &["jwt", "nkey_seed"], &["credentials"]] {
            let auth = Value::Table(keys.iter().map(|key| ((*key).into(), "x".into())).collect());
            assert!(endpoint(Value::from("h"), table(auth)).is_ok(), "{keys:?}");
        }
        assert!(text(Value::from("x")).contains("auth must be a table, got string"));
        let twice = endpoint(Value::from("nats://t@h"), table(Value::record([("token", "x".into())]))).unwrap_err();
        assert!(twice.contains("auth and a URL both say who connects"), "{twice}");
    }

    #[test]
    fn tls_options_that_contradict_are_refused() {
        let tls = |entries: &[(&str, Value)]| {
            let table = entries.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
            endpoint(Value::from("h"), Value::record([("tls", Value::Table(table))]))
        };
        assert!(tls(&[]).unwrap().tls.is_some());
        assert!(tls(&[("cert_file", "/c".into())]).unwrap_err().contains("tls must have a cert and its key"));
        let skip = ("insecure_skip_verify", Value::Boolean(true));
        assert!(tls(std::slice::from_ref(&skip)).is_ok());
        assert!(tls(&[skip, ("ca_file", "/c".into())]).unwrap_err().contains("would have no effect"));
        assert!(tls(&[("ca_dir", "c".into())]).unwrap_err().contains("tls.ca_dir must be the absolute path"));
        let ws = endpoint(Value::from("ws://h"), Value::record([("tls", Value::record([]))])).unwrap_err();
        assert!(ws.contains("tls can't be had with ws://"), "{ws}");
    }

    #[test]
    fn nobody_names_a_stream_and_awaits_none() {
        let both = Value::record([("ack", "none".into()), ("stream", "events".into())]);
        let refused = endpoint(Value::from("h"), both).unwrap_err();
        assert!(refused.contains("stream can't be had with ack = \"none\""), "{refused}");
        let one = Value::record([("ack", "broker".into()), ("stream", "events".into())]);
        assert!(endpoint(Value::from("h"), one).is_ok());
    }

    #[test]
    fn a_subject_for_dead_letters_is_one_subject() {
        let read = |text: &str| endpoint(Value::from("h"), Value::record([("dead_letter_subject", text.into())]));
        assert_eq!(read("dead.s3").unwrap().dead_letter_subject.as_deref(), Some("dead.s3"));
        for text in ["", "a..b", "a.*", "dead.>", "$JS.API.x", "dead.{bucket}", "a b"] {
            assert!(read(text).unwrap_err().contains("dead_letter_subject must be one subject"), "{text}");
        }
    }

    #[test]
    fn a_login_is_decoded() {
        let login = |url: &str| endpoint(Value::from(url), Value::Nil).unwrap().servers[0].auth().clone();
        assert!(login("tls://h") == Auth::None);
        assert!(login("tls://b%40b:1%2F2@h") == Auth::User("b@b".into(), Secret::Inline("1/2".into())));
        assert!(login("tls://t%23k@h") == Auth::Token(Secret::Inline("t#k".into())));
    }
}
