"""Real servers for the end-to-end tests: a Ceph of each release with its gateway, and nats-server."""

from .broker import Broker, BrokerCluster
from .cluster import RELEASES, Cluster
from .consumer import Consumer
from .endpoint import Endpoint
from .machine import Machine, private_mounts, wait_until
from .networks import Networks

__all__ = [
    "RELEASES",
    "Broker",
    "BrokerCluster",
    "Cluster",
    "Consumer",
    "Endpoint",
    "Machine",
    "Networks",
    "private_mounts",
    "wait_until",
]
