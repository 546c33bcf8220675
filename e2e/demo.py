"""The main job, shown: a gateway, a broker, and what a subscriber gets of each S3 operation."""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import Consumer  # noqa: E402
from harness.display import paint, print_event  # noqa: E402
from harness.installation import arguments, installation  # noqa: E402


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
        print_event(event)


def demo(cluster, broker, whole):
    consumer = Consumer(broker)
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


def main():
    options = arguments(__doc__, json="print a whole record at the end")
    try:
        with installation(options.release, options.lua) as (cluster, broker):
            demo(cluster, broker, options.json)
    except KeyboardInterrupt:
        print("\nended early; nothing is left running", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
