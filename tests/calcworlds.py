"""Worlds for the properties of `calc`: a few keys, for each a few values that were chosen to get in each other's way.

Two endpoints want one address or one interface, endpoints move, labels come and go by profile, policies are mended and
broken again, tiers vanish under their policies. A history is a list of batches of (key, which of its values); 0 is
always "gone". So a failing history shrinks to a few words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import strategies as st

from calcwords import (
    Things,
    Value,
    allow,
    deny,
    gnp,
    gone,
    hep,
    illegible,
    namespace,
    netset,
    np,
    passing,
    profile,
    thing,
    tier,
    whole,
    wl,
)
from muslin.calc.cluster import Graph
from muslin.intent import AddressSet, Delta, HostIntent, MemberChange, Policy, PortSet
from muslin.model.ipam import Block, BlockAttribute
from muslin.model.meta import ResourceKey
from muslin.model.service import SERVICE_NAME

Choices = list[tuple[int, int]]
HOSTS = ("h1", "h2")

SQL = {"ports": [{"name": "sql", "protocol": "TCP", "port": 5432}]}
OTHER_SQL = {"ports": [{"name": "sql", "protocol": "TCP", "port": 99}], "mac": "02:00:00:00:00:01"}


def _block(owner: str | None, borrower: str = "") -> Things:
    attributes = (BlockAttribute(secondary={"node": borrower}),) if borrower else ()
    return {ResourceKey("IPAMBlock", "", "10.65.0.0/26"): Block(
        cidr="10.65.0.0/26", affinity=owner and f"host:{owner}", allocations=(0,) if borrower else (),
        attributes=attributes)}


def _slice(name: str, service: str, *addresses: str, port: int = 5432) -> Things:
    return whole("EndpointSlice", name, ns="shop", labels={SERVICE_NAME: service}, fields={
        "addressType": "IPv4", "endpoints": [{"addresses": list(addresses)}], "ports": [{"port": port}]})


VARIANTS: tuple[tuple[Things, ...], ...] = (
    (wl("a", "h1", "10.65.0.1", role="web"), wl("a", "h1", "10.65.0.1", "10.65.0.2", role="db"),
     wl("a", "h2", "10.65.0.1", role="web"), wl("a", "h1", "10.65.0.2", role="web", interface="musb", spec=SQL),
     illegible(wl("a"))),
    (wl("b", "h1", "10.65.0.2", role="db", spec=SQL), wl("b", "h1", "10.65.0.1", role="db", interface="musa"),
     wl("b", "h1", "10.65.0.2", "10.65.0.3", role="web", profiles=("zoned", "lost")),
     wl("b", "h1", "10.65.0.2", role="db", spec=OTHER_SQL)),
    (wl("c", "h1", "10.65.0.2", "10.65.0.1", role="api"), wl("c", "h1", "10.65.0.9", interface="musb", role="db"),
     wl("c", "h2", "10.65.0.9", "fd65::9", role="db", spec=SQL), wl("c", "h1", "10.65.0.300", role="db")),
    (wl("d", "h2", "10.65.0.4", ns="other", role="db", profiles=("kns.other",)),
     wl("d", "h1", "10.65.0.4", ns="other", interface="musc", role="web", profiles=("kns.other", "zoned")),
     wl("d", "h2", "10.65.0.1", ns="other", role="db", profiles=())),
    (netset("s", "192.0.2.0/24", "10.65.0.1/32", ns="shop", role="db"), netset("s", "192.0.2.0/24", ns="shop"),
     illegible(netset("s", ns="shop"), obj={"metadata": {"labels": {"role": "db"}}, "spec": {"nets": ["10.65.0.2"]}})),
    (netset("g", "10.65.0.2/32", "2001:db8::/32", role="db"), netset("g", "10.65.0.9/32", "x", zone="cold")),
    (hep("he", "h1", "10.65.0.1", role="db", spec=SQL), hep("he", "h2", "10.65.0.7", role="web"),
     hep("he", "h1", "10.65.0.1", interface="eth0", role="web", profiles=("open",)), hep("he", "h1"),
     illegible(hep("he"), obj={"metadata": {"labels": {"role": "db"}},
                               "spec": {"node": "h1", "interfaceName": "eth0", "profiles": ["open", 5]}})),
    (hep("hf", "h1", "172.16.0.1", interface="*", role="db", profiles=("open", "zoned")),
     hep("hf", "h1", "10.65.0.1", interface="eth1", role="db"), hep("hf", "h2", interface="*", role="web"),
     hep("hf", "h1", "172.16.0.1", interface="eth0", role="db", profiles=("lost",))),
    (profile("open", ingress=[allow()], egress=[allow()]), profile("open", ingress=[allow("role == 'db'")]),
     illegible(profile("open")), profile("open", ingress=[{"action": "?"}], labels={"role": "odd", "zone": "cold"})),
    (profile("zoned", labels={"zone": "cold"}), profile("zoned", labels={"zone": "warm"}, egress=[passing()])),
    (profile("kns.other", ingress=[deny()], labels={"pcns.team": "red"}), profile("kns.other")),
    (namespace("other", team="red"), namespace("other", team="blue")),
    (namespace("shop", team="red"), namespace("shop")),
    (tier("default", 100, "Deny"), tier("default", 100, "Pass"), illegible(tier("default"))),
    (tier("first", 1, "Pass"), tier("first", 1000, "Deny"), tier("first")),
    (np("p", "role == 'web'", ingress=[allow("role == 'db'")]), np("p", "role in {'web', 'db'}", egress=[allow()]),
     np("p", "role == 'web'", ingress=[allow("zone == 'cold'"), allow({"notSelector": "role == 'db'"})]),
     np("p", "role ="), np("p", "role == 'web'", ingress=[{"action": "?"}]),
     illegible(np("p"), obj={"spec": {"selector": "role == 'db'"}})),
    (np("o", "has(role)", ns="other", ingress=[allow({"namespaceSelector": "team == 'red'"})]),
     np("o", ns="other", order=1, egress=[deny({"namespaceSelector": "all()"})])),
    (gnp("q", "role == 'db'", order=5, ingress=[allow({"ports": ["sql"], "selector": "role == 'db'"}, protocol="TCP")]),
     gnp("q", "zone == 'cold'", order=5, ingress=[allow(to={"ports": ["sql", 80]}, protocol="TCP")]),
     gnp("q", "", order=5, doNotTrack=True, applyOnForward=True, ingress=[allow("role == 'db'")]), illegible(gnp("q")),
     gnp("q", "role == 'db'", order=7, types=["Egress"]),
     gnp("q", "role == 'db'", ingress=[allow({"ports": ["sql"], "selector": "role == 'db'"}, protocol="TCP")])),
    (gnp("first.r", "!has(zone)", tier="first", ingress=[allow({"notSelector": "role == 'db'"}), passing()]),
     gnp("first.r", namespaceSelector="team == 'red'", tier="first", egress=[allow(to="role == 'db'")]),
     gnp("first.r", "all()", ingress=[allow("role == 'db'"), deny(protocol="TCP", frm={
         "notPorts": ["sql"], "ports": ["sql"], "selector": "all()"})])),
    (gnp("u", "has(role)", doNotTrack=True, applyOnForward=True, egress=[deny(to="role == 'db'")]),
     gnp("u", "role == 'db'", doNotTrack=True, applyOnForward=True, ingress=[allow()], egress=[allow()]),
     gnp("u", "role == 'db'", applyOnForward=True, ingress=[allow("role == 'web'")])),
    (gnp("first.n", "has(role)", tier="first", preDNAT=True, applyOnForward=True, ingress=[deny("role == 'web'")]),
     gnp("first.n", "has(role)", tier="first", applyOnForward=True, egress=[allow()]),
     gnp("first.n", "global()", tier="first", ingress=[passing()])),
    (thing("StagedNetworkPolicy", "p", {"selector": "role == 'db'", "ingress": [allow("role == 'web'")]}, ns="shop"),
     thing("StagedNetworkPolicy", "p", {"stagedAction": "Delete"}, ns="shop"),
     thing("StagedNetworkPolicy", "p", {"stagedAction": "Learn", "selector": "role == 'db'"}, ns="shop"),
     thing("StagedNetworkPolicy", "p", {"selector": "role =", "egress": [deny()]}, ns="shop"),
     illegible(thing("StagedNetworkPolicy", "p", ns="shop"), obj={"spec": {"stagedAction": "Delete"}})),
    (thing("StagedGlobalNetworkPolicy", "q", {"tier": "first", "order": 5, "ingress": [allow("zone == 'cold'")]}),
     thing("StagedGlobalNetworkPolicy", "q", {"stagedAction": "Delete"}),
     illegible(thing("StagedGlobalNetworkPolicy", "q"))),
    (thing("StagedKubernetesNetworkPolicy", "k", {"podSelector": {}, "ingress": [{"ports": [{"port": "sql"}]}]},
           ns="other"),
     thing("StagedKubernetesNetworkPolicy", "k", {"ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]}, ns="other")),
    (_slice("a", "db", "10.65.0.1", "10.65.0.2"), _slice("a", "db", "10.65.0.2", port=99), _slice("a", "cache", "x"),
     illegible(_slice("a", "db"), obj={"metadata": {"labels": {SERVICE_NAME: "db"}},
                                       "endpoints": [{"addresses": ["10.65.0.9"]}], "ports": [{"port": 5432}]})),
    (_slice("b", "db", "fd65::9", "10.65.0.2"), _slice("b", "cache", "10.65.0.7")),
    (thing("Service", "db", ns="shop"), illegible(thing("Service", "db", ns="shop"))),
    (np("v", "role == 'web'", order=2, types=["Egress"], egress=[allow(to={"services": {"name": "db"}})]),
     np("v", "role == 'web'", order=2, ingress=[deny({"services": {"name": "cache"}})])),
    (gnp("w", "has(role)", order=2, ingress=[allow({"services": {"name": "db", "namespace": "shop"}})]),),
    (whole("ServiceAccount", "robot", ns="shop", labels={"zone": "cold"}, fields={}),
     whole("ServiceAccount", "robot", ns="shop", labels={"zone": "warm"}, fields={}),
     illegible(whole("ServiceAccount", "robot", ns="shop", fields={}), obj={"metadata": {"labels": {"zone": "cold"}}})),
    (wl("e", "h1", "10.65.0.5", role="web", profiles=("open", "ksa.shop.robot"), spec={"serviceAccountName": "robot"}),
     wl("e", "h1", "10.65.0.5", role="db", profiles=("ksa.shop.robot",))),
    (gnp("x", "role == 'db'", order=3, serviceAccountSelector="zone == 'cold'", ingress=[
        allow({"serviceAccounts": {"names": ["robot"], "selector": "zone == 'cold'"}})]),),
    (thing("FelixConfiguration", "default", {"ipv6Support": False}),
     thing("FelixConfiguration", "default", {"defaultEndpointToHostAction": "?"}),
     thing("FelixConfiguration", "default", {"natOutgoingExclusions": "IPPoolsAndHostIPs", "natPortRange": "9:1"})),
    (thing("FelixConfiguration", "racks", {"nodeSelector": "rack == 'a'", "nftablesMode": "Disabled"}),
     thing("FelixConfiguration", "racks", {"nodeSelector": "has(rack)", "natOutgoingExclusions": "IPPoolsAndHostIPs"}),
     thing("FelixConfiguration", "racks", {"nodeSelector": "rack ="}),
     illegible(thing("FelixConfiguration", "racks"), obj={"spec": {"nodeSelector": "rack == 'b'"}})),
    (thing("FelixConfiguration", "node.h1", {"defaultEndpointToHostAction": "Accept"}),),
    (thing("IPPool", "pool", {"cidr": "10.65.0.0/16", "natOutgoing": True}), thing("IPPool", "pool", {"cidr": "x"})),
    (thing("Node", "h1", {"bgp": {"ipv4Address": "172.16.0.1/24"}}),
     thing("Node", "h1", {"bgp": {"ipv4Address": "172.16.0.9/24"}}, labels={"rack": "a"}),
     thing("Node", "h1", {"addresses": [{"address": "172.16.0.1"}, {"address": "?"}]}, labels={"rack": "b"})),
    (thing("Node", "h2", {"bgp": {"ipv4Address": "172.16.0.2/24"}}),
     thing("Node", "h2", {"bgp": {"ipv4Address": "172.16.0.2/24"}}, labels={"rack": "a"})),
    (thing("BGPPeer", "peer", {"peerIP": "172.16.0.77", "asNumber": 65000, "filters": ["filter"], "ttlSecurity": 3}),
     thing("BGPPeer", "peer", {"peerIP": "?", "asNumber": 65000})),
    (thing("BGPConfiguration", "default", {
        "asNumber": 64513, "communities": [{"name": "c", "value": "1:2"}], "nodeMeshMaxRestartTime": "90s",
        "prefixAdvertisements": [{"cidr": "10.65.0.0/16", "communities": ["c"]}], "listenPort": 1790}),),
    (thing("BGPFilter", "filter", {"importV4": [{
        "action": "Accept", "cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 8, "max": 9},
        "communities": {"values": ["1:2"]}, "asPathPrefix": [64512],
        "operations": [{"setPriority": {"value": 5}}]}]}),),
    (_block("h1"), _block("h2", "h1"), _block(None)),
)


def value(which: tuple[int, int]) -> Things:
    """The things of one choice: (key, which of its values; 0 is gone)."""
    key, number = which
    return VARIANTS[key][number - 1] if number else gone(VARIANTS[key][0])


def _choice(key: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.just(key), st.integers(0, len(VARIANTS[key])))


def _seldom_gone(values: tuple[Things, ...]) -> st.SearchStrategy[int]:
    """A world is dense, so that things meet."""
    return st.sampled_from([0, *(number for number in range(1, len(values) + 1) for _ in range(3))])


CHOICES = st.integers(0, len(VARIANTS) - 1).flatmap(_choice)
BATCHES = st.lists(CHOICES, max_size=4)
WORLDS = st.tuples(*map(_seldom_gone, VARIANTS)).map(lambda chosen: list(enumerate(chosen)))
HISTORIES = st.tuples(WORLDS, st.lists(BATCHES, max_size=6)).map(lambda parts: [parts[0], *parts[1]])


def together(choices: Choices) -> dict[ResourceKey, Value]:
    """One batch; the later choice of a key wins."""
    batch: dict[ResourceKey, Value] = {}
    for which in choices:
        batch |= value(which)
    return batch


def hosts_story(history: list[Choices]) -> list[Delta]:
    """What h1 is told, from a whole on."""
    graph = Graph()
    deltas = [graph.subscribe("h1")]
    for batch in history:
        graph.update(together(batch))
        if "h1" in (hosts := graph.flush().hosts):
            deltas.append(hosts["h1"])
    return deltas


class Told:
    """What a host has been told, added up by a strict listener: it takes a delta in the documented order, refuses
    whatever speaks of something that is not there, and whatever says nothing new."""

    def __init__(self) -> None:
        self.state = HostIntent()

    def hear(self, delta: Delta) -> None:
        if delta.snapshot:
            self.state = HostIntent()
        self._hear_sets(delta)
        state = self.state
        for table, changes in ((state.policies, delta.policies), (state.groups, delta.groups),
                               (state.endpoints, delta.endpoints), (state.host_interfaces, delta.host_interfaces),
                               (state.routes, delta.routes), (state.neighbours, delta.neighbours)):
            for key, found in changes.items():
                if found is not None:
                    assert table.get(key) != found, f"{key} is told again"  # type: ignore[call-overload]
                    table[key] = found  # type: ignore[index, assignment]
            self.check()
        for table, changes in ((state.neighbours, delta.neighbours), (state.routes, delta.routes),
                               (state.host_interfaces, delta.host_interfaces), (state.endpoints, delta.endpoints),
                               (state.groups, delta.groups), (state.policies, delta.policies),
                               (state.sets, delta.sets)):
            for key, found in changes.items():
                if found is None:
                    assert key in table, f"{key} goes, and was not there"
                    del table[key]  # type: ignore[attr-defined]
            self.check()
        if delta.settings is not msgspec.UNSET:
            assert delta.snapshot or delta.settings != state.settings
            state.settings = delta.settings
        if delta.bgp is not msgspec.UNSET:
            assert delta.snapshot or delta.bgp != state.bgp
            state.bgp = delta.bgp

    def _hear_sets(self, delta: Delta) -> None:
        sets = self.state.sets
        for set_id, change in delta.sets.items():
            if isinstance(change, AddressSet | PortSet):
                assert sets.get(set_id) != change, f"{set_id} is told again"
                sets[set_id] = change
            elif isinstance(change, MemberChange):
                old = sets[set_id]
                if isinstance(old, AddressSet):
                    members = self._members(old.members, change.added, change.removed)
                    sets[set_id] = AddressSet(id=set_id, members=members)
                else:
                    ports = self._members(old.members, change.ports_added, change.ports_removed)
                    sets[set_id] = PortSet(id=set_id, members=ports)

    def _members(self, old: frozenset[Any], added: frozenset[Any], removed: frozenset[Any]) -> frozenset[Any]:
        assert added or removed, "a change that changes nothing"
        assert not added & old, "a member joins that is there"
        assert removed <= old, "a member leaves that is not there"
        return (old - removed) | added

    def check(self) -> None:
        """Nothing refers to what is not there."""
        state = self.state
        for policy in state.policies.values():
            assert named_sets(policy) <= state.sets.keys(), f"{policy.id} uses a set that is not there"
        for group in state.groups.values():
            named = {*group.profiles, *(name for stage in group.stages for name in stage.policies)}
            assert named <= state.policies.keys(), f"group {group.id} names a policy that is not there"
        for endpoint in state.endpoints.values():
            assert {endpoint.ingress, endpoint.egress} <= state.groups.keys()
        for interface in state.host_interfaces.values():
            assert {interface.ingress, interface.egress} <= state.groups.keys()
            assert {group for group in (
                interface.forward_ingress, interface.forward_egress, interface.untracked_ingress,
                interface.untracked_egress, interface.pre_dnat) if group} <= state.groups.keys()


def named_sets(policy: Policy) -> set[str]:
    return {
        name
        for rule in policy.ingress + policy.egress for match in (rule.source, rule.destination)
        for name in (*match.sets, *match.not_sets, *match.named_ports, *match.not_named_ports)
    }


def enforced(intent: HostIntent) -> dict[str, object]:
    """What kernels enforce of it: nothing that is staged, no mark, and every endpoint with the rules it meets."""
    policies = {name: msgspec.structs.replace(found, replaced_by="") for name, found in intent.policies.items()
                if not found.staged}

    def rules(group_id: str) -> object:
        group = intent.groups[group_id]  # type: ignore[index]
        stages = [(stage.tier, [name for name in stage.policies if name in policies], stage.default_action)
                  for stage in group.stages]
        return [stage for stage in stages if stage[1]], group.profiles, group.end

    used = {name for policy in policies.values() for name in named_sets(policy)}
    return {
        "policies": policies, "sets": {name: found for name, found in intent.sets.items() if name in used},
        "endpoints": {key: (msgspec.structs.replace(found, ingress="", egress=""), rules(found.ingress),
                            rules(found.egress)) for key, found in intent.endpoints.items()},
        "settings": intent.settings, "bgp": intent.bgp,
    }


def same(left: HostIntent, right: HostIntent, *, but: Mapping[str, object] = {}) -> None:
    """Equal in everything but the revision, said field by field so that a difference can be read."""
    for name in HostIntent.__struct_fields__:
        if name != "revision" and name not in but:
            assert getattr(left, name) == getattr(right, name), name
