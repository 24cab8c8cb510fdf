"""A veth is made: both ends down, ours marked as ours, the other one in the workload's namespace.

    create | mark: alias, IPv4's switches, no IPv6 address from its MAC          two messages, one send

There is no moment in which the other end lies about in the host, and none in which kill -9 leaves a link without its
mark. Of what it made the kernel is asked nothing but the number: it waits for its lock of links once for each message,
and would again to read a link, with an answer of 1.4 kB.

The second message goes by the name, because nobody knows the number yet; and the kernel goes on when it refuses the
first. So it is looked first whether a link of that name is there: nothing may happen to a stranger's.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from functools import lru_cache

from muslin.drivers import links
from muslin.drivers.links import INFO, NOT_ASKED, OWN_GROUP, Link, pack_mac
from muslin.drivers.netlink import CREATE, EXCLUSIVE, NESTED, Message, Netlink, Refusal, attribute
from muslin.errors import Invalid, MuslinError, Transient

_U32 = struct.Struct("=I")
_NEW = 16
_ADDRESS, _NAME, _MTU, _LINKINFO, _ALIAS, _AF_SPEC, _GROUP, _NET_NS_FD, _TX_QUEUES, _RX_QUEUES = (
    1, 3, 4, 18, 20, 26, 27, 28, 31, 32,
)
_KIND, _DATA, _PEER = 1, 2, 1
_INET, _INET_SETTINGS, _INET6, _ADDR_GEN_MODE, _GENERATE_NONE = 2, 1, 10, 8, 1

# Else the kernel makes as many queues of each sort as it has processors, on both ends, and takes away all but the first
# again (veth_init_queues), for which it waits until no processor uses them (synchronize_net).
_ONE_QUEUE = attribute(_TX_QUEUES, _U32.pack(1)) + attribute(_RX_QUEUES, _U32.pack(1))


class AlreadyThere(Invalid):
    """An interface of that name is there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth:
    """A veth to be made: our end, and the other end inside the namespace that `peer_namespace` (a descriptor) opens.

    `settings`: IPv4's switches of our end, by the kernel's numbers (`enum` in uapi/linux/ip.h). `gives_itself_none`:
    no IPv6 address is made from its MAC.
    """

    name: str
    mac: str
    owner: str
    mtu: int
    peer_name: str
    peer_mac: str
    peer_namespace: int
    settings: tuple[tuple[int, int], ...] = ()
    gives_itself_none: bool = False


def make(netlink: Netlink, veth: Veth) -> Link:
    """Our end; `peer` is to be asked for where the other end is. Raises Invalid when a name is taken on either side."""
    if links.number_of(netlink, veth.name):
        raise AlreadyThere(f"interface {veth.name} is there already")
    refused = netlink.send(_messages(veth))
    try:
        if refused:
            raise _not_made(veth, refused[0])
        index = links.number_of(netlink, veth.name)
        if not index:
            raise Transient(f"interface {veth.name} is gone again: was the namespace removed?")
    except Transient:
        if not refused or refused[0].position:  # it was made
            links.remove_link(netlink, veth.name)
        raise
    return Link(index=index, name=veth.name, kind="veth", mac=veth.mac, mtu=veth.mtu, group=OWN_GROUP,
                alias=links.alias_of(veth.owner), peer_namespace=NOT_ASKED)


def _messages(veth: Veth) -> tuple[Message, Message]:
    anybody, name = INFO.pack(0, 0, 0, 0, 0), attribute(_NAME, veth.name.encode() + b"\0")
    peer = anybody + b"".join(
        (
            attribute(_NAME, veth.peer_name.encode() + b"\0"),
            attribute(_ADDRESS, pack_mac(veth.peer_mac)),
            attribute(_MTU, _U32.pack(veth.mtu)),
            attribute(_NET_NS_FD, _U32.pack(veth.peer_namespace)),
            _ONE_QUEUE,
        )
    )
    kind = attribute(_KIND, b"veth\0") + attribute(_DATA | NESTED, attribute(_PEER | NESTED, peer))
    create = anybody + b"".join(
        (
            name,
            attribute(_ADDRESS, pack_mac(veth.mac)),
            attribute(_MTU, _U32.pack(veth.mtu)),
            attribute(_GROUP, _U32.pack(OWN_GROUP)),
            _ONE_QUEUE,
            attribute(_LINKINFO | NESTED, kind),
        )
    )
    # IFLA_IFALIAS and IFLA_AF_SPEC are ignored when a link is made (rtnl_create_link does not look at them).
    families = _families(veth.settings, veth.gives_itself_none)
    mark = anybody + name + attribute(_ALIAS, links.alias_of(veth.owner).encode())
    mark += attribute(_AF_SPEC | NESTED, families) if families else b""
    return (_NEW, CREATE | EXCLUSIVE, create), (_NEW, 0, mark)


@lru_cache(maxsize=16)
def _families(settings: tuple[tuple[int, int], ...], gives_itself_none: bool) -> bytes:
    """IFLA_AF_SPEC. As files below /proc/sys some of these would be waited for by spinning, while anybody has the lock
    for links: the kernel cannot wait for it there, and has the system call begun again (restart_syscall)."""
    found = b""
    if settings:
        packed = b"".join(attribute(number, _U32.pack(value)) for number, value in settings)
        found += attribute(_INET | NESTED, attribute(_INET_SETTINGS | NESTED, packed))
    if gives_itself_none:
        found += attribute(_INET6 | NESTED, attribute(_ADDR_GEN_MODE, bytes((_GENERATE_NONE,))))
    return found


def _not_made(veth: Veth, refusal: Refusal) -> MuslinError:
    if refusal.position:
        return Transient(f"interface {veth.name}: cannot be given its settings: {refusal}")
    match refusal.errno:
        case errno.EEXIST:
            return AlreadyThere(f"interface {veth.name} or, inside the namespace, {veth.peer_name} is there already")
        case errno.ERANGE | errno.EINVAL:
            return Invalid(f"interface {veth.peer_name}: the kernel refuses name, MAC or MTU {veth.mtu}: {refusal}")
        case _:
            return Transient(f"interface {veth.name}: cannot be made: {refusal}")
