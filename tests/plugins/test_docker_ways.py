"""Which networks a container may be in at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from muslin.plugins.docker import ways
from muslin.plugins.docker.book import Book, Endpoint, Network
from muslin.plugins.docker.faults import Refused

WIDE, NARROW, APART, ANY = "10.65.0.0/16", "10.65.8.0/24", "10.66.0.0/24", "0.0.0.0/0"


def joins(path: Path, first: tuple[str, str], second: tuple[str, str], sandbox: str = "s") -> None:
    """(subnet, address), one network after the other."""
    book = Book(path / "book")
    networks = [Network(id=f"n{number}", name=f"n{number}", subnets=(subnet,))
                for number, (subnet, _) in enumerate((first, second))]
    ends = [Endpoint(id=f"e{number}", network=f"n{number}", addresses=(f"{address}/32",), sandbox=each)
            for number, ((_, address), each) in enumerate(zip((first, second), ("s", ""), strict=True))]
    for item in (*networks, *ends):
        book.put(item)
    ways.require_apart(ends[1], networks[1], sandbox, book)


@pytest.mark.parametrize(("first", "second"), [
    ((WIDE, "10.65.8.5"), (NARROW, "10.65.8.6")),
    ((WIDE, "10.65.0.5"), (NARROW, "10.65.8.3")),
    ((NARROW, "10.65.8.3"), (WIDE, "10.65.0.5")),
    ((NARROW, "10.65.8.3"), (NARROW, "10.65.8.4")),
    ((ANY, "10.65.8.3"), (NARROW, "10.65.8.4")),
    ((NARROW, "10.65.8.4"), (ANY, "10.65.8.3")),
])
def test_subnets_that_overlap_have_no_container_in_common_in_either_order(
    tmp_path: Path, first: tuple[str, str], second: tuple[str, str]
) -> None:
    with pytest.raises(Refused, match="give networks that have containers in common subnets that lie apart"):
        joins(tmp_path, first, second)
    joins(tmp_path, first, second, sandbox="another container's")


@pytest.mark.parametrize(("first", "second"), [
    ((NARROW, "10.65.8.3"), (APART, "10.66.0.3")),
    ((ANY, "10.66.0.9"), (NARROW, "10.65.8.3")),
    ((ANY, "10.66.0.9"), (ANY, "10.66.0.10")),
    ((NARROW, "10.65.8.3"), ("fd00:65::/112", "10.66.0.9")),
])
def test_those_that_lie_apart_have(tmp_path: Path, first: tuple[str, str], second: tuple[str, str]) -> None:
    joins(tmp_path, first, second)
