//! Streams and their messages, by JetStream's API.

use super::jetstream::{HeldJetStream, ask, names, object, stream_name, success, table};
use super::{arguments, received};
use crate::config::refuse;
use crate::error::{Code, Error};
use crate::lua::boundary::{Call, Function};
use crate::promise::Promise;
use crate::transport::Received;
use crate::value::{Handle, Value};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use std::ffi::CStr;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

ask!(
    /// `jetstream:account_info()`.
    AccountInfo, c"account_info", |held, call| held.ask("INFO".to_owned(), Json::Null, table)
);

/// Creates or updates a stream.
fn set_stream(held: &HeldJetStream, call: &Call, verb: &str) -> Result<Value, Error> {
    let config = object(call.argument(2), "configuration of the stream")?;
    let name = config.get("name").and_then(Json::as_str).unwrap_or_default();
    let name = stream_name(&name.into())?.to_owned();
    held.ask(format!("STREAM.{verb}.{name}"), config, table)
}

ask!(
    /// `jetstream:create_stream(configuration)`.
    CreateStream, c"create_stream", |held, call| set_stream(&held, call, "CREATE")
);
ask!(
    /// `jetstream:update_stream(configuration)`.
    UpdateStream, c"update_stream", |held, call| set_stream(&held, call, "UPDATE")
);
ask!(
    /// `jetstream:stream_info(name)`.
    StreamInfo, c"stream_info", |held, call| {
        held.ask(format!("STREAM.INFO.{}", stream_name(call.argument(2))?), Json::Null, table)
    }
);
ask!(
    /// `jetstream:delete_stream(name)`.
    DeleteStream, c"delete_stream", |held, call| {
        held.ask(format!("STREAM.DELETE.{}", stream_name(call.argument(2))?), Json::Null, success)
    }
);
ask!(
    /// `jetstream:purge_stream(name, options)`.
    PurgeStream, c"purge_stream", |held, call| {
        let name = stream_name(call.argument(2))?.to_owned();
        let mut fields = arguments::options(call, 3)?;
        let mut body = serde_json::Map::new();
        if let Some(filter) = fields.text("filter", 3900) {
            body.insert("filter".to_owned(), filter.into());
        }
        for (key, word) in [("keep", "keep"), ("sequence", "seq")] {
            if fields.value(key).is_some() {
                body.insert(word.to_owned(), fields.integer(key, 0..=u64::MAX >> 1, 0).into());
            }
        }
        refuse(&fields.finish())?;
        let count = |answer: Json| {
            let purged = answer.get("purged").and_then(Json::as_u64).unwrap_or_default();
            Ok(Value::record([("purged", purged.into())]))
        };
        held.ask(format!("STREAM.PURGE.{name}"), body.into(), count)
    }
);

ask!(
    /// `jetstream:stream_names(options)`.
    StreamNames, c"stream_names", |held, call| {
        let mut fields = arguments::options(call, 2)?;
        let body = fields.text("subject", 3900).map_or(json!({}), |subject| json!({ "subject": subject }));
        refuse(&fields.finish())?;
        names(&held, "STREAM.NAMES".to_owned(), body, "streams", "")
    }
);
ask!(
    /// `jetstream:get_message(stream, options)`.
    GetMessage, c"get_message", |held, call| {
        let name = stream_name(call.argument(2))?.to_owned();
        let mut fields = arguments::options(call, 3)?;
        let mut body = serde_json::Map::new();
        if fields.value("sequence").is_some() {
            body.insert("seq".to_owned(), fields.integer("sequence", 1..=u64::MAX >> 1, 1).into());
        }
        for (key, word) in [("last_subject", "last_by_subj"), ("next_subject", "next_by_subj")] {
            if let Some(subject) = fields.text(key, 3900) {
                body.insert(word.to_owned(), subject.into());
            }
        }
        if body.is_empty() {
            fields.problem("sequence", "is missing: give that, last_subject, or next_subject");
        }
        refuse(&fields.finish())?;
        held.ask(format!("STREAM.MSG.GET.{name}"), body.into(), move |answer| kept(&answer, &name))
    }
);

/// A message as `STREAM.MSG.GET` tells it.
fn kept(answer: &Json, stream: &str) -> Result<Value, Error> {
    let message = answer.get("message").unwrap_or(&Json::Null);
    let text = |key: &str| message.get(key).and_then(Json::as_str).unwrap_or_default();
    let bytes = |key: &str| {
        STANDARD.decode(text(key)).map_err(|_| Error::new(Code::JetStream, "the server sends what is no base64"))
    };
    let headers = Received::read_headers(&bytes("hdrs")?);
    let received = Received {
        subject: text("subject").to_owned(),
        reply: None,
        headers,
        payload: bytes("data")?.into(),
        status: None,
    };
    // It came by no connection that could answer it: it has no reply.
    let none: Handle = Arc::new(Promise::new(Duration::ZERO));
    let mut fields = received::fields(received, &none);
    let sequence = message.get("seq").and_then(Json::as_u64).unwrap_or_default();
    let time = OffsetDateTime::parse(text("time"), &Rfc3339).ok();
    let milliseconds = time.and_then(|time| u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok());
    fields.extend([
        ("stream".into(), stream.into()),
        ("sequence".into(), sequence.into()),
        ("timestamp_ms".into(), milliseconds.unwrap_or_default().into()),
        ("time".into(), text("time").into()),
    ]);
    Ok(Value::Table(fields))
}

ask!(
    /// `jetstream:delete_message(stream, sequence, erase)`.
    DeleteMessage, c"delete_message", |held, call| {
        let name = stream_name(call.argument(2))?;
        let sequence = match call.argument(3) {
            Value::Integer(number) if *number > 0 => *number,
            _ => return Err(Error::new(Code::BadArgument, "the sequence must be a whole number from 1 on")),
        };
        let erase = match call.argument(4) {
            Value::Nil => false,
            Value::Boolean(erase) => *erase,
            // Taken for false, it would leave what was to be overwritten.
            other => {
                let text = format!("whether to erase it must be true or false, got {}", other.kind());
                return Err(Error::new(Code::BadArgument, text));
            }
        };
        let body = json!({ "seq": sequence, "no_erase": !erase });
        held.ask(format!("STREAM.MSG.DELETE.{name}"), body, success)
    }
);
