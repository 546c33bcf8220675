"""Real servers for the end-to-end tests: a Ceph of each release with its gateway, and nats-server."""

from .broker import Broker, BrokerCluster
from .cluster import LUAS, RELEASES, Cluster, check_lua
from .consumer import Consumer
from .endpoint import Endpoint
from .machine import Machine, private_mounts, wait_until
from .networks import Networks

__all__ = [
    "LUAS",
    "RELEASES",
    "Broker",
    "BrokerCluster",
    "Cluster",
    "Consumer",
    "Endpoint",
    "Machine",
    "Networks",
    "check_lua",
    "private_mounts",
    "wait_until",
]
