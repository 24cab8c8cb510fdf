"""The agent's kernel side in a real namespace: intent in, packets and repairs out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from muslin.agent.kernel import Kernel
from muslin.drivers import netns, plug
from muslin.drivers.monitor import Monitor
from muslin.drivers.netlink import Netlink
from muslin.drivers.plug import Cable
from muslin.intent import (
    Action,
    Delta,
    Direction,
    Endpoint,
    EndpointKey,
    Group,
    GroupId,
    HostIntent,
    Icmp,
    Match,
    Neighbour,
    Origin,
    Policy,
    PolicyId,
    Route,
    RouteKind,
    Rule,
)
from muslin.net import Cidr
from netrig import in_ns, ip_json, namespace, run

pytestmark = pytest.mark.kernel

ALLOW = PolicyId("Profile/allow")
OPEN_IN, OPEN_OUT, SHUT_IN = GroupId("1" * 16), GroupId("2" * 16), GroupId("3" * 16)


@dataclass
class Guest:
    """A workload: a namespace, plugged, with one v4 and one v6 address."""

    number: int
    space: str

    @property
    def key(self) -> EndpointKey:
        return EndpointKey(f"WorkloadEndpoint/default/w{self.number}")

    @property
    def interface(self) -> str:
        return f"mus{self.number:011x}"

    @property
    def cable(self) -> Cable:
        return Cable(owner=self.key, interface=self.interface, namespace=self.space)

    @property
    def addresses(self) -> tuple[Cidr, ...]:
        return Cidr(f"10.65.0.{self.number}/32"), Cidr(f"fd00:65::{self.number:x}/128")

    def endpoint(self, ingress: GroupId = OPEN_IN) -> Endpoint:
        return Endpoint(key=self.key, interface=self.interface, ingress=ingress, egress=OPEN_OUT,
                        mac=self.cable.inner_mac, addresses=self.addresses)


def intent_of(*guests: Guest, shut: frozenset[int] = frozenset(), revision: int = 1) -> HostIntent:
    """Everything is allowed, apart from what goes to those in `shut`."""
    rule = Rule(action=Action.ALLOW, origin=Origin(kind="Profile", name="allow"))
    endpoints = {g.key: g.endpoint(SHUT_IN if g.number in shut else OPEN_IN) for g in guests}
    routes = {
        a: Route(destination=a, kind=RouteKind.DEVICE, interface=g.interface) for g in guests for a in g.addresses
    }
    neighbours = {
        f"{bare}%{g.interface}": Neighbour(address=bare, interface=g.interface, mac=g.cable.inner_mac)
        for g in guests for bare in (a.partition("/")[0] for a in g.addresses)
    }
    return HostIntent(
        revision=revision,
        policies={ALLOW: Policy(id=ALLOW, ingress=(rule,), egress=(rule,))},
        groups={
            OPEN_IN: Group(id=OPEN_IN, direction=Direction.INGRESS, profiles=(ALLOW,)),
            OPEN_OUT: Group(id=OPEN_OUT, direction=Direction.EGRESS, profiles=(ALLOW,)),
            SHUT_IN: Group(id=SHUT_IN, direction=Direction.INGRESS),
        },
        endpoints=endpoints, routes=routes, neighbours=neighbours,
    )


def whole(intent: HostIntent) -> Delta:
    return Delta(
        snapshot=True, revision=intent.revision, policies=dict(intent.policies), groups=dict(intent.groups),
        endpoints=dict(intent.endpoints), routes=dict(intent.routes), neighbours=dict(intent.neighbours),
        settings=intent.settings,
    )


class Rig:
    def __init__(self, name: str, stack: ExitStack) -> None:
        self.name = name
        self._stack = stack

    def guest(self, number: int) -> Guest:
        """Laid, not connected: as the agent leaves it until policy is there."""
        guest = Guest(number, self._stack.enter_context(namespace(f"w{number}")))
        with netns.opened(self.name) as fd, netns.inside(fd), Netlink() as host:
            plug.lay(host, guest.cable)
        return guest

    def connect(self, *guests: Guest) -> None:
        with netns.opened(self.name) as fd, netns.inside(fd), Netlink() as host:
            for guest in guests:
                plug.connect(host, guest.cable, guest.addresses)

    def play(self, scenario: Callable[[Kernel], Awaitable[None]]) -> None:
        """Inside the host's namespace, with a kernel object of its own, as a (re)started agent has."""

        async def scene() -> None:
            kernel = Kernel()
            try:
                await scenario(kernel)
            finally:
                kernel.close()

        with netns.opened(self.name) as fd, netns.inside(fd):
            asyncio.run(scene())


@pytest.fixture
def rig() -> Iterator[Rig]:
    with ExitStack() as stack:
        yield Rig(stack.enter_context(namespace("host")), stack)


def ping(name: str, address: str) -> bool:
    return "1 received" in in_ns(name, "ping", "-c1", "-W0.5", address, check=False)


def ruleset(rig: Rig) -> str:
    return in_ns(rig.name, "nft", "list", "ruleset")


def test_intent_becomes_packets_that_arrive_and_packets_that_do_not(rig: Rig) -> None:
    one, two, shut = rig.guest(1), rig.guest(2), rig.guest(3)
    intent = intent_of(one, two, shut, shut=frozenset({3}))

    async def scenario(kernel: Kernel) -> None:
        await kernel.take(whole(intent), intent, 0.0)
        assert {state.state for state in kernel.states(intent).values()} == {"up"}, kernel.states(intent)
        assert kernel.problems() == ()

    rig.play(scenario)
    rig.connect(one, two, shut)
    assert ping(one.space, "10.65.0.2")
    assert ping(one.space, "fd00:65::2")
    assert not ping(one.space, "10.65.0.3")
    assert not ping(one.space, "fd00:65::3")
    assert ping(shut.space, "10.65.0.1"), "answers of what it began itself come in"


def test_nothing_is_written_before_the_first_intent(rig: Rig) -> None:
    """A restarted agent that has not heard from a server yet must not touch what its predecessor left."""

    async def scenario(kernel: Kernel) -> None:
        in_ns(rig.name, "sysctl", "-qw", "net.ipv4.ip_forward=0")  # a new namespace takes it over from the machine
        before = ruleset(rig), ip_json(rig.name, "route", "show", "table", "all")
        await kernel.work(0.0)
        await kernel.scan_all(0.0)
        assert (ruleset(rig), ip_json(rig.name, "route", "show", "table", "all")) == before
        assert in_ns(rig.name, "sysctl", "-n", "net.ipv4.ip_forward").strip() == "0"

    rig.play(scenario)


def test_a_restarted_agent_touches_no_route_and_sweeps_what_is_stale(rig: Rig) -> None:
    """Replaced or removed and added again, a route would be missing for a moment: packets would be lost."""
    one, gone = rig.guest(1), rig.guest(2)
    before, after = intent_of(one, gone), intent_of(one)
    rig.play(lambda kernel: _take(kernel, before))
    run("ip", "-n", rig.name, "route", "add", "10.99.0.0/24", "dev", one.interface, "proto", "static")

    async def restarted(kernel: Kernel) -> None:
        monitor = Monitor()
        await kernel.take(whole(after), after, 0.0)
        heard = monitor.drain(own_port=0)
        monitor.close()
        assert heard.routes, "the stale ones were removed"
        assert kernel.states(after)[one.key].state == "up"

    rig.play(restarted)
    left = {route["dst"] for route in ip_json(rig.name, "route", "show")}
    assert left == {"10.65.0.1", "10.99.0.0/24"}
    assert in_ns(rig.name, "sysctl", "-n", f"net.ipv4.conf.{one.interface}.forwarding").strip() == "1"


def test_a_restart_with_the_same_intent_changes_no_route_at_all(rig: Rig) -> None:
    one = rig.guest(1)
    intent = intent_of(one)
    rig.play(lambda kernel: _take(kernel, intent))

    async def restarted(kernel: Kernel) -> None:
        monitor = Monitor()
        await kernel.take(whole(intent), intent, 0.0)
        heard = monitor.drain(own_port=0)
        monitor.close()
        assert not heard

    rig.play(restarted)


async def _take(kernel: Kernel, intent: HostIntent) -> None:
    await kernel.take(whole(intent), intent, 0.0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nft", "flush", "ruleset"), "nftables: the table is gone"),
        (("nft", "flush", "chain", "inet", "muslin", "forward"), "nftables: chain forward has 0 rules"),
        (("ip", "route", "del", "10.65.0.1/32"), "route 10.65.0.1/32 was gone"),
        (("ip", "-6", "route", "del", "fd00:65::1/128"), "route fd00:65::1/128 was gone"),
        (("ip", "route", "replace", "10.65.0.1/32", "dev", "lo", "proto", "80"), "route 10.65.0.1/32 was changed"),
        (("ip", "route", "del", "table", "local", "local", "169.254.1.0/24"), "route 169.254.1.0/24 was gone"),
        (("ip", "neigh", "flush", "all", "nud", "permanent"), "neighbour 10.65.0.1%mus00000000001 was gone"),
        (("ip", "addr", "del", "fe80::1/64", "dev", "mus00000000001"),
         "address fe80::1/64 on mus00000000001 was gone"),
        (("ip", "link", "set", "mus00000000001", "down"), "link mus00000000001 was down"),
        (("sysctl", "-w", "net.ipv4.ip_forward=0"), "sysctl net/ipv4/ip_forward was changed"),
        (("sysctl", "-w", "net.ipv4.conf.mus00000000001.forwarding=0"),
         "sysctl net/ipv4/conf/mus00000000001/forwarding was changed"),
    ],
    ids=lambda value: "-".join(value[:4]) if isinstance(value, tuple) else "",
)
def test_whatever_somebody_changes_is_mended_and_told(rig: Rig, words: tuple[str, ...], told: str) -> None:
    one, two = rig.guest(1), rig.guest(2)
    intent = intent_of(one, two)

    async def scenario(kernel: Kernel) -> None:
        await _take(kernel, intent)
        assert await kernel.scan_all(1.0) == (), "nothing to mend yet"
        in_ns(rig.name, *words, check=False)
        mended = await kernel.scan_all(5.0)
        assert any(what.startswith(told) for what in mended), mended
        assert await kernel.scan_all(9.0) == ()

    rig.play(scenario)
    rig.connect(one, two)
    assert ping(two.space, "10.65.0.1")
    assert ping(two.space, "fd00:65::1")


def test_a_change_that_meets_a_foreign_table_mends_it_and_tells(rig: Rig) -> None:
    """Somebody flushes the ruleset, and before the next scan a policy changes."""
    one, two = rig.guest(1), rig.guest(2)
    before, after = intent_of(one), intent_of(one, two)

    async def scenario(kernel: Kernel) -> None:
        await _take(kernel, before)
        in_ns(rig.name, "nft", "flush", "ruleset")
        change = Delta(endpoints={two.key: two.endpoint()})
        mended = await kernel.take(change, after, 1.0)
        assert [what for what in mended if "our table was not there as we left it" in what]
        assert one.interface in ruleset(rig)
        assert await kernel.scan_all(2.0) == ()

    rig.play(scenario)


def test_the_kernel_itself_tells_of_a_deleted_route(rig: Rig) -> None:
    """So that the mend does not wait for the next scan."""
    one = rig.guest(1)
    intent = intent_of(one)

    async def scenario(kernel: Kernel) -> None:
        monitor = Monitor()
        await _take(kernel, intent)
        monitor.drain(kernel.port)
        run("ip", "-n", rig.name, "route", "add", "10.99.0.0/24", "dev", "lo", "proto", "static")
        assert not monitor.drain(kernel.port), "a stranger's business"
        run("ip", "-n", rig.name, "route", "del", "10.65.0.1/32")
        noticed = monitor.drain(kernel.port)
        assert noticed.routes
        assert await kernel.scan(noticed, 1.0) == ("route 10.65.0.1/32 was gone",)
        assert not monitor.drain(kernel.port), "what we did ourselves is no news"
        monitor.close()

    rig.play(scenario)


def test_an_endpoint_waits_for_its_interface_and_comes_up_when_it_appears(rig: Rig) -> None:
    """A VM's tap may be made after its resource."""
    intent = intent_of(Guest(1, ""))

    async def scenario(kernel: Kernel) -> None:
        await _take(kernel, intent)
        state = kernel.states(intent)[Guest(1, "").key]
        assert (state.state, state.message) == ("pending", "interface mus00000000001 is not there")
        assert kernel.problems() == ()
        rig.guest(1)
        monitor = Monitor()
        run("ip", "-n", rig.name, "link", "set", "mus00000000001", "alias", "x")
        await kernel.scan(monitor.drain(kernel.port), time.monotonic())
        monitor.close()
        assert kernel.states(intent)[Guest(1, "").key].state == "up"

    rig.play(scenario)


def test_a_link_that_takes_the_place_of_another_gets_all_that_stood_on_that(rig: Rig) -> None:
    """Whoever asks again for a workload, since its first agent died, may get another link of the same name. The kernel
    tells nobody that routes went with the first."""
    guest = rig.guest(1)
    intent = intent_of(guest)

    async def scenario(kernel: Kernel) -> None:
        await _take(kernel, intent)
        run("ip", "-n", rig.name, "link", "del", guest.interface)
        with Netlink() as host:
            laid = plug.lay(host, guest.cable)
        kernel.made(laid.link)
        await kernel.work(time.monotonic())
        assert kernel.is_open(laid.link)
        assert kernel.states(intent)[guest.key].state == "up"
        assert [route["dst"] for route in ip_json(rig.name, "route", "show", "dev", guest.interface)] == ["10.65.0.1"]

    rig.play(scenario)


def test_a_workload_that_ends_with_its_namespace_is_no_drift(rig: Rig) -> None:
    """Its veth goes, and takes neighbours and routes along: that is its way to end, nobody took them from us."""
    name = rig.guest(1).interface
    intent = intent_of(Guest(1, ""))

    async def scenario(kernel: Kernel) -> None:
        await _take(kernel, intent)
        run("ip", "-n", rig.name, "link", "del", name)
        assert await kernel.scan_all(1.0) == ()
        assert kernel.states(intent)[Guest(1, "").key].state == "pending"
        rig.guest(1)
        assert await kernel.scan_all(20.0) == ()
        assert kernel.states(intent)[Guest(1, "").key].state == "up"

    rig.play(scenario)


def test_a_tap_whose_endpoint_goes_forwards_nothing_any_more(rig: Rig) -> None:
    """Its name does not begin with our prefix, so nftables no longer knows it: the interface itself is shut."""
    run("ip", "-n", rig.name, "tuntap", "add", "tapvm", "mode", "tap")
    key = EndpointKey("WorkloadEndpoint/default/vm")
    vm = Endpoint(key=key, interface="tapvm", ingress=OPEN_IN, egress=OPEN_OUT, addresses=(Cidr("10.65.0.7/32"),))
    before, after = intent_of(), intent_of()
    before.endpoints[key] = vm
    before.routes[Cidr("10.65.0.7/32")] = Route(
        destination=Cidr("10.65.0.7/32"), kind=RouteKind.DEVICE, interface="tapvm")

    async def scenario(kernel: Kernel) -> None:
        await _take(kernel, before)
        assert in_ns(rig.name, "sysctl", "-n", "net.ipv4.conf.tapvm.forwarding").strip() == "1"

    rig.play(scenario)

    async def restarted(kernel: Kernel) -> None:
        """It went while no agent ran: still ours to shut."""
        await _take(kernel, after)
        assert in_ns(rig.name, "sysctl", "-n", "net.ipv4.conf.tapvm.forwarding").strip() == "0"
        assert in_ns(rig.name, "sysctl", "-n", "net.ipv6.conf.tapvm.disable_ipv6").strip() == "1"

    rig.play(restarted)


def test_while_policy_cannot_be_written_nothing_is_opened(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nft").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "nft").chmod(0o755)
    monkeypatch.setenv("MUSLIN_NFT", "program")
    one = rig.guest(1)
    intent = intent_of(one)

    async def scenario(kernel: Kernel) -> None:
        with monkeypatch.context() as broken:
            broken.setenv("PATH", str(tmp_path), prepend=":")
            await _take(kernel, intent)
        assert kernel.states(intent)[one.key].state == "error"
        assert ip_json(rig.name, "route", "show") == []
        assert "nft" in kernel.problems()[0].what
        await kernel.work(1.0)
        assert kernel.states(intent)[one.key].state == "up"

    rig.play(scenario)


def test_a_policy_that_nft_refuses_is_told_with_its_name_and_shuts_only_its_own(rig: Rig) -> None:
    """Its endpoint is up, since what it gets is policy: the one that denies. The other one is not touched."""
    one, two = rig.guest(1), rig.guest(2)
    intent = intent_of(one, two)
    odd = Rule(action=Action.ALLOW, origin=Origin(kind="Profile", name="odd"), protocol=1, icmp=Icmp(type=300))
    policy, group = PolicyId("Profile/odd"), GroupId("0dd0dd0dd0dd0dd0")
    intent.policies[policy] = Policy(id=policy, ingress=(odd, intent.policies[ALLOW].ingress[0]))
    intent.groups[group] = Group(id=group, direction=Direction.INGRESS, profiles=(policy,))
    intent.endpoints[two.key] = msgspec.structs.replace(intent.endpoints[two.key], ingress=group)

    async def scenario(kernel: Kernel) -> None:
        await kernel.take(whole(intent), intent, 0.0)
        (problem,) = kernel.problems()
        assert problem.key == "Profile/odd"
        assert "refuses Profile/odd" in problem.what
        assert "change it" in problem.mend
        assert {state.state for state in kernel.states(intent).values()} == {"up"}

    rig.play(scenario)
    rig.connect(one, two)
    assert ping(two.space, "10.65.0.1")
    assert not ping(one.space, "10.65.0.2")


def flows(rig: Rig) -> str:
    return in_ns(rig.name, "conntrack", "-L") + in_ns(rig.name, "conntrack", "-L", "-f", "ipv6")


def test_the_next_holder_of_an_address_does_not_inherit_its_flows(rig: Rig) -> None:
    """Packets of an established flow pass before any policy is asked."""
    one, two = rig.guest(1), rig.guest(2)
    before, after = intent_of(one, two), intent_of(two)

    async def scenario(kernel: Kernel) -> None:
        await _take(kernel, before)
        for source, destination in (("10.65.0.1", "10.65.0.9"), ("10.65.0.9", "10.65.0.1"), ("10.65.0.9", "10.65.0.2"),
                                    ("fd00:65::1", "fd00:65::9"), ("fd00:65::9", "fd00:65::1"),
                                    ("fd00:65::9", "fd00:65::2")):
            in_ns(rig.name, "conntrack", "-I", "-s", source, "-d", destination, "-p", "tcp", "--sport", "1",
                  "--dport", "2", "--state", "ESTABLISHED", "-t", "1000")
        await kernel.take(whole(after), after, 1.0)
        await kernel.forgetting.wait()
        left = flows(rig)
        assert "10.65.0.1 " not in left
        assert "fd00:65::1 " not in left
        assert "src=10.65.0.9 dst=10.65.0.2" in left
        assert "src=fd00:65::9 dst=fd00:65::2" in left

    rig.play(scenario)


def test_a_rule_that_changed_while_no_agent_ran_takes_effect(rig: Rig) -> None:
    """Read back, rules are told apart by comment and ending only: one that matches something else looks the same."""
    one = rig.guest(1)

    def allowing(port: int) -> HostIntent:
        intent = intent_of(one)
        origin = Origin(kind="Profile", name="allow", direction=Direction.INGRESS, rule=0)
        rule = Rule(action=Action.ALLOW, origin=origin, protocol=6, destination=Match(ports=((port, port),)))
        intent.policies[ALLOW] = Policy(id=ALLOW, ingress=(rule,), egress=(rule,))
        return intent

    async def before(kernel: Kernel) -> None:
        await _take(kernel, allowing(80))

    async def restarted(kernel: Kernel) -> None:
        await _take(kernel, allowing(443))
        table = in_ns(rig.name, "nft", "-n", "list", "table", "inet", "muslin")
        assert "443" in table
        assert " 80" not in table

    rig.play(before)
    rig.play(restarted)


def test_flows_of_a_workload_whose_link_went_first_are_forgotten_too(rig: Rig) -> None:
    """A namespace that is deleted takes the link along, and the kernel the route: none of ours is left to remove."""
    one = rig.guest(1)

    async def scenario(kernel: Kernel) -> None:
        await _take(kernel, intent_of(one))
        in_ns(rig.name, "conntrack", "-I", "-s", "10.65.0.9", "-d", "10.65.0.1", "-p", "udp", "--sport", "1",
              "--dport", "2", "-t", "1000")
        in_ns(rig.name, "ip", "link", "del", one.interface)
        await kernel.scan_all(1.0)
        assert "10.65.0.1 " in flows(rig)
        after = intent_of()
        await kernel.take(whole(after), after, 2.0)
        await kernel.forgetting.wait()
        assert "10.65.0.1 " not in flows(rig)

    rig.play(scenario)


def test_before_the_first_word_of_a_server_there_is_nothing_to_do(rig: Rig) -> None:
    """Whoever waits for what is due would go round and round otherwise, and keep the server from its loading."""
    async def scenario(kernel: Kernel) -> None:
        assert kernel.next_due(1.0) is None
        assert await kernel.work(1.0) == ()
        await _take(kernel, intent_of())
        assert kernel.next_due(2.0) is None, "nor once all is done"

    rig.play(scenario)
