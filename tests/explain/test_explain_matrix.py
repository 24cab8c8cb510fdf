"""The matrix is `why` for every pair, only faster."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intent_words import ICMP6, TCP, UDP, addresses, match, nets, policy, ports, rule, tier
from muslin.explain import Packet, path, verdicts
from muslin.intent import Direction, Endpoint, EndpointKey, Group, GroupId, HostIntent
from muslin.net import host_cidr

PORTS = [(TCP, 80), (TCP, 443), (UDP, 53), (1, 0), (ICMP6, 0), (132, 80), (47, 0), (UDP, 4789)]
NETS = ["10.0.0.0/30", "10.0.0.1/32", "10.0.0.4/31", "0.0.0.0/0", "fd00::/126", "::/0"]
SETS = (
    addresses("a", "10.0.0.1/32", "10.0.0.4/30", "fd00::2/128"),
    addresses("b", "fd00::/125", "10.0.0.2/32"),
    ports("web", ("10.0.0.2", TCP, 80), ("10.0.0.5", UDP, 53), ("fd00::1", TCP, 443)),
)
few = lambda of, most=2: st.lists(st.sampled_from(of), max_size=most, unique=True)  # noqa: E731

sides = st.builds(
    lambda nets_, not_nets, sets, not_sets, ports_, named: match(
        nets=nets(*nets_), not_nets=nets(*not_nets), sets=sets, not_sets=not_sets, ports=ports_, named_ports=named
    ),
    few(NETS), few(NETS, 1), few(["a", "b"], 1), few(["a", "b"], 1),
    few([(80, 80), (1, 100), (443, 443)], 1), few(["web"]),
)
rules = st.builds(
    lambda action, protocol, source, destination: rule(
        action, protocol=protocol, source=source, destination=destination
    ),
    st.sampled_from(["Allow", "Deny", "Pass", "Log"]), st.sampled_from([None, TCP, UDP, 1]), sides, sides,
)
policies = st.lists(rules, min_size=1, max_size=4)


def hosts(drawn: list[list[Any]]) -> list[HostIntent]:
    """Two hosts, three workloads each; the groups of each host hold its own share of the policies."""
    found = []
    for number in (0, 1):
        names = [f"GlobalNetworkPolicy/p{number}", f"GlobalNetworkPolicy/e{number}"]
        kept = [policy(names[0], *drawn[number]), policy(names[1], *drawn[number + 2], egress=True)]
        groups = [
            Group(id=GroupId("in"), direction=Direction.INGRESS, stages=(tier("t", names[0], default="Pass"),)),
            Group(id=GroupId("out"), direction=Direction.EGRESS, stages=(tier("t", names[1]),), profiles=()),
        ]
        ends = [
            Endpoint(
                key=EndpointKey(f"WorkloadEndpoint/n/w{last}"), interface=f"mus{last}", ingress=GroupId("in"),
                egress=GroupId("out"),
                addresses=(host_cidr(f"10.0.0.{last}"), host_cidr(f"fd00::{last}"))[: 1 + last % 3],
            )
            for last in range(1 + 3 * number, 4 + 3 * number)
        ]
        found.append(
            HostIntent(
                policies={each.id: each for each in kept}, groups={each.id: each for each in groups},
                sets={each.id: each for each in SETS}, endpoints={each.key: each for each in ends},
            )
        )
    return found


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(policies, min_size=4, max_size=4))
def test_every_cell_says_what_why_says_of_that_packet(drawn: list[list[Any]]) -> None:
    """Kills: a class that forgets a prefix length, a family, a port name or a host."""
    intents = hosts(drawn)
    home = {key: (intent, end) for intent in intents for key, end in intent.endpoints.items()}

    cells = list(verdicts(intents, PORTS))

    for cell in cells:
        (source_host, source), (destination_host, destination) = home[cell.source], home[cell.destination]
        ends = [next(a for a in end.addresses if (":" in a) == (cell.family == 6)) for end in (source, destination)]
        packet = Packet(ends[0].split("/")[0], ends[1].split("/")[0], cell.protocol, cell.port)
        assert path(source_host, destination_host, packet).verdict is cell.verdict, cell
    assert len(cells) == (6 * 5 + 4 * 3) * (len(PORTS) - 1)
