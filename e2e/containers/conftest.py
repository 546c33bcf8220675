"""What the tests of containers share: one cluster, a broker, and the volumes of its gateway."""

import shutil
import time

import pytest
from harness import Broker, Consumer, wait_until
from harness.container import CEPH, ContainedCluster
from harness.machine import MODULE
from harness.volume import KubernetesVolume


class Layout:
    """Where the volumes are in a container: module, configuration, spool, and one that is root's."""

    def __init__(self, module, config, spool, foreign):
        self.module, self.config, self.spool, self.foreign = module, config, spool, foreign
        self.toml = f"{config}/rgw_nats.toml"

    def volumes(self, cluster, volume):
        """As ContainedCluster takes them."""
        module = cluster.volume("module")
        shutil.copy(MODULE, module)
        return {
            self.module: (module, "ro"),
            self.config: (volume.directory, "ro"),
            self.spool: (cluster.volume("spool", CEPH), "rw"),
            self.foreign: (cluster.volume("foreign"), "rw"),
        }

    @property
    def script(self):
        """Two lines, and the one that finds the module."""
        return (
            f'package.cpath = "{self.module}/?.so;" .. package.cpath\n'
            f'local nats = require("rgw_nats")\nassert(nats.notify(Request, "{self.toml}"))\n'
        )


def give_script(cluster, layout):
    """Uploads the script of a layout, if it is not there: after a gateway was killed that takes half a minute."""
    if cluster.script != layout.script:
        cluster.put_script(layout.script)
        cluster.script = layout.script
    if "bkt" not in [bucket["Name"] for bucket in cluster.s3().list_buckets()["Buckets"]]:
        cluster.s3().create_bucket(Bucket="bkt")


def bring_up(cluster, layout, volume, broker, **options):
    """Starts a gateway with these volumes and its script; returns what descriptors it had before the script."""
    volume.write({"rgw_nats.toml": f'url = "{broker.url}"\nsubject = "test.first"\n'})
    cluster.start_gateway(layout.volumes(cluster, volume), **options)
    before = cluster.gateway.descriptors()
    give_script(cluster, layout)
    return before


@pytest.fixture(scope="session")
def whole_cluster(release, gateway_lua, directory):
    """A cluster without a gateway yet."""
    cluster = ContainedCluster(release, directory / "cluster", lua=gateway_lua)
    cluster.script = None
    try:
        cluster.start_storage()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(whole_cluster):
    """The cluster; its script stays, as it takes half a minute to put another one after a gateway was killed."""
    return whole_cluster


@pytest.fixture
def s3(whole_cluster):
    """A client; there is a bucket `bkt`."""
    return whole_cluster.s3()


@pytest.fixture(scope="session")
def volume(whole_cluster):
    """The volume with the configuration and what is secret."""
    return KubernetesVolume(whole_cluster.volume("config"))


@pytest.fixture(scope="session")
def broker(whole_cluster):
    """The nats-server of the group. Its stream stays: an event waits for a stream that has taken its subject before."""
    broker = Broker(whole_cluster.machine, jetstream=True).start()
    maker = Consumer(broker, subject=None)
    maker.make_stream("events", "test.>")
    maker.close()
    yield broker
    broker.end()


@pytest.fixture
def consumer(broker, request):
    """A subscriber to the subjects of this test alone."""
    subject = f"test.{request.node.name.split('[')[0]}"
    consumer = Consumer(broker, f"{subject}.>")
    consumer.subject = subject
    yield consumer
    consumer.close()


class Configuration:
    """Of the gateway: exchanges the file in the volume, and waits until the gateway has taken it up."""

    def __init__(self, s3, volume, broker, consumer):
        self._s3, self._volume, self._broker, self._consumer = s3, volume, broker, consumer
        self._count = 0

    def text(self, extra="", url=None):
        """A file that publishes under a new subject, which is that of this test and a number."""
        self._count += 1
        self.subject = f"{self._consumer.subject}.{self._count}"
        return f'url = "{url or self._broker.url}"\nsubject = "{self.subject}.{{key}}"\n{extra}\n'

    def write(self, extra="", **options):
        """Exchanges it; returns when."""
        self._volume.update({"rgw_nats.toml": self.text(extra, **options)})
        return time.monotonic()

    def put(self, key):
        self._s3.put_object(Bucket="bkt", Key=key, Body=b"x")

    def arrived(self):
        """Whether an event has come under the present subject."""
        return any(event.subject.startswith(f"{self.subject}.") for event in self._consumer.events)

    def take_up(self, extra="", **options):
        """Exchanges it while requests come; returns how long it took until an event came under the new subject."""
        since = self.write(extra, **options)

        def come():
            self.put("probe")
            return self.arrived()

        wait_until(come, "the configuration to be taken up", timeout=20, pause=0.05)
        return time.monotonic() - since


@pytest.fixture
def configuration(s3, volume, broker, consumer):
    """The gateway's configuration, which this test exchanges."""
    return Configuration(s3, volume, broker, consumer)
