"""The gateway runs on the Lua that this run is for (--lua)."""

import subprocess
import sys

import pytest
from harness.cluster import LUA_LIBRARY
from harness.machine import PROJECT

pytestmark = pytest.mark.main

LOOK = f"""
local file = assert(io.open("/ceph/lua.txt", "w"))
local found, problem = package.loadlib("{LUA_LIBRARY}", "lua_newuserdata")
file:write(_VERSION, "\\n", found and "found" or problem:match("undefined symbol.*"))
file:close()
"""


def test_script_sees_the_lua_of_this_run(cluster, s3, gateway_lua):
    cluster.put_script(LOOK)
    # The client waits for this one's script.
    s3.delete_object(Bucket="bkt", Key="none")
    version, newuserdata = cluster.machine.path("/ceph/lua.txt").read_text().splitlines()
    assert version == f"Lua {gateway_lua}"
    # In 5.4 it is a macro. radosgw itself, compiled for 5.3, still needs the function: all that it refers to is there.
    assert newuserdata == ("found" if gateway_lua == "5.3" else "undefined symbol: lua_newuserdata")
    bound = cluster.machine.run("radosgw", "--version", env={"LD_BIND_NOW": "1"})
    assert bound.startswith(f"ceph version {cluster.release}")


@pytest.mark.parametrize(
    "command",
    [
        ("make", "demo", "CEPH=16.2", "LUA=5.4"),
        (sys.executable, "e2e/demo.py", "--release=16.2", "--lua=5.4"),
        (sys.executable, "-m", "pytest", "e2e/test_lua.py", "--release=16.2", "--lua=5.4"),
    ],
    ids=["make", "demo", "pytest"],
)
def test_lua_5_4_is_refused_for_ceph_16_2(command):
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode not in (0, 1)
    assert "Ceph 16.2 is tested on Lua 5.3 alone, which its official packages and image have" in done.stderr
    assert "radosgw" not in done.stdout
