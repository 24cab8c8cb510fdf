"""The fabric by itself: plain routers, and hosts with the speakers that follow from the lab's own resources."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import yaml

from bgpwords import node
from muslin.calc.bgp import Fabric
from muslin.drivers.bird import Bird
from muslin.lab import fabric, resources
from muslin.lab.routers import router_conf
from muslin.lab.topology import Topology
from muslin.lab.waiting import together, wait_for
from muslin.model.ipam import Block
from muslin.model.network import BGPConfiguration, BGPPeer, IPPool
from muslin.render.bird import conf
from netrig import in_ns, ip_json

pytestmark = pytest.mark.lab


def speakers(topology: Topology) -> dict[str, str]:
    """bird.conf of every host, each with a block of both families: 10.65.<n>.0/26 and fd65::<n>:0/122."""
    nodes = {
        host.name: node(*host.addresses, labels={"rack": host.rack}, as_number=host.local_as) for host in topology.hosts
    }
    configuration, *peers = resources.bgp(topology)
    cluster = Fabric(
        nodes, {"default": msgspec.convert(configuration, BGPConfiguration)},
        {made["metadata"]["name"]: msgspec.convert(made, BGPPeer) for made in peers}, {},
        [msgspec.convert({"spec": {"cidr": cidr}}, IPPool) for cidr in ("10.65.0.0/16", "fd65::/64")],
    )
    assert not cluster.faults
    blocks = [
        Block(cidr=cidr, affinity=f"host:{host.name}")
        for number, host in enumerate(topology.hosts) for cidr in (f"10.65.{number}.0/26", f"fd65::{number + 1}:0/122")
    ]
    found = {host.name: cluster.speaker(host.name, blocks) for host in topology.hosts}
    return {name: conf(speaker) for name, speaker in found.items() if speaker is not None}


@asynccontextmanager
async def running(topology: Topology) -> AsyncIterator[dict[str, Bird]]:
    """The fabric, converged as far as BGP sessions go."""
    with tempfile.TemporaryDirectory(prefix="mut-") as directory:
        birds = {
            machine: Bird(machine, directory=Path(directory) / machine,
                          enter=("ip", "netns", "exec", fabric.namespace_of(topology.name, machine)))
            for machine in topology.namespaces
        }
        try:
            await fabric.build(topology)
            texts = {router.name: router_conf(router, birds[router.name].log) for router in topology.routers}
            texts |= speakers(topology)
            await together(*(birds[machine].apply(text) for machine, text in texts.items()))
            await wait_for("all sessions", lambda: all_established(birds))
            yield birds
        finally:
            for bird in birds.values():
                if bird.pid is not None:
                    os.kill(bird.pid, signal.SIGKILL)
            await fabric.delete_namespaces(fabric.namespace_of(topology.name, m) for m in topology.namespaces)


async def all_established(birds: dict[str, Bird]) -> bool:
    states = await together(*(bird.read() for bird in birds.values()))
    return all(state.sessions and all(s.state == "Established" for s in state.sessions) for state in states)


def ways(topology: Topology, machine: str, destination: str) -> list[str]:
    """The gateways of the kernel's route to exactly this prefix."""
    network = fabric.namespace_of(topology.name, machine)
    routes = ip_json(network, f"-{6 if ':' in destination else 4}", "route", "show", destination)
    hops = routes[0].get("nexthops", routes) if routes else []
    return sorted(hop.get("gateway", "") for hop in hops)


def reached(host: str, there: str) -> bool:
    return "1 received" in in_ns(host, "ping", "-c1", "-W1", there, check=False)


def test_every_host_learns_every_block_by_the_shortest_way() -> None:
    """Inside the rack straight to the host, to other racks by the rack's router, which uses both spines."""
    topology = Topology(name=f"t{os.getpid()}a", spines=2)

    async def proof() -> None:
        async with running(topology):
            for destination, expected in {"10.65.1.0/26": "172.31.1.12", "10.65.2.0/26": "172.31.1.1"}.items():
                await wait_for(destination, lambda d=destination, e=expected: ways(topology, "r1h1", d) == [e])
            await wait_for("IPv6", lambda: len(ways(topology, "r1h1", "fd65::4:0/122")) == 1)
            await wait_for("both spines", lambda: ways(topology, "r1", "10.65.2.0/26") == ["172.30.1.2", "172.30.2.2"])
            host = fabric.namespace_of(topology.name, "r1h1")
            for there in ("172.31.2.11", "fd31::2:c"):
                await wait_for(f"the way to {there} and back", lambda t=there: reached(host, t))

    asyncio.run(proof())


def test_losing_a_spine_loses_a_way_and_no_destination() -> None:
    """Fabric F5: the other spine carries on."""
    topology = Topology(name=f"t{os.getpid()}b", spines=2)

    async def proof() -> None:
        async with running(topology) as birds:
            await wait_for("both spines", lambda: len(ways(topology, "r1", "10.65.2.0/26")) == 2)
            os.kill(birds["s1"].pid or 0, signal.SIGKILL)
            await birds["s1"].wait_dead()
            await fabric.delete_namespaces([fabric.namespace_of(topology.name, "s1")])

            await wait_for("the other spine alone", lambda: ways(topology, "r1", "10.65.2.0/26") == ["172.30.2.2"])
            host = fabric.namespace_of(topology.name, "r1h1")
            await wait_for("the way back by it, too", lambda: reached(host, "172.31.2.12"))

    asyncio.run(proof())


def test_the_example_says_what_the_default_lab_needs() -> None:
    """A reader copies examples/1-network.yaml; the lab makes its own, for any size. They must be one."""
    file = Path(__file__).parents[2] / "examples" / "1-network.yaml"
    written = [document for document in yaml.safe_load_all(file.read_text()) if document["kind"].startswith("BGP")]

    assert written == resources.bgp(Topology())
