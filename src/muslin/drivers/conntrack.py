"""Flows of an address that has left are forgotten, so that its next holder does not inherit them.

Packets of an established flow pass before any policy is asked. An address that goes from one workload to another must
not bring the old one's flows along: they were allowed to somebody else.

IPv4: one message for each side of the flow makes the kernel drop all that have the address there, unlisted. IPv6: the
same filter is inverted in the kernel (ctnetlink_filter_match_tuple takes the result of ipv6_addr_cmp for "equal"; seen
on 6.18: every flow but ours went), so flows are listed and those with the address are dropped one by one.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Iterator
from socket import AF_INET, AF_INET6, inet_pton

from muslin.drivers.netlink import NESTED, Message, Netlink, attribute, attributes
from muslin.errors import Transient

_NETFILTER = 12
_LIST, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _ID, _FILTER = 1, 2, 12, 25
_TUPLE_IP = 1
_SOURCE_V4, _SOURCE_V6 = 1, 3
_FILTER_SIDE = {_TUPLE_ORIGINAL: 1, _TUPLE_REPLY: 2}
_BY_SOURCE = (1).to_bytes(4, sys.byteorder)


def forget(addresses: Iterable[str]) -> None:
    """No flow from or to these addresses is known any more, in this thread's namespace. Raises Transient."""
    packed = {inet_pton(AF_INET6 if ":" in address else AF_INET, address) for address in addresses}
    four, six = {address for address in packed if len(address) == 4}, {a for a in packed if len(a) == 16}
    with Netlink(_NETFILTER) as netlink:
        messages = [_all_from(address, side) for address in four for side in _FILTER_SIDE]
        if six:
            messages += _listed(netlink, six)
        refused = [refusal for refusal in netlink.send(messages) if refusal.errno != errno.ENOENT]
    if refused:
        raise Transient(f"conntrack: flows cannot be dropped: {refused[0]}")


def _all_from(address: bytes, side: int) -> Message:
    """All flows whose `side` comes from the address: it began them, or it answers them (under its own address)."""
    source = attribute(_TUPLE_IP | NESTED, attribute(_SOURCE_V4, address))
    chosen = b"".join(
        attribute(kind, _BY_SOURCE if kind == _FILTER_SIDE[side] else bytes(4)) for kind in _FILTER_SIDE.values()
    )
    body = bytes((AF_INET, 0, 0, 0)) + attribute(side | NESTED, source) + attribute(_FILTER | NESTED, chosen)
    return _DELETE, 0, body


def _listed(netlink: Netlink, addresses: set[bytes]) -> Iterator[Message]:
    head = bytes((AF_INET6, 0, 0, 0))
    for _, body in netlink.dump(_LIST, head):
        if not any(address in body for address in addresses):  # cheap, and nearly always the answer
            continue
        found = attributes(body, 4)
        if any(_source(found.get(side, b"")) in addresses for side in _FILTER_SIDE):
            flow = attribute(_TUPLE_ORIGINAL | NESTED, found[_TUPLE_ORIGINAL])
            yield _DELETE, 0, head + flow + attribute(_ID, found[_ID])


def _source(side: bytes) -> bytes:
    return attributes(attributes(side).get(_TUPLE_IP, b"")).get(_SOURCE_V6, b"")
