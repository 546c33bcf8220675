"""Runs scripts in the driver that stands in for radosgw: a state for each request. Counts instructions, takes times."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from harness.machine import free_ports
from report import PROJECT

PROGRAMS = PROJECT / "build" / "bench"
#: radosgw's allocator, from 18.2 on.
ALLOCATOR = "/usr/lib/x86_64-linux-gnu/libtcmalloc.so.4"

NOTHING = ""
BARE = 'local bare = require("bare")'
READ = 'local bare = require("bare")\nbare.read(Request)'
REQUIRE = 'local nats = require("rgw_nats")'
NOTIFY = 'local nats = require("rgw_nats")\nnats.notify(Request, "{file}")'
#: What one writes who has luasocket and no module: a connection for each request, and a smaller record.
CONNECT = """
local socket = require("socket")
local nats = socket.tcp()
nats:connect("127.0.0.1", {port})
nats:setoption("tcp-nodelay", true)
nats:receive("*l")
local record = string.format(
  '{{"Records":[{{"eventName":"ObjectCreated:Put","eventTime":"%s","s3":{{"bucket":{{"name":"%s"}},' ..
  '"object":{{"key":"%s","size":%d}}}}}}]}}',
  Request.Time, Request.Bucket.Name, Request.Object.Name, Request.Object.Size)
nats:send(string.format('CONNECT {{"verbose":false}}\\r\\nPUB s3.%s %d\\r\\n%s\\r\\nPING\\r\\n',
  Request.Bucket.Name, #record, record))
nats:receive("*l")
nats:close()
"""
#: Whether all is delivered, and how that went.
READY = """
local one = require("rgw_nats").status().connections[1]
if not one or not one.connected or one.pending ~= 0 then return false end
if one.rejected ~= 0 or one.refused ~= 0 or one.dropped ~= 0 then error("messages were lost") end
return true
"""
#: The driver's request matches each of these.
THREE_RULES = [
    'bucket = "my*"',
    'bucket = "mybucket"\nfilter = { prefix = "images/" }',
    'events = ["s3:ObjectCreated:*"]\nfilter = { suffix = ".jpg" }',
]
ONE_RULE = ['bucket = "mybucket"']


class Workshop:
    """A directory with scripts in it, which run on one Lua, and a nats-server."""

    def __init__(self, module, jetstream=False, lua="5.3"):
        self._lua = lua
        self.directory = Path(tempfile.mkdtemp(prefix="rgw_nats-bench-", dir="/var/tmp"))
        for library in (module, PROGRAMS / "bare.so"):
            shutil.copy(library, self.directory / Path(library).name)
        self.port, self._monitor = free_ports(2)
        self.url = f"nats://127.0.0.1:{self.port}"
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self._monitor)]
        if jetstream:
            command += ["-js", "-sd", str(self.directory / "jetstream")]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._number = 0
        for _ in range(500):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self._monitor}/healthz", timeout=5).close()
                return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError("nats-server does not answer")

    def close(self):
        self._server.terminate()
        self._server.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def file(self, text, suffix):
        self._number += 1
        path = self.directory / f"{self._number}{suffix}"
        path.write_text(text)
        return path

    def configuration(self, rules, more=""):
        """A file with so many rules, each as its own lines."""
        text = f'url = "{self.url}"\n{more}\n'
        for number, rule in enumerate(rules):
            text += f'[[notification]]\nid = "rule-{number}"\n{rule}\n'
        return self.file(text, ".toml")

    def notify(self, rules, more=""):
        """The script of an administrator, with a file of these rules."""
        return NOTIFY.format(file=self.configuration(rules, more))

    def _run(self, script, ready, arguments, before=(), environment=None):
        path = f"/usr/share/lua/{self._lua}/?.lua"
        command = [*before, PROGRAMS / f"state{self._lua}", "-c", self._cpath(), "-p", path]
        if ready:
            command += ["-r", self.file(READY, ".lua")]
        command += [*arguments, self.file(script, ".lua")]
        variables = os.environ | {"LD_PRELOAD": ALLOCATOR} | (environment or {})
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, env=variables, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{script}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def _cpath(self):
        return f"{self.directory}/?.so;/usr/lib/x86_64-linux-gnu/lua/{self._lua}/?.so"

    def times(self, script, ready=False, count=2000, arguments=()):
        """What the driver says of so many requests."""
        return json.loads(self._run(script, ready, ["-n", count, *arguments]))

    def instructions(self, script, ready=False, count=100, arguments=()):
        """Instructions of one request on its own thread, by callgrind."""
        out = Path(tempfile.mkdtemp(dir=self.directory))
        before = ["valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={out}/out"]
        self._run(script, ready, ["-n", count, "-b", count, *arguments], before)
        # Part 1 is what was measured; thread 1 ran it.
        text = (out / "out.1-01").read_text()
        return int(re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)[1]) / count
