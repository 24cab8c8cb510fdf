"""A fourth opinion on policy: slow, plain, and on its own.

It reads the resources as the JSON that people write, for one packet at a time, straight from the pages that say what
Calico does. It shares no code with muslin (nothing is imported), and takes no short cut: who reads it beside the
documentation should find every sentence again. Only what a generated world can hold is here; objects that do not
validate are another matter. What one endpoint's policy says of a packet stands here; which policies a packet meets on
its way through a host stands in `law`.

A packet is anything with the attributes source, destination, protocol (number), source_port, destination_port,
icmp_type and icmp_code.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

Object = dict[str, Any]

NUMBERS = {"ICMP": 1, "TCP": 6, "UDP": 17, "ICMPv6": 58, "SCTP": 132, "UDPLite": 136}
WITH_PORTS = (6, 17, 132, 136)
ALLOW_ALL = {"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}
INGRESS, EGRESS = "ingress", "egress"


# --- selectors ------------------------------------------------------------------------------------------------------

ATOM = re.compile(
    r"""has\(\s*(?P<has>[\w./-]+)\s*\)|(?P<all>all\(\s*\))|(?P<global>global\(\s*\))
    |(?P<label>[\w./-]+)\s*(?:
        (?P<op>==|!=|contains|starts\s*with|ends\s*with)\s*(?P<value>"[^"]*"|'[^']*')
       |(?P<set>not\s*in|in)\s*\{(?P<values>[^}]*)\})""",
    re.VERBOSE,
)


def selects(text: str, labels: dict[str, str], prefix: str = "", all_means: str = "") -> bool:
    """Every comparison is decided and written as True or False; Python then reads what is left of the text.
    `prefix` goes before each label; `all_means` is a label that `all()` demands."""

    def decided(found: re.Match[str]) -> str:
        if found["all"]:
            return str(not all_means or all_means in labels)
        if found["global"]:
            return str("projectcalico.org/namespace" not in labels)
        label = prefix + (found["has"] or found["label"])
        if found["has"]:
            return str(label in labels)
        if found["set"]:
            inside = labels.get(label) in re.findall(r"""["']([^"']*)["']""", found["values"])
            return str(inside if found["set"] == "in" else not inside)
        value, has = found["value"][1:-1], labels.get(label)
        match found["op"].replace(" ", ""):
            case "==":
                return str(has == value)
            case "!=":
                return str(has != value)
            case "contains":
                return str(has is not None and value in has)
            case "startswith":
                return str(has is not None and has.startswith(value))
            case _:
                return str(has is not None and has.endswith(value))

    python = ATOM.sub(decided, text).replace("&&", " and ").replace("||", " or ").replace("!", " not ")
    assert re.fullmatch(r"(True|False|and|or|not|[()\s])*", python), f"{text!r} was read as {python!r}"
    return bool(eval(python)) if python.strip() else True


# --- who is at an address, and what labels they have ------------------------------------------------------------------


class World:
    """The resources, and what was found out about them: it does not change while the world is looked at."""

    def __init__(self, objects: list[Object], *, staged: bool = False) -> None:
        """`staged`: as if the staged policies were in force."""
        self.objects = objects
        self.staged = staged
        self._labels: dict[int, dict[str, str]] = {}
        self._at: dict[str, list[Object]] = {}
        self.kept: dict[Any, Any] = {}
        self.trail: list[Object] = []
        """The rules that matched, in the order in which they did: for whoever counts what was tried."""

    def of(self, *kinds: str, group: str = "") -> list[Object]:
        """Objects of these kinds; of Kubernetes' own where the group is named, else of Calico's and the core's."""
        return [
            found for found in self.objects
            if found["kind"] in kinds and (found["apiVersion"].startswith(group) if group else not is_kubernetes(found))
        ]

    def profile(self, name: str) -> Object | None:
        """Its spec, None where there is no such profile. A Namespace without a profile of its own makes one."""
        if name == "projectcalico-default-allow":
            return ALLOW_ALL
        for found in self.of("Profile"):
            if found["metadata"]["name"] == name:
                return found["spec"]
        for found in self.of("Namespace"):
            if name == "kns." + found["metadata"]["name"]:
                labels = {"pcns." + key: value for key, value in found["metadata"].get("labels", {}).items()}
                return ALLOW_ALL | {"labelsToApply": labels | {"pcns.projectcalico.org/name": name[4:]}}
        return None

    def labels(self, found: Object) -> dict[str, str]:
        if id(found) not in self._labels:
            self._labels[id(found)] = self._labels_of(found)
        return self._labels[id(found)]

    def _labels_of(self, found: Object) -> dict[str, str]:
        own = dict(found["metadata"].get("labels", {}))
        profiles = list(found["spec"].get("profiles", ()))
        if found["kind"] == "WorkloadEndpoint":
            own = {key: value for key, value in own.items() if not key.startswith(("pcns.", "pcsa."))}
            own["projectcalico.org/namespace"] = found["metadata"]["namespace"]
            own["projectcalico.org/orchestrator"] = found["spec"]["orchestrator"]
            if found["spec"].get("serviceAccountName"):
                own["projectcalico.org/serviceaccount"] = found["spec"]["serviceAccountName"]
        if found["kind"] == "NetworkSet":
            own["projectcalico.org/namespace"] = found["metadata"]["namespace"]
            profiles = ["kns." + found["metadata"]["namespace"]]
        inherited: dict[str, str] = {}
        for profile in reversed(profiles):
            inherited |= (self.profile(profile) or {}).get("labelsToApply", {})
        return inherited | own

    def at(self, address: str) -> list[Object]:
        """Endpoints and network sets that have the address."""
        if address not in self._at:
            self._at[address] = self._who_is_at(address)
        return self._at[address]

    def _who_is_at(self, address: str) -> list[Object]:
        found = []
        for each in self.of("WorkloadEndpoint", "HostEndpoint", "NetworkSet", "GlobalNetworkSet"):
            spec = each["spec"]
            if any(holds(net, address) for net in (*spec.get("ipNetworks", ()), *spec.get("expectedIPs", ()),
                                                   *spec.get("nets", ()))):
                found.append(each)
        return found


@lru_cache(maxsize=65536)
def holds(net: str, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(net, strict=False)


def is_kubernetes(found: Object) -> bool:
    return found["apiVersion"].partition("/")[0].endswith("networking.k8s.io")


def version(text: str) -> int:
    return 6 if ":" in text else 4


# --- rules ------------------------------------------------------------------------------------------------------------


def rule_matches(world: World, rule: Object, namespace: str, packet: Any) -> bool:
    if "ipVersion" in rule and rule["ipVersion"] != version(packet.source):
        return False
    if "protocol" in rule and number(rule["protocol"]) != packet.protocol:
        return False
    if "notProtocol" in rule and number(rule["notProtocol"]) == packet.protocol:
        return False
    if "icmp" in rule and not icmp_is(rule["icmp"], packet):
        return False
    if "notICMP" in rule and icmp_is(rule["notICMP"], packet):
        return False
    protocol = number(rule["protocol"]) if "protocol" in rule else None
    for side, address, port in (
        ("source", packet.source, packet.source_port),
        ("destination", packet.destination, packet.destination_port),
    ):
        words = rule.get(side, {})
        if packet.protocol not in WITH_PORTS:
            port = None
        if not nets_match(words, address):
            return False
        if "services" in words and not is_behind(world, words["services"], namespace, packet, side):
            return False
        if not names_match(world, words, namespace, address, port, protocol):
            return False
    return True


def is_behind(world: World, service: Object, namespace: str, packet: Any, side: str) -> bool:
    """Is this end of the packet one of the service's endpoints: as source by its address, as destination at a port that
    the service has?"""
    for each in world.of("EndpointSlice"):
        metadata = each["metadata"]
        if (metadata["namespace"], metadata["labels"]["kubernetes.io/service-name"]) != (
            service.get("namespace") or namespace, service["name"]
        ):
            continue
        address = packet.source if side == "source" else packet.destination
        here = any(address in endpoint["addresses"] for endpoint in each["endpoints"])
        if here and (side == "source" or any(
            number(port.get("protocol", "TCP")) == packet.protocol and port.get("port") == packet.destination_port
            for port in each["ports"]
        )):
            return True
    return False


def number(protocol: str | int) -> int:
    return NUMBERS[protocol] if protocol in NUMBERS else int(protocol)


def icmp_is(icmp: Object, packet: Any) -> bool:
    if packet.protocol != (1 if version(packet.source) == 4 else 58):
        return False
    return packet.icmp_type == icmp["type"] and packet.icmp_code == icmp.get("code", packet.icmp_code)


def nets_match(words: Object, address: str) -> bool:
    """A list that has nothing of the packet's family takes the rule out of that family, in the not-form too."""
    for name in ("nets", "notNets"):
        if words.get(name):
            nets = [net for net in words[name] if version(net) == version(address)]
            if not nets or any(holds(net, address) for net in nets) != (name == "nets"):
                return False
    return True


def names_match(
    world: World, words: Object, namespace: str, address: str, port: int | None, protocol: int | None
) -> bool:
    """Selectors and ports of one side. Somebody named must be at the address; a port name must be theirs."""
    naming = any(words.get(name) for name in ("selector", "namespaceSelector", "serviceAccounts"))
    if namespace and words.get("notSelector"):
        naming = True
    there = world.at(address)
    named = [each for each in there if is_named(words, namespace, world.labels(each))] if naming else there
    excluded = "" if naming else words.get("notSelector", "")
    if excluded and any(selects(excluded, world.labels(each)) for each in there):
        return False
    numbers = [entry for entry in words.get("ports", ()) if not is_name(entry)]
    names = [entry for entry in words.get("ports", ()) if is_name(entry)]
    only_names = bool(names) and not numbers
    if naming and not named and not only_names:
        return False
    if words.get("ports"):
        by_number = port is not None and any(in_range(entry, port) for entry in numbers)
        if not by_number and not has_port(named, names, port, protocol):
            return False
    for entry in words.get("notPorts", ()):
        if has_port(named, [entry], port, protocol) if is_name(entry) else port is not None and in_range(entry, port):
            return False
    return True


def is_named(words: Object, namespace: str, labels: dict[str, str]) -> bool:
    """Is a thing with these labels one that this side of the rule speaks of?"""
    if words.get("namespaceSelector"):
        if not selects(words["namespaceSelector"], labels, "pcns.", all_means="projectcalico.org/namespace"):
            return False
    elif namespace and labels.get("projectcalico.org/namespace") != namespace:
        return False
    accounts = words.get("serviceAccounts", {})
    if accounts.get("names") and labels.get("projectcalico.org/serviceaccount") not in accounts["names"]:
        return False
    if accounts.get("selector") and not selects(accounts["selector"], labels, "pcsa."):
        return False
    if words.get("notSelector") and selects(words["notSelector"], labels):
        return False
    return selects(words.get("selector", ""), labels)


def is_name(entry: str | int) -> bool:
    return isinstance(entry, str) and not entry[0].isdigit()


def in_range(entry: str | int, port: int) -> bool:
    first, _, last = str(entry).partition(":")
    return int(first) <= port <= int(last or first)


def has_port(endpoints: list[Object], names: list[str], port: int | None, protocol: int | None) -> bool:
    """Does one of them call this port by one of these names?"""
    return port is not None and any(
        known["name"] in names and known["port"] == port and number(known["protocol"]) == protocol
        for each in endpoints
        for known in each["spec"].get("ports", ())
    )


# --- policies, tiers, profiles ----------------------------------------------------------------------------------------


class Sort(NamedTuple):
    """Which policies make a list, and what comes of it when none of their rules decides."""

    wants: Callable[[Object], bool]
    profiles: bool
    end: str
    tiers_end: bool
    """False: a tier in which no rule matched is as if it were not there."""


def plain(spec: Object) -> bool:
    return not spec.get("doNotTrack") and not spec.get("preDNAT")


NORMAL = Sort(plain, True, "Deny", True)
FORWARD = Sort(lambda spec: plain(spec) and bool(spec.get("applyOnForward")), False, "Allow", True)
UNTRACKED = Sort(lambda spec: bool(spec.get("doNotTrack")), False, "Pass", False)
PRE_DNAT = Sort(lambda spec: bool(spec.get("preDNAT")), False, "Pass", False)


class Reading(NamedTuple):
    """A policy, whatever language it was written in. `says`: what it says of a packet in a direction, "" if nothing."""

    place: tuple[float, str, str, str]
    tier: str
    spec: Object
    directions: list[str]
    namespace: str
    applies: Callable[[Object], bool]
    says: Callable[[str, Any], str]


def verdict(world: World, endpoint: Object, direction: str, packet: Any, *, staged: bool = False) -> str:
    """"Allow" or "Deny": what a workload's policy says in this direction ("ingress" or "egress"), its source and the
    tunnels that no workload may send included. `staged`: what it would say, were the staged policies in force."""
    if direction == EGRESS and not owns(endpoint, packet.source):
        return "Deny"
    found = by_policy(world, endpoint, direction, packet, NORMAL, staged=staged)
    if direction == EGRESS and found == "Allow" and is_tunnel(packet):
        return "Deny"
    return found


def owns(endpoint: Object, address: str) -> bool:
    """May a workload send from there?"""
    spec = endpoint["spec"]
    own = (*spec.get("ipNetworks", ()), *spec.get("allowSpoofedSourcePrefixes", ()))
    return any(holds(net, address) for net in own)


def is_tunnel(packet: Any) -> bool:
    return packet.protocol == 4 or (packet.protocol == 17 and packet.destination_port == 4789)


def by_policy(
    world: World, endpoint: Object, direction: str, packet: Any, sort: Sort = NORMAL, *, staged: bool = False
) -> str:
    """Allow, Deny, or Pass where the sort of policy leaves the packet to others."""
    for default, policies in tiers(world, endpoint, direction, sort, staged or world.staged):
        action = default
        for policy in policies:
            found = policy.says(direction, packet)
            if found:
                action = found
                break
        if action != "Pass":
            return action
    for name in dict.fromkeys(endpoint["spec"].get("profiles", ()) if sort.profiles else ()):
        profile = world.profile(name)
        if profile is None:
            return "Deny"
        found = first_match(world, profile.get(direction, ()), "", packet)
        if found in ("Allow", "Deny"):
            return found
    return sort.end


def first_match(world: World, rules: list[Object], namespace: str, packet: Any) -> str:
    for rule in rules:
        if rule["action"] != "Log" and rule_matches(world, rule, namespace, packet):
            world.trail.append(rule)
            return str(rule["action"])
    return ""


def tiers(
    world: World, endpoint: Object, direction: str, sort: Sort, staged: bool
) -> list[tuple[str, list[Reading]]]:
    """(default action, policies in order) of the tiers that count, in order. A tier that nobody declared comes last."""
    asked = (id(endpoint), direction, id(sort), staged)
    if asked not in world.kept:
        world.kept[asked] = _tiers(world, endpoint, direction, sort, staged)
    found: list[tuple[str, list[Reading]]] = world.kept[asked]
    return found


def _tiers(world: World, endpoint: Object, direction: str, sort: Sort, staged: bool) -> list[tuple[str, list[Reading]]]:
    known = {tier["metadata"]["name"]: tier["spec"] for tier in world.of("Tier")}
    chosen: dict[str, list[Reading]] = {}
    for policy in policies(world, staged):
        if direction in policy.directions and sort.wants(policy.spec) and policy.applies(endpoint):
            chosen.setdefault(policy.tier, []).append(policy)

    def tier_place(name: str) -> tuple[bool, float, str]:
        order = known.get(name, {}).get("order")
        return name not in known, float("inf") if order is None else order, name

    def end(name: str) -> str:
        return (known.get(name, {}).get("defaultAction") or "Deny") if sort.tiers_end else "Pass"

    return [
        (end(name), sorted(chosen[name], key=lambda policy: policy.place)) for name in sorted(chosen, key=tier_place)
    ]


def policies(world: World, staged: bool) -> list[Reading]:
    """What is enforced; or what would be, if the staged policies took effect: Set puts a policy in the place of the one
    of that name, Delete takes that one away, Learn and Ignore do nothing."""
    found = {}
    for policy in world.of("NetworkPolicy", "GlobalNetworkPolicy"):
        found[policy["kind"], policy["metadata"].get("namespace", ""), policy["metadata"]["name"]] = policy
    for policy in world.of("StagedNetworkPolicy", "StagedGlobalNetworkPolicy") if staged else ():
        kind, action = policy["kind"].removeprefix("Staged"), policy["spec"].get("stagedAction") or "Set"
        key = kind, policy["metadata"].get("namespace", ""), policy["metadata"]["name"]
        if action == "Delete":
            found.pop(key, None)
        elif action == "Set":
            found[key] = policy
    others = [reading for reads in OTHER_LANGUAGES for reading in reads(world, staged)]
    return [*(_read(world, key, policy) for key, policy in found.items()), *others]


OTHER_LANGUAGES: list[Callable[[World, bool], list[Reading]]] = []
"""Readers of policies that are not Calico's own: see kubernetes."""


def _read(world: World, key: tuple[str, str, str], policy: Object) -> Reading:
    kind, namespace, name = key
    spec = policy["spec"]
    order = spec.get("order")
    place = (float("inf") if order is None else order, name, namespace, kind)
    return Reading(place, spec.get("tier") or "default", spec, directions(spec), namespace,
                   lambda endpoint: applies(world, kind, namespace, spec, endpoint),
                   lambda direction, packet: first_match(world, spec.get(direction, ()), namespace, packet))


def directions(spec: Object) -> list[str]:
    if spec.get("types"):
        return [word.lower() for word in spec["types"]]
    if spec.get("egress"):
        return [INGRESS, EGRESS] if spec.get("ingress") else [EGRESS]
    return [INGRESS]


def applies(world: World, kind: str, namespace: str, spec: Object, endpoint: Object) -> bool:
    labels = world.labels(endpoint)
    if kind == "NetworkPolicy":
        if namespace != endpoint["metadata"].get("namespace"):
            return False
        accounts_all = ""
    else:
        accounts_all = "projectcalico.org/serviceaccount"
        if spec.get("namespaceSelector") and not selects(
            spec["namespaceSelector"], labels, "pcns.", all_means="projectcalico.org/namespace"
        ):
            return False
    accounts = spec.get("serviceAccountSelector")
    if accounts and not selects(accounts, labels, "pcsa.", all_means=accounts_all):
        return False
    return selects(spec.get("selector", ""), labels)
