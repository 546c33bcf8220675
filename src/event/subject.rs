//! Subjects: a template, and the escaping that makes any bytes a legal part of one, reversibly.

use super::request::{Request, Text};
use crate::error::{Code, Error};

/// How long a subject may be, in bytes. A server reads at most 4,096 for the line that a subject stands in
/// (`max_control_line`), and the line holds two sizes and a reply subject besides.
const MAX_SUBJECT: usize = 3900;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    ZoneGroup,
    Tenant,
    Bucket,
    Event,
    Key,
    User,
    Id,
}

/// The variables that a template can have.
const VARIABLES: [(&str, Part); 7] = [
    ("zonegroup", Part::ZoneGroup),
    ("tenant", Part::Tenant),
    ("bucket", Part::Bucket),
    ("event", Part::Event),
    ("key", Part::Key),
    ("user", Part::User),
    ("id", Part::Id),
];

/// A subject with variables in it, such as `s3.{bucket}.{event}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    fingerprint: u32,
}

impl Template {
    /// Reads a template and checks that any values make a legal subject of it.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let (name, after) = after.split_once('}').ok_or_else(|| format!("{text} has a {{ without }}"))?;
            let Some((_, part)) = VARIABLES.iter().find(|(known, _)| *known == name) else {
                let known: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
                return Err(format!("{text} has the unknown {{{name}}}; known are {}", known.join(", ")));
            };
            parts.push(part.clone());
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        // A variable is never empty when it is filled, so that any letter can stand in for it in this check.
        let sample: String = parts.iter().map(|part| if let Part::Literal(text) = part { text } else { "x" }).collect();
        check(&sample).map_err(|problem| format!("{text} {problem}"))?;
        // FNV-1a: short, and the same in every process and version.
        let fingerprint =
            text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Ok(Template { parts, fingerprint })
    }

    /// A number that tells this template from others.
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }

    /// The subject of a request.
    ///
    /// # Errors
    /// `bad_subject`, if it would be longer than 3,900 bytes.
    pub fn fill(&self, request: &Request, event: &str, id: &str) -> Result<String, Error> {
        let mut subject = String::with_capacity(128);
        for part in &self.parts {
            match part {
                Part::Literal(text) => subject.push_str(text),
                Part::ZoneGroup => escape(request.bytes(Text::ZoneGroup), &mut subject),
                Part::Tenant => escape(request.bytes(Text::Tenant), &mut subject),
                Part::Bucket => escape(request.bytes(Text::Bucket), &mut subject),
                Part::Event => escape(event.as_bytes(), &mut subject),
                Part::Key => escape_path(request.bytes(Text::Key), &mut subject),
                Part::User => escape(request.bytes(Text::User), &mut subject),
                Part::Id => escape(id.as_bytes(), &mut subject),
            }
        }
        match check(&subject) {
            Ok(()) => Ok(subject),
            Err(problem) => Err(Error::new(Code::BadSubject, format!("the subject of this request {problem}"))),
        }
    }
}

/// Checks a subject to publish to: tokens with dots between, none empty, no wildcards, no white space.
///
/// # Errors
/// What is wrong with it, as the end of a sentence that begins with the subject.
pub fn check(subject: &str) -> Result<(), String> {
    if subject.len() > MAX_SUBJECT {
        return Err(format!("is longer than {MAX_SUBJECT} bytes"));
    }
    for token in subject.split('.') {
        if token.is_empty() {
            return Err("has an empty token: it begins or ends with a dot, or two stand side by side".into());
        }
        if token.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("has white space or a control character in it".into());
        }
        // A wildcard is a token by itself; inside of a token these are letters like others, but a trap.
        if token.contains(['*', '>']) {
            return Err("has a wildcard in it; one can subscribe to those, not publish".into());
        }
    }
    Ok(())
}

/// Appends a value as one token. Letters, digits and all else that NATS takes stay as they are; the rest, `%` and `$`
/// (subjects of the server itself begin with it) among it, becomes `%` and two hexadecimal digits. Nothing at all
/// becomes `-`, and a single `-` becomes `%2D`.
fn escape(value: &[u8], subject: &mut String) {
    match value {
        b"" => subject.push('-'),
        b"-" => subject.push_str("%2D"),
        _ => {
            for chunk in value.utf8_chunks() {
                for c in chunk.valid().chars() {
                    if c.is_control() || c.is_whitespace() || matches!(c, '.' | '*' | '>' | '%' | '$' | '/') {
                        let mut bytes = [0; 4];
                        percent(c.encode_utf8(&mut bytes).as_bytes(), subject);
                    } else {
                        subject.push(c);
                    }
                }
                percent(chunk.invalid(), subject);
            }
        }
    }
}

/// Appends a key: a token for each folder and one for the name. A slash that has no name on one of its sides, first or
/// last or beside another slash, belongs to the token as `%2F`.
fn escape_path(key: &[u8], subject: &mut String) {
    let mut start = 0;
    for (at, byte) in key.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| key.get(at));
        let named = |side: Option<&u8>| side.is_some_and(|side| *side != b'/');
        if *byte == b'/' && named(before) && named(key.get(at.saturating_add(1))) {
            escape(key.get(start..at).unwrap_or_default(), subject);
            subject.push('.');
            start = at.saturating_add(1);
        }
    }
    escape(key.get(start..).unwrap_or_default(), subject);
}

fn percent(bytes: &[u8], subject: &mut String) {
    for byte in bytes {
        subject.push('%');
        for digit in [byte >> 4, byte & 15] {
            subject.push(char::from_digit(digit.into(), 16).unwrap_or('0').to_ascii_uppercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(value: &[u8]) -> String {
        let mut subject = String::new();
        escape(value, &mut subject);
        subject
    }

    fn path(key: &[u8]) -> String {
        let mut subject = String::new();
        escape_path(key, &mut subject);
        subject
    }

    fn unescape(token: &str) -> Vec<u8> {
        if token == "-" {
            return Vec::new();
        }
        let mut bytes = token.bytes();
        let mut plain = Vec::new();
        while let Some(byte) = bytes.next() {
            if byte != b'%' {
                plain.push(byte);
                continue;
            }
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            plain.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        }
        plain
    }

    /// Bytes from a small generator, so that the same ones come each time.
    fn samples() -> impl Iterator<Item = Vec<u8>> {
        let mut state = 1_u64;
        (0..20_000).map(move |n| {
            let alphabet = b"a-/.*>%$ \r\n\0\xff\xc3\xa9\xe2\x80\xa8Zz9";
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize
            };
            let length = next() % 12;
            (0..length).map(|_| if n % 2 == 0 { alphabet[next() % alphabet.len()] } else { next() as u8 }).collect()
        })
    }

    #[test]
    fn any_bytes_make_one_legal_token_and_come_back() {
        for value in samples() {
            let token = escaped(&value);
            assert!(!token.contains('.'), "{value:?} became {token}");
            assert_eq!(check(&token), Ok(()), "{value:?} became {token}");
            assert_eq!(unescape(&token), value, "{token}");
        }
    }

    #[test]
    fn any_key_makes_a_legal_subject_and_comes_back() {
        for key in samples() {
            let subject = path(&key);
            assert_eq!(check(&subject), Ok(()), "{key:?} became {subject}");
            let tokens: Vec<Vec<u8>> = subject.split('.').map(unescape).collect();
            assert_eq!(tokens.join(&b'/'), key, "{subject}");
        }
    }

    #[test]
    fn keys_become_tokens() {
        assert_eq!(path("photos/2026/a b.jpg".as_bytes()), "photos.2026.a%20b%2Ejpg");
        assert_eq!(path(b"/a//b/"), "%2Fa%2F%2Fb%2F");
        assert_eq!(path("größe".as_bytes()), "größe");
        assert_eq!(path(b"$JS/API"), "%24JS.API");
    }

    #[test]
    fn a_template_is_filled() {
        let mut request = Request::default();
        request.set(Text::Bucket, b"my.bucket");
        request.set(Text::Key, b"a/b");
        let template = Template::parse("s3.{tenant}.{bucket}.{event}.{key}").unwrap();
        let subject = template.fill(&request, "ObjectCreated:Put", "id").unwrap();
        assert_eq!(subject, "s3.-.my%2Ebucket.ObjectCreated:Put.a.b");
    }

    #[test]
    fn a_bad_template_is_refused_when_read() {
        for (template, part) in [
            ("", "empty token"),
            ("a..b", "empty token"),
            (".a", "empty token"),
            ("a.{bucket}.", "empty token"),
            ("a b", "white space"),
            ("a.*", "wildcard"),
            ("a.>", "wildcard"),
            ("a.{buckets}", "known are zonegroup"),
            ("a.{bucket", "without }"),
        ] {
            let problem = Template::parse(template).unwrap_err();
            assert!(problem.contains(part), "{part} is not in {problem}");
        }
    }

    #[test]
    fn a_subject_that_no_server_takes_is_refused() {
        let mut request = Request::default();
        request.set(Text::Key, &[0xff; 1400]);
        let error = Template::parse("{key}").unwrap().fill(&request, "e", "i").unwrap_err();
        assert_eq!(error.code(), Code::BadSubject);
    }
}
