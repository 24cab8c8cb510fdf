"""What it costs to follow flows: 100,000 of them on a host of 1,000 workloads, each from an address of its own.

look at all     list them, judge each by what policy says now: after a policy of everybody has changed
look at one     the same for one address: after a workload somewhere came or went
end 10,000      of the 100,000, the set of ended flows and conntrack included
forget          an address of each family, before its next holder gets it
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable

from bench import rig
from bench.figures import Figure, Section
from bench.plan import Plan
from muslin.agent.flows import CUT_FOR, Look, ends_of, look_at
from muslin.drivers import conntrack
from muslin.drivers.netlink import CREATE, EXCLUSIVE, NESTED, Netlink, attribute
from muslin.drivers.netns import inside, opened
from muslin.drivers.nft import Nft
from muslin.explain.flow_classes import Lengths
from muslin.intent import (
    Action,
    AddressSet,
    Delta,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    Match,
    Origin,
    Policy,
    PolicyId,
    Rule,
    SetId,
    TierStage,
)
from muslin.net import Cidr
from muslin.render.nft import NftState

FLOWS, ENDPOINTS, POLICIES = 100_000, 1000, 20
_NEW = 1 << 8


def measure(plan: Plan) -> list[Section]:
    plan.progress.begin("flows", 1)
    plan.progress.step()
    with rig.rig("flows") as made, opened(made.host) as descriptor, inside(descriptor):
        _insert()
        rows = _measure()
    return [Section(key="flows", title=f"Flows that follow policy: {FLOWS} flows of {ENDPOINTS} workloads",
                    measure="processor time of this process, once", figures=tuple(rows))]


def _measure() -> list[Figure]:
    lengths: Lengths = {}
    told = _intent()
    everything, one, shut = Look(told, None, ()), Look(told, {_remote(5)}, ()), Look(_intent(shut=2), None, ())
    rows = [_row("look at all, first time", FLOWS, lambda: look_at(everything, lengths)),
            _row("look at all", FLOWS, lambda: look_at(everything, lengths)),
            _row("look at one", 1, lambda: look_at(one, lengths))]
    denied = look_at(shut, lengths).denied
    ends = [ends_of(flow) for flow in denied]
    driver = Nft()
    asyncio.run(driver.apply(NftState().update(Delta(snapshot=True), _intent())))
    rows += [_row("look at all, a tenth is denied", FLOWS, lambda: look_at(shut, lengths)),
             _row("cut", len(denied), lambda: asyncio.run(driver.cut(ends, CUT_FOR))),
             _row("conntrack forgets", len(denied), lambda: conntrack.drop(denied)),
             _row("forget an address", 1, lambda: conntrack.forget(["10.65.0.5"])),
             _row("forget an address of each family", 2, lambda: conntrack.forget(["10.65.0.6", "fd00::6"]))]
    return rows


def _row(what: str, number: int, do: Callable[[], object]) -> Figure:
    processor = time.process_time()
    do()
    return Figure(name=f"{what} ({number})", values=((time.process_time() - processor) * 1e3,), unit="ms")


def _remote(number: int) -> bytes:
    return (0x0A800000 + number).to_bytes(4, "big")


def _local(number: int) -> bytes:
    return (0x0A410000 + number % ENDPOINTS).to_bytes(4, "big")


def _text(address: bytes) -> Cidr:
    return Cidr(".".join(map(str, address)) + "/32")


def _insert() -> None:
    """As the kernel makes them for TCP connections from outside to port 80."""
    def side(source: bytes, destination: bytes, *ports: int) -> bytes:
        ip = attribute(1 | NESTED, attribute(1, source) + attribute(2, destination))
        packed = [struct.pack(">H", port) for port in ports]
        return ip + attribute(2 | NESTED, attribute(1, b"\x06") + attribute(2, packed[0]) + attribute(3, packed[1]))

    messages = []
    state = attribute(4 | NESTED, attribute(1 | NESTED, attribute(1, b"\x03")))
    for number in range(FLOWS):
        one, other = _remote(number), _local(number)
        body = bytes((2, 0, 0, 0)) + attribute(1 | NESTED, side(one, other, 4000, 80))
        body += attribute(2 | NESTED, side(other, one, 80, 4000))
        body += attribute(3, struct.pack(">I", 0xE)) + attribute(7, struct.pack(">I", 3600)) + state
        messages.append((_NEW, CREATE | EXCLUSIVE, body))
    with Netlink(12) as netlink:
        refused = netlink.send(messages)
    if refused:
        raise SystemExit(f"conntrack takes no flows: {refused[0]}; nf_conntrack_max must be above {FLOWS}")


def _intent(shut: int = 0) -> HostIntent:
    """Groups of one policy each, of three sets; `shut` of the twenty allow nobody."""
    made = HostIntent()
    remotes = [_text(_remote(number)) for number in range(FLOWS)]
    for number in range(POLICIES):
        policy, group = PolicyId(f"GlobalNetworkPolicy/p{number}"), GroupId(f"{number:016x}")
        names = [SetId(f"set{number}-{part}") for part in range(3)]
        for part, name in enumerate(names):
            members = frozenset() if number < shut else frozenset(remotes[part::3])
            made.sets[name] = AddressSet(id=name, members=members)
        rules = tuple(
            Rule(action=Action.ALLOW, protocol=6, source=Match(sets=(name,)), destination=Match(ports=((80, 90),)),
                 origin=Origin(kind="GlobalNetworkPolicy", name=f"p{number}", rule=part))
            for part, name in enumerate(names))
        made.policies[policy] = Policy(id=policy, ingress=rules)
        stage = TierStage(tier="default", policies=(policy,))
        made.groups[group] = Group(id=group, direction=Direction.INGRESS, stages=(stage,))
    out = GroupId("f" * 16)
    made.groups[out] = Group(id=out, direction=Direction.EGRESS)
    for number in range(ENDPOINTS):
        key = EndpointKey(f"WorkloadEndpoint/default/w{number}")
        inwards = GroupId(f"{number % POLICIES:016x}")
        made.endpoints[key] = Endpoint(key=key, interface=f"mus{number:011x}", ingress=inwards, egress=out,
                                       addresses=(_text(_local(number)),))
    return made
