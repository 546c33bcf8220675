//! What `Request` holds in each release of Ceph: rgw-lua.md, 3b, as tables.

use std::ffi::CStr;

/// A release of Ceph, by how its `Request` differs from that of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 16.2: throws C++ exceptions for unknown fields.
    Pacific,
    /// 18.2: raises for them.
    Reef,
    /// 20.2: gives map keys as userdata, and limits memory.
    Tentacle,
}

/// All releases.
pub const RELEASES: [Release; 3] = [Release::Pacific, Release::Reef, Release::Tentacle];

/// The S3 request that the script runs for.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// `RGWOp`.
    pub operation: &'static CStr,
    /// `Response.HTTPStatusCode`.
    pub status: i64,
    /// Whether it is a part of an upload.
    pub part: bool,
    /// The tags that the client gave.
    pub tags: Tags,
}

/// Tags by what is odd about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    /// Nothing is.
    Plain,
    /// One key is there twice: on 16 and 18 a walk never gets past it.
    Repeated,
    /// One key has a NUL in it: 16 and 18 look for what is before that, do not find it, and abort.
    Nul,
}

impl Sample {
    /// A request that is none of the special cases.
    pub const fn of(operation: &'static CStr, status: i64) -> Sample {
        Sample { operation, status, part: false, tags: Tags::Plain }
    }
}

/// What a field gives.
#[derive(Clone, Copy)]
pub enum Field {
    /// A string.
    Text(&'static CStr),
    /// A time: a string, which 20 pushes with the NUL that ends it.
    Time(&'static CStr),
    /// A whole number.
    Integer(i64),
    /// Nothing, without an error.
    Nil,
    /// A table of fields.
    Table(&'static Table),
    /// A map, which has any key and can be walked.
    Map(&'static Table),
    /// What depends on the request.
    Of(fn(&Sample) -> Field),
}

/// A field, and the releases that have it.
pub struct Entry {
    /// Its name, or the key in a map.
    pub name: &'static [u8],
    /// Its value.
    pub field: Field,
    first: Release,
    last: Release,
}

impl Entry {
    /// Whether a release has this field.
    pub fn is_in(&self, release: Release) -> bool {
        (self.first..=self.last).contains(&release)
    }
}

/// A table or map of `Request`.
pub struct Table {
    /// What 16 and 18 call its metatable. Tables of one kind share it, each access makes it that of the last one.
    pub kind: &'static CStr,
    /// Its place in `Request`, which is what 20 calls its metatable.
    pub path: &'static CStr,
    /// Its fields.
    pub entries: &'static [Entry],
}

const fn all(name: &'static CStr, field: Field) -> Entry {
    Entry { name: name.to_bytes(), field, first: Release::Pacific, last: Release::Tentacle }
}

const fn since_reef(name: &'static CStr, field: Field) -> Entry {
    Entry { name: name.to_bytes(), field, first: Release::Reef, last: Release::Tentacle }
}

const fn until_reef(name: &'static CStr, field: Field) -> Entry {
    Entry { name: name.to_bytes(), field, first: Release::Pacific, last: Release::Reef }
}

const fn tentacle(name: &'static CStr, field: Field) -> Entry {
    Entry { name: name.to_bytes(), field, first: Release::Tentacle, last: Release::Tentacle }
}

use Field::{Integer, Map, Nil, Of, Text, Time};

const fn table(kind: &'static CStr, path: &'static CStr, entries: &'static [Entry]) -> Table {
    Table { kind, path, entries }
}

const fn strings(path: &'static CStr, entries: &'static [Entry]) -> Table {
    Table { kind: c"StringMapMeta", path, entries }
}

const BUCKET_ID: Field = Text(c"a164264a-7680-4efe-9372-8c53f1f5dbca.4112.1");
const USER: &[Entry] = &[all(c"Tenant", Text(c"")), all(c"Id", Text(c"requester"))];
const OWNER: &[Entry] = &[all(c"Tenant", Text(c"")), all(c"Id", Text(c"bucketowner"))];

static REQUEST_USER: Table = table(c"UserMeta", c"Request.User", USER);
static BUCKET_USER: Table = table(c"UserMeta", c"Request.Bucket.User", OWNER);
static OWNER_USER: Table = table(c"UserMeta", c"Request.ObjectOwner.User", USER);
static QUOTA: Table = table(
    c"QuotaMeta",
    c"Request.Bucket.Quota",
    &[all(c"MaxSize", Integer(-1)), all(c"MaxObjects", Integer(-1)), all(c"Enabled", Nil), all(c"Rounded", Nil)],
);
static PLACEMENT: Table = table(
    c"PlacementRuleMeta",
    c"Request.Bucket.PlacementRule",
    &[all(c"Name", Text(c"default-placement")), all(c"StorageClass", Text(c"STANDARD"))],
);
static BUCKET: Table = table(
    c"BucketMeta",
    c"Request.Bucket",
    &[
        all(c"Tenant", Text(c"")),
        all(c"Name", Text(c"mybucket")),
        all(c"Marker", BUCKET_ID),
        all(c"Id", BUCKET_ID),
        all(c"ZoneGroupId", Text(c"07d7e514-b9d2-4c97-8bdb-5aea18e95229")),
        all(c"CreationTime", Time(c"2026-11-22 07:09:52")),
        all(c"MTime", Time(c"1970-01-01 00:00:00")),
        until_reef(c"Count", Integer(0)),
        until_reef(c"Size", Integer(0)),
        all(c"Quota", Field::Table(&QUOTA)),
        all(c"PlacementRule", Field::Table(&PLACEMENT)),
        all(c"User", Field::Table(&BUCKET_USER)),
        tentacle(c"Account", Nil),
    ],
);
const OBJECT: &[Entry] = &[
    all(c"Name", Text(c"images/2026/hello world.jpg")),
    all(c"Instance", Text(c"")),
    all(c"Id", Text(c"images/2026/hello world.jpg")),
    all(c"Size", Of(|sample| Integer(if sample.operation == c"copy_obj" { 0 } else { 4096 }))),
    all(c"MTime", Time(c"1970-01-01 00:00:00")),
];
const SOURCE: &[Entry] = &[
    all(c"Name", Text(c"source.jpg")),
    all(c"Instance", Text(c"")),
    all(c"Id", Text(c"source.jpg")),
    all(c"Size", Integer(1234)),
    all(c"MTime", Time(c"1970-01-01 00:00:00")),
];
static REQUEST_OBJECT: Table = table(c"ObjectMeta", c"Request.Object", OBJECT);
static SOURCE_OBJECT: Table = table(c"ObjectMeta", c"Request.CopyFrom.Object", SOURCE);
// On 16 whatever is asked of it is a segmentation fault, so it has nothing there.
static COPY_FROM: Table = table(
    c"CopyFromMeta",
    c"Request.CopyFrom",
    &[
        since_reef(c"Tenant", Text(c"")),
        since_reef(c"Bucket", Text(c"sources")),
        since_reef(c"Object", Field::Table(&SOURCE_OBJECT)),
    ],
);
static OBJECT_OWNER: Table = table(
    c"OwnerMeta",
    c"Request.ObjectOwner",
    &[
        all(c"DisplayName", Text(c"Tester")),
        until_reef(c"User", Field::Table(&OWNER_USER)),
        tentacle(c"User", Text(c"requester")),
    ],
);
static ZONE_GROUP: Table =
    table(c"ZoneGroupMeta", c"Request.ZoneGroup", &[all(c"Name", Text(c"default")), all(c"Endpoint", Text(c""))]);
static RESPONSE: Table = table(
    c"ResponseMeta",
    c"Request.Response",
    &[
        all(c"HTTPStatusCode", Of(|sample| Integer(sample.status))),
        all(c"RGWCode", Integer(0)),
        all(c"HTTPStatus", Text(c"")),
        all(c"Message", Text(c"")),
    ],
);
static NONE: Table = strings(c"Request.HTTP.Parameters", &[]);
static UPLOAD: Table = strings(
    c"Request.HTTP.Parameters",
    &[all(c"partNumber", Text(c"1")), all(c"uploadId", Text(c"2~6ZkbZQ3FBsA8tRZhEAbcDe"))],
);
static METADATA: Table = strings(
    c"Request.HTTP.Metadata",
    &[
        all(c"x-amz-content-sha256", Text(c"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")),
        all(c"x-amz-date", Text(c"20261122T070952Z")),
        all(c"x-amz-meta-camera", Text(c"x100")),
        all(c"x-amz-meta-color", Text(c"red")),
        all(c"x-amz-security-token", Text(c"hunter2")),
        all(
            c"x-amz-tagging",
            Of(|sample| match sample.tags {
                Tags::Plain => Text(c"project=blue&stage=raw"),
                Tags::Repeated => Text(c"project=blue&project=green&stage=raw"),
                Tags::Nul => Text(c"a=first&b%00c=odd&stage=raw"),
            }),
        ),
    ],
);
static HTTP: Table = table(
    c"HTTPMeta",
    c"Request.HTTP",
    &[
        all(c"Parameters", Of(|sample| Map(if sample.part { &UPLOAD } else { &NONE }))),
        all(c"Resources", Of(|sample| Map(if sample.part { &UPLOAD } else { &NONE }))),
        all(c"Metadata", Map(&METADATA)),
        since_reef(c"StorageClass", Text(c"")),
        all(c"Host", Text(c"127.0.0.1")),
        all(c"Method", Text(c"PUT")),
        all(c"URI", Text(c"/mybucket/images/2026/hello%20world.jpg")),
        all(c"QueryString", Of(|sample| Text(if sample.part { c"uploadId=u&partNumber=1" } else { c"" }))),
        all(c"Domain", Text(c"")),
    ],
);
static TAGS: Table = strings(c"Request.Tags", &[all(c"project", Text(c"blue")), all(c"stage", Text(c"raw"))]);
static REPEATED_TAGS: Table = strings(
    c"Request.Tags",
    &[all(c"project", Text(c"blue")), all(c"project", Text(c"green")), all(c"stage", Text(c"raw"))],
);
static NUL_TAGS: Table = strings(
    c"Request.Tags",
    &[
        all(c"a", Text(c"first")),
        Entry { name: b"b\0c", field: Text(c"odd"), first: Release::Pacific, last: Release::Tentacle },
        all(c"stage", Text(c"raw")),
    ],
);
static ENVIRONMENT: Table = strings(
    c"Request.Environment",
    &[
        all(c"sts:authentication", Text(c"false")),
        all(c"aws:username", Text(c"requester")),
        all(c"aws:UserAgent", Text(c"Boto3/1.43.11")),
        all(c"aws:SourceIp", Text(c"192.0.2.7")),
        all(c"aws:PrincipalType", Text(c"User")),
        all(c"aws:EpochTime", Text(c"2026-11-22T07:05:54.862149371Z")),
        all(c"aws:CurrentTime", Text(c"1795331154")),
    ],
);
static ATTRIBUTES: Table = strings(c"Request.GenericAttributes", &[all(c"user.rgw.content_type", Text(c"image/jpeg"))]);
static POLICIES: Table = table(c"PolicyListMeta", c"Request.UserPolicies", &[]);
static TRACE: Table = table(c"TraceMeta", c"Request.Trace", &[all(c"Enable", Nil)]);

/// `Request` itself.
pub static REQUEST: Table = table(
    c"RequestMeta",
    c"Request",
    &[
        all(c"RGWOp", Of(|sample| Text(sample.operation))),
        all(c"DecodedURI", Text(c"/mybucket/images/2026/hello world.jpg")),
        all(c"ContentLength", Integer(4096)),
        all(c"GenericAttributes", Map(&ATTRIBUTES)),
        all(c"Response", Field::Table(&RESPONSE)),
        all(c"SwiftAccountName", Nil),
        all(c"Bucket", Field::Table(&BUCKET)),
        all(
            c"Object",
            Of(|sample| if sample.operation == c"multi_object_delete" { Nil } else { Field::Table(&REQUEST_OBJECT) }),
        ),
        all(c"CopyFrom", Of(|sample| if sample.operation == c"copy_obj" { Field::Table(&COPY_FROM) } else { Nil })),
        all(c"ObjectOwner", Field::Table(&OBJECT_OWNER)),
        all(c"ZoneGroup", Field::Table(&ZONE_GROUP)),
        all(c"UserACL", Nil),
        all(c"BucketACL", Nil),
        all(c"ObjectACL", Nil),
        all(c"Environment", Map(&ENVIRONMENT)),
        all(c"Policy", Nil),
        all(c"UserPolicies", Field::Table(&POLICIES)),
        all(c"RGWId", Text(c"100e-default-default")),
        all(c"HTTP", Field::Table(&HTTP)),
        all(c"Time", Time(c"2026-11-22 07:09:52")),
        all(c"Dialect", Text(c"s3")),
        all(c"Id", Text(c"a164264a-7680-4efe-9372-8c53f1f5dbca.4110.7269143302322000326")),
        all(c"TransactionId", Text(c"tx0000064e12f51e45011c6-006b029540-100e-default")),
        all(
            c"Tags",
            Of(|sample| match sample.tags {
                Tags::Plain => Map(&TAGS),
                Tags::Repeated => Map(&REPEATED_TAGS),
                Tags::Nul => Map(&NUL_TAGS),
            }),
        ),
        since_reef(c"User", Field::Table(&REQUEST_USER)),
        since_reef(c"Trace", Field::Table(&TRACE)),
    ],
);
