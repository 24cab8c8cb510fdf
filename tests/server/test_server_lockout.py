"""A write that would cut the cluster off from itself is refused, unless it is forced."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from muslin.explain.scene import Connection
from muslin.server.lockout import Guard
from muslin.store import open_store
from serverrig import CALICO, GNPS, Api, Json, gnp, resource

HEPS = f"{CALICO}/hostendpoints"
FELIX = f"{CALICO}/felixconfigurations"
CLOSING = gnp("close-hosts", selector="sort == 'host'", types=["Ingress", "Egress"])
NO_FAILSAFES = resource("FelixConfiguration", "default", failsafeInboundHostPorts=[], failsafeOutboundHostPorts=[])


def host_endpoint(host: str, address: str) -> Json:
    made = resource("HostEndpoint", host, node=host, interfaceName="*", expectedIPs=[address],
                    profiles=["projectcalico-default-allow"])
    return {**made, "metadata": {**made["metadata"], "labels": {"sort": "host"}}}


@pytest.fixture
def hosts(api: Api) -> Api:
    """Two that speak BGP with each other, open."""
    for host, address in (("h1", "192.0.2.1"), ("h2", "192.0.2.2")):
        api.made(f"{CALICO}/nodes", resource("Node", host, bgp={"ipv4Address": f"{address}/24", "asNumber": 64512}))
        api.made(HEPS, host_endpoint(host, address))
    return api


def test_with_failsafes_a_closing_policy_cuts_nothing(hosts: Api) -> None:
    """BGP's port is one of them, and agents at a unix socket cannot be cut."""
    assert hosts.post(GNPS, CLOSING).status == 201


def test_a_closing_policy_without_failsafes_would_end_bgp_and_is_refused(hosts: Api) -> None:
    hosts.made(FELIX, NO_FAILSAFES)
    answer = hosts.post(GNPS, CLOSING)
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden")
    message = answer.json["message"]
    for word in ("BGP session of h1 with h2", "the end of tier default", "failsafe", "muslin.dev/force: lockout",
                 "--force"):
        assert word in message, message
    assert hosts.get(f"{GNPS}/close-hosts").status == 404


def test_taking_the_failsafes_away_is_refused_as_well(hosts: Api) -> None:
    hosts.made(GNPS, CLOSING)
    assert hosts.post(FELIX, NO_FAILSAFES).status == 403


def test_a_dry_run_is_refused_too(hosts: Api) -> None:
    hosts.made(FELIX, NO_FAILSAFES)
    assert hosts.post(GNPS, CLOSING, dryRun="All").status == 403


def test_deleting_what_lets_bgp_through_is_refused(hosts: Api) -> None:
    hosts.made(FELIX, NO_FAILSAFES)
    rule = {"action": "Allow", "protocol": "TCP", "destination": {"ports": [179]}}
    letting = gnp("let-bgp", selector="sort == 'host'", order=1, types=["Ingress", "Egress"], ingress=[rule],
                  egress=[rule])
    hosts.made(GNPS, letting)
    hosts.made(GNPS, CLOSING)
    assert hosts.delete(f"{GNPS}/let-bgp").status == 403
    assert hosts.patch(f"{GNPS}/let-bgp", {"spec": {"ingress": []}}).status == 403
    assert hosts.patch(f"{GNPS}/let-bgp", {"metadata": {"annotations": {"note": "ours"}}}).status == 200
    assert hosts.delete(f"{GNPS}/let-bgp", lockout="force").status == 200


def test_by_annotation_or_by_request_it_is_forced(hosts: Api) -> None:
    hosts.made(FELIX, NO_FAILSAFES)
    annotated = {**CLOSING, "metadata": {"name": "close-hosts", "annotations": {"muslin.dev/force": "lockout"}}}
    assert hosts.post(GNPS, annotated, dryRun="All").status == 201
    assert hosts.post(GNPS, CLOSING, lockout="force").status == 201
    assert hosts.post(GNPS, CLOSING, lockout="yes").status >= 400


def test_who_is_cut_off_already_may_still_write(hosts: Api) -> None:
    hosts.made(FELIX, NO_FAILSAFES)
    assert hosts.post(GNPS, CLOSING, lockout="force").status == 201
    assert hosts.post(GNPS, gnp("other", selector="sort == 'host'", order=5, types=["Ingress"])).status == 201


def test_without_host_endpoints_nothing_is_asked(api: Api) -> None:
    api.made(FELIX, NO_FAILSAFES)
    assert api.post(GNPS, CLOSING).status == 201


def test_workloads_policies_are_never_in_the_way(hosts: Api) -> None:
    hosts.made(FELIX, NO_FAILSAFES)
    assert hosts.post(GNPS, gnp("pods", selector="role == 'db'", types=["Ingress", "Egress"])).status == 201


def test_the_guard_can_be_switched_off(hosts: Api) -> None:
    hosts.made("/apis/muslin.dev/v1/clusterconfigurations", {
        "apiVersion": "muslin.dev/v1", "kind": "ClusterConfiguration", "metadata": {"name": "default"},
        "spec": {"lockoutGuard": "Disabled"}})
    hosts.made(FELIX, NO_FAILSAFES)
    assert hosts.post(GNPS, CLOSING).status == 201


class Socket:
    """What aiohttp knows of a connection."""

    def __init__(self, peer: object, own: object) -> None:
        self._known = {"peername": peer, "sockname": own}

    def get_extra_info(self, name: str) -> object:
        return self._known[name]


def test_an_agent_is_known_by_its_own_connection() -> None:
    """By the addresses at both ends, IPv4 as such also at a socket of both families; never over loopback or a unix
    socket, which no policy of a host can cut."""
    guard = Guard(open_store("memory:"))
    for host, peer, own in (
        ("h1", ("192.0.2.7", 40000), ("192.0.2.1", 7443)),
        ("h2", ("::ffff:192.0.2.8", 40000, 0, 0), ("::ffff:192.0.2.1", 7443, 0, 0)),
        ("h3", ("127.0.0.1", 40000), ("127.0.0.1", 7443)), ("h4", "", "/run/muslin/server.sock"),
    ):
        guard.connected(host, make_mocked_request("GET", "/", transport=Socket(peer, own)))
    assert guard.connections == {
        "h1": Connection("h1", "192.0.2.7", "192.0.2.1", 7443), "h2": Connection("h2", "192.0.2.8", "192.0.2.1", 7443)}
