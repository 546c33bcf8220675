"""A gateway with the module and a nats-server, to try things on: they run until Ctrl-C, and nothing is left of them."""

import os
import shlex
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import Consumer  # noqa: E402
from harness.display import paint  # noqa: E402
from harness.installation import arguments, installation  # noqa: E402
from harness.machine import E2E, PROJECT  # noqa: E402


def gateway(cluster):
    """Where the gateway is."""
    return f"http://127.0.0.1:{cluster.s3_port}"


def commands(cluster, broker):
    """What to try in another shell: a title and a command line."""
    # curl before 8 leaves out a header that S3 wants.
    payload = "x-amz-content-sha256: UNSIGNED-PAYLOAD"
    login = ("--user", "test:test", "--aws-sigv4", "aws:amz:us-east-1:s3", "-H", payload)
    machine = ("nsenter", f"--mount=/proc/{os.getpid()}/ns/mnt", "chroot", cluster.machine.root)
    yield "watch the events", (sys.executable, E2E / "watch.py", broker.url)
    put = ("-T", PROJECT / "README.md", f"{gateway(cluster)}/album/readme.md")
    yield "put an object", ("curl", "-sS", "--fail", *login, *put)
    yield "see the script", (*machine, "radosgw-admin", "script", "get", "--context=postRequest")


def up(cluster, broker):
    cluster.s3().create_bucket(Bucket="album")
    administrator = Consumer(broker, subject=None)
    administrator.make_stream("events", "s3.>")
    administrator.close()
    print(f"\n{paint('1', 'S3')}    {gateway(cluster)}, access key test, secret key test, bucket album")
    print(f"{paint('1', 'NATS')}  {broker.url}, stream events")
    print("\nTo try, in another shell:\n")
    for title, command in commands(cluster, broker):
        print(f"  # {title}\n  {paint('1', shlex.join(map(str, command)))}\n")
    print("Ctrl-C ends it all.", flush=True)
    while True:
        signal.pause()


def main():
    options = arguments(__doc__)
    try:
        with installation(options.release, options.lua, jetstream=True) as servers:
            up(*servers)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
