"""The words of iptables that muslin speaks, as data.

Each word says what it needs: the name of the kernel's extension that understands it, "" for what every iptables knows.
So a rule can be compared, and a host that lacks an extension is known to lack it before it is asked.

    Rule = tests (all must hold), then one target, and a comment;    Chain = ordered rules
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from muslin.net import Cidr


class Table(StrEnum):
    RAW = "raw"
    MANGLE = "mangle"
    NAT = "nat"
    FILTER = "filter"


class End(StrEnum):
    """Which end of the packet: where it comes from, or where it goes."""

    SOURCE = "src"
    DESTINATION = "dst"


class Protocol(msgspec.Struct, frozen=True, gc=False):
    number: int
    negated: bool = False


class Address(msgspec.Struct, frozen=True, gc=False):
    """The address lies in the prefix. A rule can say this once for each end."""

    end: End
    prefix: Cidr
    negated: bool = False


class AddressRange(msgspec.Struct, frozen=True, gc=False):
    """The same as `Address`, in a word that a rule can say as often as it likes."""

    end: End
    prefix: Cidr
    negated: bool = False


class InSet(msgspec.Struct, frozen=True, gc=False):
    """The fields that the set looks at, each from this end, are in the ipset."""

    set: str
    ends: tuple[End, ...]
    negated: bool = False


class Ports(msgspec.Struct, frozen=True, gc=False):
    """The port is in one of at most fifteen numbers; a range counts for two. The rule says which protocol."""

    end: End
    ranges: tuple[tuple[int, int], ...]
    negated: bool = False


class ToHost(msgspec.Struct, frozen=True, gc=False):
    """The destination is an address of the host."""


class IcmpType(msgspec.Struct, frozen=True, gc=False):
    family: int
    type: int
    code: int | None = None
    negated: bool = False


class Interface(msgspec.Struct, frozen=True, gc=False):
    """The packet came by it (SOURCE) or leaves by it (DESTINATION). `eth+`: any name that begins with eth."""

    end: End
    name: str
    negated: bool = False


class Flow(msgspec.Struct, frozen=True, gc=False):
    """Conntrack's opinion is one of these."""

    states: tuple[str, ...]


class Marked(msgspec.Struct, frozen=True, gc=False):
    """The bits of `mask` in the packet's mark are `value`."""

    value: int
    mask: int
    negated: bool = False


class OpensTcp(msgspec.Struct, frozen=True, gc=False):
    """A TCP packet that asks for a connection: SYN without ACK."""


class Limit(msgspec.Struct, frozen=True, gc=False):
    """Holds only so often."""

    number: int
    per: str
    burst: int


class Above(msgspec.Struct, frozen=True, gc=False):
    """More packets a second than this have come here. `name` is the counter's, at most 15 letters."""

    rate: int
    burst: int
    name: str


class Connections(msgspec.Struct, frozen=True, gc=False):
    """More flows than this have come here and are still known to conntrack."""

    above: int


Test = (
    Protocol | Address | AddressRange | InSet | Ports | IcmpType | Interface | Flow | Marked | OpensTcp | Limit | Above
    | Connections | ToHost
)


class Ruling(StrEnum):
    ACCEPT = "ACCEPT"
    DROP = "DROP"
    RETURN = "RETURN"


class Jump(msgspec.Struct, frozen=True, gc=False):
    """`for_good`: goto. What returns from there returns to whoever jumped here."""

    chain: str
    for_good: bool = False


class Reject(msgspec.Struct, frozen=True, gc=False):
    """Drop, and tell the sender: by a reset, or by an ICMP error of the packet's family. Only the filter table can."""

    family: int
    reset: bool = False


class SetMark(msgspec.Struct, frozen=True, gc=False):
    """The bits of `mask` become `value`; the packet goes on."""

    value: int
    mask: int


class Log(msgspec.Struct, frozen=True, gc=False):
    prefix: str


class Untrack(msgspec.Struct, frozen=True, gc=False):
    """Conntrack does not see the packet. Only the raw table can; the packet goes on."""


class Masquerade(msgspec.Struct, frozen=True, gc=False):
    ports: tuple[int, int] | None = None


class Translate(msgspec.Struct, frozen=True, gc=False):
    """The address at this end becomes another."""

    end: End
    address: str
    ports: tuple[int, int] | None = None


class SetDscp(msgspec.Struct, frozen=True, gc=False):
    value: int


Target = Ruling | Jump | Reject | SetMark | Log | Untrack | Masquerade | Translate | SetDscp


class Rule(msgspec.Struct, frozen=True, gc=False):
    tests: tuple[Test, ...]
    target: Target
    comment: str = ""


class Chain(msgspec.Struct, frozen=True, gc=False):
    name: str
    rules: tuple[Rule, ...]


class Kind(StrEnum):
    """What an ipset holds. In a hash:net one address is a prefix like any other; 0.0.0.0/0 cannot be in it."""

    NETS = "hash:net"
    ADDRESS_PORTS = "hash:ip,port"
    ADDRESS_INTERFACES = "hash:net,iface"
    FLOWS = "hash:ip,port,ip"


class IpSet(msgspec.Struct, frozen=True, gc=False):
    """A declared ipset of one family. `timeout`: its members may each have a time after which they are gone."""

    name: str
    kind: Kind
    family: int
    timeout: bool = False


EXTENSIONS: dict[type, str] = {
    AddressRange: "iprange",
    InSet: "set",
    Ports: "multiport",
    Flow: "conntrack",
    Marked: "mark",
    Limit: "limit",
    Above: "hashlimit",
    Connections: "connlimit",
    Reject: "REJECT",
    SetMark: "MARK",
    Log: "LOG",
    Untrack: "CT",
    Masquerade: "MASQUERADE",
    SetDscp: "DSCP",
}
"""What the kernel must have to understand a word; words that are not here need no more than iptables itself."""


def needs(rule: Rule) -> frozenset[str]:
    """The extensions without which the kernel refuses the rule."""
    found = {EXTENSIONS[type(word)] for word in (*rule.tests, rule.target) if type(word) in EXTENSIONS}
    if isinstance(rule.target, Translate):
        found.add("SNAT" if rule.target.end is End.SOURCE else "DNAT")
    if any(isinstance(test, IcmpType) for test in rule.tests):
        found.add("icmp")
    if rule.comment:
        found.add("comment")
    return frozenset(found)
