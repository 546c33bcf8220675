"""The other ways into a bucket, used by the hostile: parts, forms, Swift, and events that must be asked for."""

import hashlib
import json
from urllib.parse import quote

import pytest
from harness import hostile
from harness.attack import COMPLETE, COPY, DELETE, POST, PUT, TEMPLATE
from harness.cluster import script
from harness.raw_client import ANY_KEY

PARTS = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%s</ETag></Part></CompleteMultipartUpload>"


def test_uploads_can_not_hide_from_events_as_parts(attack):
    multipart = attack.s3.create_multipart_upload(Bucket=attack.bucket, Key="whole")["UploadId"]
    part = attack.ask("PUT", b"whole", f"partNumber=1&uploadId={multipart}", body=b"x")
    assert part.ok
    values = {"Bucket": attack.bucket, "Key": "whole", "UploadId": multipart, "PartNumber": 1}
    url = attack.s3.generate_presigned_url("upload_part", Params=values)
    assert attack.raw.ask_unsigned("PUT", url, body=b"x").ok, "a part, with all of the URL in the request's first line"
    # RGW takes some of them for whole uploads, some not at all.
    queries = ("uploadId=", "uploadId", "uploadid=x", f"%75ploadId=&x={multipart}", "partNumber=1")
    replies = [attack.put(b"%d" % number, query) for number, query in enumerate(queries)]
    assert replies[0].ok
    for query in (f"uploadId={multipart}", "uploadId=x", "uploadId=x&partNumber=1", "uploadId=%00"):
        assert not attack.put(b"hidden", query).ok
    copy = [("x-amz-copy-source", f"/{attack.bucket}/0")]
    assert not attack.put(b"hidden", "uploadId=x&partNumber=1", headers=copy).ok
    for etag in (b"", b"zz"):
        assert not attack.ask("POST", b"whole", f"uploadId={multipart}", body=PARTS % etag).ok
    body = PARTS % part.headers["etag"].encode()
    assert attack.ask("POST", b"whole", f"uploadId={multipart}", COMPLETE, body=body).ok
    attack.end()


def test_a_completion_that_is_repeated_is_one_event_where_that_can_be_told(attack, release):
    upload = f"uploadId={attack.s3.create_multipart_upload(Bucket=attack.bucket, Key='k')['UploadId']}"
    etag = attack.ask("PUT", b"k", f"partNumber=1&{upload}", body=b"x").headers["etag"]
    body = PARTS % etag.encode()
    assert attack.ask("POST", b"k", upload, COMPLETE, body=body).ok
    assert attack.ask("POST", b"k", upload, body=body).ok
    # 16.2 may show a size for the first one too, where the bucket has one of RGW's own notifications; so both count.
    attack.wanted[COMPLETE, b"k"] += release == "16.2"
    attack.end()


def test_forms_with_hostile_fields(attack):
    late, cut, deep = (ANY_KEY | {"expiration": "2001-01-01T00:00:00Z"}, b'{"expiration":', b"[" * 500)
    for policy in (late, cut, deep, b"", b"[]", b"null", ANY_KEY | {"conditions": []}, ANY_KEY | {"conditions": [[]]}):
        assert attack.post_form(b"refused", policy=policy).status in (400, 403)
    assert attack.post_form(b"refused", secret="wrong").status == 403
    assert attack.post_form(b"").status == 400
    assert attack.post_form(b"refused", [(b"tagging", b"a=1&a=2")]).status == 400
    target = b"http://127.0.0.1:1/"
    fields = [
        *([(b"success_action_status", status)] for status in (b"200", b"201", b"299", b"500", b"9" * 9)),
        *([(b"success_action_redirect", target + end)] for end in (b"", b"\xff", b"\r\nX: y", b"%00")),
        [(b"tagging", b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>" * 2)],
        [(b"x-ignore-%d" % number, b"v") for number in range(2000)],
        [(b"x-ignore-\r\n", b"\0" * 9000), (b"", b""), (b'x-ignore-"; filename="y', b"v")],
    ]
    replies = [attack.post_form(b"%d" % number, more).status for number, more in enumerate(fields)]
    # 303 sends the sender on.
    assert (replies[1], replies[5]) == (201, 303)
    for name in (b"a/../b", b".*> \t", b"\xff", b"x" * 900):
        assert attack.post_form(b"up/${filename}", filename=name, becomes=b"up/" + name).ok
    assert len(attack.wanted) >= 12
    attack.end()


def test_a_form_that_asks_for_a_status_that_is_no_number_is_an_event(attack):
    assert attack.post_form(b"k", [(b"success_action_status", b"junk")]).status == 400
    assert attack.keys() == {b"k"}
    attack.wanted[POST, b"k"] += 1
    attack.end(timeout=2)


def test_what_swift_takes_is_an_event_and_legal(attack, swift):
    """Swift has laxer names of buckets than S3 and other ways of changing objects."""

    def ask(method, path, event, key, headers=(), body=b""):
        reply = attack.raw.ask_unsigned(method, f"/swift/v1/{path}", [swift, *headers], body)
        if reply.ok and event:
            attack.wanted[event, key] += 1
        return reply

    names = ("%0d%0a", "%e2%80%a8", "-", "dot.", ".*%3E%20%24", "%00", "%ff", "x" * 255, "x" * 256, "a%20b%25")
    made = [name for name in names if ask("PUT", name, None, b"").ok]
    assert len(made) >= 3
    for name in made:
        assert ask("PUT", f"{name}/k", PUT, b"k", body=b"x").ok
    here = attack.bucket
    assert ask("PUT", f"{here}/k", PUT, b"k", [("X-Object-Meta-A", b"\xff"), ("X-Delete-After", "9000")], b"x").ok
    assert ask("POST", f"{here}/k", None, b"", [("X-Object-Meta-B", "x")]).ok
    assert ask("PUT", f"{here}/copy", COPY, b"copy", [("X-Copy-From", f"{here}/k")]).ok
    assert ask("PUT", f"{here}/chunks", PUT, b"chunks", [("Transfer-Encoding", "chunked")], b"1\r\nx\r\n0\r\n\r\n").ok
    assert ask("PUT", f"{here}/many", PUT, b"many", [("X-Object-Manifest", f"{here}/%ff")]).ok
    assert not ask("PUT", f"{here}/bad?multipart-manifest=put", PUT, b"bad", body=b"[" * 500).ok
    assert not ask("PUT", f"{here}?extract-archive=tar", PUT, b"", body=b"junk" * 1000).ok
    assert ask("DELETE", "?bulk-delete", None, b"", [("Content-Type", "text/plain")], b"none/%ff\nnone\n").ok
    assert ask("DELETE", f"{here}/copy", DELETE, b"copy").ok
    assert ask("DELETE", f"{here}/none", DELETE, b"none").status == 404
    # A large object, whose removal with its segment has the status 200, and an event of the object alone.
    assert ask("PUT", f"{here}/segment", PUT, b"segment", body=b"x").ok
    segment = json.dumps([{"path": f"/{here}/segment", "size_bytes": 1, "etag": hashlib.md5(b"x").hexdigest()}])
    assert ask("PUT", f"{here}/large?multipart-manifest=put", PUT, b"large", body=segment.encode()).ok
    assert ask("DELETE", f"{here}/large?multipart-manifest=delete", DELETE, b"large").status == 200
    # Nothing tells of the segment that went; it is made anew, as the events are held against what is there.
    assert ask("PUT", f"{here}/segment", PUT, b"segment", body=b"x").ok
    attack.end()


def test_an_upload_by_swift_can_not_hide_as_a_part(attack, swift):
    assert attack.raw.ask_unsigned("PUT", f"/swift/v1/{attack.bucket}/hidden?uploadId=x", [swift], b"x").status == 201
    attack.wanted[PUT, b"hidden"] += 1
    attack.end(timeout=2)


@pytest.fixture
def everything(scripted, attacked_broker):
    """A script that asks for all events that there are."""
    words = ("Created", "Removed", "Tagging", "Acl", "Restore", "Retention", "LegalHold", "Metadata", "Accessed")
    kinds = [f"Object{word}:*" for word in words] + ["BucketCreated:*", "BucketRemoved:*"]
    events = f"events = {{ {str(kinds)[1:-1]} }}"
    scripted.put_script(script(attacked_broker.url, f"{TEMPLATE}, {events}"))
    yield
    scripted.put_script(script(attacked_broker.url, TEMPLATE))


@pytest.mark.usefixtures("everything")
def test_all_else_that_can_be_asked_for_is_read_as_safely(attack):
    attack.wanted["BucketCreated:Put", b""] += 1
    tagging = b"<Tagging><TagSet>%s</TagSet></Tagging>" % (b"<Tag><Key>a</Key><Value>1</Value></Tag>" * 2)
    for key in (b"k", b"a.*>\r\n "):
        for words in hostile.TAGGINGS:
            if attack.put(key, headers=[("x-amz-tagging", words)]).ok:
                assert attack.ask("GET", key, event="ObjectAccessed:Get").ok
                assert attack.ask("HEAD", key, event="ObjectAccessed:Head").ok
        assert attack.ask("PUT", key, "tagging", "ObjectTagging:Put", body=tagging).ok
        assert attack.ask("DELETE", key, "tagging", "ObjectTagging:Delete").ok
        assert attack.ask("PUT", key, "acl", "ObjectAcl:Put", headers=[("x-amz-acl", "public-read")]).ok
        assert attack.raw.ask_unsigned("GET", quote(attack.path(key))).ok
        attack.wanted["ObjectAccessed:Get", key] += 1
        for query in ("tagging", "acl", "legal-hold", "retention"):
            attack.ask("PUT", key, query, body=b"<\xff")
    attack.end()


@pytest.mark.usefixtures("everything")
def test_the_key_of_swifts_temporary_urls_never_leaves_the_gateway(attack, swift):
    headers = [swift, ("X-Container-Meta-Temp-URL-Key", "hunter2")]
    assert attack.raw.ask_unsigned("PUT", f"/swift/v1/{attack.bucket}-temporary", headers).status == 201
    attack.wanted["BucketCreated:Put", b""] += 2
    assert not [event for event in attack.end() if b"hunter2" in event.data]
