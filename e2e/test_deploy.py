"""The parts of deploy/rook on a real gateway, started as Rook starts it: with a realm, a zone group and a zone of its
own, as root with --setuser ceph, and with the volumes at /var/rgw. There is no Kubernetes: this file does what the
kubelet does.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import Broker, Cluster
from harness.machine import PROJECT, free_ports, wait_until

sys.path.insert(0, str(PROJECT / "tests/deploy"))

from jetstream import SERVER, ask, make_stream_and_consumer, next_event  # noqa: E402
from manifests import SCRIPT, containers, job_environment, manifest, mounted_files, shell  # noqa: E402

STORE = "my-store"
#: Where RGW installs packages: a volume that radosgw's user may write to.
LUAROCKS = "/var/rgw/luarocks"
ZONE = [f"--rgw-realm={STORE}", f"--rgw-zonegroup={STORE}", f"--rgw-zone={STORE}"]


@pytest.fixture(scope="module", autouse=True)
def _newer_than_16_2(release):
    if release == "16.2":
        pytest.skip("Rook mounts volumes at /var/rgw since versions that no longer run Ceph 16.2")


class Rook:
    """A Ceph with the object store my-store, and what the kubelet and Rook do for its gateways."""

    def __init__(self, release, directory, lua):
        self.cluster = Cluster(release, directory, lua=lua, conf=f"rgw luarocks location = {LUAROCKS}")
        self.machine = self.cluster.machine
        # As an emptyDir is.
        self.machine.path(LUAROCKS).mkdir(parents=True)
        self.machine.path(LUAROCKS).chmod(0o777)
        self.port = None
        self._gateway = None

    def start(self):
        self.cluster.start()
        for what in (("realm",), ("zonegroup", "--master"), ("zone", "--master")):
            self.admin(what[0], "create", *what[1:])
        self.admin("period", "update", "--commit")
        keys = ("--access-key=test", "--secret-key=test")
        self.admin("user", "create", "--uid=tester", "--display-name=Tester", *keys)

    def admin(self, *arguments):
        return self.machine.run("radosgw-admin", *arguments, *ZONE)

    def mount(self, path, files):
        """A volume of a ConfigMap, a Secret or both, as the kubelet writes it: each file is a link into ..data."""
        volume = self.machine.path(path)
        volume.mkdir(parents=True, exist_ok=True)
        data = volume / f"..{time.monotonic_ns()}"
        data.mkdir()
        for name, text in files.items():
            (data / name).write_text(text)
            (data / name).chmod(0o444)
        (volume / "..data_tmp").symlink_to(data.name)
        (volume / "..data_tmp").rename(volume / "..data")
        for name in files:
            if not (volume / name).is_symlink():
                (volume / name).symlink_to(f"..data/{name}")

    def run_job(self, name, **environment):
        """Runs the shell of a Job in the machine, which has the programs of the Ceph image."""
        return self.machine.run("sh", "-ec", shell(name), env=job_environment(name, environment) | environment)

    def restart_gateway(self):
        if self._gateway:
            self._gateway.stop(timeout=180)
        # Of these the ones that radosgw writes to after it has become `ceph`.
        self.machine.run("chown", "-R", "ceph:ceph", "/ceph/log", "/ceph/rgw")
        setuser = ("--setuser=ceph", "--setgroup=ceph")
        self._gateway, self.port = self.cluster.further_gateway(f"rook-{time.monotonic_ns()}", *ZONE, *setuser)
        status = Path(f"/proc/{self._gateway.pid}/status")
        # It answers a moment before it is another user.
        wait_until(lambda: "\nUid:\t0\t" not in status.read_text(), "radosgw to be ceph")

    def put(self, key):
        client = self.cluster.s3(port=self.port)
        client.create_bucket(Bucket="photos")
        client.put_object(Bucket="photos", Key=key, Body=b"x")

    def log(self):
        return max(self.machine.path("/ceph/log").glob("rook-*.log"), key=os.path.getmtime).read_text()

    def loaded(self):
        """Where the gateway has the library from."""
        maps = Path(f"/proc/{self._gateway.pid}/maps").read_text()
        return set(re.findall(rf"{self.machine.root}(/.*/rgw_nats\.so)$", maps, re.MULTILINE))


@pytest.fixture(scope="module")
def rook(release, gateway_lua, directory):
    """That object store, with the script that the Job has put."""
    rook = Rook(release, directory / "rook", gateway_lua)
    try:
        rook.start()
        configuration = rook.machine.path("/etc/ceph/ceph.conf").read_text()
        (monitor,) = re.findall(r"v1:(127\.0\.0\.1:\d+)", configuration)
        keyring = rook.machine.path("/ceph/keyring").read_text()
        (key,) = re.findall(r"\[client\.admin\]\s+key = (\S+)", keyring)
        # What Rook's operator makes, and script.yaml mounts.
        rook.mount("/etc/rook", {"mon-endpoints": f"a={monitor}"})
        rook.mount("/var/lib/rook-ceph-mon", {"secret.keyring": key})
        rook.mount("/script", manifest("ConfigMap", "rgw-nats-script")["data"])
        rook.run_job("rgw-nats-script", CEPH_USER="client.admin")
        yield rook
    finally:
        rook.cluster.close()


@pytest.fixture
def url(rook):
    """A nats-server with the values of the chart, the stream and the consumer; the gateways' configuration names it."""

    broker = Broker(rook.machine, "rook", jetstream=True, config=json.dumps(SERVER)[1:-1]).start()
    make_stream_and_consumer(broker.url)
    files = mounted_files("/var/rgw/nats")
    files["rgw_nats.toml"] = files["rgw_nats.toml"].replace("nats://nats.nats.svc:4222", broker.url)
    rook.mount("/var/rgw/nats", files)
    yield broker.url
    broker.end()


def arrives(rook, url, key):
    """Puts an object and waits for its event at the consumer."""
    rook.put(key)
    try:
        subject, record = next_event(url)
    except Exception as error:
        lines = [line for line in rook.log().splitlines() if "Lua" in line]
        raise AssertionError("no event; radosgw says:\n" + "\n".join(lines[-5:])) from error
    assert (subject, record["s3"]["object"]["key"]) == ("s3.photos.ObjectCreated:Put", key)


def test_the_job_puts_the_script_into_the_stores_zone(rook):
    assert rook.admin("script", "get", "--context=postRequest").strip() == SCRIPT.strip()


def test_a_gateway_with_the_library_on_a_volume_publishes(rook, url):
    library = rook.machine.path("/var/rgw/rgw_nats")
    library.mkdir(parents=True)
    try:
        shutil.copy(PROJECT / "build/rgw_nats.so", library)
        rook.restart_gateway()
        arrives(rook, url, "volume")
        assert rook.loaded() == {"/var/rgw/rgw_nats/rgw_nats.so"}
        assert ask(url, "CONSUMER.INFO.S3.worker")["num_pending"] == 0
    finally:
        shutil.rmtree(library)


def listens(port):
    """Whether something listens on a port of loopback."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_of_rocks_in_the_cluster(rook, url, release):
    (container,) = containers(manifest("Deployment", "rgw-nats-rocks"))
    (port,) = free_ports(1)
    changes = {"8080": f"127.0.0.1:{port}", "/opt/rgw_nats/rocks": str(PROJECT / "dist")}
    command = [changes.get(word, word) for word in container["command"]]
    with subprocess.Popen(command) as server:
        try:
            package = f"--package=rgw_nats --only-server=http://127.0.0.1:{port}"
            wait_until(lambda: listens(port), "busybox to listen")
            rook.admin("script-package", "add", package)
            rook.restart_gateway()
            if release == "20.2":
                # At the start luarocks runs as root, and radosgw, as `ceph`, can't read the result.
                rook.put("unreadable")
                wait_until(lambda: "module 'rgw_nats' not found" in rook.log(), "radosgw's log")
                rook.admin("script-package", "reload")
            arrives(rook, url, "rocks")
            # Two, where the first request of all was served by what was not `ceph` yet.
            assert {Path(path).is_relative_to(LUAROCKS) for path in rook.loaded()} == {True}
        finally:
            server.terminate()
