//! The zone groups of buckets, as requests have shown them.

use crate::event::{Request, Text};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many buckets are known at a time; of a further one the place of all others is taken.
const MAX_BUCKETS: usize = 1000;
/// How long ids and a name may be to be kept, in bytes.
const MAX_TEXT: usize = 256;

/// Zone groups by bucket. Only a reload of the realm can change one, and that begins a new instance of the gateway, which has
/// another id.
#[derive(Default)]
pub struct ZoneGroups(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// The instance of the gateway that all of these are of.
    instance: Vec<u8>,
    /// The names of zone groups by the ids of buckets.
    names: HashMap<Vec<u8>, Vec<u8>>,
}

impl ZoneGroups {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the zone group of a request, if it is known.
    pub fn set(&self, request: &mut Request) -> bool {
        let known = self.known();
        if known.instance != request.bytes(Text::RgwId) {
            return false;
        }
        let Some(name) = known.names.get(request.bytes(Text::BucketId)) else { return false };
        request.set(Text::ZoneGroup, name);
        true
    }

    /// Notes the zone group of a request, if it has all that it takes to know it again.
    pub fn learn(&self, request: &Request) {
        let [instance, bucket, name] = [Text::RgwId, Text::BucketId, Text::ZoneGroup].map(|text| request.bytes(text));
        if [instance, bucket, name].iter().any(|text| text.is_empty() || text.len() > MAX_TEXT) {
            return;
        }
        let mut known = self.known();
        if known.instance != instance || known.names.len() >= MAX_BUCKETS {
            *known = Known { instance: instance.to_vec(), names: HashMap::new() };
        }
        known.names.insert(bucket.to_vec(), name.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(instance: &str, bucket: &str, name: &str) -> Request {
        let mut request = Request::default();
        for (text, value) in [(Text::RgwId, instance), (Text::BucketId, bucket), (Text::ZoneGroup, name)] {
            request.set(text, value.as_bytes());
        }
        request
    }

    fn found(groups: &ZoneGroups, instance: &str, bucket: &str) -> Option<String> {
        let mut request = request(instance, bucket, "");
        groups.set(&mut request).then(|| request.text(Text::ZoneGroup).into_owned())
    }

    #[test]
    fn each_bucket_has_its_own_and_another_instance_asks_anew() {
        let groups = ZoneGroups::default();
        groups.learn(&request("1-z-g", "b1", "g"));
        groups.learn(&request("1-z-g", "b2", "other"));
        assert_eq!(found(&groups, "1-z-g", "b1").as_deref(), Some("g"));
        assert_eq!(found(&groups, "1-z-g", "b2").as_deref(), Some("other"));
        assert_eq!(found(&groups, "1-z-g", "b3"), None);
        assert_eq!(found(&groups, "2-z-g", "b1"), None);
        groups.learn(&request("2-z-g", "b3", "g"));
        assert_eq!(found(&groups, "2-z-g", "b1"), None);
        assert_eq!(found(&groups, "2-z-g", "b3").as_deref(), Some("g"));
    }

    #[test]
    fn what_can_not_be_known_again_is_not_kept_and_the_rest_is_bounded() {
        let groups = ZoneGroups::default();
        let long = "x".repeat(MAX_TEXT + 1);
        for (instance, bucket, name) in [("", "b", "g"), ("i", "", "g"), ("i", "b", ""), ("i", "b", &long)] {
            groups.learn(&request(instance, bucket, name));
            assert_eq!(found(&groups, instance, bucket), None);
        }
        for number in 0..=MAX_BUCKETS {
            groups.learn(&request("i", &number.to_string(), "g"));
        }
        assert_eq!(groups.known().names.len(), 1);
    }
}
