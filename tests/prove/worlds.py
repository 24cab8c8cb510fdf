"""Random worlds: lists of resources as people write them, with every field that a rule can have.

A few namespaces, workloads on two hosts, host endpoints, sets, profiles, tiers, settings and policies of every sort.
The vocabulary is small on purpose, so that selectors and labels, ports and ranges, prefixes and addresses meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from prove import site

Object = dict[str, Any]

NAMESPACES = ("red", "blue")
PROFILES = ("kns.red", "kns.blue", "open", "odd", "ksa.red.sa1", "projectcalico-default-allow", "gone")
LISTED = (*PROFILES, "open", "open", "open", "kns.red", "kns.blue")
"""Most workloads have a profile that allows: else a world denies nearly everything, and nothing is learnt."""
SERVICES = ("front", "back")
TIERS = ("first", "second", "default", "undeclared")
PORTS = (53, 79, 80, 81, 443, 8079, 8080, 8090, 8091, 65535)
CROWD = (1, 52, 53, 54, 79, 80, 81, 82, 113, 114, 443, 8079, 8080, 65534, 65535)
NAMED = (("http", "TCP", 80), ("http", "TCP", 8080), ("dns", "UDP", 53), ("alt", "TCP", 8090), ("sctp", "SCTP", 80))
NETS4 = ("10.65.0.0/30", "10.65.0.2/31", "10.65.0.3/32", "10.65.0.0/16", "192.0.2.0/24", "192.0.2.128/25",
         "198.51.100.7/32", "0.0.0.0/0", "10.0.0.0/8")
NETS6 = ("fd65::/126", "fd65::2/127", "fd65::3/128", "fd65::/32", "2001:db8::/32", "2001:db8:1::/48", "::/0")


# --- the world ------------------------------------------------------------------------------------------------------


def world(random: Random, *, plain: bool = False, without: tuple[str, ...] = ()) -> list[Object]:
    """`plain`: only what concerns workloads; no interface of the host is covered, and nothing is translated.
    `without`: "floating" addresses, "services", the host endpoint "*"."""
    covers = () if plain else random.choice(COVERS)
    policies = [_policy(random, number, plain=plain) for number in range(random.randint(0, 8))]
    if covers:
        policies += [_host_policy(random, 10 + number) for number in range(random.randint(1, 4))]
    made = [
        *_namespaces(random), *_profiles(random), *_sets(random), *_tiers(random), *policies,
        *_workloads(random, floating=not plain and "floating" not in without),
        *_host_endpoints(random, covers, without), *_slices(random),
        *([] if plain else [*_felix(random), *_staged(random, policies)]), *_kubernetes(random),
    ]
    return _without_services(made) if "services" in without else made


def _without_services(objects: list[Object]) -> list[Object]:
    for each in objects:
        for rule in (*each.get("spec", {}).get("ingress", ()), *each.get("spec", {}).get("egress", ())):
            for side in ("source", "destination"):
                rule.get(side, {}).pop("services", None)
    return [each for each in objects if each["kind"] != "EndpointSlice"]


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
    odd = {direction: _rules(random, "", 2, direction) for direction in ("ingress", "egress")}
    yield _thing("Profile", "odd", odd | {"labelsToApply": {"zone": "z", "odd": "yes"}})
    if random.random() < 0.3:
        yield _thing("Profile", "kns.red", {
            "ingress": everything, "egress": everything,
            "labelsToApply": {"pcns.team": "z", "pcns.projectcalico.org/name": "red"}})


def _workloads(random: Random, *, floating: bool) -> Iterator[Object]:
    for host, names in ((site.NODE, site.LOCAL), ("h2", site.REMOTE)):
        for name, (v4, v6) in names.items():
            networks = [f"{v4}/32", f"{v6}/128"]
            spec: Object = {
                "node": host, "orchestrator": "muslin", "workload": name, "endpoint": "eth0",
                "interfaceName": f"mus{name}",
                "ipNetworks": networks if host == site.NODE or random.random() < 0.9 else networks[:1],
                "profiles": random.sample(LISTED, random.choice((0, 1, 1, 2, 2))),
                "ports": [
                    {"name": port, "protocol": protocol, "port": number}
                    for port, protocol, number in random.sample(NAMED, random.randint(0, 3))
                ],
            }
            if random.random() < 0.5:
                spec["serviceAccountName"] = random.choice(("sa1", "sa2"))
            if random.random() < 0.1:
                spec["allowSpoofedSourcePrefixes"] = random.sample(site.SPOOFABLE, random.randint(1, 2))
            if floating and name in site.FLOATING and random.random() < 0.3:
                spec["ipNATs"] = [
                    {"internalIP": inside, "externalIP": outside}
                    for inside, outside in zip((v4, v6), site.FLOATING[name], strict=True)
                    if f"{inside}/32" in spec["ipNetworks"] or f"{inside}/128" in spec["ipNetworks"]
                ]
            full_name = f"{host}-muslin-{name}-eth0"
            yield _thing("WorkloadEndpoint", full_name, spec, random.choice(NAMESPACES), _labels(random))


COVERS: tuple[tuple[Object, ...], ...] = (
    (), ({"interfaceName": "up0"},), ({"interfaceName": "up1"},), ({"interfaceName": "*"},), ({"interfaceName": "*"},),
    ({"interfaceName": "up0"}, {"interfaceName": "*"}), ({"interfaceName": "up0"}, {"interfaceName": "up1"}),
    ({"expectedIPs": ["10.66.0.1"]},), ({"expectedIPs": ["fd66:0:1::1"]}, {"interfaceName": "*"}),
    ({"interfaceName": "up0", "expectedIPs": ["10.66.0.1", "fd66::1"]}, {"expectedIPs": ["10.66.1.1"]}),
    ({"interfaceName": "up0"}, {"interfaceName": "up0"}), ({"expectedIPs": ["10.66.0.1"]}, {"interfaceName": "up0"}),
    ({"expectedIPs": ["10.66.1.1", "10.66.0.1"]},),
    ({"expectedIPs": ["10.66.0.1", "fd66:0:1::1"]}, {"interfaceName": "*"}),
    ({"interfaceName": "up9"}, {"interfaceName": "up0", "expectedIPs": ["192.0.2.1"]}),
)
"""Which interfaces of the host are covered: by name, by address, all, twice, and one that is not there."""


def _host_endpoints(random: Random, covers: tuple[Object, ...], without: tuple[str, ...]) -> Iterator[Object]:
    if random.random() < 0.3:
        spec: Object = {"node": "h2", "interfaceName": "eth0", "expectedIPs": ["203.0.113.77"], "profiles": ["odd"],
                        "ports": [{"name": "http", "protocol": "TCP", "port": 80}]}
        yield _thing("HostEndpoint", "h2-eth0", spec, labels=_labels(random))
    for number, cover in enumerate(each for each in covers if each.get("interfaceName") not in without):
        name, protocol, port = random.choice(NAMED)
        spec = {"node": site.NODE, **cover, "profiles": random.sample(LISTED, random.choice((0, 1, 1)))}
        if random.random() < 0.5:
            spec["ports"] = [{"name": name, "protocol": protocol, "port": port}]
        yield _thing("HostEndpoint", f"h1-{random.choice('abc')}{number}", spec,
                     labels={**_labels(random), "side": "host"})


def _felix(random: Random) -> Iterator[Object]:
    for name in ("default", f"node.{site.NODE}"):
        if random.random() < 0.5:
            spec: Object = {}
            if random.random() < 0.7:
                spec["defaultEndpointToHostAction"] = random.choice(("Accept", "Return", "Drop"))
            for field in ("failsafeInboundHostPorts", "failsafeOutboundHostPorts"):
                if random.random() < 0.5:
                    spec[field] = [_failsafe(random) for _ in range(random.randint(0, 3))]
            if random.random() < 0.6:
                spec["floatingIPs"] = random.choice(("Enabled", "Enabled", "Disabled"))
            yield _thing("FelixConfiguration", name, spec)


def _failsafe(random: Random) -> Object:
    found: Object = {"protocol": random.choice(("TCP", "UDP")), "port": random.choice(PORTS)}
    if random.random() < 0.5:
        found["net"] = random.choice(NETS4 + NETS6)
    return found


def _sets(random: Random) -> Iterator[Object]:
    for number in range(random.randint(0, 3)):
        nets = random.sample(NETS4[:-2] + NETS6[:-1], random.randint(0, 3))
        if random.random() < 0.5:
            yield _thing("NetworkSet", f"set{number}", {"nets": nets}, random.choice(NAMESPACES), _labels(random))
        else:
            yield _thing("GlobalNetworkSet", f"set{number}", {"nets": nets}, labels=_labels(random))


def _slices(random: Random) -> Iterator[Object]:
    """What is behind the services: workloads, and addresses that nobody knows."""
    for number in range(random.choice((0, 0, 1, 2, 3))):
        family = random.choice((4, 6))
        known = [both[family == 6] for both in (*site.LOCAL.values(), *site.REMOTE.values())]
        strange = [address for address in site.OUTSIDE if (":" in address) == (family == 6)]
        ports = [{"name": f"p{place}", "protocol": protocol, "port": port} for place, (_, protocol, port)
                 in enumerate(random.sample(NAMED, random.randint(0, 3)))]
        if ports and random.random() < 0.3:
            del ports[0]["protocol"]
        yield {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": f"slice{number}", "namespace": random.choice(NAMESPACES),
                         "labels": {"kubernetes.io/service-name": random.choice(SERVICES)}},
            "addressType": f"IPv{family}", "ports": ports,
            "endpoints": [{"addresses": [address], "conditions": {"ready": random.random() < 0.7}}
                          for address in random.sample((*known, *strange), random.randint(0, 3))],
        }


def _kubernetes(random: Random) -> Iterator[Object]:
    for number in range(random.choice((0, 0, 0, 1, 2))):
        spec: Object = {"podSelector": _label_selector(random, ("role", "zone"))}
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            if random.random() < 0.6:
                spec[direction] = [_kubernetes_rule(random, peers) for _ in range(random.randint(0, 2))]
        if random.random() < 0.6:
            spec["policyTypes"] = random.choice((["Ingress"], ["Egress"], ["Ingress", "Egress"]))
        yield _thing("NetworkPolicy", f"k{number}", spec, random.choice(NAMESPACES)) | {
            "apiVersion": "networking.k8s.io/v1"}


def _kubernetes_rule(random: Random, peers: str) -> Object:
    rule: Object = {}
    if random.random() < 0.8:
        rule[peers] = [_peer(random) for _ in range(random.randint(1, 2))]
    if random.random() < 0.6:
        rule["ports"] = [_kubernetes_port(random) for _ in range(random.randint(1, 2))]
    return rule


def _peer(random: Random) -> Object:
    if random.random() < 0.3:
        return {"ipBlock": random.choice(({"cidr": "10.65.0.0/16", "except": ["10.65.0.2/31"]}, {"cidr": "fd65::/32"},
                                          {"cidr": "0.0.0.0/0", "except": ["192.0.2.128/25", "10.0.0.0/8"]}))}
    peer: Object = {}
    if random.random() < 0.7:
        peer["podSelector"] = _label_selector(random, ("role", "zone"))
    if random.random() < 0.5 or not peer:
        peer["namespaceSelector"] = _label_selector(random, ("team",))
    return peer


def _kubernetes_port(random: Random) -> Object:
    name, protocol, port = random.choice(NAMED)
    found: Object = {} if protocol == "TCP" and random.random() < 0.3 else {"protocol": protocol}
    if random.random() < 0.8:
        found["port"] = random.choice((port, port, name))
    if isinstance(found.get("port"), int) and random.random() < 0.3:
        found["endPort"] = random.choice([top for top in PORTS if top >= port])
    return found


def _label_selector(random: Random, labels: tuple[str, ...]) -> Object:
    found: Object = {}
    values = {"role": ["web", "db", "api"], "zone": ["a", "ab", "b"], "team": ["x", "y"]}
    if random.random() < 0.5:
        label = random.choice(labels)
        found["matchLabels"] = {label: random.choice(values[label])}
    if random.random() < 0.4:
        label, operator = random.choice(labels), random.choice(("In", "NotIn", "Exists", "DoesNotExist"))
        some = {"values": random.sample(values[label], random.randint(1, 2))} if operator.endswith("In") else {}
        found["matchExpressions"] = [{"key": label, "operator": operator, **some}]
    return found


def _tiers(random: Random) -> Iterator[Object]:
    for name in TIERS[:3]:
        spec: Object = {"order": random.choice((1, 2, 2.5, 100))} if random.random() < 0.8 else {}
        if random.random() < 0.7:
            spec["defaultAction"] = random.choice(("Pass", "Pass", "Deny"))
        yield _thing("Tier", name, spec)


def _policy(random: Random, number: int, *, plain: bool) -> Object:
    tier = random.choices(TIERS, (3, 3, 5, 0.3))[0]
    namespace = random.choice(("", *NAMESPACES) if plain else ("", "", *NAMESPACES))
    spec = _applied_to(random, tier, namespace)
    sort = "plain" if namespace or plain else random.choices(SORTS, (4, 4, 2, 2))[0]
    if sort != "plain":
        spec["applyOnForward"] = True
        if sort != "forward":
            spec[sort] = True
        if random.random() < 0.6:
            spec["selector"] = random.choice(("side == 'host'", "all()", "has(side)"))
    for direction, chance in (("ingress", 0.8), ("egress", 0.0 if sort == "preDNAT" else 0.6)):
        if random.random() < chance:
            spec[direction] = _rules(random, namespace, 4, direction)
    if sort == "preDNAT":
        spec["types"] = ["Ingress"]
    kind = "NetworkPolicy" if namespace else "GlobalNetworkPolicy"
    return _thing(kind, f"{tier}.p{number}", spec, namespace)


def _host_policy(random: Random, number: int) -> Object:
    """One that concerns host endpoints, with rules that speak of little, so that they decide."""
    found = _policy(random, number, plain=False)
    while found["kind"] != "GlobalNetworkPolicy":
        found = _policy(random, number, plain=False)
    spec = found["spec"] | {"selector": random.choice(("has(side)", "side == 'host'", "all()"))}
    spec.pop("namespaceSelector", None)
    for direction in ("ingress", "egress"):
        if direction in spec:
            sparse = [_rule(random, "", direction, few=True) for _ in range(random.randint(1, 3))]
            spec[direction] = [*spec[direction][:1], *sparse]
    return found | {"spec": spec}


SORTS = ("plain", "forward", "doNotTrack", "preDNAT")


def _applied_to(random: Random, tier: str, namespace: str) -> Object:
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
    return spec


def _staged(random: Random, policies: list[Object]) -> Iterator[Object]:
    """Half of them stand for a policy that is enforced, with other rules or to take it away."""
    for number, enforced in enumerate(random.sample(policies, min(len(policies), random.choice((0, 0, 1, 2))))):
        other = _policy(random, 20 + number, plain=True)
        action = random.choice(("Set", "Set", "Delete", "Ignore"))
        if random.random() < 0.5 and other["kind"] == enforced["kind"]:
            tier = {"tier": enforced["spec"]["tier"]} if "tier" in enforced["spec"] else {}
            spec = {name: value for name, value in other["spec"].items() if name != "tier"} | tier
            other = other | {"metadata": enforced["metadata"], "spec": spec}
        yield other | {"kind": f"Staged{other['kind']}", "spec": other["spec"] | {"stagedAction": action}}


def crowded(random: Random, objects: list[Object]) -> list[Object]:
    """The same world, with many rules about a few ports: ranges that overlap, touch and hold each other, allowed here
    and denied there, in one policy and across several; or many that differ in the peer. A renderer that sorts rules
    errs here."""
    return [
        each | {"spec": each["spec"] | {
            way: _crowd(random) for way in ("ingress", "egress") if way in each["spec"] and random.random() < 0.8}}
        if each["kind"] in ("NetworkPolicy", "GlobalNetworkPolicy") and each["apiVersion"] == "projectcalico.org/v3"
        else each for each in objects
    ]


# --- rules ----------------------------------------------------------------------------------------------------------


def _rules(random: Random, namespace: str, most: int, direction: str) -> list[Object]:
    return [_rule(random, namespace, direction) for _ in range(random.randint(0, most))]


def _rule(random: Random, namespace: str, direction: str, *, few: bool = False) -> Object:
    rule: Object = {"action": random.choices(("Allow", "Deny", "Pass", "Log"), (8, 3, 2, 1))[0]}
    if random.random() < 0.1:
        rule["ipVersion"] = random.choice((4, 6))
    if random.random() < 0.6:
        rule["protocol"] = random.choice(
            ("TCP", "TCP", "UDP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite", 6, 97, "103"))
    if random.random() < 0.1:
        rule["notProtocol"] = random.choice(("TCP", "UDP", "ICMP", "ICMPv6", 97))
    if random.random() < {"ICMP": 0.7, "ICMPv6": 0.7, None: 0.3}.get(rule.get("protocol"), 0.0):
        rule[random.choice(("icmp", "icmp", "notICMP"))] = random.choice((
            {"type": 8}, {"type": 128}, {"type": 13}, {"type": 139},
            {"type": 8, "code": 0}, {"type": 8, "code": 1}, {"type": 128, "code": 0}, {"type": 128, "code": 1},
        ))
    opposite = "source" if direction == "ingress" else "destination"
    for side in ("source", "destination"):
        if side == opposite and random.random() < 0.08:
            rule[side] = _service(random, namespace, side, rule.get("protocol"))
        elif words := _side(random, rule.get("protocol"), namespace, 0.4 if few else 1.0):
            rule[side] = words
    return rule


def _crowd(random: Random) -> list[Object]:
    """Mostly of one protocol, so that they meet; now and then one that stands between because it speaks of any port."""
    protocol = random.choice(("TCP", "TCP", "UDP", "SCTP"))
    if random.random() < 0.25:
        ports = {"destination": {"ports": [random.choice(CROWD)]}} if random.random() < 0.5 else {}
        return [{"action": random.choices(("Allow", "Deny", "Log"), (4, 4, 1))[0], "protocol": protocol,
                 "source": _peer_of_crowd(random), **ports} for _ in range(random.randint(6, 9))]
    rules = [_crowding(random, protocol) for _ in range(random.randint(6, 13))]
    if random.random() < 0.4:
        where = random.randint(0, len(rules))
        rules[where:where] = _alike(random, protocol)
    return rules


def _peer_of_crowd(random: Random) -> Object:
    if random.random() < 0.6:
        return {"selector": _selector(random)}
    found: Object = {"nets": random.sample(NETS4 + NETS6, 3)} if random.random() < 0.6 else {}
    if not found or random.random() < 0.3:
        found["notNets"] = random.sample(NETS4[:-2] + NETS6[:-1], random.randint(1, 3))
    return found


def _alike(random: Random, protocol: str) -> list[Object]:
    """They differ in nothing but the port; one of them now and then in the verdict."""
    source = {"source": {"selector": _selector(random)}} if random.random() < 0.6 else {}
    odd = random.choice((0.0, 0.0, 0.2))
    return [{"action": "Deny" if random.random() < odd else "Allow", "protocol": protocol, **source,
             "destination": {"ports": [_crowded_port(random)]}} for _ in range(random.randint(3, 7))]


def _crowding(random: Random, protocol: str) -> Object:
    rule: Object = {"action": random.choices(("Allow", "Deny", "Pass", "Log"), (10, 7, 2, 1))[0]}
    if random.random() < 0.9:
        rule["protocol"] = random.choices((protocol, "TCP", "UDP", "ICMP", "ICMPv6"), (8, 2, 2, 1, 1))[0]
    elif random.random() < 0.6:
        rule["notProtocol"] = random.choice((protocol, "ICMP", "ICMPv6"))
    if random.random() < 0.35:
        rule["source"] = {"nets": random.sample(NETS4 + NETS6, 3)}
    elif random.random() < 0.4:
        rule["source"] = random.choice((
            {"selector": _selector(random)},
            {"namespaceSelector": _selector(random, ("team", "projectcalico.org/name"))}))
    if rule.get("protocol", "ICMP").startswith("ICMP"):
        return rule
    wanted = random.random()
    if wanted < 0.9:
        rule["destination"] = {"ports": [_crowded_port(random) for _ in range(random.choice((1, 1, 2, 3)))]}
    if wanted > 0.8:
        rule.setdefault("destination", {})["notPorts"] = [_crowded_port(random)]
    return rule


def _crowded_port(random: Random) -> int | str:
    first = random.choice(CROWD)
    last = random.choice([port for port in CROWD if port >= first])
    return random.choice((first, first, f"{first}:{last}", f"{first}:{min(first + 1, 65535)}"))


def _side(random: Random, protocol: str | int | None, namespace: str, often: float) -> Object:
    words: Object = {}
    chances: tuple[tuple[str, float, Callable[[], Any]], ...] = (
        ("nets", 0.2, lambda: random.sample(NETS4 + NETS6, random.randint(1, 3))),
        ("notNets", 0.12, lambda: random.sample(NETS4[:-2] + NETS6[:-1], random.randint(1, 2))),
        ("selector", 0.25, lambda: _selector(random)),
        ("notSelector", 0.12, lambda: _selector(random)),
        ("namespaceSelector", 0.12, lambda: random.choice(
            ("all()", "global()", _selector(random, ("team", "projectcalico.org/name"))))),
        ("serviceAccounts", 0.12, lambda: random.choice(
            ({"names": ["sa1"]}, {"names": ["sa1", "sa2"]}, {"selector": "rank == 'high'"},
             {"names": ["sa1"], "selector": "has(rank)"}))),
    )
    for name, chance, make in chances:
        if random.random() < chance * often:
            words[name] = make()
    if protocol in ("TCP", "UDP", "SCTP", "UDPLite", 6):
        if random.random() < 0.5:
            words["ports"] = [_port(random) for _ in range(random.randint(1, 3))]
        if random.random() < 0.25:
            words["notPorts"] = [_port(random) for _ in range(random.randint(1, 2))]
    return words


def _service(random: Random, namespace: str, side: str, protocol: str | int | None) -> Object:
    """A service stands alone on its side; the ports of a source are the only words beside it."""
    service = {"name": random.choice(SERVICES)}
    if not namespace or random.random() < 0.5:
        service["namespace"] = random.choice(NAMESPACES)
    words: Object = {"services": service}
    if side == "source" and protocol in ("TCP", "UDP", "SCTP", 6) and random.random() < 0.3:
        words["ports"] = [_port(random)]
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
