//! What `notify` is told to do with a request.

use super::Template;
use crate::config::{Endpoint, Fields};
use crate::error::Error;
use crate::value::Value;

/// One notification: where to, under which subject, and what RGW's own configuration would have in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The broker.
    pub endpoint: Endpoint,
    /// The subject, a template. Default: `s3.{bucket}.{event}`.
    pub subject: Template,
    /// The record's `configurationId`, and part of the message's id. Default: `rgw_nats`.
    pub id: String,
    /// The record's `opaqueData`. Default: empty.
    pub opaque_data: String,
}

impl Notification {
    /// Reads the table that `notify` was given.
    ///
    /// # Errors
    /// `bad_argument` if it is no table, `bad_config` with everything that is wrong.
    pub fn from_table(table: &Value) -> Result<Notification, Error> {
        let mut fields = Fields::new("the configuration", table)?;
        let servers = fields.value("url");
        let endpoint = Endpoint::read(servers, &mut fields);
        let subject = fields.text("subject", 1024).unwrap_or("s3.{bucket}.{event}");
        let subject = Template::parse(subject).unwrap_or_else(|problem| {
            fields.problem(problem);
            Template::default()
        });
        let id = fields.text("id", 256).unwrap_or("rgw_nats").to_owned();
        let opaque_data = fields.text("opaque_data", 4096).unwrap_or_default().to_owned();
        fields.finish("the configuration")?;
        Ok(Notification { endpoint, subject, id, opaque_data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_enough() {
        let notification = Notification::from_table(&Value::record([("url", "nats://h:1".into())])).unwrap();
        assert_eq!(notification.id, "rgw_nats");
        assert_eq!(notification.opaque_data, "");
        assert_eq!(notification.endpoint.max_pending, 100_000);
        assert_eq!(notification.endpoint.exit_timeout_ms, 2_000);
    }

    #[test]
    fn every_problem_is_named() {
        let table = Value::record([("subjet", "a".into()), ("id", Value::Integer(3)), ("subject", "a..b".into())]);
        let error = Notification::from_table(&table).unwrap_err().to_string();
        for part in ["url is missing", "did you mean subject?", "id must be a string, got number", "empty token"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }
}
