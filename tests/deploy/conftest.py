"""Tests of deploy/ and of the pages that show it. They need no Ceph: a nats-server, Lua, luac, shellcheck, and the
module that `make build` makes.
"""

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(Path(__file__).resolve().parent), str(PROJECT / "e2e")]
