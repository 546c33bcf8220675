"""The gateway runs on the Lua that this run is for (--lua)."""

import pytest
from harness.cluster import LUA_LIBRARY

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
    assert cluster.machine.run("radosgw", "--version", env={"LD_BIND_NOW": "1"}).startswith(f"ceph version {cluster.release}")
