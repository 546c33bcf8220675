//! The requests that `admit` refused, until what became of them is known.
//!
//! A gateway can execute a request although the script refused it: the script did not return what `admit` gave, or RGW ignores
//! what a script returns that it has compiled before. Its event must not be lost then.

use crate::event::{Request, Text};
use crate::log;
use crate::value::Value;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many requests are remembered: RGW has 1,024 at a time by default.
const MAX: usize = 4096;

/// Why `admit` refuses nothing here.
const IN_VAIN: &str = "this gateway lets no script refuse a request (it has no RGW_ABORT_REQUEST; Ceph 20.2 has), so that \
                       admit lets every request pass";

/// The requests that were refused lately, and how many there were.
#[derive(Default)]
pub struct Refusals {
    any: AtomicBool,
    /// Whether `admit` was called where a script can refuse nothing.
    in_vain: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The requests by a hash of their id, and whether their execution was counted.
    requests: HashMap<u64, bool>,
    order: VecDeque<u64>,
    refused: u64,
    executed: u64,
}

impl Refusals {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request that is refused and remembers it. False if there is no room to remember it.
    pub fn add(&self, request: &Request) -> bool {
        let (hash, mut seen) = (hash(request), self.seen());
        seen.refused = seen.refused.saturating_add(1);
        if seen.order.len() >= MAX {
            // Those whose execution was counted are kept for further scripts of the same request alone.
            let oldest = seen.order.front().copied();
            if oldest.is_none_or(|oldest| seen.requests.get(&oldest) == Some(&false)) {
                return false;
            }
            seen.forget(oldest.unwrap_or_default());
        }
        if seen.requests.insert(hash, false).is_none() {
            seen.order.push_back(hash);
        }
        self.any.store(true, Ordering::Release);
        true
    }

    /// Forgets a request that was aborted as it should be.
    pub fn aborted(&self, request: &Request) {
        let mut seen = self.seen();
        seen.forget(hash(request));
        self.any.store(!seen.requests.is_empty(), Ordering::Release);
    }

    /// Whether any refused request is remembered. Cheap, for every request.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Whether this request was refused.
    pub fn has(&self, request: &Request) -> bool {
        self.any() && self.seen().requests.contains_key(&hash(request))
    }

    /// Counts a request that was executed, once, if it was refused.
    pub fn executed(&self, request: &Request) {
        let mut seen = self.seen();
        let counted = seen.requests.get_mut(&hash(request)).map(|counted| std::mem::replace(counted, true));
        if counted != Some(false) {
            return;
        }
        seen.executed = seen.executed.saturating_add(1);
        if seen.executed == 1 {
            log::line(format_args!(
                "a request that admit refused was executed all the same, and its event is published: the script must return \
                 what admit returns, and RGW after 20.2.4 ignores what a script returns that it has compiled before \
                 (said once; status().admit counts)"
            ));
        }
    }

    /// Notes that a script asked where it can refuse nothing.
    pub fn in_vain(&self) {
        if !self.in_vain.swap(true, Ordering::Relaxed) {
            log::line(format_args!("{IN_VAIN} (said once)"));
        }
    }

    /// What `status()` shows of `admit`: how many requests were refused, how many of them the gateway executed all the same,
    /// and a warning where it can refuse none.
    pub fn status(&self) -> Value {
        let seen = self.seen();
        let warning = if self.in_vain.load(Ordering::Relaxed) { IN_VAIN.into() } else { Value::Nil };
        Value::record([("refused", seen.refused.into()), ("executed", seen.executed.into()), ("warning", warning)])
    }
}

impl Seen {
    fn forget(&mut self, hash: u64) {
        self.requests.remove(&hash);
        self.order.retain(|one| *one != hash);
    }
}

fn hash(request: &Request) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.bytes(Text::Id).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: u32) -> Request {
        let mut request = Request::default();
        request.set(Text::Id, &id.to_be_bytes());
        request
    }

    #[test]
    fn an_execution_is_counted_once_and_only_of_a_refused_request() {
        let refusals = Refusals::default();
        assert!(!refusals.any() && !refusals.has(&request(1)));
        refusals.add(&request(1));
        assert!(refusals.any() && refusals.has(&request(1)) && !refusals.has(&request(2)));
        for id in [2, 1, 1] {
            refusals.executed(&request(id));
        }
        assert!(refusals.has(&request(1)), "a second script may notify of it as well");
        let seen = refusals.seen();
        assert_eq!((seen.refused, seen.executed), (1, 1));
    }

    #[test]
    fn what_was_aborted_is_forgotten() {
        let refusals = Refusals::default();
        assert!(refusals.add(&request(1)) && refusals.add(&request(2)));
        refusals.aborted(&request(1));
        assert!(refusals.any() && !refusals.has(&request(1)) && refusals.has(&request(2)));
        refusals.aborted(&request(2));
        assert!(!refusals.any());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_outlives_further_refusals() {
        let refusals = Refusals::default();
        let remembered = (0..10_000).filter(|id| refusals.add(&request(*id))).count();
        assert_eq!(remembered, MAX);
        assert!(refusals.has(&request(0)) && !refusals.has(&request(9_999)));
        refusals.executed(&request(0));
        assert!(refusals.add(&request(10_000)), "in place of the one that was counted");
        let seen = refusals.seen();
        assert_eq!((seen.requests.len(), seen.order.len(), seen.refused), (MAX, MAX, 10_001));
    }
}
