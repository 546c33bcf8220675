"""A disk that is full, read-only, or does not keep what it was given: said, harmless, recovered from."""

import contextlib
import signal
import subprocess
from pathlib import Path

import pytest
from harness import wait_until
from harness.cluster import script, spooled
from harness.load import keys_of
from harness.machine import E2E


def fill(path):
    """Writes into a file until the disk has no room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 65536)


def is_kept(cluster, s3):
    before = len(cluster.log())
    s3.put_object(Bucket="bkt", Key="again", Body=b"")
    s3.list_buckets()
    return "spool_io" not in cluster.log()[before:]


def put_in_vain(cluster, s3, count=3000, fill=0):
    """PUTs until the spool is said not to keep their events; their clients never notice."""
    before, pid = len(cluster.log()), cluster.gateway.pid
    for number in range(count):
        s3.put_object(Bucket="bkt", Key=f"vain{number % 10}", Body=b"", Metadata={"fill": "x" * fill})
        if "spool_io" in cluster.log()[before:]:
            break
    assert "spool_io" in cluster.log()[before:], "the disk never failed"
    assert cluster.answers()
    assert cluster.gateway.pid == pid
    assert "spool_io" in cluster.journal()


def wait_until_kept(cluster, s3):
    wait_until(lambda: is_kept(cluster, s3), "the spool to be open again", timeout=60, pause=0.5)


@contextlib.contextmanager
def mounted(cluster, directory, *arguments):
    """A file system of its own for the spool; the gateway that uses it goes with it."""
    path = cluster.machine.path(directory)
    subprocess.run(["mount", *map(str, arguments), path], check=True)
    try:
        yield path
    finally:
        cluster.stop_gateway(signal.SIGKILL)
        cluster.start_gateway()
        subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_is_said_and_harms_nobody_and_is_recovered_from(cluster, s3, broker, consumer, spool):
    with mounted(cluster, spool, "-t", "tmpfs", "-o", "size=6m", "tmpfs") as path:
        consumer.make_stream("events", "s3.>")
        cluster.put_script(script(broker.url, spooled(spool)))
        s3.put_object(Bucket="bkt", Key="first", Body=b"")
        wait_until(lambda: consumer.stream_count("events") == 1, "the first event")
        filler = path / "filler"
        fill(filler)
        broker.stop()
        put_in_vain(cluster, s3, fill=1500)
        filler.unlink()
        broker.start()
        wait_until_kept(cluster, s3)
        wait_until(lambda: "again" in keys_of(consumer.stream_events("events")), "an event again")


def test_a_disk_that_turns_read_only_is_recovered_from_once_mended(cluster, s3, broker, consumer, spool, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(bytes(32 << 20))
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    with mounted(cluster, spool, "-o", "loop,errors=remount-ro", image) as path:
        consumer.make_stream("events", "s3.>")
        cluster.put_script(script(broker.url, spooled(spool)))
        broker.stop()
        for number in range(20):
            s3.put_object(Bucket="bkt", Key=f"k{number}", Body=b"")
        s3.list_buckets()
        # As after an error of the disk.
        subprocess.run(["mount", "-o", "remount,abort", path], check=True)
        put_in_vain(cluster, s3)
        # The gateway lets its files go, for the moments between its attempts at least.
        wait_until(lambda: subprocess.run(["umount", path], capture_output=True).returncode == 0, "it to be free")
        # Nobody takes the empty directory for the spool.
        put_in_vain(cluster, s3)
        assert list(path.iterdir()) == []
        assert subprocess.run(["e2fsck", "-fp", image], capture_output=True).returncode <= 1
        subprocess.run(["mount", "-o", "loop", image, path], check=True)
        broker.start()
        wait_until_kept(cluster, s3)
        kept = {f"k{number}" for number in range(20)} | {"again"}
        wait_until(lambda: kept <= set(keys_of(consumer.stream_events("events"))), "what was kept before", timeout=60)
        assert keys_of(consumer.stream_events("events"))["k0"] == 1


@pytest.fixture
def failing_sync(cluster, tmp_path):
    """A file; as long as it is there no sync of the spool succeeds."""
    library = "/usr/local/lib/failing_sync.so"
    source = Path(E2E) / "harness/failing_sync.c"
    target = cluster.machine.path(library)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", target, source], check=True)
    cluster.restart_gateway(env={"LD_PRELOAD": library})
    file = cluster.machine.path("/ceph/fail-sync")
    yield file
    file.unlink(missing_ok=True)
    cluster.stop_gateway(signal.SIGKILL)
    cluster.start_gateway()


def test_a_sync_that_fails_is_said_and_all_is_written_anew(cluster, s3, broker, consumer, spool, failing_sync):
    consumer.make_stream("events", "s3.>")
    cluster.put_script(script(broker.url, spooled(spool)))
    broker.stop()
    for number in range(20):
        s3.put_object(Bucket="bkt", Key=f"k{number}", Body=b"")
    s3.list_buckets()
    failing_sync.touch()
    put_in_vain(cluster, s3)
    failing_sync.unlink()
    wait_until_kept(cluster, s3)
    # What is there now is on the disk, or a gateway that is killed would not find it.
    cluster.stop_gateway(signal.SIGKILL)
    cluster.start_gateway()
    broker.start()
    s3.put_object(Bucket="bkt", Key="last", Body=b"")
    kept = {f"k{number}" for number in range(20)} | {"again", "last"}
    wait_until(lambda: kept <= set(keys_of(consumer.stream_events("events"))), "what was kept", timeout=60)
    assert keys_of(consumer.stream_events("events"))["k0"] == 1
