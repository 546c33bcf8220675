"""A subscriber: nats-py on a thread of its own, a client that nobody here wrote."""

import asyncio
import json
import threading
from dataclasses import dataclass

import nats

from .machine import wait_until


@dataclass
class Event:
    """A message as it came."""

    subject: str
    headers: dict
    data: bytes

    @property
    def record(self):
        """The one record in it."""
        records = json.loads(self.data)["Records"]
        assert len(records) == 1
        return records[0]

    @property
    def name(self):
        return self.record["eventName"]

    @property
    def key(self):
        return self.record["s3"]["object"]["key"]


async def _quiet(error):
    """A broker that tests stop and start is no error."""


class Consumer:
    """Collects what comes in under a subject."""

    def __init__(self, broker, subject="s3.>", name="consumer", **options):
        self.events = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        options = {
            "name": name,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.1,
            "error_cb": _quiet,
            **options,
        }
        self._client = self._run(nats.connect(broker.url.split(","), **options))
        if subject:
            self._run(self._client.subscribe(subject, cb=self._take))
            self._run(self._client.flush())

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _take(self, message):
        self.events.append(Event(message.subject, dict(message.headers or {}), message.data))

    def wait(self, count, timeout=30):
        """Waits until so many events are there; returns all of them."""
        wait_until(lambda: len(self.events) >= count, f"{count} events (there are {len(self.events)})", timeout)
        return list(self.events)

    def make_stream(self, name, *subjects, **options):
        """Makes a JetStream stream."""
        self._run(self._client.jetstream().add_stream(name=name, subjects=list(subjects), **options))

    def update_stream(self, name, *subjects, **options):
        self._run(self._client.jetstream().update_stream(name=name, subjects=list(subjects), **options))

    def delete_stream(self, name):
        self._run(self._client.jetstream().delete_stream(name))

    def has_stream(self, name):
        """Whether there is a stream of this name."""
        return name in {info.config.name for info in self._run(self._client.jetstream().streams_info())}

    def stream_leader(self, name):
        """The server that leads a stream of several."""
        return self._run(self._client.jetstream().stream_info(name)).cluster.leader

    def move_leader(self, stream, server):
        """Has the leader of a stream step down until it is this server."""
        for _ in range(30):
            if self.stream_leader(stream) == server:
                return
            self._run(self._client.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", b"", timeout=5))
            # They choose another one.
            wait_until(lambda: self.stream_leader(stream), "a leader", timeout=20)
        raise AssertionError(f"{server} does not become the leader of {stream}")

    def stream_config(self, name):
        """What a stream was made with."""
        return self._run(self._client.jetstream().stream_info(name)).config

    def stream_count(self, name):
        """How many messages a stream has."""
        return self._run(self._client.jetstream().stream_info(name)).state.messages

    def stream_events(self, name):
        """All messages of a stream, in its order."""
        return self._run(self._read_stream(name))

    async def _read_stream(self, name):
        context = self._client.jetstream()
        state = (await context.stream_info(name)).state
        events = []
        # An empty one's first number is 0, which is none.
        for number in range(max(state.first_seq, 1), state.last_seq + 1):
            message = await context.get_msg(name, number)
            events.append(Event(message.subject, dict(message.headers or {}), message.data))
        return events

    def close(self):
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
