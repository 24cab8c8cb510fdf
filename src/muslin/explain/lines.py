"""Whether hosts that have host endpoints let connections pass that carry the cluster: asked of a scene, remembered.

A host is worked out when it is asked about. Hosts with the same lists of policies at their uplink say the same of
addresses that these policies cannot tell apart: of a thousand alike one is asked, about one address of each sort.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from muslin.explain.course import Standpoint, standpoint
from muslin.explain.journey import Flow, cover, journey
from muslin.explain.packet import EPHEMERAL, Packet, covering
from muslin.explain.scene import BGP, Scene
from muslin.intent import Action, AddressSet, HostIntent, Origin
from muslin.net import PROTOCOL_NUMBERS, Cidr, version_of

_TCP = PROTOCOL_NUMBERS["TCP"]


class Lines:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._hosts: dict[str, tuple[Standpoint, _Sorts]] = {}
        self._lists: dict[Hashable, _Sorts] = {}
        self._known: dict[Hashable, Origin | None] = {}
        self._others = {version: {one for one in (*scene.peers, *((address, BGP) for address in scene.owners))
                                  if version_of(one[0]) == version} for version in (4, 6)}

    def stop(self, host: str, own: str, remote: str, port: int, *, outwards: bool) -> Origin | None:
        """The rule by which the host would not let a connection pass; None: it passes, or is no business of ours."""
        if host not in self._scene.guarded or version_of(own) != version_of(remote):
            return None
        stand, sorts = self._host(host)
        key = (sorts, sorts.of(own), sorts.of(remote), port, outwards)
        if key not in self._known:
            self._known[key] = _stop(stand, own, remote, port, outwards)
        return self._known[key]

    def stops(self, host: str, own: str) -> bool:
        """Would it not let something pass that BGP may speak to, either way?"""
        if host not in self._scene.guarded:
            return False
        _, sorts = self._host(host)
        version = version_of(own)
        return any(self.stop(host, own, remote, port, outwards=outwards) is not None
                   for remote, port in sorts.one_of_each(version, self._others[version]) for outwards in (True, False))

    def _host(self, host: str) -> tuple[Standpoint, _Sorts]:
        found = self._hosts.get(host)
        if found is None:
            stand = standpoint(self._scene.policy, host, self._scene.hosts.get(host, ()), ())
            key = _list(stand)
            if key not in self._lists:
                self._lists[key] = _Sorts(stand.intent)
            found = self._hosts[host] = stand, self._lists[key]
        return found


class _Sorts:
    """Addresses by all that the rules of a host can learn of them."""

    def __init__(self, intent: HostIntent) -> None:
        self._members: dict[Cidr, set[Hashable]] = {}
        self._gather(intent)
        self._lengths = {version: sorted({32 if version == 4 else 128} | {
            int(net.partition("/")[2]) for net in self._members if version_of(net) == version}) for version in (4, 6)}
        self._sorts: dict[str, Hashable] = {}
        self._each: dict[int, list[tuple[str, int]]] = {}

    def of(self, address: str) -> Hashable:
        found = self._sorts.get(address)
        if found is None:
            within = covering(address, self._lengths[version_of(address)])
            found = frozenset[Hashable]().union(*(self._members.get(net, ()) for net in within))
            self._sorts[address] = found
        return found

    def one_of_each(self, version: int, others: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """Of each sort and port; always of the same others."""
        if version not in self._each:
            self._each[version] = list({(self.of(address), port): (address, port) for address, port in others}.values())
        return self._each[version]

    def _gather(self, intent: HostIntent) -> None:
        for policy in intent.policies.values():
            for rule in (*policy.ingress, *policy.egress):
                for match in (rule.source, rule.destination):
                    for net in (*match.nets, *match.not_nets):
                        self._members.setdefault(net, set()).add(net)
        for set_id, members in intent.sets.items():
            if isinstance(members, AddressSet):
                for member in members.members:
                    self._members.setdefault(member, set()).add(set_id)
            else:
                for address, protocol, port in members.members:
                    self._members.setdefault(address, set()).add((set_id, protocol, port))


def _list(stand: Standpoint) -> Hashable:
    """Hosts with the same lists of policies at their uplink, and the same failsafes, say the same."""
    found, settings = cover(stand.intent, stand.uplink), stand.intent.settings
    lists = None if found is None else (
        found.ingress, found.egress, found.untracked_ingress, found.untracked_egress, found.pre_dnat)
    return lists, settings.failsafe_inbound, settings.failsafe_outbound, settings.drop_invalid


def _stop(stand: Standpoint, own: str, remote: str, port: int, outwards: bool) -> Origin | None:
    """There, and back."""
    intent, uplink = stand.intent, stand.uplink
    there = Packet(own if outwards else remote, remote if outwards else own, _TCP, port, EPHEMERAL)
    back = Packet(there.destination, there.source, _TCP, EPHEMERAL, port)
    if outwards:
        first = journey(intent, there, leaves_by=uplink)
        flow = Flow.ESTABLISHED if first.tracked else Flow.NEW
        second = journey(intent, back, arrives_by=uplink, flow=flow)
    else:
        first = journey(intent, there, arrives_by=uplink)
        flow = Flow.ESTABLISHED if first.tracked else Flow.NEW
        second = journey(intent, back, leaves_by=uplink, flow=flow)
    denying = next((one for one in (first, second) if one.verdict is Action.DENY), None)
    return denying.decided_by if denying is not None else None
