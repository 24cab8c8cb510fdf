"""The backends under test: each takes the same intent into the kernel of a rig, by changes, as a running agent does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol

from muslin.drivers.iptables import Flavour, Iptables
from muslin.drivers.nft import Nft
from muslin.intent import Delta, HostIntent
from muslin.render import iptables
from muslin.render.iptables import listing as iptables_listing
from muslin.render.nft import NftState, render
from muslin.render.nft.listing import differences, listing_of
from prove.rig import Rig


class Kernel(Protocol):
    rig: Rig

    def becomes(self, intent: HostIntent, delta: Delta) -> None:
        """The intent, in the kernel, when this returns; `delta` is what it differs by from the last one."""

    def drift(self, intent: HostIntent) -> tuple[str, ...]:
        """What differs in the kernel from a table that is written from scratch."""


class Nftables:
    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._nft = Nft(rig.space)
        self._state = NftState()

    def becomes(self, intent: HostIntent, delta: Delta) -> None:
        asyncio.run(self._nft.apply(self._state.update(delta, intent)))

    def drift(self, intent: HostIntent) -> tuple[str, ...]:
        return differences(listing_of(render(intent)), asyncio.run(self._nft.read()))


class IptablesAndIpset:
    def __init__(self, rig: Rig, flavour: Flavour) -> None:
        self.rig = rig
        self._iptables = Iptables(flavour, rig.space)
        self._state = iptables.IptablesState()

    def becomes(self, intent: HostIntent, delta: Delta) -> None:
        asyncio.run(self._iptables.apply(self._state.update(delta, intent)))

    def drift(self, intent: HostIntent) -> tuple[str, ...]:
        wanted, found = iptables.render(intent), asyncio.run(self._iptables.read())
        return iptables_listing.differences(wanted, found, append=False)


BACKENDS: dict[str, Callable[[Rig], Kernel]] = {
    "nftables": Nftables,
    "iptables-legacy": partial(IptablesAndIpset, flavour=Flavour.LEGACY),
    "iptables-nft": partial(IptablesAndIpset, flavour=Flavour.NFT),
}
