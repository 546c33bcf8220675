"""A root file system to run servers in, and the servers' processes.

The cached root file system stays as it is: each machine is an overlay on it, mounted in a mount namespace of this
process' own. Mounts and servers are gone with this process, whatever ends it: the kernel takes the namespace down, and
sends KILL to each server when its parent dies.
"""

import atexit
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

E2E = Path(__file__).resolve().parent.parent
PROJECT = E2E.parent
#: What `make build` makes.
MODULE = PROJECT / "build/rgw_nats.so"
_CLONE_NEWNS = 0x20000
_MS_REC_PRIVATE = 0x4000 | 0x40000
_private = False


def private_mounts():
    """Moves this process into a mount namespace of its own; once is enough."""
    global _private
    if _private:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for result in (libc.unshare(_CLONE_NEWNS), libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None)):
        if result != 0:
            raise OSError(ctypes.get_errno(), "no mount namespace of its own; the tests must run as root")
    _private = True


def wait_until(condition, what, timeout=30.0, pause=0.02):
    """Waits for a condition and returns what it returned; fails by name after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(pause)


def patiently(work):
    """What `work` returns, once it does not raise: servers of a cluster need a while to agree; 60 s at most."""
    found, problems = [], []

    def attempt():
        try:
            found.append(work())
        except Exception as problem:
            problems.append(repr(problem))
            return False
        return True

    try:
        wait_until(attempt, "the cluster to answer", timeout=60, pause=0.2)
    except TimeoutError as late:
        raise TimeoutError(f"{late}; the last problem: {problems[-1]}") from late
    return found[-1]


def free_ports(count):
    """Ports on loopback that nobody listens on. All are held at once, so that they differ.

    They are below those that the system gives out to clients, so that none of these takes one before its server does.
    """
    sockets = []
    while len(sockets) < count:
        one = socket.socket()
        try:
            one.bind(("127.0.0.1", random.randint(10240, 32000)))
        except OSError:
            one.close()
            continue
        sockets.append(one)
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Process:
    """A server that this process started; ended by the pid that its pid file holds."""

    def __init__(self, popen, pid_file, log):
        self._popen = popen
        self.pid_file = pid_file
        self.log = log
        pid_file.write_text(f"{popen.pid}\n")

    @property
    def pid(self):
        return self._popen.pid

    def is_alive(self):
        return self._popen.poll() is None

    def send(self, number):
        if self.is_alive():
            os.kill(int(self.pid_file.read_text()), number)

    def stop(self, number=signal.SIGTERM, timeout=30):
        """Ends the server and returns its exit status; KILL if it takes longer than `timeout`."""
        self.send(number)
        return self.wait(timeout)

    def wait(self, timeout=30):
        """Waits for its end and returns its exit status; KILL if it takes longer than `timeout`."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._popen.wait()
            raise

    def threads(self):
        """The names of its threads."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return [(task / "comm").read_text().strip() for task in tasks]

    def resident(self):
        """Its resident memory in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Machine:
    """The root file system of one Ceph release, to write to and run servers in."""

    def __init__(self, release, directory):
        private_mounts()
        self.release = release
        self.directory = Path(directory)
        self.root = self.directory / "root"
        self._processes = []
        lower = subprocess.run(
            [E2E / "rootfs.sh", release], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
        for name in ("root", "upper", "work", "log"):
            (self.directory / name).mkdir(parents=True)
        options = f"lowerdir={lower},upperdir={self.directory}/upper,workdir={self.directory}/work"
        self._mount("-t", "overlay", "-o", options, "overlay", self.root)
        self._mount("-t", "proc", "proc", self.root / "proc")
        self._mount("--rbind", "/dev", self.root / "dev")
        atexit.register(self.close)

    def _mount(self, *arguments):
        subprocess.run(["mount", *map(str, arguments)], check=True)

    def path(self, inside):
        """Where a path of the machine is for this process."""
        return self.root / inside.lstrip("/")

    def _command(self, argv, user=None, env=None):
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", **(env or {})}
        until_death = ["setpriv", "--pdeathsig", "KILL"]
        # The change of user clears the signal that was asked for before.
        change = [*until_death, f"--reuid={user}", f"--regid={user}", "--init-groups"] if user else []
        inside = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *change, *map(str, argv)]
        return [*until_death, "chroot", str(self.root), *inside]

    def defaults(self):
        """What systemd gives to Ceph's servers; without it tcmalloc's caches are too small for radosgw's threads."""
        lines = self.path("/etc/default/ceph").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def run(self, *argv, check=True, timeout=120, env=None):
        """Runs a command in the machine; returns what it printed on standard output."""
        command = self._command(argv, env=env)
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def spawn(self, name, *argv, user=None, env=None, network=None):
        """Starts a server in the machine, with its output in log/<name>.out.

        `network` is the name of a network namespace, if it is to have one of its own.
        """
        command = self._command(argv, user, self.defaults() | (env or {}))
        if network:
            command = ["nsenter", f"--net=/run/netns/{network}", "--", *command]
        return self.launch(name, command)

    def launch(self, name, command, kind=Process):
        """Starts a command of the host's, which ends with the machine's servers; its output is in log/<name>.out."""
        log = self.directory / "log" / f"{name}.out"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        process = kind(popen, self.directory / f"{name}.pid", log)
        self._processes.append(process)
        return process

    def close(self):
        """Ends all servers and gives the disk back."""
        atexit.unregister(self.close)
        for process in reversed(self._processes):
            process.send(signal.SIGKILL)
        for process in self._processes:
            if process.is_alive():
                process._popen.wait()
        subprocess.run(["umount", "-R", "-l", str(self.root)], check=False, stderr=subprocess.DEVNULL)
        for name in ("upper", "work"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
