"""Questions and answers of the DNS, as packets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.net import dns

NOTHING = b""


def query(name: str, kind: int = dns.A, *, extra: bytes = NOTHING, questions: int = 1, flags: int = 0x0100) -> bytes:
    more = int(bool(extra))
    return struct.pack(">HHHHHH", 7, flags, questions, 0, 0, more) + dns.name_data(name) + struct.pack(
        ">HH", kind, 1) + extra


def opt(size: int) -> bytes:
    return b"\0" + struct.pack(">HHIH", 41, size, 0, 0)


def test_a_question_is_read_in_lower_case() -> None:
    asked = dns.question(query("DB-1.Shop"))
    assert asked is not None
    assert (asked.id, asked.name, asked.kind, asked.size) == (7, "db-1.shop", dns.A, 512)


@pytest.mark.parametrize("packet", [
    query("db", flags=0x8180), query("db", flags=0x2800), query("db", questions=2), query("db")[:-1], NOTHING,
    query("db").replace(b"\x02db", b"\xc0\x0cb"), query("db")[:-2] + b"\0\x03",
])
def test_what_is_no_plain_question_is_left_to_others(packet: bytes) -> None:
    assert dns.question(packet) is None


@given(st.binary(max_size=80))
def test_no_packet_surprises_the_reader(packet: bytes) -> None:
    found = dns.question(packet)
    assert found is None or packet[: found.end] in packet


def test_an_answer_has_the_question_and_its_records() -> None:
    packet = query("db")
    asked = dns.question(packet)
    assert asked is not None
    said = dns.answer(packet, asked, [bytes([10, 65, 0, 1]), bytes([10, 65, 0, 2])], 5, 512)
    number, flags, questions, answers, _, more = struct.unpack_from(">HHHHHH", said)
    assert (number, flags, questions, answers, more) == (7, 0x8580, 1, 2, 0)
    assert said[12 : asked.end] == packet[12:]
    assert said.endswith(struct.pack(">HHHIH", 0xC00C, 1, 1, 5, 4) + bytes([10, 65, 0, 2]))


def test_what_does_not_fit_is_left_out_and_said() -> None:
    data = [bytes([10, 65, 0, number]) for number in range(200)]
    packet = query("db", extra=opt(1232))
    asked = dns.question(packet)
    assert asked is not None
    assert (asked.size, asked.extended) == (1232, True)
    for size, whole in ((asked.size, False), (dns.LARGEST, True)):
        said = dns.answer(packet, asked, data, 5, size)
        _, flags, _, answers, _, more = struct.unpack_from(">HHHHHH", said)
        assert len(said) <= size
        assert bool(flags & 0x0200) is not whole
        assert (answers == 200) is whole
        assert (answers > 60, more) == (True, 1)


def test_addresses_asked_back() -> None:
    assert dns.reverse("9.0.65.10.in-addr.arpa") == "10.65.0.9"
    nibbles = ".".join(reversed("fd000065000000000000000000000001"))
    assert dns.reverse(f"{nibbles}.ip6.arpa") == "fd00:65::1"
    for wrong in ("65.10.in-addr.arpa", "x.0.65.10.in-addr.arpa", "300.0.65.10.in-addr.arpa", "db", "a.ip6.arpa"):
        assert dns.reverse(wrong) is None
