"""How the kernel gets a field into a register, and what must be known of the packet before that.

In a table for both families an address is looked for only in a packet of its family, and a type of ICMP only in
packets of that protocol: what follows the header of another packet means something else. Words of nftables say this
by the way; here it is said once in a rule, before the first field that depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from muslin.render.nft.wire.expressions import (
    Comparison,
    Header,
    Meta,
    compare,
    ct_state,
    fib,
    meta,
    payload,
)
from muslin.render.nft.words import Field

FAMILY_BYTE = {4: b"\x02", 6: b"\x0a"}
FAMILY_OF = {Field.SOURCE4: 4, Field.DESTINATION4: 4, Field.SOURCE6: 6, Field.DESTINATION6: 6}
PROTOCOL_OF = {Field.ICMP_TYPE: 1, Field.ICMP_CODE: 1, Field.ICMP6_TYPE: 58, Field.ICMP6_CODE: 58}

IN_PACKET = {
    Field.SOURCE4: (Header.NETWORK, 12),
    Field.DESTINATION4: (Header.NETWORK, 16),
    Field.SOURCE6: (Header.NETWORK, 8),
    Field.DESTINATION6: (Header.NETWORK, 24),
    Field.SOURCE_PORT: (Header.TRANSPORT, 0),
    Field.DESTINATION_PORT: (Header.TRANSPORT, 2),
    Field.ICMP_TYPE: (Header.TRANSPORT, 0),
    Field.ICMP_CODE: (Header.TRANSPORT, 1),
    Field.ICMP6_TYPE: (Header.TRANSPORT, 0),
    Field.ICMP6_CODE: (Header.TRANSPORT, 1),
}
_META = {
    Field.IN_INTERFACE: Meta.IN_INTERFACE,
    Field.OUT_INTERFACE: Meta.OUT_INTERFACE,
    Field.OUT_INDEX: Meta.OUT_INDEX,
    Field.FAMILY: Meta.FAMILY,
    Field.PROTOCOL: Meta.PROTOCOL,
}
_FIB_SOURCE, _FIB_DESTINATION, _FIB_IN_INDEX = 1, 2, 8
_FIB_INDEX, _FIB_TYPE = 1, 3


@lru_cache(maxsize=256)
def load(field: Field, word: int = 0) -> bytes:
    if field in IN_PACKET:
        return payload(*IN_PACKET[field], field.type.length, word)
    match field:
        case Field.CT_STATE:
            return ct_state(word)
        case Field.DESTINATION_TYPE:
            return fib(_FIB_DESTINATION, _FIB_TYPE, word)
        case Field.RETURN_INDEX:
            return fib(_FIB_SOURCE | _FIB_IN_INDEX, _FIB_INDEX, word)
        case _:
            return meta(_META[field], word)


@lru_cache(maxsize=256)
def load_all(fields: Sequence[Field]) -> bytes:
    """Side by side, each from a word of its own."""
    found, word = b"", 0
    for field in fields:
        found += load(field, word)
        word += field.type.length + 3 >> 2
    return found


def load_part(field: Field, length: int) -> bytes:
    """The first bytes of a field of the packet."""
    header, offset = IN_PACKET[field]
    return payload(header, offset, length, 0)


@lru_cache(maxsize=4)
def of_family(family: int) -> bytes:
    return load(Field.FAMILY) + compare(Comparison.EQUAL, FAMILY_BYTE[family])


@lru_cache(maxsize=256)
def of_protocol(protocol: int) -> bytes:
    return load(Field.PROTOCOL) + compare(Comparison.EQUAL, bytes((protocol,)))
