"""What dockerd told us and will not tell again, on disk.

After its restart dockerd speaks of networks and endpoints by ids that it expects us to know. Written whole before the
call that changes it is answered: a few hundred short entries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

GATEWAYS = tuple(f"169.254.1.{number}" for number in range(1, 255))
"""Each network of a host has its own, so that a container may be in several: equal link routes exclude each other."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """`net`: its name, the same on every host, "" until it is known; `name`: what this host's dockerd calls it.
    `subnets`: as dockerd gave them, both families."""

    id: str
    net: str = ""
    name: str = ""
    policy: str = ""
    internal: bool = False
    mtu: int = 0
    gateway: str = GATEWAYS[0]
    subnets: tuple[str, ...] = ()

    @property
    def gateway_v6(self) -> str:
        """One for each network, too: by it dockerd finds the link that it is on. fe80::1 belongs to 169.254.1.1."""
        return f"fe80::{self.gateway.rpartition('.')[2]}"


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """`-p`: a port of this host that leads to one of a container. `protocol`: TCP, UDP or SCTP."""

    protocol: str
    host_port: int
    port: int
    host_ip: str = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Made by CreateEndpoint, used by Join. `labels`: from driver options. `sandbox`: where its container's namespace
    will be, "" before Join and after Leave. `withdrawn`: ports that led here until it was no longer the container's way
    outside. `names`: what others find it by; `named`: aliases are among them. `link_local`: an address that dockerd
    gave it besides."""

    id: str
    network: str
    addresses: tuple[str, ...]
    mac: str = ""
    published: tuple[Publication, ...] = ()
    withdrawn: tuple[Publication, ...] = ()
    labels: dict[str, str] = {}
    container: str = ""
    container_id: str = ""
    sandbox: str = ""
    names: tuple[str, ...] = ()
    named: bool = False
    link_local: str = ""


class Pages(msgspec.Struct):
    """`docker`: where dockerd answers; `enabled`: it uses us."""

    docker: str = ""
    enabled: bool = False
    networks: dict[str, Network] = {}
    endpoints: dict[str, Endpoint] = {}
    gateways: list[str] = []


class Book:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.pages = self._read()

    def _read(self) -> Pages:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Pages)
        except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
            return Pages()  # what it held is asked of dockerd again, see `Service`

    def write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(self.pages))
        beside.replace(self._path)

    def put(self, item: Network | Endpoint) -> None:
        table: dict[str, Any] = self.pages.networks if isinstance(item, Network) else self.pages.endpoints
        if table.get(item.id) != item:
            table[item.id] = item
            self.write()

    def forget(self, key: str) -> None:
        """A network or an endpoint."""
        if (self.pages.networks.pop(key, None) or self.pages.endpoints.pop(key, None)) is not None:
            self.write()

    def take_gateway(self) -> str:
        """One that no other network of this host has; the last, shared, when there are no more."""
        free = next((each for each in GATEWAYS if each not in self.pages.gateways), GATEWAYS[-1])
        self.pages.gateways.append(free)
        self.write()
        return free

    @property
    def used_gateways(self) -> set[str]:
        """Of networks that are known."""
        return {network.gateway for network in self.pages.networks.values()}

    def keep_gateway(self, address: str) -> None:
        """It is a network's; nobody else gets it."""
        if address in GATEWAYS and address not in self.pages.gateways:
            self.pages.gateways.append(address)
            self.write()

    def give_gateway(self, address: str) -> bool:
        """False: it is none of ours."""
        if address not in self.pages.gateways:
            return address in GATEWAYS
        self.pages.gateways.remove(address)
        self.write()
        return True
