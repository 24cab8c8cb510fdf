"""What the kernel walks when an element comes that leads to a chain: it validates the whole table, from every base
chain on, and each rule that looks into a map of verdicts has it walk all elements of that map.

A chain is not walked again from the same hook, unless it lies deeper than it did before (nft_chain_validate). The walk
costs 50 ns and more for each element, so that a map of all endpoints must not be walked from many places (0097).
"""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from intents import (
    ALLOW,
    DENY,
    EGRESS,
    INGRESS,
    LOG,
    OPEN,
    PASS,
    addresses,
    endpoint,
    group,
    intent,
    policy,
    rule,
    side,
    tier,
)
from muslin.intent import Rule as PolicyRule
from muslin.intent import Settings
from muslin.render.nft import Table, render
from muslin.render.nft.words import ByMap, Chain, Choose, Rule, Verdict

_TCP = 6


class _Validation:
    def __init__(self, table: Table) -> None:
        self._table, self._seen = table, dict[str, tuple[int, set[str]]]()
        self.walked: Counter[str] = Counter()
        self.deepest = 0
        for chain in table.chains.values():
            if chain.hook is not None:
                self._chain(chain, chain.hook.point, 0)

    def _chain(self, chain: Chain, hook: str, level: int) -> None:
        self.deepest = max(self.deepest, level)
        depth, hooks = self._seen.get(chain.name, (0, set()))
        if level and level <= depth and hook in hooks:
            return
        for each in chain.rules:
            self._rule(each, hook, level)
        self._seen[chain.name] = max(level, depth), hooks | {hook}

    def _rule(self, one: Rule, hook: str, level: int) -> None:
        for statement in one.statements:
            match statement:
                case Verdict():
                    self._verdict(statement, hook, level)
                case Choose(choices=choices):
                    for _, verdict in choices:
                        self._verdict(verdict, hook, level)
                case ByMap(map=name):
                    self.walked[name] += 1
                    for verdict in self._table.elements[name].values():
                        if isinstance(verdict, Verdict):
                            self._verdict(verdict, hook, level)

    def _verdict(self, verdict: Verdict, hook: str, level: int) -> None:
        if verdict.chain:
            self._chain(self._table.chains[verdict.chain], hook, level + 1)


def test_the_maps_of_all_endpoints_are_walked_once_from_each_hook() -> None:
    """For what comes from workloads, from outside, and to the host; in both families."""
    many = [policy(f"p{n}", rule(ALLOW, _TCP, side(ports=f"{n + 1}")), egress=(rule(ALLOW),)) for n in range(20)]
    into, out = group(INGRESS, tier(*many)), group(EGRESS, tier(many[0]))

    walked = _Validation(render(intent(*OPEN, *many, into, out, endpoint(1, into, out), endpoint(2, into, out)))).walked

    assert {name: walked[name] for name in ("from4", "from6", "to")} == dict.fromkeys(("from4", "from6", "to"), 2)


def _at_one_port(*, logs: bool) -> list[PolicyRule]:
    """Rules for peers by set and by prefix: a crowd, at a port that a rule for anybody speaks of as well."""
    peers = [{"sets": f"of{n}"} for n in range(4)] + [{"nets": f"10.0.0.0/{n + 20} fd00::/{n + 20}"} for n in range(4)]
    return [rule(action, _TCP, side(ports="2000"), side(**each)) for number, each in enumerate(peers)
            for action in (*((LOG,) if logs else ()), (ALLOW, DENY)[number % 2])]


def _outwards(one: PolicyRule) -> PolicyRule:
    there = one.destination
    return replace(one, source=side(), destination=replace(one.source, ports=there.ports))


@pytest.mark.parametrize("answer", ["Drop", "Reject"])
@pytest.mark.parametrize("logs", [False, True], ids=["", "logs"])
@pytest.mark.parametrize("parted", [False, True], ids=["one crowd", "parted"])
def test_no_chain_lies_deeper_than_the_kernel_goes(parted: bool, logs: bool, answer: str) -> None:
    """NFT_JUMP_STACK_SIZE is 16: what lies there is refused (EMLINK), and who is asked by it is shut. The sender's
    list and the receiver's count together, looked up by port, then by peer."""
    anybody = rule(ALLOW, _TCP, side(ports="2000 2001"))
    more = [rule(ALLOW, _TCP, side(ports=str(3000 + n))) for n in range(8)]
    first = _at_one_port(logs=logs)
    rules = [*first, anybody, *first, *more] if parted else [anybody, *first, *more]
    leaves = policy("leaves", *(rule(PASS, _TCP, side(ports=str(100 + n))) for n in range(8)))
    both = policy("both", *rules, egress=tuple(map(_outwards, rules)))
    sets = [addresses(f"of{n}", f"10.0.0.{n} 10.0.0.77 fd00::{n} fd00::77") for n in range(4)]
    into, out = (group(way, tier(leaves, both)) for way in (INGRESS, EGRESS))
    made = intent(leaves, both, *sets, into, out, endpoint(1, into, out), settings=Settings(filter_deny=answer))

    deepest = _Validation(render(made)).deepest

    assert 9 <= deepest < 16
