//! A first look at rules, so that a thousand of them cost little more than one: what stands in 68 bytes turns most away.

use super::glob::Glob;
use super::request::{Request, Text};

/// How many bytes of a name are looked at.
const LOOKED_AT: usize = size_of::<u128>();

/// What must hold of the first bytes of a name.
#[derive(Clone, Copy, Debug, Default)]
struct Beginning {
    mask: u128,
    value: u128,
}

impl Beginning {
    fn of(beginning: &[u8]) -> Beginning {
        let bits = 8 * u32::try_from(beginning.len().min(LOOKED_AT)).unwrap_or_default();
        // The first byte is the lowest one.
        let mask = u128::MAX.checked_shr(u128::BITS - bits).unwrap_or_default();
        Beginning { mask, value: first(beginning) & mask }
    }

    fn of_globs(globs: &[Glob]) -> Beginning {
        match globs {
            [Glob::Exact(name)] if name.len() < LOOKED_AT => Beginning { mask: u128::MAX, value: first(name) },
            [Glob::Exact(name) | Glob::Start(name)] => Beginning::of(name),
            _ => Beginning::default(),
        }
    }

    fn suits(&self, name: u128) -> bool {
        name & self.mask == self.value
    }
}

/// The first bytes of a name as a number, with zeros where it is shorter.
fn first(name: &[u8]) -> u128 {
    let mut bytes = [0; LOOKED_AT];
    bytes.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    u128::from_le_bytes(bytes)
}

/// What must hold of a request for a rule to fit; more may have to.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    events: u32,
    bucket: Beginning,
    key: Beginning,
}

impl Gate {
    /// The gate of a rule: its events by their bits, its buckets, and what its keys begin with.
    pub fn new(events: u32, buckets: &[Glob], prefix: &[u8]) -> Gate {
        Gate { events, bucket: Beginning::of_globs(buckets), key: Beginning::of(prefix) }
    }

    /// Whether the rule may fit.
    pub fn lets(&self, look: &Look) -> bool {
        self.events & look.events != 0 && self.bucket.suits(look.bucket) && self.key.suits(look.key)
    }
}

/// What gates look at of a request.
pub struct Look {
    events: u32,
    bucket: u128,
    key: u128,
}

impl Look {
    /// Of a request that can be any of these events, by their bits.
    pub fn at(request: &Request, events: u32) -> Look {
        Look { events, bucket: first(request.bytes(Text::Bucket)), key: first(request.bytes(Text::Key)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_turns_away_what_differs_in_its_first_bytes_and_nothing_that_fits() {
        let texts: Vec<String> =
            ["", "a", "b", "ab", "a\0", "abcdefghijklmno", "abcdefghijklmnop", "abcdefghijklmnopq", "abcdefghijklmnoq"]
                .map(str::to_owned)
                .to_vec();
        for pattern in &texts {
            for name in &texts {
                let mut request = Request::default();
                request.set(Text::Bucket, name.as_bytes());
                request.set(Text::Key, name.as_bytes());
                let look = Look::at(&request, 1);
                let begins = name.starts_with(pattern.get(..16).unwrap_or(pattern));
                // A name that ends looks as one that goes on with zeros.
                let exact = !pattern.contains('\0');
                for glob in [pattern.clone(), format!("{pattern}*")] {
                    let glob = [Glob::parse(&glob).unwrap()];
                    let lets = Gate::new(1, &glob, b"").lets(&look);
                    assert!(lets || !glob[0].is_match(name.as_bytes()), "{glob:?} {name:?}");
                    assert!(!lets || begins || !exact, "{glob:?} {name:?}");
                }
                let lets = Gate::new(1, &[], pattern.as_bytes()).lets(&look);
                assert!(lets == begins || (lets && !exact), "{pattern:?} {name:?}");
            }
        }
        let look = Look::at(&Request::default(), 2);
        assert!(!Gate::new(1, &[], b"").lets(&look) && Gate::new(3, &[], b"").lets(&look));
    }
}
