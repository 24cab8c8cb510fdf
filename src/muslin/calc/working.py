"""A set that changes member by member.

The intent holds frozen sets, and a frozen set of 100,000 addresses takes 3 ms to copy. So the agent keeps a set it can
change, remembers for each member that was touched whether it was there at the last flush, and freezes the whole only
for somebody who asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from muslin.intent import AddressSet, MemberChange, PortMember, PortSet, SetId
from muslin.net import Cidr

AnySet = AddressSet | PortSet


class WorkingSet:
    """`present` False: withdrawn since the last flush, so that it has no members. `fresh`: made since then."""

    __slots__ = ("_addresses", "_before", "_ports", "fresh", "id", "kind", "present")

    def __init__(self, given: AnySet) -> None:
        self.id: SetId = given.id
        self.kind = type(given)
        self.present = self.fresh = True
        self._addresses: set[Cidr] = set()
        self._ports: set[PortMember] = set()
        self._before: dict[Cidr | PortMember, bool] = {}
        self.replace(given)

    def replace(self, given: AnySet | None) -> None:
        """From now on exactly these members; None: it is withdrawn."""
        self.present = given is not None
        match given:
            case PortSet(members=ports):
                self.change(MemberChange(ports_added=ports - self._ports,
                                         ports_removed=frozenset(self._ports - ports)))
            case AddressSet(members=addresses):
                self.change(MemberChange(added=addresses - self._addresses,
                                         removed=frozenset(self._addresses - addresses)))
            case None:
                self.change(MemberChange(removed=frozenset(self._addresses), ports_removed=frozenset(self._ports)))

    def change(self, change: MemberChange) -> None:
        self._note(change.added | change.removed, self._addresses)
        self._note(change.ports_added | change.ports_removed, self._ports)
        self._addresses -= change.removed
        self._addresses |= change.added
        self._ports -= change.ports_removed
        self._ports |= change.ports_added

    def settle(self) -> MemberChange | None:
        """What changed since the last call."""
        joined = {item for item, was in self._before.items() if not was and self._has(item)}
        left = {item for item, was in self._before.items() if was and not self._has(item)}
        self._before.clear()
        self.fresh = False
        if not joined and not left:
            return None
        return MemberChange(
            added=frozenset(item for item in joined if isinstance(item, str)),
            removed=frozenset(item for item in left if isinstance(item, str)),
            ports_added=frozenset(item for item in joined if not isinstance(item, str)),
            ports_removed=frozenset(item for item in left if not isinstance(item, str)),
        )

    def value(self) -> AnySet:
        if self.kind is AddressSet:
            return AddressSet(id=self.id, members=frozenset(self._addresses))
        return PortSet(id=self.id, members=frozenset(self._ports))

    def _has(self, item: Cidr | PortMember) -> bool:
        return item in self._addresses if isinstance(item, str) else item in self._ports

    def _note(self, items: Iterable[Cidr | PortMember], now: set[Cidr] | set[PortMember]) -> None:
        for item in items:
            self._before.setdefault(item, item in now)
