"""What the kernel told of links meanwhile is heard as it was told last, link by link, however often it was told."""

from __future__ import annotations

import pytest

from muslin.drivers import netns
from muslin.drivers.monitor import Monitor, Noticed
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
