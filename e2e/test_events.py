"""Which requests become events, and what is in them."""

import pytest
import urllib3
from botocore.exceptions import ClientError
from harness.cluster import FIND_MODULE, script

pytestmark = pytest.mark.main

QUIET = 1.0


def events_of(consumer, count):
    """The events so far, when there are `count` of them and no more come."""
    consumer.wait(count)
    with pytest.raises(TimeoutError):
        consumer.wait(count + 1, timeout=QUIET)
    return consumer.events


def test_a_put_arrives_as_rgws_record(cluster, s3, broker, consumer, release):
    cluster.put_script(script(broker.url, 'id = "my-rule", opaque_data = "op@que"'))
    answer = s3.put_object(
        Bucket="bkt",
        Key="dir/a b+é%.txt",
        Body=b"hello",
        Metadata={"foo": "bar", "Mixed": "x y"},
        Tagging="k1=v1&k2=v2",
    )
    (event,) = events_of(consumer, 1)
    record = event.record
    region = "" if release == "16.2" else "default"
    assert list(record) == [
        *("eventVersion", "eventSource", "awsRegion", "eventTime", "eventName", "userIdentity", "requestParameters"),
        *("responseElements", "s3", "eventId", "opaqueData"),
    ]
    assert (record["eventVersion"], record["eventSource"], record["awsRegion"]) == ("2.2", "ceph:s3", region)
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["userIdentity"] == {"principalId": "tester"}
    assert record["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    assert record["opaqueData"] == "op@que"
    assert record["s3"]["configurationId"] == "my-rule"
    bucket = record["s3"]["bucket"]
    assert (bucket["name"], bucket["ownerIdentity"]) == ("bkt", {"principalId": "tester"})
    assert bucket["arn"] == f"arn:aws:s3:{region}::bkt"
    assert bucket["id"]
    thing = record["s3"]["object"]
    assert (thing["key"], thing["size"], thing["versionId"]) == ("dir/a b+é%.txt", 5, "")
    assert thing["metadata"] == [
        {"key": "x-amz-meta-foo", "val": "bar"},
        {"key": "x-amz-meta-mixed", "val": "x y"},
    ]
    assert thing["tags"] == [{"key": "k1", "val": "v1"}, {"key": "k2", "val": "v2"}]
    assert event.subject == "s3.bkt.ObjectCreated:Put"
    # The record has the id of RGW's own records; the one in the reply's headers holds the same number in hexadecimal.
    ident = record["responseElements"]["x-amz-request-id"]
    number = int(ident.rsplit(".", 1)[1])
    header = answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]
    assert int(header.split("-")[0].removeprefix("tx"), 16) == number
    assert event.headers["Rgw-Request-Id"] == ident
    assert event.headers["Rgw-Transaction-Id"] == header
    assert event.headers["Nats-Msg-Id"].startswith(f"{ident}/ObjectCreated:Put/my-rule/")


def test_each_operation_that_changes_an_object_is_an_event(cluster, s3, broker, consumer, release):
    cluster.put_script(script(broker.url, 'subject = "s3.{bucket}.{event}.{key}"'))
    s3.put_object(Bucket="bkt", Key="plain", Body=b"hello")
    s3.copy_object(Bucket="bkt", Key="copy", CopySource="bkt/plain")
    upload = s3.create_multipart_upload(Bucket="bkt", Key="parts")["UploadId"]
    part = s3.upload_part(Bucket="bkt", Key="parts", UploadId=upload, PartNumber=1, Body=b"x" * 1000)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket="bkt", Key="parts", UploadId=upload, MultipartUpload=parts)
    form = s3.generate_presigned_post("bkt", "form")
    reply = urllib3.request("POST", form["url"], fields={**form["fields"], "file": ("f.txt", b"abc")})
    assert reply.status == 204
    s3.delete_object(Bucket="bkt", Key="plain")
    events = events_of(consumer, 5)
    # Uploads that were not completed, and their parts, are no events: five it is.
    assert [(event.name, event.key) for event in events] == [
        ("ObjectCreated:Put", "plain"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectCreated:Post", "form"),
        ("ObjectRemoved:Delete", "plain"),
    ]
    sizes = [event.record["s3"]["object"]["size"] for event in events]
    # 16.2 shows a script neither the size of a copy nor that of what was deleted; none shows that of a whole upload.
    assert sizes == ([5, 0, 0, 3, 0] if release == "16.2" else [5, 5, 0, 3, 5])
    assert events[1].subject == "s3.bkt.ObjectCreated:Copy.copy"
    sequencers = [event.record["s3"]["object"]["sequencer"] for event in events]
    assert sequencers == sorted(set(sequencers))


def test_what_fails_or_only_reads_is_no_event(cluster, s3, broker, consumer):
    """What clients do by mistake; test_hostile_requests.py has what they do on purpose."""
    cluster.put_script(script(broker.url))
    s3.list_objects_v2(Bucket="bkt")
    stranger = cluster.s3("stranger", "secret")
    for call in (
        lambda: s3.get_object(Bucket="bkt", Key="missing"),
        lambda: s3.put_object(Bucket="missing", Key="k", Body=b""),
        lambda: stranger.put_object(Bucket="bkt", Key="k", Body=b""),
        lambda: stranger.delete_object(Bucket="bkt", Key="k"),
    ):
        with pytest.raises(ClientError):
            call()
    s3.put_object(Bucket="bkt", Key="last", Body=b"")
    assert [event.key for event in events_of(consumer, 1)] == ["last"]


TWICE = """
local function junk() for n = 1, 200 do local _ = ("x"):rep(n) end collectgarbage() collectgarbage() end
assert(nats.notify(Request, {{ url = "{url}", subject = "s3.first.{{event}}" }}))
junk()
assert(nats.notify(Request, {{ url = "{url}", subject = "s3.second.{{event}}" }}))
junk()
local seen = 0
if RGW_ABORT_REQUEST then for key, value in pairs(Request.Tags) do seen = seen + #tostring(key) + #value end end
"""


def test_a_script_may_notify_twice_and_walk_the_maps_after_us(cluster, s3, broker, consumer):
    cluster.put_script(f'{FIND_MODULE}local nats = require("rgw_nats")\n{TWICE.format(url=broker.url)}')
    pid = cluster.gateway.pid
    for number in range(20):
        s3.put_object(Bucket="bkt", Key=f"k{number}", Body=b"x", Metadata={"a": "b", "c": "d"}, Tagging="e=f&g=h")
    events = events_of(consumer, 40)
    for number in range(20):
        # The order is that of each object; others need not wait for it.
        subjects = [event.subject.split(".")[1] for event in events if event.key == f"k{number}"]
        assert subjects == ["first", "second"]
    for event in events:
        thing = event.record["s3"]["object"]
        assert thing["metadata"] == [{"key": "x-amz-meta-a", "val": "b"}, {"key": "x-amz-meta-c", "val": "d"}]
        assert thing["tags"] == [{"key": "e", "val": "f"}, {"key": "g", "val": "h"}]
    assert len({event.headers["Nats-Msg-Id"] for event in events}) == 40
    assert cluster.gateway.pid == pid
    assert cluster.gateway.is_alive()


def test_a_script_may_walk_the_maps_before_us(cluster, s3, broker, consumer):
    walk = "for key in pairs(Request.Tags) do break end for key in pairs(Request.HTTP.Metadata) do break end\n"
    cluster.put_script(walk + "collectgarbage() collectgarbage()\n" + script(broker.url))
    s3.put_object(Bucket="bkt", Key="k", Body=b"x", Metadata={"a": "b"}, Tagging="e=f&g=h")
    (event,) = events_of(consumer, 1)
    assert event.record["s3"]["object"]["tags"] == [{"key": "e", "val": "f"}, {"key": "g", "val": "h"}]
    assert cluster.answers()
