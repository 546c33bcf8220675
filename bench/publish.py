"""Publishes from one Lua state, against nats.c: until the server has said that it has all. And many requests beside one
another, against one after the other."""

import asyncio
import subprocess

import nats
from report import PROJECT, Row, in_turn
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
#: As many acknowledgements outstanding as the program with nats.c has.
ASYNC = """
package.cpath = "{directory}/?.so;" .. package.cpath
local socket = require("socket")
local rgw_nats = require("rgw_nats")
local js = assert(assert(rgw_nats.connect("{url}", {{ name = "bench" }})):jetstream())
local payload = ("x"):rep({size})
while not js:publish("{subject}", payload) do socket.sleep(0.001) end
local futures, first = {{}}, 1
local start = socket.gettime()
for n = 1, {count} do
  futures[n] = assert(js:publish_async("{subject}", payload, {{ timeout_ms = 60000 }}))
  if n - first >= 4096 then
    assert(futures[first]:wait())
    futures[first], first = nil, first + 1
  end
end
for n = first, {count} do assert(futures[n]:wait()) end
print(socket.gettime() - start)
"""
QUESTIONS = 1000
GATHER = """
package.cpath = "{directory}/?.so;" .. package.cpath
package.path = "{lua}/?.lua;" .. package.path
local socket = require("socket")
local rgw_nats, async = require("rgw_nats"), require("rgw_nats.async")
local nats = assert(rgw_nats.connect("{url}", {{ name = "bench" }}))
local function ask() return assert(nats:request("question", "x", {{ timeout_ms = 10000 }})) end
while not nats:request("question", "x") do socket.sleep(0.001) end
local list = {{}}
for n = 1, {count} do list[n] = ask end
local start = socket.gettime()
if {together} then
  for _, result in ipairs(assert(async.gather(list))) do assert(result.ok, result.message) end
else
  for n = 1, {count} do list[n]() end
end
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
        for how, delay in (("at once", 0), ("after 1 ms", 1000)):
            rows += _gather(shop, rounds, how, delay)
    return rows


def _gather(shop, rounds, how, delay):
    """Requests to somebody who answers so many microseconds after each."""
    answer = subprocess.Popen([PROGRAMS / "answer", shop.url, "question", str(delay)], stdout=subprocess.PIPE)
    try:
        answer.stdout.readline()
        found = {}
        for name, together in (("one after the other", "false"), ("by gather", "true")):
            values = {"directory": shop.directory, "url": shop.url, "lua": PROJECT / "lua", "count": QUESTIONS}
            script = shop.file(GATHER.format(together=together, **values), ".lua")
            found[name] = lambda script=script: QUESTIONS / _seconds(["lua5.3", script])
        first, second = in_turn(rounds, found).values()
    finally:
        answer.kill()
        answer.wait()
    what = f"{QUESTIONS:,} requests, answered {how}"
    peer = f"{what}: one after the other"
    return [Row(peer, "1/s", first), Row(f"{what}: by gather", "1/s", second, peer, first)]


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
    scripts = {"ours": OURS}
    if kind == "jetstream":
        scripts["ours, publish_async"] = ASYNC
    runs = {name: ["lua5.3", shop.file(script.format(**values), ".lua")] for name, script in scripts.items()}
    runs["nats.c"] = [PROGRAMS / "publish", shop.url, count, size, kind]
    found = in_turn(rounds, {name: (lambda run=run: count / _seconds(run)) for name, run in runs.items()})
    peer = f"{what}: nats.c"
    theirs = found.pop("nats.c")
    return [Row(peer, "1/s", theirs)] + [
        Row(f"{what}: {name}", "1/s", ours, peer, theirs) for name, ours in found.items()
    ]


def _seconds(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
    return float(done.stdout)
