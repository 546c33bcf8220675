//! JetStream, for scripts: its API as JSON, and publishing with a stream's acknowledgement.
//!
//! Requests go to the server as the script has made them, so that each thing a server knows can be said, and nothing is
//! lost on the way: what async-nats' types do not have, for one. Where there is a protocol behind - pulls, ordered consumers,
//! key-value buckets - async-nats does it.

use super::received::Received;
use super::session::{Live, Session};
use super::streams;
use crate::error::{Code, Error};
use crate::message::{Headers, Message};
use async_nats::jetstream;
use bytes::Bytes;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Instant;

/// How many names a list may have: 100 pages of the server's.
const MAX_NAMES: usize = 102_400;
/// What the API answers, by `err_code`: there is none (consumer, message, stream, consumer to update; server/errors.json).
const NOT_FOUND: [u64; 4] = [10_014, 10_037, 10_059, 10_149];
/// It is there already, or another one (stream, consumer); another stream, id or sequence was wanted (in all, per subject).
const CONFLICT: [u64; 8] = [10_058, 10_013, 10_105, 10_148, 10_060, 10_070, 10_071, 10_164];

/// JetStream of one account, domain or prefix.
pub struct JetStream {
    pub(super) session: Arc<Session>,
    prefix: String,
}

impl JetStream {
    /// JetStream by way of a session; `prefix` is `$JS.API`, or what an import or a domain makes of it.
    pub fn new(session: Arc<Session>, prefix: String) -> JetStream {
        JetStream { session, prefix }
    }

    /// What stands before the names of the API.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Refuses what the server that is connected to would ignore, being older than `version`, until `deadline`.
    ///
    /// # Errors
    /// `jetstream`; `disconnected`.
    pub async fn needs(&self, version: (i64, i64), what: &str, deadline: Instant) -> Result<(), Error> {
        let client = self.session.live(deadline).await?.client;
        let (major, minor) = version;
        if client.is_server_compatible(major, minor, 0) {
            return Ok(());
        }
        let own = client.server_info().version;
        Err(Error::new(Code::JetStream, format!("{what} takes nats-server {major}.{minor}, and this one is {own}")))
    }

    /// The number of the last message of a stream; 0 if there was none.
    ///
    /// # Errors
    /// As for [`JetStream::ask`].
    pub(super) async fn last_sequence(&self, stream: &str, deadline: Instant) -> Result<u64, Error> {
        let info = self.ask(&format!("STREAM.INFO.{stream}"), &Json::Null, deadline).await?;
        Ok(info.pointer("/state/last_seq").and_then(Json::as_u64).unwrap_or_default())
    }

    /// async-nats' own, over one connection.
    pub(super) fn context(&self, live: &Live) -> jetstream::Context {
        jetstream::with_prefix(live.client.clone(), &self.prefix)
    }

    /// Asks the API, such as `STREAM.INFO.events`, until `deadline`.
    ///
    /// # Errors
    /// `not_found`, `conflict`, `jetstream` (what the server says); `no_responders` (no JetStream here); and those of
    /// [`Session::request`].
    pub async fn ask(&self, name: &str, body: &Json, deadline: Instant) -> Result<Json, Error> {
        let payload = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let question = Message::bare(format!("{}.{name}", self.prefix), Headers::default(), payload);
        let answer = self.session.request(question, deadline).await.map_err(|error| match error.code() {
            Code::NoResponders => Error::new(
                Code::NoResponders,
                format!(
                    "JetStream does not answer to {}: it is not enabled on the server, or for this account",
                    self.prefix
                ),
            ),
            _ => error,
        })?;
        let answer = serde_json::from_slice(&answer.payload)
            .map_err(|_| Error::new(Code::JetStream, format!("{name}: what answers does not do so in JSON")))?;
        checked(answer, name)
    }

    /// Publishes and waits for the acknowledgement of the stream that takes it, until `deadline`.
    ///
    /// # Errors
    /// `no_responders` (no stream takes it); `conflict` (an expectation does not hold); `jetstream`; and those of
    /// [`Session::request`]. After `timeout` and `disconnected` the stream may have it.
    pub async fn publish(&self, message: Message, deadline: Instant) -> Result<Json, Error> {
        let subject = message.subject.clone();
        acknowledged(self.session.request(message, deadline).await, &subject)
    }

    /// All names of a list that comes in pages, such as `STREAM.NAMES`, whose items are under `key`.
    ///
    /// # Errors
    /// As for [`JetStream::ask`]; `too_large`.
    pub async fn names(&self, name: &str, mut body: Json, key: &str, deadline: Instant) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = Vec::new();
        loop {
            if let Some(body) = body.as_object_mut() {
                body.insert("offset".to_owned(), names.len().into());
            }
            let page = self.ask(name, &body, deadline).await?;
            let items = page.get(key).and_then(Json::as_array).cloned().unwrap_or_default();
            let total = page.get("total").and_then(Json::as_u64).and_then(|total| usize::try_from(total).ok());
            let before = names.len();
            names.extend(items.iter().filter_map(Json::as_str).map(str::to_owned));
            if names.len() == before || names.len() >= total.unwrap_or_default() {
                return Ok(names);
            }
            if names.len() > MAX_NAMES {
                return Err(Error::new(Code::TooLarge, format!("{name}: there are more than {MAX_NAMES}")));
            }
        }
    }

    /// Makes or changes a consumer; gives what the server tells of it.
    ///
    /// # Errors
    /// As for [`JetStream::ask`].
    pub async fn make_consumer(
        &self,
        stream: &str,
        config: Json,
        action: &str,
        deadline: Instant,
    ) -> Result<Json, Error> {
        let text = |key: &str| config.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
        let named = text("name").or_else(|| text("durable_name")).map(str::to_owned);
        let name = match &named {
            Some(name) => format!("CONSUMER.CREATE.{stream}.{name}"),
            None => format!("CONSUMER.CREATE.{stream}"),
        };
        // A server before 2.10 knows no action, and ignores it: it makes, or changes what may be changed.
        if config.get("filter_subjects").is_some() {
            self.needs((2, 10), "filter_subjects", deadline).await?;
        }
        let body = json!({ "stream_name": stream, "config": config, "action": action });
        self.ask(&name, &body, deadline).await
    }
}

/// What a stream has answered to a message to this subject.
///
/// # Errors
/// As for [`JetStream::publish`].
pub fn acknowledged(answer: Result<Received, Error>, subject: &str) -> Result<Json, Error> {
    let answer = answer.map_err(|error| match error.code() {
        Code::NoResponders => Error::new(Code::NoResponders, format!("no stream takes {subject}")),
        _ => error,
    })?;
    let answer: Json = serde_json::from_slice(&answer.payload).unwrap_or_default();
    if answer.get("stream").is_none() && answer.get("error").is_none() {
        return Err(Error::new(Code::JetStream, format!("who answers to {subject} is no stream")));
    }
    if streams::is_staged(&answer) {
        return Err(Error::new(Code::Timeout, format!("{subject}: {}", streams::STAGED)));
    }
    checked(answer, subject)
}

/// The answer, unless it is an error.
fn checked(answer: Json, about: &str) -> Result<Json, Error> {
    let Some(error) = answer.get("error") else { return Ok(answer) };
    let number = |key: &str| error.get(key).and_then(Json::as_u64).unwrap_or_default();
    let said = error.get("description").and_then(Json::as_str).unwrap_or("an error without a word");
    let (status, number) = (number("code"), number("err_code"));
    let code = match number {
        number if NOT_FOUND.contains(&number) => Code::NotFound,
        number if CONFLICT.contains(&number) => Code::Conflict,
        // The same message is on its way: see streams::is_staged.
        10_158 => Code::Timeout,
        _ if status == 404 => Code::NotFound,
        _ => Code::JetStream,
    };
    Err(Error::new(code, format!("{about}: {said} ({number})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_api_has_the_code_of_its_kind() {
        let code = |status: u64, number: u64| {
            let answer = json!({ "error": { "code": status, "err_code": number, "description": "so it is" } });
            let error = checked(answer, "STREAM.INFO.x").unwrap_err();
            assert!(error.to_string().ends_with(&format!("STREAM.INFO.x: so it is ({number})")), "{error}");
            error.code()
        };
        assert_eq!(code(404, 10_059), Code::NotFound);
        assert_eq!(code(404, 0), Code::NotFound);
        assert_eq!((code(400, 10_071), code(400, 10_060)), (Code::Conflict, Code::Conflict));
        assert_eq!((code(400, 10_149), code(409, 10_158)), (Code::NotFound, Code::Timeout));
        assert_eq!(code(503, 10_008), Code::JetStream);
        assert!(checked(json!({ "stream": "x", "seq": 1 }), "s").is_ok());
    }
}
