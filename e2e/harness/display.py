"""What the demo, `make up` and watch.py print."""

import os
import sys
import time

PLAIN = not sys.stdout.isatty() or "NO_COLOR" in os.environ


def paint(code, text):
    return text if PLAIN else f"\033[{code}m{text}\033[0m"


class Progress:
    """Lines that say what is being set up, with the seconds so far."""

    def __init__(self):
        self._start = time.monotonic()

    def __call__(self, text):
        print(paint("2", f"  {time.monotonic() - self._start:5.1f} s  {text}"), flush=True)


def print_event(event):
    """An event, in a few lines."""
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
            print(f"       {paint('36', f'{name:<9}')}{value}", flush=True)
