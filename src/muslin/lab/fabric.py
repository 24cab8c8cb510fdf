"""The data centre's hardware, out of namespaces and veths: machines, cables, addresses.

Everything is told to `ip` in batches: one process for all namespaces, one for all cables, one for each machine's
addresses. A namespace's name is `mu-<lab>-<machine>`, so that a person sees in `ip netns list` what it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

from muslin.drivers import netns
from muslin.errors import Invalid, Transient
from muslin.lab.topology import Topology
from muslin.lab.waiting import together

RACK_BRIDGE = "rack"

_MACHINE = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/fib_multipath_hash_policy": "1",
    "net/ipv6/fib_multipath_hash_policy": "1",
}
_EVERY = {
    # Addresses are unique by construction; waiting a second for nobody to object would be the longest stage of all.
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
}


def namespace_of(lab: str, machine: str) -> str:
    return f"mu-{lab}-{machine}"


async def build(topology: Topology) -> None:
    """Machines, cables and addresses. Their names must be free."""
    name = topology.name
    await add_namespaces([namespace_of(name, machine) for machine in topology.namespaces])
    for machine in topology.namespaces:
        set_sysctls(namespace_of(name, machine), _MACHINE)
    await batch(
        f"link add name {link.left[1]} netns {namespace_of(name, link.left[0])} type veth"
        f" peer name {link.right[1]} netns {namespace_of(name, link.right[0])}"
        for link in topology.links
    )
    await together(*(
        batch(_configuration(topology, machine), namespace=namespace_of(name, machine))
        for machine in topology.namespaces
    ))


def _configuration(topology: Topology, machine: str) -> list[str]:
    """One machine's `ip` commands: a rack's router bridges its host ports and has the gateway addresses."""
    lines = []
    for router in topology.routers:
        if router.name == machine and router.rack:
            lines.append(f"link add name {RACK_BRIDGE} type bridge forward_delay 0")
            lines.append(f"link set {RACK_BRIDGE} up")
            lines += [f"address add {address} dev {RACK_BRIDGE}" for address in router.addresses]
            lines += [f"link set {host.name} master {RACK_BRIDGE}" for host in router.hosts]
    for link in topology.links:
        for end_of, interface, addresses in (link.left, link.right):
            if end_of == machine:
                lines += [f"address add {address} dev {interface}" for address in addresses]
                lines.append(f"link set {interface} up")
    return lines


def check_free(names: Iterable[str]) -> None:
    """Raises Invalid when one is there: then it is not ours, and must not go when we go."""
    for name in names:
        if netns.path_of(name).exists():
            raise Invalid(f"network namespace {name} is there already, and no lab of this machine remembers making it;"
                          f" if nobody needs it: ip netns delete {name}")


async def add_namespaces(names: Sequence[str]) -> None:
    await batch(f"netns add {name}" for name in names)
    for name in names:
        set_sysctls(name, _EVERY)
    await together(*(batch(["link set lo up"], namespace=name) for name in names))


async def delete_namespaces(names: Iterable[str]) -> None:
    """Those that are there; with them go their interfaces, routes and tables."""
    there = [name for name in names if netns.path_of(name).exists()]
    await batch(f"netns delete {name}" for name in there)


def set_sysctls(namespace: str, settings: dict[str, str]) -> None:
    with netns.opened(namespace) as descriptor, netns.inside(descriptor):
        for path, value in settings.items():
            Path("/proc/sys", path).write_text(value)


async def batch(lines: Iterable[str], *, namespace: str = "") -> None:
    """Run `ip` on many commands at once. Raises Transient with the first complaint."""
    text = "".join(f"{line}\n" for line in lines)
    if not text:
        return
    inside = ("-n", namespace) if namespace else ()
    process = await asyncio.create_subprocess_exec(
        "ip", *inside, "-batch", "-", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate(text.encode())
    if process.returncode:
        raise Transient(f"ip {namespace}: {said.decode(errors='replace').strip()}")
