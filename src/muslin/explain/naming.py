"""What people call a class of addresses, and a set of ports."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from muslin.errors import Invalid
from muslin.explain.algebra import bits
from muslin.explain.census import Census
from muslin.explain.classes import AddressClass
from muslin.explain.spoken import Mask
from muslin.explain.traffic import LAST_PORT, Range, Traffic
from muslin.explain.walk import IP_IN_IP, VXLAN_PORT, parts_of
from muslin.intent import EndpointKey
from muslin.model.names import parse_workload_endpoint_name
from muslin.net import PROTOCOL_NUMBERS, Cidr, protocol_name

_OURS = ("projectcalico.org/", "pcns.", "pcsa.")
_NAMESPACE = "projectcalico.org/namespace"
_MANY_REGIONS = 3
_UDP = PROTOCOL_NUMBERS["UDP"]


class ClassName(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`kind`: workloads or outside. `labels`: those that all members have. `members`: keys of workload endpoints.
    `nets`: of the outside, the prefixes that it is made of; none: everything that nobody names."""

    kind: str
    family: int
    title: str
    sample: str
    labels: dict[str, str] = {}
    namespaces: tuple[str, ...] = ()
    members: tuple[EndpointKey, ...] = ()
    nets: tuple[Cidr, ...] = ()


def class_name(censuses: Sequence[Census], found: AddressClass) -> ClassName:
    if found.outside:
        return ClassName(kind="outside", family=found.family, title=_outside(found), sample=found.sample,
                         nets=() if found.rest else tuple(found.region))
    members = tuple(dict.fromkeys(key for key, _ in found.members))
    spaces = tuple(sorted({parts_of(key)[1] for key in members}))
    labels = _common(censuses, found)
    return ClassName(kind="workloads", family=found.family, title=_workloads(members, spaces, labels),
                     sample=found.sample, labels=labels, namespaces=spaces, members=members)


def workload_title(key: EndpointKey) -> str:
    """`shop/web` of the endpoint's key."""
    _, namespace, name = parts_of(key)
    with suppress(Invalid):  # somebody named it otherwise: then that is its name
        name = parse_workload_endpoint_name(name)[2]
    return f"{namespace}/{name}" if namespace else name


def _workloads(members: tuple[EndpointKey, ...], spaces: tuple[str, ...], labels: dict[str, str]) -> str:
    if len(members) == 1:
        return workload_title(members[0])
    told = ", ".join(f"{name}={value}" for name, value in labels.items())
    where = spaces[0] if len(spaces) == 1 else f"{len(spaces)} namespaces"
    return f"{where}: {told} ({len(members)})" if told else f"{where}: {len(members)} workloads"


def _outside(found: AddressClass) -> str:
    if found.rest or not found.region:
        return "any other address"
    shown = ", ".join(found.region[:_MANY_REGIONS])
    more = len(found.region) - _MANY_REGIONS
    return f"{shown} and {more} more" if more > 0 else shown


def _common(censuses: Sequence[Census], found: AddressClass) -> dict[str, str]:
    """Labels that all have, in every census in which they are; without those that we add ourselves."""
    common: dict[str, str] | None = None
    for known, kinds in zip(censuses, found.kinds, strict=True):
        for kind in sorted(kinds):
            labels = known.kinds[kind].labels
            if common is None:
                common = {name: value for name, value in sorted(labels.items()) if not name.startswith(_OURS)}
            else:
                common = {name: value for name, value in common.items() if labels.get(name) == value}
    return common or {}


def traffic_texts(mask: Mask, traffic: Sequence[Traffic], *, of_workload: bool) -> tuple[str, ...]:
    """A set of sorts of traffic in as few words as may be: `tcp/80,443`, `udp`, `everything`. `of_workload`: a
    workload sends it, so that tunnels need not be excepted by name: no policy ever lets one through."""
    if not mask:
        return ()
    if of_workload:
        mask = _with_tunnels(mask, traffic)
    if mask == (1 << len(traffic)) - 1:
        return ("everything",)
    chosen = [one for one in map(traffic.__getitem__, bits(mask)) if not (of_workload and one.protocol == IP_IN_IP)]
    plain: dict[tuple[int, tuple[Range, ...]], list[Range]] = {}
    words: list[str] = []
    for one in chosen:
        if one.protocol is not None and one.ports:
            plain.setdefault((one.protocol, one.source_ports), []).extend(one.ports)
        elif one.icmp is None:
            words.append(str(one))
    told = [str(Traffic(protocol, joined(ranges), by)) for (protocol, by), ranges in plain.items()]
    return (*told, *_icmp_texts(chosen, traffic), *words)


def _with_tunnels(mask: Mask, traffic: Sequence[Traffic]) -> Mask:
    """IP in IP where any other protocol is meant, VXLAN where the ports around it are."""
    chosen = [traffic[number] for number in bits(mask)]
    for number, one in enumerate(traffic):
        if one.protocol == IP_IN_IP and any(other.protocol is None for other in chosen):
            mask |= 1 << number
        elif one.ports == ((VXLAN_PORT, VXLAN_PORT),) and one.protocol == _UDP:
            beside = [other for other in chosen
                      if other.protocol == _UDP and other.source_ports == one.source_ports]
            if all(any(low <= port <= high for other in beside for low, high in other.ports)
                   for port in (VXLAN_PORT - 1, VXLAN_PORT + 1)):
                mask |= 1 << number
    return mask


def _icmp_texts(chosen: list[Traffic], traffic: Sequence[Traffic]) -> list[str]:
    picked = [one for one in chosen if one.icmp is not None]
    if not picked or picked[0].protocol is None:
        return []
    if len(picked) == sum(one.icmp is not None for one in traffic):
        return [protocol_name(picked[0].protocol).lower()]
    return [str(one) for one in picked]


def joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Sorted, and those that touch as one."""
    done: list[Range] = []
    for low, high in sorted(ranges):
        if done and low <= min(done[-1][1] + 1, LAST_PORT):
            done[-1] = (done[-1][0], max(high, done[-1][1]))
        else:
            done.append((low, high))
    return tuple(done)
