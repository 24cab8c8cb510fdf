"""A running data centre: `async with Lab.temporary(Topology(name="t")) as lab: ...`, or `Lab.up`, `Lab.open`, `down`.

    up:   fabric (namespaces, cables, routers) || server || traffic   ->   peerings   ->   agents
    down: processes, then namespaces, then files; only what the record says, also after a crash

Workloads come by the same door as `muslin workload add` uses: the agent of their host.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from muslin.client.blocking import MERGE_PATCH, Client
from muslin.client.refusal import ApiError
from muslin.errors import Invalid, Transient
from muslin.lab import fabric, resources
from muslin.lab.crowd import Crowd
from muslin.lab.daemons import Daemons, muslin
from muslin.lab.record import Record, Workload, load, recorded
from muslin.lab.routers import router_conf
from muslin.lab.topology import Topology
from muslin.lab.waiting import PATIENCE, together, wait_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A workload to be: where, who, and which ports it listens on. `ports` are its named ports, as in the API."""

    name: str
    host: str
    namespace: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    ports: tuple[Mapping[str, Any], ...] = ()


class Lab:
    """The one door to a lab, and so the only class with so many verbs. `daemons` starts, kills and finds processes,
    `crowd` asks the workloads; the rest is here."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.topology = record.topology
        self.daemons = Daemons(record)
        self.crowd = Crowd(record.run / "traffic.sock")

    # ---- from nothing to running, and back

    @classmethod
    async def up(cls, topology: Topology) -> Lab:
        """Raises Invalid when a lab of that name is there."""
        if topology.name in recorded():
            raise Invalid(f"lab {topology.name} is there already; take it down first: muslin lab down {topology.name}")
        lab = cls(Record(topology=topology))
        fabric.check_free(map(lab.network, topology.namespaces))
        try:
            await lab._build()
        except BaseException:
            await lab.down()
            raise
        return lab

    @classmethod
    def open(cls, name: str) -> Lab:
        """One that is up. Raises Invalid when there is none."""
        return cls(load(name))

    @classmethod
    @asynccontextmanager
    async def temporary(cls, topology: Topology) -> AsyncIterator[Lab]:
        lab = await cls.up(topology)
        try:
            yield lab
        finally:
            await lab.down()

    async def _build(self) -> None:
        record = self.record
        record.namespaces = [self.network(machine) for machine in self.topology.namespaces]
        record.save()
        for directory in (record.run, record.state):
            directory.mkdir(parents=True, exist_ok=True)
        await together(self.daemons.start_server(), self._build_fabric(), self.daemons.start_traffic())
        await asyncio.to_thread(self._declare, resources.bgp(self.topology))
        await together(*(self.daemons.start_agent(host.name) for host in self.topology.hosts))

    async def _build_fabric(self) -> None:
        await fabric.build(self.topology)
        birds = [(router, self.daemons.bird(router.name)) for router in self.topology.routers]
        await together(*(bird.apply(router_conf(router, bird.log)) for router, bird in birds))

    async def down(self) -> None:
        """Everything that this lab has made is gone. What is gone already is no matter."""
        await self.daemons.end()
        await fabric.delete_namespaces(self.record.namespaces)
        self.record.forget()

    # ---- who is who

    def network(self, machine: str) -> str:
        """The network namespace of a router, a host, or a workload (`namespace/name`, or `name` if unique)."""
        if machine in self.topology.namespaces:
            return fabric.namespace_of(self.topology.name, machine)
        return self.workload(machine).network

    def workload(self, name: str) -> Workload:
        known = self.record.workloads
        found = [workload for full, workload in known.items() if name in (full, workload.name)]
        if len(found) != 1:
            what = "is more than one workload" if found else "is no machine or workload"
            raise Invalid(f"{name!r} {what} of lab {self.topology.name}; there are: "
                          + ", ".join([*self.topology.namespaces, *known]))
        return found[0]

    # ---- the API

    async def muslin(self, *words: str) -> str:
        """A `muslin` command against the lab's server; what it printed. Raises Invalid with what it complained."""
        process = await asyncio.create_subprocess_exec(
            *muslin(*words), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env={**os.environ, **self.daemons.environment},
        )
        out, err = await process.communicate()
        if process.returncode:
            raise Invalid(f"muslin {' '.join(words)}: {err.decode(errors='replace').strip()}")
        return out.decode()

    async def apply(self, *files: Path) -> str:
        return await self.muslin("apply", *(word for file in files for word in ("-f", str(file))))

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """What the server answers."""
        return await asyncio.to_thread(lambda: Client(self.daemons.server, timeout=PATIENCE).get(path, **query))

    def _declare(self, objects: Iterable[dict[str, Any]]) -> None:
        """Make them so, whether they are there or not."""
        client = Client(self.daemons.server, timeout=PATIENCE)
        for wanted in objects:
            plural, name = f"{wanted['kind'].lower()}s", wanted["metadata"]["name"]
            try:
                client.post(f"/apis/{resources.API}/{plural}", wanted)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
                client.patch(f"/apis/{resources.API}/{plural}/{name}", wanted, kind=MERGE_PATCH)
        client.close()

    # ---- workloads

    async def add(self, *wanted: Wanted) -> list[Workload]:
        """Namespaces, links, addresses, policy, and somebody who lives there: workloads, all at once."""
        networks = [fabric.namespace_of(self.topology.name, f"{each.namespace}.{each.name}") for each in wanted]
        fabric.check_free(networks)
        self.record.namespaces += networks
        self.record.save()
        await fabric.add_namespaces(networks)
        added = await together(*(self._add(*pair) for pair in zip(wanted, networks, strict=True)))
        self.record.workloads |= {workload.full_name: workload for workload in added}
        self.record.save()
        return added

    async def _add(self, wanted: Wanted, network: str) -> Workload:
        body = {
            "name": wanted.name, "namespace": wanted.namespace, "netns": network, "labels": dict(wanted.labels),
            "ports": [dict(port) for port in wanted.ports],
        }
        answer = await asyncio.to_thread(self._agent(wanted.host).post, "/v1/workloads", body)
        await self.crowd.serve(network, tcp=wanted.tcp, udp=wanted.udp)
        return Workload(
            name=wanted.name, namespace=wanted.namespace, host=wanted.host, network=network, key=answer["key"],
            addresses=tuple(answer["addresses"]),
        )

    async def remove(self, workload: Workload) -> None:
        await self.crowd.forget(workload.network)
        path = f"/v1/workloads/{workload.namespace}/{workload.name}"
        await asyncio.to_thread(self._agent(workload.host).delete, path)
        await fabric.delete_namespaces([workload.network])
        self.record.workloads.pop(workload.full_name, None)
        self.record.namespaces.remove(workload.network)
        self.record.save()

    def _agent(self, host: str) -> Client:
        return Client(f"unix:{self.daemons.agent_socket(host)}", timeout=PATIENCE)

    # ---- the fabric

    async def wait_sessions(self) -> None:
        """Every session of every router is up, and nobody is still telling his routes anew after a restart. Each of
        the hosts' sessions is the other end of one of them."""
        async def all_up() -> bool:
            states = [await self.daemons.bird(router.name).read() for router in self.topology.routers]
            found = [session for state in states for session in state.sessions]
            return all(session.state == "Established" and not session.info for session in found)

        await wait_for("all BGP sessions", all_up)

    async def wait_routes(self) -> None:
        """Every host's kernel knows a way to every workload."""
        workloads = self.record.workloads.values()
        by_family = [[each.address(version) for each in workloads if each.address(version)] for version in (4, 6)]
        await together(*(self._wait_ways(host.name, some) for host in self.topology.hosts for some in by_family))

    async def _wait_ways(self, host: str, addresses: Iterable[str]) -> None:
        async def known() -> bool:
            with suppress(Transient):
                await fabric.batch([f"route get {address}" for address in addresses], namespace=self.network(host))
                return True
            return False

        await wait_for(f"routes of {host} to all workloads", known)
