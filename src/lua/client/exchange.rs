//! `request` and its like, and what needs a round trip to the server.

use super::{Client, arguments, received};
use crate::config::refuse;
use crate::error::{Code, Error};
use crate::lua::boundary::{Call, Function};
use crate::message::Message;
use crate::process;
use crate::promise::Promise;
use crate::transport::{Enough, Received, Session};
use crate::value::{Handle, Value};
use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many bytes of answers to one question are kept.
const MAX_ANSWERS: usize = 64 << 20;

/// The question of a call, `(connection, subject, payload, options)`, and how long to wait for its answer.
fn question(call: &mut Call) -> Result<(Message, Duration), Error> {
    let mut fields = arguments::options(call, 4)?;
    let limit = arguments::timeout(&mut fields);
    let headers = fields.value("headers").cloned().unwrap_or_default();
    refuse(&fields.finish())?;
    Ok((ask(call, &headers)?, limit))
}

fn ask(call: &mut Call, headers: &Value) -> Result<Message, Error> {
    let subject = arguments::subject(call.argument(2), "subject")?;
    let payload = arguments::payload(call, 3)?;
    Message::new(subject, arguments::headers(headers)?, payload)
}

/// Starts a request.
fn request(call: &mut Call) -> Result<Arc<Promise>, Error> {
    let client = Client::of(call)?;
    let (question, limit) = question(call)?;
    let connection = client.connection()?;
    let handle: Handle = client;
    ask_for(connection.session(), question, limit, move |answer| Ok(received::value(answer?, &handle)))
}

/// Asks, and promises what is made of the answer within `limit`.
pub fn ask_for(
    session: &Arc<Session>,
    question: Message,
    limit: Duration,
    then: impl FnOnce(Result<Received, Error>) -> Result<Value, Error> + Send + 'static,
) -> Result<Arc<Promise>, Error> {
    let weak = Arc::downgrade(session);
    let cancel = move |number| weak.upgrade().iter().for_each(|session| session.cancel(number));
    process::answer(limit, |deadline, answered| session.ask(question, deadline, answered), cancel, then)
}

/// `connection:request(subject, payload, options)`.
pub struct RequestOne;

impl Function for RequestOne {
    const NAME: &'static CStr = c"request";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        Ok(Value::Handle(request(call)?))
    }
}

/// `connection:request_async(subject, payload, options)`.
pub struct RequestLater;

impl Function for RequestLater {
    const NAME: &'static CStr = c"request_async";

    fn work(call: &mut Call) -> Result<Value, Error> {
        Ok(Value::Handle(request(call)?))
    }
}

/// `connection:request_many(subject, payload, options)`.
pub struct RequestMany;

impl Function for RequestMany {
    const NAME: &'static CStr = c"request_many";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let client = Client::of(call)?;
        let mut fields = arguments::options(call, 4)?;
        let limit = arguments::timeout(&mut fields);
        let headers = fields.value("headers").cloned().unwrap_or_default();
        let max = fields.integer("max", 1..=100_000, 100_000);
        let stall = fields.integer("stall_ms", 1..=arguments::MAX_WAIT, arguments::MAX_WAIT);
        let sentinel = fields.boolean("sentinel", false);
        refuse(&fields.finish())?;
        let question = ask(call, &headers)?;
        let enough = Enough {
            max: usize::try_from(max).unwrap_or(usize::MAX),
            stall: Duration::from_millis(stall),
            sentinel,
            max_bytes: MAX_ANSWERS,
        };
        let session = client.connection()?.session().clone();
        let handle: Handle = client;
        let deadline = Instant::now() + limit;
        let promise = process::promise(limit, async move {
            let answers = session.request_many(question, enough, deadline).await?;
            Ok(Value::list(answers.into_iter().map(|answer| received::value(answer, &handle))))
        })?;
        Ok(Value::Handle(promise))
    }
}

/// `connection:flush(timeout_ms)`.
pub struct Flush;

impl Function for Flush {
    const NAME: &'static CStr = c"flush";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let client = Client::of(call)?;
        let (connection, subscriptions) = (client.connection()?, client.subscriptions());
        let limit = arguments::limit(call.argument(2), arguments::WAIT)?;
        let deadline = Instant::now() + limit;
        let promise = process::promise(limit, async move {
            connection.session().take_up(&subscriptions, deadline).await?;
            if tokio::time::timeout_at(deadline.into(), connection.flushed()).await.is_err() {
                return Err(Error::new(Code::Timeout, "not all that was published is with the server yet"));
            }
            connection.session().round_trip(deadline).await?;
            Ok(Value::Boolean(true))
        })?;
        Ok(Value::Handle(promise))
    }
}

/// `connection:rtt(timeout_ms)`.
pub struct RoundTrip;

impl Function for RoundTrip {
    const NAME: &'static CStr = c"rtt";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let connection = Client::of(call)?.connection()?;
        let limit = arguments::limit(call.argument(2), arguments::WAIT)?;
        let deadline = Instant::now() + limit;
        let promise = process::promise(limit, async move {
            let took = connection.session().round_trip(deadline).await?;
            Ok(Value::record([("milliseconds", Value::Number(took.as_secs_f64() * 1000.0))]))
        })?;
        Ok(Value::Handle(promise))
    }
}

/// `connection:server_info()`.
pub struct Server;

impl Function for Server {
    const NAME: &'static CStr = c"server_info";

    fn work(call: &mut Call) -> Result<Value, Error> {
        let info = Client::of(call)?.connection()?.session().server_info();
        let info = info.ok_or_else(|| Error::new(Code::Disconnected, "there is no connection to a server now"))?;
        let size = u64::try_from(info.max_payload).unwrap_or(u64::MAX);
        Ok(Value::record([
            ("server_id", info.id.into()),
            ("server_name", info.name.into()),
            ("version", info.version.into()),
            ("cluster", info.cluster.into()),
            ("max_payload", size.into()),
            ("client_id", info.client_id.into()),
            ("client_ip", info.client_ip.into()),
            ("headers", info.headers.into()),
            ("jetstream", info.jetstream.into()),
            ("lame_duck_mode", info.lame_duck_mode.into()),
            ("connect_urls", Value::list(info.connect_urls.into_iter().map(Value::from))),
        ]))
    }
}

/// `connection:drain(timeout_ms)`.
pub struct Drain;

impl Function for Drain {
    const NAME: &'static CStr = c"drain";
    const WAITS: bool = true;

    fn work(call: &mut Call) -> Result<Value, Error> {
        let client = Client::of(call)?;
        let connection = client.connection()?;
        let limit = arguments::limit(call.argument(2), arguments::WAIT)?;
        let subscriptions = client.subscriptions();
        let deadline = Instant::now() + limit;
        let promise = process::promise(limit, async move {
            let drain = || subscriptions.iter().for_each(|subscription| subscription.drain());
            let all = async {
                // What was published before may be meant for these.
                connection.flushed().await;
                drain();
                for subscription in &subscriptions {
                    subscription.ended().await;
                }
                connection.flushed().await;
            };
            let drained = tokio::time::timeout_at(deadline.into(), all).await;
            drain();
            client.let_go();
            drained.map_err(|_| Error::new(Code::Timeout, "not all has come in and gone out yet"))?;
            Ok(Value::Boolean(true))
        })?;
        Ok(Value::Handle(promise))
    }
}
