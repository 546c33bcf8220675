"""Prints the events of the stream that `make up` makes, those of before first, until Ctrl-C."""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import nats  # noqa: E402
from harness.consumer import Event  # noqa: E402
from harness.display import print_event  # noqa: E402


async def watch(url):
    client = await nats.connect(url)
    subscription = await client.jetstream().subscribe("s3.>", ordered_consumer=True)
    async for message in subscription.messages:
        print_event(Event(message.subject, message.headers, message.data))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the address of the nats-server")
    # A shell without job control has its background jobs ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(watch(parser.parse_args().url))


if __name__ == "__main__":
    main()
