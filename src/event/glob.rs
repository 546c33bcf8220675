//! Patterns of names: `*` any characters, `?` one, `[…]` one of some, `{a,b}` either.

use globset::{GlobBuilder, GlobMatcher};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What has a meaning in a pattern.
const SPECIAL: [char; 8] = ['*', '?', '[', ']', '{', '}', '\\', ','];

/// A pattern of names. Most are a name, or the beginning of one, which takes no engine to match.
#[derive(Clone, Debug)]
pub enum Glob {
    /// This name.
    Exact(Box<[u8]>),
    /// Names that begin so.
    Start(Box<[u8]>),
    /// Names that end so.
    End(Box<[u8]>),
    /// Any other pattern.
    Pattern(Box<GlobMatcher>),
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Glob, String> {
        let plain = |text: &str| (!text.contains(SPECIAL)).then(|| text.as_bytes().into());
        if let Some(name) = plain(text) {
            return Ok(Glob::Exact(name));
        }
        if let Some(start) = text.strip_suffix('*').and_then(plain) {
            return Ok(Glob::Start(start));
        }
        if let Some(end) = text.strip_prefix('*').and_then(plain) {
            return Ok(Glob::End(end));
        }
        let glob = GlobBuilder::new(text).build().map_err(|error| error.to_string())?;
        Ok(Glob::Pattern(Box::new(glob.compile_matcher())))
    }

    /// Whether a name matches.
    pub fn is_match(&self, name: &[u8]) -> bool {
        match self {
            Glob::Exact(exact) => **exact == *name,
            Glob::Start(start) => name.starts_with(start),
            Glob::End(end) => name.ends_with(end),
            Glob::Pattern(glob) => glob.is_match(Path::new(OsStr::from_bytes(name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_the_engine_says() {
        let names: [&[u8]; 14] =
            [b"", b"a", b"b", b"ab", b"abc", b"a/b", b"/", b"a,b", b"a\nb", b"a*", b"\xff", b"a\xffb", b".a", b"cab"];
        for text in
            ["", "a", "a*", "*a", "*", "ab", "a?", "[ab]", "{a,b}*", "*b*", "a\\*", "a,b", "**", "a**b", ".*", "/*"]
        {
            let engine = GlobBuilder::new(text).build().unwrap().compile_matcher();
            let glob = Glob::parse(text).unwrap();
            for name in names {
                assert_eq!(glob.is_match(name), engine.is_match(OsStr::from_bytes(name)), "{text} {name:?}");
            }
        }
        for text in ["[", "{a"] {
            assert!(Glob::parse(text).is_err(), "{text}");
        }
    }
}
