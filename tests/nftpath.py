"""A packet's way through one base chain of a table, by what nf_tables does with our words.

A packet keeps the rules that were in force when it entered the base chain, but finds elements of sets as they are at
the moment of the lookup (decision 0087). So rules and elements are two arguments here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, bounds, contains, version_of
from muslin.render.nft.table import Table
from muslin.render.nft.words import (
    Atom,
    ByMap,
    Choose,
    ClearMark,
    ConnectionsOver,
    Counter,
    CtState,
    Element,
    Equal,
    Field,
    InSet,
    Limit,
    Log,
    Mapped,
    Marked,
    Masquerade,
    NameBegins,
    NoTrack,
    OneOf,
    OpensTcp,
    PacketsOver,
    Redirect,
    Reject,
    Rule,
    Ruling,
    SetDscp,
    SetMark,
    SourceNat,
    Span,
    Statement,
    Translate,
    Verdict,
)

LOCAL = 2
_NUMBERS = {"eth0": 2, "eth1": 3, "lo": 1}


@dataclass(frozen=True)
class Packet:
    """`arrives` and `leaves` are interfaces, "" where it begins or ends at the host. `port` is an ICMP type as well."""

    source: Cidr
    destination: Cidr
    protocol: int = 6
    port: int = 80
    source_port: int = 4000
    arrives: str = ""
    leaves: str = ""
    state: CtState = CtState.NEW
    opens: bool = True
    mark: int = 0
    to_host: bool = False
    """Is the destination an address of the host?"""

    def value(self, what: Field) -> Atom | None:
        """None: the packet has no such thing."""
        version, ported = version_of(self.source), self.protocol in PROTOCOLS_WITH_PORTS
        found: dict[Field, Atom | None] = {
            Field.IN_INTERFACE: self.arrives, Field.OUT_INTERFACE: self.leaves, Field.FAMILY: version,
            Field.OUT_INDEX: _NUMBERS.get(self.leaves, 9) if self.leaves else 0, Field.PROTOCOL: self.protocol,
            Field.SOURCE_PORT: self.source_port if ported else None,
            Field.DESTINATION_PORT: self.port if ported else None, Field.CT_STATE: self.state,
            Field.DESTINATION_TYPE: LOCAL if self.to_host else 1, Field.RETURN_INDEX: 9,
            Field.ICMP_TYPE: self.port if self.protocol == 1 else None,
            Field.ICMP_CODE: 0 if self.protocol == 1 else None,
            Field.ICMP6_TYPE: self.port if self.protocol == 58 else None,
            Field.ICMP6_CODE: 0 if self.protocol == 58 else None,
            Field.SOURCE4: self.source if version == 4 else None, Field.SOURCE6: self.source if version == 6 else None,
            Field.DESTINATION4: self.destination if version == 4 else None,
            Field.DESTINATION6: self.destination if version == 6 else None,
        }
        return found[what]


@dataclass(frozen=True)
class Fate:
    """What a base chain has made of a packet."""

    passes: bool
    packet: Packet
    tracked: bool = True
    hidden: str = ""
    """As whose its source is seen."""
    dscp: int | None = None


class _Ends(Exception):
    def __init__(self, ruling: Ruling) -> None:
        super().__init__(ruling)
        self.ruling = ruling


@dataclass
class Way:
    """Through rules of the one table, with elements of the other."""

    rules: Table
    elements: Table
    met: list[str] = field(default_factory=list)
    """Chains and sets, in order."""

    def fate(self, base: str, packet: Packet) -> Fate:
        self._fate = Fate(True, packet)
        self.met.clear()
        if base in self.rules.chains:
            try:
                self._walk(base)
            except _Ends as end:
                if end.ruling is Ruling.DROP:
                    return replace(self._fate, passes=False)
        return self._fate

    def _walk(self, chain: str) -> bool:
        """False: the packet was sent away by a goto, and does not come back to where it came from."""
        self.met.append(chain)
        for rule in (self.rules.chains[chain].rules if chain in self.rules.chains else ()):
            said = self._said(rule)
            match said:
                case None:
                    continue
                case Verdict(ruling=Ruling.RETURN):
                    return True
                case Verdict(ruling=Ruling.JUMP, chain=to):
                    self._walk(to)
                case Verdict(ruling=Ruling.GOTO, chain=to):
                    self._walk(to)
                    return True
                case Verdict(ruling=ruling):
                    raise _Ends(ruling)
        return True

    def _said(self, rule: Rule) -> Verdict | None:
        for statement in rule.statements:
            match statement:
                case Verdict():
                    return statement
                case ByMap(fields=fields, map=name):
                    found = self._found(name, self._key(fields))
                    return found if isinstance(found, Verdict) else None
                case Choose(field=what, choices=choices):
                    return next((to for value, to in choices if self._is(what, value)), None)
                case Masquerade() | SourceNat() | Redirect() | Translate():
                    if not self._translated(statement):
                        return None
                    raise _Ends(Ruling.ACCEPT)
                case Reject():
                    raise _Ends(Ruling.DROP)
                case _ if not self._holds(statement):
                    return None
        return None

    def _holds(self, statement: Statement) -> bool:
        fate = self._fate
        match statement:
            case Counter() | Log() | Limit():
                return True
            case PacketsOver() | ConnectionsOver():
                return False
            case Marked(bit=bit):
                return bool(fate.packet.mark & bit)
            case SetMark(bit=bit):
                self._fate = replace(fate, packet=replace(fate.packet, mark=fate.packet.mark | bit))
            case ClearMark(bit=bit):
                self._fate = replace(fate, packet=replace(fate.packet, mark=fate.packet.mark & ~bit))
            case NoTrack():
                self._fate = replace(fate, tracked=False)
            case SetDscp(value=value):
                self._fate = replace(fate, dscp=value)
            case OpensTcp():
                return fate.packet.protocol == 6 and fate.packet.opens
            case Equal(field=what, value=value, negated=negated):
                mine = fate.packet.value(what)
                return mine is not None and self._is(what, value) is not negated
            case NameBegins(field=what, prefix=prefix):
                return str(fate.packet.value(what)).startswith(prefix)
            case OneOf(fields=fields, elements=elements, negated=negated):
                key = self._key(fields)
                return key is not None and any(_lies_in(key, each) for each in elements) is not negated
            case InSet(fields=fields, set=name, negated=negated):
                key = self._key(fields)
                return key is not None and (self._found(name, key) is not ...) is not negated
            case _:
                raise AssertionError(statement)
        return True

    def _is(self, what: Field, value: Atom) -> bool:
        mine = self._fate.packet.value(what)
        return mine is not None and _lies_in((mine,), value)

    def _key(self, fields: tuple[Field, ...]) -> tuple[Atom, ...] | None:
        found = tuple(self._fate.packet.value(each) for each in fields)
        return None if None in found else found  # type: ignore[return-value]

    def _found(self, name: str, key: tuple[Atom, ...] | None) -> Mapped | type(Ellipsis):  # type: ignore[valid-type]
        """... where there is no such element."""
        self.met.append(name)
        content: Mapping[Element, Mapped] = self.elements.elements.get(name, {})
        if key is None:
            return ...
        if not self.rules.sets[name].interval:
            return content.get(key if len(key) > 1 else key[0], ...)
        return next((value for each, value in content.items() if _lies_in(key, each)), ...)

    def _translated(self, statement: Statement) -> bool:
        packet = self._fate.packet
        match statement:
            case Masquerade(ports=ports):
                self._fate = replace(self._fate, hidden=f"{packet.leaves} {ports}")
            case SourceNat(address=address, ports=ports):
                self._fate = replace(self._fate, hidden=f"{address} {ports}")
            case Redirect(fields=fields, map=name):
                to = self._found(name, self._key(fields))
                if not isinstance(to, tuple):
                    return False
                self._fate = replace(self._fate, packet=replace(packet, destination=Cidr(str(to[0])), port=to[1]))
            case Translate(field=what, map=name):
                to = self._found(name, self._key((what,)))
                if not isinstance(to, str):
                    return False
                if what in (Field.SOURCE4, Field.SOURCE6):
                    self._fate = replace(self._fate, hidden=to)
                else:
                    self._fate = replace(self._fate, packet=replace(packet, destination=Cidr(to)))
        return True


def _lies_in(key: tuple[Atom, ...], element: Element) -> bool:
    wanted = element if isinstance(element, tuple) else (element,)
    return all(_covers(value, mine) for value, mine in zip(wanted, key, strict=True))


def _covers(value: Atom, mine: Atom) -> bool:
    match value:
        case CtState():
            return value is mine
        case Span(first=first, last=last):
            number = bounds(Cidr(mine))[1] if isinstance(mine, str) else mine
            return isinstance(number, int) and first <= number <= last
        case str() if "/" in value and isinstance(mine, str):
            return "/" in mine and version_of(mine) == version_of(value) and contains(Cidr(value), Cidr(mine))
    return value == mine
