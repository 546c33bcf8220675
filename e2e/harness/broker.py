"""A nats-server of the machine's release."""

import json
import shutil
import signal
import urllib.request

from .machine import free_ports, wait_until


class Broker:
    """nats-server on loopback; restarts on the same port with the same store."""

    def __init__(self, machine, name="nats", jetstream=False, config="", host="127.0.0.1", network=None):
        self._machine = machine
        self._network = network
        self.name = name
        self.host = host
        self.port, self._monitor = free_ports(2)
        self.url = f"nats://{host}:{self.port}"
        self.process = None
        self._fixed = [
            f"server_name: {name}",
            f'listen: "{host}:{self.port}"',
            f'http: "{host}:{self._monitor}"',
            f'jetstream {{ store_dir: "/nats/{name}" }}' if jetstream else "",
        ]
        machine.path("/nats").mkdir(exist_ok=True)
        self._write(config)

    def _write(self, config):
        self._machine.path(f"/nats/{self.name}.conf").write_text("\n".join([*self._fixed, config]))

    def change(self, config):
        """Has the running server take up another configuration, such as other users."""
        self._write(config)
        self.process.send(signal.SIGHUP)

    def start(self):
        self.launch()
        return self.wait_until_up()

    def rejoin(self):
        """Starts a server of a cluster again: it answers, but may still lack what the others have meanwhile."""
        self.launch()
        wait_until(self._answers, "nats-server to answer", timeout=60)

    def launch(self):
        """Starts it and does not wait: a server of a cluster is not well before there are others."""
        self.process = self._machine.spawn(
            self.name, "nats-server", "-c", f"/nats/{self.name}.conf", network=self._network
        )

    def wait_until_up(self):
        wait_until(self._is_up, "nats-server to answer", timeout=60)
        return self

    def _is_up(self):
        if not self.process.is_alive():
            raise RuntimeError(f"nats-server has ended:\n{self.process.log.read_text()[-2000:]}")
        try:
            return self.monitor("healthz")["status"] == "ok"
        except OSError:
            return False

    def _answers(self):
        try:
            return bool(self.monitor("varz"))
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
        shutil.rmtree(self._machine.path(f"/nats/{self.name}"), ignore_errors=True)

    def monitor(self, page):
        """A page of the monitoring endpoint."""
        with urllib.request.urlopen(f"http://{self.host}:{self._monitor}/{page}", timeout=5) as answer:
            return json.load(answer)

    def connections(self, name="rgw_nats/"):
        """The connections whose name begins so, as connz has them, the closed ones not among them."""
        return [one for one in self.monitor("connz")["connections"] if one.get("name", "").startswith(name)]


class BrokerCluster:
    """Three nats-servers that are one cluster, with JetStream.

    They are on loopback, or each in a network namespace of its own.
    """

    def __init__(self, machine, size=3, networks=None):
        places = networks.places if networks else [(None, "127.0.0.1", "127.0.0.1")] * size
        ports = free_ports(size)
        listens = [f"{route}:{port}" for (_, _, route), port in zip(places, ports, strict=True)]
        routes = ", ".join(f'"nats://{listen}"' for listen in listens)
        self.brokers = [
            Broker(
                machine,
                name=f"n{number}",
                jetstream=True,
                config=f'cluster {{ name: three, listen: "{listen}", no_advertise: true, routes: [{routes}] }}',
                host=host,
                network=network,
            )
            for number, ((network, host, _), listen) in enumerate(zip(places, listens, strict=True))
        ]

    @property
    def url(self):
        return ",".join(broker.url for broker in self.brokers)

    def start(self):
        for broker in self.brokers:
            broker.launch()
        for broker in self.brokers:
            broker.wait_until_up()
        return self

    def named(self, name):
        """The server of this name."""
        return next(broker for broker in self.brokers if broker.name == name)

    def end(self):
        for broker in self.brokers:
            broker.end()
