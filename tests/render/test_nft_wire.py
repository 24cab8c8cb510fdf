"""What goes over the wire. The kernel's opinion of it is in tests/kernel/test_nft_writers.py; here are bytes that `nft`
1.0.6 wrote for the same words, as the kernel gave them back, and what leads from a refusal back to its command."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.errors import Broken
from muslin.net import Cidr, host_cidr
from muslin.render.nft import Flow, cut, script
from muslin.render.nft.table import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    Command,
    KeepTable,
    RemoveElements,
    ReplaceTable,
)
from muslin.render.nft.wire import encoded
from muslin.render.nft.wire.loads import load
from muslin.render.nft.wire.sets import number_of
from muslin.render.nft.wire.values import key_ends, packed, packed4, value
from muslin.render.nft.words import (
    ACCEPT,
    DROP,
    ByMap,
    Chain,
    Counter,
    Element,
    Equal,
    Field,
    InSet,
    Limit,
    Log,
    NameBegins,
    NamedSet,
    OneOf,
    Redirect,
    Rule,
    SetDscp,
    SetMark,
    Span,
    Statement,
    Type,
    goto,
    jump,
)

NEW_RULE, NEW_SET, NEW_ELEMENTS, DELETE_ELEMENTS = 6, 9, 12, 14
HOSTS = NamedSet("s4", (Type.ADDRESS4,))
NETS = NamedSet("i4", (Type.ADDRESS4,), interval=True)

Message = tuple[int, dict[int, bytes]]


def _messages(*commands: Command) -> list[Message]:
    """Type and attributes of each."""
    data, found = encoded(commands).data, []
    while data:
        length, kind = struct.unpack_from("=IH", data)
        found.append((kind & 0xFF, dict(_attributes(data[20:length]))))
        data = data[length:]
    return found


def _attributes(body: bytes) -> list[tuple[int, bytes]]:
    found = []
    while body:
        length, kind = struct.unpack_from("=HH", body)
        found.append((kind & 0x3FFF, body[4:length]))
        body = body[length + 3 & ~3 :]
    return found


def _expressions(*statements: Statement) -> str:
    """Without the marks of nests, which the kernel does not give back."""
    *_, (kind, attributes) = _messages(AddRule("d", Rule(statements)))
    assert kind == NEW_RULE
    words = (attributes[4][place : place + 4] for place in range(0, len(attributes[4]), 4))
    return b"".join(word[:3] + b"\0" if word[1] == 0 and word[2] and word[3] == 0x80 else word for word in words).hex()


def _elements(declared: NamedSet, *elements: Element) -> list[str]:
    ((kind, attributes),) = _messages(AddElements(declared, tuple((element, None) for element in elements)))
    assert kind == NEW_ELEMENTS
    return [item.hex() for _, item in _attributes(attributes[3])]


V4 = ("24000100090001006d6574610000000014000200080002000000000f08000100000000012c00010008000100636d70002000020008000100"
      "0000000108000200000000000c0003000500010002000000")
ACCEPTS = "300001000e000100696d6d6564696174650000001c0002000800010000000000100002000c0002000800010000000001"
SOURCE4 = "340001000c0001007061796c6f616400240002000800010000000001080002000000000108000300000000"


@pytest.mark.parametrize(("statements", "recorded"), [
    ((Equal(Field.SOURCE4, "10.0.0.1/32"), ACCEPT),
     V4 + SOURCE4 + "0c0800040000000004" + "2c00010008000100636d700020000200080001000000000108000200000000000c00030008"
     "0001000a000001" + ACCEPTS),
    ((Equal(Field.SOURCE4, "10.0.0.0/8"), ACCEPT),
     V4 + SOURCE4 + "0c0800040000000001" + "2c00010008000100636d700020000200080001000000000108000200000000000c00030005"
     "0001000a000000" + ACCEPTS),
    ((Equal(Field.SOURCE4, "10.0.0.0/9", True), ACCEPT),
     V4 + SOURCE4 + "0c0800040000000004" + "4c0001000c00010062697477697365003c0002000800010000000001080002000000000108"
     "0003000000000408000600000000000c00040008000100ff8000000c0005000800010000000000"
     "2c00010008000100636d700020000200080001000000000108000200000000010c000300080001000a000000" + ACCEPTS),
    ((NameBegins(Field.IN_INTERFACE, "mus"), DROP),
     "24000100090001006d6574610000000014000200080002000000000608000100000000012c00010008000100636d70002000020008000100"
     "0000000108000200000000000c000300070001006d757300" + ACCEPTS[:-2] + "00"),
    ((SetMark(0x10000),),
     "24000100090001006d657461000000001400020008000200000000030800010000000001" + "4c0001000c00010062697477697365003c00"
     "02000800010000000001080002000000000108000300000000040800060000000000"
     "0c00040008000100fffffeff0c00050008000100000001002400"
     "0100090001006d657461000000001400020008000200000000030800030000000001"),
    ((SetDscp(6, 46),),
     V4.replace("0500010002", "050001000a")
     + "340001000c0001007061796c6f6164002400020008000100000000010800020000000001080003000000000008000400000000024c0001"
     "000c00010062697477697365003c00020008000100000000010800020000000001080003000000000208000600000000000c000400060001"
     "00f03f00000c000500060001000b8000004c0001000c0001007061796c6f6164003c00020008000500000000010800020000000001080003"
     "00000000000800040000000002080006000000000008000700000000000800080000000000".replace("0800080000000000", "")),
])
def test_rules_are_what_nft_makes_of_the_same_words(statements: tuple[Statement, ...], recorded: str) -> None:
    made = _expressions(*statements)

    assert _told(made) == _told(recorded)


def _told(expressions: str) -> list[tuple[str, bytes]]:
    """Name and attributes of each, without one that the kernel adds and that says nothing: no flags of a checksum."""
    found = []
    for _, expression in _attributes(bytes.fromhex(expressions)):
        parts = dict(_attributes(expression))
        body = parts.get(2, b"").removesuffix(bytes.fromhex("0800080000000000"))
        found.append((parts[1].rstrip(b"\0").decode(), body))
    return found


def test_a_field_waits_for_what_it_depends_on_and_only_once() -> None:
    """In a packet of the other family, something else lies where the address would be."""
    ends = Equal(Field.SOURCE6, "fd00::1/128"), Equal(Field.DESTINATION6, "fd00::2/128")
    family = V4.replace("0500010002", "050001000a")

    assert _expressions(*ends).count(family) == 1
    assert _expressions(Equal(Field.FAMILY, 6), *ends) == _expressions(*ends)
    assert _expressions(InSet((Field.SOURCE4, Field.PROTOCOL), "s")).startswith(V4)
    assert _expressions(Equal(Field.PROTOCOL, 58), Equal(Field.ICMP6_TYPE, 1)) == _expressions(
        Equal(Field.ICMP6_TYPE, 1))
    assert _expressions(Equal(Field.PROTOCOL, 58, True), Equal(Field.ICMP6_TYPE, 1)) != _expressions(
        Equal(Field.ICMP6_TYPE, 1))


def test_a_host_is_a_key_and_a_prefix_is_where_it_begins_and_where_it_has_ended() -> None:
    assert _elements(HOSTS, "10.0.0.2/32", "10.0.0.1/32") == [
        "0c000180080001000a000002", "0c000180080001000a000001"]
    assert _elements(NETS, "10.0.0.0/24", "10.3.0.1/32", "128.0.0.0/1") == [
        "0c000180080001000a000000", "0c000180080001000a0001000800030000000001",
        "0c000180080001000a030001", "0c000180080001000a0300020800030000000001",
        "0c0001800800010080000000"]


def test_of_several_fields_each_has_a_first_and_a_last() -> None:
    source = NamedSet("f", (Type.ADDRESS4, Type.INTERFACE), interval=True, verdicts=True)

    ((_, attributes),) = _messages(AddElements(source, ((("10.0.0.0/24", "mus1"), jump("d")),)))

    assert _attributes(attributes[3])[0][1].hex() == (
        "1c000180180001000a0000006d757331000000000000000000000000"
        "1c000a80180001000a0000ff6d757331000000000000000000000000"
        "180002801400028008000100fffffffd0600020064000000")


@pytest.mark.parametrize(("declared", "flags", "key", "data", "notes"), [
    (HOSTS, None, (7, 4), None, "000402000000"),
    (NETS, 4, (7, 4), None, "000402000000"),
    (NamedSet("p4", (Type.ADDRESS4, Type.PROTOCOL, Type.PORT)), None, (0x730D, 12), None,
     "000400000000030800040d0000000100"),
    (NamedSet("fromn", (Type.ADDRESS4, Type.INTERFACE), interval=True, verdicts=True), 0x8C, (0x1E9, 20),
     (0xFFFFFF00, 16), "000400000000010400000000030800040d0000000100060400000000"),
    (NamedSet("to4", (Type.INTERFACE,), verdicts=True), 8, (41, 16), (0xFFFFFF00, 16),
     "000401000000010400000000060400000000"),
    (NamedSet("floating4", (Type.ADDRESS4,), data=(Type.ADDRESS4,)), 8, (7, 4), (7, 4),
     "000402000000010402000000060400000000"),
    (NamedSet("published4", (Type.PROTOCOL, Type.PORT), data=(Type.ADDRESS4, Type.PORT)), 8, (0x30D, 8), (0x1CD, 8),
     "000400000000010400000000030800040d0000000100040800040d0000000100060400000000"),
    (NamedSet("dyn", (Type.INTERFACE,), dynamic=True, timeout=True), 0x30, (41, 16), None, "000401000000"),
])
def test_sets_are_declared_as_nft_declares_them(
    declared: NamedSet, flags: int | None, key: tuple[int, int], data: tuple[int, int] | None, notes: str
) -> None:
    """With its notes, without which `nft list` cannot print what is in them."""
    ((kind, attributes),) = _messages(AddSet(declared))

    def number(attribute: int) -> int:
        return int.from_bytes(attributes[attribute], "big")

    assert kind == NEW_SET
    assert number(3) == (flags or 0)
    assert (number(4), number(5)) == key
    assert ((number(6), number(7)) if 6 in attributes else None) == data
    assert attributes[13].hex() == notes


def test_a_rule_brings_its_own_set_along() -> None:
    """Made before it, filled, and found by its number within the batch."""
    ports = OneOf((Field.DESTINATION_PORT,), (80, Span(90, 100)))

    (made, one), (filled, two), (written, rule) = _messages(AddRule("d", Rule((ports, ACCEPT))))

    assert [made, filled, written] == [NEW_SET, NEW_ELEMENTS, NEW_RULE]
    assert one[2] == two[2] == b"__set%d\0"
    assert one[10] == two[4] == bytes((0, 0, 0, 1))
    assert int.from_bytes(one[3], "big") == 0b111
    assert b"__set%d\0" in rule[4]


def test_elements_name_a_set_of_their_batch_by_its_number() -> None:
    """The kernel finds that faster. Not where the set may be there already: older kernels know no number for it."""
    new, filled = AddSet(HOSTS), AddElements(HOSTS, (("10.0.0.1/32", None),))

    *_, (_, made), (_, by_number) = _messages(new, filled)
    *_, (_, by_name) = _messages(KeepTable(), new, filled)

    assert by_number[4] == made[10]
    assert 2 not in by_number
    assert by_name[2] == HOSTS.name.encode() + b"\0"
    assert 4 not in by_name


def test_every_field_and_type_has_its_place_in_the_kernel() -> None:
    for field in Field:
        assert load(field)
    for type_ in Type:
        assert number_of((type_,))


@given(st.lists(st.ip_addresses(v=4), min_size=1, max_size=20))
def test_many_hosts_are_what_each_is(hosts) -> None:
    cidrs = [host_cidr(str(host)) for host in hosts]

    assert packed4(cidrs) == b"".join(host.packed for host in hosts)
    assert [value(cidr, Type.ADDRESS4) for cidr in cidrs] == [host.packed for host in hosts]


@given(st.ip_addresses(v=6))
def test_addresses_of_ipv6_are_read_as_they_are_written(address) -> None:
    assert packed(str(address), Type.ADDRESS6) == address.packed
    assert value(host_cidr(str(address)), Type.ADDRESS6) == address.packed


@pytest.mark.parametrize("text", ["10.0.0", "10.0.0.256", "10.0.0.1.2", "x", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Broken):
        packed(text, Type.ADDRESS4)
    assert packed4(["10.0.0.1/32", f"{text}/32"]) is None
    with pytest.raises(Broken):
        packed(f"{text}::1::", Type.ADDRESS6)


def test_hosts_among_which_is_a_prefix_are_not_taken_for_hosts() -> None:
    for odd in ("10.0.0.0/24", "10.0.0.1", "10.0.0.0/3", "fd00::1/128"):
        assert packed4(["10.0.0.1/32", odd]) is None
    assert _elements(HOSTS, "10.0.0.1/32", "10.0.0.2") == _elements(HOSTS, "10.0.0.1/32", "10.0.0.2/32")
    with pytest.raises(Broken, match=r"10\.0\.0\.0/24 is not one ipv4_addr"):
        encoded([AddElements(HOSTS, (("10.0.0.1/32", None), ("10.0.0.0/24", None)))])


def test_a_prefix_of_any_length_has_ends() -> None:
    assert key_ends("0.0.0.0/0", (Type.ADDRESS4,)) == (bytes(4), b"\xff" * 4)
    assert key_ends("fc00::/7", (Type.ADDRESS6,)) == (b"\xfc" + bytes(15), b"\xfd" + b"\xff" * 15)
    assert _elements(NETS, "0.0.0.0/0") == ["0c0001800800010000000000"]
    assert _elements(NamedSet("p", (Type.PORT,), interval=True), Span(1024, 65535)) == ["0c0001800600010004000000"]


@pytest.mark.parametrize(("statement", "says"), [
    (Equal(Field.ICMP_TYPE, 300), "value 300 exceeds icmp_type, 0 to 255"),
    (Equal(Field.DESTINATION_PORT, Span(1, 65536)), "65536"),
    (SetDscp(4, 64), "value 64 exceeds dscp"),
    (Equal(Field.IN_INTERFACE, "sixteen-letters-"), "no name of an interface"),
    (Equal(Field.SOURCE4, "fd00::1/128"), "no ipv4_addr"),
])
def test_what_does_not_fit_is_refused_by_name(statement: Statement, says: str) -> None:
    """The line is that of nft's text, whoever writes."""
    commands = ReplaceTable(), AddChain(Chain("c", ())), AddRule("c", Rule((statement, DROP), "why"))

    with pytest.raises(Broken, match=rf"{says}.*, line 5: add rule inet muslin c .*drop comment"):
        encoded(commands)


def test_an_element_that_does_not_fit_is_named() -> None:
    ports = (*range(2500), 70000)
    elements = tuple(((f"10.0.{n >> 8}.{n & 255}/32", 6, port), None) for n, port in enumerate(ports))
    declared = NamedSet("ports", (Type.ADDRESS4, Type.PROTOCOL, Type.PORT))

    with pytest.raises(Broken, match=r"70000.*, line 4: add element inet muslin ports \{ 10.0.9.196 . 6 . 70000 \}"):
        encoded([AddSet(declared), AddElements(declared, elements)])


def test_the_kernels_answer_leads_to_the_command_and_the_element() -> None:
    """It gives the number of a message, and of a byte in it."""
    hosts = tuple((Cidr(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32"), None) for n in range(9000))
    nets = tuple((Cidr(f"10.{n}.0.0/16"), None) for n in range(9))
    commands = (
        AddSet(HOSTS), AddElements(HOSTS, hosts), AddElements(NETS, nets),
        AddRule("c", Rule((OneOf((Field.PROTOCOL,), (6, 17)), goto("nowhere")))),
        RemoveElements(HOSTS, tuple(host for host, _ in hosts[:3])),
    )
    batch = encoded(commands)
    text = script(commands).splitlines()

    assert batch.place(0) == batch.place(batch.count + 1) == ""
    assert batch.place(1) == f"line 1: {text[0]}"
    second = 2 + _listed_before(commands, 3)
    assert batch.place(3, 40) == f"line {1 + 1 + second // 1000}: add element inet muslin s4 {{ {_host(second - 2)} }}"
    intervals = batch.first[2]
    assert batch.place(intervals, 20 + 12 + 8 + 4 + (16 + 24) * 2) == (
        "line 11: add element inet muslin i4 { 10.2.0.0/16 }")
    assert {batch.place(batch.first[3] + n) for n in range(3)} == {f"line 12: {text[11]}"}
    assert batch.place(batch.count).startswith("line 13: delete element inet muslin s4 { 10.0.0.0 }")


def _listed_before(commands: tuple[Command, ...], message: int) -> int:
    """How many elements the messages of the second command list before that message."""
    items = 0
    for number, (kind, attributes) in enumerate(_messages(*commands), 1):
        if kind == NEW_ELEMENTS and number < message:
            items += len(_attributes(attributes[3]))
    return items


def _host(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def test_flows_are_cut_anew_and_let_go() -> None:
    flow = Flow("10.0.0.1", "10.0.0.2", 17, 53, 5353)
    once = "{ 10.0.0.1 . 10.0.0.2 . 17 . 53 . 5353%s, 10.0.0.2 . 10.0.0.1 . 17 . 5353 . 53%s }"

    assert script(cut([flow], 60)).splitlines() == [
        f"add element inet muslin cut4 {once % ('', '')}",
        f"delete element inet muslin cut4 {once % ('', '')}",
        f"add element inet muslin cut4 {once % (' timeout 60s', ' timeout 60s')}",
    ]
    assert len(script(cut([flow])).splitlines()) == 2
    *_, (kind, attributes) = _messages(*cut([flow], 60))
    assert kind == NEW_ELEMENTS
    assert dict(_attributes(_attributes(attributes[3])[0][1]))[4] == (60_000).to_bytes(8, "big")


def test_what_counts_and_what_logs_says_no_more_than_it_must() -> None:
    assert _expressions(Counter()) == "140001000c000100636f756e7465720004000200"
    assert b"calico" in bytes.fromhex(_expressions(Limit(10, "minute", 5), Log("calico: ")))
    assert b"published4" in bytes.fromhex(_expressions(
        Redirect(4, (Field.PROTOCOL, Field.DESTINATION_PORT), "published4")))
    assert b"to4" in bytes.fromhex(_expressions(ByMap((Field.OUT_INTERFACE,), "to4")))
