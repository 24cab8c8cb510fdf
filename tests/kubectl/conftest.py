from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubectlrig import Kubectl, kubectls
from serverrig import free_port, running

VERSIONS = list(kubectls()) or ["none"]
FIRST_AND_LAST = list(dict.fromkeys([VERSIONS[0], VERSIONS[-1]]))


@pytest.fixture(params=FIRST_AND_LAST, scope="module")
def k(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """The oldest or the newest kubectl, with a server of its own. Tests use names of their own."""
    with with_server(request.param, tmp_path_factory.mktemp("kubectl")) as found:
        yield found


@pytest.fixture(params=VERSIONS, scope="module")
def every(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """Each kubectl that is installed."""
    with with_server(request.param, tmp_path_factory.mktemp("kubectl")) as found:
        yield found


@contextmanager
def with_server(version: str, folder: Path) -> Iterator[Kubectl]:
    if version == "none":
        pytest.fail("no kubectl here: ./dev setup installs Debian's kubernetes-client")
    port = free_port()
    with running(folder, store=f"sqlite:///{folder}/s.db", insecure_listen=f"127.0.0.1:{port}"):
        yield Kubectl(version, f"http://127.0.0.1:{port}", folder)
