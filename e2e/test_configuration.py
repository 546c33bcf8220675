"""A configuration file: rules, and what becomes of changes."""

from harness import wait_until
from harness.cluster import FIND_MODULE

PATH = "/etc/ceph/rgw_nats.toml"
SCRIPT = f'{FIND_MODULE}local nats = require("rgw_nats")\nassert(nats.notify(Request, "{PATH}"))\n'


def write(cluster, text):
    """Puts the file in place at once, as an administrator's editor or package does."""
    new = cluster.machine.path(PATH + ".new")
    new.write_text(text)
    new.rename(cluster.machine.path(PATH))


def test_rules_choose_and_a_changed_file_is_taken_up(cluster, s3, broker, consumer):
    write(
        cluster,
        f"""
        url = "{broker.url}"
        [[notification]]
        id = "pictures"
        bucket = "b?t"
        events = ["s3:ObjectCreated:*"]
        subject = "s3.pictures.{{key}}"
        filter = {{ suffix = ".jpg", metadata = {{ "x-amz-meta-color" = "red" }} }}
        [[notification]]
        id = "reads"
        events = ["s3:ObjectAccessed:Get", "s3:ObjectTagging:*"]
        subject = "s3.reads"
        opaque_data = "me"
        """,
    )
    cluster.put_script(SCRIPT)
    s3.put_object(Bucket="bkt", Key="red.jpg", Body=b"x", Metadata={"color": "red"})
    (event,) = consumer.wait(1)
    assert (event.subject, event.record["s3"]["configurationId"]) == ("s3.pictures.red%2Ejpg", "pictures")
    s3.put_object(Bucket="bkt", Key="blue.jpg", Body=b"x", Metadata={"color": "blue"})
    s3.put_object(Bucket="bkt", Key="red.png", Body=b"x", Metadata={"color": "red"})
    s3.get_object(Bucket="bkt", Key="red.jpg")["Body"].read()
    s3.head_object(Bucket="bkt", Key="red.jpg")
    s3.put_object_tagging(Bucket="bkt", Key="red.jpg", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    events = consumer.wait(3)
    assert [event.name for event in events[1:]] == ["ObjectAccessed:Get", "ObjectTagging:Put"]
    assert events[1].record["opaqueData"] == "me"

    write(cluster, f'url = "{broker.url}"\n[[notification]]\nbuckt = "x"\nevents = ["s3:ObjectCreate:*"]\n')

    def told():
        s3.list_buckets()
        s3.put_object(Bucket="bkt", Key="red.jpg", Body=b"x", Metadata={"color": "red"})
        return "the one before stays in force" in cluster.journal()

    wait_until(told, "the broken file to be noticed", pause=0.2)
    assert f"{PATH}:3: notification[1]: unknown key buckt; did you mean bucket?" in cluster.journal()
    assert f"{PATH}:4: notification[1].events has the unknown s3:ObjectCreate:*" in cluster.journal()
    before = len(consumer.wait(4))
    s3.put_object(Bucket="bkt", Key="red.jpg", Body=b"x", Metadata={"color": "red"})
    consumer.wait(before + 1)

    write(cluster, f'url = "{broker.url}"\nsubject = "s3.all"\n')

    def taken_up():
        s3.put_object(Bucket="bkt", Key="k", Body=b"x")
        return any(event.subject == "s3.all" for event in consumer.events)

    wait_until(taken_up, "the mended file to be taken up", pause=0.2)


def test_a_file_that_never_was_right_is_told_in_the_log(cluster, s3, broker):
    cluster.machine.path(PATH).unlink(missing_ok=True)
    cluster.restart_gateway()
    cluster.put_script(SCRIPT)

    def told():
        s3.put_object(Bucket="bkt", Key="k", Body=b"x")
        return any("Lua ERROR" in line and "No such file" in line for line in cluster.log().splitlines())

    wait_until(told, "the missing file to be told of", pause=0.2)
    assert cluster.answers()


def test_the_first_event_by_a_file_arrives_whatever_other_files_ask_for(cluster, s3, broker, consumer):
    """Two scripts, or two tenants, with a file each: what the first one asks for says nothing of the second."""
    reads, puts = (f"/etc/ceph/{name}.toml" for name in ("reads", "puts"))
    cluster.machine.path(reads).write_text(f'url = "{broker.url}"\nevents = ["s3:ObjectAccessed:*"]\nid = "reads"\n')
    cluster.machine.path(puts).write_text(f'url = "{broker.url}"\nid = "puts"\n')
    cluster.put_script(SCRIPT.replace(PATH, reads))
    s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    s3.get_object(Bucket="bkt", Key="k")["Body"].read()
    consumer.wait(1)
    cluster.put_script(SCRIPT.replace(PATH, puts))
    s3.put_object(Bucket="bkt", Key="first", Body=b"x")
    (event,) = consumer.wait(2)[1:]
    assert (event.key, event.record["s3"]["configurationId"]) == ("first", "puts")
