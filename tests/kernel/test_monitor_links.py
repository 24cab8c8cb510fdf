"""What the kernel tells: of links as it was told last, however often; of routes only what may concern us."""

from __future__ import annotations

import select

import pytest

from muslin.drivers import netns, rtnetlink
from muslin.drivers.monitor import Monitor, Noticed
from muslin.drivers.netlink import Netlink
from muslin.drivers.rtnetlink import Change
from muslin.intent import Route, RouteKind
from muslin.net import Cidr
from netrig import ip_json, namespace, run, wait_for

pytestmark = pytest.mark.kernel
_NOBODY = -1
"""No socket has that number."""


def test_what_was_told_last_of_a_link_counts() -> None:
    """Up and down again; gone; gone and made anew under the same name; renamed; and `last`, so that all was told."""
    with namespace() as host:
        with netns.opened(host) as descriptor, netns.inside(descriptor):
            monitor = Monitor()
        try:
            words = "\n".join((
                "link add name lowered type veth peer name lowered-peer", "link set dev lowered up",
                "link set dev lowered down",
                "link add name gone type veth peer name gone-peer", "link set dev gone up", "link del dev gone",
                "link add name anew type veth peer name anew-peer", "link del dev anew",
                "link add name anew mtu 1400 type veth peer name anew-peer", "link set dev anew up",
                "link add name before type veth peer name before-peer", "link set dev before name after",
                "link set dev after up", "link add name last type veth peer name last-peer",
            ))
            run("ip", "-n", host, "-batch", "-", stdin=words)
            heard = Noticed()

            def all_told() -> bool:
                heard.add(monitor.drain(_NOBODY))
                return "last" in heard.links

            wait_for("the last link's event", all_told)
        finally:
            monitor.close()
        numbers = {link["ifname"]: link["ifindex"] for link in ip_json(host, "link")}
    told = {name: link and (link.index, link.up) for name, link in heard.links.items()}
    assert told["gone"] is None
    assert told["gone-peer"] is None
    assert told["lowered"] == (numbers["lowered"], False)
    assert told["anew"] == (numbers["anew"], True)
    assert told["after"] == (numbers["after"], True)
    assert told["before"] == (numbers["after"], False), "it was told of under its first name as well"


def test_of_routes_only_ours_and_replacements_are_told_and_nothing_that_we_did() -> None:
    """A replacement may have taken ours. The rest never comes into the buffer; links come for each of them."""
    with namespace() as host:
        with netns.opened(host) as descriptor, netns.inside(descriptor):
            us = Netlink()
            monitor = Monitor(us.port)
        run("ip", "-n", host, "link", "set", "lo", "up")

        def is_told() -> bool:
            return bool(select.select([monitor], [], [], 0)[0])

        def silent(*words: str) -> bool:
            run("ip", "-n", host, *words)
            return not is_told()

        def heard(*words: str) -> Noticed:
            assert not silent(*words)
            return monitor.drain(_NOBODY)

        try:
            heard("link", "set", "lo", "mtu", "60000")
            assert silent("route", "add", "10.1.0.0/24", "dev", "lo")
            assert silent("route", "add", "10.2.0.0/24", "dev", "lo", "proto", "bird")
            assert silent("-6", "route", "add", "fd00:1::/64", "dev", "lo")
            assert silent("route", "replace", "10.2.0.0/24", "dev", "lo", "proto", "bird", "mtu", "1000")
            assert heard("route", "replace", "10.1.0.0/24", "dev", "lo", "mtu", "1000").routes
            assert heard("route", "add", "10.3.0.0/24", "dev", "lo", "proto", "80").routes
            assert heard("-6", "route", "add", "fd00:3::/64", "dev", "lo", "proto", "80").routes
            assert heard("route", "del", "10.3.0.0/24").routes
            assert heard("address", "add", "10.4.0.1/32", "dev", "lo").strangers
            with netns.opened(host) as descriptor, netns.inside(descriptor):
                ours = Change(Route(destination=Cidr("10.5.0.0/24"), kind=RouteKind.BLACKHOLE))
                assert rtnetlink.apply(us, [ours], {}) == []
            assert not is_told()
        finally:
            monitor.close()
            us.close()
