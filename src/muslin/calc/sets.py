"""Members of the sets that rules speak of, and what joined or left them since the last flush.

A set is a selector (and, for named ports, a port's name and protocol). What it holds is not stored: an address is in it
as long as one of its holders is in a class that the selector matches. That is the reference count, and it costs
nothing per member. The whole value is put together when somebody needs it, and then shared by all hosts until the next
change.

Sets of services are opened and closed here too, but what they hold is kept in `services`.

To say what changed, the set notes before a change whether the item was in it (`touch`), and compares at the flush.
An item that left and came back in between was never away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from muslin.calc.definitions import AnySet, SetDefinition
from muslin.calc.members import LabelClass, Member, NamedPort
from muslin.calc.places import Places
from muslin.calc.selectors import Entry, SelectorIndex
from muslin.calc.services import Services, ServiceSet
from muslin.intent import AddressSet, MemberChange, PortMember, PortSet, SetId
from muslin.net import Cidr

if TYPE_CHECKING:
    from muslin.calc.views import View

T = TypeVar("T")


class ActiveSet:
    """A set that at least one subscribed host uses."""

    __slots__ = ("_addresses", "_ports", "_value", "definition", "entry", "users")

    def __init__(self, definition: SetDefinition, entry: Entry) -> None:
        self.definition = definition
        self.entry = entry
        self.users: set[View] = set()
        self._addresses: dict[Cidr, bool] = {}
        self._ports: dict[PortMember, bool] = {}
        self._value: AnySet | None = None

    @property
    def touched(self) -> bool:
        return bool(self._addresses or self._ports)

    def touch(self, addresses: Iterable[Cidr], ports: tuple[NamedPort, ...], places: Places) -> None:
        """These may be about to join or leave. Call it while the old state is still true."""
        self._value = None
        if not self.definition.port:
            for address in addresses:
                if address not in self._addresses:
                    self._addresses[address] = self._has_address(address, places)
            return
        for number in _numbers(self.definition, ports):
            for address in addresses:
                item = (address, self.definition.protocol, number)
                if item not in self._ports:
                    self._ports[item] = self._has_port(item, places)

    def settle(self, places: Places) -> MemberChange | None:
        """What changed since the last call."""
        joined, left = _difference(self._addresses, lambda address: self._has_address(address, places))
        ports_joined, ports_left = _difference(self._ports, lambda item: self._has_port(item, places))
        self._addresses, self._ports = {}, {}
        if not (joined or left or ports_joined or ports_left):
            return None
        return MemberChange(added=joined, removed=left, ports_added=ports_joined, ports_removed=ports_left)

    def value(self) -> AnySet:
        if self._value is None:
            self._value = value(self.definition, self.entry.classes)
        return self._value

    def among(self, addresses: Collection[Cidr], places: Places) -> AnySet:
        """What of its value is one of these addresses or prefixes, without looking at all the rest."""
        if not self.definition.port:
            return AddressSet(id=self.definition.id, members=frozenset(
                address for address in addresses if self._has_address(address, places)))
        return PortSet(id=self.definition.id, members=frozenset(
            (address, self.definition.protocol, number) for address in addresses for holder in places.holders(address)
            if holder.label_class in self.entry.classes for number in _numbers(self.definition, holder.ports)))

    def _has_address(self, address: Cidr, places: Places) -> bool:
        return any(holder.label_class in self.entry.classes for holder in places.holders(address))

    def _has_port(self, item: PortMember, places: Places) -> bool:
        address, _, number = item
        return any(
            holder.label_class in self.entry.classes and number in _numbers(self.definition, holder.ports)
            for holder in places.holders(address)
        )


class Sets:
    """The sets in use. Every change of who holds what, or of what a selector matches, is announced here before it
    happens."""

    def __init__(self, index: SelectorIndex, services: Services) -> None:
        self._index = index
        self._services = services
        self._active: dict[SetId, ActiveSet | ServiceSet] = {}
        self._touched: set[ActiveSet] = set()

    def before(self, entries: Iterable[Entry], addresses: Iterable[Cidr], ports: tuple[NamedPort, ...],
               places: Places) -> None:
        """Sets of these selectors may gain or lose these addresses, with these named ports."""
        if not self._active:
            return
        for entry in entries:
            for active in entry.sets:
                active.touch(addresses, ports, places)
                self._touched.add(active)

    def settle(self, places: Places) -> dict[SetId, MemberChange]:
        changes = {active.definition.id: active.settle(places) for active in self._touched}
        changes.update((opened.definition.id, opened.settle()) for opened in self._services.touched)
        self._touched.clear()
        self._services.touched.clear()
        return {set_id: change for set_id, change in changes.items() if change is not None}

    def open(self, definition: SetDefinition, user: View) -> ActiveSet | ServiceSet:
        active = self._active.get(definition.id)
        if active is None:
            active = self._services.open(definition) if definition.service else self._opened(definition)
            self._active[definition.id] = active
        active.users.add(user)
        return active

    def close(self, set_id: SetId, user: View) -> None:
        active = self._active[set_id]
        active.users.discard(user)
        if active.users:
            return
        del self._active[set_id]
        if isinstance(active, ServiceSet):
            self._services.close(active)
            return
        self._touched.discard(active)
        active.entry.sets.discard(active)
        self._index.release(active.entry)

    def _opened(self, definition: SetDefinition) -> ActiveSet:
        entry = self._index.entry(definition.selector)
        active = ActiveSet(definition, entry)
        entry.sets.add(active)
        return active

    def get(self, set_id: SetId) -> ActiveSet | ServiceSet:
        return self._active[set_id]

    def __len__(self) -> int:
        return len(self._active)


def value(definition: SetDefinition, classes: Iterable[LabelClass]) -> AnySet:
    """The whole set, from the classes that its selector matches."""
    members = (member for label_class in classes for member in label_class.members.values())
    if not definition.port:
        return AddressSet(id=definition.id, members=frozenset(
            address for member in members for address in member.held))
    return PortSet(id=definition.id, members=frozenset(_port_members(definition, members)))


def difference(old: AnySet, new: AnySet) -> MemberChange | None:
    """What leads from one value of a set to another; None: nothing."""
    match old, new:
        case PortSet(members=before), PortSet(members=after) if before != after:
            return MemberChange(ports_added=after - before, ports_removed=before - after)
        case AddressSet(members=before), AddressSet(members=after) if before != after:
            return MemberChange(added=after - before, removed=before - after)
    return None


def _port_members(definition: SetDefinition, members: Iterable[Member]) -> Iterator[PortMember]:
    for member in members:
        for number in _numbers(definition, member.ports):
            for address in member.held:
                yield address, definition.protocol, number


def _numbers(definition: SetDefinition, ports: tuple[NamedPort, ...]) -> set[int]:
    return {number for name, protocol, number in ports if name == definition.port and protocol == definition.protocol}


def _difference(before: dict[T, bool], holds: Callable[[T], bool]) -> tuple[frozenset[T], frozenset[T]]:
    joined = frozenset(item for item, was in before.items() if not was and holds(item))
    return joined, frozenset(item for item, was in before.items() if was and not holds(item))
