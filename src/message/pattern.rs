//! What JetStream is asked by which streams there are for a message.

use std::borrow::Cow;
use std::sync::Arc;

/// A subject with wildcards that stands for a message's own and its like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// No stream is asked for.
    None,
    /// All subjects with the same first token, so that there are few different ones. Nothing that messages share: each would
    /// count its users, on two threads.
    Kin,
    /// This one.
    Given(Arc<str>),
}

impl Pattern {
    /// The pattern for a subject.
    pub fn of(&self, subject: &str) -> Option<Cow<'_, str>> {
        match self {
            Pattern::None => None,
            Pattern::Kin => Some(match subject.split_once('.') {
                Some((first, _)) => format!("{first}.>").into(),
                None => subject.to_owned().into(),
            }),
            Pattern::Given(pattern) => Some(Cow::Borrowed(pattern)),
        }
    }
}

/// Whether subjects have one pattern as kin, which is not made for that.
pub fn are_kin(one: &str, other: &str) -> bool {
    match (one.split_once('.'), other.split_once('.')) {
        (Some((one, _)), Some((other, _))) => one == other,
        (None, None) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kin_have_their_first_token_in_common() {
        for (subject, wanted) in [("a.b", "a.>"), ("a.b.c", "a.>"), ("a", "a")] {
            assert_eq!(Pattern::Kin.of(subject).as_deref(), Some(wanted));
        }
        for one in ["a", "b", "a.b", "a.c.d", "ab.c", "a.", ".a", ""] {
            for other in ["a", "b", "a.b", "a.c.d", "ab.c", "a.", ".a", ""] {
                assert_eq!(are_kin(one, other), Pattern::Kin.of(one) == Pattern::Kin.of(other), "{one} {other}");
            }
        }
        assert_eq!(Pattern::Given("x.*".into()).of("x.y").as_deref(), Some("x.*"));
        assert_eq!(Pattern::None.of("x"), None);
    }
}
