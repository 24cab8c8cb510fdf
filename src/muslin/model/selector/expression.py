"""What a selector says, as a small tree.

The grammar builds the tree once; after that nobody looks at the text again. Each kind of node can do four things:

    text()             its canonical spelling, which is Calico's: one blank around operators, double quotes where
                       possible, sets sorted, `&&` and `||` always in parentheses
    test()             itself as a closure over a label mapping (this is what runs a million times)
    requires(sense)    what must hold of single labels wherever it is true (`sense` True) or false (`sense` False);
                       indexes use this to leave out most of the things that cannot match
    renamed(prefix)    itself with the prefix before every label name

Law: a label that is absent equals nothing, is in nothing, contains nothing (not even the empty text); so `!=` and
`not in` are true of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

Labels = Mapping[str, str]
Test = Callable[[Labels], bool]
Requirements = dict[str, frozenset[str] | None]
"""Label -> values of which it must have one; None: it must be present."""

NAMESPACE_LABEL = "projectcalico.org/namespace"
"""On everything that lives in a namespace; `global()` matches what does not."""


class Operator(StrEnum):
    """Operators that compare a label with one value; the value is the canonical spelling."""

    EQUALS = "=="
    DIFFERS = "!="
    CONTAINS = "contains"
    STARTS_WITH = "starts with"
    ENDS_WITH = "ends with"


class Compare(msgspec.Struct, frozen=True):
    label: str
    operator: Operator
    value: str

    def text(self) -> str:
        return f"{self.label} {self.operator} {quoted(self.value)}"

    def test(self) -> Test:
        label, value = self.label, self.value
        match self.operator:
            case Operator.EQUALS:
                return lambda labels: labels.get(label) == value
            case Operator.DIFFERS:
                return lambda labels: labels.get(label) != value
            case Operator.CONTAINS:
                return lambda labels: (found := labels.get(label)) is not None and value in found
            case Operator.STARTS_WITH:
                return lambda labels: (found := labels.get(label)) is not None and found.startswith(value)
            case Operator.ENDS_WITH:
                return lambda labels: (found := labels.get(label)) is not None and found.endswith(value)

    def requires(self, sense: bool) -> Requirements:
        match self.operator:
            case Operator.EQUALS:
                return {self.label: frozenset((self.value,))} if sense else {}
            case Operator.DIFFERS:
                return {} if sense else {self.label: frozenset((self.value,))}
            case _:
                return {self.label: None} if sense else {}

    def renamed(self, prefix: str) -> Compare:
        return Compare(prefix + self.label, self.operator, self.value)


class Member(msgspec.Struct, frozen=True):
    """`label in {values}`; `inside` False: `not in`. `values` are sorted, each once."""

    label: str
    values: tuple[str, ...]
    inside: bool

    def text(self) -> str:
        return f"{self.label} {'in' if self.inside else 'not in'} {{{', '.join(map(quoted, self.values))}}}"

    def test(self) -> Test:
        label, values = self.label, frozenset(self.values)
        if self.inside:
            return lambda labels: labels.get(label) in values
        return lambda labels: labels.get(label) not in values

    def requires(self, sense: bool) -> Requirements:
        return {self.label: frozenset(self.values)} if sense is self.inside else {}

    def renamed(self, prefix: str) -> Member:
        return Member(prefix + self.label, self.values, self.inside)


class Has(msgspec.Struct, frozen=True):
    label: str

    def text(self) -> str:
        return f"has({self.label})"

    def test(self) -> Test:
        label = self.label
        return lambda labels: label in labels

    def requires(self, sense: bool) -> Requirements:
        return {self.label: None} if sense else {}

    def renamed(self, prefix: str) -> Has:
        return Has(prefix + self.label)


class All(msgspec.Struct, frozen=True):
    def text(self) -> str:
        return "all()"

    def test(self) -> Test:
        return lambda labels: True

    def requires(self, sense: bool) -> Requirements:
        return {}

    def renamed(self, prefix: str) -> All:
        return self


class Global(msgspec.Struct, frozen=True):
    """Things outside every namespace: host endpoints, global network sets."""

    def text(self) -> str:
        return "global()"

    def test(self) -> Test:
        return lambda labels: NAMESPACE_LABEL not in labels

    def requires(self, sense: bool) -> Requirements:
        return {} if sense else {NAMESPACE_LABEL: None}

    def renamed(self, prefix: str) -> Global:
        return self


class Not(msgspec.Struct, frozen=True):
    operand: Node

    def text(self) -> str:
        return f"!{self.operand.text()}"

    def test(self) -> Test:
        operand = self.operand.test()
        return lambda labels: not operand(labels)

    def requires(self, sense: bool) -> Requirements:
        return self.operand.requires(not sense)

    def renamed(self, prefix: str) -> Not:
        return Not(self.operand.renamed(prefix))


class And(msgspec.Struct, frozen=True):
    operands: tuple[Node, ...]

    def text(self) -> str:
        return f"({' && '.join(operand.text() for operand in self.operands)})"

    def test(self) -> Test:
        tests = tuple(operand.test() for operand in self.operands)
        if len(tests) == 2:
            left, right = tests
            return lambda labels: left(labels) and right(labels)
        return lambda labels: _every(tests, labels)

    def requires(self, sense: bool) -> Requirements:
        parts = [operand.requires(sense) for operand in self.operands]
        return _all_of(parts) if sense else _any_of(parts)

    def renamed(self, prefix: str) -> And:
        return And(tuple(operand.renamed(prefix) for operand in self.operands))


class Or(msgspec.Struct, frozen=True):
    operands: tuple[Node, ...]

    def text(self) -> str:
        return f"({' || '.join(operand.text() for operand in self.operands)})"

    def test(self) -> Test:
        tests = tuple(operand.test() for operand in self.operands)
        if len(tests) == 2:
            left, right = tests
            return lambda labels: left(labels) or right(labels)
        return lambda labels: _some(tests, labels)

    def requires(self, sense: bool) -> Requirements:
        parts = [operand.requires(sense) for operand in self.operands]
        return _any_of(parts) if sense else _all_of(parts)

    def renamed(self, prefix: str) -> Or:
        return Or(tuple(operand.renamed(prefix) for operand in self.operands))


Node = Compare | Member | Has | All | Global | Not | And | Or


def negated(node: Node) -> Node:
    """`!` before a node. Two of them say nothing, so that `!!x` and `!(!x)` have one spelling."""
    return node.operand if isinstance(node, Not) else Not(node)


def quoted(value: str) -> str:
    """In double quotes, or in single ones when the value holds a double one. No value can hold both: there are no
    escapes."""
    return f"'{value}'" if '"' in value else f'"{value}"'


def _every(tests: tuple[Test, ...], labels: Labels) -> bool:
    for test in tests:  # noqa: SIM110 - all() over a generator costs twice as much (measured)
        if not test(labels):
            return False
    return True


def _some(tests: tuple[Test, ...], labels: Labels) -> bool:
    for test in tests:  # noqa: SIM110 - as above
        if test(labels):
            return True
    return False


def _all_of(parts: list[Requirements]) -> Requirements:
    """Every part holds: a label's values are those which all parts allow."""
    together: Requirements = {}
    for part in parts:
        for label, values in part.items():
            known = together.get(label)
            if known is None or values is None:
                together[label] = known if values is None else values
            else:
                together[label] = known & values
    return together


def _any_of(parts: list[Requirements]) -> Requirements:
    """Some part holds: only a label that every part requires is required; any part's value will do."""
    first, *others = parts
    together = dict(first)
    for part in others:
        for label in list(together):
            if label not in part:
                del together[label]
                continue
            known, values = together[label], part[label]
            together[label] = None if known is None or values is None else known | values
    return together
