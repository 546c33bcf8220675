"""A nats-server of the machine's release."""

import json
import shutil
import signal
import urllib.request

from .machine import free_ports, wait_until


class Broker:
    """nats-server on loopback; restarts on the same port with the same store."""

    def __init__(self, machine, name="nats", jetstream=False, config=""):
        self._machine = machine
        self._name = name
        self.port, self._monitor = free_ports(2)
        self.url = f"nats://127.0.0.1:{self.port}"
        self.process = None
        lines = [
            f"server_name: {name}",
            f'listen: "127.0.0.1:{self.port}"',
            f'http: "127.0.0.1:{self._monitor}"',
            f'jetstream {{ store_dir: "/nats/{name}" }}' if jetstream else "",
            config,
        ]
        machine.path("/nats").mkdir(exist_ok=True)
        machine.path(f"/nats/{name}.conf").write_text("\n".join(lines))

    def start(self):
        self.process = self._machine.spawn(self._name, "nats-server", "-c", f"/nats/{self._name}.conf")
        wait_until(self._is_up, "nats-server to answer")
        return self

    def _is_up(self):
        if not self.process.is_alive():
            raise RuntimeError(f"nats-server has ended:\n{self.process.log.read_text()[-2000:]}")
        try:
            return self.monitor("healthz")["status"] == "ok"
        except OSError:
            return False

    def stop(self, number=signal.SIGTERM):
        self.process.stop(number)

    def pause(self):
        """Stops it in its tracks: connections stay, nothing is read."""
        self.process.send(signal.SIGSTOP)

    def resume(self):
        self.process.send(signal.SIGCONT)

    def end(self):
        """Ends it, whatever its state, and takes its store away."""
        self.resume()
        self.stop(signal.SIGKILL)
        shutil.rmtree(self._machine.path(f"/nats/{self._name}"), ignore_errors=True)

    def monitor(self, page):
        """A page of the monitoring endpoint."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._monitor}/{page}", timeout=5) as answer:
            return json.load(answer)

    def connections(self, name="rgw_nats/"):
        """The connections whose name begins so, as connz has them, the closed ones not among them."""
        return [one for one in self.monitor("connz")["connections"] if one.get("name", "").startswith(name)]
