"""Publishes from one Lua state, against nats.c: until the server has said that it has all."""

import asyncio
import subprocess

import nats
from report import Row, in_turn
from state import PROGRAMS, Workshop

SIZES = {128: 400_000, 512: 400_000, 4096: 100_000}
STREAMED = 50_000
OURS = """
package.cpath = "{directory}/?.so;" .. package.cpath
local socket = require("socket")
local rgw_nats = require("rgw_nats")
local options = {{ name = "bench", overflow = "block", block_ms = 10000, ack = "broker" }}
local nats = assert(rgw_nats.connect("{url}", options))
local payload = ("x"):rep({size})
while not nats:status().connected do socket.sleep(0.001) end
-- What there is of streams is asked once.
assert(nats:publish("{subject}", payload))
while nats:status().pending > 0 do socket.sleep(0.001) end
local start = socket.gettime()
for _ = 1, {count} do assert(nats:publish("{subject}", payload)) end
while nats:status().pending > 0 do socket.sleep(0.0005) end
local status = nats:status()
assert(status.delivered == {count} + 1 and status.redelivered == 0)
print(socket.gettime() - start)
"""


def measure(module, rounds):
    rows = []
    with Workshop(module, jetstream=True) as shop:
        for size, count in SIZES.items():
            rows += _compare(shop, f"core, {size} B", size, count, "core", "bench.subject", rounds)
        for storage in ("memory", "file"):
            asyncio.run(_stream(shop.url, storage))
            rows += _compare(shop, f"JetStream, {storage}, 512 B", 512, STREAMED, "jetstream", "bench.subject", rounds)
    return rows


async def _stream(url, storage):
    """Makes the stream anew, for what is to be acknowledged."""
    client = await nats.connect(url)
    jetstream = client.jetstream()
    if storage == "file":
        await jetstream.delete_stream("bench")
    await jetstream.add_stream(name="bench", subjects=["bench.>"], storage=storage, max_msgs=10_000)
    await client.close()


def _compare(shop, what, size, count, kind, subject, rounds):
    values = {"directory": shop.directory, "url": shop.url, "size": size, "count": count, "subject": subject}
    script = shop.file(OURS.format(**values), ".lua")

    def ours():
        return count / _seconds(["lua5.3", script])

    def theirs():
        return count / _seconds([PROGRAMS / "publish", shop.url, count, size, kind])

    found = in_turn(rounds, {"ours": ours, "theirs": theirs})
    peer = f"{what}: nats.c"
    return [Row(peer, "1/s", found["theirs"]), Row(f"{what}: ours", "1/s", found["ours"], peer, found["theirs"])]


def _seconds(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    return float(done.stdout)
