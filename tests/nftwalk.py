"""A state and a strict kernel that go from intent to intent."""

from __future__ import annotations

from muslin.intent import Delta, HostIntent
from muslin.render.nft import Changes, NftState, render
from nftcases import step
from nftfake import FakeKernel


class Walker:
    def __init__(self, start: HostIntent | None = None) -> None:
        self.state, self.kernel, self.now = NftState(), FakeKernel(), start or HostIntent()
        self.kernel.apply(self.state.update(Delta(snapshot=True), self.now))

    def go(self, then: HostIntent, *, members: bool = True, snapshot: bool = False) -> Changes:
        delta = Delta(snapshot=True) if snapshot else step(self.now, then, members=members)
        self.now = then
        changes = self.state.update(delta, then)
        self.kernel.apply(changes)
        return changes

    def is_from_scratch(self) -> bool:
        """Is what the state means, and what the kernel has, what the intent alone comes to?"""
        return self.kernel.table == self.state.table == render(self.now)
