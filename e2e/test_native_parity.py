"""Our record beside RGW's own, of the same request of the same gateway, field by field.

Each field of each operation is equal, or better, or unknown to Lua: parity/allowed.py has what may be one of the latter
two, and why. What came of it stands in docs/parity/ and, made from that, in docs/events.md.
"""

import difflib
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness import Broker, Consumer, Endpoint
from harness.machine import PROJECT
from parity.allowed import ALLOWED, alone, counts
from parity.compare import cells, play
from parity.operations import of_release
from parity.outcome import dump, judge, outcome
from parity.world import World

COMMITTED = PROJECT / "docs/parity"


def pytest_generate_tests(metafunc):
    if "operation" in metafunc.fixturenames:
        names = [one.name for one in of_release(metafunc.config.getoption("--release"))]
        metafunc.parametrize("operation", names)


@pytest.fixture(scope="module")
def run(whole_cluster, release):
    """All operations, done once."""
    if not whole_cluster.gateway.is_alive():
        whole_cluster.start_gateway()
    endpoint = Endpoint()
    broker = Broker(whole_cluster.machine, name="parity").start()
    consumer = Consumer(broker)
    world = World(whole_cluster)
    try:
        results = play(world, endpoint, broker, consumer)
        yield SimpleNamespace(results=results, endpoint=endpoint, consumer=consumer)
    finally:
        world.close()
        consumer.close()
        broker.end()
        endpoint.close()


@pytest.fixture(scope="module")
def found(run, release):
    """What the run comes to."""
    return outcome(release, run.results)


def test_the_record_is_rgws(run, release, operation):
    seen = run.results[operation]
    native, ours = counts(release, operation)
    numbers = len(seen.native), len(seen.ours), len(seen.alone)
    assert numbers == (native, ours, ours), "records of RGW's, of ours, and of ours where RGW has no notification"
    single = alone(release, operation)
    if single:
        names = [tuple(record["eventName"] for record in records) for records in (seen.native, seen.ours)]
        assert names == [single.native, single.ours]
        return
    fields, are_the_same = cells(seen)
    assert are_the_same, "the fields and their order"
    problems = [judge(release, operation, cell)[2] for cell in fields]
    assert not any(problems), "\n" + "\n".join(filter(None, problems))


def test_no_record_comes_that_is_not_due(run, release):
    """One more than was due would be taken for the next operation's, or come after the last one."""
    time.sleep(1)
    due = [counts(release, name) for name in run.results]
    assert len(run.endpoint.records) == sum(native for native, _ in due)
    assert len(run.consumer.events) == 2 * sum(ours for _, ours in due)


def test_each_allowance_is_needed(release, found):
    """That a field which is allowed to differ does so is part of the comparison; here, that it is there at all."""
    for one in ALLOWED:
        if release in one.releases:
            met = {
                name for states in found["fields"][one.field].values() for names in states.values() for name in names
            }
            assert one.operations & met, f"{one.field}: {one.reason}"


def test_the_results_are_those_that_are_documented(request, release, found):
    directory = request.config.getoption("--record-parity")
    text = dump(found)
    if directory:
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / f"{release}.json").write_text(text)
    committed = (COMMITTED / f"{release}.json").read_text()
    change = difflib.unified_diff(committed.splitlines(), text.splitlines(), "committed", "this run", lineterm="", n=1)
    assert committed == text, "record them with --record-parity docs/parity:\n" + "\n".join(change)


def test_the_documentation_shows_the_results():
    command = [sys.executable, PROJECT / "scripts/events_table.py", "--check"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
