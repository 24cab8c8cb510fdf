"""Laws for all tests: deterministic, nothing left behind, and whoever fails says how to see it again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "muslin",
    deadline=None,  # machines are noisy; time is measured in bench/, never asserted
    print_blob=True,  # a failing random test prints what reproduces it
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("muslin")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Kernel and lab tests need root. Without it they fail, loudly; they are never skipped in silence."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("kernel") or item.get_closest_marker("lab"):
            item.fixturenames.insert(0, "needs_root")  # type: ignore[attr-defined]


@pytest.fixture
def needs_root() -> None:
    pytest.fail("needs root: it makes network namespaces. Or leave it out: -m 'not kernel and not lab'")


def namespaces() -> set[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    return {line.split()[0] for line in listed.stdout.splitlines() if line.strip()}


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every namespace that this process made (named `mut-...<pid>...`) is gone when its module ends."""
    yield
    if request.node.get_closest_marker("kernel") or os.geteuid() == 0:
        left = {name for name in namespaces() if name.startswith("mut-") and f"{os.getpid()}" in name}
        assert not left, f"namespaces left behind: {sorted(left)}"
