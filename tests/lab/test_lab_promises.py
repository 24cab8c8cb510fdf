"""The promise in two numbers: with daemons killed under traffic, 0 packets of allowed flows are lost, 0 of denied pass.

Real daemons, two racks, a packet each millisecond on every flow. `fresh` flows come from a new port each packet, so
that each is decided by policy anew; the others ride on one connection, as a long transfer does. A denied flow never
gets one, so each of its packets is decided anew in any case.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from muslin.drivers.nft import Nft
from muslin.lab.crowd import Flow
from muslin.lab.lab import Lab, Wanted
from muslin.lab.record import Workload
from muslin.lab.topology import Topology
from muslin.lab.waiting import wait_for
from netrig import backlog_drops

pytestmark = [pytest.mark.lab, pytest.mark.slow]

POLICY = """
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: v4}
spec: {cidr: 10.65.0.0/16}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: v6}
spec: {cidr: fd65::/112}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: clients-ask-servers}
spec:
  order: 10
  selector: role == 'server'
  types: [Ingress]
  ingress:
    - {action: Allow, protocol: UDP, source: {selector: role == 'client'}, destination: {ports: [53]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: who-may-speak}
spec:
  order: 20
  selector: role in {'client', 'intruder'}
  types: [Egress]
  egress:
    - {action: Allow, protocol: UDP}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: nobody-else}
spec: {order: 1000, selector: all(), types: [Ingress, Egress]}
"""

PEOPLE = (
    Wanted(name="client", host="r1h1", labels={"role": "client"}, udp=(53,)),
    Wanted(name="intruder", host="r1h1", labels={"role": "intruder"}, udp=(53,)),
    Wanted(name="server", host="r2h1", labels={"role": "server"}, udp=(53, 54)),
    Wanted(name="neighbour", host="r1h1", labels={"role": "server"}, udp=(53,)),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two racks with a host each, four workloads, converged."""
    file = tmp_path_factory.mktemp("lab") / "policy.yaml"
    file.write_text(POLICY)
    made = asyncio.run(peopled(Topology(name=f"t{os.getpid()}", hosts_per_rack=1), file))
    yield made
    asyncio.run(made.down())


async def peopled(topology: Topology, policy: Path) -> Lab:
    lab = await Lab.up(topology)
    try:
        await lab.apply(policy)
        await lab.add(*PEOPLE)
        await lab.wait_sessions()
        await lab.wait_routes()
    except BaseException:
        await lab.down()
        raise
    return lab


def under_traffic(lab: Lab, deed: Callable[[], Awaitable[None]]) -> None:
    """The proof: while the deed is done, nothing allowed is lost and nothing denied passes.

    A machine that is too busy to empty its own receive backlog drops packets before any of us has seen them. The
    kernel counts them; only then is the proof made again. A leak is a leak at any time.
    """
    for _ in range(3):
        before = backlog_drops()
        allowed, denied = streamed(lab, deed)
        for flow in denied:
            assert flow.count.arrived == 0, f"{who(flow)} leaked: {flow.count}"
        lossy = [f"{who(flow)}: {flow.count}" for flow in allowed if flow.count.lost]
        if not lossy or backlog_drops() == before:
            break
    assert not lossy
    assert all(flow.count.sent > 1000 for flow in (*allowed, *denied)), "the streams really ran"


def streamed(lab: Lab, deed: Callable[[], Awaitable[None]]) -> tuple[list[Flow], list[Flow]]:
    """(allowed, denied), with what became of them."""
    client, intruder, server, neighbour = (lab.workload(person.name) for person in PEOPLE)
    allowed = [Flow(client, server, 53, v) for v in (4, 6)] + [Flow(client, neighbour, 53)]
    anew = [Flow(client, server, 53), Flow(client, neighbour, 53, 6)]
    denied = [Flow(intruder, server, 53, v) for v in (4, 6)] + [Flow(client, server, 54), Flow(server, client, 53),
                                                               Flow(intruder, neighbour, 53)]

    async def proof() -> None:
        async with lab.crowd.stream(allowed + denied) as stream, lab.crowd.stream(anew, fresh=True):
            await stream.packets(300)
            await deed()
            await stream.packets(700)

    asyncio.run(proof())
    return allowed + anew, denied


def who(flow: Flow) -> str:
    return f"{flow.source.name} -> {flow.destination.name}:{flow.port} IPv{flow.version}"


@pytest.mark.parametrize("host", ["r1h1", "r2h1"])
def test_kill_9_of_an_agent_is_not_felt(lab: Lab, host: str) -> None:
    """Neither its death, nor its start with the whole policy to be made sure of anew."""
    async def deed() -> None:
        await lab.daemons.kill9(f"agent {host}")
        await lab.daemons.start_agent(host)

    under_traffic(lab, deed)


def test_an_agent_that_starts_again_leaves_a_table_that_is_right_alone(lab: Lab) -> None:
    """Writing it again is atomic and still drops what is under way: to a packet in the old table its sets are empty
    from that moment on. One packet in ten restarts, found by the streams above."""
    firewall = Nft(lab.network("r1h1"))
    before = firewall.generation()

    async def deed() -> None:
        await lab.daemons.kill9("agent r1h1")
        await lab.daemons.start_agent("r1h1")

    asyncio.run(deed())

    assert firewall.generation() == before + 1, "its rules, in one transaction"


def test_kill_9_of_the_server_is_not_felt(lab: Lab) -> None:
    async def deed() -> None:
        await lab.daemons.kill9("server")
        await lab.daemons.start_server()
        await wait_for("agents back at the server", lambda: all_in_sync(lab))

    under_traffic(lab, deed)


async def all_in_sync(lab: Lab) -> bool:
    status = await lab.get("/muslin/v1/status")
    return all(host["connected"] and host["in_sync"] for host in status["hosts"])


@pytest.mark.parametrize("machine", ["r1h1", "r2h1"])
def test_kill_9_of_a_hosts_bird_is_not_felt(lab: Lab, machine: str) -> None:
    """Its agent starts it again by itself, and its peers have not let go of its routes meanwhile."""
    async def deed() -> None:
        before = recoveries(lab, machine)
        await lab.daemons.kill9(f"bird {machine}")
        await wait_for("a new BIRD, recovered", lambda: recoveries(lab, machine) > before)
        await lab.wait_sessions()

    under_traffic(lab, deed)


def recoveries(lab: Lab, machine: str) -> int:
    """How often has this BIRD come back and taken the kernel's routes over again?"""
    return lab.daemons.bird(machine).log.read_text().count("Graceful restart done")


def test_agent_server_and_bird_together_may_die(lab: Lab) -> None:
    """The kernel is all that traffic needs. Started again, in the wrong order, they find each other."""
    async def deed() -> None:
        before = {machine: recoveries(lab, machine) for machine in ("r1h1", "r2h1")}
        for victim in ("agent r1h1", "agent r2h1", "server", "bird r1h1", "bird r2h1"):
            await lab.daemons.kill9(victim)
        agents = [asyncio.create_task(lab.daemons.start_agent(host)) for host in ("r1h1", "r2h1")]
        await lab.daemons.start_server()
        await asyncio.gather(*agents)
        for machine, number in before.items():
            await wait_for("recovery", lambda m=machine, n=number: recoveries(lab, m) > n)  # type: ignore[misc]
        await lab.wait_sessions()

    under_traffic(lab, deed)


def test_policy_still_changes_after_all_that(lab: Lab, tmp_path: Path) -> None:
    """Not only is nothing lost: everything works on."""
    client, server = lab.workload("client"), lab.workload("server")
    file = tmp_path / "more.yaml"
    file.write_text(POLICY.replace("ports: [53]", "ports: [54]"))

    async def reached(port: int) -> bool:
        flow = Flow(client, server, port)
        async with lab.crowd.stream([flow], fresh=True) as stream:
            await stream.packets(30)
        return flow.count.lost == 0

    async def proof() -> None:
        await lab.apply(file)
        await wait_for("port 54 open", lambda: reached(54))
        await wait_for("port 53 shut", lambda: shut(53))

    async def shut(port: int) -> bool:
        return not await reached(port)

    asyncio.run(proof())


def test_a_removed_workload_leaves_nothing_and_is_reached_by_nobody(lab: Lab) -> None:
    async def proof() -> Workload:
        (guest,) = await lab.add(Wanted(name="guest", host="r2h1", labels={"role": "server"}, udp=(53,)))
        await lab.remove(guest)
        return guest

    guest = asyncio.run(proof())

    assert guest.full_name not in lab.record.workloads
    assert not Path("/run/netns", guest.network).exists()
