"""Published ports: which port of this host leads to a container.

dockerd tells a driver like ours what its user wrote, and believes nothing that we answer: `docker ps` and `docker port`
show no ports of ours. So a port that the user leaves open (`-P`, `-p 80`, `-p 8000-8010:80`) is chosen here, kept in
the book, written to the endpoint, and shown by `muslin docker port`. What cannot lead anywhere is refused.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from muslin.plugins.docker.book import Publication
from muslin.plugins.docker.faults import Refused
from muslin.plugins.docker.words import PROTOCOLS

PORTMAP = "com.docker.network.portmap"
FIRST, LAST = 49153, 65535
"""Where a port is taken from that nobody names: Docker's own range."""
Taken = dict[tuple[str, int], set[str]]
"""(protocol, port) -> the addresses of the host on which it is published, "" for all."""
_SORTS = {"TCP": (socket.SOCK_STREAM, 0), "UDP": (socket.SOCK_DGRAM, 0), "SCTP": (socket.SOCK_STREAM, 132)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Any of the host's ports from `first` to `last`."""

    protocol: str
    port: int
    host_ip: str
    first: int
    last: int

    @property
    def says_which(self) -> bool:
        return self.first == self.last

    def fits(self, made: Publication) -> bool:
        same = (made.protocol, made.port, made.host_ip) == (self.protocol, self.port, self.host_ip)
        return same and self.first <= made.host_port <= self.last


def wanted(options: Mapping[str, Any]) -> tuple[Wanted, ...]:
    """`-p` and `-P`. Raises Refused."""
    found = []
    for each in options.get(PORTMAP) or ():
        protocol = PROTOCOLS.get(int(each.get("Proto") or 0))
        port, first = int(each.get("Port") or 0), int(each.get("HostPort") or 0)
        if protocol is None:
            raise Refused(f"protocol number {each.get('Proto')} cannot be published: TCP, UDP and SCTP can")
        host_ip = str(each.get("HostIP") or "")
        if host_ip and ipaddress.ip_address(host_ip).is_loopback:
            raise Refused(f"-p {host_ip}:{first or ''}:{port}: nothing leads from loopback to a container; publish it "
                          f"on another address of the host, or ask the container at its own address, port {port}")
        last = max(first, int(each.get("HostPortEnd") or 0)) if first else LAST
        found.append(Wanted(protocol, port, "" if host_ip in ("0.0.0.0", "::") else host_ip, first or FIRST, last))
    return tuple(dict.fromkeys(found))


def settle(asked: Iterable[Wanted], mine: Iterable[Publication], others: Iterable[Publication],
           in_use: Callable[[str, str, int], bool]) -> tuple[Publication, ...]:
    """A port for each: the one that this endpoint has already, else the first that is free. `in_use`: does a process of
    the host have it? Raises Refused."""
    held, made = list(mine), list[Publication]()
    taken: Taken = {}
    for one in others:
        taken.setdefault((one.protocol, one.host_port), set()).add(one.host_ip)
    for each in asked:
        found = next((one for one in held if each.fits(one)), None) or _first_free(each, taken, in_use)
        taken.setdefault((found.protocol, found.host_port), set()).add(found.host_ip)
        made.append(found)
    return tuple(made)


def is_free(port: Publication, others: Iterable[Publication]) -> bool:
    """Does nobody else have it?"""
    return not any((one.protocol, one.host_port) == (port.protocol, port.host_port)
                   and (not one.host_ip or one.host_ip == port.host_ip or not port.host_ip) for one in others)


def _first_free(each: Wanted, taken: Taken, in_use: Callable[[str, str, int], bool]) -> Publication:
    why = ""
    for number in range(each.first, each.last + 1):
        holders = taken.get((each.protocol, number), set())
        if holders & {"", each.host_ip} or (holders and not each.host_ip):
            why = "is published by another container already: take another, or stop that container"
        elif in_use(each.protocol, each.host_ip, number):
            why = "is in use by a process of this host: take another, or stop that process"
        else:
            return Publication(protocol=each.protocol, host_port=number, port=each.port, host_ip=each.host_ip)
    name = f"{each.first}/{each.protocol.lower()}"
    if each.says_which:
        raise Refused(f"port {name} of this host {why}")
    raise Refused(f"none of the ports {each.first}-{each.last}/{each.protocol.lower()} of this host is free")


def is_here(address: str) -> bool:
    """May this host listen there? With net.ipv4.ip_nonlocal_bind (net.ipv6...) also where it is to come."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trying:
            trying.bind((address, 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def in_use(protocol: str, address: str, port: int) -> bool:
    """Does a process of this host listen there? A protocol that the kernel lacks has no listeners."""
    sort, number = _SORTS[protocol]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, sort, number) as trying:
            if sort == socket.SOCK_STREAM:
                trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger are no listeners
            trying.bind((address or "0.0.0.0", port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def spelled(made: Iterable[Publication]) -> tuple[str, ...]:
    """As `docker port` writes it."""
    return tuple(f"{each.port}/{each.protocol.lower()} -> {each.host_ip or '0.0.0.0'}:{each.host_port}"
                 for each in made)
