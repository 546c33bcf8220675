"""What may differ between RGW's records and ours, each with its reason and, beyond that it differs, a check of its own.

Whatever is not in these tables must be equal. Whatever is in them must differ, in each operation and release named.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from harness.cluster import RELEASES

from .operations import OPERATIONS

#: How long records may take to come in, in seconds; what comes at all comes in milliseconds.
PATIENCE = 10.0


@dataclass(frozen=True)
class Allowance:
    """A field that differs: in which operations and releases, why, and what is to be seen then."""

    state: str
    field: str
    operations: frozenset
    releases: tuple
    reason: str
    check: Callable

    def covers(self, release, operation, field):
        return field == self.field and operation in self.operations and release in self.releases


@dataclass(frozen=True)
class Alone:
    """An operation that only one of the two tells of: the names of RGW's events, those of ours, and why."""

    operation: str
    releases: tuple
    native: tuple
    ours: tuple
    reason: str


NEWER = ("18.2", "20.2")
EVERY = frozenset(one.name for one in OPERATIONS)
POSTS = {"post", "post_versioned"}
COPIES = {"copy", "copy_across", "copy_replace", "copy_no_replace", "copy_self", "copy_versioned"}
COMPLETES = {"multipart", "multipart_versioned"}
MARKERS = {"marker", "marker_missing"}
#: Removals of what had content.
REMOVALS = {"delete", "delete_friend", "delete_version", "delete_null", "swift_delete", "marker", "delete_suspended"}
#: Removals of nothing, or of a marker, which has no content.
EMPTY = {"delete_missing", "marker_missing", "delete_marker"}
#: By someone else than the bucket's owner.
STRANGERS = {"put_friend", "put_anonymous", "delete_friend"}

_DELETE = "ObjectRemoved:Delete"
ALONE = (
    Alone("delete_several", NEWER, (_DELETE, _DELETE), (), "Lua is not shown the keys of a multi-object delete"),
    Alone(
        "delete_missing",
        ("20.2",),
        (),
        (_DELETE,),
        "RGW 20.2 tells of no delete that found nothing; to Lua it looks like one that made a marker",
    ),
)


def alone(release, operation):
    """The entry of an operation that only one of the two tells of, if it is one."""
    return next((one for one in ALONE if one.operation == operation and release in one.releases), None)


def counts(release, operation):
    """How many records of RGW's an operation gives, and how many of ours."""
    one = alone(release, operation)
    return (len(one.native), len(one.ours)) if one else (1, 1)


ALLOWED = []


def _allow(state, field, reason, operations, releases=RELEASES):
    """Adds the check below it to the table."""

    def take(check):
        ALLOWED.append(Allowance(state, field, frozenset(operations), releases, reason, check))
        return check

    return take


def better(field, reason, operations=EVERY, releases=RELEASES):
    """Ours says more, or says it right."""
    return _allow("better", field, reason, operations, releases)


def unknown(field, reason, operations=EVERY, releases=RELEASES):
    """A script is not shown it."""
    return _allow("unknown", field, reason, operations, releases)


def _seconds(text):
    """A record's time in seconds since 1970; raises unless it is written as RGW writes times."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text), text
    return datetime.fromisoformat(text).timestamp()


def _is_within(cell, seconds):
    """Whether a time lies between the sending of the request and its reply, by the same machine's clock."""
    return cell.seen.sent - 0.01 <= seconds <= cell.seen.done + 0.01


@better("requestParameters.sourceIPAddress", "the client's address; RGW leaves it empty")
def _source(cell):
    return (cell.native, cell.ours, cell.alone) == ("", "127.0.0.1", "127.0.0.1")


@better("s3.object.sequencer", "sorts as text in the order of the events; RGW's does not")
def _sequencer(cell):
    well_formed = re.compile(r"[0-9A-F]{16}").fullmatch
    return well_formed(cell.ours) and well_formed(cell.alone) and cell.seen.previous < cell.ours < cell.alone


@better("eventId", "ends in the sequencer, so no two are alike; RGW's ends in the eTag")
def _event_id(cell):
    seconds, sequencer = cell.ours.rsplit(".", 1)
    own = cell.seen.ours[0]["s3"]["object"]["sequencer"]
    # The script may run when the client has its reply already.
    is_now = cell.seen.sent - 0.01 <= float(seconds) <= cell.seen.done + PATIENCE
    return re.fullmatch(r"\d{10}\.\d{6}", seconds) and sequencer == own and is_now


_MTIME = "Lua is not shown the object's mtime; ours is when the request came"


@unknown("eventTime", _MTIME, EVERY - POSTS)
@unknown("eventTime", _MTIME, POSTS, ("16.2",))
def _event_time(cell):
    ours, native = _seconds(cell.ours), _seconds(cell.native)
    return _is_within(cell, ours) and _is_within(cell, native) and ours < native


@better("eventTime", "when the request came; RGW writes `0.000000`", POSTS, NEWER)
def _time_of_post(cell):
    return cell.native == "0.000000" and _is_within(cell, _seconds(cell.ours))


@unknown("s3.object.eTag", "Lua is not shown it", EVERY - EMPTY)
def _etag(cell):
    return cell.ours == cell.alone == "" and re.fullmatch(r"[0-9a-f]{32}(-\d+)?", cell.native)


@unknown("s3.object.versionId", "Lua is not shown the version of the marker that a delete makes", MARKERS, NEWER)
@unknown("s3.object.versionId", "Lua is not shown the marker's version `null`", {"delete_suspended"}, NEWER)
def _marker_version(cell):
    return cell.ours == cell.alone == "" != cell.native


@better(
    "s3.bucket.ownerIdentity.principalId", "the bucket's owner; RGW 18.2 writes the requester", STRANGERS, ("18.2",)
)
def _owner(cell):
    requester = cell.seen.native[0]["userIdentity"]["principalId"]
    return cell.ours == cell.alone == "parity" and cell.native == requester


@unknown("s3.object.size", "Lua is not shown the size of a completed upload", COMPLETES, NEWER)
@unknown("s3.object.size", "Lua is not shown the size of a completed upload", {"multipart_versioned"}, ("16.2",))
@unknown("s3.object.size", "Lua is not shown the size of a copy", COPIES, ("16.2",))
@unknown("s3.object.size", "Lua is not shown the size of what was deleted", {"delete_suspended"}, ("16.2",))
def _size(cell):
    return cell.ours == cell.alone == 0 < cell.native


_BESIDE = "Lua is shown it only if RGW notifies of the bucket too"


@unknown("s3.object.size", f"{_BESIDE}; 0 otherwise", (REMOVALS - {"delete_suspended"}) | {"multipart"}, ("16.2",))
def _size_beside(cell):
    return cell.alone == 0 < cell.ours == cell.native


@better(
    "s3.object.size", "the whole object's if RGW notifies of the bucket too; else what was appended", {"put_append"}
)
def _size_of_append(cell):
    return cell.alone == cell.native < cell.ours == cell.truth


METADATA, TAGS = "s3.object.metadata", "s3.object.tags"
_FORM = "Lua is not shown the fields of a form"
_UPLOAD = "Lua is not shown what the upload began with"
_COPY = "Lua is not shown what a copy takes over"
_REMOVED = "Lua is not shown what the deleted object had"
#: Where 16.2 itself does not find what an object has.
_MISSED = {"copy_across", "multipart_versioned", "delete_suspended"}
_REPLACED = {"copy_replace", "copy_self"}


@unknown(METADATA, _FORM, POSTS, NEWER)
@unknown(METADATA, _FORM, {"post"}, ("16.2",))
@unknown(METADATA, _UPLOAD, COMPLETES, NEWER)
@unknown(METADATA, _UPLOAD, COMPLETES - _MISSED, ("16.2",))
@unknown(METADATA, _COPY, COPIES - _REPLACED - {"copy_no_replace"}, NEWER)
@unknown(METADATA, _COPY, COPIES - _REPLACED - {"copy_no_replace"} - _MISSED, ("16.2",))
@unknown(METADATA, _REMOVED, REMOVALS, NEWER)
@unknown(METADATA, _REMOVED, REMOVALS - _MISSED, ("16.2",))
def _metadata(cell):
    return cell.ours == cell.alone == [] and any(_is_user(pair) for pair in cell.native)


@unknown(TAGS, _FORM, POSTS, NEWER)
@unknown(TAGS, _FORM, {"post"}, ("16.2",))
@unknown(TAGS, _UPLOAD, COMPLETES, ("20.2",))
@unknown(TAGS, _COPY, COPIES - _REPLACED, NEWER)
@unknown(TAGS, _COPY, COPIES - _REPLACED - _MISSED, ("16.2",))
@unknown(TAGS, _REMOVED, REMOVALS, NEWER)
@unknown(TAGS, _REMOVED, REMOVALS - _MISSED, ("16.2",))
def _tags(cell):
    return cell.ours == cell.alone == [] != cell.native


@better(METADATA, "the object's own; RGW's has the source's too", _REPLACED, NEWER)
@better(TAGS, "the object's own; RGW's are the source's", _REPLACED, NEWER)
@better(TAGS, "the object's own; RGW's are the source's", {"copy_replace"}, ("16.2",))
def _replaced(cell):
    return cell.ours == cell.alone == cell.truth != cell.native


@better(METADATA, "empty; RGW's has what the request said, which S3 ignores", {"copy_no_replace"})
def _ignored(cell):
    blue = {"key": "x-amz-meta-color", "val": "blue"}
    return cell.ours == cell.alone == [] and blue in cell.native and blue not in cell.truth


#: Of requests and objects without metadata.
_BARE = {"put", "put_tag_twice", "put_empty", "put_utf8", "put_odd_key", "put_long_key", "put_append"}
_BARE |= {"put_versioned", "put_suspended"} | EMPTY


def _is_user(pair):
    return pair["key"].startswith("x-amz-meta-")


@better(METADATA, "empty; RGW's are other headers of the request, such as `x-amz-date`", _BARE, ("16.2",))
def _headers(cell):
    return cell.ours == cell.alone == cell.seen.truth.get(METADATA, []) == [] and _are_headers(cell.native)


@unknown(METADATA, "Lua is not shown it; RGW's are other headers of the request in its place", _MISSED, ("16.2",))
def _headers_in_its_place(cell):
    return cell.ours == cell.alone == [] and cell.seen.truth.get(METADATA) != [] and _are_headers(cell.native)


def _are_headers(pairs):
    return pairs and all(pair["key"].startswith("x-amz-") and not _is_user(pair) for pair in pairs)
