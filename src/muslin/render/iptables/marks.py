"""The four bits of the packet mark that our chains speak through.

A chain of iptables cannot return a value, and what `-j ACCEPT` ends is the whole table, not a question. So a policy
answers by bits, which its callers look at: Felix does the same, and nftables gets by without (see render.nft.chains).
They are four bits of `Settings.mark_mask`, the lowest but one and those above it; the others are left to whoever else
asks for some. The lowest is the one that nftables has for itself, and the other flavour of iptables has the next four:
while a host goes from one to the other, both look at every packet, and neither may take away what the other remembers.
A mask with fewer bits makes them share.
"""

from __future__ import annotations

import msgspec

from muslin.intent import Settings

_BITS = 4


class Marks(msgspec.Struct, frozen=True):
    """`scratch`: within a few lines. `accept`: a policy allowed it. `leave`: a policy passed it to the next tier.
    `full`: the workload has as many connections as it may have."""

    scratch: int
    accept: int
    leave: int
    full: int

    @property
    def answer(self) -> int:
        return self.accept | self.leave

    @property
    def all(self) -> int:
        return self.accept | self.leave | self.scratch | self.full


def marks(settings: Settings, *, other: bool = False) -> Marks:
    """`other`: of the other flavour."""
    return _lowest(settings.mark_mask, other) or _lowest(Settings().mark_mask, other) or Marks(1, 2, 4, 8)


def too_few(settings: Settings) -> str:
    """What is wrong with the mask, "" if nothing."""
    if _lowest(settings.mark_mask, False):
        return ""
    instead = f"{Settings().mark_mask:#x} is used instead"
    return f"iptablesMarkMask {settings.mark_mask:#x} has fewer than {_BITS} bits: {instead}"


def _lowest(mask: int, other: bool) -> Marks | None:
    bits = [1 << place for place in range(32) if mask & 1 << place]
    if len(bits) < _BITS:
        return None
    first = 1 if len(bits) > _BITS else 0
    if other and len(bits) > 2 * _BITS:
        first += _BITS
    return Marks(*bits[first : first + _BITS])
