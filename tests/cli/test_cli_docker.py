"""`muslin docker`: what is said before an agent is asked."""

from __future__ import annotations

import pytest

from muslin.cli import docker
from muslin.cli.faults import Misused


@pytest.mark.parametrize("address", ["junk", "", "tcp://192.0.2.1:2375", "unix:", "unix:docker.sock", "https://h:1"])
def test_an_address_where_no_dockerd_of_this_host_can_be_is_refused(address: str) -> None:
    """Written down, it would be told again and again, by every host's network and status."""
    with pytest.raises(Misused, match="unix:PATH"):
        docker.run(["install", "--docker", address])
