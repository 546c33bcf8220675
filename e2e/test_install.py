"""The three ways of installing, each on a real gateway that has no compiler: RGW's own package list with a directory of
rocks, `luarocks make` into a tree, and the bare library in a Lua directory. `make rock` must have made dist/.
"""

import os
import platform
import re
import shutil
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from harness import LUAS, Cluster, Consumer
from harness.cluster import FIND_MODULE, LUA_DIRECTORY
from harness.load import Writers
from harness.machine import PROJECT, wait_until

DIST = PROJECT / "dist"
BINARY = f"linux-{os.uname().machine}"
ROCKS = "/opt/rgw_nats/rocks"
#: Where RGW puts packages if nothing is configured.
STOCK_LOCATION = {"16.2": "/tmp/luarocks", "18.2": "/tmp/luarocks", "20.2": "/tmp/rgw_luarocks/$name"}
TREE = "/opt/rgw_nats/tree"
PRINT_VERSION = 'print(require("rgw_nats")._VERSION)'
#: What an administrator runs once on a gateway, for the luarocks that looks for a rock and the one that installs it.
CONFIGURE_LUAROCKS = f"""
for file in /etc/luarocks/config-5.?.lua; do echo 'rocks_servers = {{ "{ROCKS}" }}' >> "$file"; done
"""


def rock(pattern, directory=DIST):
    """The one rock of `make rock` that has such a name."""
    found = list(directory.glob(f"rgw_nats-*.{pattern}.rock"))
    if len(found) != 1:
        pytest.fail(f"there is no rock to install in {directory}; run: make rock")
    return found[0]


def luarocks(lua, *arguments, cwd=None):
    """Runs luarocks of this machine, with its cargo; nothing may come over the network."""
    cache = os.environ.get("RGW_NATS_CACHE", "/var/cache/rgw_nats")
    # Not the target directory of this clone: cargo would take what is built of one copy for that of another. The
    # whole-program optimization, which takes a minute, is none of this test's concern.
    env = os.environ | {"CARGO_TARGET_DIR": f"{cache}/target-install", "CARGO_NET_OFFLINE": "true"}
    env |= {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    subprocess.run(["luarocks", "--lua-version", lua, *map(str, arguments)], check=True, env=env, cwd=cwd)


def rgws_luarocks(release, lua, tree):
    """The command by which an RGW that was compiled for a Lua installs a package, and the variables it is run with."""
    options = ["--no-doc"] if release == "20.2" else []
    variables = {"HOME": "/opt"} if release == "20.2" else {}
    command = ["luarocks", "install", *options, "--lua-version", lua, "--tree", tree, "--deps-mode", "one", "rgw_nats"]
    return command, variables


def repair(symptom):
    """What docs/install.md says of a symptom that is printed: cause and repair."""
    (row,) = [line for line in (PROJECT / "docs/install.md").read_text().splitlines() if symptom in line]
    return " | ".join(row.split(" | ")[-2:])


def version_in(tree, lua):
    """The module's version, from a tree of luarocks on this machine."""
    command = [f"lua{lua}", "-e", f'package.cpath = "{tree}/lib/lua/{lua}/?.so"; {PRINT_VERSION}']
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def machine_with_rocks(release, gateway_lua, directory):
    """A cluster of these tests' own, without the module, and with the rocks in a directory."""
    rock(BINARY)
    conf = f"rgw luarocks location = {STOCK_LOCATION[release]}"
    cluster = Cluster(release, directory / "install", lua=gateway_lua, conf=conf)
    # 20.2 installs packages where only the user who started it can read them; systemd's User=ceph.
    cluster.user = "ceph" if release == "20.2" else None
    try:
        shutil.copytree(DIST, cluster.machine.path(ROCKS))
        cluster.start()
        cluster.s3().create_bucket(Bucket="bkt")
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(machine_with_rocks):
    """That cluster; it has no packages and no script after a test."""
    yield machine_with_rocks
    machine_with_rocks.admin("script", "rm", "--context=postRequest", check=False)
    for package in machine_with_rocks.admin("script-package", "list", check=False).splitlines():
        machine_with_rocks.admin("script-package", "rm", f"--package={package}", check=False)


@pytest.fixture
def machine(cluster):
    """The gateway's machine."""
    return cluster.machine


@pytest.fixture
def put_arrives(cluster, broker):
    """Puts an object with a script that finds the module in a given way; fails if no event of it arrives."""
    consumer = Consumer(broker)

    def check(key, directory, find=""):
        cluster.put_script(
            f'{find}local nats = require("rgw_nats")\nassert(nats.notify(Request, {{url = "{broker.url}"}}))\n'
        )
        cluster.s3().put_object(Bucket="bkt", Key=key, Body=b"x")
        try:
            event = consumer.wait(1, timeout=15).pop()
        except TimeoutError:
            errors = [line for line in cluster.log().splitlines() if "Lua" in line or "lua" in line]
            pytest.fail("no event; radosgw says:\n" + "\n".join(errors[-5:]))
        consumer.events.clear()
        assert (event.name, event.key) == ("ObjectCreated:Put", key)
        maps = Path(f"/proc/{cluster.gateway.pid}/maps").read_text()
        loaded = {
            Path("/", path) for path in re.findall(rf"{cluster.machine.root}(/.*/rgw_nats\.so)$", maps, re.MULTILINE)
        }
        assert any(path.is_relative_to(directory) for path in loaded), f"loaded from {loaded}"

    yield check
    consumer.close()


def test_there_is_no_compiler_in_the_gateways_machine(machine):
    assert machine.run("sh", "-c", "command -v cargo rustc gcc cc tcc clang", check=False) == ""


@pytest.mark.main
@pytest.mark.parametrize("lua", LUAS)
def test_rgws_own_command_installs_the_rock_for_either_lua(machine, release, lua):
    """The gateways of these tests install for 5.3, whatever they run on; those of EL install for 5.4."""
    machine.run("sh", "-c", CONFIGURE_LUAROCKS)
    tree = f"/opt/tree{lua}"
    command, variables = rgws_luarocks(release, lua, tree)
    machine.run(*command, env=variables)
    find = f'package.path, package.cpath = "", "{tree}/lib/lua/{lua}/?.so"'
    loaded = machine.run(f"lua{lua}", "-e", f"{find}; {PRINT_VERSION}; print(_VERSION)").splitlines()
    assert loaded[0].startswith("rgw_nats ")
    assert loaded[1] == f"Lua {lua}"


def test_a_source_rock_is_never_built_unasked(machine, release):
    """luarocks builds from source where a server has no rock for its processor, and RGW runs it at each start."""
    server = "/opt/other_processor"
    machine.run("cp", "-r", ROCKS, server)
    binary = machine.path(f"{server}/{rock(BINARY).name}")
    binary.rename(binary.with_name(binary.name.replace(platform.machine(), "sparc")))
    machine.run("luarocks-admin", "make_manifest", server)
    command, variables = rgws_luarocks(release, "5.3", "/opt/never")
    search = ("luarocks", "search", "--porcelain", "rgw_nats")
    assert machine.run(*search, f"--only-server={server}") == ""
    with pytest.raises(RuntimeError, match="No results matching query were found"):
        machine.run(*command, f"--only-server={server}", env=variables)
    # With the server of the source rock luarocks is asked to build, and begins by looking for headers.
    assert machine.run(*search, f"--only-server={server}/source").startswith("rgw_nats")
    with pytest.raises(RuntimeError, match="Failed finding Lua header"):
        machine.run(*command, f"--only-server={server}/source", env=variables)


def test_a_missing_luarocks_is_named_where_a_package_is_added(cluster, machine):
    luarocks = machine.path("/usr/bin/luarocks")
    luarocks.rename(machine.path("/usr/bin/away"))
    try:
        with pytest.raises(RuntimeError, match=r"exit 10\nERROR: failed to add [lL]ua package:  rgw_nats \.error: -10"):
            cluster.admin("script-package", "add", "--package=rgw_nats")
    finally:
        machine.path("/usr/bin/away").rename(luarocks)
    assert "apt install luarocks" in repair("package:  rgw_nats .error: -10")


def test_a_rock_is_never_installed_for_another_lua(machine):
    file = f"{ROCKS}/{rock(BINARY).name}"
    # luarocks 3.11 wants an interpreter of that Lua to be there first.
    with pytest.raises(RuntimeError, match="lua >= 5.3, < 5.5|Could not find Lua 5.2 in PATH"):
        machine.run("luarocks", "--lua-version", "5.2", "install", "--tree", "/opt/wrong", file)
    assert machine.run("find", "/opt/wrong", "-name", "*.so", check=False) == ""


def test_a_luarocks_for_lua_5_1_finds_the_rock_and_does_not_install_it(machine, release):
    """What RGW's `script-package add` runs where Debian has installed lua5.1 with luarocks, as it does by itself."""
    if release == "20.2":
        pytest.skip("luarocks 3.11 wants a lua5.1 to be there; the machine has none")
    base = ("luarocks", "--lua-version", "5.1")
    found = machine.run(*base, "search", "--porcelain", "--binary", "rgw_nats", f"--only-server={ROCKS}")
    assert found.split()[0] == "rgw_nats"
    with pytest.raises(RuntimeError, match="lua >= 5.3, < 5.5"):
        machine.run(*base, "install", "--tree", "/opt/wrong", "rgw_nats", f"--only-server={ROCKS}")
    assert machine.run("find", "/opt/wrong", "-name", "*.so", check=False) == ""


@pytest.mark.main
def test_rgw_installs_the_rock_of_its_package_list(cluster, machine, release, put_arrives):
    machine.run("sh", "-c", CONFIGURE_LUAROCKS)
    if release != "20.2":
        # luarocks as it is where lua5.1 is installed, too.
        machine.path("/etc/luarocks/default-lua-version.lua").write_text('return "5.1"\n')
    cluster.admin("script-package", "add", "--package=rgw_nats")
    if release == "20.2":
        cluster.admin("script-package", "reload")
        put_arrives("reloaded", "/tmp")
    cluster.restart_gateway()
    put_arrives("restarted", "/tmp")


def test_a_reload_of_packages_under_load_loses_no_event(cluster, machine, release, broker):
    """Each reload brings another copy of the library, on the same spool, while requests still run with the former."""
    if release != "20.2":
        pytest.skip("only 20.2 reloads packages")
    consumer = Consumer(broker)
    consumer.make_stream("events", "s3.>")
    machine.run("sh", "-c", CONFIGURE_LUAROCKS)
    spool = machine.path("/ceph/spool-reload")
    spool.mkdir()
    shutil.chown(spool, *(spool.parent / "rgw").stat()[4:6])

    def copies():
        maps = Path(f"/proc/{cluster.gateway.pid}/maps").read_text()
        return set(re.findall(r"(/\S*/rgw_nats\.so)", maps))

    before = copies()
    cluster.admin("script-package", "add", "--package=rgw_nats")
    cluster.admin("script-package", "reload")
    options = f'{{ url = "{broker.url}", idle_timeout_ms = 1000, spool = {{ directory = "/ceph/spool-reload" }} }}'
    cluster.put_script(f'local nats = require("rgw_nats")\nassert(nats.notify(Request, {options}))\n')
    try:
        with Writers(cluster) as writers:
            for _ in range(3):
                time.sleep(3)
                cluster.admin("script-package", "reload")
            time.sleep(3)
        total = writers.stop()
        assert total > 500
        writers.check(consumer, "events", total)
        assert len(copies() - before) == 4
        # Those that have nothing to do have let their connections go.
        wait_until(lambda: len(broker.connections()) <= 1, "the former copies to sleep", timeout=60)
    finally:
        consumer.close()


def test_rgw_installs_the_rock_of_a_server_named_in_its_package_list(cluster, machine, release, put_arrives):
    if release == "16.2":
        pytest.skip("16.2 takes all of it for the name of a package")
    machine.run("sh", "-c", "sed -i /rocks_servers/d /etc/luarocks/config-5.?.lua")
    cluster.admin("script-package", "add", f"--package=rgw_nats --only-server={ROCKS}")
    cluster.restart_gateway()
    put_arrives("named-server", "/tmp")


def test_luarocks_make_installs_into_a_tree_that_a_script_names(cluster, machine, directory, tmp_path, put_arrives):
    # What git knows of this clone, as the source rock has it.
    with zipfile.ZipFile(rock("src", DIST / "source")) as whole:
        (archive,) = [name for name in whole.namelist() if name.endswith(".tar.gz")]
        with whole.open(archive) as packed, tarfile.open(fileobj=packed) as files:
            files.extractall(tmp_path, filter="data")
    (clone,) = tmp_path.iterdir()
    tree = Path(directory) / "tree"
    luarocks("5.3", "make", "--tree", tree, cwd=clone)
    assert version_in(tree, "5.3").startswith("rgw_nats ")
    shutil.copytree(tree, machine.path(TREE))
    cluster.restart_gateway()
    put_arrives("tree", TREE, find=f'package.cpath = "{TREE}/lib/lua/5.3/?.so;" .. package.cpath\n')


def test_the_source_rock_builds(release, directory):
    """For another processor, say."""
    if release != "18.2":
        pytest.skip("needs no Ceph, so once is enough: with 18.2")
    tree = Path(directory) / "tree"
    luarocks("5.4", "install", "--tree", tree, "rgw_nats", f"--only-server={DIST}/source")
    assert version_in(tree, "5.4").startswith("rgw_nats ")


@pytest.mark.main
def test_the_library_alone_is_enough_where_radosgw_misses_luarocks(cluster, machine, release, put_arrives):
    machine.run("sh", "-c", CONFIGURE_LUAROCKS)
    cluster.admin("script-package", "add", "--package=rgw_nats")
    machine.run("mkdir", "-p", LUA_DIRECTORY)
    machine.run("unzip", "-j", f"{ROCKS}/{rock(BINARY).name}", "lib/rgw_nats.so", "-d", LUA_DIRECTORY)
    luarocks = machine.path("/usr/bin/luarocks")
    luarocks.rename(machine.path("/usr/bin/away"))
    before = len(cluster.log())
    try:
        cluster.restart_gateway()
    finally:
        machine.path("/usr/bin/away").rename(luarocks)
    symptom = "failed to find luarocks" if release == "20.2" else "failed to install lua packages from allowlist"
    assert symptom in cluster.log()[before:]
    assert "luarocks" in repair(symptom)
    put_arrives("bare", LUA_DIRECTORY, find=FIND_MODULE)
