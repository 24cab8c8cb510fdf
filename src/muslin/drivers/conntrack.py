"""The flows that the kernel knows: listed, and forgotten one by one or by address.

Packets of an established flow pass before any policy is asked. So an address that goes from one workload to another
must not bring the old one's flows along, and a flow that policy denies now must not go on for ever.

A host may have 100,000 flows, and is asked for them whenever policy changes. The kernel lists them in 0.2 s, a decoder
of attributes would add a second. But it writes every plain flow in the same shape, which one `struct` takes apart; the
length of the first attribute tells the shape, and the rare others (ICMP, GRE, zones) are taken apart the slow way.

By address, IPv4: one message for each side of the flow makes the kernel choose, in listing and dropping. IPv6: the same
filter is inverted in the kernel (ctnetlink_filter_match_tuple takes the result of ipv6_addr_cmp for "equal"; seen
on 6.18: every flow but ours went), so there all are listed.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from socket import AF_INET, AF_INET6, AF_UNSPEC, inet_pton

from muslin.drivers import conntrack_text
from muslin.drivers.netlink import NESTED, Message, Netlink, attribute, attributes
from muslin.errors import Transient
from muslin.net import TrackedFlow

_NETFILTER = 12
_FEW_FLOWS = 20_000
"""Up to so many it is cheaper to list all in one walk than to have the kernel choose, in one walk for each query."""
_COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
_LIST, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _STATUS, _MASTER, _ZONE, _FILTER = 1, 2, 3, 14, 18, 25
_TUPLE_IP, _TUPLE_PROTOCOL, _TUPLE_ZONE = 1, 2, 3
_SOURCE_V4, _DESTINATION_V4, _SOURCE_V6, _DESTINATION_V6 = 1, 2, 3, 4
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_ICMP_FIELDS = {1: (4, 5, 6), 58: (7, 8, 9)}
"""Attributes of identifier, type and code."""
_FILTER_SIDE = {_TUPLE_ORIGINAL: 1, _TUPLE_REPLY: 2}
_BY_SOURCE, _BY_DESTINATION = 1, 2
_EXPECTED = 1
"""Status bit of a flow that a helper foresaw: part of another."""
_ASKED_ONE_BY_ONE = 4
"""Addresses up to which the kernel is asked for each: a listing walks the whole table however little it finds."""
_CHEAPER_THAN_A_LISTING = 2
"""The same, while a listing finds little."""
_LOOKED_FOR = 32
"""Addresses up to which a piece of a listing is searched for each before it is taken apart."""

_FIRST_V4, _FIRST_V6 = ">8x8x4s4x4s8xB3x4xH2x4xH2x", ">8x8x16s4x16s8xB3x4xH2x4xH2x"
_SECOND_V4, _SECOND_V6 = "4x8x4s4x4s8x4x4xH2x4xH2x", "4x8x16s4x16s8x4x4xH2x4xH2x"
_NATIVE = struct.Struct("=HH")


class _Shape:
    """Of a flow with ports, in one family: both tuples, then the status."""

    def __init__(self, first: str, second: str, family: int, length: int) -> None:
        self.fields = struct.Struct(first + second)
        self.head = bytes((family, 0))
        self.length = _NATIVE.pack(length, _TUPLE_ORIGINAL | NESTED)
        self.status = _NATIVE.pack(8, _STATUS)


_SHAPES: dict[int, _Shape] = {
    AF_INET: _Shape(_FIRST_V4, _SECOND_V4, AF_INET, 52),
    AF_INET6: _Shape(_FIRST_V6, _SECOND_V6, AF_INET6, 76),
}


def read(of: Container[bytes] | None = None, *, few: Sequence[bytes] = ()) -> list[TrackedFlow]:
    """The flows of this thread's namespace of which an end, as policy sees it, is in `of`; all when None.

    `few`: the same as a list, where it is short; then the kernel does the choosing of IPv4. Raises Transient.
    """
    found: list[TrackedFlow] = []
    number = _number()
    if not number or (of is not None and _surely_none(number, of, few)):
        return found
    chosen = of is not None and 0 < len(few) <= _ASKED_ONE_BY_ONE and number > _FEW_FLOWS
    with Netlink(_NETFILTER) as netlink:
        if chosen:
            queries = [_body(address, side) for address in few if len(address) == 4 for side in _FILTER_SIDE]
            if any(len(address) == 16 for address in few):
                queries.append(bytes((AF_INET6, 0, 0, 0)))
        else:
            queries = [bytes((AF_UNSPEC, 0, 0, 0))]
        for query in queries:
            for data in netlink.dump_raw(_LIST, query):
                found += _decoded(data, of)
    return list(dict.fromkeys(found)) if chosen else found


def _surely_none(number: int, of: Container[bytes], few: Sequence[bytes]) -> bool:
    """Is it told without a listing that no flow is theirs?"""
    if few and len(few) <= _LOOKED_FOR:
        mentioned = conntrack_text.mentioned(number, few)
    else:
        mentioned = conntrack_text.all_mentioned(number)
    return mentioned is not None and not any(address in of for address in mentioned)


def _number() -> int:
    """How many flows conntrack knows here. A listing walks the whole hash table, which all namespaces share: 9 ms for
    the 262,144 buckets of a machine with 24 GB, also when there is little or nothing to be found."""
    try:
        file = os.open(_COUNT, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(file, 32))
        finally:
            os.close(file)
    except (OSError, ValueError):
        return _FEW_FLOWS  # what cannot be counted is listed


def _decoded(data: bytes, of: Container[bytes] | None) -> Iterator[TrackedFlow]:
    """The flows in one piece of a listing."""
    offset, end = 0, len(data)
    header = struct.Struct("=IH")
    while offset + 20 <= end:
        length, kind = header.unpack_from(data, offset)
        if kind != 1 << 8:
            return
        body = offset + 16
        shape = _SHAPES.get(data[body])
        offset += (length + 3) & ~3
        if shape is not None and data[body + 4 : body + 8] == shape.length:
            status = body + shape.fields.size
            if data[status : status + 4] == shape.status and not data[status + 7] & _EXPECTED:
                source, there, protocol, sport, dport, receiver, answered, rport, aport = shape.fields.unpack_from(
                    data, body)
                if of is None or source in of or receiver in of:
                    yield TrackedFlow(protocol, source, sport, there, dport, receiver, rport, answered, aport)
                continue
        flow = _slowly(data[body : body - 16 + length])
        if flow is not None and (of is None or flow.source in of or flow.receiver in of):
            yield flow


def _slowly(body: bytes) -> TrackedFlow | None:
    """A flow of any shape. None for one in a zone, which is none of ours."""
    found = attributes(body, 4)
    if _ZONE in found:
        return None
    first, second = (_tuple(found.get(side, b"")) for side in _FILTER_SIDE)
    if first is None or second is None:
        return None
    protocol, source, source_port, destination, destination_port = first
    _, receiver, receiver_port, answered, answered_port = second
    if protocol in _ICMP_FIELDS:  # the answer's type says nothing that the question's does not
        receiver_port = destination_port
    parent = _tuple(found[_MASTER]) if _MASTER in found else None
    return TrackedFlow(
        protocol, source, source_port, destination, destination_port, receiver, receiver_port, answered, answered_port,
        TrackedFlow(*parent, *(parent[3], parent[4], parent[1], parent[2])) if parent is not None else None,
    )


def _tuple(nest: bytes) -> tuple[int, bytes, int, bytes, int] | None:
    """(protocol, source, its port, destination, its port)"""
    found = attributes(nest)
    ip, protocol = attributes(found.get(_TUPLE_IP, b"")), attributes(found.get(_TUPLE_PROTOCOL, b""))
    source, destination = ip.get(_SOURCE_V4) or ip.get(_SOURCE_V6), ip.get(_DESTINATION_V4) or ip.get(_DESTINATION_V6)
    if _TUPLE_ZONE in found or source is None or destination is None or _NUMBER not in protocol:
        return None
    number = protocol[_NUMBER][0]
    if number in _ICMP_FIELDS:
        identifier, kind, code = (int.from_bytes(protocol.get(field, b""), "big") for field in _ICMP_FIELDS[number])
        return number, source, identifier, destination, kind << 8 | code
    ports = [int.from_bytes(protocol.get(field, b""), "big") for field in (_SOURCE_PORT, _DESTINATION_PORT)]
    return number, source, ports[0], destination, ports[1]


def drop(flows: Iterable[TrackedFlow]) -> None:
    """These flows are not known any more, in this thread's namespace; absent ones are fine. Raises Transient."""
    messages: list[Message] = [(_DELETE, 0, _named(flow)) for flow in flows]
    if messages:
        with Netlink(_NETFILTER) as netlink:
            _demand(netlink, messages)


def _named(flow: TrackedFlow) -> bytes:
    v4 = len(flow.source) == 4
    kinds = (_SOURCE_V4, _DESTINATION_V4) if v4 else (_SOURCE_V6, _DESTINATION_V6)
    ip = attribute(kinds[0], flow.source) + attribute(kinds[1], flow.destination)
    protocol = attribute(_NUMBER, bytes((flow.protocol,)))
    if flow.protocol in _ICMP_FIELDS:
        identifier, kind, code = _ICMP_FIELDS[flow.protocol]
        protocol += attribute(identifier, flow.source_port.to_bytes(2, "big"))
        protocol += attribute(kind, bytes((flow.destination_port >> 8,)))
        protocol += attribute(code, bytes((flow.destination_port & 0xFF,)))
    else:
        protocol += attribute(_SOURCE_PORT, flow.source_port.to_bytes(2, "big"))
        protocol += attribute(_DESTINATION_PORT, flow.destination_port.to_bytes(2, "big"))
    nest = attribute(_TUPLE_IP | NESTED, ip) + attribute(_TUPLE_PROTOCOL | NESTED, protocol)
    return bytes((AF_INET if v4 else AF_INET6, 0, 0, 0)) + attribute(_TUPLE_ORIGINAL | NESTED, nest)


def forget(addresses: Collection[str], floating: Collection[str] = ()) -> None:
    """No flow from or to these addresses is known any more, in this thread's namespace. Of those of workloads it is
    enough that an end, as policy sees it, is one; of floating ones also what translation makes of them counts: the next
    holder must not get packets that go to the last one's. Raises Transient."""
    ends, translated = ({_packed(address) for address in some} for some in (addresses, floating))
    number = _number() if ends or translated else 0
    if not number or _surely_none(number, both := ends | translated, (*both,)):
        return
    most = _most_asked(both, number)
    chosen = _chosen_by_kernel(ends, most), _chosen_by_kernel(translated, most)
    with Netlink(_NETFILTER) as netlink:
        messages: list[Message] = [
            (_DELETE, 0, _body(address, side, by))
            for some, sides in zip(chosen, ((_BY_SOURCE,), (_BY_SOURCE, _BY_DESTINATION)), strict=True)
            for address in some for side in _FILTER_SIDE for by in sides
        ]
        left = (ends - chosen[0]) | (translated - chosen[1])
        if left:
            families = {len(address) for address in left}
            family = AF_UNSPEC if len(families) > 1 else AF_INET if 4 in families else AF_INET6
            for data in netlink.dump_raw(_LIST, bytes((family, 0, 0, 0))):
                if len(left) > _LOOKED_FOR or any(address in data for address in left):
                    messages += ((_DELETE, 0, _named(flow)) for flow in _touching(data, left))
        _demand(netlink, messages)


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


def _most_asked(addresses: set[bytes], number: int) -> int:
    """How many had better be asked for one by one: when it drops, the kernel goes past empty buckets four times as fast
    as when it lists, but once for each address and side."""
    if number > _FEW_FLOWS:
        return _ASKED_ONE_BY_ONE
    listed_anyway = any(len(address) == 16 for address in addresses)
    return 0 if listed_anyway else _CHEAPER_THAN_A_LISTING


def _chosen_by_kernel(addresses: set[bytes], most: int) -> set[bytes]:
    four = {address for address in addresses if len(address) == 4}
    return four if len(four) <= most else set()


def _touching(data: bytes, addresses: set[bytes]) -> Iterator[TrackedFlow]:
    for flow in _decoded(data, None):
        if not addresses.isdisjoint((flow.source, flow.destination, flow.receiver, flow.answered)):
            yield flow


def _body(address: bytes, side: int, by: int = _BY_SOURCE) -> bytes:
    """All flows whose `side` comes from the address (it began them, or it answers them), or goes to it."""
    kind = _SOURCE_V4 if by == _BY_SOURCE else _DESTINATION_V4
    ends = attribute(_TUPLE_IP | NESTED, attribute(kind, address))
    chosen = b"".join(
        attribute(each, (by if each == _FILTER_SIDE[side] else 0).to_bytes(4, sys.byteorder))
        for each in _FILTER_SIDE.values()
    )
    return bytes((AF_INET, 0, 0, 0)) + attribute(side | NESTED, ends) + attribute(_FILTER | NESTED, chosen)


def _demand(netlink: Netlink, messages: Sequence[Message]) -> None:
    refused = [refusal for refusal in netlink.send(messages) if refusal.errno != errno.ENOENT]
    if refused:
        raise Transient(f"conntrack: flows cannot be dropped: {refused[0]}")
