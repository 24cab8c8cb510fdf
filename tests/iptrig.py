"""The host of nftrig with its policy in iptables and ipset instead: the same words, another kernel interface."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import nftrig
from muslin.drivers.iptables import Flavour, Iptables
from muslin.intent import Backend, Delta, HostIntent
from muslin.render.iptables import Changes, IptablesState, render
from muslin.render.iptables.listing import differences
from muslin.render.nft import Flow

FLAVOURS = {Backend.IPTABLES_LEGACY: Flavour.LEGACY, Backend.IPTABLES_NFT: Flavour.NFT}
BACKENDS = tuple(Backend)
IPTABLES = tuple(FLAVOURS)


class Host(nftrig.Host):
    """As nftrig.Host."""

    def __init__(self, space: str, backend: Backend) -> None:
        super().__init__(space)
        self.iptables = Iptables(FLAVOURS[backend], space)
        self.rules, self._since = IptablesState(), self.state

    def apply(self, intent: HostIntent, delta: Delta | None = None) -> Changes:  # type: ignore[override]
        """A test that begins anew gives the host another `state`."""
        if self.state is not self._since:
            asyncio.run(self.iptables.remove())
            self.rules, self._since = IptablesState(), self.state
        changes = self.rules.update(delta or Delta(snapshot=True), intent)
        asyncio.run(self.iptables.apply(changes))
        return changes

    def cut(self, flows: Iterable[Flow], seconds: int) -> None:
        asyncio.run(self.iptables.cut(flows, seconds))

    def uncut(self, flows: Iterable[Flow]) -> None:
        asyncio.run(self.iptables.uncut(flows))

    async def counters(self) -> dict[str, tuple[int, int]]:
        return await self.iptables.counters()

    def drift(self, intent: HostIntent) -> tuple[str, ...]:
        return differences(render(intent), asyncio.run(self.iptables.read()), append=False)


@contextmanager
def host(backend: Backend) -> Iterator[nftrig.Host]:
    """A host whose kernel enforces by this backend."""
    with nftrig.host() as plain:
        yield plain if backend is Backend.NFTABLES else Host(plain.space, backend)
