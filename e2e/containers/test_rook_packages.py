"""RGW's package list in a container: rocks in a directory that is mounted, luarocks told of it by its environment.

A container has no HOME, and 167 no name. `make rock` must have made dist/.
"""

import contextlib
import shutil
import signal
import subprocess

import pytest
from harness import wait_until
from harness.container import CEPH
from harness.machine import MODULE, PROJECT

from containers.conftest import give_script
from containers.test_rook import LAYOUT

ROCKS = "/opt/rgw_nats"
#: What luarocks of the gateway and that of the administrator read.
ENVIRONMENT = {"LUAROCKS_CONFIG": f"{ROCKS}/luarocks.lua"}
LOCATION = "/var/lib/luarocks"


@pytest.fixture(scope="module", autouse=True)
def rocks(whole_cluster):
    """The volume with the rocks; an administrator has put rgw_nats on the list, where it is mounted as well."""
    if not list((PROJECT / "dist").glob("rgw_nats-*.linux-*.rock")):
        pytest.fail("there is no rock to install in dist; run: make rock")
    cluster = whole_cluster
    volume = cluster.volume("rocks")
    shutil.copytree(PROJECT / "dist", volume / "rocks")
    (volume / "luarocks.lua").write_text(f'rocks_servers = {{ "{ROCKS}/rocks" }}\n')
    shutil.copytree(volume, cluster.machine.path(ROCKS))
    cluster.admin("script-package", "add", "--package=rgw_nats", env=ENVIRONMENT)
    yield volume
    cluster.admin("script-package", "rm", "--package=rgw_nats")


@pytest.fixture
def start(cluster, volume, rocks, configuration):
    """Starts a gateway without the module's volume, and with one for luarocks: whose it is, and how large."""
    volume.update({"rgw_nats.toml": configuration.text()})
    location = cluster.volume("luarocks")

    def start(owner, size="100%", **options):
        if cluster.gateway:
            cluster.stop_gateway(signal.SIGKILL)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=755,size={size}", "tmpfs", location], check=True)
        shutil.chown(location, owner, owner)
        volumes = {ROCKS: (rocks, "ro"), LOCATION: (location, "rw"), LAYOUT.config: (volume.directory, "ro")}
        cluster.start_gateway(volumes, env=ENVIRONMENT, **options)
        give_script(cluster, LAYOUT)
        configuration.put("k")
        return location

    yield start
    subprocess.run(["umount", "-l", location], check=True)


def test_a_gateway_that_is_167_installs_and_loads_the_package(cluster, start, configuration):
    start(owner=CEPH, size=2 * MODULE.stat().st_size + (2 << 20))
    wait_until(configuration.arrived, "the event")
    (loaded,) = cluster.gateway.loaded()
    assert loaded.startswith(f"{LOCATION}/")


def test_a_gateway_that_begins_as_root_can_not_read_its_package_on_20_2(cluster, release, start, configuration):
    """20.2 makes a directory that is its user's alone, before it becomes another one: Ceph's PR 62227."""
    location = start(owner=CEPH, as_root=True)
    if release == "20.2":
        wait_until(lambda: "module 'rgw_nats' not found" in cluster.log(), "the log to say so")
        assert list(location.rglob("rgw_nats.so"))
    else:
        wait_until(configuration.arrived, "the event")


def test_a_place_for_packages_that_can_not_be_written_to_is_named(cluster, start):
    location = start(owner=0)
    wait_until(lambda: "module 'rgw_nats' not found" in cluster.log(), "the log to say so")
    assert f"{LOCATION}/" in cluster.log()
    assert not list(location.iterdir())


def test_a_place_for_packages_that_is_too_small_ends_the_gateway(cluster, start):
    """luarocks leaves the part of the library for which there was room, and the loader does not survive that."""
    with contextlib.suppress(Exception):
        start(owner=CEPH, size=MODULE.stat().st_size * 3 // 2)
    wait_until(lambda: not cluster.gateway.is_alive(), "the gateway to end")
    assert "Caught signal (Bus error)" in cluster.journal()
