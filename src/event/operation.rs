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
}

/// What an operation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An object: `Request.Object` has a name.
    Object,
    /// A bucket.
    Bucket,
}

const fn native(rgw: &'static str, event: &'static str) -> Operation {
    Operation { rgw, method: "", event, native: true, target: Target::Object, marker: false }
}

const fn beyond(rgw: &'static str, event: &'static str) -> Operation {
    Operation { rgw, method: "", event, native: false, target: Target::Object, marker: false }
}

/// The operations: first those that RGW itself notifies of (rgw-lua.md 3e), then those beyond. The names of the latter are
/// AWS' where AWS has the event, and MinIO's or of their kind where it has not.
pub const OPERATIONS: [Operation; 17] = [
    native("put_obj", "ObjectCreated:Put"),
    native("post_obj", "ObjectCreated:Post"),
    native("copy_obj", "ObjectCreated:Copy"),
    native("complete_multipart", "ObjectCreated:CompleteMultipartUpload"),
    native("delete_obj", "ObjectRemoved:Delete"),
    Operation { marker: true, ..native("delete_obj", "ObjectRemoved:DeleteMarkerCreated") },
    beyond("put_obj_tags", "ObjectTagging:Put"),
    beyond("delete_obj_tags", "ObjectTagging:Delete"),
    beyond("put_acls", "ObjectAcl:Put"),
    beyond("restore_obj", "ObjectRestore:Post"),
    beyond("put_obj_retention", "ObjectRetention:Put"),
    beyond("put_obj_legal_hold", "ObjectLegalHold:Put"),
    beyond("put_obj_metadata", "ObjectMetadata:Put"),
    Operation { method: "GET", ..beyond("get_obj", "ObjectAccessed:Get") },
    Operation { method: "HEAD", ..beyond("get_obj", "ObjectAccessed:Head") },
    Operation { target: Target::Bucket, ..beyond("create_bucket", "BucketCreated:Put") },
    Operation { target: Target::Bucket, ..beyond("delete_bucket", "BucketRemoved:Delete") },
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
        OPERATIONS.iter().find(|operation| operation.marker && operation.rgw == self.rgw && !self.marker)
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
        let place = OPERATIONS.iter().position(|known| known == self).and_then(|place| u32::try_from(place).ok());
        place.and_then(|place| 1_u32.checked_shl(place)).unwrap_or_default()
    }

    /// Whether it is an upload by a browser's form.
    pub fn is_form(&self) -> bool {
        self.rgw == "post_obj"
    }

    /// Whether it completes an upload of parts.
    pub fn is_completion(&self) -> bool {
        self.rgw == "complete_multipart"
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
