"""The image of deploy/rook/Containerfile, built and run by podman: on the root file system of a release, as a
gateway's, and on busybox, as that of the Job and of the server of rocks. Nothing is fetched: both bases are made here.
"""

import json
import re
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
from harness import Broker, Cluster, Consumer
from harness.cephadm import container_command
from harness.machine import E2E, PROJECT, free_ports, wait_until

sys.path.insert(0, str(PROJECT / "tests/deploy"))

from jetstream import SERVER, make_stream_and_consumer, next_event  # noqa: E402
from manifests import CEPHADM_SCRIPT, PLACEHOLDERS, cephadm, containers, manifest, shell  # noqa: E402

CONTAINERFILE = PROJECT / "deploy/rook/Containerfile"
PRINT_VERSION = 'package.cpath = "/opt/rgw_nats/?.so"; print(require("rgw_nats")._VERSION)'
#: What no gateway needs of a root file system, and what would take most of the time.
UNUSED = ("usr/share/doc", "usr/share/locale", "usr/share/man", "usr/lib/python3*", "usr/bin/ceph-*", "var/lib/dpkg")
OFFLINE = ("--network=none",)
#: podman's own limits are above what a container's host may allow. radosgw has some 600 threads, and all processes of
#: its user on the host count.
RUN = ("run", "--rm", "--ulimit=nofile=1024:1024", "--ulimit=nproc=10000:10000")


class Podman:
    """podman with a storage of its own, which goes with it."""

    def __init__(self, directory):
        self._directory = directory
        self.context = directory / "image"
        self._command = ["podman", "--runtime=runc", f"--root={directory}/storage", f"--runroot={directory}/run"]

    def __call__(self, *arguments, **options):
        return subprocess.run([*self._command, *map(str, arguments)], check=True, stdout=subprocess.PIPE, **options)

    def run(self, *arguments):
        return self(*RUN, *arguments, text=True).stdout.strip()

    def spawn(self, *arguments):
        """A container that runs on."""
        return subprocess.Popen([*self._command, *RUN, *map(str, arguments)])

    def base(self, name, root):
        """An image of a directory."""
        command = ["tar", "--one-file-system", *(f"--exclude=./{path}" for path in UNUSED), "-C", root, "-c", "."]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
            self("import", "-", f"localhost/{name}", stdin=tar.stdout)
        return f"localhost/{name}"

    def build(self, base, name):
        """The image of the Containerfile on a base, of a directory made as the pages say."""
        if not self.context.exists():
            shutil.copytree(PROJECT / "dist", self.context / "rocks")
            (rock,) = (PROJECT / "dist").glob("rgw_nats-*.linux-x86_64.rock")
            with zipfile.ZipFile(rock) as whole, whole.open("lib/rgw_nats.so") as library:
                (self.context / "rgw_nats.so").write_bytes(library.read())
        self(
            "build", "--build-arg", f"BASE={base}", "--tag", f"localhost/{name}", "--file", CONTAINERFILE, self.context
        )
        return f"localhost/{name}"

    def close(self):
        # podman's storage is a mount of its own.
        subprocess.run(["umount", "-R", "-l", self._directory / "storage/overlay"], stderr=subprocess.DEVNULL)
        shutil.rmtree(self._directory)


@pytest.fixture(scope="module", autouse=True)
def _once(release):
    if release != "18.2":
        pytest.skip("an image of one release is enough: with 18.2")


@pytest.fixture(scope="module")
def podman(directory):
    podman = Podman(directory / "podman")
    yield podman
    podman.close()


@pytest.fixture(scope="module")
def gateway_image(podman, release):
    """The image with the release's root file system as its base, which stands for the Ceph image."""
    command = [E2E / "rootfs.sh", release]
    root = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return podman.build(podman.base("ceph", root), "ceph_with_rgw_nats")


@pytest.fixture(scope="module")
def library_image(podman, directory):
    """The image with busybox, and nothing else, as its base."""
    root = directory / "busybox"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    for name in ("sh", "cp", "chmod", "mv"):
        (root / "bin" / name).symlink_to("busybox")
    return podman.build(podman.base("busybox", root), "rgw_nats")


@pytest.mark.parametrize("lua", ["5.3", "5.4"])
def test_the_image_loads_the_module(podman, gateway_image, lua):
    version = podman.run(*OFFLINE, "--read-only", "--user=167:167", gateway_image, f"lua{lua}", "-e", PRINT_VERSION)
    assert version.startswith("rgw_nats ")


def test_a_gateway_of_the_image_publishes(podman, gateway_image, release, directory):
    """radosgw in a container of the image; mon and osd are beside it, on the host's loopback."""
    cluster = Cluster(release, directory / "image-cluster")
    machine = cluster.machine
    try:
        cluster.start()
        cluster.stop_gateway()
        broker = Broker(machine).start()
        consumer = Consumer(broker)
        script = manifest("ConfigMap", "rgw-nats-script")["data"]["notify.lua"]
        machine.path("/var/rgw/nats").mkdir(parents=True)
        machine.path("/var/rgw/nats/rgw_nats.toml").write_text(f'url = "{broker.url}"\n')
        cluster.put_script(script)
        volumes = [f"--volume={machine.path(path)}:{path}" for path in ("/etc/ceph", "/ceph", "/var/rgw/nats")]
        command = ("radosgw", "-f", "-n", "client.rgw.a")
        with podman.spawn("--network=host", *volumes, gateway_image, *command) as gateway:
            try:
                wait_until(lambda: is_up(cluster, gateway), "radosgw to answer", timeout=120, pause=0.2)
                cluster.s3().create_bucket(Bucket="bkt")
                cluster.s3().put_object(Bucket="bkt", Key="image", Body=b"x")
                (event,) = consumer.wait(1)
                assert (event.subject, event.key) == ("s3.bkt.ObjectCreated:Put", "image")
            finally:
                podman("kill", "--all")
        consumer.close()
    finally:
        cluster.close()


def test_a_gateway_of_cephadms_own_command_publishes(podman, gateway_image, release, directory):
    """The specification of deploy/cephadm, made into a container by cephadm's own code."""
    name, host = "s3.host.abcdef", directory / "opt_rgw_nats"
    cluster = Cluster(release, directory / "cephadm-cluster")
    machine = cluster.machine
    try:
        cluster.start()
        cluster.stop_gateway()
        cluster.put_script(CEPHADM_SCRIPT)
        broker = Broker(machine, jetstream=True, config=json.dumps(SERVER)[1:-1]).start()
        make_stream_and_consumer(broker.url)
        # Debian's user of this name has another number than the official images' one.
        user = int(machine.run("id", "-u", "ceph"))
        host.mkdir()
        shutil.copy(podman.context / "rgw_nats.so", host)
        (host / "nkey_seed").write_text(PLACEHOLDERS["GATEWAY_SEED"])
        (host / "nkey_seed").chmod(0o400)
        shutil.chown(host / "nkey_seed", user, user)
        specification = cephadm()
        (file,) = specification["custom_configs"]
        file["content"] = file["content"].replace("nats://nats.example:4222", broker.url)
        data = directory / "cephadm"
        fsid = write_daemon_files(cluster, data, name)
        command = container_command(specification, data, fsid, name, gateway_image, user)
        # The host's directory is not touched, and there is no systemd to keep the container.
        assert command.count("/opt/rgw_nats:/opt/rgw_nats:ro,z") == 1
        command = [word.replace("/opt/rgw_nats:/opt", f"{host}:/opt", 1) for word in command]
        for option, arguments in (("-d", 0), ("--log-driver", 1), ("--conmon-pidfile", 1), ("--cidfile", 1)):
            place = command.index(option)
            del command[place : place + 1 + arguments]
        command.remove("--cgroups=split")
        assert command[1] == "run"
        with podman.spawn(*command[2:]) as gateway:
            try:
                wait_until(lambda: is_up(cluster, gateway), "radosgw to answer", timeout=120, pause=0.2)
                cluster.s3().create_bucket(Bucket="photos")
                cluster.s3().put_object(Bucket="photos", Key="cephadm", Body=b"x")
                subject, record = next_event(broker.url)
                assert (subject, record["s3"]["object"]["key"]) == ("s3.photos.ObjectCreated:Put", "cephadm")
            finally:
                podman("kill", "--all")
    finally:
        cluster.close()


def write_daemon_files(cluster, data, name):
    """What cephadm's manager gives to a gateway: a short configuration and a key. Returns the cluster's fsid."""
    configuration = cluster.machine.path("/etc/ceph/ceph.conf").read_text()
    (fsid,) = re.findall(r"^fsid = (.+)$", configuration, re.MULTILINE)
    (hosts,) = re.findall(r"^mon host = (.+)$", configuration, re.MULTILINE)
    frontends = f"beast endpoint=127.0.0.1:{cluster.s3_port}"
    cluster.machine.run("ceph", "config", "set", f"client.rgw.{name}", "rgw_frontends", frontends)
    caps = ("mon", "allow *", "mgr", "allow rw", "osd", "allow rwx")
    keyring = cluster.machine.run("ceph", "auth", "get-or-create", f"client.rgw.{name}", *caps)
    directory = data / fsid / f"rgw.{name}"
    directory.mkdir(parents=True)
    (directory / "config").write_text(f"[global]\nfsid = {fsid}\nmon host = {hosts}\n")
    (directory / "keyring").write_text(keyring)
    return fsid


def is_up(cluster, gateway):
    assert gateway.poll() is None, "the container has ended"
    try:
        cluster.s3("none", "none").list_buckets()
    except Exception as error:
        return getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode") == 403
    return True


def test_the_job_fills_the_volume(podman, library_image, tmp_path):
    (container,) = containers(manifest("Job", "rgw-nats-library"))
    (mount,) = container["volumeMounts"]
    # Twice, as for another version.
    for _ in range(2):
        volume = f"--volume={tmp_path}:{mount['mountPath']}"
        podman.run(*OFFLINE, volume, library_image, *container["command"], shell("rgw-nats-library"))
    (library,) = tmp_path.iterdir()
    assert library.name == "rgw_nats.so"
    # radosgw is user 167.
    assert library.stat().st_mode & 0o777 == 0o755
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    built = podman.run(*OFFLINE, library_image, "busybox", "sha256sum", "/opt/rgw_nats/rgw_nats.so")
    assert (
        built.split()[0]
        == subprocess.run(["sha256sum", library], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[0]
    )


def test_the_server_of_rocks_serves(podman, library_image, tmp_path):
    """As its Deployment says: another user than root, a root file system that can't be written to."""
    (container,) = containers(manifest("Deployment", "rgw-nats-rocks"))
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    (port,) = free_ports(1)
    command = [f"127.0.0.1:{port}" if word == "8080" else word for word in container["command"]]
    user = f"--user={security['runAsUser']}"
    with podman.spawn("--network=host", "--read-only", user, library_image, *command) as server:
        try:
            url = f"http://127.0.0.1:{port}"

            def listens():
                assert server.poll() is None, "the container has ended"
                try:
                    path = container["readinessProbe"]["httpGet"]["path"]
                    return urllib.request.urlopen(url + path, timeout=5).read()
                except OSError:
                    return None

            assert b"rgw_nats" in wait_until(listens, "busybox to listen")
            command = ["luarocks", "--lua-version=5.4", "install", "--tree", tmp_path, "rgw_nats", "--only-server", url]
            subprocess.run(command, check=True, capture_output=True)
            assert (Path(tmp_path) / "lib/lua/5.4/rgw_nats.so").exists()
        finally:
            podman("kill", "--all")
