//! Subjects: a template, and the escaping that makes any bytes a legal part of one, reversibly.

use super::identity::hash;
use super::request::{Request, Text};
use std::sync::Arc;

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

/// How long a variable other than the key may get, in bytes; what is longer is cut.
const MAX_VARIABLE: usize = 512;
/// How long a key may always get, in bytes, whatever else is in the template.
const MIN_KEY: usize = 256;
/// What stands for the rest of a value that was cut: this, and 16 hexadecimal digits of the whole value's FNV-1a.
const CUT: &str = "%~";
/// How long that is, in bytes.
const CUT_LENGTH: usize = CUT.len() + 16;

/// A subject with variables in it, such as `s3.{bucket}.{event}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    hash: u64,
    /// How often the key is in it.
    keys: usize,
    pattern: Arc<str>,
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
        let keys = parts.iter().filter(|part| **part == Part::Key).count();
        let literals: usize =
            parts.iter().map(|part| if let Part::Literal(text) = part { text.len() } else { 0 }).sum();
        let variables = parts.iter().filter(|part| !matches!(part, Part::Literal(_) | Part::Key)).count();
        if literals + variables * MAX_VARIABLE + keys * MIN_KEY > MAX_SUBJECT {
            return Err(format!(
                "{text} can get longer than the {MAX_SUBJECT} bytes of a subject: it has too many variables"
            ));
        }
        let hash = hash([text.as_bytes()]);
        Ok(Template { pattern: pattern(&parts).into(), parts, hash, keys })
    }

    /// One that makes an empty subject, to go on with where none could be read.
    pub fn none() -> Template {
        Template { parts: Vec::new(), hash: 0, keys: 0, pattern: "".into() }
    }

    /// The hash of its text.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// A subject with wildcards that all subjects of this template match.
    pub fn pattern(&self) -> Arc<str> {
        self.pattern.clone()
    }

    /// The subject of a request. It is legal, whatever the request; a value that is too long for it is cut.
    pub fn fill(&self, request: &Request, event: &str, id: &str) -> String {
        let subject = self.fill_with(request, event, id, usize::MAX);
        if subject.len() <= MAX_SUBJECT {
            return subject;
        }
        let mut key = String::new();
        escape_path(request.bytes(Text::Key), &mut key);
        // What the rest leaves to the key; parse has seen to it that this is something.
        let rest = subject.len().saturating_sub(key.len() * self.keys);
        self.fill_with(request, event, id, MAX_SUBJECT.saturating_sub(rest) / self.keys.max(1))
    }

    fn fill_with(&self, request: &Request, event: &str, id: &str, max_key: usize) -> String {
        let mut subject = String::with_capacity(128);
        for part in &self.parts {
            let (value, limit) = match part {
                Part::Literal(text) => {
                    subject.push_str(text);
                    continue;
                }
                Part::Key => (request.bytes(Text::Key), max_key),
                Part::ZoneGroup => (request.bytes(Text::ZoneGroup), MAX_VARIABLE),
                Part::Tenant => (request.bytes(Text::Tenant), MAX_VARIABLE),
                Part::Bucket => (request.bytes(Text::Bucket), MAX_VARIABLE),
                Part::User => (request.bytes(Text::User), MAX_VARIABLE),
                Part::Event => (event.as_bytes(), MAX_VARIABLE),
                Part::Id => (id.as_bytes(), MAX_VARIABLE),
            };
            let start = subject.len();
            if *part == Part::Key {
                escape_path(value, &mut subject)
            } else {
                escape(value, &mut subject)
            }
            if subject.len() - start > limit {
                cut(&mut subject, start + limit, value);
            }
        }
        subject
    }
}

/// The template with `*` for each token that has a variable in it, and `>` from the key on, which can be any number of them.
fn pattern(parts: &[Part]) -> String {
    let marked: String = parts
        .iter()
        .map(|part| match part {
            Part::Literal(text) => text.as_str(),
            Part::Key => ">",
            _ => "*",
        })
        .collect();
    let mut tokens = Vec::new();
    for token in marked.split('.') {
        if token.contains('>') {
            tokens.push(">");
            break;
        }
        tokens.push(if token.contains('*') { "*" } else { token });
    }
    tokens.join(".")
}

/// Shortens a subject to `length` bytes or a little less, at the end of a letter or an escape; a mark of the value that
/// was cut stands for the rest of it, so that different values make different subjects still. No escape looks like it.
fn cut(subject: &mut String, length: usize, value: &[u8]) {
    let mut end = length - CUT_LENGTH;
    while !subject.is_char_boundary(end) {
        end -= 1;
    }
    // The end must not stand within an escape. What stands before it may be the end of a letter, so that bytes are looked at.
    let tail = subject.as_bytes().get(end.saturating_sub(2)..end).unwrap_or_default();
    if let Some(place) = tail.iter().rposition(|byte| *byte == b'%') {
        end -= tail.len() - place;
    }
    subject.truncate(end);
    let hash = value
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    subject.push_str(CUT);
    subject.push_str(&format!("{hash:016X}"));
}

/// Checks a subject to publish to: tokens with dots between, none empty, no wildcards, no white space.
///
/// # Errors
/// What is wrong with it, as the end of a sentence that begins with the subject.
pub fn check(subject: &str) -> Result<(), String> {
    if subject.len() > MAX_SUBJECT {
        return Err(format!("is longer than {MAX_SUBJECT} bytes"));
    }
    if is_ordinary(subject) {
        return Ok(());
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

/// Whether a subject is legal and of ASCII alone, as nearly all are; what is wrong with another one, if anything, takes longer
/// to find out.
fn is_ordinary(subject: &str) -> bool {
    // Where a token begins and ends is a dot; two side by side have an empty one between them.
    let (mut last, mut wrong) = (DOT, 0);
    for byte in subject.bytes() {
        // A byte is always within the table.
        let kind = KINDS.get(usize::from(byte)).copied().unwrap_or(OTHER);
        wrong |= (kind & OTHER) | (kind & last);
        last = kind;
    }
    wrong == 0 && last != DOT
}

/// What a byte is in an ordinary subject: 0 for most that there are, a dot, or something that is not there.
#[expect(clippy::indexing_slicing, reason = "a constant that would panic does not compile")]
const KINDS: [u8; 256] = {
    let mut kinds = [OTHER; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        kinds[byte as usize] = match byte {
            b'*' | b'>' => OTHER,
            b'.' => DOT,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};
const DOT: u8 = 1;
const OTHER: u8 = 2;

/// Appends a value as one token. Letters, digits and all else that NATS takes stay as they are; the rest, `%` and `$`
/// (subjects of the server itself begin with it) among it, becomes `%` and two hexadecimal digits. Nothing at all
/// becomes `-`, and a single `-` becomes `%2D`.
fn escape(value: &[u8], subject: &mut String) {
    match value {
        b"" => subject.push('-'),
        b"-" => subject.push_str("%2D"),
        _ if value.iter().all(|byte| is_plain(*byte)) => {
            // All of it is ASCII.
            subject.push_str(std::str::from_utf8(value).unwrap_or_default());
        }
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

/// Whether a byte stands for itself in a token, and is ASCII.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && !matches!(byte, b'.' | b'*' | b'>' | b'%' | b'$' | b'/')
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

/// Appends bytes as `%` and two hexadecimal digits each.
pub fn percent(bytes: &[u8], subject: &mut String) {
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
        let subject = template.fill(&request, "ObjectCreated:Put", "id");
        assert_eq!(subject, "s3.-.my%2Ebucket.ObjectCreated:Put.a.b");
    }

    #[test]
    fn a_pattern_stands_for_all_subjects_of_a_template() {
        for (template, pattern) in [
            ("s3.{bucket}.{event}", "s3.*.*"),
            ("s3.x{bucket}y.events", "s3.*.events"),
            ("s3.{bucket}.{key}.{user}", "s3.*.>"),
            ("a.b{key}.c", "a.>"),
            ("audit", "audit"),
        ] {
            assert_eq!(&*Template::parse(template).unwrap().pattern(), pattern);
        }
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
    fn a_template_that_can_get_too_long_is_refused_when_read() {
        for template in ["{key}".repeat(16), "{user}".repeat(8), format!("{}{{key}}{{key}}", "{user}".repeat(7))] {
            let problem = Template::parse(&template).unwrap_err();
            assert!(problem.contains("can get longer than the 3900 bytes"), "{problem}");
        }
        assert!(Template::parse(&"{key}".repeat(15)).is_ok());
    }

    #[test]
    fn a_value_that_is_too_long_is_cut_and_still_differs_from_others() {
        let template = Template::parse("s3.{bucket}.{key}.{user}").unwrap();
        let subject = |key: &[u8]| {
            let mut request = Request::default();
            request.set(Text::Bucket, &[b'.'; 400]);
            request.set(Text::User, &[b'u'; 8000]);
            request.set(Text::Key, key);
            template.fill(&request, "e", "i")
        };
        for length in [1300, 1301, 1302, 2600] {
            for filler in [&b"\xff"[..], "ü€😀".as_bytes(), b"a/", b"%", "é...".as_bytes(), "aé.€%".as_bytes()]
            {
                let key: Vec<u8> = filler.iter().copied().cycle().take(length * 3).collect();
                let filled = subject(&key);
                assert_eq!(check(&filled), Ok(()), "{filled}");
                assert!(filled.len() <= MAX_SUBJECT && filled.contains(CUT));
                // All before the mark reads back.
                let middle = filled.strip_prefix("s3.").unwrap().split_once('.').unwrap().1.rsplit_once('.').unwrap().0;
                if let Some((before, mark)) = middle.rsplit_once(CUT) {
                    assert_eq!(mark.len(), 16);
                    let read: Vec<Vec<u8>> = before
                        .split('.')
                        .map(|token| if token.is_empty() { Vec::new() } else { unescape(token) })
                        .collect();
                    assert!(
                        key.starts_with(read.join(&b'/').strip_suffix(b"/").unwrap_or(&read.join(&b'/'))),
                        "{before}"
                    );
                }
                let mut other = key.clone();
                other.push(b'x');
                assert_ne!(filled, subject(&other));
            }
        }
    }

    #[test]
    fn a_key_of_1024_bytes_is_never_cut_by_the_default_template_and_a_key() {
        let template = Template::parse("s3.{bucket}.{event}.{key}").unwrap();
        let mut request = Request::default();
        request.set(Text::Bucket, &[b'.'; 63]);
        request.set(Text::Key, &[0xff; 1024]);
        assert!(!template.fill(&request, "ObjectCreated:Put", "i").contains(CUT));
    }
}
