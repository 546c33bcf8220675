//! A request as plain values: what the reader in the Lua layer fills and the rest of this layer looks at.

use super::features::Features;
use super::operation::{Operation, Target};

/// How much of one value is kept, in bytes. The longest that RGW takes: a key of 1,024, a header of 8,192.
const MAX_TEXT: usize = 8192;
/// How many entries of a map are kept. RGW refuses more than 10 tags, and 2 KB of metadata are some 100 entries.
const MAX_ENTRIES: usize = 256;
/// How many bytes of a map are kept.
const MAX_MAP: usize = 65536;

/// The status of a request that RGW does not understand, and its own code for an argument that is none (-EINVAL).
const BAD_REQUEST: i64 = 400;
const INVALID_ARGUMENT: i64 = -22;

/// The texts of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Text {
    /// `Request.RGWOp`.
    RgwOp,
    /// `Request.HTTP.Method`.
    Method,
    /// `Request.Id`.
    Id,
    /// `Request.TransactionId`: what the reply's `x-amz-request-id` says.
    TransactionId,
    /// `Request.RGWId`.
    RgwId,
    /// `Request.ZoneGroup.Name`.
    ZoneGroup,
    /// `Request.Bucket.Tenant`.
    Tenant,
    /// `Request.Bucket.Name`.
    Bucket,
    /// `Request.Bucket.Id`.
    BucketId,
    /// Who owns the bucket, as this release's native record writes it.
    BucketOwner,
    /// Who asked, as this release's native record writes it.
    User,
    /// `Request.Object.Name`.
    Key,
    /// `Request.Object.Instance`.
    VersionId,
    /// `Request.Environment["aws:EpochTime"]`, an ISO 8601 time in spite of its name.
    Time,
    /// `Request.Environment["aws:SourceIp"]`.
    SourceIp,
    /// `Request.HTTP.Metadata["x-amz-tagging"]`: the tags as the client sent them.
    Tagging,
    /// `Request.HTTP.Metadata["x-amz-metadata-directive"]`: whether a copy has the metadata of its request or its source.
    Directive,
}

/// How many [`Text`]s there are.
const TEXTS: usize = Text::Directive as usize + 1;

/// The room for texts that a request begins with, in bytes: what an ordinary one takes.
const ROOM: usize = 512;

/// Keys with values, in the order in which RGW has them; a key can stand more than once.
#[derive(Clone, Debug, Default)]
pub struct Map {
    /// All keys and values in one piece: there can be a hundred of them in each request.
    bytes: Vec<u8>,
    /// Where in it each key ends, and each value.
    ends: Vec<(usize, usize)>,
    truncated: bool,
}

impl Map {
    /// Adds an entry, or notes that there was no room for it.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        let bytes = self.bytes.len().saturating_add(key.len()).saturating_add(value.len());
        if self.ends.len() >= MAX_ENTRIES || bytes > MAX_MAP {
            self.truncated = true;
            return;
        }
        self.bytes.extend_from_slice(key);
        let end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((end, self.bytes.len()));
    }

    /// Notes that entries are missing.
    pub fn truncate(&mut self) {
        self.truncated = true;
    }

    /// The entries as bytes that [`Map::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.truncated)];
        for (key, value) in self.iter() {
            for text in [key, value] {
                bytes.extend(u32::try_from(text.len()).unwrap_or_default().to_le_bytes());
                bytes.extend(text);
            }
        }
        bytes
    }

    /// The entries of what [`Map::encode`] made.
    pub fn decode(bytes: &[u8]) -> Map {
        let mut map = Map::default();
        let Some((truncated, mut rest)) = bytes.split_first() else { return map };
        let mut text = || {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let (text, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            rest = after;
            Some(text)
        };
        while let (Some(key), Some(value)) = (text(), text()) {
            map.add(key, value);
        }
        map.truncated = *truncated != 0;
        map
    }

    /// Whether entries are missing.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Takes the entries of a tagging header, `key=value&key=value` with percent-encoding, instead of its own.
    pub fn parse_tagging(&mut self, header: &[u8]) {
        *self = Map::default();
        // RGW takes a + for a +.
        let plain = |text: &[u8]| percent_encoding::percent_decode(text).collect::<Vec<u8>>();
        for pair in header.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let mut sides = pair.splitn(2, |byte| *byte == b'=');
            let (key, value) = (sides.next().unwrap_or_default(), sides.next().unwrap_or_default());
            self.add(&plain(key), &plain(value));
        }
    }

    /// Puts the entries into the order of their keys; those of one key stay in theirs.
    pub fn sort(&mut self) {
        let is_sorted = |map: &Map| map.iter().is_sorted_by(|(one, _), (other, _)| one <= other);
        if is_sorted(self) {
            return;
        }
        let mut sorted = Map { truncated: self.truncated, ..Map::default() };
        let mut entries: Vec<_> = self.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        entries.into_iter().for_each(|(key, value)| sorted.add(key, value));
        *self = sorted;
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut from = 0;
        self.ends.iter().map(move |(key, value)| {
            let entry = (self.bytes.get(from..*key), self.bytes.get(*key..*value));
            from = *value;
            (entry.0.unwrap_or_default(), entry.1.unwrap_or_default())
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether it has this entry.
    pub fn contains(&self, key: &[u8], value: &[u8]) -> bool {
        self.iter().any(|entry| entry == (key, value))
    }

    /// The value of the first entry with a key.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }
}

/// An object of a multi-object delete, in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Vec<u8>,
    /// The version that was asked for; empty if none was.
    pub version: Vec<u8>,
    /// Its size in bytes before it was removed.
    pub size: i64,
}

/// A request of the gateway.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// What the gateway that it comes from shows to scripts.
    pub features: Features,
    /// `Request.Response.HTTPStatusCode`.
    pub status: i64,
    /// `Request.Response.RGWCode`: for a form alone.
    pub code: i64,
    /// Whether this is a part of an upload: `Request.HTTP.Parameters.uploadId` is there.
    pub part: bool,
    /// Whether the keys of a multi-object delete are known: this is one of them, or they are `objects`.
    pub per_key: bool,
    /// The objects of a multi-object delete, where the gateway lists them.
    pub objects: Vec<Listed>,
    /// The size of the object after the operation (before it, for a removal), in bytes.
    pub size: i64,
    /// User metadata: the headers `x-amz-meta-*`.
    pub metadata: Map,
    /// `Request.Tags`.
    pub tags: Map,
    /// Of `Request.Bucket.Tags` the keys that were asked for, with their values; none where this gateway does not show them.
    pub bucket_tags: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// All texts in one piece, and where each one is in it.
    texts: Vec<u8>,
    places: [(usize, usize); TEXTS],
}

impl Request {
    /// Keeps a text; what is over 8,192 bytes is cut off.
    pub fn set(&mut self, text: Text, bytes: &[u8]) {
        let kept = bytes.get(..MAX_TEXT).unwrap_or(bytes);
        if self.texts.is_empty() {
            self.texts.reserve(ROOM);
        }
        if let Some(place) = self.places.get_mut(text as usize) {
            let from = self.texts.len();
            self.texts.extend_from_slice(kept);
            *place = (from, self.texts.len());
        }
    }

    /// Where tags could not be read to their end: takes them from what the client sent, if it sent them with the request.
    pub fn mend_tags(&mut self) {
        let tagging = self.bytes(Text::Tagging);
        if self.tags.is_truncated() && !tagging.is_empty() {
            let mut tags = Map::default();
            tags.parse_tagging(tagging);
            self.tags = tags;
        }
    }

    /// Whether [`Text::Tagging`] is all that the client sent: a longer one was cut off.
    pub fn has_whole_tagging(&self) -> bool {
        self.bytes(Text::Tagging).len() < MAX_TEXT
    }

    /// Takes the tags from what the client sent, in the order of their keys, as RGW has them.
    pub fn take_tagging(&mut self) {
        let mut tags = Map::default();
        tags.parse_tagging(self.bytes(Text::Tagging));
        tags.sort();
        self.tags = tags;
    }

    /// Puts a tenant before a user, as `tenant$user`; no tenant changes nothing.
    pub fn qualify(&mut self, text: Text, tenant: &[u8]) {
        if !tenant.is_empty() {
            let whole = [tenant, b"$", self.bytes(text)].concat();
            self.set(text, &whole);
        }
    }

    /// The bytes of a text; empty if unknown.
    pub fn bytes(&self, text: Text) -> &[u8] {
        let place = self.places.get(text as usize);
        place.and_then(|(from, to)| self.texts.get(*from..*to)).unwrap_or_default()
    }

    /// A text, with U+FFFD for what is not UTF-8; empty if unknown.
    pub fn text(&self, text: Text) -> std::borrow::Cow<'_, str> {
        let bytes = self.bytes(text);
        // Nearly all are UTF-8, and finding that out is cheaper than looking for what is not.
        match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => String::from_utf8_lossy(bytes),
        }
    }

    /// How many bytes its texts and maps have, roughly: what a record of it takes.
    pub fn len(&self) -> usize {
        // Around each entry of a map stand names and quotes.
        let map = |map: &Map| map.bytes.len().saturating_add(map.ends.len().saturating_mul(24));
        self.texts.len().saturating_add(map(&self.metadata)).saturating_add(map(&self.tags))
    }

    /// The operation that may be notified of: one that succeeded, on something that has a name.
    pub fn event(&self) -> Option<&'static Operation> {
        let operation = self.candidate()?;
        let named = match operation.target() {
            Target::Object => Text::Key,
            Target::Bucket => Text::Bucket,
        };
        // A part of an upload is a put_obj too; the object comes to be with complete_multipart.
        if self.part || self.bytes(named).is_empty() {
            return None;
        }
        // A form that was refused before it was read has no size.
        if operation.is_form() && self.status == BAD_REQUEST && self.size == 0 {
            return None;
        }
        // A completion that is repeated is answered as done, and RGW does not notify of it. Only then is there an object whose
        // size is shown.
        let repeated = operation.is_completion() && self.size != 0 && self.features.completions_have_no_size();
        (!repeated).then_some(operation)
    }

    /// Whether a copy has the metadata of its request, and not those of its source.
    pub fn replaces(&self) -> bool {
        self.bytes(Text::Directive).eq_ignore_ascii_case(b"REPLACE")
    }

    /// The request as one for each of its objects, if there is a list of them.
    pub fn of_each_object(&self) -> impl Iterator<Item = Request> {
        let without = (!self.objects.is_empty()).then(|| Request { objects: Vec::new(), ..self.clone() });
        self.objects.iter().zip(std::iter::repeat(without.unwrap_or_default())).map(|(object, mut one)| {
            one.size = object.size;
            one.set(Text::Key, &object.key);
            one.set(Text::VersionId, &object.version);
            one
        })
    }

    /// Whether its operation removes several objects.
    pub fn is_multi_delete(&self) -> bool {
        self.bytes(Text::RgwOp) == b"multi_object_delete"
    }

    /// Whether it removed objects whose keys this gateway does not show to a script.
    pub fn hides_its_keys(&self) -> bool {
        self.is_multi_delete() && !self.per_key && (200..300).contains(&self.status)
    }

    /// Whether, by operation, method and status alone, the rest of the request is worth reading.
    pub fn candidate(&self) -> Option<&'static Operation> {
        // postRequest runs for failed and denied requests too (rgw-lua.md 1a).
        let name = if self.per_key { b"delete_obj" } else { self.bytes(Text::RgwOp) };
        let operation = Operation::of(name, self.bytes(Text::Method))?;
        // A form can ask that its sender be sent on (success_action_redirect); and for a status that is none, which RGW finds
        // out when the object is there.
        let by_form = self.status == 303 || (self.status == BAD_REQUEST && self.code == INVALID_ARGUMENT);
        let done = (200..300).contains(&self.status) || (operation.is_form() && by_form);
        done.then_some(operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(op: &str, status: i64) -> Request {
        let mut request = Request { status, ..Request::default() };
        request.set(Text::RgwOp, op.as_bytes());
        request.set(Text::Key, b"k");
        request
    }

    #[test]
    fn only_what_succeeded_and_changed_an_object_is_an_event() {
        let name = |op, status| request(op, status).event().map(Operation::event_name);
        assert_eq!(name("put_obj", 200), Some("ObjectCreated:Put"));
        assert_eq!(name("delete_obj", 204), Some("ObjectRemoved:Delete"));
        assert_eq!(name("post_obj", 303), Some("ObjectCreated:Post"));
        for (op, status) in
            [("put_obj", 303), ("put_obj", 403), ("put_obj", 0), ("put_obj", 301), ("list_bucket", 200), ("", 200)]
        {
            assert_eq!(request(op, status).event(), None, "{op} {status}");
        }
    }

    #[test]
    fn a_form_with_a_status_that_is_none_has_made_its_object() {
        let form = |code, size| {
            let mut form = request("post_obj", 400);
            (form.code, form.size) = (code, size);
            form.event().map(Operation::event_name)
        };
        assert_eq!(form(-22, 3), Some("ObjectCreated:Post"));
        assert_eq!(form(-22, 0), None);
        assert_eq!(form(-2005, 3), None);
    }

    #[test]
    fn a_completion_that_is_repeated_is_no_event_where_that_can_be_told() {
        let completion = |features, size| {
            let mut completion = request("complete_multipart", 200);
            (completion.features, completion.size) = (features, size);
            completion.event().is_some()
        };
        assert!(completion(Features::REEF, 0) && completion(Features::TENTACLE, 0));
        assert!(!completion(Features::REEF, 5) && !completion(Features::TENTACLE, 5));
        assert!(completion(Features::PACIFIC, 0) && completion(Features::PACIFIC, 5));
    }

    #[test]
    fn a_part_of_an_upload_is_no_event() {
        let mut part = request("put_obj", 200);
        part.part = true;
        assert_eq!(part.event(), None);
    }

    #[test]
    fn a_map_comes_back_from_its_bytes() {
        let mut map = Map::default();
        map.add(b"k", b"v");
        map.add(b"", b"\0\xff");
        map.truncate();
        let back = Map::decode(&map.encode());
        assert_eq!(back.iter().collect::<Vec<_>>(), map.iter().collect::<Vec<_>>());
        assert!(back.is_truncated());
        assert!(Map::decode(b"\0\x09\0\0\0x").is_empty());
    }

    #[test]
    fn a_tagging_header_is_read_as_rgw_reads_it() {
        let mut map = Map::default();
        map.parse_tagging(b"a=1&a=2&b+c=%41%3D&d&=e&");
        let texts: Vec<(&[u8], &[u8])> = map.iter().collect();
        let wanted: [(&[u8], &[u8]); 5] = [(b"a", b"1"), (b"a", b"2"), (b"b+c", b"A="), (b"d", b""), (b"", b"e")];
        assert_eq!(texts, wanted);
    }

    #[test]
    fn tags_that_were_sent_come_in_the_order_of_their_keys() {
        let mut request = Request::default();
        request.set(Text::Tagging, b"b=2&a=1&b=1&a=%00&=");
        assert!(request.has_whole_tagging());
        request.take_tagging();
        let wanted: [(&[u8], &[u8]); 5] = [(b"", b""), (b"a", b"1"), (b"a", b"\0"), (b"b", b"2"), (b"b", b"1")];
        assert_eq!(request.tags.iter().collect::<Vec<_>>(), wanted);
        request.set(Text::Tagging, &[b'x'; 10_000]);
        assert!(!request.has_whole_tagging());
    }

    #[test]
    fn maps_and_texts_are_bounded() {
        let mut map = Map::default();
        for n in 0..10_000_u32 {
            map.add(&n.to_be_bytes(), b"v");
        }
        assert_eq!(map.iter().count(), MAX_ENTRIES);
        assert!(map.truncated);
        let mut large = Map::default();
        large.add(b"k", &vec![b'x'; MAX_MAP]);
        assert!(large.is_empty() && large.truncated);
        let mut request = Request::default();
        request.set(Text::Key, &vec![b'x'; 1 << 20]);
        assert_eq!(request.bytes(Text::Key).len(), MAX_TEXT);
    }
}
