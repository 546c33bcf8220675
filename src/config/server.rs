//! One server: its address, and the login that stands in its URL.

use super::{Auth, Fields, Secret};
use crate::value::Value;
use std::fmt;
use url::Url;

/// How many servers one endpoint may list.
const MAX_SERVERS: usize = 64;
/// How long one server's URL may be, in bytes.
const MAX_URL: usize = 2048;

/// One server. Printing it shows no user, password or token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Server {
    address: String,
    /// What stands in its URL.
    auth: Auth,
}

impl Server {
    /// Scheme, host and port, without a secret.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Who connects, by its URL: for the transport alone.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// Whether nothing but `tls` makes this connection an encrypted one.
    pub(super) fn is_clear(&self) -> bool {
        self.address.starts_with("nats:") || self.address.starts_with("ws:")
    }

    /// A server of the same cluster, by host and port, to connect to in the same way. Websockets have ports of their own,
    /// which servers do not tell.
    pub fn neighbour(&self, address: &str) -> Option<Server> {
        let (scheme, _) = self.address.split_once("://").filter(|(scheme, _)| matches!(*scheme, "nats" | "tls"))?;
        let address = format!("{scheme}://{address}");
        Url::parse(&address).ok()?.host_str()?;
        Some(Server { address, auth: self.auth.clone() })
    }

    /// Reads servers: one URL, several with commas between, or a list of URLs. Problems are noted in `fields`.
    pub fn read(value: Option<&Value>, fields: &mut Fields<'_>) -> Vec<Server> {
        let texts: Vec<&str> = match value {
            Some(value @ Value::Table(entries)) => match value.items() {
                Some(items) => items.into_iter().map(|item| item.text().unwrap_or_default()).collect(),
                None => entries.iter().map(|_| "").collect(),
            },
            Some(value) => match value.text() {
                // A comma in a password would make two servers of one, the second with the rest of the password.
                Some(text) if text.split(',').skip(1).any(|part| part.contains('@') && !part.contains("://")) => {
                    fields.problem("url", "has a comma before an @; in a password write , as %2C");
                    return Vec::new();
                }
                Some(text) => text.split(',').collect(),
                None => {
                    fields.wrong_type("url", "a URL or a list of URLs", value);
                    return Vec::new();
                }
            },
            None => {
                fields.problem("url", "is missing: give the broker's, such as nats://127.0.0.1:4222");
                return Vec::new();
            }
        };
        if texts.is_empty() || texts.len() > MAX_SERVERS {
            fields.problem("url", format!("must list 1 to {MAX_SERVERS} servers, not {}", texts.len()));
            return Vec::new();
        }
        let mut servers = Vec::new();
        for text in texts {
            match text.trim() {
                text if text.is_empty() || text.len() > MAX_URL => {
                    fields.problem("url", format!("must have URLs of 1 to {MAX_URL} bytes"));
                }
                text => match Server::parse(text) {
                    Ok(server) => servers.push(server),
                    Err(problem) => fields.problem("url", problem),
                },
            }
        }
        let websockets = servers.iter().filter(|server| server.address.starts_with("ws")).count();
        if websockets != 0 && websockets != servers.len() {
            fields.problem("url", "can't list ws:// and wss:// servers with nats:// and tls:// ones");
        }
        servers
    }

    fn parse(text: &str) -> Result<Server, String> {
        // What is wrong is said without repeating the URL: it may hold a password.
        let url = if text.contains("://") { text.to_owned() } else { format!("nats://{text}") };
        let parsed = Url::parse(&url).map_err(|error| format!("is malformed: {error}"))?;
        let scheme = parsed.scheme();
        if !["nats", "tls", "ws", "wss"].contains(&scheme) {
            return Err(format!("must begin with nats://, tls://, ws:// or wss://, not {scheme}://"));
        }
        // A password with one of these unescaped would end early, and what is left of it would be taken for a host.
        let rest = !matches!(parsed.path(), "" | "/") && !scheme.starts_with("ws");
        if rest || parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(
                "has something behind host and port; in a password write / as %2F, ? as %3F and # as %23".into()
            );
        }
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or("has no host")?;
        let auth = login(&parsed)?;
        let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = parsed.path().trim_end_matches('/');
        Ok(Server { address: format!("{scheme}://{host}{port}{path}"), auth })
    }
}

/// The login in a URL: `user:password@`, or a token, which is what stands before the `@` without a colon in it.
fn login(url: &Url) -> Result<Auth, String> {
    let decode = |text: &str| {
        let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
        decoded.map(|text| text.into_owned()).map_err(|_| "has a user or password that is no UTF-8".to_owned())
    };
    Ok(match (url.username(), url.password()) {
        ("", None) => Auth::None,
        (token, None) => Auth::Token(Secret::Inline(decode(token)?)),
        (user, Some(password)) => Auth::User(decode(user)?, Secret::Inline(decode(password)?)),
    })
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)
    }
}
