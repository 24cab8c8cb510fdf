"""What policy costs a packet, against plain routing, in one run.

Established: a UDP flow that conntrack knows. New: one-way UDP, which stays new, so that every packet walks the whole
policy (worst case: only the last rule of the last policy matches). Connect: TCP connect and close, p50, the cost of a
Python client and server included. Each round measures every layout once, A B C A B C, so that a slow moment of the
machine touches all alike; a figure is the median of its rounds. Each kind of iptables has namespaces of its own: its
tables stay hooked in once they were used.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import msgspec

from bench import inject, rig, table
from muslin.drivers.iptables import Flavour, Iptables
from muslin.intent import (
    ALL_INTERFACES,
    Action,
    AddressSet,
    Delta,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    HostInterface,
    Match,
    Origin,
    Policy,
    PolicyId,
    Qos,
    Rule,
    SetId,
    Settings,
    TierStage,
)
from muslin.net import Cidr
from muslin.render import iptables, nft

IPTABLES_SIZES = ((10, 10), (1000, 10), (1000, 100))
SIZES = tuple((endpoints, policies) for endpoints in (10, 100, 1000) for policies in (10, 100))
RULES, MEMBERS, PACKETS, ROUNDS, CONNECTS = 5, 100, 100_000, 3, 400
COLUMNS = ("layout", "established ns", "ratio", "new ns", "ratio", "connect us", "ratio")
SINK = """table netdev bench {
    chain sink {
        type filter hook ingress device "eth0" priority 0
        udp dport 7001 counter drop
    }
}
"""
CONNTRACK = """table ip bench {
    chain forward {
        type filter hook forward priority 0
        ct state established counter accept
    }
}
"""


def _rule(policy: int, index: int, last: bool) -> Rule:
    low = 8000 + (policy * RULES + index) * 2
    return Rule(
        action=Action.ALLOW,
        origin=Origin(kind="GlobalNetworkPolicy", name=f"p{policy}", direction=Direction.INGRESS, rule=index),
        protocol=None if last else (6 if index % 2 else 17),
        source=Match(sets=(SetId(f"set{policy}"),)),
        destination=Match(ports=((7000, 7001),) if last else ((low, low + 1),)),
    )


def _both(rule: Rule) -> tuple[Rule, ...]:
    """Ports need a protocol: the last rule is one for TCP and one for UDP."""
    if rule.protocol is not None:
        return (rule,)
    return tuple(Rule(action=rule.action, origin=rule.origin, protocol=protocol, source=rule.source,
                      destination=rule.destination) for protocol in (6, 17))


def intent(endpoints: int, policies: int) -> HostIntent:
    """`endpoints` workloads that all carry the same `policies` policies; A and B are two of them."""
    dice = random.Random(7)
    made = HostIntent()
    names = []
    for policy in range(policies):
        last = policy == policies - 1
        members = {Cidr(f"172.{dice.randrange(16, 32)}.{dice.randrange(256)}.{dice.randrange(1, 255)}/32")
                   for _ in range(MEMBERS)}
        if last:
            members |= {Cidr(f"{address}/32") for address in rig.ADDRESSES.values()}
        identity = SetId(f"set{policy}")
        made.sets[identity] = AddressSet(id=identity, members=frozenset(members))
        rules = tuple(one for index in range(RULES) for one in _both(_rule(policy, index, last and index == RULES - 1)))
        name = PolicyId(f"GlobalNetworkPolicy/p{policy}")
        made.policies[name] = Policy(id=name, ingress=rules)
        names.append(name)
    allow = PolicyId("Profile/allow")
    origin = Origin(kind="Profile", name="allow", direction=Direction.EGRESS, rule=0)
    made.policies[allow] = Policy(id=allow, egress=(Rule(action=Action.ALLOW, origin=origin),))
    into, out = GroupId("aaaaaaaaaaaaaaaa"), GroupId("bbbbbbbbbbbbbbbb")
    stages = (TierStage(tier="default", policies=tuple(names)),)
    made.groups[into] = Group(id=into, direction=Direction.INGRESS, stages=stages)
    made.groups[out] = Group(id=out, direction=Direction.EGRESS, profiles=(allow,))
    for number in range(endpoints):
        side = {0: "a", 1: "b"}.get(number)
        key = EndpointKey(f"WorkloadEndpoint/default/w{number}")
        address = rig.ADDRESSES[side] if side else f"10.66.{number // 250}.{number % 250 + 1}"
        made.endpoints[key] = Endpoint(
            key=key, interface=rig.INTERFACES[side] if side else f"mus{number:011x}", ingress=into, egress=out,
            addresses=(Cidr(f"{address}/32"),),
        )
    return made


def with_host(forward: bool) -> HostIntent:
    """100 x 10, and a host endpoint for every interface of the host; `forward`: also for what it forwards."""
    made = intent(100, 10)
    through = GroupId("cccccccccccccccc")
    made.groups[through] = Group(id=through, direction=Direction.INGRESS, end=Action.ALLOW)
    key, (into, out) = EndpointKey("HostEndpoint/all"), list(made.groups)[:2]
    asked = through if forward else GroupId("")
    made.host_interfaces[key] = HostInterface(
        key=key, interface=ALL_INTERFACES, ingress=into, egress=out, forward_ingress=asked)
    return made


def with_limits(*numbers: int) -> HostIntent:
    """100 x 10, these workloads with rates that nobody reaches: 0 is A, 1 is B."""
    made = intent(100, 10)
    for key in [EndpointKey(f"WorkloadEndpoint/default/w{number}") for number in numbers]:
        qos = Qos(ingress_packet_rate=10**9, egress_packet_rate=10**9, ingress_packet_burst=10**6,
                  egress_packet_burst=10**6)
        made.endpoints[key] = msgspec.structs.replace(made.endpoints[key], qos=qos)
    return made


def with_floating() -> HostIntent:
    """100 x 10, everybody with a floating address."""
    made = intent(100, 10)
    made.settings = Settings(floating_addresses=True, pools=(Cidr("10.0.0.0/8"),))
    for number, (key, endpoint) in enumerate(made.endpoints.items()):
        own = endpoint.addresses[0].partition("/")[0]
        made.endpoints[key] = msgspec.structs.replace(endpoint, nat=((f"192.0.2.{number + 1}", own),))
    return made


def ruleset(whole: HostIntent) -> str:
    """The text that the agent would give to the kernel."""
    return nft.text(nft.NftState().update(Delta(snapshot=True), whole))


Load = Callable[[str], None]
"""Puts a layout into a namespace, in place of whatever is there."""


def _by_nft(text: str) -> Load:
    return lambda namespace: rig.load(namespace, text)


def _by_iptables(flavour: Flavour, endpoints: int, policies: int) -> Load:
    changes = iptables.whole(iptables.render(intent(endpoints, policies)))
    return lambda namespace: asyncio.run(Iptables(flavour, namespace).apply(changes))


def _serve(namespace: str) -> subprocess.Popen[bytes]:
    code = (
        "import socket\n"
        "s = socket.create_server(('0.0.0.0', 7000), backlog=512)\n"
        "print('ready', flush=True)\n"
        "while True:\n    s.accept()[0].close()\n"
    )
    server = subprocess.Popen(["ip", "netns", "exec", namespace, sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    return server


def _connects() -> float:
    """p50 in microseconds of connect and close from A to B, from inside A's namespace."""
    taken = []
    for _ in range(CONNECTS):
        before = time.perf_counter_ns()
        connection = socket.create_connection((rig.ADDRESSES["b"], 7000), timeout=2)
        taken.append((time.perf_counter_ns() - before) / 1000)
        connection.close()
    return statistics.median(taken)


class _Source:
    """Injects the established and the new flow at A's interface, from the host's namespace."""

    def __init__(self) -> None:
        a, b = (rig.ADDRESSES[side] for side in "ab")
        self.indexes = tuple(socket.if_nametoindex(rig.INTERFACES[side]) for side in "ab")
        self.known = inject.udp_frame(rig.MACS["a"], rig.HOST_MAC, a, b, (7001, 7001))
        self.reply = inject.udp_frame(rig.MACS["b"], rig.HOST_MAC, b, a, (7001, 7001))
        self.fresh = inject.udp_frame(rig.MACS["a"], rig.HOST_MAC, a, b, (7002, 7001))
        self.programs = {frame: inject.load_program(frame) for frame in (self.known, self.reply, self.fresh)}

    def send(self, frame: bytes, side: int, count: int) -> float:
        return inject.inject(self.programs[frame], frame, self.indexes[side], count)

    def measure(self) -> tuple[float, float]:
        """(established, new) ns per packet."""
        self.send(self.known, 0, 1)
        self.send(self.reply, 1, 1)
        return self.send(self.known, 0, PACKETS), self.send(self.fresh, 0, PACKETS)


def _in_child(namespace: str, work: str, write: int) -> None:
    rig.enter(namespace)
    answer = repr(_Source().measure() if work == "packets" else _connects())
    os.write(write, answer.encode())


def _forked(namespace: str, work: str) -> str:
    """Runs in a child, because a process that entered a namespace should not go on to make others."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _in_child(namespace, work, write)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    answer = os.read(read, 4096).decode()
    os.close(read)
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit(f"measuring {work} in {namespace} failed")
    return answer


def _arrived(spaces: rig.Rig) -> int:
    listed = rig.run("ip", "netns", "exec", spaces.b, "nft", "list", "table", "netdev", "bench")
    return int(listed.split("counter packets ")[1].split()[0])


Layouts = dict[str, tuple[rig.Rig, Load]]


def _round(layouts: Layouts, taken: dict[str, list[tuple[float, float, float]]]) -> None:
    for name, (spaces, load) in layouts.items():
        load(spaces.host)
        rig.load(spaces.b, SINK)
        run = ["ip", "netns", "exec", spaces.host, "conntrack", "-F"]
        subprocess.run(run, capture_output=True, check=False)
        established, new = (float(part) for part in _forked(spaces.host, "packets").strip("()").split(","))
        if (arrived := _arrived(spaces)) < 2 * PACKETS:
            raise SystemExit(f"{name}: only {arrived} of {2 * PACKETS} packets arrived, the figures would be void")
        taken[name].append((established, new, float(_forked(spaces.a, "connect"))))


def _layouts(stack: ExitStack) -> Layouts:
    spaces = stack.enter_context(rig.rig())
    layouts: Layouts = {"plain routing": (spaces, _by_nft("")), "conntrack only": (spaces, _by_nft(CONNTRACK))}
    layouts |= {
        f"nftables {e} endpoints x {p} policies": (spaces, _by_nft(ruleset(intent(e, p)))) for e, p in SIZES}
    layouts |= {f"nftables 100 x 10, {what}": (spaces, _by_nft(ruleset(made))) for what, made in (
        ("host endpoint *", with_host(False)), ("host endpoint * with forward policy", with_host(True)),
        ("packet rates of others", with_limits(2, 3)), ("packet rates of both", with_limits(0, 1)),
        ("floating addresses", with_floating()))}
    for flavour in Flavour:
        own = stack.enter_context(rig.rig(flavour))
        layouts |= {f"iptables-{flavour} {e} x {p}": (own, _by_iptables(flavour, e, p)) for e, p in IPTABLES_SIZES}
    return layouts


def main() -> list[tuple[object, ...]]:
    with ExitStack() as stack:
        layouts = _layouts(stack)
        taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in layouts}
        for spaces in {spaces.b: spaces for spaces, _ in layouts.values()}.values():
            server = _serve(spaces.b)
            stack.callback(server.wait)
            stack.callback(server.kill)
        for _ in range(ROUNDS):
            _round(layouts, taken)
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in taken.items()}
    base = medians["plain routing"]
    rows = [(name, *(cell for figure, plain in zip(figures, base, strict=True) for cell in (figure, figure / plain)))
            for name, figures in medians.items()]
    table.show("Cost of a packet (ns of CPU) and of a TCP connect; ratio to plain routing in this run", COLUMNS, rows)
    return rows
