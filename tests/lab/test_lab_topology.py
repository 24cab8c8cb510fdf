"""The data centre on paper: names, addresses and AS numbers that never meet, whatever its size."""

from __future__ import annotations

import ipaddress
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muslin.errors import Invalid
from muslin.lab.topology import Topology

TOPOLOGIES = st.builds(
    Topology, name=st.just("t"), racks=st.integers(1, 30), hosts_per_rack=st.integers(1, 20), spines=st.integers(1, 4)
)


@settings(max_examples=25)
@given(topology=TOPOLOGIES)
def test_every_address_as_and_name_is_its_own(topology: Topology) -> None:
    """Two machines with one address would be a fault that no test of policy could tell from ours."""
    ends = list(chain.from_iterable((link.left, link.right) for link in topology.links))
    addresses = [a for _, _, some in ends for a in some] + [a for r in topology.routers for a in r.addresses]
    bare = [ipaddress.ip_interface(address).ip for address in addresses]

    assert len(set(bare)) == len(bare)
    assert len(set(topology.namespaces)) == len(topology.namespaces)
    assert len({router.local_as for router in topology.routers}) == len(topology.routers)
    assert len({end[:2] for end in ends}) == len(ends), "each interface is the end of one cable"


@settings(max_examples=25)
@given(topology=TOPOLOGIES)
def test_both_ends_of_a_cable_lie_in_one_subnet_and_no_two_subnets_overlap(topology: Topology) -> None:
    nets = {ipaddress.ip_interface(a).network for r in topology.routers for a in r.addresses}
    for link in topology.links:
        if link.left[2]:
            left, right = ({ipaddress.ip_interface(a).network for a in end[2]} for end in (link.left, link.right))
            assert left == right
            nets |= left
    for version in (4, 6):
        in_order = sorted(net for net in nets if net.version == version)
        assert not any(one.overlaps(two) for one, two in pairwise(in_order))


@pytest.mark.parametrize(
    "wrong",
    [{"name": "No"}, {"name": "a" * 33}, {"name": ""}, {"racks": 0}, {"hosts_per_rack": 101}, {"spines": 0}],
)
def test_what_cannot_be_built_is_refused_on_paper(wrong: dict[str, str | int]) -> None:
    with pytest.raises(Invalid):
        Topology(**wrong)  # type: ignore[arg-type]


def test_one_rack_needs_no_spine() -> None:
    assert Topology(racks=1, spines=0).routers[0].neighbours == ()
