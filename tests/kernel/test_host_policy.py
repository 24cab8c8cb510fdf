"""Policy of a host, from the resource that somebody applies to the packet that somebody sends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from agentrig import V3, Site, site
from netrig import in_ns, wait_for
from nftrig import own_socket, probe
from outrig import UPLINK, Outside, outside

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ON_H1 = "of == 'h1'"
ALLOW_ALL = [{"action": "Allow"}]


class Rig:
    """The host h1 with its uplink, the world outside, and one workload."""

    def __init__(self, place: Site, there: Outside) -> None:
        self.place, self.there = place, there
        self.host = place.space("h1")
        self.web = place.guest("h1", "web")

    def covers(self, *policies: dict[str, Any], interface: str = "up0") -> None:
        for each in policies:
            self.place.api.post(f"{V3}/globalnetworkpolicies", each)
        self.place.api.post(f"{V3}/hostendpoints", {
            "apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
            "metadata": {"name": "uplink", "labels": {"of": "h1"}}, "spec": {"node": "h1", "interfaceName": interface},
        })
        wait_for("the host endpoint", lambda: self._state() == "up")

    def _state(self) -> str:
        return str(self.place.report("h1").get("endpoints", {}).get("HostEndpoint/uplink", {}).get("state", ""))

    def heard(self, target: str, port: int, version: int) -> bool:
        """Does a datagram from outside arrive at the host, or at the workload?"""
        space = self.host if target == "host" else self.web.network
        address = UPLINK[version] if target == "host" else self.web.address(version)
        return _arrives(self.there.network, space, address, port)

    def said(self, port: int, version: int) -> bool:
        """Does a datagram of the host arrive outside?"""
        return _arrives(self.host, self.there.network, self.there.address(version), port)


def _arrives(source: str, target: str, address: str, port: int) -> bool:
    family, token = socket.AF_INET6 if ":" in address else socket.AF_INET, os.urandom(8)
    with (
        closing(own_socket(target, family, socket.SOCK_DGRAM)) as ear,
        closing(own_socket(source, family, socket.SOCK_DGRAM)) as mouth,
    ):
        ear.bind((address, port))
        ear.settimeout(1.0)  # over two routers, whose neighbours must be found first, on a machine with other work
        try:
            mouth.sendto(token, (address, port))
            return ear.recv(100) == token
        except (TimeoutError, PermissionError):
            return False


def policy(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": name},
            "spec": {"selector": ON_H1, **spec}}


def to(action: str, *ports: int) -> dict[str, Any]:
    return {"action": action, "protocol": "UDP", "destination": {"ports": list(ports)}}


NEIGHBOURS = policy("neighbours", order=1, types=["Ingress", "Egress"], **{
    way: [{"action": "Allow", "protocol": "ICMPv6", "ipVersion": 6}] for way in ("ingress", "egress")})


@pytest.fixture
def rig() -> Iterator[Rig]:
    with site() as place, outside(place.make_host("h1")) as there:
        place.start_agent("h1")
        yield Rig(place, there)


def test_ordinary_policy_decides_what_reaches_the_host_and_what_it_sends(rig: Rig) -> None:
    """Failsafes pass (DNS outwards), and what is forwarded is not asked."""
    rig.covers(NEIGHBOURS, policy("own", order=2, types=["Ingress", "Egress"], ingress=[to("Allow", 7000)],
                                  egress=[to("Allow", 7100)]))
    for version in (4, 6):
        assert [rig.heard("host", port, version) for port in (7000, 7001)] == [True, False]
        assert [rig.said(port, version) for port in (7100, 7101, 53)] == [True, False, True]
        assert rig.heard("web", 7001, version)


def test_forward_and_pre_dnat_policy_decide_what_passes_through(rig: Rig) -> None:
    rig.covers(
        NEIGHBOURS, policy("open", order=9, types=["Ingress", "Egress"], ingress=ALLOW_ALL, egress=ALLOW_ALL),
        policy("through", order=2, applyOnForward=True, types=["Ingress"], ingress=[to("Deny", 7001), *ALLOW_ALL]),
        policy("early", order=3, applyOnForward=True, preDNAT=True, types=["Ingress"], ingress=[to("Deny", 7002)]),
    )
    for version in (4, 6):
        assert [rig.heard("web", port, version) for port in (7000, 7001, 7002)] == [True, False, False]
        assert [rig.heard("host", port, version) for port in (7000, 7001, 7002)] == [True, False, False]


def test_what_is_not_tracked_leaves_no_flow(rig: Rig) -> None:
    rules = [to("Allow", 7000), {"action": "Allow", "protocol": "UDP", "source": {"ports": [7000]}}]
    rig.covers(NEIGHBOURS, policy("raw", order=2, applyOnForward=True, doNotTrack=True, types=["Ingress", "Egress"],
                                  ingress=rules, egress=rules))
    for version in (4, 6):
        assert [rig.heard("host", port, version) for port in (7000, 7001)] == [True, False]
        assert rig.said(7000, version)
        flows = in_ns(rig.host, "conntrack", "-L", "-f", f"ipv{version}", check=False)
        assert "dport=7000" not in flows


def test_kill_nine_of_the_agent_opens_and_closes_nothing_at_the_host(rig: Rig) -> None:
    rig.covers(NEIGHBOURS, policy("own", order=2, types=["Ingress", "Egress"], ingress=[to("Allow", 7000)],
                                  egress=ALLOW_ALL))
    outside_of_it = rig.there.network
    with (
        probe(outside_of_it, rig.host, UPLINK[4], 7000) as allowed,
        probe(outside_of_it, rig.host, UPLINK[4], 7001) as denied,
    ):
        rig.place.signal("agent-h1", signal.SIGKILL)
        wait_for("packets without an agent", lambda: allowed.sent > 500)
        rig.place.start_agent("h1")
        since = allowed.sent
        wait_for("packets with another agent", lambda: allowed.sent > since + 500)
    assert allowed.heard == allowed.sent
    assert denied.sent > 500
    assert denied.heard == 0
