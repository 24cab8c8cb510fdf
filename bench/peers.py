"""The same policies in the layouts that others use, written out by us from an intent, for one run beside our own.

What they have in common, as Calico's Felix has had it for years: one chain for each policy, one chain for each
endpoint and direction that goes through its policies one by one, conntrack asked at the top of the endpoint's chain,
verdicts handed back in mark bits, and, in iptables, a tree of prefixes that leads from the interface's name to its
chain. Felix's raw and mangle chains and reverse path checks are left out, so the real ones cost more than these. In nft
ports are compared before the set is looked up: it is the cheaper order.

Only what the measured intents consist of can be said here; anything else is refused, never left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from muslin.intent import Action, AddressSet, Endpoint, HostIntent, Match, Policy, PolicyId, Rule

ACCEPT, PASS = 0x10000, 0x20000
PREFIX = "mus"
_PROTOCOLS = {6: "tcp", 17: "udp", None: ""}


class Line(NamedTuple):
    """An allowing or denying rule. `protocol`: tcp or udp; empty is any, and then there are no ports."""

    action: Action
    protocol: str
    source: str
    """A set's name."""
    prefix: str
    ports: tuple[tuple[int, int], ...]


def lines(policy: Policy) -> Iterator[Line]:
    for rule in policy.ingress or policy.egress:
        said = Rule(action=rule.action, origin=rule.origin, protocol=rule.protocol, destination=Match(
            ports=rule.destination.ports), source=Match(sets=rule.source.sets[:1], nets=rule.source.nets[:1]))
        if rule != said or rule.protocol not in _PROTOCOLS or rule.action not in (Action.ALLOW, Action.DENY):
            raise ValueError(f"{policy.id}: the peers' layouts do not say {rule}")
        yield Line(rule.action, _PROTOCOLS[rule.protocol], next(iter(rule.source.sets), ""),
                   next(iter(rule.source.nets), ""), rule.destination.ports)


def policies_of(made: HostIntent, endpoint: Endpoint) -> tuple[list[PolicyId], list[PolicyId]]:
    """Of what it gets, and of what it sends."""
    found = []
    for group in (made.groups[endpoint.ingress], made.groups[endpoint.egress]):
        found.append([policy for stage in group.stages for policy in stage.policies] + list(group.profiles))
    return found[0], found[1]


def numbered(made: HostIntent) -> dict[PolicyId, str]:
    """Short names of chains."""
    return {policy: f"px-p{number}" for number, policy in enumerate(made.policies)}


def members(made: HostIntent) -> Iterator[tuple[str, list[str]]]:
    for name, there in made.sets.items():
        if not isinstance(there, AddressSet):
            raise ValueError(f"{name}: the peers' layouts have sets of addresses only")
        yield name, sorted(member.removesuffix("/32") for member in there.members)


def short(interface: str) -> str:
    return interface.removeprefix(PREFIX)


# ---- iptables


def ipset_text(made: HostIntent) -> str:
    """For `ipset restore`."""
    found = []
    for name, addresses in members(made):
        found.append(f"create {name} hash:net family inet maxelem 1048576")
        found += [f"add {name} {address}" for address in addresses]
    return "\n".join([*found, ""])


def iptables_text(made: HostIntent) -> str:
    """For `iptables-restore`, of either flavour."""
    chains = numbered(made)
    body = [*_forward(), *_dispatch(made, "from", "-i"), *_dispatch(made, "to", "-o")]
    for policy, chain in chains.items():
        body += policy_rules(chain, made.policies[policy])
    for endpoint in made.endpoints.values():
        body += endpoint_rules(made, endpoint, chains)
    named = dict.fromkeys(line.split()[1] for line in body)
    named |= dict.fromkeys([*chains.values(), "px-from", "px-to"])
    named.pop("FORWARD")
    return "\n".join(["*filter", ":FORWARD ACCEPT [0:0]", *(f":{name} - [0:0]" for name in named), *body, "COMMIT", ""])


def _forward() -> list[str]:
    return [
        "-A FORWARD -j px-forward", f"-A FORWARD -m mark --mark {ACCEPT:#x}/{ACCEPT:#x} -j ACCEPT",
        "-A px-forward -j MARK --set-xmark 0x0/0xe0000", f"-A px-forward -i {PREFIX}+ -j px-from",
        f"-A px-forward -o {PREFIX}+ -j px-to",
    ]


def _dispatch(made: HostIntent, way: str, option: str) -> Iterator[str]:
    branches: dict[str, list[str]] = {}
    for endpoint in made.endpoints.values():
        branches.setdefault(short(endpoint.interface)[0], []).append(endpoint.interface)
    for letter, interfaces in sorted(branches.items()):
        yield f"-A px-{way} {option} {PREFIX}{letter}+ -g px-{way}-{letter}"
        for interface in sorted(interfaces):
            yield leaf(interface, way, option)
        yield f"-A px-{way}-{letter} -j DROP"
    yield f"-A px-{way} -j DROP"


def leaf(interface: str, way: str, option: str, how: str = "-A") -> str:
    return f"{how} px-{way}-{short(interface)[0]} {option} {interface} -g px-{way[0]}w-{short(interface)}"


def policy_rules(chain: str, policy: Policy) -> Iterator[str]:
    accepted = f"-m mark --mark {ACCEPT:#x}/{ACCEPT:#x}"
    for line in lines(policy):
        wanted = ",".join(f"{low}:{high}" if low < high else str(low) for low, high in line.ports)
        match = "".join((
            f" -p {line.protocol}" if line.protocol else "", f" -s {line.prefix}" if line.prefix else "",
            f" -m set --match-set {line.source} src" if line.source else "",
            f" -m multiport --dports {wanted}" if wanted else ""))
        if line.action is Action.DENY:
            yield f"-A {chain}{match} -j DROP"
        else:
            yield f"-A {chain}{match} -j MARK --set-xmark {ACCEPT:#x}/{ACCEPT:#x}"
            yield f"-A {chain} {accepted} -j RETURN"


def endpoint_rules(made: HostIntent, endpoint: Endpoint, chains: dict[PolicyId, str]) -> Iterator[str]:
    accepted = f"-m mark --mark {ACCEPT:#x}/{ACCEPT:#x}"
    inwards, outwards = policies_of(made, endpoint)
    for way, policies in (("f", outwards), ("t", inwards)):
        chain = f"px-{way}w-{short(endpoint.interface)}"
        yield f"-A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        yield f"-A {chain} -m conntrack --ctstate INVALID -j DROP"
        yield f"-A {chain} -j MARK --set-xmark 0x0/{ACCEPT | PASS:#x}"
        if way == "f":
            yield f"-A {chain} -p udp -m multiport --dports 4789 -j DROP"
            yield f"-A {chain} -p 4 -j DROP"
        for policy in policies:
            yield f"-A {chain} -m mark --mark 0x0/{PASS:#x} -j {chains[policy]}"
            yield f"-A {chain} {accepted} -j RETURN"
        yield f"-A {chain} -j DROP"


# ---- nft


def nft_text(made: HostIntent, *, interval: bool = True) -> str:
    """For `nft -f`. `interval`: the sets take prefixes, too, as Felix's must."""
    chains = numbered(made)
    parts = ["add table ip px"]
    for name, addresses in members(made):
        parts.append(f"add set ip px {name} {{ type ipv4_addr; {'flags interval;' if interval else ''} }}")
        if addresses:
            parts.append(f"add element ip px {name} {{ {', '.join(addresses)} }}")
    for policy, chain in chains.items():
        parts += [f"add chain ip px {chain}", *nft_policy(chain, made.policies[policy])]
    for endpoint in made.endpoints.values():
        parts += nft_endpoint(made, endpoint, chains)
    for way, key in (("from", "iifname"), ("to", "oifname")):
        leaves = ", ".join(nft_leaf(endpoint.interface, way) for endpoint in made.endpoints.values())
        parts += [f"add map ip px m{way} {{ type ifname : verdict; }}", f"add element ip px m{way} {{ {leaves} }}",
                  f"add chain ip px px-{way}", f"add rule ip px px-{way} {key} vmap @m{way}",
                  f"add rule ip px px-{way} drop"]
    parts += [
        "add chain ip px px-forward", "add rule ip px px-forward meta mark set mark & 0xfff1ffff",
        f'add rule ip px px-forward iifname "{PREFIX}*" jump px-from',
        f'add rule ip px px-forward oifname "{PREFIX}*" jump px-to',
        "add chain ip px forward { type filter hook forward priority 0; policy accept; }",
        "add rule ip px forward jump px-forward",
        f"add rule ip px forward meta mark & {ACCEPT:#x} == {ACCEPT:#x} accept",
    ]
    return "\n".join([*parts, ""])


def nft_leaf(interface: str, way: str) -> str:
    return f'"{interface}" : goto px-{way[0]}w-{short(interface)}'


def nft_policy(chain: str, policy: Policy) -> Iterator[str]:
    for line in lines(policy):
        wanted = ", ".join(f"{low}-{high}" if low < high else str(low) for low, high in line.ports)
        match = f" {line.protocol} dport {{ {wanted} }}" if len(line.ports) > 1 else ""
        if len(line.ports) == 1:
            match = f" {line.protocol} dport {wanted}"
        elif line.protocol and not line.ports:
            match = f" ip protocol {line.protocol}"
        match += f" ip saddr {line.prefix}" if line.prefix else ""
        match += f" ip saddr @{line.source}" if line.source else ""
        if line.action is Action.DENY:
            yield f"add rule ip px {chain}{match} drop"
        else:
            yield f"add rule ip px {chain}{match} meta mark set mark or {ACCEPT:#x}"
            yield f"add rule ip px {chain} meta mark & {ACCEPT:#x} == {ACCEPT:#x} return"


def nft_endpoint(made: HostIntent, endpoint: Endpoint, chains: dict[PolicyId, str]) -> Iterator[str]:
    inwards, outwards = policies_of(made, endpoint)
    for way, policies in (("f", outwards), ("t", inwards)):
        chain = f"px-{way}w-{short(endpoint.interface)}"
        yield f"add chain ip px {chain}"
        rule = f"add rule ip px {chain}"
        yield f"{rule} ct state established,related accept"
        yield f"{rule} ct state invalid drop"
        yield f"{rule} meta mark set mark & {~(ACCEPT | PASS) & 0xffffffff:#x}"
        if way == "f":
            yield f"{rule} udp dport 4789 drop"
            yield f"{rule} ip protocol 4 drop"
        for policy in policies:
            yield f"{rule} meta mark & {PASS:#x} == 0 jump {chains[policy]}"
            yield f"{rule} meta mark & {ACCEPT:#x} == {ACCEPT:#x} return"
        yield f"{rule} drop"
