"""What the tests share: one cluster of the release under test, and a broker and a consumer for each test."""

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import LUAS, RELEASES, Broker, Cluster, Consumer, check_lua, private_mounts  # noqa: E402
from harness.attack import TEMPLATE, Attack  # noqa: E402
from harness.cluster import script  # noqa: E402
from harness.raw_client import RawClient  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--release", choices=RELEASES, default="18.2", help="the Ceph release to run with")
    parser.addoption("--lua", choices=LUAS, default="5.3", help="the Lua that the gateway runs on")
    parser.addoption("--soak", action="store_true", help="the tests of faults in their long forms")
    parser.addoption("--record-parity", metavar="DIRECTORY", help="where test_native_parity.py writes its results")


def pytest_configure(config):
    try:
        check_lua(config.getoption("--release"), config.getoption("--lua"))
    except ValueError as problem:
        raise pytest.UsageError(str(problem)) from None
    config.addinivalue_line("markers", "main: the main paths, which CI runs on each release and each Lua")
    private_mounts()
    # What ends a job of CI ends the tests as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_report_header(config):
    return f"Ceph {config.getoption('--release')}, Lua {config.getoption('--lua')}"


@pytest.fixture(scope="session")
def release(request):
    """The Ceph release under test."""
    return request.config.getoption("--release")


@pytest.fixture(scope="session")
def gateway_lua(request):
    """The Lua that the gateway runs on."""
    return request.config.getoption("--lua")


@pytest.fixture(scope="session")
def soak(request):
    """Whether the long forms are wanted (make soak)."""
    return request.config.getoption("--soak")


@pytest.fixture(scope="session")
def directory():
    """Where servers of this run keep their files."""
    path = Path(tempfile.mkdtemp(prefix="rgw_nats-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def whole_cluster(release, gateway_lua, directory):
    """A cluster with the module in a Lua directory."""
    cluster = Cluster(release, directory / "cluster", lua=gateway_lua)
    try:
        cluster.start()
        cluster.install_module()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(whole_cluster):
    """The cluster, without a script before and after; its gateway must live through the test unless restarted by it."""
    if not whole_cluster.gateway.is_alive():
        whole_cluster.start_gateway()
    yield whole_cluster
    for context in ("preRequest", "postRequest"):
        whole_cluster.admin("script", "rm", f"--context={context}", check=False)


@pytest.fixture
def s3(cluster):
    """A client, and a bucket `bkt` to use."""
    client = cluster.s3()
    client.create_bucket(Bucket="bkt")
    return client


@pytest.fixture
def broker(cluster):
    """A nats-server of the release, with JetStream."""
    broker = Broker(cluster.machine, jetstream=True).start()
    yield broker
    broker.end()


@pytest.fixture
def consumer(broker):
    """A subscriber to all events."""
    consumer = Consumer(broker)
    yield consumer
    consumer.close()


@pytest.fixture(scope="module")
def attacked_broker(whole_cluster):
    """The nats-server for all attacks of a file."""
    broker = Broker(whole_cluster.machine, "attacked").start()
    yield broker
    broker.end()


@pytest.fixture(scope="module")
def scripted(whole_cluster, attacked_broker):
    """The cluster with our script of two lines, and a second user who may do nothing."""
    whole_cluster.put_script(script(attacked_broker.url, TEMPLATE))
    keys = ("--access-key=other", "--secret-key=other")
    # Each file with attacks comes here.
    whole_cluster.admin("user", "create", "--uid=other", "--display-name=Other", *keys, check=False)
    yield whole_cluster
    whole_cluster.admin("script", "rm", "--context=postRequest")


@pytest.fixture(scope="module")
def swift(scripted):
    """The header by which Swift knows the user of the tests."""
    scripted.admin("subuser", "create", "--uid=tester", "--subuser=tester:swift", "--access=full", check=False)
    scripted.admin("key", "create", "--subuser=tester:swift", "--key-type=swift", "--secret-key=swift")
    login = [("X-Auth-User", "tester:swift"), ("X-Auth-Key", "swift")]
    reply = RawClient(scripted.s3_port).ask_unsigned("GET", "/auth/v1.0", login)
    return ("X-Auth-Token", reply.headers["x-auth-token"])


@pytest.fixture
def attack(scripted, attacked_broker):
    """What a hostile client does; the gateway must live through it."""
    if not scripted.gateway.is_alive():
        scripted.start_gateway()
    consumer = Consumer(attacked_broker)
    attack = Attack(scripted, consumer, f"attacked-{time.monotonic_ns()}")
    yield attack
    consumer.close()
    # Not in the test, as one that is known to fail may not end the gateway either.
    attack.check_gateway()
