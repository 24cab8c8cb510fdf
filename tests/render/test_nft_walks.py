"""What the kernel walks when an element comes that leads to a chain: it validates the whole table, from every base
chain on, and each rule that looks into a map of verdicts has it walk all elements of that map.

A chain is not walked again from the same hook, unless it lies deeper than it did before (nft_chain_validate). The walk
costs 50 ns and more for each element, so that a map of all endpoints must not be walked from many places (0097).
"""

from __future__ import annotations

from collections import Counter

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
        self.deepest = max(level, self.deepest)
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


def test_no_chain_lies_deeper_for_more_tiers_that_pass() -> None:
    """The kernel takes sixteen in a row, gotos counted. Here by a lookup by peer that leads to some, by one that knows
    sets and prefixes and logs, and by port."""
    def deepest(count: int) -> int:
        sets = [addresses(f"of{n}", f"10.0.0.{n} 10.0.0.77") for n in range(8)]
        by = [(side(), side(sets=f"of{n}")) for n in range(8)] + [(None, side(nets=f"10.1.{n}.0/24")) for n in range(8)]
        peers = [rule(action, None, *each) for each in by for action in (DENY, PASS)]
        logs = [rule(action, None, *each) for each in by for action in (LOG, DENY)]
        ports = [rule(action, _TCP, side(ports=f"{80 + n}"), side(sets="of1"))
                 for n in range(8) for action in (DENY, PASS)]
        held = [policy(f"{name}{n}", *rules, egress=tuple(rules)) for n in range(count)
                for name, rules in (("peers", peers), ("ports", ports), ("logs", logs))]
        stages = [tier(*held[3 * n:3 * n + 3], name=f"t{n}") for n in range(count)]
        into, out = group(INGRESS, *stages), group(EGRESS, *stages)
        table = render(intent(*held, *sets, into, out, endpoint(1, into, out)))
        assert sum(name.endswith("/rest") for name in table.chains) >= count
        return _Validation(table).deepest

    assert deepest(9) == deepest(2) < 16
