"""A flow as a kernel's conntrack remembers it: who began it, and what translation made of it.

    first packet     source:port -> destination:port          as it came in
    its answer       receiver:port -> answered:port           as it comes back: behind the translation of the
                                                              destination, before that of the source is undone

So the two ends as policy sees them are `source` and `receiver`. Without translation the receiver is the destination,
and the answer goes to the source. Addresses are packed (4 or 16 bytes), because a host may have 100,000 flows.
"""

from __future__ import annotations

from typing import NamedTuple


class TrackedFlow(NamedTuple):
    """Of ICMP `source_port` is the identifier and `destination_port` type * 256 + code. `parent`: the flow of which it
    is a part (the data of an FTP session), and whose fate it shares."""

    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    receiver: bytes
    receiver_port: int
    answered: bytes
    answered_port: int
    parent: TrackedFlow | None = None
