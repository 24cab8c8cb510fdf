"""Names of workload endpoints are read back by Calico, by felix and by us: both ways must agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.errors import Invalid
from muslin.model.names import interface_name, parse_workload_endpoint_name, workload_endpoint_name

SEGMENTS = st.text(alphabet="ab0-.", min_size=1, max_size=8).filter(lambda s: not (s[0] == "-" or s[-1] == "-"))


def test_dashes_inside_a_segment_are_doubled() -> None:
    """Calico's own example of an OpenStack endpoint."""
    name = workload_endpoint_name("comp-1", "openstack", "6f1c-2a", "9d0e-1b")

    assert name == "comp--1-openstack-6f1c--2a-9d0e--1b"


@given(SEGMENTS, SEGMENTS, SEGMENTS, SEGMENTS)
def test_a_name_can_be_read_back(node: str, orchestrator: str, workload: str, endpoint: str) -> None:
    """Print then parse gives the same four segments, so no two identities share a name."""
    name = workload_endpoint_name(node, orchestrator, workload, endpoint)

    assert parse_workload_endpoint_name(name) == (node, orchestrator, workload, endpoint)


@pytest.mark.parametrize("name", ["", "a", "a-b-c", "a-b-c-d-e", "a--b-c-d", "-a-b-c-d", "a-b-c-", "a-b--c-d-"])
def test_a_name_without_four_segments_is_refused(name: str) -> None:
    """The message says how to write one."""
    with pytest.raises(Invalid, match=r"write <node>|give the|rename it"):
        parse_workload_endpoint_name(name)


@pytest.mark.parametrize("segment", ["", "-a", "a-", "-"])
def test_a_segment_that_could_be_read_in_two_ways_is_refused(segment: str) -> None:
    """A dash at the edge of a segment would run into the separator."""
    with pytest.raises(Invalid):
        workload_endpoint_name("h1", "muslin", segment, "eth0")


def test_an_interface_name_fits_the_kernel_and_differs_between_namespaces() -> None:
    """IFNAMSIZ leaves 15 characters."""
    names = {interface_name(namespace, "h1-muslin-web-eth0") for namespace in ("a", "b")}

    assert len(names) == 2
    assert all(name.startswith("mus") and len(name) == 14 for name in names)
