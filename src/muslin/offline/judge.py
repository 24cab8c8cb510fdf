"""Expectations against a world: which are met, and for those that are not, a packet that shows it.

Each side of an expectation means one end or many. Pairs of ends that no rule can tell apart are asked once; what is
found of one is true of all of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from muslin.errors import Invalid
from muslin.explain import ends, question
from muslin.explain.decision import Path
from muslin.explain.ends import End
from muslin.explain.packet import Packet
from muslin.intent import Action, GroupId, HostIntent
from muslin.model.fault import Fault
from muslin.model.selector import SelectorError
from muslin.model.selector import parse as parse_selector
from muslin.net import Cidr, parse_cidr, version_of
from muslin.offline import atoms
from muslin.offline.classes import Classes, is_plain
from muslin.offline.expectations import Expectation
from muslin.offline.world import World

EVERYBODY = "*"
MOST_SHOWN = 3
_EVERYWHERE = {4: Cidr("0.0.0.0/0"), 6: Cidr("::/0")}


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A packet that fares otherwise than expected."""

    source: End
    destination: End
    packet: Packet
    found: Path


@dataclass(slots=True)
class Outcome:
    """`pairs`: how many pairs of ends it is about. `against`: of how many it is not true. `shown`: some of those."""

    expectation: Expectation
    pairs: int = 0
    against: int = 0
    shown: list[Counterexample] = field(default_factory=list)
    fault: Fault | None = None

    @property
    def met(self) -> bool:
        return self.fault is None and not self.against


@dataclass(frozen=True, slots=True)
class Alike:
    """Ends that no rule can tell apart. `names` are unique."""

    kind: Hashable
    ends: tuple[End, ...]
    names: frozenset[str]

    @property
    def families(self) -> set[int]:
        return {version_of(address) for address in self.ends[0].addresses}


class Judge:
    def __init__(self, world: World) -> None:
        self._world = world
        self._classes: Classes | None = None
        self._bounds: dict[Hashable, atoms.Bounds] = {}
        self._asked: dict[Hashable, Packet | None] = {}
        self._groups: dict[tuple[str, str], tuple[Alike, ...]] = {}

    def judge(self, expectation: Expectation) -> Outcome:
        outcome = Outcome(expectation)
        try:
            sources = self._ends(expectation.source, expectation.namespace)
            destinations = self._ends(expectation.destination, expectation.namespace)
            for some in sources:
                for others in destinations:
                    self._pairs(expectation, some, others, outcome)
        except (Invalid, ValueError) as error:
            outcome.fault = _fault(expectation, str(error))
            return outcome
        if not outcome.pairs:
            outcome.fault = _fault(expectation, _nothing(expectation, sources, destinations))
        return outcome

    def _pairs(self, expectation: Expectation, some: Alike, others: Alike, outcome: Outcome) -> None:
        """All pairs of ends of these two classes."""
        number = len(some.ends) * len(others.ends) - len(some.names & others.names)
        families = [version for version in (4, 6) if version in some.families and version in others.families
                    and expectation.family in (0, version)]
        if not number or not families:
            return
        outcome.pairs += number
        for version in families:
            against = self._against(expectation, some, others, version)
            if against is None:
                continue
            outcome.against += number
            for source, destination in _different(some, others):
                if len(outcome.shown) == MOST_SHOWN:
                    return
                outcome.shown.append(self._anew(against, source, destination, version))
            return

    def _against(self, expectation: Expectation, some: Alike, others: Alike, version: int) -> Packet | None:
        """A packet that fares otherwise, asked once for all pairs like these."""
        key = (some.kind, others.kind, version, expectation.allow, expectation.services)
        if key not in self._asked:
            source, destination = next(iter(_different(some, others)))
            self._asked[key] = self._search(expectation, source, destination, version)
        return self._asked[key]

    def _search(self, expectation: Expectation, source: End, destination: End, version: int) -> Packet | None:
        wanted = Action.ALLOW if expectation.allow else Action.DENY
        addresses = source.address(version), destination.address(version)
        for packet in atoms.packets(self._bounds_of(source, destination), *addresses, expectation.services,
                                    every=not expectation.allow):
            if question.decided(self._world, source, destination, packet).verdict is not wanted:
                return packet
        return None

    def _anew(self, packet: Packet, source: End, destination: End, version: int) -> Counterexample:
        """The same packet between these two."""
        made = Packet(source.address(version), destination.address(version), packet.protocol, packet.destination_port,
                      packet.source_port, packet.icmp_type, packet.icmp_code)
        return Counterexample(source, destination, made,
                              question.decided(self._world, source, destination, made))

    def _bounds_of(self, source: End, destination: End) -> atoms.Bounds:
        asked: list[tuple[HostIntent, GroupId]] = []
        for end in (source, destination):
            intent = self._world.intent(end.host) if end.host else None
            endpoint = intent.endpoints.get(end.key) if intent is not None and end.key else None
            if intent is not None and endpoint is not None:
                asked += [(intent, endpoint.egress), (intent, endpoint.ingress)]
            elif intent is not None:
                asked += [(intent, group) for group in intent.groups]
        key = frozenset(group for _, group in asked)
        if key not in self._bounds:
            self._bounds[key] = atoms.bounds(asked)
        return self._bounds[key]

    def _kind(self, end: End) -> Hashable:
        """Two ends of one kind are the same to every rule."""
        intent = self._world.intent(end.host) if end.host else None
        endpoint = intent.endpoints.get(end.key) if intent is not None and end.key else None
        groups = (endpoint.ingress, endpoint.egress) if endpoint is not None else (end.sort, end.key)
        return end.host, groups, *(self._address_classes().of(address) for address in
                                   filter(None, (end.address(4), end.address(6))))

    def _alike(self, some: Iterable[End]) -> tuple[Alike, ...]:
        found: dict[Hashable, list[End]] = {}
        for end in some:
            found.setdefault(self._kind(end), []).append(end)
        return tuple(Alike(kind, tuple(ends), frozenset(end.key or end.called for end in ends))
                     for kind, ends in found.items())

    def _address_classes(self) -> Classes:
        if self._classes is None:
            self._classes = Classes(map(self._world.intent, self._world.hosts))
        return self._classes

    # --- who is meant ---------------------------------------------------------------------------------------------

    def _ends(self, text: str, namespace: str) -> tuple[Alike, ...]:
        """Raises Invalid when nobody is meant."""
        key = (text, namespace)
        if key not in self._groups:
            self._groups[key] = self._alike(self._meant(text, namespace))
        return self._groups[key]

    def _meant(self, text: str, namespace: str) -> Iterable[End]:
        known = self._world.directory.known
        if text == EVERYBODY:
            return [ends.workload(one) for one in known]
        inside, slash, rest = text.rpartition("/")
        if rest == EVERYBODY and slash:
            found = [ends.workload(one) for one in known if one.key.namespace == inside]
            if not found:
                raise Invalid(f"there is no workload in namespace {inside!r}: "
                              f"there are {', '.join(sorted({one.key.namespace for one in known})) or 'none'}")
            return found
        if text.startswith("{") or (slash and rest.startswith("{")):
            return self._selected(rest if slash and not text.startswith("{") else text, inside or namespace)
        if text == ends.OUTSIDE:
            return self._outside()
        if (cidr := _prefix(text)) is not None:
            return self._within(cidr)
        bare = namespace and not slash and text not in self._world.hosts and not _is_address(text)
        return [self._world.directory.resolve(f"{namespace}/{text}" if bare else text)]

    def _selected(self, text: str, namespace: str) -> Iterable[End]:
        words = text[1:-1].strip() if text.endswith("}") else ""
        if not words:
            raise Invalid(f"{text!r}: write a selector in braces, such as {{app == 'web'}}")
        try:
            selector = parse_selector(words)
        except SelectorError as error:
            raise Invalid(f"{text}: {error}") from None
        found = [ends.workload(one) for one in self._world.directory.known
                 if selector.matches(one.labels) and namespace in ("", one.key.namespace)]
        if not found:
            raise Invalid(f"no workload has labels like {text}: `muslin matrix --offline -o wide` shows what they have")
        return found

    def _outside(self) -> Iterator[End]:
        """An address of each class that nobody here has."""
        seen = set[Hashable]()
        for version in (4, 6):
            first = ends.far_away(self._world.graph, self._world.hosts, version)
            for address in (first, *self._address_classes().within(_EVERYWHERE[version])):
                if not address or not is_plain(address):
                    continue
                end = self._world.directory.resolve(address)
                kind = self._address_classes().of(address)
                if end.sort == ends.OUTSIDE and kind not in seen:
                    seen.add(kind)
                    yield end

    def _within(self, cidr: Cidr) -> Iterator[End]:
        seen = set[Hashable]()
        for address in self._address_classes().within(cidr):
            end = self._world.directory.resolve(address)
            kind = end.key or (end.host, end.sort, self._address_classes().of(address))
            if kind not in seen:
                seen.add(kind)
                yield end


def _is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdigit()


def _prefix(text: str) -> Cidr | None:
    if "/" not in text or not _is_address(text.partition("/")[0]):
        return None
    return parse_cidr(text)


def _different(some: Alike, others: Alike) -> Iterator[tuple[End, End]]:
    """Pairs of two ends, never one with itself."""
    for source in some.ends:
        for destination in others.ends:
            if (source.key or source.called) != (destination.key or destination.called):
                yield source, destination


def _nothing(expectation: Expectation, sources: Iterable[Alike], destinations: Iterable[Alike]) -> str:
    """Why no pair of ends is left."""
    families = [set[int]().union(*(one.families for one in some)) for some in (sources, destinations)]
    if families[0].isdisjoint(families[1]) or any(expectation.family not in {0, *some} for some in families):
        return "no pair of ends has an address of one family: say other ends, or leave ipv4 and ipv6 out"
    return "both sides mean the same workload: an expectation is about two"


def _fault(expectation: Expectation, what: str) -> Fault:
    return Fault(what=f"{expectation.title}: {what}", why="", mend="", file=expectation.file, line=expectation.line,
                 column=1)


