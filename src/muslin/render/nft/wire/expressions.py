"""The kernel's expressions, one by one: a rule is a row of them, and they speak with each other through registers.

Registers are counted in words of four bytes, sixteen of them; a value of sixteen bytes fills four. Numbers and names
are those of <linux/netfilter/nf_tables.h>.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

from muslin.render.nft.wire.attributes import attribute, long, name, nest, number
from muslin.render.nft.words import Ruling, Verdict

_ELEMENT = 1
"""Of any list."""
_VALUE, _VERDICT = 1, 2
"""Of data."""
_VERDICT_REGISTER = 0
_FIRST_REGISTER = 8
_CODES = {Ruling.DROP: 0, Ruling.ACCEPT: 1, Ruling.JUMP: -3, Ruling.GOTO: -4, Ruling.RETURN: -5}


class Header(IntEnum):
    """Where an offset into the packet counts from."""

    NETWORK = 1
    TRANSPORT = 2


class Meta(IntEnum):
    MARK = 3
    OUT_INDEX = 5
    IN_INTERFACE = 6
    OUT_INTERFACE = 7
    FAMILY = 15
    PROTOCOL = 16


class Comparison(IntEnum):
    EQUAL = 0
    OTHER = 1
    AT_MOST = 3
    AT_LEAST = 5


class Nat(IntEnum):
    SOURCE = 0
    DESTINATION = 1


def register(word: int) -> int:
    """The kernel has two names for a word that begins sixteen bytes; nft, and so we, use the older."""
    return _FIRST_REGISTER + word if word % 4 else 1 + word // 4


def expression(kind: str, body: bytes) -> bytes:
    return nest(_ELEMENT, name(1, kind) + nest(2, body))


def data(value: bytes) -> bytes:
    return attribute(_VALUE, value)


@lru_cache(maxsize=4096)
def verdict_data(verdict: Verdict) -> bytes:
    chain = name(2, verdict.chain) if verdict.chain else b""
    return nest(_VERDICT, number(1, _CODES[verdict.ruling]) + chain)


@lru_cache(maxsize=4096)
def decide(verdict: Verdict) -> bytes:
    return expression("immediate", number(1, _VERDICT_REGISTER) + nest(2, verdict_data(verdict)))


def immediate(word: int, value: bytes) -> bytes:
    return expression("immediate", number(1, register(word)) + nest(2, data(value)))


def meta(key: Meta, word: int) -> bytes:
    return expression("meta", number(2, key) + number(1, register(word)))


def set_meta(key: Meta, word: int) -> bytes:
    return expression("meta", number(2, key) + number(3, register(word)))


def payload(header: Header, offset: int, length: int, word: int) -> bytes:
    place = number(2, header) + number(3, offset) + number(4, length)
    return expression("payload", number(1, register(word)) + place)


def write_payload(offset: int, length: int, word: int, checksum: int | None) -> bytes:
    """Into the network header. `checksum`: where the header has one, which is kept right."""
    place = number(2, Header.NETWORK) + number(3, offset) + number(4, length)
    kept = number(6, checksum is not None) + number(7, checksum or 0)
    return expression("payload", number(5, register(word)) + place + kept)


def ct_state(word: int) -> bytes:
    return expression("ct", number(2, 0) + number(1, register(word)))


def fib(flags: int, result: int, word: int) -> bytes:
    return expression("fib", number(1, register(word)) + number(2, result) + number(3, flags))


def compare(comparison: Comparison, value: bytes, word: int = 0) -> bytes:
    return expression("cmp", number(1, register(word)) + number(2, comparison) + nest(3, data(value)))


def outside(first: bytes, last: bytes) -> bytes:
    return expression("range", number(1, register(0)) + number(2, 1) + nest(3, data(first)) + nest(4, data(last)))


def bitwise(mask: bytes, flipped: bytes) -> bytes:
    """The register keeps the bits of the mask; then those of `flipped` are turned."""
    place = number(1, register(0)) + number(2, register(0)) + number(3, len(mask)) + number(6, 0)
    return expression("bitwise", place + nest(4, data(mask)) + nest(5, data(flipped)))


def lookup(set_name: str, *, identity: int = 0, into: int | None = None, negated: bool = False) -> bytes:
    """`into`: the word that gets what a map holds; a verdict needs none."""
    body = name(1, set_name) + number(2, register(0))
    if into is not None:
        body += number(3, into)
    if identity:
        body += number(4, identity)
    return expression("lookup", body + (number(5, 1) if negated else b""))


VERDICT_OF_MAP = _VERDICT_REGISTER
DATA_OF_MAP = register(0)
COUNTER_BODY = name(1, "counter") + nest(2, b"")
COUNTER = nest(_ELEMENT, COUNTER_BODY)
NOTRACK = nest(_ELEMENT, name(1, "notrack"))


def limit(rate: int, seconds: int, burst: int, *, over: bool) -> bytes:
    return expression("limit", limit_body(rate, seconds, burst, over=over))


def limit_body(rate: int, seconds: int, burst: int, *, over: bool) -> bytes:
    return long(1, rate) + long(2, seconds) + number(3, burst) + number(4, 0) + number(5, over)


def connections_body(count: int) -> bytes:
    return number(1, count) + number(2, 1)


def measure(set_name: str, *, update: bool, seconds: int, kind: str, body: bytes) -> bytes:
    """An element of a dynamic set for what is in the register, with an expression of its own."""
    lifetime = long(6, seconds * 1000) if seconds else b""
    own = nest(7, name(1, kind) + nest(2, body))
    return expression("dynset", name(1, set_name) + number(4, register(0)) + number(3, update) + lifetime + own)


def log(prefix: str) -> bytes:
    return expression("log", name(2, prefix))


def reject_by_reset() -> bytes:
    return expression("reject", number(1, 1))


def reject_by_error() -> bytes:
    """Administratively prohibited, in the words of the packet's family."""
    return expression("reject", number(1, 2) + attribute(2, b"\3"))


def translate(what: Nat, family: int, *, address: int, ports: tuple[int, int] | None = None) -> bytes:
    """By the words that hold the address, and the lowest and the highest port."""
    body = number(1, what) + number(2, family) + number(3, register(address))
    if ports:
        body += number(5, register(ports[0])) + number(6, register(ports[1]))
    return expression("nat", body)


def masquerade(ports: tuple[int, int] | None = None) -> bytes:
    given = number(1, 2) + number(2, register(ports[0])) + number(3, register(ports[1])) if ports else b""
    return expression("masq", given)
