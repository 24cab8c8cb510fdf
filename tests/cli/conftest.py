from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clirig import Shell
from serverrig import running


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """With a fresh server, on a store in memory."""
    with running(tmp_path):
        yield Shell(tmp_path)


@pytest.fixture
def lonely(tmp_path: Path) -> Shell:
    """Without a server."""
    return Shell(tmp_path)
