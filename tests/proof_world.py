"""Worlds and packets for the proof that all readers of policy agree.

A world is a list of resources as people write them: a few namespaces, workloads on two hosts, sets, profiles, tiers and
policies with every field that a rule can have. The vocabulary is small on purpose, so that selectors and labels, ports
and ranges, prefixes and addresses meet. Packets are not random either: most are built from one rule of the world, at
the edge of each of its fields or one step outside. A generator that does not aim finds nothing (a mutant that was off
by one lived until this one did).
"""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from muslin.explain import Packet

Object = dict[str, Any]

NAMESPACES = ("red", "blue")
PROFILES = ("kns.red", "kns.blue", "open", "odd", "ksa.red.sa1", "projectcalico-default-allow", "gone")
LISTED = (*PROFILES, "open", "open", "open", "kns.red", "kns.blue")
"""Most workloads have a profile that allows: else a world denies nearly everything, and nothing is learnt."""
TIERS = ("first", "second", "default", "undeclared")
PORTS = (53, 79, 80, 81, 443, 8079, 8080, 8090, 8091, 65535)
NAMED = (("http", "TCP", 80), ("http", "TCP", 8080), ("dns", "UDP", 53), ("alt", "TCP", 8090), ("sctp", "SCTP", 80))
NETS4 = ("10.65.0.0/30", "10.65.0.2/31", "10.65.0.3/32", "10.65.0.0/16", "192.0.2.0/24", "192.0.2.128/25",
         "198.51.100.7/32", "0.0.0.0/0", "10.0.0.0/8")
NETS6 = ("fd65::/126", "fd65::2/127", "fd65::3/128", "fd65::/32", "2001:db8::/32", "2001:db8:1::/48", "::/0")
OTHERS = (4, 97, 103)
"""Protocols without ports, and of which conntrack reads nothing (GRE it does, and our payload would be an invalid
one). IP in IP is one that no workload may send."""

LOCAL = {f"w{n}": (f"10.65.0.{n}", f"fd65::{n}") for n in range(1, 5)}
REMOTE = {f"r{n}": (f"10.65.1.{n}", f"fd65:0:1::{n}") for n in range(1, 3)}
SPOOFABLE = "10.65.9.0/30"
OUTSIDE = ("192.0.2.1", "198.51.100.7", "203.0.113.77", "2001:db8::7", "2001:db8:1::", "2001:db9::1")


class Flight(NamedTuple):
    """A packet, and the workload that it comes out of; "" when it comes from outside the host."""

    sender: str
    packet: Packet


# --- the world ------------------------------------------------------------------------------------------------------


def world(random: Random) -> list[Object]:
    return [
        *_namespaces(random), *_profiles(random), *_workloads(random), *_host_endpoints(random), *_sets(random),
        *_tiers(random), *(_policy(random, number) for number in range(random.randint(0, 7))),
    ]


def _thing(kind: str, name: str, spec: Object, namespace: str = "", labels: Object | None = None) -> Object:
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = labels
    group = "v1" if kind == "Namespace" else "projectcalico.org/v3"
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}


def _labels(random: Random) -> Object:
    found = {"role": random.choice(("web", "db", "api")), "zone": random.choice(("a", "ab", "b"))}
    return {label: value for label, value in found.items() if random.random() < 0.8}


def _namespaces(random: Random) -> Iterator[Object]:
    for name in NAMESPACES:
        if random.random() < 0.7:
            yield _thing("Namespace", name, {}, labels={"team": random.choice(("x", "y"))})


def _profiles(random: Random) -> Iterator[Object]:
    everything = [{"action": "Allow"}]
    yield _thing("Profile", "open", {"ingress": everything, "egress": everything})
    yield _thing("Profile", "ksa.red.sa1", {"labelsToApply": {"pcsa.rank": random.choice(("high", "low"))}})
    odd = {direction: _rules(random, "", 2) for direction in ("ingress", "egress")}
    yield _thing("Profile", "odd", odd | {"labelsToApply": {"zone": "z", "odd": "yes"}})
    if random.random() < 0.3:
        yield _thing("Profile", "kns.red", {
            "ingress": everything, "egress": everything,
            "labelsToApply": {"pcns.team": "z", "pcns.projectcalico.org/name": "red"}})


def _workloads(random: Random) -> Iterator[Object]:
    for host, names in (("h1", LOCAL), ("h2", REMOTE)):
        for name, (v4, v6) in names.items():
            networks = [f"{v4}/32", f"{v6}/128"]
            spec: Object = {
                "node": host, "orchestrator": "muslin", "workload": name, "endpoint": "eth0",
                "interfaceName": f"mus{name}", "ipNetworks": networks if random.random() < 0.9 else networks[:1],
                "profiles": random.sample(LISTED, random.choice((0, 1, 1, 2, 2))),
                "ports": [
                    {"name": port, "protocol": protocol, "port": number}
                    for port, protocol, number in random.sample(NAMED, random.randint(0, 3))
                ],
            }
            if random.random() < 0.3:
                spec["serviceAccountName"] = random.choice(("sa1", "sa2"))
            if random.random() < 0.1:
                spec["allowSpoofedSourcePrefixes"] = [SPOOFABLE]
            full_name = f"{host}-muslin-{name}-eth0"
            yield _thing("WorkloadEndpoint", full_name, spec, random.choice(NAMESPACES), _labels(random))


def _host_endpoints(random: Random) -> Iterator[Object]:
    if random.random() < 0.3:
        spec = {"node": "h2", "interfaceName": "eth0", "expectedIPs": ["203.0.113.77"], "profiles": ["odd"],
                "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}
        yield _thing("HostEndpoint", "h2-eth0", spec, labels=_labels(random))


def _sets(random: Random) -> Iterator[Object]:
    for number in range(random.randint(0, 3)):
        nets = random.sample(NETS4[:-2] + NETS6[:-1], random.randint(0, 3))
        if random.random() < 0.5:
            yield _thing("NetworkSet", f"set{number}", {"nets": nets}, random.choice(NAMESPACES), _labels(random))
        else:
            yield _thing("GlobalNetworkSet", f"set{number}", {"nets": nets}, labels=_labels(random))


def _tiers(random: Random) -> Iterator[Object]:
    for name in TIERS[:3]:
        spec: Object = {"order": random.choice((1, 2, 2.5, 100))} if random.random() < 0.8 else {}
        if random.random() < 0.7:
            spec["defaultAction"] = random.choice(("Pass", "Pass", "Deny"))
        yield _thing("Tier", name, spec)


def _policy(random: Random, number: int) -> Object:
    tier = random.choices(TIERS, (3, 3, 5, 0.3))[0]
    namespace = random.choice(("", *NAMESPACES))
    spec: Object = {}
    if tier != "default" or random.random() < 0.5:
        spec["tier"] = tier
    if random.random() < 0.6:
        spec["order"] = random.choice((10, 20, 20.5))
    if random.random() < 0.6:
        spec["selector"] = _selector(random)
    if random.random() < 0.1:
        spec["serviceAccountSelector"] = _selector(random, ("rank",))
    if not namespace and random.random() < 0.2:
        spec["namespaceSelector"] = _selector(random, ("team", "projectcalico.org/name"))
    if random.random() < 0.5:
        spec["types"] = random.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
    if not namespace and random.random() < 0.05:
        spec |= {"doNotTrack": True, "applyOnForward": True}
    for direction, chance in (("ingress", 0.8), ("egress", 0.6)):
        if random.random() < chance:
            spec[direction] = _rules(random, namespace, 4)
    kind = "NetworkPolicy" if namespace else "GlobalNetworkPolicy"
    return _thing(kind, f"{tier}.p{number}", spec, namespace)


# --- rules ----------------------------------------------------------------------------------------------------------


def _rules(random: Random, namespace: str, most: int) -> list[Object]:
    return [_rule(random, namespace) for _ in range(random.randint(0, most))]


def _rule(random: Random, namespace: str) -> Object:
    rule: Object = {"action": random.choices(("Allow", "Deny", "Pass", "Log"), (8, 3, 2, 1))[0]}
    if random.random() < 0.1:
        rule["ipVersion"] = random.choice((4, 6))
    if random.random() < 0.6:
        rule["protocol"] = random.choice(("TCP", "TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite", 6, 97, "103"))
    if random.random() < 0.1:
        rule["notProtocol"] = random.choice(("TCP", "UDP", "ICMP", "ICMPv6", 97))
    if random.random() < {"ICMP": 0.7, "ICMPv6": 0.7, None: 0.3}.get(rule.get("protocol"), 0.0):
        rule[random.choice(("icmp", "icmp", "notICMP"))] = random.choice((
            {"type": 8}, {"type": 128}, {"type": 13}, {"type": 135},
            {"type": 8, "code": 0}, {"type": 8, "code": 1}, {"type": 128, "code": 0}, {"type": 128, "code": 1},
        ))
    for side in ("source", "destination"):
        if words := _side(random, rule.get("protocol"), namespace):
            rule[side] = words
    return rule


def _side(random: Random, protocol: str | int | None, namespace: str) -> Object:
    words: Object = {}
    chances: tuple[tuple[str, float, Callable[[], Any]], ...] = (
        ("nets", 0.2, lambda: random.sample(NETS4 + NETS6, random.randint(1, 3))),
        ("notNets", 0.12, lambda: random.sample(NETS4[:-2] + NETS6[:-1], random.randint(1, 2))),
        ("selector", 0.25, lambda: _selector(random)),
        ("notSelector", 0.12, lambda: _selector(random)),
        ("namespaceSelector", 0.12, lambda: random.choice(
            ("all()", "global()", _selector(random, ("team", "projectcalico.org/name"))))),
        ("serviceAccounts", 0.06, lambda: random.choice(
            ({"names": ["sa1"]}, {"names": ["sa1", "sa2"]}, {"selector": "rank == 'high'"},
             {"names": ["sa1"], "selector": "has(rank)"}))),
    )
    for name, chance, make in chances:
        if random.random() < chance:
            words[name] = make()
    if protocol in ("TCP", "UDP", "SCTP", "UDPLite", 6):
        if random.random() < 0.35:
            words["ports"] = [_port(random) for _ in range(random.randint(1, 3))]
        if random.random() < 0.15:
            words["notPorts"] = [_port(random) for _ in range(random.randint(1, 2))]
    return words


def _port(random: Random) -> int | str:
    first = random.choice(PORTS)
    last = random.choice([port for port in PORTS if port >= first])
    return random.choice((first, str(first), f"{first}:{last}", f"{first}:{last}", random.choice(NAMED)[0]))


def _selector(random: Random, labels: tuple[str, ...] = ("role", "zone", "odd", "pcns.team")) -> str:
    made = _atom(random, labels)
    for _ in range(random.choices((0, 1, 2), (6, 3, 1))[0]):
        joined = f"{made} {random.choice(('&&', '||'))} {_atom(random, labels)}"
        made = random.choice((joined, f"({joined})", f"!({joined})"))
    return made


def _atom(random: Random, labels: tuple[str, ...]) -> str:
    label = random.choice(labels)
    value = {"role": "web db api", "zone": "a b ab z", "odd": "yes no", "pcns.team": "x y z", "team": "x y z",
             "projectcalico.org/name": "red blue", "rank": "high low"}[label].split()
    one = random.choice(value)
    few = ", ".join(f"'{each}'" for each in random.sample(value, random.randint(1, len(value))))
    plain = random.choice((
        f"{label} == '{one}'", f'{label} != "{one}"', f"{label} in {{{few}}}", f"{label} not in {{{few}}}",
        f"has({label})", f"{label} starts with '{one[:1]}'", f"{label} ends with '{one[-1:]}'",
        f"{label} contains '{one[-1:]}'", "all()",
    ))
    return random.choice((plain, plain, plain, f"!{plain}", f"!({plain})"))


# --- packets --------------------------------------------------------------------------------------------------------


def flights(random: Random, objects: list[Object], count: int) -> Iterator[Flight]:
    both = ("ingress", "egress")
    rules = [rule for each in objects for direction in both for rule in each["spec"].get(direction, ())]
    here = _addresses(objects)
    for _ in range(count):
        rule = random.choice(rules) if rules and random.random() < 0.8 else {}
        made = _flight(random, rule, here, objects)
        if made is not None:
            yield made


def _flight(random: Random, rule: Object, here: list[str], objects: list[Object]) -> Flight | None:
    family = rule.get("ipVersion") or random.choice((4, 4, 6))
    own = {name: addresses[family == 6] for name, addresses in LOCAL.items()}
    sender = random.choice(("", *own))
    receiver = random.choice([*(name for name in own if name != sender), *([""] if sender else [])])
    source = own[sender] if sender else _address(random, rule.get("source", {}), family, here)
    if sender and random.random() < 0.06:
        source = random.choice([own["w1"], "10.65.9.3" if family == 4 else "fd65::99", *own.values()])
    destination = own[receiver] if receiver else _address(random, rule.get("destination", {}), family, here)
    if source is None or destination is None:
        return None
    if (not sender and source in own.values()) or (not receiver and destination in own.values()):
        return None
    protocol = _protocol(random, rule, family)
    icmp = rule.get("icmp") or rule.get("notICMP") or {}
    types = {1: (8, 13), 58: (128, 135)}.get(protocol, (None,))
    wanted = icmp.get("type") if icmp.get("type") in types and random.random() < 0.7 else None
    return Flight(sender, Packet(
        source, destination, protocol,
        _aimed_port(random, rule.get("destination", {})) if protocol in (6, 17, 132, 136) else 0,
        _aimed_port(random, rule.get("source", {})),
        wanted if wanted is not None else random.choice(types),
        random.choice((0, 1, icmp.get("code", 0))) if protocol in (1, 58) else 0,
    ))


def _protocol(random: Random, rule: Object, family: int) -> int:
    numbers = {"TCP": 6, "UDP": 17, "SCTP": 132, "UDPLite": 136, "ICMP": 1, "ICMPv6": 58}
    known = rule.get("protocol", rule.get("notProtocol"))
    if known is None and ("icmp" in rule or "notICMP" in rule):
        known = 1 if family == 4 else 58
    if known is not None and random.random() < 0.9:
        number = numbers.get(known) or int(known)
    else:
        number = random.choice((6, 6, 17, 1, 58, 132, 136, *OTHERS))
    if {1: 4, 58: 6}.get(number, family) != family:
        number = 1 if family == 4 else 58
    return number


def _aimed_port(random: Random, words: Object) -> int:
    edges: list[int] = []
    for entry in (*words.get("ports", ()), *words.get("notPorts", ())):
        first, _, last = str(entry).partition(":")
        if first.isdigit():
            edges += [int(first) - 1, int(first), int(last or first), int(last or first) + 1]
        else:
            edges += [number for name, _, number in NAMED if name == entry]
    edges = [port for port in edges if 1 <= port <= 65535]
    if not edges or random.random() < 0.2:
        return random.choice((*PORTS, random.randint(1024, 65535), 4789))
    return random.choice(edges)


def _addresses(objects: list[Object]) -> list[str]:
    """Everybody who is known, the edges of every prefix of the sets, one step outside, and strangers."""
    found = [address for both in (*LOCAL.values(), *REMOTE.values()) for address in both]
    for each in objects:
        for net in each["spec"].get("nets", ()):
            found += _edges(net)
    return [*found, *OUTSIDE]


def _address(random: Random, words: Object, family: int, here: list[str]) -> str | None:
    edges = [edge for net in (*words.get("nets", ()), *words.get("notNets", ())) for edge in _edges(net)]
    pool = edges if edges and random.random() < 0.7 else here
    usable = [address for address in pool if (":" in address) == (family == 6) and _travels(address)]
    return random.choice(usable) if usable else None


def _edges(net: str) -> list[str]:
    network = ipaddress.ip_network(net)
    first, last = int(network[0]), int(network[-1])
    top = 2**network.max_prefixlen - 1
    make = type(network[0])
    return [str(make(edge)) for edge in (first - 1, first, first + 1, last, last + 1) if 0 < edge < top]


def _travels(address: str) -> bool:
    """Will a router forward from and to it?"""
    ip = ipaddress.ip_address(address)
    if ip.version == 6:
        return int(ip) >> 125 == 1 or ip in ipaddress.ip_network("fc00::/7")
    return 1 <= int(ip) >> 24 < 224 and int(ip) >> 24 != 127


# --- making a failure small -----------------------------------------------------------------------------------------


def reduced(objects: list[Object], fails: Callable[[list[Object]], bool]) -> list[Object]:
    """The same failure in a smaller world: whatever can be left out is left out, one thing at a time."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(objects):
            if fails(candidate):
                objects, smaller = candidate, True
                break
    return objects


def _smaller(objects: list[Object]) -> Iterator[list[Object]]:
    for number, each in enumerate(objects):
        if each["kind"] != "WorkloadEndpoint":
            yield objects[:number] + objects[number + 1 :]
        for without in _pruned(each["spec"]):
            changed = copy.copy(each)
            changed["spec"] = without
            yield [*objects[:number], changed, *objects[number + 1 :]]


_NEEDED = ("action", "protocol", "node", "orchestrator", "interfaceName", "ipNetworks")


def _pruned(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in _NEEDED:
                yield {name: kept for name, kept in value.items() if name != key}
            for less in _pruned(inner):
                yield value | {key: less}
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            if len(value) > 1:
                yield value[:place] + value[place + 1 :]
            for less in _pruned(inner):
                yield [*value[:place], less, *value[place + 1 :]]
