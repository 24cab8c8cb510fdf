"""Beside Docker's own firewall: dockerd with its bridge and its iptables rules, and our networks in the same host."""

from __future__ import annotations

import pytest

from agentrig import V3, deny_to, site
from dockerrig import docker
from netrig import in_ns, run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_docker_s_own_rules_neither_open_nor_close_our_networks() -> None:
    with site() as place:
        space = place.make_host("h1")
        run("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv4.ip_forward=0")
        place.start_agent("h1")
        with docker(place, "h1", ("--iptables=true", "--ip6tables=false", "--bip=172.30.0.1/24")) as host:
            assert "DOCKER" in in_ns(space, "iptables", "-S")
            for name, subnet in (("blue", "10.65.8.0/24"), ("red", "10.65.9.0/24")):
                host("network", "create", "-d", "muslin", "--ipam-driver", "muslin", "--subnet", subnet, name)
            one, two = host.container("b1", "--network", "blue"), host.container("b2", "--network", "blue")
            other, bridged = host.container("r1", "--network", "red"), host.container("plain")
            address = host.address(two, "blue")
            assert host.ping(one, address)
            assert not host.ping(other, address)
            assert not host.ping(bridged, address), "a bridged container is a stranger"
            place.declare(deny_to("no-ping", "docker.name == 'b2'"))
            wait_for("the policy", lambda: not host.ping(one, address))
            place.api.delete(f"{V3}/globalnetworkpolicies/no-ping")
            wait_for("its end", lambda: host.ping(one, address))
            host("network", "connect", "bridge", one)
            assert host.ping(one, address), "one container in both worlds"
