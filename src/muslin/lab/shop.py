"""The demo's people: a shop in three tiers, and the platform team's tools, spread over the racks.

Pairs of every distance are among them: same host, same rack, other rack. Everybody listens on every port that is
asked for, so what does not answer was denied.
"""

from __future__ import annotations

from pathlib import Path

from muslin.lab.lab import Wanted

EXAMPLES = (Path(__file__).parents[1] / "examples").resolve()
"""The package carries them along by a link, so that they are there without a checkout too."""

SERVICES = {"80": ("tcp", 80), "8080": ("tcp", 8080), "5432": ("tcp", 5432), "9100": ("tcp", 9100),
            "dns": ("udp", 53), "ping": ("icmp", 0)}
"""What people call it -> protocol and port."""

TCP = tuple(port for protocol, port in SERVICES.values() if protocol == "tcp")
UDP = tuple(port for protocol, port in SERVICES.values() if protocol == "udp")
_API_PORT = {"name": "http-api", "protocol": "TCP", "port": 8080}


def _shop(name: str, host: str, role: str, **labels: str) -> Wanted:
    ports = (_API_PORT,) if role == "api" else ()
    labels = {"role": role, **labels}
    return Wanted(name=name, host=host, namespace="shop", labels=labels, tcp=TCP, udp=UDP, ports=ports)


def _tool(name: str, host: str, role: str) -> Wanted:
    return Wanted(name=name, host=host, namespace="tools", labels={"role": role}, tcp=TCP, udp=UDP)


WORKLOADS = (
    _shop("web1", "r1h1", "web"),
    _shop("web2", "r2h1", "web"),
    _shop("api1", "r1h2", "api"),
    _shop("api2", "r2h2", "api", canary="yes"),
    _shop("db1", "r2h1", "db"),
    _tool("monitor", "r1h1", "monitor"),
    _tool("dns", "r1h2", "dns"),
)
