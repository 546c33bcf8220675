//! Hashes that tell objects and templates apart in the id of a message.

use super::request::{Request, Text};
use sha2::{Digest, Sha256};

/// The hash of some texts: the first 64 bits of SHA-256 over each text after its length, 4 bytes, big-endian.
///
/// It is not a shorter one because a stream drops a message whose id it knows: who could find two keys with one hash could
/// hide the removal of the second one in a multi-object delete.
pub fn hash<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> u64 {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(text);
    }
    let digest = hasher.finalize();
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// The hash of the object of a request: tenant, bucket, key and version, each empty where it is unknown.
pub fn object(request: &Request) -> u64 {
    hash([Text::Tenant, Text::Bucket, Text::Key, Text::VersionId].map(|text| request.bytes(text)))
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
        // printf '\0\0\0\1a\0\0\0\0' | sha256sum
        assert_eq!(hexadecimal(hash([b"a".as_slice(), b""])), "6a9f797717b7913c");
    }

    #[test]
    fn an_object_is_told_from_others_by_each_of_its_names() {
        let of = |tenant: &str, bucket: &str, key: &str, version: &str| {
            let mut request = Request::default();
            let names = [(Text::Tenant, tenant), (Text::Bucket, bucket), (Text::Key, key), (Text::VersionId, version)];
            names.into_iter().for_each(|(text, name)| request.set(text, name.as_bytes()));
            object(&request)
        };
        let all = [of("t", "b", "k", "v"), of("", "b", "k", "v"), of("t", "bk", "", "v"), of("t", "b", "kv", "")];
        for (place, one) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(one));
        }
    }
}
