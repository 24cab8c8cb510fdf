"""What a daemon imports is in its memory for as long as it lives."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import muslin.{room}
print(*sorted({{"structlog", "rich", "pygments", "muslin.lab", "muslin.explain.matrix"}} & sys.modules.keys()))
import rich.table
"""


@pytest.mark.parametrize("room", [
    "cli.agent", "cli.server", "cli.up", "agent.run", "server.run", "plugins.docker.service", "plugins.cni.service",
])
def test_a_daemon_brings_no_screens(room: str) -> None:
    """And they can be imported afterwards."""
    found = subprocess.run([sys.executable, "-c", SCRIPT.format(room=room)], check=True, capture_output=True, text=True)
    assert set(found.stdout.split()) <= {"structlog", "muslin.explain.matrix"}
