"""Network interfaces: listed, changed and removed over netlink.

Removing veths one by one costs 16 ms each, because each waits for the kernel's RCU; those of one group go together in
the time of one. So removal first moves the doomed into a group of their own, down in the same message (each change of a
link that is up has the kernel walk all IPv6 routes); one alone goes by its number.

How we recognise our own links after a restart: kind veth, group `OWN_GROUP`, and an alias `muslin <endpoint key>`.
All three together are made by nobody else.
"""

from __future__ import annotations

import errno
import fcntl
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from muslin.drivers.netlink import Message, Netlink, attribute, attributes
from muslin.errors import Broken, Invalid, Transient

LOOPBACK = 1
"""The index of `lo`, in every namespace."""
OWN_GROUP = 0x6D75736C
"""'musl': veths that muslin made."""
_DOOMED_GROUP = 0x6D757378
_ALIAS = "muslin "

INFO = struct.Struct("=BxHiII")
_REQUEST = struct.Struct("=16si20x")
"""`struct ifreq` (linux/if.h)."""
_SIOCGIFINDEX = 0x8933
_LONGEST_NAME = 15
_U32 = struct.Struct("=I")

_NEW, _DELETE, _GET = 16, 17, 18
_ADDRESS, _NAME, _MTU, _LINK, _QDISC, _LINKINFO, _ALIAS_ATTRIBUTE, _GROUP, _EXT_MASK, _NETNSID = (
    1, 3, 4, 5, 6, 18, 20, 27, 29, 37,
)
_GET_NSID, _NSID, _NSID_FD = 90, 1, 3
_DROPS_ALL = "noop"
_KIND = 1
_UP = 0x1
_SKIP_STATISTICS = _U32.pack(1 << 3)

NOT_ASKED = -2
"""Number of a namespace that is another, which one nobody has asked; the kernel's own begin with 0, and -1 is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One interface as the kernel has it. `peer` is the index of a veth's other end, in namespace `peer_namespace`
    (None: this one; or `NOT_ASKED`). `sends`: what is given to it is sent, not dropped."""

    index: int
    name: str
    kind: str = ""
    mac: str = ""
    mtu: int = 0
    up: bool = False
    group: int = 0
    alias: str = ""
    peer: int = 0
    peer_namespace: int | None = None
    sends: bool = False

    @property
    def owner(self) -> str:
        """The endpoint key that a veth of ours was made for, "" for anybody else's interface."""
        ours = self.kind == "veth" and self.group == OWN_GROUP and self.alias.startswith(_ALIAS)
        return self.alias.removeprefix(_ALIAS) if ours else ""

    @property
    def is_ours(self) -> bool:
        """A veth that we made, also before it bears its owner's name and while it is being removed."""
        return self.kind == "veth" and self.group in (OWN_GROUP, _DOOMED_GROUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChange:
    """What to change of one link; None leaves as it is."""

    index: int
    up: bool | None = None
    name: str | None = None
    mac: str | None = None
    mtu: int | None = None
    group: int | None = None
    alias: str | None = None


def alias_of(owner: str) -> str:
    """By which a veth of ours is known, see `Link.owner`."""
    return _ALIAS + owner


def pack_mac(text: str) -> bytes:
    """Six bytes of `ee:ee:ee:ee:ee:ee`. Raises Invalid."""
    try:
        packed = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        packed = b""
    if len(packed) != 6:
        raise Invalid(f"{text!r} is not a MAC address: write six hex pairs such as 02:00:00:00:00:01")
    return packed


def check_mac(text: str) -> None:
    """May an interface have it? Raises Invalid."""
    packed = pack_mac(text)
    if packed[0] & 1 or not any(packed):
        raise Invalid(f"MAC address {text}: no interface can have a multicast address or zero; write one whose second"
                      " digit is even, such as 02:00:00:00:00:01")


def read_links(netlink: Netlink, known: dict[bytes, Link] | None = None) -> dict[str, Link]:
    """Every interface of the namespace, by name. `known`: what the last reading made of which words of the kernel; kept
    up by this one. Without it a thousand links take 100 ms to take apart."""
    query = INFO.pack(0, 0, 0, 0, 0) + attribute(_EXT_MASK, _SKIP_STATISTICS)
    before = known or {}
    listed = {body: before.get(body) or decode(body) for kind, body in netlink.dump(_GET, query) if kind == _NEW}
    if known is not None:
        known.clear()
        known.update(listed)
    return {link.name: link for link in listed.values()}


def number_of(netlink: Netlink, name: str) -> int:
    """0 where there is none of that name. Waits for no lock of the kernel, as `read_link` does for that of links."""
    if len(name.encode()) > _LONGEST_NAME:
        return 0
    try:
        answer = fcntl.ioctl(netlink.fileno(), _SIOCGIFINDEX, _REQUEST.pack(name.encode(), 0))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return 0
        raise Transient(f"interface {name}: its number cannot be read: {error.strerror}") from None
    return int(_REQUEST.unpack(answer)[1])


def read_link(netlink: Netlink, name: str) -> Link | None:
    """One interface, None when there is none of that name."""
    body = INFO.pack(0, 0, 0, 0, 0) + attribute(_EXT_MASK, _SKIP_STATISTICS) + attribute(_NAME, name.encode() + b"\0")
    answer = netlink.get(_GET, body)
    if isinstance(answer, bytes):
        return decode(answer)
    if answer.errno == errno.ENODEV:
        return None
    raise Transient(f"interface {name}: cannot be read: {answer}")


def decode(body: bytes) -> Link:
    """From the kernel's answer, or from what it tells unasked."""
    _family, _type, index, flags, _change = INFO.unpack_from(body)
    found = attributes(body, INFO.size)
    info = attributes(found.get(_LINKINFO, b""))
    return Link(
        index=index,
        name=_text(found.get(_NAME, b"")),
        kind=_text(info.get(_KIND, b"")),
        mac=found.get(_ADDRESS, b"").hex(":"),
        mtu=_number(found.get(_MTU)) or 0,
        up=bool(flags & _UP),
        group=_number(found.get(_GROUP)) or 0,
        alias=_text(found.get(_ALIAS_ATTRIBUTE, b"")),
        peer=_number(found.get(_LINK)) or 0,
        peer_namespace=_number(found.get(_NETNSID)),
        sends=_text(found.get(_QDISC, b"")) != _DROPS_ALL,
    )


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(_U32.unpack(value)[0])


def change_link(netlink: Netlink, change: LinkChange) -> None:
    """Raises Transient: the interface is gone, busy, or refuses."""
    flags = _UP if change.up else 0
    body = INFO.pack(0, 0, change.index, flags, 0 if change.up is None else _UP)
    if change.name is not None:
        body += attribute(_NAME, change.name.encode() + b"\0")
    if change.mac is not None:
        body += attribute(_ADDRESS, pack_mac(change.mac))
    if change.mtu is not None:
        body += attribute(_MTU, _U32.pack(change.mtu))
    if change.group is not None:
        body += attribute(_GROUP, _U32.pack(change.group))
    if change.alias is not None:
        body += attribute(_ALIAS_ATTRIBUTE, change.alias.encode())
    _demand(netlink, [(_NEW, 0, body)], f"interface number {change.index}")


def raise_links(netlink: Netlink, indexes: Iterable[int]) -> None:
    """Up are these, at once. Raises Transient."""
    _demand(netlink, [(_NEW, 0, INFO.pack(0, 0, index, _UP, _UP)) for index in indexes], "an interface")


def numbers_of_namespaces(netlink: Netlink, descriptors: Iterable[int]) -> Iterator[int]:
    """By which numbers `Link.peer_namespace` calls them; -1 for one in which no link of ours ends."""
    for descriptor in descriptors:
        answer = netlink.get(_GET_NSID, bytes(4) + attribute(_NSID_FD, _U32.pack(descriptor)))
        yield struct.unpack("=i", attributes(answer, 4)[_NSID])[0] if isinstance(answer, bytes) else -1


def remove_link(netlink: Netlink, name: str) -> None:
    """The one of that name is gone, if it was there."""
    _delete(netlink, INFO.pack(0, 0, 0, 0, 0) + attribute(_NAME, name.encode() + b"\0"))


def remove_links(netlink: Netlink, indexes: Iterable[int]) -> None:
    """Gone are these, quickly however many; absent ones are fine."""
    numbers = [*indexes]
    if len(numbers) == 1:
        _delete(netlink, INFO.pack(0, 0, numbers[0], 0, 0))
        return
    doomed: list[Message] = [
        (_NEW, 0, INFO.pack(0, 0, index, 0, _UP) + attribute(_GROUP, _U32.pack(_DOOMED_GROUP))) for index in numbers
    ]
    if not doomed:
        return
    refused = [refusal for refusal in netlink.send(doomed) if refusal.errno != errno.ENODEV]
    if refused:
        raise Transient(f"interface cannot be removed: {refused[0]}")
    _delete(netlink, INFO.pack(0, 0, 0, 0, 0) + attribute(_GROUP, _U32.pack(_DOOMED_GROUP)))


def _delete(netlink: Netlink, body: bytes) -> None:
    left = [refusal for refusal in netlink.send([(_DELETE, 0, body)]) if refusal.errno != errno.ENODEV]
    if left:
        raise Transient(f"interfaces cannot be removed: {left[0]}")


def _demand(netlink: Netlink, messages: list[Message], what: str) -> None:
    for refusal in netlink.send(messages):
        if refusal.errno == errno.EINVAL:
            raise Broken(f"{what}: the kernel does not understand us: {refusal}")
        raise Transient(f"{what}: {refusal}")
