"""Which port of a host a container is published on."""

from __future__ import annotations

from typing import Any

import pytest

from muslin.plugins.docker import ports
from muslin.plugins.docker.book import Publication
from muslin.plugins.docker.faults import Refused


def options(*maps: dict[str, Any]) -> dict[str, Any]:
    return {ports.PORTMAP: [{"Proto": 6, "Port": 80, "HostIP": "", "HostPort": 0, "HostPortEnd": 0, **each}
                            for each in maps]}


def settled(*maps: dict[str, Any], mine: tuple[Publication, ...] = (), others: tuple[Publication, ...] = (),
            busy: tuple[int, ...] = ()) -> list[int]:
    made = ports.settle(ports.wanted(options(*maps)), mine, others, lambda _, __, port: port in busy)
    return [each.host_port for each in made]


def at(port: int, host_ip: str = "", protocol: str = "TCP") -> Publication:
    return Publication(protocol=protocol, host_port=port, port=80, host_ip=host_ip)


def test_a_port_that_is_named_is_that_port_or_refused() -> None:
    assert settled({"HostPort": 8080, "HostPortEnd": 8080}) == [8080]
    with pytest.raises(Refused, match="published by another"):
        settled({"HostPort": 8080}, others=(at(8080),))
    with pytest.raises(Refused, match="process of this host"):
        settled({"HostPort": 8080}, busy=(8080,))


def test_one_that_is_not_named_is_the_first_that_is_free() -> None:
    assert settled({}, {"Port": 81}, others=(at(49154),), busy=(49153,)) == [49155, 49156]
    assert settled({"HostPort": 8000, "HostPortEnd": 8002}, others=(at(8000),), busy=(8001,)) == [8002]
    with pytest.raises(Refused, match="none of the ports 8000-8001/tcp"):
        settled({"HostPort": 8000, "HostPortEnd": 8001}, others=(at(8000), at(8001)))


def test_a_call_that_is_repeated_keeps_its_port() -> None:
    assert settled({}, mine=(at(50000),)) == [50000]
    assert settled({"HostPort": 8000}, mine=(at(50000),)) == [8000]


def test_addresses_and_protocols_do_not_stand_in_each_others_way() -> None:
    held = (at(80, "192.0.2.1"), at(80, "192.0.2.2"), at(80, protocol="UDP"))
    assert settled({"HostPort": 80, "HostIP": "192.0.2.3"}, others=held) == [80]
    for address in ("192.0.2.1", "192.0.2.2", "", "0.0.0.0"):
        with pytest.raises(Refused):
            settled({"HostPort": 80, "HostIP": address}, others=held)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_refused(address: str) -> None:
    with pytest.raises(Refused, match="nothing leads from loopback"):
        ports.wanted(options({"HostIP": address, "HostPort": 80}))


def test_a_port_is_free_unless_another_has_it_at_that_address() -> None:
    held = (at(80, "192.0.2.1"), at(81))
    assert ports.is_free(at(80, "192.0.2.2"), held)
    assert ports.is_free(at(80, "192.0.2.1", protocol="UDP"), held)
    for port in (at(80, "192.0.2.1"), at(80), at(81), at(81, "192.0.2.1")):
        assert not ports.is_free(port, held)
