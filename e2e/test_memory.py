"""What a notification takes of a script's memory: 20.2 gives a script 128,000 bytes in all."""

import pytest
from harness.cluster import LUA_DIRECTORY

pytestmark = pytest.mark.main

#: The most that `require` and `notify` may take over an empty script, in bytes (DESIGN.md, 6).
SHARE = 12 << 10
LIMIT = "rgw_lua_max_memory_per_state"

# The place of the module is all that is searched, as where RGW's own package list has it.
SCRIPT = """
{before}
package.path, package.cpath = "", "{directory}/?.so"
{work}
{after}
local file = io.open("/ceph/memory.txt", "a")
file:write(taken, "\\n")
file:close()
"""
NOTIFY = 'local nats = require("rgw_nats")\nassert(nats.notify(Request, "/ceph/memory.toml"))'
RULES = """
url = "{url}"
[[notification]]
id = "one"
bucket = "films-*"
[[notification]]
id = "two"
bucket = "b*"
[[notification]]
id = "three"
bucket = "books"
"""


def put(s3):
    metadata = {"color": "red", "camera": "x100"}
    s3.put_object(Bucket="bkt", Key="k", Body=b"x", Metadata=metadata, Tagging="project=blue&stage=raw")


def all_that_is_made(cluster, s3, work):
    """Without the collector the heap holds all that was ever made: no peak can be higher."""
    before = 'collectgarbage("stop") local before = collectgarbage("count")'
    after = 'local taken = math.tointeger((collectgarbage("count") - before) * 1024)'
    return max(int(line) for line in run(cluster, s3, work, before, after, 5))


def least_limit(cluster, s3, work):
    """The smallest limit with which the script comes to its end."""
    low, high = 16_000, 128_000
    while high - low > 64:
        middle = (low + high) // 2
        cluster.machine.run("ceph", "config", "set", "client.rgw.a", LIMIT, str(middle))
        ended = run(cluster, s3, work, "", "local taken = 1", 1)
        low, high = (low, middle) if ended else (middle, high)
    cluster.machine.run("ceph", "config", "rm", "client.rgw.a", LIMIT)
    return high


def run(cluster, s3, work, before, after, times):
    report = cluster.machine.path("/ceph/memory.txt")
    report.write_text("")
    report.chmod(0o666)
    cluster.put_script(SCRIPT.format(directory=LUA_DIRECTORY, work=work, before=before, after=after))
    for _ in range(times):
        put(s3)
    # The client has its answer before the script is through; the next request on this connection waits for it.
    s3.list_buckets()
    return report.read_text().split()


def test_a_notification_takes_12_kib_of_a_scripts_memory_at_most(cluster, s3, broker, consumer, release):
    cluster.machine.path("/ceph/memory.toml").write_text(RULES.format(url=broker.url))
    measure = least_limit if release == "20.2" else all_that_is_made
    empty, full = measure(cluster, s3, ""), measure(cluster, s3, NOTIFY)
    print(f"Ceph {release}: {full - empty} bytes over {empty}")
    assert 0 < full - empty <= SHARE
    thing = consumer.wait(1)[-1].record["s3"]["object"]
    assert len(thing["metadata"]) == len(thing["tags"]) == 2
