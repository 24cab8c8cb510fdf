"""A packet of the proof, and where it comes from."""

from __future__ import annotations

from typing import NamedTuple


class Packet(NamedTuple):
    """`icmp_type` None: not ICMP. Protocols without ports leave both 0."""

    source: str
    destination: str
    protocol: int
    destination_port: int = 0
    source_port: int = 0
    icmp_type: int | None = None
    icmp_code: int = 0

    @property
    def version(self) -> int:
        return 6 if ":" in self.source else 4


class Flight(NamedTuple):
    """`arrives`: the host's interface that it comes in by, or `site.HOST`.

    `fragments`: how it is cut: 0 whole, 1 in two, in order, 2 in two, the later one first. The law does not know
    fragments: conntrack puts them together before anybody is asked, in raw tables too, so that a cut packet is decided
    as the whole one, and a fragment without its beginning never comes anywhere.
    """

    arrives: str
    packet: Packet
    fragments: int = 0
