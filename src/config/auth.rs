//! Who connects: the table `auth`.

use super::{Fields, Secret};
use crate::value::Value;

/// A login, of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Auth {
    /// None.
    #[default]
    None,
    /// A user with a password, which is sent.
    User(String, Secret),
    /// A token, which is sent.
    Token(Secret),
    /// An nkey: the seed signs what the server sends.
    Nkey(Secret),
    /// A JWT, which is sent, and the seed that signs for it.
    Jwt(Secret, Secret),
    /// A credentials file: a JWT and its seed.
    Credentials(Secret),
}

impl Auth {
    /// Reads the table `auth`, if there is one.
    pub fn read(fields: &mut Fields<'_>) -> Auth {
        let Some(value) = fields.value("auth") else { return Auth::None };
        let mut inner = Fields::new(&fields.path("auth"), value);
        let auth = Auth::read_table(&mut inner, value);
        fields.adopt(inner.finish());
        auth
    }

    fn read_table(fields: &mut Fields<'_>, value: &Value) -> Auth {
        let user = fields.text("user", 1024);
        let password = Secret::read(fields, ["password", "password_file", "password_env"]);
        let token = Secret::read(fields, ["token", "token_file", "token_env"]);
        let seed = Secret::read(fields, ["nkey_seed", "nkey_seed_file", "nkey_seed_env"]);
        let jwt = Secret::read(fields, ["jwt", "jwt_file", "jwt_env"]);
        let credentials = Secret::read(fields, ["credentials", "credentials_file", "credentials_env"]);
        match (user, password, token, seed, jwt, credentials) {
            (Some(user), Some(password), None, None, None, None) => Auth::User(user.to_owned(), password),
            (None, None, Some(token), None, None, None) => Auth::Token(token),
            (None, None, None, Some(seed), None, None) => Auth::Nkey(seed),
            (None, None, None, Some(seed), Some(jwt), None) => Auth::Jwt(jwt, seed),
            (None, None, None, None, None, Some(credentials)) => Auth::Credentials(credentials),
            _ => {
                if matches!(value, Value::Table(_)) && !fields.has_problems() {
                    let kinds = "user and password, token, nkey_seed, jwt and nkey_seed, or credentials";
                    fields.problem("", format!("must have one kind of login, whole: {kinds}"));
                }
                Auth::None
            }
        }
    }

    /// Whether a secret of it goes over the wire as it is. Seeds only sign.
    pub fn is_sent(&self) -> bool {
        matches!(self, Auth::User(..) | Auth::Token(_))
    }

    /// Whether a secret of it stands in the configuration itself.
    pub fn has_inline_secret(&self) -> bool {
        match self {
            // The JWT alone is none.
            Auth::Jwt(_, seed) => seed.is_inline(),
            _ => self.secrets().any(Secret::is_inline),
        }
    }

    /// All that makes the login.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let (one, other) = match self {
            Auth::None => (None, None),
            Auth::User(_, secret) | Auth::Token(secret) | Auth::Nkey(secret) | Auth::Credentials(secret) => {
                (Some(secret), None)
            }
            Auth::Jwt(jwt, seed) => (Some(jwt), Some(seed)),
        };
        one.into_iter().chain(other)
    }
}
