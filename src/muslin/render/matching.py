"""One rule of a policy, for one family, as the rows of matches that a kernel can test.

nftables and iptables only know AND within a rule. A rule of the intent has three places where it says OR: several sets
for one address set (nftables: hosts in a hash, prefixes in intervals), port ranges or named ports, and not-forms of a
port or an ICMP type when the protocol is open (then packets without ports match too). Each becomes a clause with
alternatives, and a rule becomes one row for every combination, in practice nearly always one.

    clause = alternatives, one of which must hold;    rule = all its clauses;    row = one alternative of each

The law for families (calico-compatible): a rule is rendered for a family only if none of its lists of prefixes loses
all its entries there. So a rule with only v4 prefixes, also as a not-form, never matches a v6 packet.
Alternatives may overlap; that is harmless for Allow, Deny and Pass, and made impossible for Log, which must speak once.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, product
from typing import Protocol

import msgspec

from muslin.errors import Broken
from muslin.intent import Action, Icmp, Match, Rule, SetId
from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, version_of
from muslin.render.fields import Atom, Equal, Field, InSet, NameBegins, OneOf, Span
from muslin.render.fields import Match as Test
from muslin.render.prefixes import joined, maximal

Row = tuple[Test, ...]
Clause = tuple[Row, ...]

ALWAYS: Clause = ((),)
NEVER: Clause = ()
EVERYTHING = frozenset({"0.0.0.0/0", "::/0"})
_ANY_PROTOCOL = frozenset(range(256))
_PORTED = tuple(sorted(PROTOCOLS_WITH_PORTS))


class SetShape(msgspec.Struct, frozen=True):
    """What a rule must know of a set besides its name. `nets`: the families of which it holds prefixes."""

    ports: bool = False
    nets: frozenset[int] = frozenset()


class Names(Protocol):
    """What a backend calls the sets that stand for one set of the intent."""

    def host_set(self, set_id: SetId, family: int, /) -> str: ...

    def net_set(self, set_id: SetId, family: int, /) -> str: ...

    def port_set(self, set_id: SetId, family: int, /) -> str: ...


class Scope(msgspec.Struct, frozen=True):
    """For which family a rule is read, which sets there are, and what they are called. `unspoken`: no address set holds
    anything of that family."""

    family: int
    shapes: Mapping[SetId, SetShape]
    names: Names
    unspoken: bool = False


class Side(msgspec.Struct, frozen=True):
    """The fields of one end of the packet, in one family."""

    address: Field
    port: Field


class Words(msgspec.Struct, frozen=True):
    """The fields and numbers of one family."""

    source: Side
    destination: Side
    icmp: int
    icmp_type: Field
    icmp_code: Field


WORDS = {
    4: Words(
        Side(Field.SOURCE4, Field.SOURCE_PORT), Side(Field.DESTINATION4, Field.DESTINATION_PORT),
        1, Field.ICMP_TYPE, Field.ICMP_CODE,
    ),
    6: Words(
        Side(Field.SOURCE6, Field.SOURCE_PORT), Side(Field.DESTINATION6, Field.DESTINATION_PORT),
        58, Field.ICMP6_TYPE, Field.ICMP6_CODE,
    ),
}


def missing_sets(rule: Rule, shapes: Mapping[SetId, SetShape]) -> tuple[SetId, ...]:
    """Sets that the rule names and that are not there, or are of the wrong sort."""
    if not named_sets(rule):
        return ()
    addresses = [*_sets(rule.source), *_sets(rule.destination)]
    ports = [*_port_sets(rule.source), *_port_sets(rule.destination)]
    return tuple(s for s in addresses if s not in shapes or shapes[s].ports) + tuple(
        s for s in ports if s not in shapes or not shapes[s].ports
    )


def named_sets(rule: Rule) -> frozenset[SetId]:
    """Every set that the rule names."""
    one, other = rule.source, rule.destination
    return frozenset(
        one.sets + one.not_sets + one.named_ports + one.not_named_ports
        + other.sets + other.not_sets + other.named_ports + other.not_named_ports
    )


def rows(rule: Rule, scope: Scope) -> tuple[Row, ...]:
    """The rows that together match what the rule matches in this family; none when it can match nothing there."""
    if rule.ip_version not in (None, scope.family) or not _speaks(rule, scope.family):
        return ()
    if scope.unspoken and (rule.source.sets or rule.destination.sets):
        return ()
    words = WORDS[scope.family]
    clauses = (
        _protocol(rule),
        _ports_by_number(rule),
        _icmp(rule.icmp, rule.protocol, words),
        _not_icmp(rule.not_icmp, rule.protocol, words),
        _not_ports(rule, scope, words),
        _ports(rule.source, words.source, scope),
        _ports(rule.destination, words.destination, scope),
        *_addresses(rule.source, words.source, scope),
        *_addresses(rule.destination, words.destination, scope),
    )
    if rule.action is Action.LOG:
        clauses = tuple(_exclusive(clause) for clause in clauses)
    speaking = [clause for clause in clauses if clause is not ALWAYS]
    found = (_settled(tuple(chain.from_iterable(parts))) for parts in product(*speaking))
    return tuple(row for row in found if row is not None)


def _sets(match: Match) -> tuple[SetId, ...]:
    return match.sets + match.not_sets


def _port_sets(match: Match) -> tuple[SetId, ...]:
    return match.named_ports + match.not_named_ports


def _speaks(rule: Rule, family: int) -> bool:
    lists = (rule.source.nets, rule.source.not_nets, rule.destination.nets, rule.destination.not_nets)
    return all(not nets or any(version_of(net) == family for net in nets) for nets in lists)


def _protocol(rule: Rule) -> Clause:
    if rule.protocol is None:
        return ALWAYS if rule.not_protocol is None else ((Equal(Field.PROTOCOL, rule.not_protocol, True),),)
    if rule.protocol == rule.not_protocol:
        return NEVER
    return ((Equal(Field.PROTOCOL, rule.protocol),),)


def _ports_by_number(rule: Rule) -> Clause:
    """A port is looked at only in protocols that have ports."""
    if not any(match.ports or match.named_ports for match in (rule.source, rule.destination)):
        return ALWAYS
    if rule.protocol is None:
        return ((_ported(),),)
    return ALWAYS if rule.protocol in PROTOCOLS_WITH_PORTS else NEVER


def _icmp(icmp: Icmp | None, protocol: int | None, words: Words) -> Clause:
    if icmp is None:
        return ALWAYS
    if protocol not in (None, words.icmp):
        return NEVER
    code = () if icmp.code is None else (Equal(words.icmp_code, icmp.code),)
    return ((Equal(Field.PROTOCOL, words.icmp), Equal(words.icmp_type, icmp.type), *code),)


def _not_icmp(icmp: Icmp | None, protocol: int | None, words: Words) -> Clause:
    if icmp is None or protocol not in (None, words.icmp):
        return ALWAYS
    test: Test
    if icmp.code is None:
        test = Equal(words.icmp_type, icmp.type, True)
    else:
        test = OneOf((words.icmp_type, words.icmp_code), ((icmp.type, icmp.code),), True)
    is_icmp = Equal(Field.PROTOCOL, words.icmp)
    return ((is_icmp, test),) if protocol else ((Equal(Field.PROTOCOL, words.icmp, True),), (is_icmp, test))


def _not_ports(rule: Rule, scope: Scope, words: Words) -> Clause:
    """Both sides at once: a packet without ports has none of the forbidden ones."""
    if not any(match.not_ports or match.not_named_ports for match in (rule.source, rule.destination)):
        return ALWAYS
    tests: list[Test] = []
    for match, side in ((rule.source, words.source), (rule.destination, words.destination)):
        if match.not_ports:
            tests.append(_in_ranges(side.port, match.not_ports, negated=True))
        tests += [
            InSet((side.address, Field.PROTOCOL, side.port), scope.names.port_set(name, scope.family), True)
            for name in match.not_named_ports
        ]
    if rule.protocol is not None and rule.protocol not in PROTOCOLS_WITH_PORTS:
        return ALWAYS
    if rule.protocol is not None:
        return (tuple(tests),)
    return ((_ported(negated=True),), (_ported(), *tests))


def _addresses(match: Match, side: Side, scope: Scope) -> tuple[Clause, ...]:
    if not (match.nets or match.not_nets or match.sets or match.not_sets):
        return ()
    return (
        _nets(side.address, [net for net in match.nets if version_of(net) == scope.family]),
        _not_nets(side.address, [net for net in match.not_nets if version_of(net) == scope.family]),
        *(_in_address_set(side.address, name, scope) for name in match.sets),
        *(_not_in_address_set(side.address, name, scope) for name in match.not_sets),
    )


def _ports(match: Match, side: Side, scope: Scope) -> Clause:
    if not match.ports and not match.named_ports:
        return ALWAYS
    by_number: Clause = ((_in_ranges(side.port, match.ports),),) if match.ports else ()
    by_name = tuple(
        (InSet((side.address, Field.PROTOCOL, side.port), scope.names.port_set(name, scope.family)),)
        for name in match.named_ports
    )
    return by_number + by_name


def _nets(field: Field, nets: list[Cidr]) -> Clause:
    if not nets or not EVERYTHING.isdisjoint(nets):
        return ALWAYS
    return ((_in_prefixes(field, nets, negated=False),),)


def _not_nets(field: Field, nets: list[Cidr]) -> Clause:
    if not nets:
        return ALWAYS
    return NEVER if not EVERYTHING.isdisjoint(nets) else ((_in_prefixes(field, nets, negated=True),),)


def _in_address_set(field: Field, name: SetId, scope: Scope) -> Clause:
    return tuple((InSet((field,), part),) for part in _parts(name, scope))


def _not_in_address_set(field: Field, name: SetId, scope: Scope) -> Clause:
    return (tuple(InSet((field,), part, True) for part in _parts(name, scope)),)


def _parts(name: SetId, scope: Scope) -> tuple[str, ...]:
    hosts = scope.names.host_set(name, scope.family)
    return (hosts, scope.names.net_set(name, scope.family)) if scope.family in scope.shapes[name].nets else (hosts,)


def _ported(*, negated: bool = False) -> Test:
    return OneOf((Field.PROTOCOL,), _PORTED, negated)


def _in_ranges(field: Field, ranges: tuple[tuple[int, int], ...], *, negated: bool = False) -> Test:
    spans: tuple[Atom, ...] = tuple(
        first if first == last else Span(first, last) for first, last in joined(ranges)
    )
    return _one_of(field, spans, negated=negated)


def _in_prefixes(field: Field, nets: list[Cidr], *, negated: bool) -> Test:
    return _one_of(field, maximal(nets), negated=negated)


def _one_of(field: Field, values: tuple[Atom, ...], *, negated: bool) -> Test:
    return Equal(field, values[0], negated) if len(values) == 1 else OneOf((field,), values, negated)


def _exclusive(clause: Clause) -> Clause:
    """The same clause, each alternative only where no earlier one holds. The earlier ones are single tests here, or
    start with the test that tells them apart."""
    found: list[Row] = []
    for place, row in enumerate(clause):
        earlier = [other[0] for other in clause[:place] if len(other) == 1]
        found.append((*row, *(_opposite(test) for test in earlier if _opposite(test) not in row)))
    return tuple(found)


def _opposite(test: Test) -> Test:
    if isinstance(test, NameBegins):
        raise Broken(f"{test} has no opposite")
    return msgspec.structs.replace(test, negated=not test.negated)


def _settled(row: Row) -> Row | None:
    """The row with one test for the protocol, in front; None when no protocol is left. nft refuses rows that contradict
    themselves about the protocol, and several clauses speak of it."""
    of_protocol = [test for test in row if _is_of_protocol(test)]
    others = [test for test in row if not _is_of_protocol(test)]
    if len(of_protocol) < 2:
        return (*of_protocol, *others)
    allowed = set.intersection(*(_protocols(test) for test in of_protocol))
    if not allowed:
        return None
    negated = len(allowed) > 128
    numbers = _ANY_PROTOCOL - allowed if negated else allowed
    return (_one_of(Field.PROTOCOL, tuple(sorted(numbers)), negated=negated), *others)


def _is_of_protocol(test: Test) -> bool:
    match test:
        case Equal(field=Field.PROTOCOL) | OneOf(fields=(Field.PROTOCOL,)):
            return True
    return False


def _protocols(test: Test) -> set[int]:
    listed = (test.value,) if isinstance(test, Equal) else test.elements if isinstance(test, OneOf) else ()
    numbers = {number for number in listed if isinstance(number, int)}
    negated = isinstance(test, Equal | OneOf) and test.negated
    return set(_ANY_PROTOCOL - numbers) if negated else numbers
