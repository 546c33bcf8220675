"""What a gateway and radosgw-admin print where the library cannot be loaded or installed: as docs/install.md has it.
tests/deploy/test_messages.py has what needs no gateway.
"""

import re
import shutil
import struct
import sys

import pytest
from harness.machine import PROJECT, wait_until

sys.path.insert(0, str(PROJECT / "tests/deploy"))

from pages import is_documented  # noqa: E402

DIRECTORY = "/opt/messages"


@pytest.fixture
def printed(cluster, s3):
    """Puts an object with a script that requires the module; returns what radosgw's log has of it."""
    directory = cluster.machine.path(DIRECTORY)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)

    def run(library=None):
        if library:
            (directory / "rgw_nats.so").write_bytes(library)
        before = len(cluster.log())
        # Nothing else, as the tests' cluster has the module elsewhere.
        cluster.put_script(f'package.cpath = "{DIRECTORY}/?.so"\nlocal nats = require("rgw_nats")\n')
        s3.put_object(Bucket="bkt", Key="k", Body=b"x")

        def lines():
            text = cluster.log()[before:]
            return "Lua ERROR" in text and "req done" in text.split("Lua ERROR")[1] and text

        return wait_until(lines, "radosgw's log")

    return run


def test_a_library_that_is_not_there(printed):
    text = printed()
    assert "module 'rgw_nats' not found:\n" in text
    assert f"no file '{DIRECTORY}/rgw_nats.so'" in text
    assert is_documented(text)


def test_a_library_for_another_processor(printed):
    library = bytearray((PROJECT / "build/rgw_nats.so").read_bytes())
    library[18:20] = struct.pack("<H", 183)
    text = printed(library)
    assert f"{DIRECTORY}/rgw_nats.so: cannot open shared object file: No such file or directory" in text
    assert is_documented(text)


def test_which_lua(cluster, s3):
    """The two ways that docs/install.md has to see it."""
    libraries = cluster.machine.run("sh", "-c", 'ldd "$(command -v radosgw)" | grep lua')
    (lua,) = re.findall(r"liblua-?(5\.[34])\.so", libraries.split("=>")[0])
    before = len(cluster.log())
    cluster.put_script("error(_VERSION)")
    s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    wait_until(lambda: re.search(r"Lua ERROR: .*: Lua 5\.[34]\n", cluster.log()[before:]), f"Lua {lua} in the log")


def add(cluster, **options):
    """What `radosgw-admin script-package add` prints when it fails."""
    with pytest.raises(RuntimeError) as failed:
        cluster.machine.run("/usr/bin/radosgw-admin", "script-package", "add", "--package=rgw_nats", **options)
    return str(failed.value)


def test_no_luarocks(cluster):
    text = add(cluster, env={"PATH": "/nowhere"})
    assert "rgw_nats .error: -10" in text
    assert is_documented(text)


def test_no_rock(cluster):
    """No network is needed: the server that luarocks is told of is not there."""
    configuration = cluster.machine.path("/ceph/luarocks.lua")
    configuration.write_text('rocks_servers = { "/nowhere" }\n')
    text = add(cluster, env={"LUAROCKS_CONFIG": "/ceph/luarocks.lua"})
    assert "rgw_nats .error: -22" in text
    assert is_documented(text)
