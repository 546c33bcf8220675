//! RGW's operations that a script can see, and what the events of them are called.

/// An operation that can be notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// `Request.RGWOp`.
    rgw: &'static str,
    /// `Request.HTTP.Method`, where that decides; else empty.
    method: &'static str,
    /// The record's `eventName`: the event type without `s3:`.
    event: &'static str,
    /// Whether RGW has this event too. The others must be asked for by name.
    native: bool,
    /// What the operation is on.
    target: Target,
    /// Whether the bucket must be one of those that a rule calls versioned, and no version named.
    marker: bool,
    /// See [`Operation::bit`].
    bit: u32,
}

/// What an operation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An object: `Request.Object` has a name.
    Object,
    /// A bucket.
    Bucket,
}

const fn native(place: u32, rgw: &'static str, event: &'static str) -> Operation {
    Operation { rgw, method: "", event, native: true, target: Target::Object, marker: false, bit: 1 << place }
}

const fn beyond(place: u32, rgw: &'static str, event: &'static str) -> Operation {
    Operation { native: false, ..native(place, rgw, event) }
}

/// What a delete is where a rule says that it makes a marker.
const MARKER: Operation = Operation { marker: true, ..native(5, "delete_obj", "ObjectRemoved:DeleteMarkerCreated") };

/// The operations: first those that RGW itself notifies of (rgw-lua.md 3e), then those beyond. The names of the latter are
/// AWS' where AWS has the event, and MinIO's or of their kind where it has not.
pub const OPERATIONS: [Operation; 17] = [
    native(0, "put_obj", "ObjectCreated:Put"),
    native(1, "post_obj", "ObjectCreated:Post"),
    native(2, "copy_obj", "ObjectCreated:Copy"),
    native(3, "complete_multipart", "ObjectCreated:CompleteMultipartUpload"),
    native(4, "delete_obj", "ObjectRemoved:Delete"),
    MARKER,
    beyond(6, "put_obj_tags", "ObjectTagging:Put"),
    beyond(7, "delete_obj_tags", "ObjectTagging:Delete"),
    beyond(8, "put_acls", "ObjectAcl:Put"),
    beyond(9, "restore_obj", "ObjectRestore:Post"),
    beyond(10, "put_obj_retention", "ObjectRetention:Put"),
    beyond(11, "put_obj_legal_hold", "ObjectLegalHold:Put"),
    beyond(12, "put_obj_metadata", "ObjectMetadata:Put"),
    Operation { method: "GET", ..beyond(13, "get_obj", "ObjectAccessed:Get") },
    Operation { method: "HEAD", ..beyond(14, "get_obj", "ObjectAccessed:Head") },
    Operation { target: Target::Bucket, ..beyond(15, "create_bucket", "BucketCreated:Put") },
    Operation { target: Target::Bucket, ..beyond(16, "delete_bucket", "BucketRemoved:Delete") },
];

impl Operation {
    /// The operation of `Request.RGWOp` and `Request.HTTP.Method`. A delete is a removal; only a rule can say that it made a
    /// marker instead, see [`Operation::as_marker`].
    pub fn of(name: &[u8], method: &[u8]) -> Option<&'static Operation> {
        let fits = |operation: &&Operation| {
            operation.rgw.as_bytes() == name && (operation.method.is_empty() || operation.method.as_bytes() == method)
        };
        OPERATIONS.iter().find(fits)
    }

    /// What a removal is in a versioned bucket, where it names no version.
    pub fn as_marker(&self) -> Option<&'static Operation> {
        (self.rgw == MARKER.rgw && !self.marker).then_some(&MARKER)
    }

    /// Whether it can only be told with the help of a rule.
    pub fn is_marker(&self) -> bool {
        self.marker
    }

    /// The record's `eventName`: the event type without `s3:`.
    pub fn event_name(&self) -> &'static str {
        self.event
    }

    /// A bit that no other operation has.
    pub fn bit(&self) -> u32 {
        self.bit
    }

    /// The bits of what it can be: a removal may turn out to have made a delete marker, which is for a rule to say.
    pub fn bits(&self) -> u32 {
        self.bit | self.as_marker().map_or(0, Operation::bit)
    }

    /// Whether it is an upload by a browser's form.
    pub fn is_form(&self) -> bool {
        self.rgw == "post_obj"
    }

    /// Whether it completes an upload of parts.
    pub fn is_completion(&self) -> bool {
        self.rgw == "complete_multipart"
    }

    /// Whether RGW answers it by 204 where it succeeds. Before the operation the status is 200.
    pub fn has_no_content(&self) -> bool {
        matches!(self.rgw, "delete_obj" | "delete_obj_tags" | "delete_bucket")
    }

    /// Whether it is a copy.
    pub fn is_copy(&self) -> bool {
        self.rgw == "copy_obj"
    }

    /// Whether RGW has this event too.
    pub fn is_native(&self) -> bool {
        self.native
    }

    /// What it is on.
    pub fn target(&self) -> Target {
        self.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_the_bit_of_its_place() {
        for (place, operation) in OPERATIONS.iter().enumerate() {
            assert_eq!(operation.bit(), 1 << place, "{operation:?}");
        }
    }

    #[test]
    fn a_delete_alone_can_make_a_marker() {
        let markers: Vec<_> = OPERATIONS.iter().filter_map(|one| Some((one.event_name(), one.as_marker()?))).collect();
        assert_eq!(markers, [("ObjectRemoved:Delete", &MARKER)]);
        assert!(OPERATIONS.contains(&MARKER));
    }
}
