"""Matrix, diff and who-can are `journey` for every pair, host by host, reckoned by classes.

Mutants seen to fail here, each alone: a tier that ends with Pass drops its rest; a Pass rule allows; a profile's Pass
ends the profiles; `notNets` of the other family matches; a port name means its number for everybody; tunnels pass;
classes are not split by prefixes; the last port of a range, or source ports, are not cut; gained and lost are
swapped; a class that is alone reaches itself; staged policies are enforced; what they replace stays; workloads of one
host meet the way to the fabric; what was accepted early is asked again; failsafes, or the answers to them, are
forgotten; the way out, or `*` at the way in to the workload, is not asked; a list that ends with Pass denies; what a
holder's set says is forgotten; `notSelector` is ignored.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calcwords import OPEN, Things, allow, deny, gnp, gone, netset, np, profile, thing, tier, wl
from calcworlds import HOSTS, WORLDS, together
from muslin.calc.cluster import Graph
from muslin.calc.identity import resource_key
from muslin.explain import Packet, ends, journey
from muslin.explain.cluster import Diff, Matrix, diff, matrix, staged_effect, who_can
from muslin.explain.course import course, standpoint
from muslin.explain.traffic import Sample, asked, sample, sorts
from muslin.explain.whois import node_addresses
from muslin.intent import Action, EndpointKey, Match, Origin, Rule
from muslin.net import version_of

PORTS = [(6, 80), (6, 5432), (6, 99), (17, 53), (1, 0), (58, 0), (4, 0), (17, 4789), (132, 80)]


def graph_of(*things: Things) -> Graph:
    graph = Graph()
    for each in things:
        graph.update(each)
    graph.flush()
    return graph


Place = tuple[str, EndpointKey, str]


class Hosts:
    """A graph's hosts, each asked by `journey` as `course` does it, but made only once."""

    def __init__(self, graph: Graph) -> None:
        self.at = {}
        self.graph = graph
        for host in HOSTS:
            own = node_addresses(graph.nodes[host]) if host in graph.nodes else ()
            self.at[host] = standpoint(graph, host, own, graph.local_keys(host))
        self.places: list[Place] = [
            (host, key, address.partition("/")[0]) for host, one in self.at.items()
            for key, endpoint in one.intent.endpoints.items() for address in endpoint.addresses]

    def passes(self, sent: Packet, source: EndpointKey, destination: EndpointKey) -> bool:
        """False also where one of the two is not there."""
        by, to = (next((host for host, key, address in self.places if (key, address) == end), None)
                  for end in ((source, sent.source), (destination, sent.destination)))
        if by is None or to is None:
            return False
        here, there = self.at[by], self.at[to]
        arrives, leaves = here.intent.endpoints[source].interface, there.intent.endpoints[destination].interface
        ways = [journey(here.intent, sent, arrives_by=arrives, leaves_by=leaves)] if by == to else [
            journey(here.intent, sent, arrives_by=arrives, leaves_by=here.uplink),
            journey(there.intent, sent, arrives_by=there.uplink, leaves_by=leaves)]
        return all(way.verdict is Action.ALLOW for way in ways)

    def why(self, sent: Packet, *keys: EndpointKey) -> bool:
        """As `why` says it, which looks only at what sets say of this packet's addresses."""
        own = {host: node_addresses(node) for host, node in self.graph.nodes.items()}
        known = (self.graph.endpoint(resource_key(key)) for key in keys)
        by, to = (ends.workload(one) for one in known if one is not None)
        return course(self.graph, own, by, to, sent).verdict is Action.ALLOW

    def rules(self) -> list[Rule]:
        found = [rule for one in self.at.values() for policy in one.intent.policies.values()
                 for rule in (*policy.ingress, *policy.egress)]
        failsafe = [(one.intent.settings.failsafe_inbound, one.intent.settings.failsafe_outbound)
                    for one in self.at.values() if one.intent.host_interfaces]
        ports = sorted({port for pair in failsafe for some in pair for _, port, _ in some})[:4]
        origin = Origin(kind="", name="")
        return found + [Rule(action=Action.PASS, origin=origin, protocol=6, destination=Match(ports=((port, port),)))
                        for port in ports]


def packet(source: str, destination: str, protocol: int, port: int = 0, source_port: int = 49152,
           icmp: tuple[int, int] | None = None) -> Packet:
    kind, code = icmp or (None, 0)
    return Packet(source, destination, protocol, port, source_port, kind, code)


def members(graph: Graph, found: Matrix) -> dict[tuple[EndpointKey, int], list[int]]:
    at: dict[tuple[EndpointKey, int], list[int]] = {}
    for number, name in enumerate(found.classes):
        for key in name.members:
            at.setdefault((key, name.family), []).append(number)
    return at


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(WORLDS)
def test_the_matrix_says_what_a_path_says(world: list[tuple[int, int]]) -> None:
    """For every pair of workloads that have one address each of the family, and every port."""
    graph = graph_of(OPEN, together(world))
    found = matrix(graph, PORTS)
    allowed, at = found.allowed(), members(graph, found)
    check_matrix(Hosts(graph), PORTS, found.ports, lambda by, to, text: (by, to, text) in allowed, at)


def check_matrix(hosts: Hosts, ports: list[tuple[int, int]], texts: tuple[str, ...],
                 says: Callable[[int, int, str], bool], at: dict[tuple[EndpointKey, int], list[int]]) -> None:
    for _, source, by in hosts.places:
        for _, destination, to in hosts.places:
            family = version_of(by)
            if source == destination or version_of(to) != family:
                continue
            mine, other = at[source, family], at[destination, family]
            if len(mine) > 1 or len(other) > 1:
                continue
            for (protocol, port), text in zip(ports, texts, strict=True):
                ask = asked(protocol, port, family)
                if ask is not None:
                    sent = packet(by, to, protocol, port, icmp=ask.icmp)
                    passes = hosts.passes(sent, source, destination)
                    assert says(mine[0], other[0], text) is passes, (by, to, text)
                    assert hosts.why(sent, source, destination) is passes, (by, to, text)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(WORLDS, WORLDS)
def test_a_diff_is_the_path_after_without_the_path_before(
        old: list[tuple[int, int]], new: list[tuple[int, int]]) -> None:
    """For one packet of every sort that the rules of both worlds tell apart, and every pair of workloads."""
    check_diff(graph_of(OPEN, together(old)), graph_of(OPEN, together(new)))


ODD = [Sample(6, port, by) for port in (79, 80, 82) for by in (1000, 49151, 50000, 50001)]
"""Packets that nobody has cut the ports for."""


def check_diff(before: Graph, after: Graph) -> None:
    found = diff(before, after)
    pairs = [(one.source, one.destination) for one in found.changes]
    assert len(pairs) == len(set(pairs)) == sum(map(found.size, found.groups)), "no pair twice"
    worlds = [Hosts(before), Hosts(after)]
    everyone = sorted({(key, by) for world in worlds for _, key, by in world.places})
    rules = [rule for world in worlds for rule in world.rules()]
    for family in (4, 6):
        packets = [*map(sample, sorts(rules, [(6, 5432), (6, 99)], family)), *ODD]
        told = by_pair(found, family)
        for source, by in everyone:
            for destination, to in everyone:
                if source == destination or version_of(by) != family or version_of(to) != family:
                    continue
                if several(everyone, source, family) or several(everyone, destination, family):
                    continue
                changed = [0, 0]
                for number, ask in enumerate(packets):
                    sent = packet(by, to, ask.protocol, ask.port or 0, ask.source_port or 0, ask.icmp)
                    was, is_ = (world.passes(sent, source, destination) for world in worlds)
                    if was is not is_:
                        changed[is_] |= 1 << number
                assert (bool(changed[1]), bool(changed[0])) == told.get((source, destination), (False, False)), (by, to)


def several(everyone: list[tuple[EndpointKey, str]], key: EndpointKey, family: int) -> bool:
    return sum(one == key and version_of(address) == family for one, address in everyone) > 1


def by_pair(found: Diff, family: int) -> dict[tuple[EndpointKey, EndpointKey], tuple[bool, bool]]:
    """Pair of workloads -> (gained something, lost something)"""
    told: dict[tuple[EndpointKey, EndpointKey], tuple[bool, bool]] = {}
    for change in found.changes:
        source, destination = found.classes[change.source], found.classes[change.destination]
        if source.family == family:
            for one in source.members:
                for other in destination.members:
                    was = told.get((one, other), (False, False))
                    told[one, other] = (was[0] or bool(change.gained), was[1] or bool(change.lost))
    return told


def _guard(name: str, at: str, interface: str = "", *ips: str) -> Things:
    return thing("HostEndpoint", name, {"node": at, "interfaceName": interface, "expectedIPs": list(ips)},
                 labels={"host": at})


SAYS = [allow(protocol="TCP", to={"ports": [80]}), deny(protocol="TCP", to={"ports": ["22:80"]}), allow(), deny(),
        allow("role == 'web'"), allow(to="role == 'db'"), {"action": "Pass"}, deny("role == 'web'", protocol="UDP")]
_rules = st.lists(st.sampled_from(SAYS), max_size=3)
_sorts = st.sampled_from([
    {"applyOnForward": True}, {"applyOnForward": True, "preDNAT": True}, {"applyOnForward": True, "doNotTrack": True}])


def _policy(name: str, whom: str, sort: dict[str, bool], ingress: list[object], egress: list[object]) -> Things:
    one_way = sort.get("preDNAT", False)
    return gnp(name, whom, **sort, ingress=ingress, egress=[] if one_way else egress,
               types=["Ingress"] if one_way else ["Ingress", "Egress"])


guarded = st.tuples(
    st.lists(st.sampled_from([
        _guard("a", "h1", "eth0"), _guard("b", "h2", "", "172.16.0.2"), _guard("c", "h1", "*"), _guard("d", "h2", "*"),
        thing("FelixConfiguration", "default", {"failsafeInboundHostPorts": [
            {"protocol": "tcp", "port": 80, "net": "10.65.0.1/32"}, {"protocol": "tcp", "port": 22}],
            "failsafeOutboundHostPorts": [{"protocol": "tcp", "port": 49152}]})]), max_size=4),
    st.lists(st.builds(_policy, st.sampled_from("pqrs"), st.sampled_from(["host == 'h1'", "host == 'h2'", "has(host)"]),
                       _sorts, _rules, _rules), max_size=3),
)
GUARDED_PORTS = [(6, 80), (6, 22), (6, 81), (17, 53), (4, 0)]


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(guarded)
def test_the_matrix_asks_hosts_too(given_: tuple[list[Things], list[Things]]) -> None:
    """Their untracked, pre-DNAT and forward policy, by their own interfaces and by `*`; within a host and between."""
    guards, policies = given_
    graph = graph_of(
        OPEN, wl("a", "h1", "10.65.0.1", role="web"), wl("b", "h1", "10.65.0.2", role="web"),
        wl("c", "h2", "10.65.0.3", role="web"), wl("d", "h2", "10.65.0.4", role="db"),
        *(thing("Node", host, {"bgp": {"ipv4Address": f"172.16.0.{host[1:]}/24"}}) for host in HOSTS),
        *guards, *policies)
    found = matrix(graph, GUARDED_PORTS)
    allowed = found.allowed()
    check_matrix(Hosts(graph), GUARDED_PORTS, found.ports, lambda by, to, text: (by, to, text) in allowed,
                 members(graph, found))


NETS = ["10.65.0.0/31", "10.65.0.3/32", "10.65.0.0/16", "fd65::/126", "fd65::3/128"]
_nets = st.lists(st.sampled_from(NETS), min_size=1, max_size=2, unique=True)
_side = st.one_of(
    st.just({}), st.builds(lambda nets: {"nets": nets}, _nets), st.builds(lambda nets: {"notNets": nets}, _nets),
    st.sampled_from([{"selector": "role == 'web'"}, {"notSelector": "role == 'web'"}, {"selector": "kind == 'ours'"}]))
_ported = st.builds(lambda side, ports: {**side, **ports}, _side, st.sampled_from([
    {}, {"ports": [80]}, {"ports": ["80:81"]}, {"notPorts": [80]}, {"ports": [49152]}, {"notPorts": ["49152:50000"]}]))
_varied_rule = st.one_of(
    st.builds(lambda action, frm, to: {"action": action, "protocol": "TCP", "source": frm, "destination": to},
              st.sampled_from(["Allow", "Deny", "Pass", "Log"]), _ported, _ported),
    st.builds(lambda action, frm, to: {"action": action, "source": frm, "destination": to},
              st.sampled_from(["Allow", "Deny", "Pass"]), _side, _side),
    st.sampled_from([{"action": "Deny", "notProtocol": "UDP"}, {"action": "Allow", "ipVersion": 4},
                     {"action": "Deny", "protocol": "ICMP", "icmp": {"type": 8}},
                     {"action": "Allow", "protocol": "ICMPv6", "notICMP": {"type": 128, "code": 1}}]))
_varied_rules = st.lists(_varied_rule, max_size=3)
varied = st.tuples(
    st.lists(st.builds(lambda name, whom, ingress, egress: gnp(
        name, whom, ingress=ingress, egress=egress, types=["Ingress", "Egress"]),
        st.sampled_from("pq"), st.sampled_from(["role == 'web'", "role == 'db'"]), _varied_rules, _varied_rules),
        max_size=2),
    *(st.builds(lambda ingress, egress, name=name: profile(name, ingress=ingress, egress=egress),
                _varied_rules, _varied_rules) for name in ("one", "two")),
    st.sampled_from([tier("default", 100, "Deny"), tier("default", 100, "Pass")]),
)
VARIED_PORTS = [(6, 80), (6, 81), (6, 82), (17, 53), (1, 0), (58, 0)]


def varied_graph(world: tuple[list[Things], Things, Things, Things]) -> Graph:
    policies, *others = world
    both = ("one", "two")
    return graph_of(
        netset("s", "10.65.0.2/31", "fd65::2/127", kind="ours"),
        wl("a", "h1", "10.65.0.1", "fd65::1", role="web", profiles=both),
        wl("b", "h1", "10.65.0.2", "fd65::2", role="web", profiles=both),
        wl("c", "h2", "10.65.0.3", "fd65::3", role="db", profiles=both[::-1]),
        wl("d", "h2", "10.65.0.9", role="db", profiles=both), *others, *policies)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(varied)
def test_the_matrix_knows_prefixes_profiles_and_ports(world: tuple[list[Things], Things, Things, Things]) -> None:
    """Of both families and both sides, mixed in one rule; Pass in profiles; what network sets hold."""
    graph = varied_graph(world)
    found = matrix(graph, VARIED_PORTS)
    allowed = found.allowed()
    check_matrix(Hosts(graph), VARIED_PORTS, found.ports, lambda by, to, text: (by, to, text) in allowed,
                 members(graph, found))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(varied, varied)
def test_a_diff_knows_prefixes_profiles_and_ports(
        old: tuple[list[Things], Things, Things, Things], new: tuple[list[Things], Things, Things, Things]) -> None:
    """Of all sorts of traffic, with source ports."""
    check_diff(varied_graph(old), varied_graph(new))


TOWN = (
    OPEN, tier("default", 100, "Deny"), wl("web", "h1", "10.65.0.1", role="web"),
    wl("api", "h1", "10.65.0.2", role="api"), wl("db", "h2", "10.65.0.3", role="db"),
    wl("db2", "h2", "10.65.0.4", role="db"), netset("partner", "192.0.2.0/24", "192.0.2.7/32", kind="partner"),
    gnp("db", "role == 'db'", ingress=[allow("role == 'api'", {"ports": [5432]}, protocol="TCP")]),
)


def changes(found: Diff) -> set[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    return {(found.classes[one.source].title, found.classes[one.destination].title, one.gained, one.lost)
            for one in found.changes}


def test_a_wider_port_range_is_told_as_the_ports_that_it_adds() -> None:
    """Not as a sample of them, and for the one pair that it touches."""
    wider = gnp("db", "role == 'db'", ingress=[
        allow("role == 'api'", {"ports": ["5432:5440", 80]}, protocol="TCP"),
        allow("kind == 'partner'", protocol="UDP")])
    found = diff(graph_of(*TOWN), graph_of(*TOWN, wider))
    assert changes(found) == {
        ("shop/api", "shop: role=db (2)", ("tcp/80,5433:5440",), ()),
        ("192.0.2.0/24", "shop: role=db (2)", ("udp",), ()),
    }
    assert changes(diff(graph_of(*TOWN, wider), graph_of(*TOWN))) == {
        (source, to, lost, gained) for source, to, gained, lost in changes(found)}


def test_nothing_changes_where_nothing_changes() -> None:
    """Also when the same is said in other words."""
    other_words = gnp("db", "role == 'db'", ingress=[
        allow("role == 'api'", {"ports": ["5432:5432"]}, protocol=6), deny("role == 'api'")])
    assert diff(graph_of(*TOWN), graph_of(*TOWN, other_words)).groups == ()


def test_a_deleted_policy_opens_what_it_closed() -> None:
    """To everybody, the outside included."""
    found = changes(diff(graph_of(*TOWN), graph_of(*TOWN, gone(gnp("db")))))
    assert ("shop/web", "shop: role=db (2)", ("everything",), ()) in found
    assert ("any other address", "shop: role=db (2)", ("everything",), ()) in found
    api = next(gained for source, to, gained, _ in found if (source, to) == ("shop/api", "shop: role=db (2)"))
    assert api == ("tcp/0:5431,5433:65535", "udp", "sctp", "udplite", "icmp", "icmpv6", "any other protocol")


def test_a_label_that_changes_moves_one_workload() -> None:
    """Out of what its old class may, into what its new class may; the rest of both stay as they are."""
    found = diff(graph_of(*TOWN), graph_of(*TOWN, wl("web", "h1", "10.65.0.1", role="api")))
    assert ("shop/web", "shop: role=db (2)", ("tcp/5432",), ()) in changes(found)
    assert len(list(found.changes)) == 1


def test_workloads_that_come_and_go_gain_and_lose_all_that_they_may() -> None:
    """They are named apart as well."""
    found = diff(graph_of(*TOWN), graph_of(*TOWN, wl("new", "h1", "10.65.0.9", role="api"), gone(wl("web"))))
    assert [key.rpartition("/")[2] for key in found.appeared] == ["new"]
    assert [key.rpartition("/")[2] for key in found.vanished] == ["web"]
    told = changes(found)
    assert ("shop/new", "shop: role=db (2)", ("tcp/5432",), ()) in told
    assert ("shop/web", "shop/api", (), ("everything",)) in {
        (source, to, gained, lost) for source, to, gained, lost in told}


def test_who_can_reach_names_classes_and_the_outside() -> None:
    """Those that do not reach it are not named."""
    found = who_can(graph_of(*TOWN, gnp("db", "role == 'db'", ingress=[
        allow("role == 'api' || kind == 'partner'", {"ports": [5432]}, protocol="TCP")])),
        {EndpointKey("WorkloadEndpoint/shop/db")}, 6, 5432)
    assert [(found.classes[reach.source].title, [found.classes[to].title for to in reach.destinations])
            for reach in found.reaches] == [
        ("shop/api", ["shop/db"]), ("192.0.2.0/24", ["shop/db"])]
    assert [found.classes[number].title for number in found.destinations] == ["shop/db"]


def test_a_workload_reaches_others_of_its_class_but_is_not_asked_of_itself() -> None:
    """One that is alone in its class has no cell with itself."""
    found = matrix(graph_of(*TOWN), [(6, 80)])
    titles = {(found.classes[source].title, found.classes[to].title) for source, to, _ in found.allowed()}
    assert ("shop/web", "shop/web") not in titles
    assert ("shop/web", "shop/api") in titles
    crowd = matrix(graph_of(OPEN, wl("x", "h1", "10.65.0.1"), wl("y", "h1", "10.65.0.2")), [(6, 80)])
    assert [(name.title, len(name.members)) for name in crowd.classes] == [("shop: 2 workloads", 2)]
    assert crowd.allowed() == {(0, 0, "tcp/80")}


@pytest.mark.parametrize("number", range(1, 6))
def test_ranges_are_cut_at_every_edge(number: int) -> None:
    """Sorts cover all ports once, and no condition cuts one."""
    graph = graph_of(OPEN, np("p", ingress=[
        allow(to={"ports": [number, f"{10 * number}:{20 * number}"], "notPorts": [15 * number]}, protocol="TCP")]),
        wl("x", "h1", "10.65.0.1"))
    rules = graph.compiled("NetworkPolicy/shop/p").policy.ingress  # type: ignore[arg-type]
    tcp = [one for one in sorts(rules, [(6, 15 * number)], 4) if one.protocol == 6]
    covered = sorted(port for one in tcp for low, high in one.ports for port in range(low, high + 1))
    assert covered == list(range(65536))
    meant = {number}.union(range(10 * number, 20 * number + 1))
    for one in tcp:
        for condition in (meant, {15 * number}):
            inside = {port in condition for low, high in one.ports for port in (low, high)}
            assert len(inside) == 1, "a sort lies wholly inside a condition, or wholly outside"


def staged(name: str, **spec: object) -> Things:
    return thing("StagedGlobalNetworkPolicy", name, spec)


def test_staged_policies_are_foreseen_in_their_places() -> None:
    """Set stands for the enforced one of its name, Delete takes it away, a new one is added; nothing is enforced."""
    shut = {"selector": "role == 'db'", "types": ["Ingress"]}
    role_db, web = "shop: role=db (2)", "shop/web"
    assert staged_effect(graph_of(*TOWN)).groups == ()
    added = changes(staged_effect(graph_of(*TOWN, staged("web", selector="role == 'web'", types=["Ingress"]))))
    assert (role_db, web, (), ("everything",)) in added
    replaced = changes(staged_effect(graph_of(*TOWN, staged("db", **shut))))
    assert replaced == {("shop/api", role_db, (), ("tcp/5432",))}
    deleted = changes(staged_effect(graph_of(*TOWN, staged("db", stagedAction="Delete"))))
    assert (web, role_db, ("everything",), ()) in deleted
    assert matrix(graph_of(*TOWN), [(6, 5432)]) == matrix(graph_of(*TOWN, staged("db", **shut)), [(6, 5432)])


def test_answers_to_failsafes_pass_untracked_policy_between_hosts() -> None:
    """They are known by the port that they come from: here the one that a question is asked from."""
    failsafe = thing("FelixConfiguration", "default", {"failsafeOutboundHostPorts": [
        {"protocol": "tcp", "port": 49152, "net": "10.65.0.1/32"}]})
    guard = _guard("door", "h2", "eth0")
    shut = gnp("shut", "host == 'h2'", ingress=[deny()], doNotTrack=True, applyOnForward=True)
    titles = [{found.classes[one.source].title for one in found.reaches
               if any("db" in found.classes[to].title for to in one.destinations)}
              for found in (who_can(graph_of(OPEN, *TOWN[1:5], guard, shut, *more), {
                  EndpointKey("WorkloadEndpoint/shop/db")}, 6, 5432) for more in ((), (failsafe,)))]
    assert titles == [set(), {"shop/web"}]


def test_source_ports_are_told_apart() -> None:
    """Only what comes from that port is gained."""
    answers = gnp("db", "role == 'db'", ingress=[
        allow("role == 'api'", {"ports": [5432]}, protocol="TCP"),
        allow({"selector": "role == 'web'", "ports": [53]}, protocol="UDP")])
    assert changes(diff(graph_of(*TOWN), graph_of(*TOWN, answers))) == {
        ("shop/web", "shop: role=db (2)", ("udp from 53",), ())}
