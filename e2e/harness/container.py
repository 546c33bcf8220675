"""A gateway in a real container: podman and runc, uid 167, a read-only root file system, and volumes.

What differs from a container of cephadm or Rook: the image is the cached root file system of Debian's release, and the
network is the host's, on whose loopback mon and osd are. container.sh ends the container with this process.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from .cluster import LUA_LIBRARY, Cluster
from .machine import E2E, Process, wait_until

#: The user and group `ceph` of the official images.
CEPH = 167
#: In the container's configuration, behind what the harness has.
_CONF = """
keyring = /etc/ceph/keyring
log file =
log to stderr = true
err to stderr = true
run dir = /run/ceph
admin socket = /run/ceph/$name.asok
rgw luarocks location = {luarocks}
"""
_OPTIONS = (
    # nproc is a limit of the user on the whole host, so that two gateways in containers would share it.
    "--ulimit=nofile=1024:1024",
    "--ulimit=nproc=1000:1000",
    "--network=host",
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp:rw,nosuid,nodev,size=16m",
    "--security-opt=no-new-privileges",
    # Debian's passwd has no 167, and podman would add it.
    "--passwd=false",
)


def _namespaced(pid):
    """A process's ids, from the outermost namespace that this process sees to its own."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            return line.split()[1:]
    raise ProcessLookupError(pid)


def _printed(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Container(Process):
    """A container that this process started: signals go to its first process, as podman and the kubelet send them."""

    _init = None

    @property
    def pid(self):
        """The first process, by its number on the host; None if there is none yet or none any more."""
        if self._init is None:
            self._init = self._find()
        return self._init

    def _find(self):
        """Looks below container.sh for the process that is the first one of a namespace within podman's."""
        pids = [self._popen.pid]
        for pid in pids:
            try:
                ids = _namespaced(pid)
                if len(ids) == len(_namespaced("self")) + 2 and ids[-1] == "1":
                    return pid
                for task in Path(f"/proc/{pid}/task").iterdir():
                    pids.extend(map(int, (task / "children").read_text().split()))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return None

    def send(self, number):
        if not self.is_alive():
            return
        if self.pid:
            os.kill(self.pid, number)
        else:
            self._popen.terminate()

    def status(self, name):
        """A line of /proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines)[name].strip()

    def path(self, inside):
        """Where a path of the container is for this process."""
        return Path(f"/proc/{self.pid}/root") / inside.lstrip("/")

    def descriptors(self):
        """How many there are of each kind, by the names that the kernel gives them without numbers; sockets aside."""
        names = [re.sub(r"\d+", "", os.readlink(path)) for path in Path(f"/proc/{self.pid}/fd").iterdir()]
        return Counter(name for name in names if not name.startswith("socket:"))

    def loaded(self):
        """Where in the container the module was loaded from."""
        maps = Path(f"/proc/{self.pid}/maps").read_text()
        return set(re.findall(r"(/\S*/rgw_nats\.so)$", maps, re.MULTILINE))

    def run(self, *argv):
        """Runs a command in the container, as its user; returns what it printed, and its exit status."""
        uid, gid = self.status("Uid").split()[0], self.status("Gid").split()[0]
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--root", f"--setuid={uid}", f"--setgid={gid}", "--"]
        done = subprocess.run([*enter, *argv], capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr, done.returncode


class ContainedCluster(Cluster):
    """A cluster whose gateway runs in a container, with the volumes that a test gives it."""

    def __init__(self, release, directory, luarocks="/var/lib/luarocks", **options):
        super().__init__(release, directory, conf=_CONF.format(luarocks=luarocks), **options)
        self._starts = 0
        self._arguments = {}
        self._image = _printed(E2E / "rootfs.sh", release)
        self._fixed = {"/etc/ceph": (self.volume("ceph"), "ro"), "/run/ceph": (self.volume("run", CEPH), "rw")}
        if self.lua == "5.4":
            self._fixed[LUA_LIBRARY] = (_printed(E2E / "lua54.sh"), "ro")

    def start_storage(self):
        """Brings up mon and osd, and makes the user of the tests."""
        self._start_storage()
        self.admin("user", "create", "--uid=tester", "--display-name=Tester", "--access-key=test", "--secret-key=test")
        # Everything else that the container needs to know of the cluster.
        etc = self.volume("ceph")
        shutil.copy(self.machine.path("/etc/ceph/ceph.conf"), etc)
        keyring = shutil.copy(self.machine.path("/ceph/keyring"), etc)
        shutil.chown(keyring, CEPH, CEPH)

    def volume(self, name, owner=0):
        """The directory of a volume on the host, made if it is not there; root's, as a new volume is."""
        path = self.machine.directory / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            os.chown(path, owner, owner)
        return path

    def start_gateway(self, volumes=None, env=None, as_root=False):
        """Starts radosgw in a new container and waits until it answers; as the last time, if no volumes are given.

        `volumes` maps paths in the container to (path on the host, "ro" or "rw"). radosgw is 167 from the start, or,
        as Rook and cephadm start it, once it has begun as root.
        """
        if volumes is not None:
            self._arguments = {"volumes": volumes, "env": env or {}, "as_root": as_root}
        self.gateway = self._launch(**self._arguments)
        wait_until(self.answers, "radosgw to answer", timeout=120, pause=0.05)

    def _launch(self, volumes, env, as_root):
        self._starts += 1
        name = f"{os.getpid()}-{id(self):x}-{self._starts}"
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | self.machine.defaults() | env
        arguments = [
            *_OPTIONS,
            *(("--user=0:0", "--cap-drop=net_raw") if as_root else (f"--user={CEPH}:{CEPH}", "--cap-drop=all")),
            *(f"--volume={host}:{inside}:{mode}" for inside, (host, mode) in (self._fixed | volumes).items()),
            *(f"--env={key}={value}" for key, value in variables.items()),
            "--rootfs",
            f"{self._image}:O",
        ]
        # podman gives each container a HOME.
        command = ["env", "-u", "HOME", "radosgw", "-f", "-n", "client.rgw.a"]
        command += ["--setuser", CEPH, "--setgroup", CEPH] if as_root else []
        script = ["setpriv", "--pdeathsig", "TERM", E2E / "harness/container.sh", name]
        argv = [str(part) for part in (*script, *arguments, *command)]
        return self.machine.launch(f"radosgw-{self._starts}", argv, kind=Container)

    def log(self):
        """radosgw's own log: a container writes it to its standard error."""
        return self.journal()
