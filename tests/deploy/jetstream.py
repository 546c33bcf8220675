"""What the Job of stream.yaml does, asked of a nats-server as its administrator. There is no `nats` program here, which
sends the same files in the same requests.
"""

import asyncio
import json

import nats
from manifests import CONSUMER, STREAM, VALUES, filled, job_environment
from yaml import safe_load

#: What NATS's chart writes into the server's configuration, as it is.
SERVER = safe_load(filled(VALUES))["config"]["merge"]


def login():
    """The administrator's, as options of nats-py."""
    found = job_environment("rgw-nats-stream")
    return {"user": found["NATS_USER"], "password": found["NATS_PASSWORD"], "allow_reconnect": False}


def ask(url, subject, payload=""):
    """What JetStream answers the administrator."""

    async def asked():
        client = await nats.connect(url, **login())
        try:
            answer = await client.request(f"$JS.API.{subject}", payload.encode(), timeout=5)
            return json.loads(answer.data)
        finally:
            await client.close()

    return asyncio.run(asked())


def make_stream_and_consumer(url):
    """Makes them of the Job's files; fails if the server understands anything else than what is in them."""
    made = ask(url, "STREAM.CREATE.S3", STREAM)
    assert "error" not in made, made
    assert made["config"].items() >= json.loads(STREAM).items()
    wanted = {"stream_name": "S3", "config": json.loads(CONSUMER)}
    made = ask(url, "CONSUMER.DURABLE.CREATE.S3.worker", json.dumps(wanted))
    assert "error" not in made, made
    assert made["config"].items() >= json.loads(CONSUMER).items()


def next_event(url, timeout=15):
    """The next message of the consumer: its subject and its record."""

    async def taken():
        client = await nats.connect(url, **login())
        try:
            (message,) = await (await client.jetstream().pull_subscribe_bind("worker", "S3")).fetch(1, timeout=timeout)
            await message.ack_sync()
            return message
        finally:
            await client.close()

    message = asyncio.run(taken())
    (record,) = json.loads(message.data)["Records"]
    return message.subject, record
