"""What a backend can look at in a packet, and the tests that a rule puts together from it.

Both kernels, nftables and iptables, ask the same questions of a packet: an address in a prefix, a port in a range, a
member of a named set. The questions are kept here as data, the words in which each backend asks them are its own.
A test never leaves out what it depends on: a port is looked at only after the protocol has been.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class Type(Enum):
    """What fills a register: nft's name of the type, and its length in bytes."""

    ADDRESS4 = ("ipv4_addr", 4)
    ADDRESS6 = ("ipv6_addr", 16)
    INTERFACE = ("ifname", 16)
    INTERFACE_INDEX = ("iface_index", 4)
    FAMILY = ("nf_proto", 1)
    PROTOCOL = ("inet_proto", 1)
    PORT = ("inet_service", 2)
    ICMP_TYPE = ("icmp_type", 1)
    ICMP_CODE = ("icmp_code", 1)
    ICMP6_TYPE = ("icmpv6_type", 1)
    ICMP6_CODE = ("icmpv6_code", 1)
    CT_STATE = ("ct_state", 4)
    ADDRESS_TYPE = ("fib_addrtype", 4)

    __hash__ = object.__hash__
    """There is one of each. Enum's own takes Python code for what is asked for every statement of every rule."""

    @property
    def word(self) -> str:
        return self.value[0]

    @property
    def length(self) -> int:
        return self.value[1]


class Field(Enum):
    """What a match looks at: nft's words for it, and its type."""

    SOURCE4 = ("ip saddr", Type.ADDRESS4)
    DESTINATION4 = ("ip daddr", Type.ADDRESS4)
    SOURCE6 = ("ip6 saddr", Type.ADDRESS6)
    DESTINATION6 = ("ip6 daddr", Type.ADDRESS6)
    IN_INTERFACE = ("iifname", Type.INTERFACE)
    OUT_INTERFACE = ("oifname", Type.INTERFACE)
    OUT_INDEX = ("oif", Type.INTERFACE_INDEX)
    FAMILY = ("meta nfproto", Type.FAMILY)
    PROTOCOL = ("meta l4proto", Type.PROTOCOL)
    SOURCE_PORT = ("th sport", Type.PORT)
    DESTINATION_PORT = ("th dport", Type.PORT)
    ICMP_TYPE = ("icmp type", Type.ICMP_TYPE)
    ICMP_CODE = ("icmp code", Type.ICMP_CODE)
    ICMP6_TYPE = ("icmpv6 type", Type.ICMP6_TYPE)
    ICMP6_CODE = ("icmpv6 code", Type.ICMP6_CODE)
    CT_STATE = ("ct state", Type.CT_STATE)
    DESTINATION_TYPE = ("fib daddr type", Type.ADDRESS_TYPE)
    RETURN_INDEX = ("fib saddr . iif oif", Type.INTERFACE_INDEX)
    """The interface by which the host itself would answer the source, 0 unless it is the one the packet came by."""

    __hash__ = object.__hash__

    @property
    def word(self) -> str:
        return self.value[0]

    @property
    def type(self) -> Type:
        return self.value[1]


class CtState(Enum):
    """Bits of conntrack's state, as the kernel numbers them."""

    INVALID = 1
    ESTABLISHED = 2
    RELATED = 4
    NEW = 8


class Span(msgspec.Struct, frozen=True, gc=False):
    """A range of numbers, both ends included; or of addresses, as numbers."""

    first: int
    last: int


Atom = int | str | Span | CtState
"""A number, a prefix (`muslin.net.Cidr`) or an interface name, a range, a conntrack state."""

Element = Atom | tuple[Atom, ...]
"""What a set holds: an atom, or one atom for each field of a concatenation."""


class Equal(msgspec.Struct, frozen=True, gc=False):
    """The field has (`negated`: has not) this value. For an address the value is a prefix and the field lies in it;
    for numbers a Span means anywhere in the range."""

    field: Field
    value: Atom
    negated: bool = False


class NameBegins(msgspec.Struct, frozen=True, gc=False):
    """An interface's name begins so."""

    field: Field
    prefix: str


class OneOf(msgspec.Struct, frozen=True, gc=False):
    """The fields, together, are among elements written in the rule itself (an anonymous set), which are disjoint."""

    fields: tuple[Field, ...]
    elements: tuple[Element, ...]
    negated: bool = False


class InSet(msgspec.Struct, frozen=True, gc=False):
    """The fields, together, are in a named set."""

    fields: tuple[Field, ...]
    set: str
    negated: bool = False


Match = Equal | NameBegins | OneOf | InSet
