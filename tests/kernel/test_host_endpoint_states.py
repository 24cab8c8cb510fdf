"""Which interface a host endpoint is, and what its agent says of it: real interfaces come, go and change addresses."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from agentrig import V3, Site, site
from netrig import run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture
def place() -> Iterator[Site]:
    with site() as made:
        made.start_agent("h1")
        yield made


def guard(name: str, *addresses: str, interface: str = "") -> dict[str, Any]:
    return {"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": {"name": name},
            "spec": {"node": "h1", "interfaceName": interface, "expectedIPs": list(addresses),
                     "profiles": ["projectcalico-default-allow"]}}


def state(place: Site, name: str) -> tuple[str, str]:
    found = place.report("h1").get("endpoints", {}).get(f"HostEndpoint/{name}", {})
    return found.get("state", ""), found.get("message", "")


def wait_state(place: Site, name: str, wanted: str, words: str = "") -> None:
    def holds() -> bool:
        found, message = state(place, name)
        return found == wanted and words in message
    wait_for(f"{name} being {wanted} {words}", holds)


def link(place: Site, *words: str) -> None:
    run("ip", "-n", place.space("h1"), *words)


def test_an_address_finds_its_interface_when_it_comes_and_where_it_goes(place: Site) -> None:
    """By netlink's news, not by the scan: many changes within one scan's time."""
    place.declare(guard("uplink", "10.0.0.5"))
    wait_state(place, "uplink", "pending", "no interface has 10.0.0.5")

    link(place, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    link(place, "address", "add", "10.0.0.5/24", "dev", "eth0")
    wait_state(place, "uplink", "up")

    link(place, "address", "del", "10.0.0.5/24", "dev", "eth0")
    wait_state(place, "uplink", "pending", "no interface has 10.0.0.5")

    link(place, "address", "add", "10.0.0.5/24", "dev", "eth1")
    wait_state(place, "uplink", "up")
    place.declare(guard("rival", interface="eth1"))
    wait_state(place, "uplink", "error", "eth1 is covered by HostEndpoint/rival")
    wait_state(place, "rival", "up")
    place.api.delete(f"{V3}/hostendpoints/rival")
    wait_state(place, "uplink", "up")
    wait_state(place, "rival", "")


def test_a_name_waits_for_its_interface_and_a_restart_without_a_server_binds_anew(place: Site) -> None:
    place.declare(guard("named", interface="eth7"), guard("all", interface="*"), guard("uplink", "10.0.0.5"))
    wait_state(place, "named", "pending", "eth7 is not there yet")
    wait_state(place, "all", "up")
    link(place, "link", "add", "eth7", "type", "veth", "peer", "name", "eth8")
    link(place, "address", "add", "10.0.0.5/24", "dev", "eth8")
    wait_state(place, "named", "up")
    wait_state(place, "uplink", "up")

    place.signal("agent-h1", signal.SIGKILL)
    place.signal("server", signal.SIGKILL)
    link(place, "link", "set", "eth8", "name", "lan0")
    place.start_agent("h1", healthy=False)
    wait_for("the agent", lambda: place.words("agent-h1").count("using_snapshot"))

    wait_state(place, "uplink", "up")
    wait_state(place, "all", "up")
    link(place, "address", "del", "10.0.0.5/24", "dev", "lan0")
    wait_state(place, "uplink", "pending", "no interface has 10.0.0.5")
