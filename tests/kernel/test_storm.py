"""A storm of changes: it coalesces, the kernel ends at exactly what a start from nothing would write, and at no moment
passes a packet that is denied or loses one that is allowed.

Two seconds of it here; `MUSLIN_STORM=10` is the full size. Policies, sets, labels and endpoints of this host and others
change at up to 10,000 a second; none of it changes what these may do:

    web -> db:7      allowed         web -> db:9, guest -> db:7    denied

Half of the streams begin a flow with each packet, so that each is decided anew. The storm comes in three ways, see
`stormrig`: into the server's store, by calls of its API, and as deltas into the agent's stream.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator

import pytest

import stormrig
from agentrig import V3, Site, play, site
from muslin.calc import cluster, host
from muslin.drivers.nft import Nft
from muslin.intent import Delta
from muslin.lab.crowd import Flow
from muslin.lab.record import Workload
from muslin.render.nft import NftState
from muslin.render.nft.listing import differences, listing_of
from muslin.server.decoding import decoded
from muslin.store import layout
from netrig import backlog_drops, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SECONDS = float(os.environ.get("MUSLIN_STORM", "2"))
RATE = 10_000


Told = dict[str, float]
Storm = Callable[[int], Told]
"""By its seed. In a thread beside the packets."""


@pytest.fixture(params=["memory"])
def place(request: pytest.FixtureRequest) -> Iterator[Site]:
    start = stormrig.start_server if request.param == "memory" else stormrig.start_server_on_disk
    with site(start) as made:
        made.start_agent("h1", "--no-bgp")
        yield made


def _tier(name: str, order: int) -> dict[str, object]:
    return {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": name}, "spec": {"order": order}}


def _policy(name: str, **spec: object) -> dict[str, object]:
    tier = name.partition(".")[0]
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": name},
            "spec": {"tier": tier, "order": 10, "selector": "app == 'db'", "types": ["Ingress"], **spec}}


def _prepare(place: Site) -> tuple[Workload, Workload, Workload]:
    for tier in (_tier("early", 10), _tier("late", 20)):
        place.api.post(f"{V3}/tiers", tier)
    place.declare(
        _policy("early.gate", ingress=[{"action": "Deny", "protocol": "UDP", "destination": {"ports": [9]}},
                                       {"action": "Pass"}]),
        _policy("late.friends", ingress=[{"action": "Allow", "protocol": "UDP",
                                          "source": {"selector": "app == 'web' && real == '1' || role == 'friend'"}}]),
    )
    web, db, guest = (place.guest("h1", name, labels={"app": name, "real": "1"}) for name in ("web", "db", "guest"))
    play(place.crowd.serve(db.network, udp=[7, 9]))
    return web, db, guest


def _as_from_scratch(place: Site, control: str) -> tuple[str, ...]:
    """How the kernel's table differs from what a start from nothing would write."""
    graph, here = cluster.Graph(), host.Graph()
    keyed = ((layout.parse(path), text) for path, text in stormrig.ask(place.run / control, do="dump").items())
    graph.update({key: decoded(key, text.encode()) for key, text in keyed if key is not None})
    graph.flush()
    here.update(graph.snapshot("h1"))
    here.flush()
    state = NftState()
    state.update(Delta(snapshot=True), here.intent)
    return differences(listing_of(state.table), asyncio.run(Nft(place.space("h1")).read()))


def test_a_storm_of_changes_opens_nothing_loses_nothing_and_ends_where_it_should(place: Site) -> None:
    workloads = _prepare(place)
    _ride_out(place, workloads, lambda seed: stormrig.ask(
        place.run / "storm.sock", do="storm", seed=seed, seconds=SECONDS, rate=RATE))


@pytest.mark.parametrize("place", ["disk"], indirect=True)
def test_a_storm_of_calls_of_the_api_does_neither(place: Site) -> None:
    """As many as the server takes, each in the store on disk before its call is answered."""
    workloads = _prepare(place)
    _ride_out(place, workloads, lambda seed: stormrig.storm_of_calls(place, seed, SECONDS, RATE))


def test_a_storm_of_deltas_does_neither(place: Site) -> None:
    workloads = _prepare(place)
    stormrig.turn_to_stream(place)
    _ride_out(place, workloads, lambda seed: stormrig.ask(
        place.run / "deltas.sock", do="storm", seed=seed, seconds=SECONDS, rate=RATE), "deltas.sock")


def _ride_out(place: Site, workloads: tuple[Workload, Workload, Workload], storm: Storm,
              control: str = "storm.sock") -> None:
    web, db, guest = workloads
    for _ in range(3):  # again, where the machine says that it had no room for packets
        seed, before, turned = random.randrange(1 << 32), backlog_drops(), turns(place)
        print(f"seed {seed}")
        allowed, anew = [Flow(web, db, 7), Flow(web, db, 7, 6)], [Flow(web, db, 7), Flow(web, db, 7, 6)]
        denied = [Flow(web, db, 9), Flow(guest, db, 7), Flow(guest, db, 7, 6)]
        shut = [Flow(one.source, one.destination, one.port, one.version) for one in denied]

        async def streams(going: list[Flow], fresh: list[Flow], seed: int) -> Told:
            async with place.crowd.stream(going) as running, place.crowd.stream(fresh, fresh=True):
                await running.packets(100)
                told = await asyncio.to_thread(storm, seed)
                await asyncio.to_thread(
                    wait_for, "the kernel to be as from scratch", lambda: not _as_from_scratch(place, control), 60)
                await running.packets(100)
                return told

        told = play(streams([*allowed, *denied], [*anew, *shut], seed))
        turned = turns(place) - turned
        print(f"{told['written']:.0f} changes in {told['seconds']:.1f} s, {turned} turns", told.get("told", ""))

        assert told["written"] >= SECONDS * 200
        assert turned < told["written"] / 10, "many changes are one turn"
        leaked = [f"{flow.source.name} -> {flow.port}: {flow.count}" for flow in (*denied, *shut) if flow.count.arrived]
        assert not leaked, leaked
        lost = sum(flow.count.lost for flow in allowed) + sum(flow.count.sent - flow.count.arrived for flow in anew)
        print(f"{lost} of {sum(flow.count.sent for flow in (*allowed, *anew))} packets lost")
        if not lost or backlog_drops() == before:
            break
    assert not lost, f"{lost} allowed packets lost in {turned} turns: {[f.count for f in (*allowed, *anew)]}"


def turns(place: Site) -> int:
    return place.words("agent-h1").count("event=applied")
