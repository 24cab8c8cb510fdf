"""A change as transactions, so that a packet that is in the rules meanwhile is judged as before it or as after it.

A packet that is in the rules when a transaction counts goes on by the old rules of every chain, until the end of its
base chain, but finds the new elements. To it a map that went is empty, and so is a chain that came together with the
element which leads there. So in no transaction does anything lead to what comes or goes in the same one:

    prepare    what nothing leads to yet: new sets with what they hold, new chains with their rules; large sets in
               transactions of their own (see filling)
    turn       what packets see: elements of sets that stay, rules of chains that stay, hooks
    clear      what nothing leads to any more

Where elements of sets that stay change together with rules, old rules would meet new elements. So these sets are
doubled, and the rules lead to the doubles first:

    prepare    as above, and the doubles, filled as the sets are to be
    turn       rules alone: they lead to the doubles instead of the sets
    settle     the sets, which no rule leads to; and rules, which lead to them again
    clear      as above, and the doubles

In the turn, and in the settling, old rules find in each set what they always found there, and new rules the new.

A packet may also be between two hooks of the host: the early ones (before translation) may have accepted it, so that
the later do not ask. Where a host goes from asking late to asking early, a packet that was not accepted early, because
that was not asked yet, must not be denied late, because there it is not allowed any more. So while the late hooks turn,
the early ones ask both the old and the new way: denied is what either denies, accepted is what either accepts.

    prepare    as above, and early base chains that come; beside those that change, the new one
    turn       the late ones
    join       early base chains go, or are what stands beside them already
    settle     as above; what stood beside is asked no more
    clear      as above, and what it led to

Decisions 0087, 0096, 0100 and 0101.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

import msgspec

from muslin.render.nft.early import is_early
from muslin.render.nft.filling import parts
from muslin.render.nft.table import Beside, Changes, ElementChange
from muslin.render.nft.words import ByMap, Chain, InSet, NamedSet, Redirect, Rule, Statement, Translate

DOUBLE = ".turn"
"""No name of ours ends so."""


class Steps(msgspec.Struct, frozen=True):
    """One after the other; those that are empty are none."""

    prepare: Changes
    turn: Changes
    join: Changes = Changes()
    settle: Changes = Changes()
    clear: Changes = Changes()

    def __iter__(self) -> Iterator[Changes]:
        return iter((*parts(self.prepare), self.turn, *self.following))

    @property
    def following(self) -> tuple[Changes, ...]:
        """What comes after the turn."""
        return self.join, self.settle, self.clear


def steps(changes: Changes) -> Steps:
    """A table as a whole is one step. Base chains come and go in the turn, unless they are early: nothing leads to them
    but their hook."""
    if changes.fresh or changes.renewed:
        return Steps(Changes(), changes)
    is_split = changes.beside is not None
    beside = changes.beside or Beside()
    new = {declared.name for declared in changes.new_sets}
    doubles = {each.set.name: _double(each.set) for each in changes.doubled.sets} if changes.doubled else {}
    users = changes.doubled.users if changes.doubled else ()
    new_chains, changed, stand_beside = (
        tuple(led_to(doubles, chain) for chain in chains)
        for chains in (changes.new_chains, (*changes.changed_chains, *users), beside.chains))
    first = tuple(chain for chain in new_chains if not chain.hook or (is_split and is_early(chain)))
    early = tuple(chain for chain in changed if is_split and is_early(chain))
    leaving = tuple(chain for chain in changes.gone_bases if is_split and is_early(chain))
    staying = tuple(change for change in changes.elements if change.set.name not in new)
    return Steps(
        prepare=Changes(
            first=changes.first,
            new_sets=(*changes.new_sets, *doubles.values(), *(each.set for each in beside.maps)),
            new_chains=(*first, *stand_beside),
            elements=(
                *(change for change in changes.elements if change.set.name in new), *_filled(changes, doubles),
                *(each for each in beside.maps if each.new)),
        ),
        turn=Changes(
            new_chains=tuple(chain for chain in new_chains if chain not in first),
            changed_chains=tuple(chain for chain in changed if chain not in early),
            elements=tuple(change for change in staying if change.set.name not in doubles),
            gone_bases=tuple(chain for chain in changes.gone_bases if chain not in leaving),
        ),
        join=Changes(changed_chains=early, gone_bases=leaving),
        settle=Changes(
            changed_chains=users_of(doubles.keys(), (*changes.new_chains, *changes.changed_chains, *users)),
            elements=tuple(change for change in staying if change.set.name in doubles),
            gone_bases=tuple(chain for chain in stand_beside if chain.hook),
        ),
        clear=Changes(
            gone_chains=(*changes.gone_chains, *(chain.name for chain in stand_beside if not chain.hook)),
            gone_sets=(
                *changes.gone_sets, *(double.name for double in doubles.values()),
                *(each.set.name for each in beside.maps)),
        ),
    )


def taken_back(prepared: Iterable[Changes]) -> Changes:
    """What undoes the parts of a first step whose turn did not come."""
    done = tuple(prepared)
    return Changes(
        gone_chains=tuple(chain.name for each in done for chain in each.new_chains),
        gone_sets=tuple(declared.name for each in done for declared in each.new_sets),
    )


def users_of(sets: Set[str], chains: Iterable[Chain]) -> tuple[Chain, ...]:
    """Those of the chains that name any of these."""
    return tuple(chain for chain in chains if names_any(chain, sets))


def names_any(chain: Chain, sets: Set[str]) -> bool:
    return bool(sets) and any(_named(statement) in sets for rule in chain.rules for statement in rule.statements)


def led_to(doubles: Mapping[str, NamedSet], chain: Chain) -> Chain:
    """The chain, with doubles for the sets that it names."""
    if not names_any(chain, doubles.keys()):
        return chain
    rules = (
        Rule(tuple(_led_to(doubles, statement) for statement in rule.statements), rule.comment) for rule in chain.rules)
    return Chain(chain.name, tuple(rules), chain.hook)


def _double(declared: NamedSet) -> NamedSet:
    return msgspec.structs.replace(declared, name=declared.name + DOUBLE)


def _filled(changes: Changes, doubles: Mapping[str, NamedSet]) -> Iterator[ElementChange]:
    for each in changes.doubled.sets if changes.doubled else ():
        if each.new:
            yield ElementChange(doubles[each.set.name], new=each.new)


def _led_to(doubles: Mapping[str, NamedSet], statement: Statement) -> Statement:
    name = _named(statement)
    if name not in doubles:
        return statement
    if isinstance(statement, InSet):
        return msgspec.structs.replace(statement, set=doubles[name].name)
    assert isinstance(statement, ByMap | Translate | Redirect)
    return msgspec.structs.replace(statement, map=doubles[name].name)


def _named(statement: Statement) -> str:
    """The set that the statement looks into; those that the kernel fills do not count."""
    match statement:
        case InSet(set=name) | ByMap(map=name) | Translate(map=name) | Redirect(map=name):
            return name
    return ""
