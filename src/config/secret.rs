//! Something that is given inline, in a file or in the environment, and never shown: passwords, keys, certificates.

use super::Fields;
use crate::error::with_remedy;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// How long an inline secret may be, and how much of a file is read, in bytes.
const MAX_SECRET: usize = 256 << 10;

/// Where a secret is. Printing it shows no more than that.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Secret {
    /// In the configuration itself.
    Inline(String),
    /// In the file of this path, which is read at each connection.
    File(String),
    /// In the environment of the process, under this name.
    Env(String),
}

impl Secret {
    /// Reads the keys `name`, `name_file` and `name_env`, of which one may be given; `keys` are these three.
    pub fn read(fields: &mut Fields<'_>, keys: [&'static str; 3]) -> Option<Secret> {
        let [inline, file, env] = keys;
        let found = [fields.value(inline).is_some(), fields.value(file).is_some(), fields.value(env).is_some()];
        if found.iter().filter(|found| **found).count() > 1 {
            fields.problem(inline, format!("is given more than once: one of {inline}, {file} and {env} is enough"));
            return None;
        }
        if found == [true, false, false] {
            let value = fields.value(inline)?;
            match value.text() {
                Some(text) if !text.is_empty() && text.len() <= MAX_SECRET => {
                    return Some(Secret::Inline(text.to_owned()));
                }
                Some(_) => fields.problem(inline, format!("must have 1 to {MAX_SECRET} bytes")),
                None => fields.wrong_type(inline, "a string", value),
            }
            return None;
        }
        if let Some(path) = fields.text(file, 4096) {
            if !path.starts_with('/') {
                fields.problem(file, "must be the absolute path of a file");
            }
            return Some(Secret::File(path.to_owned()));
        }
        let name = fields.text(env, 256)?;
        if name.is_empty() || name.contains(['=', '\0']) {
            fields.problem(env, "must be the name of an environment variable");
        }
        Some(Secret::Env(name.to_owned()))
    }

    /// The secret itself, a file's without the line breaks at its end. Reads a file each time, so that a new one is taken up; may block.
    ///
    /// # Errors
    /// Why it can't be had, as a sentence that has no part of it.
    pub fn get(&self) -> Result<String, String> {
        let text = match self {
            Secret::Inline(text) => text.clone(),
            Secret::File(path) => {
                let failed = |error: std::io::Error| format!("{path}: {}", with_remedy(&error));
                let mut text = String::new();
                let limit = u64::try_from(MAX_SECRET).unwrap_or_default().saturating_add(1);
                // Without O_NONBLOCK a pipe under this name would be waited for.
                let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
                let file = file.map_err(failed)?;
                if !file.metadata().map_err(failed)?.is_file() {
                    return Err(format!("{path} is no file"));
                }
                file.take(limit).read_to_string(&mut text).map_err(failed)?;
                if text.len() > MAX_SECRET {
                    return Err(format!("{path} is longer than {MAX_SECRET} bytes"));
                }
                // An editor ends a file with a line break, and a secret does not.
                text.trim_end_matches(['\n', '\r']).to_owned()
            }
            Secret::Env(name) => {
                std::env::var(name).map_err(|_| format!("the environment variable {name} is not set, or is no text"))?
            }
        };
        if text.trim().is_empty() { Err(format!("{self} is empty")) } else { Ok(text) }
    }

    /// The file that it is in, if it is in one.
    pub fn file(&self) -> Option<&str> {
        if let Secret::File(path) = self { Some(path) } else { None }
    }

    /// Whether it stands in the configuration itself.
    pub fn is_inline(&self) -> bool {
        matches!(self, Secret::Inline(_))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Inline(_) => f.write_str("***"),
            Secret::File(path) => f.write_str(path),
            Secret::Env(name) => write!(f, "${name}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    const KEYS: [&str; 3] = ["password", "password_file", "password_env"];

    fn read(entries: &[(&str, &str)]) -> (Option<Secret>, String) {
        let table = Value::Table(entries.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect());
        let mut fields = Fields::new("auth", &table);
        let secret = Secret::read(&mut fields, KEYS);
        let texts: Vec<String> = fields.finish().into_iter().map(|problem| problem.text).collect();
        (secret, texts.join("; "))
    }

    #[test]
    fn a_secret_has_one_place_and_is_not_shown() {
        let (secret, problems) = read(&[("password", "hunter2")]);
        let secret = secret.unwrap();
        assert_eq!((format!("{secret:?}").as_str(), problems.as_str()), ("***", ""));
        assert_eq!(secret.get().unwrap(), "hunter2");
        assert_eq!(read(&[]), (None, String::new()));
        let twice = read(&[("password", "hunter2"), ("password_file", "/f")]).1;
        assert!(twice.contains("auth.password is given more than once") && !twice.contains("hunter2"), "{twice}");
        assert!(read(&[("password_file", "f")]).1.contains("auth.password_file must be the absolute path"));
        assert!(read(&[("password_env", "A=B")]).1.contains("auth.password_env must be the name"));
        assert!(read(&[("password", "")]).1.contains("auth.password must have 1 to"));
    }

    #[test]
    fn a_file_is_read_each_time_and_what_is_missing_is_named() {
        let path = std::env::temp_dir().join(format!("rgw_nats-secret-{}", std::process::id()));
        let secret = Secret::File(path.to_str().unwrap().to_owned());
        assert!(secret.get().unwrap_err().contains("No such file"));
        for text in ["one\n", "two"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(secret.get().unwrap(), text.trim());
        }
        std::fs::write(&path, "\n").unwrap();
        assert!(secret.get().unwrap_err().ends_with("is empty"));
        std::fs::remove_file(&path).unwrap();
        assert!(Secret::Env("RGW_NATS_NOT_SET".into()).get().unwrap_err().contains("RGW_NATS_NOT_SET is not set"));
    }
}
