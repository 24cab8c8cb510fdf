"""What dockerd did within a container after Join, where it tells no driver of it before.

`--link-local-ip` is such a thing: dockerd gives the interface an address of 169.254.0.0/16 on-link, so that the
container speaks to its gateway, and to everybody, from that, which no workload may. Nothing of it is in a driver's
call, nor in what may be asked of dockerd meanwhile. `docker network connect` asks EndpointOperInfo when the address is
there, so that can be refused. `docker run` gives addresses when all calls are over (seen with 20.10): there a route of
ours is in its way (`ways.joined`), but for networks that lead nowhere outside, and a container's second. Then there is
a red line in `muslin status`, by what `docker inspect` says.
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Network, ip_address

from muslin.client.address import parse
from muslin.drivers import links, netns, rtnetlink
from muslin.drivers.netlink import Netlink
from muslin.intent import Problem
from muslin.plugins.docker.book import Endpoint

_LINK_LOCAL = IPv4Network("169.254.0.0/16")


def why(address: str) -> str:
    return (f"--link-local-ip {address} cannot be had in a network of muslin: the container would speak to its gateway "
            "from it, and to everybody")


def problem(endpoint: Endpoint) -> Problem:
    """Of an endpoint that has one."""
    return Problem(what=f"container {endpoint.container}: {why(endpoint.link_local)}, so nothing of it passes",
                   mend="make the container anew without --link-local-ip")


def paths(docker: str, sandbox: str) -> list[str]:
    """Of a container's namespace: as dockerd sees it, which may have mounts of its own; as we do."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(1)
            asking.connect(parse(docker).path)
            (pid,) = struct.unpack_from("=i", asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:
        return [sandbox]
    return [f"/proc/{pid}/root{sandbox}", sandbox]


def link_local(docker: str, sandbox: str, mac: str) -> str:
    """The address of that sort that the interface with this MAC has, "" for none, or where there is no namespace."""
    for place in paths(docker, sandbox):
        try:
            with netns.opened(place) as descriptor, netns.inside(descriptor):
                netlink = Netlink()
        except (netns.NoSuchNamespace, OSError):
            continue
        with netlink:
            names = {link.index: link.name for link in links.read_links(netlink).values() if link.mac == mac}
            held = rtnetlink.read_addresses(netlink, names, ours=False)
        bare = (one.address.partition("/")[0] for one in held if one.interface in names.values())
        return next((one for one in sorted(bare) if ip_address(one) in _LINK_LOCAL), "")
    return ""
