"""The main job, shown: a gateway, a broker, and what a subscriber gets of each S3 operation."""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import RELEASES, Broker, Cluster, Consumer, private_mounts  # noqa: E402

PLAIN = not sys.stdout.isatty() or "NO_COLOR" in os.environ


def paint(code, text):
    return text if PLAIN else f"\033[{code}m{text}\033[0m"


class Progress:
    """Lines that say what is being set up, with the seconds so far."""

    def __init__(self):
        self._start = time.monotonic()

    def __call__(self, text):
        print(paint("2", f"  {time.monotonic() - self._start:5.1f} s  {text}"), flush=True)


def steps(s3):
    """What the demo does: a title and the call, in order."""
    yield (
        "PUT     photos/holiday/beach.jpg",
        lambda: s3.put_object(
            Bucket="album",
            Key="photos/holiday/beach.jpg",
            Body=b"\xff\xd8" + b"x" * 2046,
            Metadata={"camera": "x100"},
            Tagging="year=2026&stage=raw",
        ),
    )
    yield (
        "COPY    photos/holiday/beach.jpg to best/beach.jpg",
        lambda: s3.copy_object(Bucket="album", Key="best/beach.jpg", CopySource="album/photos/holiday/beach.jpg"),
    )
    yield "UPLOAD  film.mp4, in two parts", lambda: upload(s3)
    yield "GET     best/beach.jpg", lambda: s3.get_object(Bucket="album", Key="best/beach.jpg")["Body"].read()
    yield (
        "DELETE  photos/holiday/beach.jpg",
        lambda: s3.delete_object(Bucket="album", Key="photos/holiday/beach.jpg"),
    )


def upload(s3):
    """A multipart upload of two parts."""
    place = {"Bucket": "album", "Key": "film.mp4"}
    ident = s3.create_multipart_upload(**place)["UploadId"]
    parts = []
    for number, size in ((1, 5 << 20), (2, 1000)):
        part = s3.upload_part(**place, UploadId=ident, PartNumber=number, Body=b"x" * size)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(**place, UploadId=ident, MultipartUpload={"Parts": parts})


def show(title, took, events):
    """An operation, and beside it what came of it."""
    print(f"\n{paint('1;36', 'S3')}   {paint('1', title)}   {paint('2', f'{took * 1000:.1f} ms')}")
    if not events:
        print(f"{paint('1;33', 'NATS')} {paint('2', 'nothing, as it should be: it changed no object')}")
    for event in events:
        record = event.record
        thing = record["s3"]["object"]
        print(f"{paint('1;32', 'NATS')} {paint('1', event.subject)}")
        lines = {
            "event": record["eventName"],
            "object": f"{record['s3']['bucket']['name']}/{thing['key']}, {thing['size']} bytes",
            "when": record["eventTime"],
            "who": f"{record['userIdentity']['principalId']} from {record['requestParameters']['sourceIPAddress']}",
            "metadata": ", ".join(f"{pair['key']}={pair['val']}" for pair in thing["metadata"]),
            "tags": ", ".join(f"{pair['key']}={pair['val']}" for pair in thing["tags"]),
            "id": event.headers["Nats-Msg-Id"],
        }
        for name, value in lines.items():
            if value:
                print(f"       {paint('36', f'{name:<9}')}{value}")


def install(cluster, progress):
    """The rock, through RGW's own package list; returns the user that radosgw must run as, if not root."""
    dist = Path(__file__).resolve().parent.parent / "dist"
    rocks = cluster.machine.path("/opt/rgw_nats/rocks")
    shutil.copytree(dist, rocks)
    config = cluster.machine.path("/etc/luarocks/config-5.3.lua")
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('rocks_servers = { "/opt/rgw_nats/rocks" }\n')
    for lua in ("5.1", "5.2", "5.4"):
        shutil.copy(config, config.with_name(f"config-{lua}.lua"))
    progress("radosgw-admin script-package add --package=rgw_nats")
    cluster.admin("script-package", "add", "--package=rgw_nats")
    progress("radosgw again: it installs its packages when it starts")
    # 20.2 can't read what it installs as root once it has become another user; so it starts as that user.
    cluster.restart_gateway(user="ceph" if cluster.release == "20.2" else None)


def demo(release, directory, whole):
    progress = Progress()
    print(paint("1", f"rgw_nats on Ceph {release}"))
    cluster = Cluster(release, directory / "cluster", say=progress)
    try:
        cluster.start()
        install(cluster, progress)
        progress("nats-server")
        broker = Broker(cluster.machine).start()
        consumer = Consumer(broker)
        example = f'local nats = require("rgw_nats")\nassert(nats.notify(Request, {{ url = "{broker.url}" }}))\n'
        progress("radosgw-admin script put --context=postRequest")
        cluster.put_script(example)
        print(textwrap.indent(example, "           "), end="")
        s3 = cluster.s3()
        s3.create_bucket(Bucket="album")
        total = 0
        for title, call in steps(s3):
            start = time.perf_counter()
            call()
            took = time.perf_counter() - start
            expected = 0 if title.startswith("GET") else 1
            if expected:
                consumer.wait(total + 1, timeout=10)
            else:
                time.sleep(0.5)
            show(title, took, consumer.events[total:])
            total += expected
        if len(consumer.events) != total:
            raise RuntimeError(f"{total} events were due and {len(consumer.events)} came")
        connections = len(broker.connections())
        print(f"\n{total} operations that changed objects, {total} events, {connections} connection to NATS.")
        if whole:
            print(json.dumps(consumer.events[0].record, indent=2, ensure_ascii=False))
        consumer.close()
        progress("ending it all")
    finally:
        cluster.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", choices=RELEASES, default="18.2", help="the Ceph release")
    parser.add_argument("--json", action="store_true", help="print a whole record at the end")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    private_mounts()
    directory = Path(tempfile.mkdtemp(prefix="rgw_nats-demo-", dir="/var/tmp"))
    try:
        demo(arguments.release, directory, arguments.json)
    except KeyboardInterrupt:
        print("\nended early; nothing is left running", file=sys.stderr)
        return 130
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
