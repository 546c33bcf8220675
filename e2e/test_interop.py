"""The client and nats-py, which nobody here wrote: whatever one of them does, the other one understands."""

import asyncio
import base64
import os

import nats.errors
import nats.js.errors
import pytest
from harness import Broker, Machine
from harness.lua import Lua
from harness.peer import Peer
from nats.js.api import ConsumerConfig, KeyValueConfig

#: Each byte there is, more than once.
BINARY = bytes(range(256)) * 3
#: What a server takes that is told nothing: 1 MiB.
LARGE = os.urandom(1024 * 1024)

KEYS = ["a", "a.b.c", "-/_=", "=a", "a=b/c.d", "_", "-", "0", "A", "x" * 300, "/a/b"]


@pytest.fixture(scope="module")
def server(release, directory):
    """A nats-server of the release, without a Ceph."""
    machine = Machine(release, directory / "interop")
    broker = Broker(machine, jetstream=True).start()
    yield broker
    broker.end()
    machine.close()


@pytest.fixture(params=["5.3", "5.4"])
def lua(request, server):
    """Lua with a connection, whose subscriptions the server has as soon as they are there."""
    lua = Lua(request.param)
    lua("connection = assert(nats.connect(..., { name = 'rgw_nats' }))", server.url)
    lua("assert(connection:flush(10000)); js = assert(connection:jetstream({ timeout_ms = 10000 }))")
    lua("function subscribe(...) sub = assert(connection:subscribe(...)); assert(connection:flush(10000)) end")
    yield lua
    assert lua.close() == 0


@pytest.fixture
def peer(server):
    """nats-py with a connection."""
    peer = Peer(server.url)
    yield peer
    for stream in peer(peer.js.streams_info()):
        peer(peer.js.delete_stream(stream.config.name))
    peer.close()


def subscribe(peer, *arguments, **options):
    """A subscription of nats-py that the server has."""
    subscription = peer(peer.client.subscribe(*arguments, **options))
    peer(peer.client.flush())
    return subscription


def respond(peer, subject, *answers):
    """Has nats-py answer; the answers are payloads, and what it was asked comes into the list."""
    asked = []

    async def answer(message):
        asked.append(message)
        for payload in answers:
            await message.respond(payload)

    subscribe(peer, subject, cb=answer)
    return asked


def text(data):
    """Bytes as they come back from Lua."""
    return data.decode("latin-1")


# Core


def test_payloads(lua, peer):
    """All bytes, none at all, and as many as the server takes."""
    subscription = subscribe(peer, "out")
    lua("subscribe('in')")
    for payload in (b"", b"\0", BINARY, LARGE):
        lua("assert(connection:publish('out', ...))", payload)
        assert peer(subscription.next_msg(10)).data == payload
        peer(peer.client.publish("in", payload))
        assert lua("return assert(sub:next(10000)).payload") == text(payload)
    assert lua("return assert(connection:flush(10000))")


def test_headers(lua, peer):
    """Names keep their case, values their letters; an empty value is one."""
    headers = {"Case": "Upper", "case": "lower", "X-Empty": "", "Text": "größe: 5 %", "Nats-Msg-Id": "7"}
    subscription = subscribe(peer, "out")
    lua("assert(connection:publish('out', 'x', ...))", headers)
    message = peer(subscription.next_msg(10))
    assert message.headers == headers
    assert message.data == b"x"
    lua("subscribe('in')")
    peer(peer.client.publish("in", b"x", headers=headers))
    got = lua("return assert(sub:next(10000)).headers")
    assert got == {name: text(value.encode()) for name, value in headers.items()}
    # Headers alone, without a payload.
    lua("assert(connection:publish('out', '', { A = '' }))")
    message = peer(subscription.next_msg(10))
    assert (message.headers, message.data) == ({"A": ""}, b"")
    peer(peer.client.publish("in", b"", headers={"A": ""}))
    assert lua("local m = assert(sub:next(10000)); return m.headers.A, m.payload") == ["", ""]


def test_several_values_of_a_header(lua, peer):
    """nats-py knows one value of a name; it writes several where names differ in blanks, and shows them unread."""
    lua("subscribe('in')")
    peer(peer.client.publish("in", b"", headers={"Many": "a", "Many ": "", " Many": "b: c", "One": "1"}))
    assert lua("return assert(sub:next(10000)).headers") == {"Many": ["a", "", "b: c"], "One": "1"}
    peer(peer.js.add_stream(name="headers", subjects=["headers.>"]))
    lua("assert(js:publish('headers.a', 'x', { headers = { Many = { 'a', '', 'b: c' }, One = '1' } }))")
    raw = peer(peer.js.get_msg("headers", seq=1))
    lines = base64.b64decode(raw.hdrs).decode().split("\r\n")
    assert [line for line in lines if line.startswith("Many")] == ["Many: a", "Many: ", "Many: b: c"]
    assert "One: 1" in lines
    # The last one of a name is the one that nats-py has.
    subscription = subscribe(peer, "out")
    lua("assert(connection:publish('out', '', { Many = { 'a', 'b' } }))")
    assert peer(subscription.next_msg(10)).headers == {"Many": "b"}


def test_requests_of_lua(lua, peer):
    """nats-py answers: one, many of them, and nobody."""
    asked = respond(peer, "ask", b"answer " + BINARY)
    answer = lua("return assert(connection:request('ask', ..., { timeout_ms = 10000, headers = { A = 'b' } }))", BINARY)
    assert answer["payload"] == text(b"answer " + BINARY)
    # nats-py answers with the headers of the question.
    assert answer["headers"] == {"A": "b"}
    assert (asked[0].data, asked[0].headers) == (BINARY, {"A": "b"})
    respond(peer, "many", b"1", b"2", b"", b"3")
    many = (
        "local out = {}; for n, m in ipairs(assert(connection:request_many('many', '', ...))) do out[n] = m.payload end"
    )
    assert lua(f"{many} return out", {"timeout_ms": 10000, "max": 3}) == ["1", "2", ""]
    assert lua(f"{many} return out", {"timeout_ms": 10000, "sentinel": True}) == ["1", "2"]
    assert lua(f"{many} return out", {"timeout_ms": 10000, "stall_ms": 300}) == ["1", "2", "", "3"]
    assert lua("return connection:request('nobody', '', { timeout_ms = 10000 })")[2] == "no_responders"


def test_requests_of_nats_py(lua, peer):
    """Lua answers, with headers of its own; nobody does."""
    lua("subscribe('ask')")
    waiting = peer.start(peer.client.request("ask", BINARY, timeout=30, headers={"A": "b"}))
    question = lua("question = assert(sub:next(10000)); return question")
    assert (question["payload"], question["headers"]) == (text(BINARY), {"A": "b"})
    lua("assert(question:respond(..., { Reason = 'größe', Empty = '' }))", BINARY)
    answer = waiting.result(30)
    assert (answer.data, answer.headers) == (BINARY, {"Reason": "größe", "Empty": ""})
    with pytest.raises(nats.errors.NoRespondersError):
        peer(peer.client.request("nobody", b"", timeout=10))


def test_a_queue_group_of_both(lua, peer):
    """Each message goes to one member, of whichever client."""
    lua("subscribe('work', { queue = 'workers' }); own = sub; subscribe('work')")
    here = subscribe(peer, "work", queue="workers")
    everything = subscribe(peer, "work")
    lua("for n = 1, 200 do assert(connection:publish('work', tostring(n))) end; assert(connection:flush(10000))")

    async def drained(subscription):
        found = []
        while subscription.pending_msgs:
            found.append(int((await subscription.next_msg(1)).data))
        return found

    peer(peer.client.flush())
    shared = peer(drained(here))
    assert sorted(peer(drained(everything))) == list(range(1, 201))
    count = lua("local n = 0; while sub:next(0) do n = n + 1 end; return n")
    assert count == 200
    own = lua(
        "local out = {}; for n = 1, own:status().pending do out[n] = tonumber(own:next(0).payload) end; return out"
    )
    assert sorted(own + shared) == list(range(1, 201))
    assert min(len(own), len(shared)) > 20


# JetStream


def test_an_id_is_known_whoever_sent_it_first(lua, peer):
    peer(peer.js.add_stream(name="ids", subjects=["ids.>"]))
    first = lua("return assert(js:publish('ids.a', 'x', { id = '1' }))")
    assert (first["sequence"], first["duplicate"]) == (1, False)
    again = peer(peer.js.publish("ids.a", b"x", headers={"Nats-Msg-Id": "1"}))
    assert (again.seq, again.duplicate) == (1, True)
    other = peer(peer.js.publish("ids.a", b"y", headers={"Nats-Msg-Id": "2"}))
    assert (other.seq, other.duplicate) == (2, None)
    again = lua("return assert(js:publish('ids.b', 'y', { id = '2' }))")
    assert (again["sequence"], again["duplicate"]) == (2, True)
    # What goes through the queue of `publish` has its id, too.
    lua("assert(connection:publish('ids.a', 'x', { ['Nats-Msg-Id'] = '1' })); assert(connection:flush(10000))")
    assert peer(peer.js.stream_info("ids")).state.messages == 2
    assert lua("return js:publish('ids.a', 'x', { expected_last_sequence = 1 })")[2] == "conflict"
    with pytest.raises(nats.js.errors.APIError):
        peer(peer.js.publish("ids.a", b"x", headers={"Nats-Expected-Last-Sequence": "1"}))


def test_consumers(lua, peer):
    """One makes stream and consumer, the other one pulls; what was acknowledged, and how, both see."""
    lua("assert(js:create_stream({ name = 'jobs', subjects = { 'jobs.>' } }))")
    config = ConsumerConfig(durable_name="workers", ack_wait=60, filter_subject="jobs.>")
    peer(peer.js.add_consumer("jobs", config))
    for number in range(1, 5):
        peer(peer.js.publish(f"jobs.{number}", BINARY + bytes([number]), headers={"A": str(number)}))
    lua("workers = assert(js:consumer('jobs', 'workers'))")
    message = lua("first = assert(workers:next(10000)); return first")
    assert (message["payload"], message["headers"]) == (text(BINARY + b"\1"), {"A": "1"})
    assert (message["sequence"], message["delivered"], message["pending"]) == (1, 1, 3)
    # Lua: done, again, never; nats-py gets the second one for the second time, and the fourth.
    assert lua("return first:ack_sync(10000)") is True
    lua("local two, three = assert(workers:next(10000)), assert(workers:next(10000)); two:nak(); three:term()")
    lua("assert(connection:flush(10000))")
    subscription = peer(peer.js.pull_subscribe_bind("workers", "jobs"))
    batch = []
    while len(batch) < 2:
        batch += peer(subscription.fetch(2 - len(batch), timeout=10))
    seen = {message.metadata.sequence.stream: message for message in batch}
    assert {number: message.metadata.num_delivered for number, message in seen.items()} == {2: 2, 4: 1}
    # nats-py: again, done; Lua gets the fourth.
    peer(seen[2].ack_sync())
    peer(seen[4].nak())
    again = lua("again = assert(workers:next(10000)); return again")
    assert (again["sequence"], again["delivered"]) == (4, 2)
    assert lua("return again:ack_sync(10000)") is True
    for info in (vars(peer(subscription.consumer_info())), lua("return assert(workers:info())")):
        assert (info["num_pending"], info["num_ack_pending"]) == (0, 0)
    assert lua("return workers:fetch(10, { no_wait = true })") == {}
    with pytest.raises(nats.errors.TimeoutError):
        peer(subscription.fetch(1, timeout=0.5))


def test_delays_and_terms_of_nats_py(lua, peer):
    lua("assert(js:create_stream({ name = 'jobs', subjects = { 'jobs.>' } }))")
    lua("workers = assert(js:consumer('jobs', { durable_name = 'workers', ack_policy = 'explicit' }))")
    lua("for n = 1, 2 do assert(js:publish('jobs.' .. n, 'x')) end")
    subscription = peer(peer.js.pull_subscribe_bind("workers", "jobs"))
    one, two = (peer(subscription.fetch(1, timeout=10))[0] for _ in range(2))
    peer(one.term())
    peer(two.nak(delay=0.7))
    peer(peer.client.flush())
    assert lua("return workers:next(200)")[2] == "timeout"
    message = lua("return assert(workers:next(10000))")
    assert (message["sequence"], message["delivered"]) == (2, 2)
    # And the other way round.
    lua("assert(js:purge_stream('jobs')); assert(js:publish('jobs.3', 'x'))")
    lua("assert(assert(workers:next(10000)):nak(700)); assert(connection:flush(10000))")
    with pytest.raises(nats.errors.TimeoutError):
        peer(subscription.fetch(1, timeout=0.2))
    (message,) = peer(subscription.fetch(1, timeout=10))
    assert (message.metadata.sequence.stream, message.metadata.num_delivered) == (3, 2)


def test_what_one_stores_the_other_one_reads(lua, peer):
    lua("assert(js:create_stream({ name = 'kept', subjects = { 'kept.>' }, description = 'größe' }))")
    info = peer(peer.js.stream_info("kept"))
    assert (info.config.subjects, info.config.description) == (["kept.>"], "größe")
    lua(
        "for n = 1, 100 do assert(js:publish('kept.a', tostring(n))) end; assert(js:publish('kept.b', ...))",
        LARGE[:-100],
    )
    assert peer(peer.js.get_msg("kept", seq=101)).data == LARGE[:-100]
    assert peer(peer.js.get_last_msg("kept", "kept.a")).data == b"100"
    ordered = peer(peer.js.subscribe("kept.a", ordered_consumer=True))
    assert [int(peer(ordered.next_msg(10)).data) for _ in range(100)] == list(range(1, 101))
    peer(ordered.unsubscribe())
    reader = "reader = assert(js:ordered_consumer('kept', { filter_subject = 'kept.a' }))"
    lua(reader)
    lua("local last = 0; for n = 1, 100 do assert(tonumber(assert(reader:next(10000)).payload) == n) end")
    peer(peer.js.update_stream(name="kept", subjects=["kept.>", "more.>"]))
    assert lua("return assert(js:stream_info('kept')).config.subjects") == ["kept.>", "more.>"]
    assert lua("return js:stream_names({ subject = 'more.a' })") == ["kept"]


# Key-value


def entries(found):
    """Revisions of a key as nats-py has them."""
    return [(entry.revision, entry.operation or "put", entry.value) for entry in found]


def test_buckets(lua, peer):
    """Whoever makes it, both put, get, update, delete and purge."""
    lua("bucket = assert(js:create_bucket({ bucket = 'lua', history = 10 }))")
    there = peer(peer.js.key_value("lua"))
    assert peer(there.status()).history == 10
    for key in KEYS:
        assert lua("return assert(bucket:put(...)).revision", key, BINARY) == peer(there.get(key)).revision
        assert peer(there.get(key)).value == BINARY
        revision = peer(there.put(key, b"from nats-py \0"))
        entry = lua("return assert(bucket:entry(...))", key)
        assert (entry["value"], entry["revision"]) == ("from nats-py \0", revision)
    assert sorted(lua("return bucket:keys()")) == sorted(peer(there.keys())) == sorted(KEYS)
    # Revisions.
    revision = peer(there.put("a", b"1"))
    newer = lua("return assert(bucket:update('a', '2', ...)).revision", revision)
    with pytest.raises(nats.js.errors.KeyWrongLastSequenceError):
        peer(there.update("a", b"3", last=revision))
    peer(there.update("a", b"3", last=newer))
    assert lua("return bucket:update('a', '4', ...)", newer)[2] == "conflict"
    # What one deletes is gone for the other, and can be made anew.
    lua("assert(bucket:delete('a'))")
    with pytest.raises(nats.js.errors.KeyNotFoundError):
        peer(there.get("a"))
    peer(there.create("a", b"anew"))
    assert lua("return bucket:create('a', 'x')")[2] in ("conflict", "exists")
    peer(there.delete("a"))
    assert lua("return bucket:get('a')")[2] == "not_found"
    assert lua("return assert(bucket:create('a', 'once more')).revision") == peer(there.get("a")).revision
    history = entries(peer(there.history("a")))
    mine = lua("return bucket:history('a')")
    assert [(entry["revision"], entry["value"].encode("latin-1")) for entry in mine] == [
        (revision, value) for revision, _, value in history
    ]
    assert [operation for _, operation, _ in history][-4:] == ["DEL", "put", "DEL", "put"]
    assert [entry["operation"] for entry in mine][-4:] == ["delete", "put", "delete", "put"]
    lua("assert(bucket:purge('a'))")
    assert [operation for _, operation, _ in entries(peer(there.history("a")))] == ["PURGE"]
    peer(there.put("b", b"x"))
    peer(there.purge("b"))
    assert [entry["operation"] for entry in lua("return bucket:history('b')")] == ["purge"]


def test_a_bucket_of_nats_py(lua, peer):
    there = peer(peer.js.create_key_value(KeyValueConfig(bucket="python", history=5, max_value_size=1000)))
    peer(there.put("a", b"1"))
    lua("bucket = assert(js:bucket('python'))")
    assert lua("return bucket:get('a')") == "1"
    status = lua("return assert(bucket:status())")
    assert status["history"] == 5
    assert lua("return bucket:put('a', ('x'):rep(1001))")[0] is None
    assert "python" in lua("return js:bucket_names()")
    assert lua("return js:bucket('other')")[2] == "not_found"
    assert peer(peer.js.delete_key_value("python"))
    assert lua("return bucket:get('a')")[0] is None


def test_watches(lua, peer):
    """Both see all changes of both, in one order."""
    lua("bucket = assert(js:create_bucket({ bucket = 'watched', history = 10 }))")
    there = peer(peer.js.key_value("watched"))
    peer(there.put("a.1", b"before"))
    watcher = peer(there.watch("a.>"))
    lua("watch = assert(bucket:watch('a.>'))")

    async def changes(count):
        found = []
        while len(found) < count:
            entry = await watcher.updates(10)
            if entry is not None:
                found.append((entry.key, entry.operation or "put", entry.value))
        return found

    peer(there.put("a.2", BINARY))
    lua("assert(bucket:put('b', 'not watched')); assert(bucket:put('a.1', 'after')); assert(bucket:delete('a.2'))")
    peer(there.purge("a.1"))
    expected = [
        ("a.1", "put", b"before"),
        ("a.2", "put", BINARY),
        ("a.1", "put", b"after"),
        ("a.2", "DEL", b""),
        ("a.1", "PURGE", b""),
    ]
    assert peer(changes(5)) == expected
    mine = [lua("return assert(watch:next(10000))") for _ in range(5)]
    words = {"put": "put", "delete": "DEL", "purge": "PURGE"}
    assert [
        (entry["key"], words[entry["operation"]], entry.get("value", "").encode("latin-1")) for entry in mine
    ] == expected
    peer(asyncio.wait_for(watcher.stop(), 10))


def test_a_thousand_messages_each_way_at_once(lua, peer):
    """Both publish while both read: nothing is lost, nothing changes its place."""
    subscription = subscribe(peer, "out")
    lua("subscribe('in')")

    async def publish():
        for number in range(1000):
            await peer.client.publish("in", b"%d" % number, headers={"N": str(number)})
        await peer.client.flush()

    publishing = peer.start(publish())
    lua("for n = 0, 999 do assert(connection:publish('out', tostring(n), { N = tostring(n) })) end")

    async def read():
        return [await subscription.next_msg(10) for _ in range(1000)]

    messages = peer(read())
    assert [(int(message.data), int(message.headers["N"])) for message in messages] == [(n, n) for n in range(1000)]
    publishing.result(30)
    lua("read = function() local m = assert(sub:next(10000)); return m.payload, m.headers.N end")
    lua("for n = 0, 999 do local a, b = read(); assert(tonumber(a) == n and a == b) end")
