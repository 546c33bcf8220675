"""rgw_nats.async in scripts of a real gateway: tasks, another scheduler, and what RGW itself does to them."""

import json
import shutil
from pathlib import Path

import pytest
from harness import wait_until
from harness.cluster import FIND_MODULE
from harness.machine import PROJECT
from harness.peer import Peer

#: How many requests are in the air at a time. More than these do not fit into the 128,000 bytes of 20.2, when nothing
#: else is said (docs/async.md).
NUMBER = 15
LUA = "/usr/local/share/lua/5.3"
BEGIN = FIND_MODULE + f'package.path = "{LUA}/?.lua;" .. package.path\n'


@pytest.fixture
def peer(cluster, broker):
    shutil.copytree(Path(PROJECT) / "lua/rgw_nats", cluster.machine.path(f"{LUA}/rgw_nats"), dirs_exist_ok=True)
    peer = Peer(broker.url)
    yield peer
    peer.close()


class Together:
    """A service that answers when so many questions are there, all of them: one after another they never would be."""

    def __init__(self, peer, number):
        self._number = number
        self._waiting = []
        peer(peer.client.subscribe("ask.*", cb=self._take))
        peer(peer.client.flush())

    async def _take(self, message):
        self._waiting.append(message)
        if len(self._waiting) == self._number:
            waiting, self._waiting = self._waiting, []
            for message in waiting:
                await message.respond(b"answer to " + message.data)


class Told:
    """What a script publishes to `told`."""

    def __init__(self, peer):
        self.payloads = []
        peer(peer.client.subscribe("told", cb=self._take))
        peer(peer.client.flush())

    async def _take(self, message):
        self.payloads.append(json.loads(message.data))

    def wait(self, timeout=20):
        wait_until(lambda: self.payloads, "what the script tells", timeout)
        return self.payloads[-1]


def script(broker, body):
    return f"""{BEGIN}
local nats, async = require("rgw_nats"), require("rgw_nats.async")
local connection = assert(nats.connect("{broker.url}"))
{body}
"""


GATHER = """
local checks = {}
for n = 1, 15 do
  checks[n] = function() return connection:request("ask." .. n, tostring(n), { timeout_ms = 700 }) end
end
local told = {}
for n, result in ipairs(assert(async.gather(checks, 800))) do
  told[n] = result.ok and result[1].payload or result.code
end
assert(connection:publish("told", assert(nats.encode(told))))
"""

TASKS = """
local told = {}
local function tell(word) told[#told + 1] = word end
async.run({ timeout_ms = 800, on_error = RGWDebugLog }, function()
  local one = async.spawn(function() async.sleep(20) tell("slept") return "result" end)
  local two = async.spawn(function() tell("first") return async.sleep(60000) end)
  local three = async.spawn(function() error({}) end)
  tell((one:wait(500)))
  two:cancel()
  tell((select(3, two:wait())))
  tell((select(3, three:wait())))
  tell((select(3, async.timeout(10, async.sleep, 60000))))
end)
assert(connection:publish("told", assert(nats.encode(told))))
"""

# The whole scheduler of docs/async.md, with another one's callbacks after it.
OTHERS = """
local poller, waiting, count, told = assert(nats.poller()), {}, 0, {}
local function go_on(number)
  local ok, future = coroutine.resume(waiting[number])
  assert(ok, future)
  if coroutine.status(waiting[number]) == "dead" then
    waiting[number], count = nil, count - 1
  else
    assert(poller:add(future, number))
  end
end
for number = 1, 15 do
  waiting[number] = coroutine.create(function()
    nats.yielding(true)
    local answer, message = connection:request("ask." .. number, tostring(number), { timeout_ms = 700 })
    told[number] = answer and answer.payload or message
  end)
  count = count + 1
  go_on(number)
end
while count > 0 do
  for _, number in ipairs(assert(poller:wait(700))) do go_on(number) end
end
for number = 1, 15 do
  local future = assert(connection:request_async("ask." .. number, tostring(number), { timeout_ms = 700 }))
  assert(async.on_ready(future, function(answer, message) told[15 + number] = answer and answer.payload or message end))
end
while async.poll(700) do end
assert(connection:publish("told", assert(nats.encode(told))))
"""

ANSWERS = [f"answer to {number}" for number in range(1, 16)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (GATHER, ANSWERS),
        (OTHERS, ANSWERS + ANSWERS),
        (TASKS, ["first", "slept", "result", "cancelled", "raised", "timeout"]),
    ],
    ids=["gather", "another scheduler", "tasks"],
)
def test_a_script_has_many_requests_in_the_air(cluster, s3, broker, peer, body, expected):
    Together(peer, NUMBER)
    told = Told(peer)
    pid = cluster.gateway.pid
    cluster.put_script(script(broker, f'if Request.RGWOp ~= "put_obj" then return end\n{body}'))
    for number in range(1, 4):
        s3.put_object(Bucket="bkt", Key="k", Body=b"x")
        wait_until(lambda count=number: len(told.payloads) >= count, "what the script tells")
    assert told.payloads == [expected] * 3
    assert cluster.gateway.pid == pid
    assert cluster.gateway.is_alive()


def test_a_script_in_the_background_has_tasks_too(cluster, broker, peer, release):
    if release == "16.2":
        with pytest.raises(RuntimeError, match="invalid script context|background"):
            cluster.put_script("return", context="background")
        return
    Together(peer, NUMBER)
    told = Told(peer)
    cluster.put_script(script(broker, GATHER), context="background")
    try:
        # It is run every 5 s, in one state.
        wait_until(lambda: len(told.payloads) >= 3, "three rounds", timeout=60)
        assert told.payloads[:3] == [ANSWERS] * 3
    finally:
        cluster.admin("script", "rm", "--context=background")


def test_what_hangs_ends_with_its_time(cluster, s3, broker, peer, release):
    """A task that never yields is ended by RGW, where that has a limit; what waits is ended by run."""
    told = Told(peer)
    waits = """
if Request.RGWOp ~= "put_obj" then return end
local _, _, code = async.run({ timeout_ms = 100 }, function() while true do async.sleep(60000) end end)
assert(connection:publish("told", assert(nats.encode({ code }))))
"""
    cluster.put_script(script(broker, waits))
    s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    assert told.wait() == ["timeout"]
    if release == "20.2":
        spins = """
if Request.RGWOp ~= "put_obj" then return end
async.run({ timeout_ms = 100 }, function()
  async.spawn(function() while true do pcall(function() while true do end end) end end)
  async.sleep(1)
end)
assert(connection:publish("told", assert(nats.encode({ "it has ended" }))))
"""
        cluster.put_script(script(broker, spins))
        s3.put_object(Bucket="bkt", Key="k", Body=b"x")
        wait_until(lambda: "runtime limit exceeded" in cluster.log(), "the end of the script")
        assert told.payloads == [["timeout"]]
    # The gateway serves, and further scripts run.
    cluster.put_script(script(broker, TASKS))
    s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    wait_until(lambda: len(told.payloads) > 1, "the next script")
    assert told.payloads[1][-1] == "timeout"
