"""What Docker's users write: what is taken, and what is refused when the network is made, before a container comes."""

from __future__ import annotations

from typing import Any

import pytest

from muslin.model.selector import parse
from muslin.net import Cidr
from muslin.plugins.docker import words
from muslin.plugins.docker.faults import Refused

POOLS = {"four": (Cidr("10.65.0.0/16"), 26)}


def made(**options: str) -> Any:
    """By CreateNetwork with `-o`."""
    data = {"AddressSpace": "muslin", "Gateway": "169.254.1.7/32", "Pool": "10.65.8.0/24"}
    return words.network({"NetworkID": "n", "Options": {"com.docker.network.generic": options}, "IPv4Data": [data]})


@pytest.mark.parametrize("mtu", ["0", "1280", "1400", "65535"])
def test_an_mtu_that_a_link_can_have(mtu: str) -> None:
    assert made(**{words.MTU: mtu}).mtu == int(mtu)


@pytest.mark.parametrize("mtu", ["1279", "68", "65536", "-1", "wide"])
def test_any_other_is_refused_with_the_bounds(mtu: str) -> None:
    with pytest.raises(Refused, match="1280 to 65535"):
        made(**{words.MTU: mtu})


def test_a_range_of_blocks_is_a_range_for_addresses() -> None:
    assert words.pool_of(words.subnet("10.65.8.0/24", "10.65.8.128/26", POOLS)) == ("10.65.8.0/24", "10.65.8.128/26")


@pytest.mark.parametrize(("part", "says"), [
    ("10.65.8.128/28", r"--ip-range 10\.65\.8\.128/28 is smaller than a block"), ("10.65.9.0/25", "not inside"),
])
def test_any_other_range_is_refused(part: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        words.subnet("10.65.8.0/24", part, POOLS)


@pytest.mark.parametrize("name", ["Shop_1", "ein Netz", "ü", "n" * 63, "n" * 64, "n" * 200, "a.b", "-x", "x-", "1"])
def test_whatever_a_network_is_called_is_a_label_that_policies_select(name: str) -> None:
    net = words.net_name(name)
    assert words.labels({words.NETWORK_LABEL: net}) == {words.NETWORK_LABEL: net}, "not shortened to another"
    parse(f"{words.NETWORK_LABEL} == '{net}'")


def test_a_name_for_all_hosts_is_refused_where_it_is_no_label() -> None:
    for name in ("n" * 64, "Shop", "a b"):
        with pytest.raises(Refused, match="63 at most"):
            made(net=name)


def test_each_network_has_its_gateways() -> None:
    network = made()
    assert (network.gateway, network.gateway_v6) == ("169.254.1.7", "fe80::7")
