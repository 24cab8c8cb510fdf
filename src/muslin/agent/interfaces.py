"""The host's network interfaces as the agent knows them, and which of the workloads' are open.

Open means: up, with the switches that a workload's link needs, and forwarding. A link is opened only once policy for
its endpoint is in the kernel. It is told apart by its index, too: one of the same name that was made anew is not open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from muslin.drivers import links, rtnetlink, sysctl
from muslin.drivers.links import Link, LinkChange
from muslin.drivers.netlink import Netlink
from muslin.errors import Transient
from muslin.reconcile import Done, Outcome, TryAgain

_RECHECKED = 50
"""Links whose switches are read again in one scan: 20 small files each."""


class Interfaces:
    """Of the namespace that the socket belongs to."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._there: dict[str, Link] = {}
        self._names: dict[int, str] = {}
        self._owned: dict[str, Link] = {}
        """Veths of ours. Both follow `_there` change by change: links come and go by the hundred, beside thousands."""
        self._known: dict[bytes, Link] = {}
        self._opened: dict[str, int] = {}
        self._made: dict[str, int] = {}
        """Links that were just made with all their switches, and not opened yet."""
        self._unread: dict[str, None] = {}
        """Those that were opened so, whose switches somebody (udev's rules) may have set a moment later."""
        self._stood: dict[str, int] = {}
        """Links on which something of ours may stand: that were opened, or there at the start; also lost ones."""
        self.replaced: set[str] = set()
        """In whose place there is another of the same name: all that stood on them is gone. The caller empties it."""

    @property
    def there(self) -> Mapping[str, Link]:
        """As they were read last."""
        return self._there

    @property
    def opened(self) -> frozenset[str]:
        return frozenset(self._opened)

    @property
    def names(self) -> Mapping[int, str]:
        """By index."""
        return self._names

    @property
    def owned(self) -> Mapping[str, Link]:
        """Those that we made for an endpoint."""
        return self._owned

    def is_open(self, link: Link) -> bool:
        """This very link, not one of the same name that was there before it."""
        return self._opened.get(link.name) == link.index

    # ---- doing

    def open(self, name: str) -> Outcome:
        try:
            link = self.find(name)
            if link is None:
                return TryAgain(f"interface {name} is not there")
            if self.is_just_made(name):
                self._unread[name] = None
            else:
                sysctl.ensure(sysctl.workload_link(name) | sysctl.forwarding(name, True))
            self._made.pop(name, None)
            if not link.up:
                links.change_link(self._netlink, LinkChange(index=link.index, up=True))
        except Transient as error:
            self._lose(name)
            return TryAgain(str(error))
        self._opened[name] = self._stood[name] = link.index
        return Done()

    def made(self, link: Link) -> None:
        """One of ours, by `plug.lay`, with its switches."""
        self._keep(link)
        self._made[link.name] = link.index

    def is_just_made(self, name: str) -> bool:
        """And not opened yet."""
        link = self._there.get(name)
        return link is not None and self._made.get(name) == link.index

    def is_bare(self, name: str) -> bool:
        """A veth of ours that was not opened yet: nothing stands on it."""
        link = self._there.get(name)
        return link is not None and link.is_ours and name not in self._stood

    def close(self, name: str) -> Outcome:
        """A veth of ours is shut by its name's prefix, in nftables; a tap with a name of its own must be shut here."""
        try:
            self._opened.pop(name, None)
            self._unread.pop(name, None)
            self._stood.pop(name, None)
            self.replaced.discard(name)
            link = self._owned.get(name) or links.read_link(self._netlink, name)
            if link is not None and not link.owner:
                sysctl.ensure(sysctl.closed_link(name))
        except Transient as error:
            self._lose(name)
            return TryAgain(str(error))
        return Done()

    # ---- looking

    def find(self, name: str) -> Link | None:
        """One that was seen, or is there now."""
        if name not in self._there:
            link = links.read_link(self._netlink, name)
            if link is not None:
                self._keep(link)
        return self._there.get(name)

    def found(self, names: Iterable[str]) -> Iterator[Link]:
        """Those of them that are there."""
        for name in names:
            link = self.find(name)
            if link is not None:
                yield link

    def read_first(self) -> None:
        """All, if nothing was read yet."""
        if not self._there:
            self._read()

    def read_all(self) -> None:
        """All, and which of the open ones still are."""
        self._read()
        self._opened = {
            name: index for name, index in self._opened.items()
            if name in self._there and self._there[name].index == index and self._there[name].up
        }

    def _read(self) -> None:
        is_first = not self._there
        self._there = links.read_links(self._netlink, self._known)
        self._names = {link.index: name for name, link in self._there.items()}
        self._owned = {name: link for name, link in self._there.items() if link.owner}
        self._made = {name: index for name, index in self._made.items() if name in self._there}
        if is_first:
            self._stood = {name: link.index for name, link in self._owned.items()}
        for name in [name for name in self._stood if name in self._there]:
            self._stood[name] = self._there[name].index

    def _keep(self, link: Link) -> None:
        self._lose(link.name)
        self._there[link.name] = link
        self._names[link.index] = link.name
        if link.owner:
            self._owned[link.name] = link
        self._look_at_place(link)

    def _look_at_place(self, link: Link) -> None:
        if self._stood.get(link.name, link.index) != link.index:
            self.replaced.add(link.name)
            del self._stood[link.name]

    def _lose(self, name: str) -> None:
        """One that was renamed has its number under the new name."""
        self._owned.pop(name, None)
        link = self._there.pop(name, None)
        if link is not None and self._names.get(link.index) == name:
            del self._names[link.index]

    def told(self, name: str, link: Link | None) -> bool:
        """The kernel said so of it. Is it, as far as that goes, up and the one that was opened?"""
        if link is None:
            self._lose(name)
            self._made.pop(name, None)
            return False
        self._keep(link)
        return link.up and self.is_open(link)

    def read_again(self, name: str) -> bool:
        """Is it still there, up, and the one that was opened?"""
        return self.told(name, links.read_link(self._netlink, name))

    def recheck(self) -> tuple[str, ...]:
        """The switches of the links that were not looked at yet, or not for longest. Returns what had been changed."""
        changed: list[str] = []
        unread = [*self._unread][:_RECHECKED]
        for name in dict.fromkeys((*unread, *islice(self._opened, _RECHECKED))):
            self._unread.pop(name, None)
            index = self._opened.pop(name, None)
            if index is None:
                continue
            try:
                changed += sysctl.ensure(sysctl.workload_link(name) | sysctl.forwarding(name, True))
            except Transient:
                continue  # the link is gone: the scan that follows sees it
            self._opened[name] = index
        return tuple(changed)

    def read_with_addresses(self) -> dict[str, frozenset[str]]:
        """Everything that is there, by name, with its addresses without length. Raises Transient."""
        names = {link.index: name for name, link in links.read_links(self._netlink).items()}
        found: dict[str, set[str]] = {name: set() for name in names.values()}
        for item in rtnetlink.read_addresses(self._netlink, names, ours=False):
            found.setdefault(item.interface, set()).add(item.address.partition("/")[0])
        return {name: frozenset(addresses) for name, addresses in found.items()}
