"""Our own netlink messages against the program `nft`: what either writes, the kernel lists in the same words."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netrig
from muslin.drivers.nf_tables import Committing, asking, generation
from muslin.drivers.nft import Drifted, Nft
from muslin.errors import Broken, Transient
from muslin.intent import HostIntent
from muslin.render.nft import Changes, ElementChange, Flow, NftState
from muslin.render.nft.listing import Listing
from muslin.render.nft.table import AddElements, AddSet, RemoveElements
from muslin.render.nft.wire import encoded
from muslin.render.nft.words import (
    ACCEPT,
    DROP,
    RETURN,
    ByMap,
    Chain,
    Choose,
    ClearMark,
    ConnectionsOver,
    Counter,
    CtState,
    Element,
    Equal,
    Field,
    Hook,
    InSet,
    Limit,
    Log,
    Mapped,
    Marked,
    Masquerade,
    NameBegins,
    NamedSet,
    Noted,
    NoTrack,
    OneOf,
    OpensTcp,
    PacketsOver,
    Redirect,
    Reject,
    Rule,
    SetDscp,
    SetMark,
    SourceNat,
    Span,
    Statement,
    Translate,
    Type,
    goto,
    jump,
)
from nftcases import intents, mixed, step

pytestmark = pytest.mark.kernel

Spaces = tuple[str, str]


@pytest.fixture(scope="module")
def spaces() -> Iterator[Spaces]:
    """Where the wire writes, and where the program does."""
    with netrig.namespace("wire") as one, netrig.namespace("prog") as other:
        yield one, other


@pytest.fixture(scope="module")
def writers(spaces: Spaces) -> Iterator[tuple[Nft, Nft]]:
    one, other = Nft(spaces[0], program=False), Nft(spaces[1], program=True)
    yield one, other
    one.close()
    other.close()


def _listed(space: str) -> list[Any]:
    """What `nft` shows of the table, without the numbers that the kernel gives, and sets in one order."""
    found = json.loads(netrig.in_ns(space, "nft", "-j", "-n", "list", "table", "inet", "muslin"))["nftables"][1:]
    for item in found:
        for body in item.values():
            body.pop("handle", None)
            if "elem" in body:
                body["elem"] = sorted(body["elem"], key=repr)
    return sorted(found, key=_named)


def _named(item: dict[str, Any]) -> str:
    """Rules keep their order within a chain, all else goes by its name."""
    ((kind, body),) = item.items()
    return f"{kind} {body.get('chain') or body.get('name')}"


def _write(writers: tuple[Nft, ...], changes: Changes, cut: dict[Flow, int] | None = None) -> None:
    for writer in writers:
        asyncio.run(writer.apply(changes, cut or {}))


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(intents(), st.lists(st.tuples(intents(), st.lists(st.booleans(), min_size=6, max_size=6)), max_size=2))
def test_both_write_every_table_and_every_change_alike(spaces: Spaces, writers, start: HostIntent, walk) -> None:
    """Whatever an intent holds, and whatever becomes of it."""
    states = NftState(), NftState()
    now = start
    for then, choices in [(start, [True] * 6), *walk]:
        then = mixed(now, then, choices)
        delta = step(now, then, members=True)
        for state, writer in zip(states, writers, strict=True):
            asyncio.run(writer.apply(state.update(delta, then)))
        now = then

    assert _listed(spaces[0]) == _listed(spaces[1])
    ours, theirs = (asyncio.run(writer.read()) for writer in writers)
    assert ours == theirs


TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
V4, V6 = Type.ADDRESS4, Type.ADDRESS6
SOURCE4, PROTOCOL, PORT = Field.SOURCE4, Field.PROTOCOL, Field.DESTINATION_PORT

Filled = dict[NamedSet, dict[Element, Mapped]]
SETS: Filled = {
    NamedSet("hosts4", (V4,)): {"10.0.0.1/32": None, "255.255.255.255/32": None},
    NamedSet("hosts6", (V6,)): {"fd00::1/128": None, "::/128": None},
    NamedSet("nets4", (V4,), interval=True): {
        "10.0.0.0/24": None, "10.0.1.0/24": None, "10.9.0.1/32": None, "128.0.0.0/1": None},
    NamedSet("all4", (V4,), interval=True): {"0.0.0.0/0": None},
    NamedSet("nets6", (V6,), interval=True): {"fd00::/64": None, "ffff::/16": None, "::/128": None},
    NamedSet("ports", (V4, Type.PROTOCOL, Type.PORT)): {("10.0.0.1/32", TCP, 80): None},
    NamedSet("names", (Type.INTERFACE,)): {"mus1": None},
    NamedSet("from4", (V4, Type.INTERFACE), verdicts=True): {
        ("10.0.0.1/32", "mus1"): jump("other"), ("10.0.0.2/32", "mus2"): DROP, ("10.0.0.3/32", "mus3"): goto("other")},
    NamedSet("from6-nets", (V6, Type.INTERFACE), interval=True, verdicts=True): {("fd00::/63", "mus1"): jump("other")},
    NamedSet("by-port", (Type.PROTOCOL, Type.PORT), verdicts=True): {(TCP, 80): jump("other"), (UDP, 53): ACCEPT},
    NamedSet("by-ports", (Type.PROTOCOL, Type.PORT), interval=True, verdicts=True): {
        (TCP, Span(1, 79)): jump("other"), (TCP, Span(80, 80)): ACCEPT, (UDP, Span(1024, 65535)): DROP},
    NamedSet("by-range", (Type.PORT,), interval=True, verdicts=True): {
        Span(0, 9): ACCEPT, Span(10, 19): jump("other"), Span(60000, 65535): DROP, 77: RETURN},
    NamedSet("by-net", (V4,), interval=True, verdicts=True): {"10.0.0.0/8": jump("other"), "192.0.2.1/32": DROP},
    NamedSet("floating4", (V4,), data=(V4,)): {"192.0.2.1/32": "10.0.0.1/32"},
    NamedSet("floating6", (V6,), data=(V6,)): {"2001:db8::1/128": "fd00::1/128"},
    NamedSet("published4", (Type.PROTOCOL, Type.PORT), data=(V4, Type.PORT)): {(TCP, 8080): ("10.0.0.1/32", 80)},
    NamedSet("published6", (V6, Type.PROTOCOL, Type.PORT), data=(V6, Type.PORT)): {
        ("2001:db8::1/128", TCP, 8080): ("fd00::1/128", 80)},
    NamedSet("types", (Type.ICMP_TYPE, Type.ICMP_CODE)): {(8, 0): None},
    NamedSet("noted", (Type.PROTOCOL, Type.PORT), counted=True): {
        (TCP, 80): Noted("Profile/web ingress 0"), (UDP, 53): Noted("Profile/web ingress 1")},
    NamedSet("packets", (Type.INTERFACE,), dynamic=True, timeout=True): {},
    NamedSet("connections", (Type.INTERFACE,), dynamic=True): {},
}

WORDS: tuple[tuple[Statement, ...], ...] = (
    *((Equal(SOURCE4, net, negated),) for net in ("10.0.0.1/32", "10.0.0.0/8", "10.0.0.0/24", "10.128.0.0/9",
      "0.0.0.0/0") for negated in (False, True)),
    *((Equal(Field.DESTINATION6, net, negated),) for net in ("fd00::1/128", "fd00::/64", "fd00::/65", "8000::/1")
      for negated in (False, True)),
    (Equal(Field.SOURCE4, "10.0.0.1/32"), Equal(Field.DESTINATION4, "10.0.0.2/32"), ACCEPT),
    (Equal(Field.IN_INTERFACE, "mus1"), Equal(Field.OUT_INTERFACE, "fifteen-letters", True)),
    (NameBegins(Field.IN_INTERFACE, "mus"), NameBegins(Field.OUT_INTERFACE, "t")),
    (Equal(Field.OUT_INDEX, 0),), (Equal(Field.DESTINATION_TYPE, 2),), (Equal(Field.RETURN_INDEX, 0),),
    (Equal(Field.FAMILY, 4), InSet((SOURCE4,), "hosts4")),
    (Equal(Field.FAMILY, 6), InSet((Field.SOURCE6,), "hosts6", True)),
    (Equal(PROTOCOL, TCP), Equal(PORT, 80)), (Equal(PROTOCOL, TCP, True),),
    (Equal(PROTOCOL, TCP), Equal(Field.SOURCE_PORT, 67), Equal(PORT, 68)),
    (Equal(PROTOCOL, TCP), Equal(PORT, 80, True), Equal(Field.SOURCE_PORT, 81, True)),
    (Equal(PROTOCOL, TCP), Equal(PORT, Span(80, 90))), (Equal(PROTOCOL, TCP), Equal(PORT, Span(80, 90), True)),
    (Equal(PROTOCOL, ICMP), Equal(Field.ICMP_TYPE, 8)), (Equal(PROTOCOL, ICMP6), Equal(Field.ICMP6_TYPE, 128, True)),
    (Equal(PROTOCOL, ICMP), OneOf((Field.ICMP_TYPE, Field.ICMP_CODE), ((8, 0),), True)),
    (Equal(PROTOCOL, ICMP6), OneOf((Field.ICMP6_TYPE, Field.ICMP6_CODE), ((1, 0), (1, 4)))),
    (Equal(PROTOCOL, ICMP6), OneOf((Field.ICMP6_TYPE,), (133, 134))),
    (OneOf((PROTOCOL,), (TCP, UDP)), OneOf((PORT,), (80, Span(90, 100), Span(60000, 65535)))),
    (OneOf((PROTOCOL,), (TCP, UDP), True),), (OneOf((PORT,), (0, 80, 443), True),),
    (OneOf((SOURCE4,), ("10.0.0.0/31", "10.0.0.2/32", "10.0.0.9/32")),),
    (OneOf((SOURCE4,), ("10.0.0.0/8", "11.0.0.1/32")),), (OneOf((SOURCE4,), ("10.0.0.1/32", "11.0.0.1/32"), True),),
    (OneOf((Field.SOURCE6,), ("fd00::/8", "8000::1/128")),), (OneOf((Field.IN_INTERFACE,), ("a", "b")),),
    (OneOf((SOURCE4, PROTOCOL, PORT), (("10.0.0.0/8", TCP, Span(80, 90)), ("11.0.0.0/8", UDP, 53))),),
    (Equal(Field.CT_STATE, CtState.NEW), ACCEPT),
    (Choose(Field.CT_STATE, ((CtState.ESTABLISHED, ACCEPT), (CtState.INVALID, jump("other")))),),
    (InSet((Field.SOURCE6,), "nets6"),), (InSet((SOURCE4,), "nets4", True),), (InSet((SOURCE4,), "all4"),),
    (InSet((SOURCE4, PROTOCOL, PORT), "ports"), DROP), (InSet((Field.OUT_INTERFACE,), "names"), RETURN),
    (ByMap((SOURCE4, Field.IN_INTERFACE), "from4"),), (ByMap((Field.SOURCE6, Field.IN_INTERFACE), "from6-nets"),),
    (InSet((PROTOCOL, PORT), "noted"), ACCEPT),
    (ByMap((PROTOCOL, PORT), "by-port"),), (ByMap((PROTOCOL, PORT), "by-ports"),),
    (Equal(PROTOCOL, TCP), ByMap((PORT,), "by-range")), (ByMap((SOURCE4,), "by-net"),),
    (OpensTcp(), RETURN), (Equal(PROTOCOL, TCP), OpensTcp(), Counter()),
    (Marked(0x10000), ClearMark(0x10000)), (SetMark(0x80000000), ACCEPT),
    (Limit(10, "minute", 5), Log("calico-packet: ")), (Counter(), goto("other")),
    (Equal(PROTOCOL, TCP), Reject(reset=True)), (Reject(reset=False),),
    (PacketsOver(Field.IN_INTERFACE, "packets", Limit(100, "second", 5)), Counter(), DROP),
    (ConnectionsOver(Field.OUT_INTERFACE, "connections", 5), DROP),
    (SetDscp(4, 46),), (SetDscp(6, 0),), (SetDscp(6, 63),), (Equal(Field.FAMILY, 4), SetDscp(4, 63)),
)
ADDRESSES: tuple[tuple[Statement, ...], ...] = (
    (Translate(Field.DESTINATION4, "floating4"),), (Translate(Field.DESTINATION6, "floating6"),),
    (Redirect(4, (PROTOCOL, PORT), "published4"),),
    (Equal(Field.DESTINATION_TYPE, 2), Redirect(6, (Field.DESTINATION6, PROTOCOL, PORT), "published6")),
)
SOURCES: tuple[tuple[Statement, ...], ...] = (
    (Translate(Field.SOURCE4, "floating4"),), (Translate(Field.SOURCE6, "floating6"),), (Masquerade(),),
    (Equal(PROTOCOL, TCP), Counter(), Masquerade(Span(1024, 2000))), (SourceNat("192.0.2.1"),),
    (Equal(PROTOCOL, TCP), SourceNat("192.0.2.1", Span(1024, 2000))),
)


def _rules(words: tuple[tuple[Statement, ...], ...]) -> tuple[Rule, ...]:
    return tuple(Rule(each, f"number {number}" if number % 2 else "") for number, each in enumerate(words))


LATER = ("by-range", "by-net")
"""nft 1.0.6 puts such elements in before the chains that they lead to, if both are new."""
EVERYTHING = Changes(
    fresh=True,
    new_sets=tuple(SETS),
    new_chains=(
        Chain("words", _rules(WORDS), Hook("filter", "forward", -7)), Chain("other", ()),
        Chain("raw", _rules(((NoTrack(),),)), Hook("filter", "prerouting", -300)),
        Chain("in", _rules(ADDRESSES), Hook("nat", "prerouting", -100)),
        Chain("local", _rules(ADDRESSES[:2]), Hook("nat", "output", -100)),
        Chain("out", _rules(SOURCES), Hook("nat", "postrouting", 100)), Chain("door", (), Hook("filter", "input", 0)),
    ),
    elements=tuple(ElementChange(declared, new=tuple(held.items())) for declared, held in SETS.items()
                   if held and declared.name not in LATER),
)
AND_THE_REST = Changes(elements=tuple(ElementChange(declared, new=tuple(held.items()))
                                      for declared, held in SETS.items() if declared.name in LATER))


def _fill(*writers: Nft) -> None:
    _write(writers, EVERYTHING)
    _write(writers, AND_THE_REST)


def test_both_say_every_word_alike(spaces: Spaces, writers: tuple[Nft, Nft]) -> None:
    _fill(*writers)

    wire, program = (_listed(space) for space in spaces)
    assert len([item for item in wire if "rule" in item]) == len(WORDS) + len(ADDRESSES) + 2 + len(SOURCES) + 1
    for ours, theirs in zip(wire, program, strict=True):
        assert ours == theirs


STRANGE = """
add set inet muslin marks { type mark; elements = { 7 } ; }
add set inet muslin mixed { type ipv4_addr . mark; elements = { 10.0.0.1 . 7 } ; }
add map inet muslin more { type ifname : verdict; elements = { muself : jump other } ; }
add set inet muslin spread { type ipv4_addr; flags interval; elements = { 10.0.0.3-10.0.0.9, 10.2.0.0-10.3.255.255 } ; }
add set inet muslin lasting { type inet_service; timeout 1h; elements = { 80 } ; }
add chain inet muslin barred { type filter hook input priority 7; policy drop; }
add rule inet muslin barred tcp dport 80 counter
add rule inet muslin barred ct mark set 7 comment "theirs"
add rule inet muslin barred iifname vmap { "lo" : accept }
add chain ip theirs muslin
"""


def test_both_read_everything_alike(spaces: Spaces, writers: tuple[Nft, Nft]) -> None:
    """Also what a stranger has put into our table, and nothing that lies in his. Of types that are not ours, our reader
    gives the bytes: that they are not ours is all that counts."""
    _fill(writers[0])
    netrig.in_ns(spaces[0], "nft", "add", "table", "ip", "theirs")
    netrig.run("ip", "netns", "exec", spaces[0], "nft", "-f", "-", stdin=STRANGE)
    program = Nft(spaces[0], program=True)

    ours, theirs = asyncio.run(writers[0].read()), asyncio.run(program.read())

    assert ours is not None
    assert theirs is not None
    assert ours.chains == theirs.chains
    assert ours.elements.pop("marks") == {"07000000": ""}
    assert ours.elements.pop("mixed") == {"10.0.0.1 . 07000000": ""}
    assert ours.elements == {name: found for name, found in theirs.elements.items() if name not in ("marks", "mixed")}
    assert asyncio.run(writers[0].counters()) == asyncio.run(program.counters())
    netrig.in_ns(spaces[0], "nft", "delete", "table", "ip", "theirs")


def test_a_table_is_read_as_it_is_while_others_write(spaces: Spaces, writers: tuple[Nft, Nft]) -> None:
    """One of many states, never a mixture: here each set holds what the other does."""
    one, other = NamedSet("one", (V4,)), NamedSet("other", (V4,))
    members = [tuple((f"10.{number}.{n >> 8}.{n & 255}/32", None) for n in range(3000)) for number in range(2)]
    nft, over = Nft(spaces[0], program=False), threading.Event()
    asyncio.run(nft.apply(Changes(fresh=True, new_sets=(one, other))))

    def play() -> None:
        for turn in itertools.count():
            if over.is_set():
                return
            changes = tuple(ElementChange(each, new=members[turn % 2]) for each in (one, other))
            asyncio.run(nft.apply(Changes(renewed=True, flushed=(one, other), elements=changes)))

    thread = threading.Thread(target=play)
    thread.start()
    found: list[Listing | None] = []

    def read() -> bool:
        with contextlib.suppress(Transient):  # somebody wrote during each of several readings
            found.append(asyncio.run(writers[0].read()))
            return True
        return False

    try:
        for _ in range(40):
            read()
    finally:
        over.set()
        thread.join()
    netrig.wait_for("a reading when all is quiet", read)
    for each in found:
        assert each is not None
        assert each.elements["one"] == each.elements["other"]
    nft.close()


def test_what_was_put_in_can_be_taken_out(spaces: Spaces, writers: tuple[Nft, Nft]) -> None:
    """And put in once more: of intervals both ends go, and come again."""
    _fill(*writers)
    full = _listed(spaces[0])
    gone = tuple(ElementChange(declared, tuple(held)) for declared, held in SETS.items() if held)

    _write(writers, Changes(elements=gone))
    assert _listed(spaces[0]) == _listed(spaces[1])
    assert not [item for item in _listed(spaces[0]) for body in item.values() if body.get("elem")]

    _write(writers, Changes(elements=(*EVERYTHING.elements, *AND_THE_REST.elements)))
    assert _listed(spaces[0]) == _listed(spaces[1]) == full


@pytest.mark.parametrize("first", [0, 1], ids=["wire-first", "program-first"])
def test_one_goes_on_where_the_other_left_off(spaces: Spaces, writers: tuple[Nft, Nft], first: int) -> None:
    """Both declare the same sets and chains, so that a host may be switched from one to the other, or be mended."""
    one, other = Nft(spaces[0], program=bool(first)), Nft(spaces[0], program=not first)
    _fill(one)
    expected = _listed(spaces[0])
    over = Changes(renewed=True, flushed=EVERYTHING.new_sets, new_sets=EVERYTHING.new_sets,
                   new_chains=EVERYTHING.new_chains, elements=(*EVERYTHING.elements, *AND_THE_REST.elements))

    asyncio.run(other.apply(over))

    assert _listed(spaces[0]) == expected
    one.close()
    other.close()


def test_a_hundred_thousand_members_go_in_at_once_and_one_by_one(spaces: Spaces) -> None:
    nft = Nft(spaces[0], program=False)
    large = NamedSet("large", (V4,))
    members = tuple((f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32", None) for n in range(100_000))

    async def play() -> None:
        await nft.apply(Changes(fresh=True, new_sets=(large,), elements=(ElementChange(large, new=members),)))
        gone = tuple(element for element, _ in members[1:99_000])
        await nft.apply(Changes(elements=(ElementChange(large, gone),)))
        with pytest.raises(Drifted, match=r"delete element inet muslin large \{ 10\.0\.0\.7 \}"):
            await nft.apply(Changes(elements=(ElementChange(large, ("10.1.131.0/32", "10.0.0.7/32", "10.0.0.8/32")),)))
        await nft.apply(Changes(elements=(ElementChange(large, ("10.1.131.0/32",)),)))

    asyncio.run(play())
    nft.close()

    (found,) = (item["set"]["elem"] for item in _listed(spaces[0]) if "set" in item)
    assert sorted(found) == sorted(["10.0.0.0", *(member.partition("/")[0] for member, _ in members[99_000:]
                                                if member != "10.1.131.0/32")])


@pytest.mark.parametrize("there", [False, True], ids=["the first table", "a table that is there"])
def test_a_large_set_that_is_refused_on_the_way_is_taken_back(spaces: Spaces, there: bool) -> None:
    """It is filled in several transactions, and this kernel takes no more than 65,535 elements of such a set."""
    nft, large = Nft(spaces[0], program=False), NamedSet("large", (V4,), dynamic=True)
    members = tuple((f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32", None) for n in range(66_000))
    asyncio.run(nft.remove())
    if there:
        _fill(nft)
    before = _listed(spaces[0]) if there else []
    chains = (Chain("words", (Rule((InSet((SOURCE4,), "large"), ACCEPT)),), Hook("filter", "forward", -7)),)
    wrong = Changes(fresh=not there, new_sets=(large,), new_chains=() if there else chains,
                    changed_chains=chains if there else (), elements=(ElementChange(large, new=members),))

    with pytest.raises(Broken, match=r"add element inet muslin large \{ 10\.0\.255\.255 \}"):
        asyncio.run(nft.apply(wrong))

    assert [item for item in _listed(spaces[0]) if "table" not in item] == [
        item for item in before if "table" not in item]
    nft.close()


def test_a_kernel_that_does_not_take_a_word_says_which(spaces: Spaces) -> None:
    """Masquerading is for the end of the way out only. Nothing of the batch is in force."""
    nft = Nft(spaces[0], program=False)
    _fill(nft)
    before = _listed(spaces[0])
    wrong = Changes(new_chains=(Chain("late", (Rule((ACCEPT,)), Rule((Masquerade(),)))),),
                    changed_chains=(Chain("words", (Rule((jump("late"),)),), Hook("filter", "forward", -7)),))

    with pytest.raises(Broken, match=r"Operation not supported .*, line .: add rule inet muslin "):
        asyncio.run(nft.apply(wrong))

    assert _listed(spaces[0]) == before
    nft.close()


def test_who_writes_in_between_is_noticed_and_ours_is_written_all_the_same(spaces: Spaces) -> None:
    """A batch names the generation that it was made for. Somebody who has moved it on makes the kernel refuse it."""
    declared = NamedSet("s", (V4,))
    batch = encoded([AddSet(declared), AddElements(declared, (("10.0.0.1/32", None),))])
    netrig.in_ns(spaces[0], "nft", "add", "table", "inet", "muslin")
    committing = Committing(spaces[0])
    with asking(spaces[0]) as netlink:
        stale = generation(netlink)
        netrig.in_ns(spaces[0], "nft", "add", "table", "ip", "theirs")
        (refused,), _ = netlink.transact(batch.framed(stale), batch.count + 2, (10 << 8 | 16, 0, bytes(4)))
        assert (refused.position, refused.errno) == (0, 85)
        assert committing.commit(batch) == []
        assert generation(netlink) == stale + 2
        netrig.in_ns(spaces[0], "nft", "delete", "table", "ip", "theirs")
        assert committing.commit(encoded([RemoveElements(declared, ("10.0.0.1/32",))])) == []
        assert generation(netlink) == stale + 4
    committing.close()


def test_a_batch_that_the_socket_cannot_hold_is_a_shortage(spaces: Spaces) -> None:
    """Where we may not enlarge it, as in a namespace of users."""
    declared = NamedSet("s", (V4,))
    members = tuple((f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32", None) for n in range(100_000))
    batch = encoded([AddSet(declared), AddElements(declared, members)])

    with asking(spaces[0]) as netlink, pytest.raises(Transient, match="cannot be sent at once: Message too long"):
        netlink.transact(batch.framed(), batch.count + 2, (10 << 8 | 16, 0, bytes(4)))


def test_a_kernel_that_refuses_more_than_can_be_told_is_asked_anew(spaces: Spaces) -> None:
    """Each message is refused, and the answers do not find room in our socket. The next batch gets its own answers."""
    gone = [RemoveElements(NamedSet("missing", (V4,)), ("10.0.0.1/32",))] * 60_000
    netrig.in_ns(spaces[0], "nft", "add", "table", "inet", "muslin")
    committing = Committing(spaces[0])

    with pytest.raises(Transient, match="answers were lost"):
        committing.commit(encoded(gone))

    assert [refusal.position for refusal in committing.commit(encoded(gone[:3]))] == [1, 2, 3]
    assert committing.commit(encoded([AddSet(NamedSet("there", (V4,)))])) == []
    committing.close()


def test_a_flow_is_cut_with_the_table_that_is_made(spaces: Spaces, writers: tuple[Nft, Nft]) -> None:
    """For as long as it is told, whoever writes."""
    flow = Flow("10.0.0.1", "10.0.0.2", UDP, 53, 5353)

    async def play(writer: Nft) -> None:
        await writer.apply(NftState().update(HostIntent(), HostIntent()), {flow: 600})
        await writer.cut([flow._replace(protocol=TCP)], 700)
        await writer.cut([flow._replace(protocol=132)], 700)
        await writer.uncut([flow._replace(protocol=132)])

    for writer in writers:
        asyncio.run(play(writer))

    lifetimes = [
        sorted((element["elem"]["val"]["concat"][2], element["elem"]["timeout"]) for item in _listed(space)
               if item.get("set", {}).get("name") == "cut4" for element in item["set"]["elem"])
        for space in spaces
    ]
    assert lifetimes[0] == lifetimes[1] == [(6, 700), (6, 700), (17, 600), (17, 600)]
