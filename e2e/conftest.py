"""What the tests share: one cluster of the release under test, and a broker and a consumer for each test."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import RELEASES, Broker, Cluster, Consumer, private_mounts  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--release", choices=RELEASES, default="18.2", help="the Ceph release to run with")
    parser.addoption("--record-parity", metavar="DIRECTORY", help="where test_native_parity.py writes its results")


def pytest_configure(config):
    private_mounts()


def pytest_report_header(config):
    return f"Ceph {config.getoption('--release')}"


@pytest.fixture(scope="session")
def release(request):
    """The Ceph release under test."""
    return request.config.getoption("--release")


@pytest.fixture(scope="session")
def directory():
    """Where servers of this run keep their files."""
    path = Path(tempfile.mkdtemp(prefix="rgw_nats-", dir="/var/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def whole_cluster(release, directory):
    """A cluster with the module in a Lua directory."""
    cluster = Cluster(release, directory / "cluster")
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
