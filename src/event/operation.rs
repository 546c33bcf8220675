//! Which of RGW's operations change an object, and what RGW calls the event (rgw-lua.md 3e).

/// An operation that RGW itself notifies of and that Lua can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `put_obj`, unless it is a part of an upload.
    Put,
    /// `post_obj`: an upload by a browser's form.
    Post,
    /// `copy_obj`.
    Copy,
    /// `complete_multipart`.
    CompleteMultipartUpload,
    /// `delete_obj`.
    Delete,
}

impl Operation {
    /// The operation of `Request.RGWOp`.
    pub fn from_rgw(name: &[u8]) -> Option<Operation> {
        match name {
            b"put_obj" => Some(Operation::Put),
            b"post_obj" => Some(Operation::Post),
            b"copy_obj" => Some(Operation::Copy),
            b"complete_multipart" => Some(Operation::CompleteMultipartUpload),
            b"delete_obj" => Some(Operation::Delete),
            _ => None,
        }
    }

    /// The record's `eventName`: RGW's event type without `s3:`.
    pub fn event_name(self) -> &'static str {
        match self {
            Operation::Put => "ObjectCreated:Put",
            Operation::Post => "ObjectCreated:Post",
            Operation::Copy => "ObjectCreated:Copy",
            Operation::CompleteMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
            Operation::Delete => "ObjectRemoved:Delete",
        }
    }
}
