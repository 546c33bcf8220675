//! Hashes that tell objects and templates apart in the id of a message.

use super::request::{Request, Text};
use sha2::{Digest, Sha256};

/// The first 64 bits of SHA-256 over some texts with a NUL between them.
///
/// A stream drops a message whose id it knows, so that who finds a key with the hash of another one's could hide its removal
/// in the same multi-object delete: that takes some 2^64 trials. Two keys of one's own with one hash take some 2^32.
pub fn hash<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> u64 {
    let mut hasher = Sha256::new();
    for (place, text) in texts.into_iter().enumerate() {
        if place > 0 {
            hasher.update([0]);
        }
        hasher.update(text);
    }
    let digest = hasher.finalize();
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// The hash of the object of a request: tenant, bucket, version and key, each empty where it is unknown. The key, which alone
/// can hold a NUL, is the last.
pub fn object(request: &Request) -> u64 {
    hash([Text::Tenant, Text::Bucket, Text::VersionId, Text::Key].map(|text| request.bytes(text)))
}

/// A hash as 16 hexadecimal digits.
pub fn hexadecimal(hash: u64) -> String {
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_in_every_process_and_version() {
        // printf 'a\0' | sha256sum
        assert_eq!(hexadecimal(hash([b"a".as_slice(), b""])), "ffe9aaeaa2a2d504");
    }

    #[test]
    fn an_object_is_told_from_others_by_each_of_its_names() {
        let of = |tenant: &str, bucket: &str, key: &str, version: &str| {
            let mut request = Request::default();
            let names = [(Text::Tenant, tenant), (Text::Bucket, bucket), (Text::Key, key), (Text::VersionId, version)];
            names.into_iter().for_each(|(text, name)| request.set(text, name.as_bytes()));
            object(&request)
        };
        let all = [of("t", "b", "k", "v"), of("", "b", "k", "v"), of("t", "bk", "", "v"), of("t", "b", "vk", "")];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(one));
        }
    }
}
