"""What policy costs a packet and a connection, against plain routing and against others' layouts, in one run.

Every layout stands, loaded once, in namespaces of its own; each round then measures every layout once, in another
order each time, so that a slow moment of the machine touches all alike. Ratios are formed within a round. Plain routing
stands there twice, under two names: how far the second is from 1 is what the whole method is worth.

Our own rows are put into the kernel by the agent's own renderers and drivers; the others' are made from the same intent
by `peers`. Before and during measuring, what must arrive has to, and what nothing allows must not (`packets`).
"""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from bench import packets, peers, rig, world
from bench.figures import Figure, Section, Side
from bench.plan import Plan
from bench.world import COMPARED, Sort
from muslin.drivers.iptables import Flavour, Iptables
from muslin.drivers.nft import Nft
from muslin.intent import Delta, HostIntent
from muslin.render import iptables, nft

WORLDS = (*((endpoints, policies, Sort.PORTS) for policies in (10, 100) for endpoints in (10, 100, 1000)),
          *((100, 100, sort) for sort in Sort if sort is not Sort.PORTS))
OURS_BY_IPTABLES = ((10, 10, Sort.PORTS), (1000, 100, Sort.PORTS))
TINY = ((10, 10, Sort.PORTS), (10, 10, Sort.MIXED))
PLAIN, AGAIN, CONNTRACK = "plain routing", "plain routing, again", "conntrack alone"
ROUNDS = {"tiny": 2, "quick": 7, "long": 25}
LOADS = {"tiny": packets.Load(2_000, 500, 10), "quick": packets.Load(40_000, 5_000, 150),
         "long": packets.Load(100_000, 20_000, 250)}
_CONNTRACK = """table ip bench {
    chain forward {
        type filter hook forward priority 0
        ct state established counter accept
    }
}
"""

Put = Callable[[str], object]
"""Puts a layout into an empty namespace."""


class Layout(NamedTuple):
    group: str
    name: str
    side: Side
    put: Put
    guarded: bool = True


def _by_nft(text: str) -> Put:
    return lambda space: rig.load(space, text)


def _by_us(made: HostIntent) -> Put:
    return lambda space: asyncio.run(Nft(space).apply(nft.NftState().update(Delta(snapshot=True), made)))


def _by_us_in_iptables(flavour: Flavour, made: HostIntent) -> Put:
    return lambda space: asyncio.run(Iptables(flavour, space).apply(iptables.whole(iptables.render(made))))


def _by_iptables(flavour: Flavour, made: HostIntent) -> Put:
    def put(space: str) -> None:
        enter = ("ip", "netns", "exec", space)
        rig.run(*enter, "ipset", "restore", text=peers.ipset_text(made))
        rig.run(*enter, f"iptables-{flavour}-restore", "-w", text=peers.iptables_text(made))

    return put


def layouts(worlds: tuple[tuple[int, int, Sort], ...], *, extras: bool) -> Iterator[Layout]:
    yield Layout("", PLAIN, Side.LIMIT, lambda _: None, guarded=False)
    yield Layout("", AGAIN, Side.LIMIT, lambda _: None, guarded=False)
    yield Layout("", CONNTRACK, Side.LIMIT, _by_nft(_CONNTRACK), guarded=False)
    for endpoints, policies, sort in worlds:
        group, made = f"{endpoints} endpoints x {policies} policies", world.intent(endpoints, policies, sort)
        group += "" if sort is Sort.PORTS else f", {sort}"
        yield Layout(group, "muslin", Side.OURS, _by_us(made))
        if extras and (endpoints, policies, sort) in OURS_BY_IPTABLES:
            for flavour in Flavour:
                yield Layout(group, f"muslin by iptables-{flavour}", Side.OURS, _by_us_in_iptables(flavour, made))
        if sort not in COMPARED:
            continue
        yield Layout(group, "nft, chains per endpoint", Side.PEER, _by_nft(peers.nft_text(made)))
        for flavour in Flavour:
            yield Layout(group, f"iptables-{flavour} + ipset", Side.PEER, _by_iptables(flavour, made))
    if extras:
        yield from _extras("muslin, 100 endpoints x 10 policies, with")


def _extras(group: str) -> Iterator[Layout]:
    """What else may be asked of a host."""
    for name, made in (
        ("host endpoint *", world.with_host(False)), ("host endpoint * with forward policy", world.with_host(True)),
        ("packet rates of other workloads", world.with_limits(2, 3)),
        ("packet rates of both", world.with_limits(0, 1)), ("floating addresses", world.with_floating()),
    ):
        yield Layout(group, name, Side.OURS, _by_us(made))


def measure(plan: Plan) -> list[Section]:
    wanted = list(layouts(TINY if plan.size == "tiny" else WORLDS, extras=plan.size != "tiny"))
    rounds = ROUNDS[plan.size]
    plan.progress.begin("dataplane", len(wanted) * (rounds + 1))
    dice = random.Random(7)
    taken: dict[tuple[str, str], list[packets.Costs]] = {layout[:2]: [] for layout in wanted}
    with ExitStack() as stack:
        ready = [(layout, _ready(plan, layout, number, stack)) for number, layout in enumerate(wanted)]
        for number in range(rounds):
            for layout, path in dice.sample(ready, len(ready)):
                plan.progress.step(f"round {number + 1} of {rounds}: {layout.group} {layout.name}")
                with _named(layout):
                    taken[layout[:2]].append(path.measure(LOADS[plan.size]))
    return _sections(wanted, taken, rounds)


def _ready(plan: Plan, layout: Layout, number: int, stack: ExitStack) -> packets.Path:
    plan.progress.step(f"setting up {layout.group} {layout.name}")
    with _named(layout):
        spaces = stack.enter_context(rig.rig(f"d{number}"))
        layout.put(spaces.host)
        path = packets.Path(spaces, stack)
        path.check(guarded=layout.guarded)
        return path


@contextmanager
def _named(layout: Layout) -> Iterator[None]:
    """Whoever is wrong is named, and ends the run: a figure beside his would be a false one."""
    try:
        yield
    except packets.Wrong as error:
        raise SystemExit(f"{layout.group} {layout.name}: {error}") from error


def _sections(wanted: list[Layout], taken: dict[tuple[str, str], list[packets.Costs]], rounds: int) -> list[Section]:
    what = (
        ("established", "Established packet", "ns", f"processor time a packet, median of {rounds} rounds", 1.5),
        ("new", "First packet: the whole policy is walked", "ns",
         f"processor time a packet, median of {rounds} rounds; only the last rule of the last policy matches", 2.6),
        ("connect", "TCP connection: connect, accept, close", "us",
         f"processor time of both ends and of forwarding, median of {rounds} rounds", 1.2),
        ("waited", "connect(), on the clock", "us", f"wall time, p50 of each round, median of {rounds} rounds", None),
    )
    return [
        Section(key=f"dataplane.{key}", title=title, measure=measure, base=PLAIN, pictured=key != "waited",
                figures=tuple(_figure(layout, tuple(getattr(costs, key) for costs in taken[layout[:2]]), unit, aim)
                              for layout in wanted))
        for key, title, unit, measure, aim in what
    ]


def _figure(layout: Layout, values: tuple[float, ...], unit: str, aim: float | None) -> Figure:
    rate = f"{1e6 / statistics.median(values):.0f} a second" if unit == "us" else ""
    return Figure(name=layout.name, group=layout.group, side=layout.side, unit=unit, values=values,
                  aim_ratio=aim if layout.name == "muslin" else None, note=rate)
