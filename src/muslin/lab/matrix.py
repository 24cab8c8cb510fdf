"""Everybody against everybody, twice: as computed from policy, and as found with packets.

Two opinions that share nothing but the resources: the server's comes from `explain`, the other one went through the
kernels. Where they differ, one of them is wrong, and that is a fault worth a red line, whichever it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from muslin.lab.crowd import Probe
from muslin.lab.lab import Lab
from muslin.lab.record import Workload

Service = tuple[str, int]
"""Protocol (tcp, udp, icmp) and port."""


class Question(NamedTuple):
    source: str
    destination: str
    version: int
    protocol: str
    port: int

    def __str__(self) -> str:
        where = self.protocol if self.protocol == "icmp" else f"{self.protocol}/{self.port}"
        return f"{self.source} -> {self.destination} {where} IPv{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    computed: Mapping[Question, bool]
    probed: Mapping[Question, bool]

    @property
    def differences(self) -> list[Question]:
        """What only one of the two has been asked counts too."""
        asked = [*self.computed, *(question for question in self.probed if question not in self.computed)]
        return [question for question in asked if self.computed.get(question) != self.probed.get(question)]


async def matrix(lab: Lab, services: Iterable[Service]) -> Matrix:
    services = tuple(services)
    said = await computed(lab, services)
    return Matrix(computed=said, probed=await probed(lab, questions(lab, services), said))


def questions(lab: Lab, services: Sequence[Service]) -> list[Question]:
    """Every ordered pair, family that both have, and service: from what the lab made, not from what the server says."""
    known = lab.record.workloads
    return [
        Question(source, destination, version, protocol, port)
        for source in known for destination in known if source != destination
        for version in (4, 6) if known[source].address(version) and known[destination].address(version)
        for protocol, port in services
    ]


async def computed(lab: Lab, services: Sequence[Service]) -> dict[Question, bool]:
    """What policy says, by the server."""
    names = {workload.key: workload.full_name for workload in lab.record.workloads.values()}
    words = [word for protocol, port in services for word in _words(protocol, port)]
    answer = await lab.get("/muslin/v1/matrix", ports=",".join(words))
    found = {}
    for cell in answer["cells"]:
        source, destination = (names.get(cell[end], cell[end]) for end in ("source", "destination"))
        protocol = "icmp" if cell["protocol"].lower().startswith("icmp") else cell["protocol"].lower()
        port = 0 if protocol == "icmp" else int(cell["port"])
        question = Question(source, destination, int(cell["family"]), protocol, port)
        found[question] = cell["verdict"] == "Allow"
    return found


async def mentioned(lab: Lab) -> list[Service]:
    """The services that policies speak of, among those that can be probed."""
    answer = await lab.get("/muslin/v1/matrix", by="class")
    found: dict[Service, None] = {}
    for word in answer["ports"]:
        protocol, _, port = word.partition("/")
        if protocol in ("tcp", "udp", "icmp"):
            found[protocol, int(port or 0)] = None
    return list(found)


def _words(protocol: str, port: int) -> tuple[str, ...]:
    return ("icmp", "icmpv6") if protocol == "icmp" else (f"{protocol}/{port}",)


async def probed(
    lab: Lab, asked: Sequence[Question], said: Mapping[Question, bool]
) -> dict[Question, bool]:
    """What packets find. A silence where an answer was due is asked once more: on a busy machine a packet may come
    late, and late is not denied. An answer where silence was due is never asked again."""
    found = await _ask(lab, asked)
    again = [question for question, reached in found.items() if said.get(question) and not reached]
    return found | (await _ask(lab, again) if again else {})


async def _ask(lab: Lab, asked: Sequence[Question]) -> dict[Question, bool]:
    known: Mapping[str, Workload] = lab.record.workloads
    probes = [
        Probe(source=known[q.source], destination=known[q.destination], version=q.version, protocol=q.protocol,
              port=q.port)
        for q in asked
    ]
    return dict(zip(asked, await lab.crowd.probe(probes), strict=True))
