"""A plain Lua interpreter with the module, outside of any gateway."""

import json
import os
import subprocess
from pathlib import Path

from .machine import E2E, MODULE, PROJECT


class LuaError(Exception):
    """What a chunk raised."""


def literal(value):
    """A value as Lua writes it; bytes and text are strings."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return '"' + "".join(f"\\{byte:03}" for byte in value) + '"'
    if isinstance(value, dict):
        return "{" + ",".join(f"[{literal(key)}]={literal(member)}" for key, member in value.items()) + "}"
    return "{" + ",".join(map(literal, value)) + "}"


class Lua:
    """Runs chunks one after another in one state. Strings come back as text with a character for each byte."""

    def __init__(self, version="5.3"):
        variables = {name: value for name, value in os.environ.items() if not name.startswith("LUA_")} | {
            "LUA_CPATH": f"{MODULE.parent}/?.so;;",
            "LUA_PATH": f"{PROJECT}/lua/?.lua;;",
        }
        self._process = subprocess.Popen(
            [f"lua{version}", Path(E2E) / "shell.lua"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=variables,
        )
        self("nats = require('rgw_nats')")

    def __call__(self, chunk, *arguments):
        """Runs a chunk, whose `...` are the arguments; returns its result, or a list of them."""
        text = f"return (function(...) {chunk}\nend)({', '.join(map(literal, arguments))})".encode()
        self._process.stdin.write(b"%d\n%s" % (len(text), text))
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise LuaError(f"Lua has ended with {self._process.wait()}")
        answer = json.loads(line)
        results = answer["results"]
        if not answer["ok"]:
            raise LuaError(results[0])
        return results[0] if len(results) == 1 else results

    def close(self):
        """Ends it; returns the exit status."""
        self._process.stdin.close()
        return self._process.wait(30)
