"""A fourth opinion on policy: slow, plain, and on its own.

It reads the resources as the JSON that people write, for one packet at a time, straight from the pages that say what
Calico does. It shares no code with muslin (nothing is imported), keeps nothing between two questions, and takes no
short cut: who reads it beside the documentation should find every sentence again. Only what a generated world can hold
is here; objects that do not validate are another matter.

A packet is anything with the attributes source, destination, protocol (number), source_port, destination_port,
icmp_type and icmp_code.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

Object = dict[str, Any]

NUMBERS = {"ICMP": 1, "TCP": 6, "UDP": 17, "ICMPv6": 58, "SCTP": 132, "UDPLite": 136}
WITH_PORTS = (6, 17, 132, 136)
ALLOW_ALL = {"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}


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
    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects

    def of(self, *kinds: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] in kinds]

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
        found = []
        for each in self.of("WorkloadEndpoint", "HostEndpoint", "NetworkSet", "GlobalNetworkSet"):
            spec = each["spec"]
            if any(holds(net, address) for net in (*spec.get("ipNetworks", ()), *spec.get("expectedIPs", ()),
                                                   *spec.get("nets", ()))):
                found.append(each)
        return found


def holds(net: str, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(net, strict=False)


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
        if not names_match(world, words, namespace, address, port, protocol):
            return False
    return True


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


def verdict(world: World, endpoint: Object, direction: str, packet: Any) -> str:
    """"Allow" or "Deny": what the endpoint's policy says in this direction ("ingress" or "egress")."""
    if direction == "egress":
        spec = endpoint["spec"]
        own = (*spec.get("ipNetworks", ()), *spec.get("allowSpoofedSourcePrefixes", ()))
        if not any(holds(net, packet.source) for net in own):
            return "Deny"
    found = by_policy(world, endpoint, direction, packet)
    if direction == "egress" and found == "Allow":
        ip_in_ip, vxlan = packet.protocol == 4, packet.protocol == 17 and packet.destination_port == 4789
        if ip_in_ip or vxlan:
            return "Deny"
    return found


def by_policy(world: World, endpoint: Object, direction: str, packet: Any) -> str:
    for default, policies in tiers(world, endpoint, direction):
        action = default
        for policy in policies:
            rules = policy["spec"].get(direction, ())
            found = first_match(world, rules, policy["metadata"].get("namespace", ""), packet)
            if found:
                action = found
                break
        if action != "Pass":
            return action
    for name in dict.fromkeys(endpoint["spec"].get("profiles", ())):
        profile = world.profile(name)
        if profile is None:
            return "Deny"
        found = first_match(world, profile.get(direction, ()), "", packet)
        if found in ("Allow", "Deny"):
            return found
    return "Deny"


def first_match(world: World, rules: list[Object], namespace: str, packet: Any) -> str:
    for rule in rules:
        if rule["action"] != "Log" and rule_matches(world, rule, namespace, packet):
            return str(rule["action"])
    return ""


def tiers(world: World, endpoint: Object, direction: str) -> list[tuple[str, list[Object]]]:
    """(default action, policies in order) of the tiers that count, in order. A tier that nobody declared comes last."""
    known = {tier["metadata"]["name"]: tier["spec"] for tier in world.of("Tier")}
    chosen: dict[str, list[Object]] = {}
    for policy in world.of("NetworkPolicy", "GlobalNetworkPolicy"):
        if direction in directions(policy["spec"]) and applies(world, policy, endpoint):
            chosen.setdefault(policy["spec"].get("tier") or "default", []).append(policy)
    def tier_place(name: str) -> tuple[bool, float, str]:
        order = known.get(name, {}).get("order")
        return name not in known, float("inf") if order is None else order, name
    def policy_place(policy: Object) -> tuple[float, str, str, str]:
        order = policy["spec"].get("order")
        metadata = policy["metadata"]
        return float("inf") if order is None else order, metadata["name"], metadata.get("namespace", ""), policy["kind"]
    return [
        (known.get(name, {}).get("defaultAction") or "Deny", sorted(chosen[name], key=policy_place))
        for name in sorted(chosen, key=tier_place)
    ]


def directions(spec: Object) -> list[str]:
    if spec.get("types"):
        return [word.lower() for word in spec["types"]]
    if spec.get("egress"):
        return ["ingress", "egress"] if spec.get("ingress") else ["egress"]
    return ["ingress"]


def applies(world: World, policy: Object, endpoint: Object) -> bool:
    spec, labels = policy["spec"], world.labels(endpoint)
    if spec.get("doNotTrack") or spec.get("preDNAT"):
        return False
    if policy["kind"] == "NetworkPolicy":
        if policy["metadata"]["namespace"] != endpoint["metadata"]["namespace"]:
            return False
        accounts_all = ""
    else:
        accounts_all = "projectcalico.org/serviceaccount"
        if spec.get("namespaceSelector") and not selects(spec["namespaceSelector"], labels, "pcns."):
            return False
    accounts = spec.get("serviceAccountSelector")
    if accounts and not selects(accounts, labels, "pcsa.", all_means=accounts_all):
        return False
    return selects(spec.get("selector", ""), labels)
