"""What a daemon imports is in its memory for as long as it lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import muslin

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


def test_what_has_only_the_standard_library_can_be_imported_still() -> None:
    """Docker's resolver of names is started so, beside the agent."""
    words = "import sys; sys.path.insert(0, sys.argv[1]); import muslin.plugins.docker.resolver; print('there')"
    source = str(Path(muslin.__file__).parents[1])
    done = subprocess.run([sys.executable, "-IS", "-c", words, source], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("there\n", "")
