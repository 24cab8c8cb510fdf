"""Those who bring a policy into a kernel: our renderers and drivers, and the programs that others call.

Each has a network namespace to itself and makes the same changes of the same intents. What is timed is what the agent
would do at that moment: for ours rendering and writing, for the others the program with the finished text on its
standard input; making that text costs them nothing here.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from bench import cost, peers, rig, world
from bench.cost import Cost
from bench.figures import Side
from muslin.drivers import nf_tables
from muslin.drivers.iptables import Flavour, Iptables
from muslin.drivers.nft import Nft
from muslin.intent import Delta, Endpoint, EndpointKey, HostIntent, MemberChange, PolicyId, SetId
from muslin.net import Cidr
from muslin.render import iptables, nft
from muslin.render.nft.wire import encoded

EVERYBODY, SHARED = SetId("everybody"), PolicyId("GlobalNetworkPolicy/p0")


class Programmer(Protocol):
    name: str
    side: Side

    def program(self, made: HostIntent) -> Cost:
        """All of it, into an empty namespace. It keeps the intent and changes it from then on."""

    def member(self, number: int) -> Cost:
        """One address more in the set `everybody`."""

    def own(self, number: int) -> Cost:
        """One endpoint more, with twenty rules of its own."""

    def sharing(self, number: int) -> Cost:
        """One endpoint more, with the policies that all the others have."""

    def policy(self, number: int) -> Cost:
        """A policy that all endpoints have is another one now."""


# ---- the changes, which ours get as deltas and the others as the same words in their language


def another(made: HostIntent, number: int) -> Endpoint:
    """Into the intent, too."""
    pattern = made.endpoints[EndpointKey("WorkloadEndpoint/default/w5")]
    key = EndpointKey(f"WorkloadEndpoint/default/new{number}")
    made.endpoints[key] = msgspec.structs.replace(
        pattern, key=key, interface=world.interface(5000 + number), addresses=(Cidr(f"10.99.0.{number}/32"),))
    return made.endpoints[key]


def changed(made: HostIntent, number: int) -> Delta:
    old = made.policies[SHARED]
    rules = (msgspec.structs.replace(old.ingress[0], protocol=6 if number % 2 else 17), *old.ingress[1:])
    made.policies[SHARED] = msgspec.structs.replace(old, ingress=rules)
    return Delta(policies={SHARED: made.policies[SHARED]})


def joined(number: int) -> MemberChange:
    """The intent need not have it: the agent freezes a set as a whole only for somebody who asks (calc.working)."""
    return MemberChange(added=frozenset({Cidr(f"192.0.2.{number}/32")}))


# ---- ours


class Parts(NamedTuple):
    """What tells our backends apart."""

    update: Callable[[Delta, HostIntent], Any]
    apply: Callable[[Any], Awaitable[object]]


class Changing(ABC):
    """What is asked for, as changes of an intent; `_change` makes one and tells what it cost."""

    def __init__(self) -> None:
        self._made = HostIntent()

    def program(self, made: HostIntent) -> Cost:
        self._made = made
        return self._change(Delta(snapshot=True))

    def member(self, number: int) -> Cost:
        return self._change(Delta(sets={EVERYBODY: joined(number)}))

    def own(self, number: int) -> Cost:
        return self._change(world.add_of_its_own(self._made, 5000 + number, 20))

    def sharing(self, number: int) -> Cost:
        new = another(self._made, number)
        return self._change(Delta(endpoints={new.key: new}))

    def policy(self, number: int) -> Cost:
        return self._change(changed(self._made, number))

    @abstractmethod
    def _change(self, delta: Delta) -> Cost:
        """What it costs to bring the kernel there."""


class Ours(Changing):
    side = Side.OURS

    def __init__(self, name: str, parts: Parts, runner: asyncio.Runner) -> None:
        super().__init__()
        self.name, self._parts, self._runner = name, parts, runner
        self.writing = Cost(0.0, 0.0)
        """Of the last change, the driver's part."""

    def _change(self, delta: Delta) -> Cost:
        return self._runner.run(self._measured(delta))

    async def _measured(self, delta: Delta) -> Cost:
        meter = cost.Meter()
        words = self._parts.update(delta, self._made)
        self.writing = await cost.awaited(self._parts.apply(words))
        return meter.read()


def by_nftables(space: str, runner: asyncio.Runner) -> Ours:
    return Ours("muslin", Parts(nft.NftState().update, Nft(space).apply), runner)


def by_iptables(flavour: Flavour, space: str, runner: asyncio.Runner) -> Ours:
    return Ours(f"muslin by iptables-{flavour}",
                Parts(iptables.IptablesState().update, Iptables(flavour, space).apply), runner)


class KernelPart(Changing):
    """Our batches, finished before the clock starts: what is left is the kernel's work, and nobody can be below it."""

    side = Side.LIMIT
    name = "the kernel's own part of muslin"

    def __init__(self, space: str) -> None:
        super().__init__()
        self._committing, self._state = nf_tables.Committing(space), nft.NftState()

    def _change(self, delta: Delta) -> Cost:
        changes = self._state.update(delta, self._made)
        steps = nft.steps(nft.onto_nothing(changes) if changes.fresh else changes)
        batches = [encoded(nft.commands(each)) for each in steps if each]
        refused: list[object] = []
        spent = cost.of(lambda: refused.extend(fault for each in batches for fault in self._committing.commit(each)))
        if refused:
            raise SystemExit(f"the kernel refuses our batch: {refused[0]}")
        return spent


# ---- the others


def _run(space: str, *steps: tuple[tuple[str, ...], str]) -> Cost:
    """`steps`: a program, and its standard input."""
    def work() -> None:
        for words, text in steps:
            rig.run("ip", "netns", "exec", space, *words, text=text)

    return cost.of(work, programs_only=True)


class NftText:
    """`nft -f -`. `interval`: with sets that take prefixes, which nft reads back whole before it changes them."""

    side = Side.PEER

    def __init__(self, space: str, *, interval: bool) -> None:
        self.name = f"nft -f, chains per endpoint{', interval sets' if interval else ''}"
        self._space, self._interval = space, interval
        self._made = HostIntent()

    def program(self, made: HostIntent) -> Cost:
        self._made = made
        return self._nft(peers.nft_text(made, interval=self._interval))

    def member(self, number: int) -> Cost:
        return self._nft(f"add element ip px {EVERYBODY} {{ 192.0.2.{number} }}\n")

    def own(self, number: int) -> Cost:
        delta = world.add_of_its_own(self._made, 5000 + number, 20)
        (policy,) = delta.policies.values()
        (endpoint,) = delta.endpoints.values()
        assert policy is not None
        assert endpoint is not None
        chain = peers.numbered(self._made)[policy.id]
        rules = [f"add chain ip px {chain}", *peers.nft_policy(chain, policy)]
        return self._nft("\n".join([*rules, *self._endpoint(endpoint)]))

    def sharing(self, number: int) -> Cost:
        return self._nft("\n".join(self._endpoint(another(self._made, number))))

    def policy(self, number: int) -> Cost:
        changed(self._made, number)
        chain = peers.numbered(self._made)[SHARED]
        rules = peers.nft_policy(chain, self._made.policies[SHARED])
        return self._nft("\n".join([f"flush chain ip px {chain}", *rules, ""]))

    def _endpoint(self, endpoint: Endpoint) -> list[str]:
        leaves = [f"add element ip px m{way} {{ {peers.nft_leaf(endpoint.interface, way)} }}" for way in ("from", "to")]
        return [*peers.nft_endpoint(self._made, endpoint, peers.numbered(self._made)), *leaves, ""]

    def _nft(self, text: str) -> Cost:
        return _run(self._space, (("nft", "-f", "-"), text))


class Restore:
    """`iptables-restore` and `ipset restore`."""

    side = Side.PEER

    def __init__(self, flavour: Flavour, space: str) -> None:
        self.name = f"iptables-{flavour}-restore + ipset"
        self._program, self._space = f"iptables-{flavour}-restore", space
        self._made = HostIntent()

    def program(self, made: HostIntent) -> Cost:
        self._made = made
        return _run(self._space, (("ipset", "restore"), peers.ipset_text(made)),
                    ((self._program, "-w"), peers.iptables_text(made)))

    def member(self, number: int) -> Cost:
        return _run(self._space, (("ipset", "restore"), f"add {EVERYBODY} 192.0.2.{number}\n"))

    def own(self, number: int) -> Cost:
        delta = world.add_of_its_own(self._made, 5000 + number, 20)
        (policy,) = delta.policies.values()
        (endpoint,) = delta.endpoints.values()
        assert policy is not None
        assert endpoint is not None
        rules = peers.policy_rules(peers.numbered(self._made)[policy.id], policy)
        return self._restore([*rules, *self._endpoint(endpoint)])

    def sharing(self, number: int) -> Cost:
        return self._restore(self._endpoint(another(self._made, number)))

    def policy(self, number: int) -> Cost:
        changed(self._made, number)
        chain = peers.numbered(self._made)[SHARED]
        return self._restore(list(peers.policy_rules(chain, self._made.policies[SHARED])))

    def _endpoint(self, endpoint: Endpoint) -> list[str]:
        leaves = [peers.leaf(endpoint.interface, way, option, "-I") for way, option in (("from", "-i"), ("to", "-o"))]
        return [*peers.endpoint_rules(self._made, endpoint, peers.numbered(self._made)), *leaves]

    def _restore(self, rules: list[str]) -> Cost:
        chains = dict.fromkeys(rule.split()[1] for rule in rules if rule.startswith("-A"))
        text = "\n".join(["*filter", *(f":{chain} - [0:0]" for chain in chains), *rules, "COMMIT", ""])
        return _run(self._space, ((self._program, "-w", "--noflush"), text))
