"""Network namespaces for the servers of a cluster: each with a link to clients and another to its neighbours."""

import contextlib
import subprocess

#: The two bridges, and the networks that they join. Nothing outside of this machine is on them.
CLIENTS, ROUTES = "rgwnats-c", "rgwnats-r"
_NET = {CLIENTS: "10.213.7", ROUTES: "10.213.8"}


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Networks:
    """So many namespaces, `places`: the name of each, its address for clients, and that for its neighbours."""

    def __init__(self, size=3):
        names = [f"rgwnats{number}" for number in range(size)]
        self.places = [
            (name, f"{_NET[CLIENTS]}.{number + 11}", f"{_NET[ROUTES]}.{number + 11}")
            for number, name in enumerate(names)
        ]

    def make(self):
        # What an earlier run has left that was killed.
        self.end()
        for bridge, net in _NET.items():
            _ip("link", "add", bridge, "type", "bridge")
            _ip("address", "add", f"{net}.1/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
        for number, (name, client, route) in enumerate(self.places):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
            for bridge, address in ((CLIENTS, client), (ROUTES, route)):
                near, far = self._link(bridge, number), f"{bridge[-1]}0"
                _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
                _ip("link", "set", near, "master", bridge, "up")
                _ip("-n", name, "address", "add", f"{address}/24", "dev", far)
                _ip("-n", name, "link", "set", far, "up")
        return self

    def _link(self, bridge, number):
        return f"{bridge}{number}"

    def cut_off(self, number, bridge):
        """Lets nothing pass between a server and the others on a bridge; nobody is told."""
        _ip("link", "set", self._link(bridge, number), "down")

    def heal(self, number, bridge):
        _ip("link", "set", self._link(bridge, number), "up")

    def end(self):
        for number, (name, _, _) in enumerate(self.places):
            for bridge in _NET:
                with contextlib.suppress(subprocess.CalledProcessError):
                    _ip("link", "delete", self._link(bridge, number))
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", name)
        for bridge in _NET:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("link", "delete", bridge)
