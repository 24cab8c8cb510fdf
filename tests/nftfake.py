"""A pretend nf_tables that takes commands one by one and is as strict as the real one about order.

Whatever is named must be there at that moment; what something leads to cannot be removed; intervals are disjoint.
"""

from __future__ import annotations

from collections.abc import Set
from itertools import pairwise

from muslin.net import bounds
from muslin.render.nft.filling import parts
from muslin.render.nft.steps import steps
from muslin.render.nft.table import (
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    Changes,
    Command,
    FlushChain,
    FlushSet,
    KeepTable,
    RemoveChain,
    RemoveElements,
    RemoveSet,
    ReplaceTable,
    Table,
    commands,
)
from muslin.render.nft.words import (
    ByMap,
    Chain,
    Choose,
    ConnectionsOver,
    InSet,
    Mapped,
    PacketsOver,
    Redirect,
    Rule,
    Translate,
    Verdict,
)


class FakeKernel:
    def __init__(self) -> None:
        self.table = Table()
        self._may_be_there = False
        self.states = [Table()]
        """Before, between and after the transactions of the last change."""

    def apply(self, changes: Changes) -> None:
        self._may_be_there = False
        self.states = [_copied(self.table)]
        step = steps(changes)
        for each in (*parts(step.prepare), step.turn, step.join, step.settle):
            self._transaction(each)
        gone = {*step.clear.gone_chains, *(chain.name for chain in step.clear.gone_bases)}
        led_to = self._led_to(gone, set(step.clear.gone_sets))
        assert not led_to & {*step.clear.gone_chains}, "a packet that comes now would go there"
        self._transaction(step.clear)

    def _transaction(self, changes: Changes) -> None:
        for command in commands(changes):
            self._do(command)
        self.states.append(_copied(self.table))

    def _do(self, command: Command) -> None:
        table = self.table
        match command:
            case ReplaceTable():
                self.table = Table()
            case KeepTable():
                self._may_be_there = True
            case FlushSet(set=declared):
                table.elements[declared.name] = {}
            case AddSet(set=declared):
                assert self._may_be_there or declared.name not in table.sets
                assert table.sets.setdefault(declared.name, declared) == declared
                table.elements.setdefault(declared.name, {})
            case AddChain(chain=chain):
                assert self._may_be_there or chain.name not in table.chains
                assert table.chains.setdefault(chain.name, Chain(chain.name, (), chain.hook)).hook == chain.hook
            case RemoveElements(set=declared, elements=gone):
                for element in gone:
                    del table.elements[declared.name][element]
            case AddElements(set=declared, elements=new):
                self._add_elements(declared.name, new)
            case FlushChain(chain=name):
                self._rewrite(name, ())
            case AddRule(chain=name, rule=rule):
                assert self._chains_of(rule) <= table.chains.keys(), rule
                assert self._sets_of(rule) <= table.sets.keys(), rule
                self._rewrite(name, (*table.chains[name].rules, rule))
            case RemoveChain(chain=name):
                assert not table.chains[name].rules
                assert name not in self._led_to(), f"{name} is still led to"
                del table.chains[name]
            case RemoveSet(set=name):
                assert all(name not in self._sets_of(rule) for chain in table.chains.values() for rule in chain.rules)
                del table.sets[name], table.elements[name]

    def _add_elements(self, name: str, new: tuple[tuple[object, Mapped], ...]) -> None:
        content = self.table.elements[name]
        for element, verdict in new:
            assert element not in content, f"{name} has {element}"
            assert not isinstance(verdict, Verdict) or not verdict.chain or verdict.chain in self.table.chains
            content[element] = verdict
        if self.table.sets[name].interval:
            _check_disjoint(list(content))

    def _rewrite(self, name: str, rules: tuple[Rule, ...]) -> None:
        self.table.chains[name] = Chain(name, rules, self.table.chains[name].hook)

    def _led_to(self, but_chains: Set[str] = frozenset(), but_sets: Set[str] = frozenset()) -> set[str]:
        """The chains that something leads to; what these lead to does not count."""
        chains = [chain for name, chain in self.table.chains.items() if name not in but_chains]
        contents = [content for name, content in self.table.elements.items() if name not in but_sets]
        by_rules = {to for chain in chains for rule in chain.rules for to in self._chains_of(rule)}
        verdicts = (verdict for content in contents for verdict in content.values())
        return by_rules | {verdict.chain for verdict in verdicts if isinstance(verdict, Verdict)}

    @staticmethod
    def _chains_of(rule: Rule) -> set[str]:
        found = {s.chain for s in rule.statements if isinstance(s, Verdict)}
        for statement in rule.statements:
            if isinstance(statement, Choose):
                found |= {verdict.chain for _, verdict in statement.choices}
        return found - {""}

    @staticmethod
    def _sets_of(rule: Rule) -> set[str]:
        found = {s.set for s in rule.statements if isinstance(s, InSet | PacketsOver | ConnectionsOver)}
        return found | {s.map for s in rule.statements if isinstance(s, ByMap | Translate | Redirect)}


def _copied(table: Table) -> Table:
    return Table(dict(table.chains), dict(table.sets), {name: dict(each) for name, each in table.elements.items()})


def _check_disjoint(elements: list[object]) -> None:
    spans = sorted(
        (element[1:], *bounds(element[0])[1:]) if isinstance(element, tuple) else ((), *bounds(str(element))[1:])
        for element in elements
    )
    for (place, _, end), (other, start, _) in pairwise(spans):
        assert place != other or end < start, elements
