"""Interfaces of the host itself that a HostEndpoint covers: where they are asked, and what is behind it.

    fresh-in        before all other: "accepted already" is taken from the packet, so that nobody brings it along
    untracked-in    raw prerouting: failsafes and their answers, then untracked-in4, untracked-in6
    pre-dnat        prerouting behind conntrack, before any translation: established, failsafes, pre-dnat4, pre-dnat6
    input           (see hooks, for workloads) remembered, established, failsafes, host-in4, host-in6
    fresh-out       raw output, as fresh-in
    untracked-out   raw output, as untracked-in
    output          remembered; to workloads: nothing; established, failsafes, host-out4, host-out6
    host-forward    behind `forward`, where workloads' policy was asked: established, remembered; forward-in4,
                    forward-in6, and what may come in goes on to forward-out4, forward-out6

Each map leads from an interface to its policy list; an interface is one element in each, never a chain. What has no
element, the loopback apart, meets the list of `*`, if there is one; so beside a `*` every covered interface has an
element, which leads on where it has no list of its own. In input and output workloads are dealt with before.
What is forwarded is asked in a base chain of its own: there accept means "as far as I am concerned", and the order does
not matter where all must allow. In one chain with workloads' policy it would be more than sixteen chains in a row.
None of it is there, neither map nor rule nor hook, unless some interface has something to be asked there.

"Accepted already" is one bit of the mark. It is taken from every packet before the first hook of ours that it meets,
and at the last: nobody else sees it set behind us. The hooks between do not take it away: while they change, the old
and the new of one are asked one after the other (see steps), and each remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from muslin.intent import ALL_INTERFACES, EndpointKey, Group, GroupId, HostInterface, Settings
from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, version_of
from muslin.render.matching import WORDS
from muslin.render.nft import cutting, names
from muslin.render.nft.extent import ADDRESS, Extent, of_family
from muslin.render.nft.places import FAMILIES, FORWARDED, Gate, Manner, manner_of
from muslin.render.nft.words import (
    ACCEPT,
    DROP,
    RETURN,
    ByMap,
    Chain,
    Choose,
    ClearMark,
    Counter,
    CtState,
    Element,
    Equal,
    Field,
    Hook,
    InSet,
    Mapped,
    Marked,
    NamedSet,
    Rule,
    Type,
    Verdict,
    goto,
    jump,
)
from muslin.render.prefixes import maximal

FRESH_PRIORITY, RAW_PRIORITY, PRE_DNAT_PRIORITY, HOST_FORWARD_PRIORITY = -302, -300, -150, 5
"""Behind each early one is room for its instance of another state, see `early`: never are two asked in no order."""
COVERED = "covered"
FAILSAFE_IN = {4: "failsafe-in4", 6: "failsafe-in6"}
FAILSAFE_OUT = {4: "failsafe-out4", 6: "failsafe-out6"}
INVALID_IN, INVALID_OUT = "invalid-in", "invalid-out"
LOOPBACK = "lo"


class Slot(msgspec.Struct, frozen=True):
    """One of the policy lists of an interface: its field in the intent, the gate, and the end that it is found by.
    `always`: an interface without such a list is shut, not passed by."""

    map: str
    field: str
    gate: Gate
    end: Field
    always: bool = False

    def of(self, family: int) -> str:
        return f"{self.map}{family}"

    def group(self, interface: HostInterface) -> GroupId:
        return GroupId(getattr(interface, self.field))

    def passing(self, family: int) -> Verdict:
        """What befalls a covered interface that has no list here, where others have."""
        if self.always:
            return DROP
        return goto(FORWARDED[family]) if self.gate is Gate.FORWARD_INGRESS else ACCEPT


IN = Slot("host-in", "ingress", Gate.INGRESS, Field.IN_INTERFACE, always=True)
OUT = Slot("host-out", "egress", Gate.HOST_EGRESS, Field.OUT_INTERFACE, always=True)
FORWARD_IN = Slot("forward-in", "forward_ingress", Gate.FORWARD_INGRESS, Field.IN_INTERFACE)
FORWARD_OUT = Slot("forward-out", "forward_egress", Gate.HOST_EGRESS, Field.OUT_INTERFACE)
UNTRACKED_IN = Slot("untracked-in", "untracked_ingress", Gate.UNTRACKED_INGRESS, Field.IN_INTERFACE)
UNTRACKED_OUT = Slot("untracked-out", "untracked_egress", Gate.UNTRACKED_EGRESS, Field.OUT_INTERFACE)
PRE_DNAT = Slot("pre-dnat", "pre_dnat", Gate.PRE_DNAT, Field.IN_INTERFACE)
SLOTS = (IN, OUT, FORWARD_IN, FORWARD_OUT, UNTRACKED_IN, UNTRACKED_OUT, PRE_DNAT)


def sets() -> tuple[NamedSet, ...]:
    """All are optional: see book."""
    maps = (NamedSet(slot.of(family), (Type.INTERFACE,), verdicts=True) for slot in SLOTS for family in FAMILIES)
    failsafes = (
        NamedSet(where[family], (ADDRESS[family], Type.PROTOCOL, Type.PORT), interval=True)
        for where in (FAILSAFE_IN, FAILSAFE_OUT) for family in FAMILIES
    )
    return (NamedSet(COVERED, (Type.INTERFACE,)), *maps, *failsafes)


class Covering(msgspec.Struct, frozen=True):
    """What the host interfaces come to: elements, what befalls the rest, and who asks which group where."""

    elements: Mapping[tuple[str, Element], Mapped] = {}
    rest: Mapping[str, Verdict] = {}
    uses: frozenset[tuple[GroupId, Gate]] = frozenset()


def covering(
    interfaces: Mapping[EndpointKey, HostInterface], groups: Mapping[GroupId, Group], settings: Settings
) -> Covering:
    """Should two claim an interface, the smaller key has it. A group that is not there denies."""
    held: dict[str, HostInterface] = {}
    for key in sorted(interfaces):
        held.setdefault(interfaces[key].interface, interfaces[key])
    others = held.pop(ALL_INTERFACES, None)
    named = {name: one for name, one in held.items() if names.usable_interface(name)}
    if others is None and not named:
        return Covering()
    elements: dict[tuple[str, Element], Mapped] = {(COVERED, name): None for name in named}
    elements |= _failsafes(settings)
    rest: dict[str, Verdict] = {}
    for slot in SLOTS:
        beside = others is not None and (slot.always or bool(slot.group(others)))
        for family in FAMILIES:
            if others is not None and beside:
                rest[slot.of(family)] = _verdict(slot, others, family, groups)
            for name, one in named.items():
                if beside or slot.always or slot.group(one):
                    elements[slot.of(family), name] = _verdict(slot, one, family, groups)
    everyone = (*named.values(), *([others] if others else ()))
    uses = frozenset((slot.group(one), slot.gate) for slot in SLOTS for one in everyone if slot.group(one))
    return Covering(elements, rest, uses)


def _verdict(slot: Slot, interface: HostInterface, family: int, groups: Mapping[GroupId, Group]) -> Verdict:
    group = slot.group(interface)
    return to_group(group, slot.gate, family, groups) if group else slot.passing(family)


def to_group(
    group: GroupId, gate: Gate, family: int, groups: Mapping[GroupId, Group], lead: Callable[[str], Verdict] = goto
) -> Verdict:
    """A group that is not there, or is of the other direction, denies."""
    if group not in groups or groups[group].direction is not gate.direction:
        return DROP
    return lead(names.way_in(group, gate, family))


def _failsafes(settings: Settings) -> dict[tuple[str, Element], Mapped]:
    """By protocol and port, prefixes that do not overlap; "" is any address."""
    found: dict[tuple[str, Element], Mapped] = {}
    for where, listed in ((FAILSAFE_IN, settings.failsafe_inbound), (FAILSAFE_OUT, settings.failsafe_outbound)):
        by_port: dict[tuple[int, int], list[Cidr]] = {}
        for protocol, port, prefix in listed:
            if protocol in PROTOCOLS_WITH_PORTS:
                nets = by_port.setdefault((protocol, port), [])
                nets += [Cidr(prefix)] if prefix else [Cidr("0.0.0.0/0"), Cidr("::/0")]
        for ends, nets in by_port.items():
            for family in FAMILIES:
                for net in maximal(net for net in nets if version_of(net) == family):
                    found[where[family], (net, *ends)] = None
    return found


# ---- chains


def chains(extent: Extent) -> tuple[Chain, ...]:
    """Apart from `forward` and `input`, which workloads share."""
    return tuple(_chains(extent))


def _chains(extent: Extent) -> Iterator[Chain]:
    manner = manner_of(extent.settings)
    if _accepts_early(extent):
        yield from _fresh_chain("fresh-in", "prerouting", manner)
    if _holds(extent, UNTRACKED_OUT):
        yield from _fresh_chain("fresh-out", "output", manner)
    if _holds(extent, UNTRACKED_IN):
        yield _untracked(extent, UNTRACKED_IN)
    if _holds(extent, PRE_DNAT):
        yield _pre_dnat(extent, manner)
    if _holds(extent, UNTRACKED_OUT):
        yield _untracked(extent, UNTRACKED_OUT)
    if _holds(extent, IN):
        yield _invalid(extent, INVALID_IN, Field.IN_INTERFACE)
        yield _invalid(extent, INVALID_OUT, Field.OUT_INTERFACE)
        yield _output(extent, manner)
    if _accepts_early(extent) or _holds(extent, FORWARD_IN) or _holds(extent, FORWARD_OUT):
        yield from (_forwarded(extent, family) for family in FAMILIES)
        yield _host_forward(extent, manner)


def _untracked(extent: Extent, slot: Slot) -> Chain:
    inwards = slot.end is Field.IN_INTERFACE
    asked, answered = (FAILSAFE_IN, FAILSAFE_OUT) if inwards else (FAILSAFE_OUT, FAILSAFE_IN)
    rules = (
        *_exempt(extent, slot),
        *_failsafe_rules(extent, asked, slot.end),
        *_failsafe_rules(extent, answered, slot.end, answers=True),
        *_dispatch(extent, slot),
    )
    return Chain(slot.map, rules, Hook("filter", "prerouting" if inwards else "output", RAW_PRIORITY))


def _pre_dnat(extent: Extent, manner: Manner) -> Chain:
    accepted = (Rule((Marked(manner.bit), ACCEPT)),) if manner.bit else ()
    rules = (
        *accepted,
        *_exempt(extent, PRE_DNAT),
        Rule((_ESTABLISHED,)),
        *_failsafe_rules(extent, FAILSAFE_IN, Field.IN_INTERFACE),
        *_dispatch(extent, PRE_DNAT),
    )
    return Chain(PRE_DNAT.map, rules, Hook("filter", "prerouting", PRE_DNAT_PRIORITY))


def input_rules(extent: Extent) -> tuple[Rule, ...]:
    """For what comes from no workload. Where nothing covers an interface, each of these says no more than: go on."""
    if not _holds(extent, IN):
        return ()
    return (*_accepted(extent, _accepts_early(extent)), *_own(extent, IN, FAILSAFE_IN, INVALID_IN))


def workload_input_rules(extent: Extent) -> tuple[Rule, ...]:
    """`*` may have accepted a workload's packet early. That does not count at the host's own door."""
    return _fresh(manner_of(extent.settings)) if _accepts_early(extent) else ()


def _output(extent: Extent, manner: Manner) -> Chain:
    rules = (
        *_accepted(extent, _holds(extent, UNTRACKED_OUT)),
        *extent.ours.rules(Field.OUT_INTERFACE, ACCEPT),
        *_own(extent, OUT, FAILSAFE_OUT, INVALID_OUT),
    )
    return Chain("output", rules, Hook("filter", "output", 0))


def _own(extent: Extent, slot: Slot, failsafes: Mapping[int, str], invalid: str) -> tuple[Rule, ...]:
    flow = Choose(Field.CT_STATE, (*_ESTABLISHED.choices, (CtState.INVALID, jump(invalid))))
    return (
        Rule((flow,)),
        *(cutting.rule(family) for family in FAMILIES),
        *_failsafe_rules(extent, failsafes, slot.end),
        *_dispatch(extent, slot),
    )


def _host_forward(extent: Extent, manner: Manner) -> Chain:
    """What was accepted early skips the list of the interface by which it came."""
    remembered = tuple(
        Rule((of_family(family), *manner.remembered, goto(FORWARDED[family]))) for family in FAMILIES
        if _accepts_early(extent) and manner.bit
    )
    rules = (
        Rule((_ESTABLISHED,)), *remembered, *_dispatch(extent, FORWARD_IN), *_dispatch(extent, FORWARD_OUT)
    )
    return Chain("host-forward", rules, Hook("filter", "forward", HOST_FORWARD_PRIORITY))


def _forwarded(extent: Extent, family: int) -> Chain:
    """What may come in, and now may leave or not."""
    return Chain(FORWARDED[family], (*_lookup(extent, FORWARD_OUT, family), Rule((ACCEPT,))))


def _accepts_early(extent: Extent) -> bool:
    return _holds(extent, UNTRACKED_IN) or _holds(extent, PRE_DNAT)


def _exempt(extent: Extent, slot: Slot) -> tuple[Rule, ...]:
    """Workloads, unless `*` covers them too: inwards, it does."""
    covered = slot.end is Field.IN_INTERFACE and any(slot.of(family) in extent.rest for family in FAMILIES)
    return () if covered else extent.ours.rules(slot.end, ACCEPT)


def _holds(extent: Extent, slot: Slot) -> bool:
    return any(extent.holds(slot.of(family)) for family in FAMILIES)


def _dispatch(extent: Extent, slot: Slot) -> Iterator[Rule]:
    lookups = [rule for family in FAMILIES for rule in _lookup(extent, slot, family, rest=False)]
    rest = [Rule((of_family(family), extent.rest[slot.of(family)]))
            for family in FAMILIES if slot.of(family) in extent.rest]
    loopback = [Rule((Equal(slot.end, LOOPBACK), ACCEPT))] if rest and slot not in (FORWARD_IN, FORWARD_OUT) else []
    yield from (*lookups, *loopback, *rest)


def _lookup(extent: Extent, slot: Slot, family: int, *, rest: bool = True) -> Iterator[Rule]:
    name = slot.of(family)
    if name in extent.maps:
        yield Rule((of_family(family), ByMap((slot.end,), name)))
    if rest and name in extent.rest:
        yield Rule((of_family(family), extent.rest[name]))


def _failsafe_rules(
    extent: Extent, where: Mapping[int, str], end: Field, *, answers: bool = False
) -> Iterator[Rule]:
    """Inwards the other end is the source, outwards the destination; an answer comes from the port."""
    for family in FAMILIES:
        if where[family] in extent.maps:
            words = WORDS[family]
            other = words.source if end is Field.IN_INTERFACE else words.destination
            port = Field.SOURCE_PORT if answers else Field.DESTINATION_PORT
            ends = (other.address, Field.PROTOCOL, port)
            yield Rule((InSet(ends, where[family]), ACCEPT), "answer of a failsafe" if answers else "failsafe")


def _fresh_chain(name: str, point: str, manner: Manner) -> Iterator[Chain]:
    if rules := _fresh(manner):
        yield Chain(name, rules, Hook("filter", point, FRESH_PRIORITY))


def _fresh(manner: Manner) -> tuple[Rule, ...]:
    return (Rule((Marked(manner.bit), ClearMark(manner.bit))),) if manner.bit else ()


def _accepted(extent: Extent, early: bool) -> tuple[Rule, ...]:
    manner = manner_of(extent.settings)
    return (Rule((*manner.remembered, ACCEPT), "accepted already"),) if early and manner.bit else ()


def _invalid(extent: Extent, name: str, end: Field) -> Chain:
    """Dropped at covered interfaces only, and only if the settings want it so; else policy decides."""
    if not extent.settings.drop_invalid:
        return Chain(name, ())
    says = "invalid, says conntrack"
    named = (Rule((InSet((end,), COVERED), Counter(), DROP), says),) if COVERED in extent.maps else ()
    if IN.of(4) not in extent.rest:
        return Chain(name, named)
    return Chain(name, (*named, Rule((Equal(end, LOOPBACK), RETURN)), Rule((Counter(), DROP), says)))


_ESTABLISHED = Choose(Field.CT_STATE, ((CtState.ESTABLISHED, ACCEPT), (CtState.RELATED, ACCEPT)))
