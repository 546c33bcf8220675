//! How a connection is encrypted: the table `tls`.

use super::{Fields, Secret};

/// What the table `tls` says. That there is one makes TLS a must.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tls {
    /// The certificates of those who may sign servers' certificates, PEM; the system's, where there is neither this nor
    /// `ca_dir`.
    pub ca: Option<Secret>,
    /// A directory of such certificates.
    pub ca_dir: Option<String>,
    /// Our own certificate, PEM, and the key of it.
    pub identity: Option<(Secret, Secret)>,
    /// Whether TLS begins before the server's first word.
    pub first: bool,
    /// The name that the server's certificate must have, instead of the URL's host.
    pub server_name: Option<String>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
}

impl Tls {
    /// Reads the table `tls`, if there is one.
    pub fn read(fields: &mut Fields<'_>) -> Option<Tls> {
        let value = fields.value("tls")?;
        let mut inner = Fields::new(&fields.path("tls"), value);
        let tls = Tls::read_table(&mut inner);
        fields.adopt(inner.finish());
        Some(tls)
    }

    /// The files and the directory that it is read from.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let (cert, key) = self.identity.as_ref().map_or((None, None), |(cert, key)| (Some(cert), Some(key)));
        let secrets = self.ca.iter().chain(cert).chain(key);
        secrets.filter_map(Secret::file).chain(self.ca_dir.as_deref())
    }

    fn read_table(fields: &mut Fields<'_>) -> Tls {
        let ca = Secret::read(fields, ["ca", "ca_file", "ca_env"]);
        let ca_dir = fields.text("ca_dir", 4096).map(str::to_owned);
        if ca_dir.as_ref().is_some_and(|path| !path.starts_with('/')) {
            fields.problem("ca_dir", "must be the absolute path of a directory");
        }
        let cert = Secret::read(fields, ["cert", "cert_file", "cert_env"]);
        let key = Secret::read(fields, ["key", "key_file", "key_env"]);
        let identity = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                if !fields.has_problems() {
                    fields.problem("", "must have a cert and its key, or neither");
                }
                None
            }
        };
        let server_name = fields.text("server_name", 255).map(str::to_owned);
        let insecure_skip_verify = fields.boolean("insecure_skip_verify", false);
        if insecure_skip_verify && (ca.is_some() || ca_dir.is_some() || server_name.is_some()) {
            fields.problem("insecure_skip_verify", "checks nothing; ca, ca_dir and server_name would have no effect");
        }
        Tls { ca, ca_dir, identity, first: fields.boolean("first", false), server_name, insecure_skip_verify }
    }
}
