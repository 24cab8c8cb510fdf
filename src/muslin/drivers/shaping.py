"""Bandwidth limits of workloads' links: token buckets, as `tc` would make them.

    towards the workload    tbf, the root of the host's side
    from the workload       clsact on the host's side, a u32 filter that redirects all that comes in to an interface of
                            kind ifb, and a tbf as the root of that: a queue stands only where the kernel sends, so
                            what comes in is sent, to a device that hands it back. The packet still comes in by the
                            workload's interface; firewall and routing notice nothing

How we recognise our own after a restart: buckets have a handle 6dXX: (XX is a digest of what they were made of, because
the kernel does not tell a burst back exactly), the filter has priority 28021, ifbs are named `mq` and 12 digits of a
digest of the workload's interface, in the group of our own links. All else that stands there is a stranger's.

The queue behind a bucket is bounded: 25 ms at full rate, and what a burst might bring of it, up to 200 ms. Calico's is
bounded by the burst alone, which is half a gigabyte when nobody says.
"""

from __future__ import annotations

import errno
import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from muslin.drivers import links
from muslin.drivers.links import OWN_GROUP, Link, LinkChange
from muslin.drivers.netlink import CREATE, EXCLUSIVE, NESTED, REPLACE, Message, Netlink, Refusal, attribute, attributes
from muslin.errors import Broken, Transient
from muslin.intent import Qos

_NEW_QDISC, _DEL_QDISC, _GET_QDISC = 36, 37, 38
_NEW_FILTER, _DEL_FILTER, _GET_FILTER = 44, 45, 46
_NEW_LINK = 16
_TC = struct.Struct("=BxxxiIII")
_U32, _U64 = struct.Struct("=I"), struct.Struct("=Q")
_INFO = struct.Struct("=BxHiII")
_KIND, _OPTIONS = 1, 2
_PARMS, _RATE64, _PRATE64, _BURST, _PBURST = 1, 4, 5, 6, 7
_RATE = struct.Struct("=BBHhHI")
_ROOT, _CLSACT, _INWARDS, _OUTWARDS = 0xFFFFFFFF, 0xFFFFFFF1, 0xFFFFFFF2, 0xFFFFFFF3
_CLSACT_HANDLE = 0xFFFF0000
_SELECTOR, _ACTIONS = 5, 7
_MIRRED_PARMS = 2
_EVERYTHING = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + bytes(16)
"""A u32 selector with one key that every packet has."""
_ALL_PROTOCOLS = 0x0300  # ETH_P_ALL in network order
_PRIORITY = 0x6D75
_STOLEN, _REDIRECT = 4, 1
_LINK_NAME, _LINK_MTU, _LINK_INFO, _LINK_GROUP = 3, 4, 18, 27
_UP = 1
_OURS = 0x6D
_MOST = 0xFFFFFFFF

DEFAULT_BURST = 4294967296
"""Bit: what Calico gives to who says nothing."""
_LATENCY, _OF_A_BURST = 0.025, 0.2
_QUEUE_AT_LEAST = 128 << 10
"""Byte: two of the largest packets that a sender hands over in one piece."""
_HEADER = 14


@dataclass(frozen=True, slots=True)
class Bucket:
    """A tbf. Rates in byte/s, the rest in byte. What the kernel tells back exactly is compared; `mark` stands for the
    rest."""

    rate: int
    peakrate: int
    limit: int
    mark: int
    burst: int = field(default=0, compare=False)
    minburst: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Shape:
    """Of one workload's link. None: no limit that way."""

    towards: Bucket | None = None
    away: Bucket | None = None


def shape(qos: Qos | None, mtu: int) -> Shape | None:
    """What the limits mean for a link of that MTU; None where there is none."""
    if qos is None:
        return None
    towards = _bucket(qos.ingress_bandwidth, qos.ingress_burst, qos.ingress_peakrate, qos.ingress_minburst, mtu)
    away = _bucket(qos.egress_bandwidth, qos.egress_burst, qos.egress_peakrate, qos.egress_minburst, mtu)
    return Shape(towards, away) if towards or away else None


def _bucket(bandwidth: int, burst_bits: int, peak_bits: int, minburst: int, mtu: int) -> Bucket | None:
    if not bandwidth:
        return None
    rate, peakrate, least = bandwidth // 8, peak_bits // 8, mtu + _HEADER
    burst = min(max((burst_bits or DEFAULT_BURST) // 8, least), _MOST)
    minburst = max(minburst, least) if peakrate else 0
    queue = rate * _LATENCY + min(burst, rate * _OF_A_BURST)
    if peakrate:
        queue = min(queue, peakrate * _LATENCY + minburst)
    limit = min(max(int(queue), _QUEUE_AT_LEAST), _MOST)
    mark = _OURS << 8 | zlib.crc32(repr((rate, burst, peakrate, minburst, limit)).encode()) & 0xFF
    return Bucket(rate, peakrate, limit, mark, burst, minburst)


# ---- reading


def read(netlink: Netlink, there: Mapping[str, Link]) -> dict[str, Shape]:
    """What of ours is in the kernel, by the workload's interface. `there`: all links."""
    names = {link.index: name for name, link in there.items()}
    buckets: dict[str, Bucket] = {}
    filtered: list[int] = []
    for kind, body in netlink.dump(_GET_QDISC, _TC.pack(0, 0, 0, 0, 0)):
        if kind != _NEW_QDISC:
            continue
        _, index, handle, parent, _ = _TC.unpack_from(body)
        if parent == _CLSACT:
            filtered.append(index)
        elif parent == _ROOT and index in names and (bucket := _decode(handle, body)) is not None:
            buckets[names[index]] = bucket
    redirected = {names[index]: target for index in filtered if index in names
                  if (target := _target(netlink, index)) is not None}
    found: dict[str, Shape] = {}
    for name, link in there.items():
        if _is_ours(link):
            continue
        aside = there.get(ifb_name(name))
        away = buckets.get(aside.name) if aside is not None and aside.up else None
        whole = aside is not None and redirected.get(name) == aside.index
        shaped = Shape(buckets.get(name), away if whole else None)
        if shaped != Shape() or aside is not None or name in redirected:
            found[name] = shaped
    return found


def left_over(there: Mapping[str, Link]) -> tuple[Link, ...]:
    """Ifbs of ours whose workload's interface is gone."""
    wanted = {ifb_name(name) for name in there}
    return tuple(link for name, link in there.items() if _is_ours(link) and name not in wanted)


@lru_cache(maxsize=4096)  # each workload has a name of its own: 65536 were 16 MB after as many
def ifb_name(interface: str) -> str:
    return "mq" + hashlib.sha1(interface.encode(), usedforsecurity=False).hexdigest()[:12]


def _is_ours(link: Link) -> bool:
    return link.kind == "ifb" and link.group == OWN_GROUP


def _decode(handle: int, body: bytes) -> Bucket | None:
    """A bucket of ours. None: something else."""
    if handle >> 24 != _OURS:
        return None
    found = attributes(body, _TC.size)
    if found.get(_KIND) != b"tbf\0":
        return None
    options = attributes(found[_OPTIONS])
    parms = options[_PARMS]
    rate, peakrate = _RATE.unpack_from(parms)[5], _RATE.unpack_from(parms, 12)[5]
    if _RATE64 in options:
        (rate,) = _U64.unpack(options[_RATE64])
    if _PRATE64 in options:
        (peakrate,) = _U64.unpack(options[_PRATE64])
    (limit,) = _U32.unpack_from(parms, 24)
    return Bucket(rate, peakrate, limit, handle >> 16)


def _target(netlink: Netlink, index: int) -> int | None:
    """To which interface our filter there redirects."""
    for kind, body in netlink.dump(_GET_FILTER, _TC.pack(0, index, 0, _INWARDS, 0)):
        info = _TC.unpack_from(body)[4]
        options = attributes(attributes(body, _TC.size).get(_OPTIONS, b""))
        if kind != _NEW_FILTER or info >> 16 != _PRIORITY or _ACTIONS not in options:
            continue
        action = attributes(attributes(options[_ACTIONS])[1])
        return int(struct.unpack_from("=6iI", attributes(action[_OPTIONS])[_MIRRED_PARMS])[6])
    return None


# ---- writing


def apply(netlink: Netlink, interface: str, wanted: Shape | None) -> None:
    """Make it so; None: nothing of ours is left. What is right already is not touched. Raises Transient or Broken."""
    link = links.read_link(netlink, interface)
    if link is None:
        _drop_ifb(netlink, interface)
        if wanted is not None:
            raise Transient(f"interface {interface} is not there")
        return
    there = {interface: link}
    if (aside := links.read_link(netlink, ifb_name(interface))) is not None:
        there[aside.name] = aside
    actual, wanted = read(netlink, there).get(interface, Shape()), wanted or Shape()
    what = f"bandwidth limit of {interface}"
    if wanted.towards is None and actual.towards is not None:
        _demand(netlink, [(_DEL_QDISC, 0, _TC.pack(0, link.index, 0, _ROOT, 0))], what)
    elif wanted.towards is not None and wanted.towards != actual.towards:
        _demand(netlink, [_bucket_message(link.index, wanted.towards)], what)
    if wanted.away is None:
        _stop_redirecting(netlink, link, what)
        _drop_ifb(netlink, interface)
    elif wanted.away != actual.away:
        _redirect(netlink, link, aside or _make_ifb(netlink, link, what), wanted.away, what)


def remove_left_over(netlink: Netlink, there: Mapping[str, Link]) -> None:
    doomed = left_over(there)
    if doomed:
        links.remove_links(netlink, [link.index for link in doomed])


def _bucket_message(index: int, bucket: Bucket) -> Message:
    rates = b"".join(_RATE.pack(0, 1, 0, 0, 0, min(rate, _MOST)) for rate in (bucket.rate, bucket.peakrate))
    options = attribute(_PARMS, rates + struct.pack("=III", bucket.limit, 0, 0))
    options += attribute(_BURST, _U32.pack(bucket.burst))
    if bucket.rate > _MOST:
        options += attribute(_RATE64, _U64.pack(bucket.rate))
    if bucket.peakrate:
        options += attribute(_PBURST, _U32.pack(bucket.minburst))
        options += attribute(_PRATE64, _U64.pack(bucket.peakrate)) if bucket.peakrate > _MOST else b""
    body = _TC.pack(0, index, bucket.mark << 16, _ROOT, 0) + attribute(_KIND, b"tbf\0") + attribute(_OPTIONS, options)
    return _NEW_QDISC, CREATE | REPLACE, body


def _make_ifb(netlink: Netlink, link: Link, what: str) -> Link:
    name = ifb_name(link.name)
    body = _INFO.pack(0, 0, 0, _UP, _UP) + b"".join((
        attribute(_LINK_NAME, name.encode() + b"\0"), attribute(_LINK_MTU, _U32.pack(link.mtu)),
        attribute(_LINK_GROUP, _U32.pack(OWN_GROUP)), attribute(_LINK_INFO | NESTED, attribute(1, b"ifb\0")),
    ))
    _demand(netlink, [(_NEW_LINK, CREATE | EXCLUSIVE, body)], f"{what}: interface {name}")
    made = links.read_link(netlink, name)
    if made is None:
        raise Transient(f"{what}: interface {name} is gone again")
    return made


def _redirect(netlink: Netlink, link: Link, aside: Link, bucket: Bucket, what: str) -> None:
    """The bucket first: what is redirected meets it at once."""
    if not aside.up:
        links.change_link(netlink, LinkChange(index=aside.index, up=True))
    _demand(netlink, [_bucket_message(aside.index, bucket)], what)
    if _target(netlink, link.index) == aside.index:
        return
    _demand(netlink, [(_DEL_FILTER, 0, _our_filter(link.index))], what, absent=True)
    clsact = _TC.pack(0, link.index, _CLSACT_HANDLE, _CLSACT, 0) + attribute(_KIND, b"clsact\0")
    there = [refusal for refusal in netlink.send([(_NEW_QDISC, CREATE | EXCLUSIVE, clsact)])
             if refusal.errno != errno.EEXIST]
    if there:
        raise _fault(there[0], what)
    parms = struct.pack("=IIiiiiI", 0, 0, _STOLEN, 0, 0, _REDIRECT, aside.index)
    action = attribute(_KIND, b"mirred\0") + attribute(_OPTIONS | NESTED, attribute(_MIRRED_PARMS, parms))
    options = attribute(_SELECTOR, _EVERYTHING) + attribute(_ACTIONS | NESTED, attribute(1 | NESTED, action))
    body = _our_filter(link.index) + attribute(_KIND, b"u32\0") + attribute(_OPTIONS | NESTED, options)
    _demand(netlink, [(_NEW_FILTER, CREATE | EXCLUSIVE, body)], what)


def _our_filter(index: int) -> bytes:
    return _TC.pack(0, index, 0, _INWARDS, _PRIORITY << 16 | _ALL_PROTOCOLS)


def _stop_redirecting(netlink: Netlink, link: Link, what: str) -> None:
    """Our filter, and the clsact if nobody else has put anything there."""
    if _target(netlink, link.index) is None:
        return
    _demand(netlink, [(_DEL_FILTER, 0, _our_filter(link.index))], what, absent=True)
    filters = [body for hook in (_INWARDS, _OUTWARDS)
               for kind, body in netlink.dump(_GET_FILTER, _TC.pack(0, link.index, 0, hook, 0)) if kind == _NEW_FILTER]
    if not filters:
        _demand(netlink, [(_DEL_QDISC, 0, _TC.pack(0, link.index, _CLSACT_HANDLE, _CLSACT, 0))], what, absent=True)


def _drop_ifb(netlink: Netlink, interface: str) -> None:
    aside = links.read_link(netlink, ifb_name(interface))
    if aside is not None and _is_ours(aside):
        links.remove_links(netlink, [aside.index])


def _demand(netlink: Netlink, messages: list[Message], what: str, *, absent: bool = False) -> None:
    fine = (errno.ENOENT, errno.EINVAL) if absent else ()
    refused = [refusal for refusal in netlink.send(messages) if refusal.errno not in fine]
    if refused:
        raise _fault(refused[0], what)


def _fault(refusal: Refusal, what: str) -> Transient | Broken:
    if refusal.errno in (errno.ENOENT, errno.EOPNOTSUPP):
        return Broken(f"{what}: this kernel has no tbf, ifb, clsact, u32 or mirred: {refusal}")
    if refusal.errno == errno.EINVAL:
        return Broken(f"{what}: the kernel does not understand us: {refusal}")
    return Transient(f"{what}: {refusal}")
