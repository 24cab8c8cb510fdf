"""From nftables to either iptables and back, under traffic: nothing is lost, nothing leaks, nothing is left behind."""

from __future__ import annotations

import asyncio
import select
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

import netrig
import nftrig
from intents import (
    ALLOW,
    EGRESS,
    INGRESS,
    OPEN,
    OPEN_IN,
    OPEN_OUT,
    addresses,
    endpoint,
    group,
    intent,
    policy,
    rule,
    side,
    tier,
)
from muslin.agent.enforcement import Enforcement
from muslin.drivers.iptables import Flavour, Iptables
from muslin.drivers.nft import Nft
from muslin.intent import Action, Backend, Delta, EndpointKey, HostIntent, HostInterface, Qos, Settings
from muslin.render.nft import Flow
from nftrig import ICMP, TCP, UDP, Host, Packet, Station

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NFT, LEGACY, IPT_NFT = Backend.NFTABLES, Backend.IPTABLES_LEGACY, Backend.IPTABLES_NFT
OPEN_PORT, SHUT_PORT, PACE = 8000, 8001, 0.001


def wanted(backend: Backend, *ports: int) -> HostIntent:
    """Workload 1 may speak to 2 on these ports (UDP, by a set of addresses), and no more."""
    spec = " ".join(map(str, ports or (OPEN_PORT,)))
    guard = policy("guard", rule(ALLOW, UDP, side(ports=spec), side(sets="peers")))
    into = group(INGRESS, tier(guard))
    peers = addresses("peers", "10.65.0.1 fd65::1")
    return intent(*OPEN, guard, into, peers, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT),
                  settings=Settings(backend=backend))


@dataclass
class Prober:
    """A thousand packets a second: one of a flow that stands, a new flow that is allowed, and one that is denied, in
    turn. Each carries its number."""

    one: Station
    two: Station
    sent: dict[int, int] = field(default_factory=dict)
    heard: set[int] = field(default_factory=set)

    @contextmanager
    def probing(self) -> Iterator[None]:
        end = threading.Event()
        threads = [threading.Thread(target=run, args=(end,)) for run in (self._send, self._hear)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            end.set()
            for thread in threads:
                thread.join()
            self._drain()

    def _send(self, end: threading.Event) -> None:
        number, due = 0, time.monotonic()
        while not end.is_set():
            number += 1
            port = SHUT_PORT if number % 3 == 0 else OPEN_PORT
            source = 7777 if number % 3 == 1 else 10000 + number % 50000
            self.sent[number] = port
            packet = Packet(self.one.v4, self.two.v4, UDP, port, source)
            mac = bytes.fromhex(nftrig.HOST_MAC.replace(":", "")) + b"\x02\0\0\0\0\1"
            self.one.wire.send(mac + b"\x08\x00" + packet.bytes(b"probe" + struct.pack(">I", number)))
            due += PACE
            time.sleep(max(0.0, due - time.monotonic()))

    def _hear(self, end: threading.Event) -> None:
        while not end.is_set():
            if select.select([self.two.wire], [], [], 0.05)[0]:
                self._take()

    def _drain(self) -> None:
        while select.select([self.two.wire], [], [], 0.2)[0]:
            self._take()

    def _take(self) -> None:
        frame, address = self.two.wire.recvfrom(2048)
        at = frame.find(b"probe")
        if at >= 0 and address[2] != socket.PACKET_OUTGOING:
            self.heard.add(struct.unpack(">I", frame[at + 5 : at + 9])[0])

    def verdict(self) -> tuple[int, int, int]:
        """(packets, lost, leaked)"""
        allowed = {number for number, port in self.sent.items() if port == OPEN_PORT}
        return len(self.sent), len(allowed - self.heard), len(self.heard - allowed)


class Rig:
    def __init__(self, host: Host, one: Station, two: Station) -> None:
        self.host, self.one, self.two = host, one, two

    def left(self) -> dict[Backend, bool]:
        """In which backend is there anything of ours?"""
        async def look() -> dict[Backend, bool]:
            found = {NFT: await Nft(self.host.space).read() is not None}
            for backend, flavour in ((LEGACY, Flavour.LEGACY), (IPT_NFT, Flavour.NFT)):
                listing = await Iptables(flavour, self.host.space).read()
                found[backend] = bool(listing.chains) or any(
                    "mus-" in line for lines in listing.builtins.values() for line in lines)
            return found

        return asyncio.run(look())

    def sets(self) -> str:
        return netrig.in_ns(self.host.space, "ipset", "list", "-n")

    def passes(self, port: int) -> bool:
        return self.host.passes(self.one, self.two, protocol=UDP, port=port)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with ExitStack() as stack:
        host = stack.enter_context(nftrig.host())
        one, two = (stack.enter_context(nftrig.station(host, number)) for number in (1, 2))
        yield Rig(host, one, two)


def only(backend: Backend) -> dict[Backend, bool]:
    return {each: each is backend for each in Backend}


def test_all_the_way_round_under_traffic_nothing_is_lost_nothing_leaks_and_nothing_is_left(rig: Rig) -> None:
    prober = Prober(rig.one, rig.two)
    enforcement = Enforcement(netns=rig.host.space)

    async def settled(backend: Backend) -> None:
        await enforcement.take(Delta(settings=Settings(backend=backend)), wanted(backend))
        deadline = time.monotonic() + 10
        while enforcement.is_unfinished:
            assert time.monotonic() < deadline, enforcement.problems
            await enforcement.mend()
        assert enforcement.backend is backend
        assert enforcement.in_force

    asyncio.run(settled(NFT))
    with prober.probing():
        for backend in (LEGACY, IPT_NFT, NFT, IPT_NFT, LEGACY, NFT):
            asyncio.run(settled(backend))
            assert rig.left() == only(backend)

    packets, lost, leaked = prober.verdict()
    assert (lost, leaked) == (0, 0), f"of {packets}"
    assert packets > 500
    assert rig.sets() == ""


@pytest.mark.parametrize("backend", [LEGACY, IPT_NFT])
def test_a_change_of_policy_is_followed_in_either_flavour_and_a_restart_loses_nothing(
    rig: Rig, backend: Backend
) -> None:
    """A new agent writes the whole over what the last one left, in one step a table."""
    asyncio.run(Enforcement(netns=rig.host.space).take(Delta(snapshot=True), wanted(backend)))
    prober = Prober(rig.one, rig.two)

    with prober.probing():
        for _ in range(3):
            again = Enforcement(netns=rig.host.space)
            asyncio.run(again.take(Delta(snapshot=True), wanted(backend)))
            assert not again.is_unfinished

    packets, lost, leaked = prober.verdict()
    assert (lost, leaked) == (0, 0), f"of {packets}"


@pytest.mark.parametrize("backend", [LEGACY, IPT_NFT])
def test_who_was_killed_halfway_through_a_switch_is_followed_by_one_that_clears_away(
    rig: Rig, backend: Backend
) -> None:
    """Both are in force then; the successor keeps the one that is wanted, whichever that is."""
    for _ in range(2):  # both written, nobody tidied: as kill -9 leaves it
        asyncio.run(Enforcement(NFT, rig.host.space)._made(NFT).take(Delta(snapshot=True), wanted(NFT)))
        asyncio.run(Enforcement(NFT, rig.host.space)._made(backend).take(Delta(snapshot=True), wanted(backend)))
        assert rig.left() == {**only(backend), NFT: True}

        after = Enforcement(netns=rig.host.space)
        asyncio.run(after.take(Delta(snapshot=True), wanted(backend)))
        assert rig.left() == only(backend)
        assert rig.passes(OPEN_PORT)
        assert not rig.passes(SHUT_PORT)

        asyncio.run(after.take(Delta(settings=Settings()), wanted(NFT)))
        assert rig.left() == only(NFT)


def test_a_backend_that_is_not_there_is_told_and_the_other_stays_and_follows(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    """The host that cannot do what is asked does not stand open, and does not stand still."""
    enforcement = Enforcement(netns=rig.host.space)
    asyncio.run(enforcement.take(Delta(snapshot=True), wanted(NFT)))
    monkeypatch.setattr("muslin.drivers.iptables._WAIT", "no-number")  # as a program that does not know our words

    asyncio.run(enforcement.take(Delta(), wanted(LEGACY)))
    shut = wanted(LEGACY, SHUT_PORT)
    asyncio.run(enforcement.take(Delta(policies=dict(shut.policies)), shut))

    assert enforcement.in_force
    assert enforcement.backend is NFT
    assert any("nftables stays in force, iptables-legacy cannot be" in said.what for said in enforcement.problems)
    assert rig.passes(SHUT_PORT)
    assert not rig.passes(OPEN_PORT)

    monkeypatch.undo()
    asyncio.run(enforcement.mend())
    assert enforcement.backend is LEGACY
    assert rig.passes(SHUT_PORT)
    assert not rig.passes(OPEN_PORT)
    assert rig.left() == only(LEGACY)


@pytest.mark.parametrize("backend", [LEGACY, IPT_NFT])
def test_what_somebody_changes_is_mended_and_told(rig: Rig, backend: Backend) -> None:
    enforcement = Enforcement(backend, rig.host.space)
    asyncio.run(enforcement.take(Delta(snapshot=True), wanted(backend)))
    word = backend.value
    member = f"mus4n-{'peers'}"
    for meddling in (
        (word, "-t", "filter", "-F", "mus-from"), (word, "-t", "filter", "-F"), (word, "-t", "raw", "-F", "PREROUTING"),
        ("ipset", "add", member, "10.1.1.1"), ("ipset", "flush", member),
    ):
        netrig.in_ns(rig.host.space, *meddling)
        enforcement._active._rest_until = 0.0

        asyncio.run(enforcement.check())

        assert enforcement.mended(), meddling
        assert rig.passes(OPEN_PORT)
        assert not rig.passes(SHUT_PORT)
        enforcement._active._rest_until = 0.0
        asyncio.run(enforcement.check())
        assert not enforcement.mended()


@pytest.mark.parametrize("backend", [LEGACY, IPT_NFT])
def test_a_foreign_rule_that_comes_before_ours_is_behind_it_again_after_the_next_look(
    rig: Rig, backend: Backend
) -> None:
    enforcement = Enforcement(backend, rig.host.space)
    asyncio.run(enforcement.take(Delta(snapshot=True), wanted(backend)))
    netrig.in_ns(rig.host.space, backend.value, "-I", "FORWARD", "-j", "DROP")
    assert not rig.passes(OPEN_PORT)
    enforcement._active._rest_until = 0.0

    asyncio.run(enforcement.check())

    assert "did not lead to our chain before all others" in " ".join(enforcement.mended())
    assert rig.passes(OPEN_PORT)
    assert "-j DROP" in netrig.in_ns(rig.host.space, backend.value, "-S", "FORWARD")


@pytest.mark.parametrize("backend", [LEGACY, IPT_NFT])
def test_chains_of_a_version_before_that_nobody_wants_are_swept_and_those_of_others_stay(
    rig: Rig, backend: Backend
) -> None:
    space, word = rig.host.space, backend.value
    for line in ("-N mus-pi-gone", "-A mus-pi-gone -j DROP", "-N mus-old", "-A mus-old -j mus-pi-gone",
                 "-A INPUT -j mus-old", "-N DOCKER", "-A FORWARD -j DOCKER"):
        netrig.in_ns(space, word, *line.split())
    netrig.in_ns(space, "ipset", "create", "mus4n-gone", "hash:net")
    netrig.in_ns(space, "ipset", "create", "strangers", "hash:net")

    asyncio.run(Enforcement(backend, space).take(Delta(snapshot=True), wanted(backend)))

    saved = netrig.in_ns(space, f"{word}-save" if "nft" not in word else "iptables-nft-save")
    assert "mus-old" not in saved
    assert "mus-pi-gone" not in saved
    assert "-A FORWARD -j DOCKER" in saved
    assert "strangers" in rig.sets().split()
    assert "mus4n-gone" not in rig.sets().split()


ACK = 0x10


@pytest.mark.parametrize("backend", [LEGACY, IPT_NFT])
@pytest.mark.parametrize("version", [4, 6])
def test_a_flow_that_was_ended_is_not_opened_again_from_either_end_and_others_are(
    rig: Rig, backend: Backend, version: int
) -> None:
    """Also over a switch of the backend."""
    enforcement = Enforcement(netns=rig.host.space)
    both = intent(*OPEN, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, OPEN_IN, OPEN_OUT))
    asyncio.run(enforcement.take(Delta(snapshot=True), both))
    one, two = (rig.one, rig.two)
    ends = (one.v4, two.v4) if version == 4 else (one.v6, two.v6)

    def passes(source: Station, destination: Station, source_port: int, port: int, flags: int = ACK) -> bool:
        netrig.in_ns(rig.host.space, "conntrack", "-F")
        packet = nftrig.between(source, destination, version, protocol=TCP, source_port=source_port, port=port,
                                flags=flags)
        return rig.host.passes(source, destination, packet)

    flow = Flow(*ends, TCP, 40000, 80)
    asyncio.run(enforcement.cut([flow], 60))
    there = intent(*OPEN, *both.endpoints.values(), settings=Settings(backend=backend))
    asyncio.run(enforcement.take(Delta(settings=there.settings), there))
    assert enforcement.backend is backend

    assert not passes(one, two, 40000, 80)
    assert not passes(two, one, 80, 40000)
    assert passes(one, two, 40000, 80, flags=2)
    assert passes(one, two, 40001, 80)
    assert passes(one, two, 40000, 81)
    asyncio.run(enforcement.uncut([flow]))
    assert passes(one, two, 40000, 80)


def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """A host whose kernel lacks modules: its iptables refuses the rules that need them, as the real one would."""
    for program in ("iptables-legacy-restore", "ip6tables-legacy-restore"):
        real = shutil.which(program)
        tests = "\n".join(f"case \"$text\" in *'{word}'*) echo 'line 3 failed: {word}' >&2; exit 1;; esac"
                          for word in words)
        through = f"printf '%s\\n' \"$text\" | {real} \"$@\""
        (tmp_path / program).write_text(f"#!/bin/sh\ntext=$(cat)\n{tests}\n{through}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def test_a_policy_that_needs_what_the_kernel_lacks_denies_and_the_rest_is_in_force(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without(tmp_path, monkeypatch, "-m iprange", "-m connlimit")
    odd = policy("odd", rule(ALLOW, UDP, side(ports="8002")),
                 rule(ALLOW, UDP, side(ports="8003"), side(nets="10.0.0.0/8", not_nets="10.66.0.0/16")))
    plain = policy("plain", rule(ALLOW, UDP, side(ports="8000")))
    into, other = group(INGRESS, tier(plain, odd)), group(INGRESS, tier(plain))
    limited = msgspec.structs.replace(endpoint(1, other, OPEN_OUT), qos=Qos(egress_connections=1))
    made = intent(*OPEN, odd, plain, into, other, limited, endpoint(2, into, OPEN_OUT))
    enforcement = Enforcement(LEGACY, rig.host.space)

    asyncio.run(enforcement.take(Delta(snapshot=True), made))

    assert enforcement.in_force, enforcement.fault
    told = [problem.what for problem in enforcement.problems]
    assert "GlobalNetworkPolicy/odd ingress denies: this kernel's iptables cannot do iprange" in told
    assert any("cannot do connlimit" in said for said in told)
    assert rig.passes(8000)
    assert not rig.passes(8002)
    assert rig.host.passes(rig.two, rig.one, protocol=UDP, port=8000)
    assert "iptables cannot do iprange" in netrig.in_ns(rig.host.space, "iptables-legacy-save")


def test_a_kernel_without_the_core_of_it_is_told_to_use_nftables(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asyncio.run(Enforcement(netns=rig.host.space).take(Delta(snapshot=True), wanted(NFT)))
    without(tmp_path, monkeypatch, "-m set")
    enforcement = Enforcement(netns=rig.host.space)
    asyncio.run(enforcement.take(Delta(snapshot=True), wanted(NFT)))

    asyncio.run(enforcement.take(Delta(), wanted(LEGACY)))

    assert enforcement.in_force
    assert any("cannot do set: use nftables" in problem.what for problem in enforcement.problems)
    assert rig.passes(OPEN_PORT)
    assert not rig.passes(SHUT_PORT)


@pytest.mark.parametrize("backend", [LEGACY, IPT_NFT])
def test_who_is_refused_denies_alone_and_is_let_in_when_it_is_mended(rig: Rig, backend: Backend) -> None:
    """An ICMP type that there is none of, and a set with a member that is none: at the start, and later."""
    bad = policy("bad", rule(ALLOW, UDP, side(ports="8002")), rule(ALLOW, ICMP, icmp=(300, None)))
    good = policy("good", rule(ALLOW, UDP, side(ports="8000")))
    strange = policy("strange", rule(ALLOW, UDP, side(ports="8003"), side(sets="odd")))
    into = group(INGRESS, tier(good, strange, bad))
    odd = msgspec.structs.replace(addresses("odd", "10.65.0.1"), members=frozenset({"10.65.0.1/32", "10.0.0.1/77"}))
    known = intent(*OPEN, good, bad, strange, odd, into, endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, into, OPEN_OUT))
    enforcement = Enforcement(backend, rig.host.space)

    asyncio.run(enforcement.take(Delta(snapshot=True), known))

    assert enforcement.in_force, enforcement.fault
    keys = {problem.key for problem in enforcement.problems}
    assert keys == {"GlobalNetworkPolicy/bad", "odd"}
    assert rig.passes(8000)
    assert not rig.passes(8002)
    assert not rig.passes(8003)

    mended = policy("bad", rule(ALLOW, UDP, side(ports="8002")))
    fine = addresses("odd", "10.65.0.1")
    known.policies[mended.id], known.sets[fine.id] = mended, fine
    asyncio.run(enforcement.take(Delta(policies={mended.id: mended}, sets={fine.id: fine}), known))
    assert enforcement.problems == ()
    assert rig.passes(8003)
    assert rig.passes(8002)

    known.policies[bad.id] = bad
    asyncio.run(enforcement.take(Delta(policies={bad.id: bad}), known))
    assert [problem.key for problem in enforcement.problems] == [bad.id]
    assert not rig.passes(8002)
    assert rig.passes(8003)


def test_an_address_behind_more_interfaces_than_a_set_takes_shuts_those_that_are_too_many(rig: Rig) -> None:
    """The kernel takes one address with 64 interfaces."""
    plain = endpoint(1, OPEN_IN, OPEN_OUT), endpoint(2, OPEN_IN, OPEN_OUT)
    many = [msgspec.structs.replace(endpoint(number, OPEN_IN, OPEN_OUT), addresses=("10.99.0.1/32",))
            for number in range(10, 76)]
    enforcement = Enforcement(LEGACY, rig.host.space)

    asyncio.run(enforcement.take(Delta(snapshot=True), intent(*OPEN, *plain, *many)))

    assert enforcement.in_force, enforcement.fault
    assert len(enforcement.problems) == 2
    assert enforcement.shut().keys() >= {problem.key for problem in enforcement.problems}
    assert rig.passes(OPEN_PORT)


@pytest.mark.parametrize("sort", ["untracked_ingress", "pre_dnat", "ingress"])
def test_policy_of_the_host_s_own_interfaces_has_no_hole_either(rig: Rig, sort: str) -> None:
    """What raw or mangle accept early, both backends must know of at once: each by a bit of the mark of its own."""
    web = policy("web", rule(ALLOW, UDP, side(ports="80")))
    shut_in, shut_out = group(INGRESS), group(EGRESS)
    early = sort != "ingress"
    list_ = group(INGRESS, tier(web, default=Action.PASS if early else Action.DENY))
    list_ = msgspec.structs.replace(list_, end=Action.PASS if early else Action.DENY)
    key = EndpointKey("HostEndpoint/h")
    lists = {"ingress": shut_in.id, "egress": shut_out.id} | {sort: list_.id}
    covered = HostInterface(key=key, interface=rig.one.interface, **lists)

    def site(backend: Backend) -> HostIntent:
        made = intent(web, shut_in, shut_out, list_, settings=Settings(backend=backend, interface_prefix="tap"))
        return msgspec.structs.replace(made, host_interfaces={key: covered})

    enforcement = Enforcement(netns=rig.host.space)
    asyncio.run(enforcement.take(Delta(snapshot=True), site(NFT)))
    space, host = rig.one.space, rig.host.space
    netrig.run("ip", "-n", host, "addr", "add", "10.200.0.1/32", "dev", "lo")
    with (
        nftrig.probe(space, host, "10.200.0.1", 80) as allowed, nftrig.probe(space, host, "10.200.0.1", 81) as denied,
    ):
        for backend in (LEGACY, IPT_NFT, NFT) * 3:
            asyncio.run(enforcement.take(Delta(settings=Settings(backend=backend)), site(backend)))
            assert enforcement.backend is backend
    assert allowed.sent > 300
    assert (allowed.sent - allowed.heard, denied.heard) == (0, 0)


def test_tables_that_say_nothing_are_left_alone_until_they_do(rig: Rig) -> None:
    """A table that was used once stays hooked in, and every packet pays for it."""
    enforcement = Enforcement(LEGACY, rig.host.space)
    asyncio.run(enforcement.take(Delta(snapshot=True), wanted(LEGACY)))
    assert _tables(rig) == {"*raw", "*filter"}

    made = wanted(LEGACY)
    marked = msgspec.structs.replace(made.endpoints["WorkloadEndpoint/default/w1"], qos=Qos(dscp=8))
    made.endpoints[marked.key] = marked
    asyncio.run(enforcement.take(Delta(endpoints={marked.key: marked}), made))

    assert _tables(rig) == {"*raw", "*filter", "*mangle"}
    assert enforcement.in_force
    assert "--set-dscp 0x08" in netrig.in_ns(rig.host.space, "iptables-legacy-save")
    assert rig.passes(OPEN_PORT)


def _tables(rig: Rig) -> set[str]:
    saved = netrig.in_ns(rig.host.space, "iptables-legacy-save")
    return {line for line in saved.splitlines() if line.startswith("*")}
