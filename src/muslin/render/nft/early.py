"""The early hooks of the host, and a second instance of them that is asked beside the first.

Early base chains (before translation: untracked and pre-DNAT policy) may accept a packet for those behind, which do not
ask any more. While a change turns the ones and the others one after another, the new early hooks are there beside the
old (see steps). They share nothing that changes: their chains and verdict maps are copies, under names of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from muslin.render.nft.places import FAMILIES, Gate
from muslin.render.nft.table import Beside, ElementChange, Table
from muslin.render.nft.words import ByMap, Chain, Choose, Mapped, Rule, Statement, Verdict

BESIDE = ".beside"
"""No name of ours ends so."""
_EARLY = tuple(f"{gate}{family}/" for gate in Gate if gate.early for family in FAMILIES)


def is_early_base(chain: Chain) -> bool:
    return chain.hook is not None and chain.hook.kind == "filter" and chain.hook.priority < 0


def is_early(chain: Chain) -> bool:
    """Is it asked in an early hook, and nowhere else?"""
    return is_early_base(chain) or chain.name.startswith(_EARLY)


def beside(table: Table, bases: Iterable[Chain]) -> Beside:
    """These base chains once more, each to be asked next to the first, with all that they lead to."""
    chains = {base.name: base for base in bases}
    maps: set[str] = set()
    waiting = list(chains.values())
    while waiting:
        for rule in waiting.pop().rules:
            for statement in rule.statements:
                if isinstance(statement, ByMap):
                    maps.add(statement.map)
                for verdict in _verdicts(statement, table):
                    if verdict.chain and verdict.chain not in chains:
                        chains[verdict.chain] = table.chains[verdict.chain]
                        waiting.append(chains[verdict.chain])
    return Beside(
        tuple(map(_renamed_chain, chains.values())),
        tuple(
            ElementChange(
                msgspec.structs.replace(table.sets[name], name=name + BESIDE),
                new=tuple((element, _renamed(value)) for element, value in table.elements[name].items()))
            for name in sorted(maps)
        ),
    )


def _verdicts(statement: Statement, table: Table) -> Iterator[Verdict]:
    match statement:
        case Verdict():
            yield statement
        case Choose(choices=choices):
            yield from (verdict for _, verdict in choices)
        case ByMap(map=name):
            yield from (value for value in table.elements[name].values() if isinstance(value, Verdict))


def _renamed_chain(chain: Chain) -> Chain:
    rules = tuple(Rule(tuple(map(_led_beside, rule.statements)), rule.comment) for rule in chain.rules)
    hook = chain.hook and msgspec.structs.replace(chain.hook, priority=chain.hook.priority + 1)
    return Chain(chain.name + BESIDE, rules, hook)


def _led_beside(statement: Statement) -> Statement:
    match statement:
        case Verdict():
            return _renamed_verdict(statement)
        case Choose(field=field, choices=choices):
            return Choose(field, tuple((value, _renamed_verdict(verdict)) for value, verdict in choices))
        case ByMap(fields=fields, map=name):
            return ByMap(fields, name + BESIDE)
    return statement


def _renamed(value: Mapped) -> Mapped:
    return _renamed_verdict(value) if isinstance(value, Verdict) else value


def _renamed_verdict(verdict: Verdict) -> Verdict:
    return Verdict(verdict.ruling, verdict.chain + BESIDE) if verdict.chain else verdict
