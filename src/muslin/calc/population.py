"""Everything that a selector can mean: endpoints and network sets, with their classes and their places.

A resource becomes a member of the class of its labels, at a place: addresses, and for a workload an interface of its
host. Most changes touch nothing else. Whenever a member's addresses, ports or class change, the sets hear of it before
it happens; whoever must tell the member's host hears of it after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from muslin.calc.classes import Classes, Inherited
from muslin.calc.endpoints import Description, describe, salvaged
from muslin.calc.faults import Faults
from muslin.calc.identity import endpoint_key, resource_key
from muslin.calc.illegible import Illegible
from muslin.calc.members import LabelClass, Member, Sort
from muslin.calc.places import Places
from muslin.calc.selectors import SelectorIndex
from muslin.calc.sets import Sets
from muslin.intent import EndpointKey
from muslin.model.endpoint import HostEndpoint, WorkloadEndpoint
from muslin.model.ipam import Block
from muslin.model.meta import Resource, ResourceKey
from muslin.model.policy import GlobalNetworkSet, NetworkSet
from muslin.net import Cidr

Value = Resource | Block | Illegible | None


class Population:
    def __init__(self, index: SelectorIndex, sets: Sets, faults: Faults, inherited: Inherited,
                 soil: Callable[[Member], None]) -> None:
        """`soil` is told of each member that its host may have to hear about."""
        self._faults = faults
        self._sets = sets
        self._soil = soil
        self._classes = Classes(index, inherited)
        self._members: dict[EndpointKey, Member] = {}
        self._host_endpoints: dict[str, dict[EndpointKey, Member]] = {}
        """Of each host."""
        self._keys: str | None = None
        """All of them, sorted, a line each; None: somebody came or went since."""
        self.places = Places(self._before, self._rights_changed)

    def update(self, key: ResourceKey, value: Value) -> None:
        found, fault = _read(value)
        self._faults.note(key, "object", fault)
        name = endpoint_key(key)
        old = self._members.get(name)
        if found is None or not found.present:
            if old is not None:
                self._remove(old)
                self._classes.release(old.label_class)
            return
        label_class = self._classes.get(found.sort, found.own, found.profiles)
        if old is None:
            self._add(_member(name, label_class, found))
        elif (old.claims, old.host, old.interface) == (found.claims, found.host, found.interface):
            self._alter(old, label_class, found)
        else:
            self._remove(old)
            self._add(_member(name, label_class, found))
            self._classes.release(old.label_class)

    def relabel(self, profile: str) -> Iterator[LabelClass]:
        """A profile hands down other labels. Yields the classes that other policies select now."""
        for label_class in self._classes.with_profile(profile):
            labels, entries = self._classes.matches_anew(label_class)
            if labels == label_class.labels:
                continue
            moved = label_class.entries ^ entries
            for member in label_class.members.values():
                self._sets.before(moved, member.held, member.ports, self.places)
            self._classes.relabel(label_class, labels, entries)
            if any(entry.policies for entry in moved):
                yield label_class

    def get(self, key: EndpointKey) -> Member | None:
        return self._members.get(key)

    def local(self, key: EndpointKey, host: str) -> Member | None:
        """The workload, if its interface is its own, or the host endpoint that guards something, on this host."""
        member = self._members.get(key)
        if member is None or member.host != host:
            return None
        own = _guards(member) if member.label_class.sort is Sort.HOST else self.places.is_local(member)
        return member if own else None

    def at(self, host: str) -> Iterable[Member]:
        """Workloads that have an interface of this host, and its host endpoints."""
        return (*self.places.at(host), *self._host_endpoints.get(host, {}).values())

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def search(self, part: str, end: str) -> Iterator[Member]:
        """Those whose key has one text in it, or another at its end, in key order. All keys are one text, in which the
        interpreter finds a word as fast as it can read; a walk over 100,000 keys takes 20 times as long."""
        if self._keys is None:
            self._keys = "\n".join(["", *self._members, ""])
        starts = {self._keys.rfind("\n", 0, place) for place in (
            *_places(self._keys, part), *_places(self._keys, f"{end}\n"))}
        found = [EndpointKey(self._keys[start + 1:self._keys.index("\n", start + 1)]) for start in starts]
        yield from map(self._members.__getitem__, sorted(found))

    def classes(self) -> Iterator[LabelClass]:
        return iter(self._classes)

    def statistics(self) -> dict[str, int]:
        return {"members": len(self._members), "classes": len(self._classes),
                "hosts with endpoints": len(self._host_endpoints), **self.places.statistics()}

    def _add(self, member: Member) -> None:
        self._members[member.key] = member
        self._keys = None
        member.label_class.members[member.key] = member
        if _guards(member):
            self._host_endpoints.setdefault(member.host, {})[member.key] = member
        self.places.add(member)
        self._soil(member)

    def _remove(self, member: Member) -> None:
        self._soil(member)
        if _guards(member):
            del self._host_endpoints[member.host][member.key]
            if not self._host_endpoints[member.host]:
                del self._host_endpoints[member.host]
        del self._members[member.key]
        self._keys = None
        self.places.remove(member)
        del member.label_class.members[member.key]
        self._faults.note(resource_key(member.key), "place", None)

    def _alter(self, member: Member, label_class: LabelClass, found: Description) -> None:
        """Something of it changed, but not where it is."""
        old = member.label_class
        if label_class is not old or found.ports != member.ports:
            for entries in (old.entries, label_class.entries):
                for ports in (member.ports, found.ports):
                    self._sets.before(entries, member.held, ports, self.places)
            member.ports = found.ports
            del old.members[member.key]
            label_class.members[member.key] = member
            member.label_class = label_class
            self._classes.release(old)
        member.mac, member.spoofable, member.nat, member.qos = found.mac, found.spoofable, found.nat, found.qos
        member.published, member.gateway_v6 = found.published, found.gateway_v6
        self._soil(member)

    def _before(self, member: Member, addresses: tuple[Cidr, ...]) -> None:
        self._sets.before(member.label_class.entries, addresses, member.ports, self.places)

    def _rights_changed(self, member: Member) -> None:
        """Somebody else on its host came or went who claims the same."""
        self._soil(member)
        interface, addresses = self.places.rivals(member)
        faults = []
        if interface is not None:
            faults.append(f"{member.interface} on {member.host} belongs to {resource_key(interface.key)}; "
                          "give it another interface. Until then it is as if it did not exist")
        elif addresses:
            faults += [f"{address} on {member.host} belongs to {resource_key(addresses[address].key)}; "
                       "give it another address. Until then it is without it" for address in sorted(addresses)]
        self._faults.note(resource_key(member.key), "place", "; ".join(faults) or None)


def _guards(member: Member) -> bool:
    """Is it a host endpoint, and can its host know which interface it is?"""
    return member.label_class.sort is Sort.HOST and bool(member.host and (member.interface or member.claims))


def _read(value: Value) -> tuple[Description | None, str | None]:
    """(what can be used of it, what is wrong with it)"""
    match value:
        case WorkloadEndpoint() | HostEndpoint() | NetworkSet() | GlobalNetworkSet():
            found: Description | None = describe(value)
        case Illegible():
            found = salvaged(value)
            if found is None:
                return None, value.absent
        case _:
            found = None
    return found, found.fault if found is not None else None


def _member(key: EndpointKey, label_class: LabelClass, found: Description) -> Member:
    return Member(
        key=key, label_class=label_class, claims=found.claims, host=found.host, interface=found.interface,
        mac=found.mac, ports=found.ports, spoofable=found.spoofable, nat=found.nat, qos=found.qos,
        published=found.published, gateway_v6=found.gateway_v6,
    )


def _places(text: str, word: str) -> Iterator[int]:
    place = text.find(word)
    while place >= 0:
        yield place
        place = text.find(word, place + 1)
