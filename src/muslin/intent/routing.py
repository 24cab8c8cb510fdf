"""Routes and neighbours that the agent itself programs. Routes learnt by BGP are BIRD's, never ours."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from muslin.net import Cidr


class RouteKind(StrEnum):
    DEVICE = "device"
    VIA = "via"
    BLACKHOLE = "blackhole"
    LOCAL = "local"

    __hash__ = str.__hash__
    """In C: it is part of the shape of every route, and enum's own is Python."""


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`interface` for DEVICE and LOCAL, `gateway` for VIA. Lower `metric` wins."""

    destination: Cidr
    kind: RouteKind
    interface: str = ""
    gateway: str = ""
    metric: int = 0


class Neighbour(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A permanent entry: the kernel never asks by ARP or ND (table limit 1024 by default, measured cliff)."""

    address: str
    interface: str
    mac: str
