"""Every file in tests/scenarios: a small world and packets, on each backend, by `explain`, and by a plain reading.

Most of them were found by `./dev prove` and made small. To look at one: `./dev prove --scenario FILE`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prove import run, scenario
from prove.kernels import BACKENDS
from prove.opinions import STAGED, Site, part

pytestmark = [pytest.mark.kernel]

FILES = sorted(scenario.DIRECTORY.glob("*.yaml"))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with run.site_with(list(BACKENDS)) as made:
        yield made


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_everybody_says_what_the_scenario_says(site: Site, file: Path) -> None:
    for flight, comes_out, said in run.verdicts(site, scenario.read(file)):
        wrong = {name: place for name, place in said.items() if place != comes_out and not name.startswith(STAGED)}
        assert not part(said), said
        assert not wrong, f"{flight} must come out at {comes_out or 'no place'}; otherwise say {wrong}"
