//! Who connects, as async-nats wants it: read anew for each connection, so that a new secret is taken up.

use crate::config::Auth;
use async_nats::AuthError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;

/// A login with its secrets at hand.
pub enum Login {
    /// None.
    None,
    /// A user with a password.
    User(String, String),
    /// A token.
    Token(String),
    /// A key that signs, and the JWT that it signs for, if any.
    Key(Box<KeyPair>, Option<String>),
}

impl Login {
    /// Gets the secrets of a login. Blocks on the disk.
    ///
    /// # Errors
    /// What is missing, as a sentence without a secret.
    pub fn of(auth: &Auth) -> Result<Login, String> {
        let get = |secret: &crate::config::Secret| secret.get().map_err(|problem| format!("auth: {problem}"));
        Ok(match auth {
            Auth::None => Login::None,
            Auth::User(user, password) => Login::User(user.clone(), get(password)?),
            Auth::Token(token) => Login::Token(get(token)?),
            Auth::Nkey(seed) => Login::Key(key(&get(seed)?)?, None),
            Auth::Jwt(jwt, seed) => Login::Key(key(&get(seed)?)?, Some(get(jwt)?.trim().to_owned())),
            Auth::Credentials(credentials) => {
                let text = get(credentials)?;
                let part = |name: &str| {
                    part(&text, name).ok_or_else(|| format!("auth: {credentials} has no {name}, as nsc writes them"))
                };
                Login::Key(key(part("USER NKEY SEED")?)?, Some(part("NATS USER JWT")?.to_owned()))
            }
        })
    }

    /// When it ends, in seconds since 1970, if it has an end: that of its JWT.
    pub fn expires(&self) -> Option<u64> {
        let Login::Key(_, Some(jwt)) = self else { return None };
        let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1)?).ok()?;
        let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
        claims.get("exp").and_then(serde_json::Value::as_u64).filter(|end| *end != 0)
    }

    /// What is sent to a server that has sent `nonce` to be signed.
    ///
    /// # Errors
    /// If the key can't sign.
    pub fn answer(&self, nonce: &[u8]) -> Result<async_nats::Auth, AuthError> {
        let mut auth = async_nats::Auth::new();
        match self {
            Login::None => {}
            Login::User(user, password) => {
                (auth.username, auth.password) = (Some(user.clone()), Some(password.clone()));
            }
            Login::Token(token) => auth.token = Some(token.clone()),
            Login::Key(key, jwt) => {
                let signed =
                    key.sign(nonce).map_err(|error| AuthError::new(format!("the nkey can't sign: {error}")))?;
                auth.signature = Some(signed);
                auth.jwt.clone_from(jwt);
                if jwt.is_none() {
                    auth.nkey = Some(key.public_key());
                }
            }
        }
        Ok(auth)
    }
}

fn key(seed: &str) -> Result<Box<KeyPair>, String> {
    // The crate's own words might repeat the seed.
    let pair = KeyPair::from_seed(seed.trim());
    pair.map(Box::new).map_err(|_| "auth: the nkey seed is none; it begins with SU and has 58 letters".to_owned())
}

/// What stands between the lines `-----BEGIN name-----` and `------END name------`.
fn part<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains(&format!("BEGIN {name}")))?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn credentials(text: &str) -> Result<Login, String> {
        Login::of(&Auth::Credentials(Secret::Inline(text.to_owned())))
    }

    #[test]
    fn credentials_have_a_jwt_and_a_seed() {
        let pair = KeyPair::new_user();
        let seed = pair.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\nabc.def\n------END NATS USER JWT------\n\n*** IMPORTANT ***\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let answer = credentials(&text).unwrap().answer(b"nonce").unwrap();
        assert_eq!(answer.jwt.as_deref(), Some("abc.def"));
        assert!(pair.verify(b"nonce", &answer.signature.unwrap()).is_ok());
        assert_eq!(answer.nkey, None);
        let answer = Login::of(&Auth::Nkey(Secret::Inline(seed))).unwrap().answer(b"nonce").unwrap();
        assert_eq!((answer.jwt, answer.nkey), (None, Some(pair.public_key())));
    }

    #[test]
    fn a_jwt_tells_its_end() {
        let expires = |claims: &str| {
            let jwt = format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims));
            Login::Key(Box::new(KeyPair::new_user()), Some(jwt)).expires()
        };
        assert_eq!(expires(r#"{"exp":1795331934,"sub":"U"}"#), Some(1_795_331_934));
        assert_eq!(expires(r#"{"sub":"U"}"#), None);
        assert_eq!(expires("no JSON"), None);
        assert_eq!(Login::Key(Box::new(KeyPair::new_user()), Some("no jwt".into())).expires(), None);
        assert_eq!(Login::Token("t".into()).expires(), None);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let broken = "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n\
                      -----BEGIN USER NKEY SEED-----\nhunter2\n------END USER NKEY SEED------\n";
        for text in [broken, "hunter2", "-----BEGIN NATS USER JWT-----\n-----END"] {
            let problem = credentials(text).err().unwrap();
            assert!(!problem.contains("hunter2") && problem.starts_with("auth: "), "{problem}");
        }
    }
}
