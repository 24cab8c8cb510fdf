from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serverrig import Api, running


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """A fresh server on a store in memory."""
    with running(tmp_path) as found:
        yield found
