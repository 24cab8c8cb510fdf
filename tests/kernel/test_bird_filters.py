"""BGPFilters in a real BIRD against a naive reading of the same rules: which routes come through, and how changed?

One host announces and receives; a plain router has one session with it for each filter, at an address of its own.
"""

from __future__ import annotations

import ipaddress
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bgpwords import Cluster, bgp_filter, configuration, node, peer, pool
from birdrig import Host, switched
from muslin.model.ipam import Block
from muslin.model.network import (
    BGPFilter,
    FilterAddCommunity,
    FilterCommunities,
    FilterOperation,
    FilterPrefixLength,
    FilterPrependASPath,
    FilterRule,
    FilterSetPriority,
)
from muslin.render.bird import conf
from netrig import run, wait_for

pytestmark = pytest.mark.kernel

OURS, THEIRS = 64512, 65001
BLOCKS = ["10.65.0.0/26", "10.65.0.64/26", "10.65.1.0/24", "10.66.0.0/16", "10.67.0.4/30"]
OFFERED = {"10.70.0.0/16": (), "10.70.1.0/24": ("65001:7",), "10.70.1.128/25": ("65001:7", "1:2:3"), "10.71.0.0/20": ()}
NETS = ["0.0.0.0/0", "10.0.0.0/8", "10.65.0.0/16", "10.65.0.0/26", "10.66.0.0/16", "10.70.1.0/24", "10.70.0.0/15"]


def some_filter(dice: random.Random) -> BGPFilter:
    rules = tuple(some_rule(dice) for _ in range(dice.randint(1, 4)))
    return bgp_filter(export_v4=rules, import_v4=rules)


def some_rule(dice: random.Random) -> FilterRule:
    fields: dict[str, object] = {"action": dice.choice(["Accept", "Reject", "Reject"])}
    if dice.random() < 0.8:
        net = dice.choice(NETS)
        fields |= {"cidr": net, "match_operator": dice.choice(["In", "In", "NotIn", "Equal", "NotEqual"])}
        if dice.random() < 0.5:
            first = dice.randint(int(net.rpartition("/")[2]), 27)
            fields["prefix_length"] = FilterPrefixLength(min=first, max=dice.randint(first, 32))
    if dice.random() < 0.2:
        fields["source"] = "RemotePeers"
    if dice.random() < 0.2:
        fields["peer_type"] = dice.choice(["eBGP", "iBGP"])
    if dice.random() < 0.2:
        fields["communities"] = FilterCommunities(values=(dice.choice(["65001:7", "1:2:3"]),))
    if dice.random() < 0.1:
        fields["as_path_prefix"] = dice.choice([(THEIRS,), (THEIRS, 65002), (65002,)])
    if dice.random() < 0.1:
        fields["priority"] = dice.choice([1024, 512])
    if fields["action"] == "Accept" and dice.random() < 0.5:
        fields["operations"] = (
            FilterOperation(add_community=FilterAddCommunity(value="64512:9")),
            FilterOperation(prepend_as_path=FilterPrependASPath(prefix=(65100, 65101))),
            FilterOperation(set_priority=FilterSetPriority(value=512)),
        )
    return FilterRule(**fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Seen:
    """A route on its way. The naive reading below knows nothing of BIRD."""

    net: str
    learnt: bool
    communities: tuple[str, ...]
    path: tuple[int, ...]


def decides(rules: tuple[FilterRule, ...], route: Seen) -> FilterRule | None:
    return next((rule for rule in rules if matches(rule, route)), None)


def matches(rule: FilterRule, route: Seen) -> bool:
    return (
        (not rule.cidr or net_matches(rule, route.net))
        and (not rule.source or route.learnt)
        and rule.peer_type != "iBGP"  # every session here is between two ASes
        and (rule.communities is None or rule.communities.values[0] in route.communities)
        and (not rule.as_path_prefix or route.path[: len(rule.as_path_prefix)] == rule.as_path_prefix)
        and (rule.priority is None or rule.priority == 1024)
    )


def net_matches(rule: FilterRule, text: str) -> bool:
    wanted, net = ipaddress.IPv4Network(rule.cidr), ipaddress.IPv4Network(text)
    lengths = rule.prefix_length
    first = wanted.prefixlen if lengths is None or lengths.min is None else lengths.min
    last = 32 if lengths is None or lengths.max is None else lengths.max
    in_range = first <= net.prefixlen <= last
    match rule.match_operator:
        case "In" | "NotIn":
            found = net.subnet_of(wanted) and in_range
        case _:
            found = net == wanted and in_range
    return found != rule.match_operator.startswith("Not")


FILTERS = {f"filter-{seed}": some_filter(random.Random(seed)) for seed in range(60)}


def addresses() -> Iterator[tuple[str, str]]:
    return ((name, f"10.0.1.{number}") for number, name in enumerate(FILTERS, 1))


def router_conf() -> str:
    """A plain BIRD: a table of its own for each session, so that no session's routes stand in another's way."""
    lines = ["router id 10.0.0.2;", "protocol device {}", "protocol direct { ipv4; }"]
    for name, address in addresses():
        table = f"t{address.rpartition('.')[2]}"
        routes = " ".join(f"route {net} blackhole {{ {communities(tags)} }};" for net, tags in OFFERED.items())
        lines += [
            f"ipv4 table {table};",
            f"protocol static s{table} {{ ipv4 {{ table {table}; }}; {routes} }}  # {name}",
            # BIRD allows one session for each address and port; nobody calls at these ports, the host does the calling.
            f"protocol bgp b{table} {{ local {address} as {THEIRS}; neighbor 10.0.0.1 port 2{table[1:]} as {OURS};",
            "  multihop; passive on;",
            f"  strict bind on; ipv4 {{ table {table}; igp table master4; import all;",
            f"  export where proto = \"s{table}\"; }}; }}",
        ]
    return "\n".join(lines) + "\n"


def communities(tags: tuple[str, ...]) -> str:
    return " ".join(
        f"bgp_{'large_' if tag.count(':') == 2 else ''}community.add(({tag.replace(':', ',')}));" for tag in tags
    )


def routes_of(host: Host, *words: str) -> dict[str, str]:
    """Network -> everything BIRD says of the route."""
    control = str(host.bird.directory / "bird.ctl")
    done = subprocess.run(["birdc", "-r", "-s", control, *words, "all"], capture_output=True, text=True, check=True)
    found: dict[str, str] = {}
    net = ""
    for line in done.stdout.splitlines():
        if line and line[0].isdigit() and "/" in line.split()[0]:
            net = line.split()[0]
        if net:
            found[net] = found.get(net, "") + line + "\n"
    return found


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Host, Host]]:
    with switched("h1", "h2") as (host, router):
        for _, address in addresses():
            run("ip", "-n", router.ns, "addr", "add", f"{address}/32", "dev", "eth0")
        run("ip", "-n", host.ns, "addr", "add", "10.0.1.254/24", "dev", "eth0")
        cluster = Cluster(
            {"h1": node("10.0.0.1/24")}, filters=FILTERS, pools=[pool("10.0.0.0/8")],
            configurations={"default": configuration(node_to_node_mesh_enabled=False)},
            blocks=[Block(cidr=cidr, affinity="host:h1") for cidr in BLOCKS],
            peers={name: peer(peer_ip=address, as_number=THEIRS, filters=(name,)) for name, address in addresses()},
        )
        router.apply(router_conf())
        host.apply(conf(cluster.of("h1"), log=str(host.bird.log)))
        wait_for("all sessions", lambda: len(host.established()) == len(FILTERS), 20)
        wait_for("all routes told", lambda: all("End" not in s.info for s in host.read().sessions))
        yield host, router


def test_imports_are_what_a_naive_reading_of_the_rules_says(pair: tuple[Host, Host]) -> None:
    host, _ = pair
    for name, address in addresses():
        expected = {}
        for net, tags in OFFERED.items():
            route = Seen(net, learnt=True, communities=tags, path=(THEIRS,))
            rule = decides(FILTERS[name].spec.import_v4, route)
            if rule is None or rule.action == "Accept":
                expected[net] = rule is not None and bool(rule.operations)
        protocol = f"Global_{address.replace('.', '_')}"
        wait_for(f"imports of {name}: {FILTERS[name].spec.import_v4}",
                 lambda p=protocol, e=expected: changed(routes_of(host, "show", "route", "protocol", p)) == e)  # type: ignore[misc]


def test_exports_are_what_a_naive_reading_of_the_rules_says(pair: tuple[Host, Host]) -> None:
    """Only own blocks are looked at: what one session brings and another passes on depends on both."""
    _, router = pair
    for name, address in addresses():
        expected = {}
        for net in BLOCKS:
            rule = decides(FILTERS[name].spec.export_v4, Seen(net, learnt=False, communities=(), path=()))
            if rule is None or rule.action == "Accept":
                expected[net] = rule is not None and bool(rule.operations)
        table = f"t{address.rpartition('.')[2]}"

        def told(table: str = table) -> dict[str, bool]:
            every = routes_of(router, "show", "route", "table", table, "protocol", f"b{table}")
            return changed({net: text for net, text in every.items() if net in BLOCKS})

        wait_for(f"exports of {name}: {FILTERS[name].spec.export_v4}", lambda e=expected, t=told: t() == e)  # type: ignore[misc]


def changed(routes: dict[str, str]) -> dict[str, bool]:
    """Network -> have the operations been done to it? All of them or none."""
    found = {}
    for net, text in routes.items():
        done = {"(64512,9)" in text, "65100 65101" in text}
        assert len(done) == 1, text
        found[net] = done.pop()
    return found
