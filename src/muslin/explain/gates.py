"""What hosts themselves ask of what workloads send and get through them.

A host endpoint with applyOnForward, preDNAT or doNotTrack policy has a say in workloads' packets: at the interface to
the fabric, and if it is `*`, at workloads' own interfaces too. `course` asks it packet by packet; here is which policy
lists it asks, of every host that asks any, so that they can be asked of all packets at once.

Most clusters have none. Where more than a few hosts have some, hosts that ask the same are one: then it is not known
any more which workloads share a host, and all of them count as being on two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from muslin.calc.cluster import Graph
from muslin.calc.members import Sort
from muslin.calc.settings import addresses_of
from muslin.explain.course import Standpoint, standpoint
from muslin.explain.journey import cover
from muslin.explain.packet import ICMP
from muslin.explain.path import DHCP, LINK_ICMP6
from muslin.intent import Action, Direction, Group, GroupId, HostInterface, Icmp, Match, Origin, Rule
from muslin.net import PROTOCOL_NUMBERS, Cidr

MOST_HOSTS = 64
_NONE = GroupId("")
_ANY_WORKLOADS = "?"
"""An interface that only `*` covers."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is asked of a packet that comes by an interface; "" for nothing. `failsafes` and `answers` (to failsafes)
    pass the first two lists, as rules whose action does not matter."""

    untracked: GroupId = _NONE
    pre_dnat: GroupId = _NONE
    forward: GroupId = _NONE
    failsafes: tuple[Rule, ...] = ()
    answers: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Gates:
    """Of one host: by workloads' interfaces, and by the way to the fabric. `host` "": of several that ask the same."""

    host: str
    arrival: Arrival
    departure: GroupId
    uplink_arrival: Arrival
    uplink_departure: GroupId


def gates(graph: Graph) -> tuple[dict[str, Gates], dict[GroupId, Group]]:
    """(by host, the policy lists that they ask)"""
    found: dict[str, Gates] = {}
    groups: dict[GroupId, Group] = {}
    for host in sorted(set(_asking(graph))):
        node = graph.nodes.get(host)
        own = [address.partition("/")[0] for address in addresses_of(node)] if node is not None else []
        here = standpoint(graph, host, own, (), about=frozenset())  # its lists alone are of interest
        found[host] = asked = _of(host, here)
        groups.update((name, here.intent.groups[name]) for name in _lists(asked))
    if len(found) > MOST_HOSTS:
        found = {host: replace(one, host="") for host, one in found.items()}
    return found, groups


def rules_of(asked: Gates) -> tuple[Rule, ...]:
    """Rules that are in no policy, and yet tell packets apart."""
    return tuple(dict.fromkeys(rule for arrival in (asked.arrival, asked.uplink_arrival)
                               for rule in (*arrival.failsafes, *arrival.answers)))


def own_rules(graph: Graph) -> tuple[Rule, ...]:
    """What of a packet to or from a host itself matters, without being written in a policy."""
    settings = [graph.settings(host) for host in sorted(graph.nodes)]
    listed = [one for each in settings for one in (*each.failsafe_inbound, *each.failsafe_outbound)]
    link = [Rule(action=Action.PASS, origin=_ORIGIN, protocol=PROTOCOL_NUMBERS["UDP"], ip_version=version,
                 source=Match(ports=((by, by),)), destination=Match(ports=((to, to),))) for version, by, to in DHCP]
    found = [Rule(action=Action.PASS, origin=_ORIGIN, protocol=ICMP[6], icmp=Icmp(type=kind))
             for kind in sorted(LINK_ICMP6)]
    ports = [make(*one) for one in listed for make in (_failsafe, _answer)]
    return tuple(dict.fromkeys([*link, *found, *ports]))


def _asking(graph: Graph) -> Iterator[str]:
    for found in graph.label_classes():
        if found.sort is Sort.HOST:
            lists = graph.groups(found)
            if any((lists.forward_ingress, lists.forward_egress, lists.untracked_ingress, lists.pre_dnat)):
                yield from (member.host for member in found.members.values())


def _of(host: str, here: Standpoint) -> Gates:
    every, uplink = cover(here.intent, _ANY_WORKLOADS), cover(here.intent, here.uplink)
    return Gates(host, _arrival(here, every), every.forward_egress if every is not None else _NONE,
                 _arrival(here, uplink), uplink.forward_egress if uplink is not None else _NONE)


def _arrival(here: Standpoint, covering: HostInterface | None) -> Arrival:
    if covering is None:
        return Arrival()
    early = bool(covering.untracked_ingress or covering.pre_dnat)
    settings = here.intent.settings
    return Arrival(
        covering.untracked_ingress, covering.pre_dnat, covering.forward_ingress,
        tuple(_failsafe(*one) for one in settings.failsafe_inbound) if early else (),
        tuple(_answer(*one) for one in settings.failsafe_outbound) if covering.untracked_ingress else (),
    )


def _lists(asked: Gates) -> Iterator[GroupId]:
    for arrival in (asked.arrival, asked.uplink_arrival):
        yield from filter(None, (arrival.untracked, arrival.pre_dnat, arrival.forward))
    yield from filter(None, (asked.departure, asked.uplink_departure))


def _failsafe(protocol: int, port: int, prefix: str) -> Rule:
    return Rule(action=Action.PASS, origin=_ORIGIN, protocol=protocol, source=_from(prefix),
                destination=Match(ports=((port, port),)))


def _answer(protocol: int, port: int, prefix: str) -> Rule:
    return Rule(action=Action.PASS, origin=_ORIGIN, protocol=protocol,
                source=Match(ports=((port, port),), nets=_from(prefix).nets))


def _from(prefix: str) -> Match:
    return Match(nets=(Cidr(prefix),)) if prefix else Match()


_ORIGIN = Origin(kind="Host", name="failsafe", direction=Direction.INGRESS)
