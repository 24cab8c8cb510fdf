"""The words of nftables that muslin speaks, as data.

A rule that exists only as text can be printed, and nothing else: it cannot be compared with what the kernel holds,
sent over netlink, counted or explained. So rules are built from the few words below. Each says its types precisely
(which field, how many bytes it fills), so that the printer (`text`) and the netlink encoder (`wire`) need no knowledge
beyond them.

    Rule = matches (all must hold), then Counter / Log, then at most one verdict, and a comment
    Chain = ordered rules; with a Hook it is a base chain     NamedSet = a declared set or verdict map

There may be a hundred thousand of them, so the garbage collector is spared them: they cannot form cycles.
A statement never leaves out what it depends on: a port is looked at only after the protocol has been.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from muslin.render.fields import Atom, CtState, Element, Equal, Field, InSet, Match, NameBegins, OneOf, Span, Type

__all__ = [
    "ACCEPT",
    "DROP",
    "DYNAMIC_SIZE",
    "IDLE",
    "RETURN",
    "Atom",
    "ByMap",
    "Chain",
    "Choose",
    "ClearMark",
    "ConnectionsOver",
    "Counter",
    "CtState",
    "Element",
    "Equal",
    "Field",
    "Hook",
    "InSet",
    "Limit",
    "Log",
    "Mapped",
    "Marked",
    "Masquerade",
    "Match",
    "NameBegins",
    "NamedSet",
    "NoTrack",
    "Noted",
    "OneOf",
    "OpensTcp",
    "PacketsOver",
    "Redirect",
    "Reject",
    "Rule",
    "Ruling",
    "SetDscp",
    "SetMark",
    "SourceNat",
    "Span",
    "Statement",
    "Translate",
    "Type",
    "Verdict",
    "goto",
    "jump",
]
"""What both backends look at in a packet lies in `render.fields`; here it is spoken with the rest of nftables."""

DYNAMIC_SIZE = 65535
"""Elements that the kernel may put into a set while it counts."""
IDLE = 60
"""Seconds after which the measure of a link that carries nothing is forgotten."""


class Ruling(StrEnum):
    ACCEPT = "accept"
    DROP = "drop"
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """`chain` is where a jump or goto leads."""

    ruling: Ruling
    chain: str = ""


ACCEPT = Verdict(Ruling.ACCEPT)
DROP = Verdict(Ruling.DROP)
RETURN = Verdict(Ruling.RETURN)


def jump(chain: str) -> Verdict:
    return Verdict(Ruling.JUMP, chain)


def goto(chain: str) -> Verdict:
    return Verdict(Ruling.GOTO, chain)


class ByMap(msgspec.Struct, frozen=True, gc=False):
    """The verdict that a named map holds for the fields; when it holds none, the next rule."""

    fields: tuple[Field, ...]
    map: str


class Choose(msgspec.Struct, frozen=True, gc=False):
    """The verdict that the rule itself lists for the field (an anonymous map); when it lists none, the next rule.
    Values may be ranges of numbers (`Span`); they are disjoint."""

    field: Field
    choices: tuple[tuple[Atom, Verdict], ...]


class Counter(msgspec.Struct, frozen=True, gc=False):
    """Counts the packets that come this far in the rule."""


class OpensTcp(msgspec.Struct, frozen=True, gc=False):
    """A TCP packet that asks for a connection: SYN without ACK."""


class Limit(msgspec.Struct, frozen=True, gc=False):
    """Matches so many packets a `unit` (second, minute, hour, day) and no more, after `burst` at once."""

    number: int
    unit: str
    burst: int


class Marked(msgspec.Struct, frozen=True, gc=False):
    """The packet's mark has this bit."""

    bit: int


class SetMark(msgspec.Struct, frozen=True, gc=False):
    """The packet's mark gets this bit; the others stay."""

    bit: int


class ClearMark(msgspec.Struct, frozen=True, gc=False):
    """The packet's mark loses this bit; the others stay."""

    bit: int


class NoTrack(msgspec.Struct, frozen=True, gc=False):
    """Conntrack does not look at the packet."""


class Reject(msgspec.Struct, frozen=True, gc=False):
    """The packet is dropped, and its sender told: by a reset (`reset`, TCP only) or an ICMP error."""

    reset: bool


class Log(msgspec.Struct, frozen=True, gc=False):
    """One line in the kernel's log; the packet goes on."""

    prefix: str


class Masquerade(msgspec.Struct, frozen=True, gc=False):
    """The source becomes the address of the interface that the packet leaves by; the port one of `ports`."""

    ports: Span | None = None


class SourceNat(msgspec.Struct, frozen=True, gc=False):
    """The source becomes this IPv4 address; the port one of `ports`."""

    address: str
    ports: Span | None = None


class Translate(msgspec.Struct, frozen=True, gc=False):
    """The address in the field becomes what a map holds for it; when it holds nothing, the next rule."""

    field: Field
    map: str


class Redirect(msgspec.Struct, frozen=True, gc=False):
    """The destination becomes the address and port that a map holds for the fields; when none, the next rule."""

    family: int
    fields: tuple[Field, ...]
    map: str


class PacketsOver(msgspec.Struct, frozen=True, gc=False):
    """Matches what is over the limit, which is measured for each value of the field, in a set that the kernel fills."""

    field: Field
    set: str
    limit: Limit


class ConnectionsOver(msgspec.Struct, frozen=True, gc=False):
    """Matches a new connection while there are so many, counted for each value of the field, in a set that the kernel
    fills."""

    field: Field
    set: str
    number: int


class SetDscp(msgspec.Struct, frozen=True, gc=False):
    """The packet's class, 0 to 63."""

    family: int
    value: int


Statement = (
    Match | OpensTcp | Marked | Limit | PacketsOver | ConnectionsOver | ByMap | Choose | Counter | SetMark | ClearMark
    | SetDscp | NoTrack | Log | Masquerade | SourceNat | Redirect | Translate | Reject | Verdict
)


class Rule(msgspec.Struct, frozen=True, gc=False):
    statements: tuple[Statement, ...]
    comment: str = ""


class Hook(msgspec.Struct, frozen=True, gc=False):
    """Where a base chain meets the packet. `kind` is filter or nat.

    The policy of our base chains is always accept, and the last rules drop: while a table is being replaced its new
    base chains are hooked in before their rules count, so a policy of drop would lose packets in between.
    """

    kind: str
    point: str
    priority: int


class Chain(msgspec.Struct, frozen=True, gc=False):
    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None


class Noted(msgspec.Struct, frozen=True, gc=False):
    """What is said of an element of a set that counts: the comment of the rule that it stands for."""

    comment: str


Mapped = Verdict | str | tuple[str, int] | Noted | None
"""What a map holds for an element: a verdict, an address, or an address and a port. A set holds None, or notes."""


class NamedSet(msgspec.Struct, frozen=True, gc=False):
    """A set, or with `verdicts` a map from key to verdict, or with `data` one to these types. `interval`: elements may
    be prefixes; they are disjoint. `timeout`: elements have lifetimes; `dynamic`: rules put them in. `counted`: each
    has a counter of its own, and a note."""

    name: str
    key: tuple[Type, ...]
    interval: bool = False
    verdicts: bool = False
    timeout: bool = False
    dynamic: bool = False
    data: tuple[Type, ...] = ()
    counted: bool = False

    @property
    def loose(self) -> bool:
        """Elements come and go while the table stands, and are no part of it."""
        return self.timeout or self.dynamic
