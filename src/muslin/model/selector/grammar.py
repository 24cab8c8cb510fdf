"""From the text of a selector to its tree.

    alternatives = conditions { "||" conditions }
    conditions   = condition { "&&" condition }
    condition    = { "!" } ( "(" alternatives ")" | "has(" label ")" | "all()" | "global()"
                           | label "==" value | label "!=" value | label "contains" value
                           | label "starts" "with" value | label "ends" "with" value
                           | label "in" set | label "not" "in" set )
    set          = "{" [ value { "," value } [ "," ] ] "}"

A reader that looks one token ahead and descends; one method a rule of the grammar. What surprises people:
keywords are keywords only where an operator can stand (`in in {"in"}` is fine), `has(` is one token (no blank before
the bracket), a label name may begin with any of its letters (`-a`, `/b`, `1`), `startswith`, `endswith` and `notin`
may be one word, blanks are space and tab only, and nothing at all means all().
"""

from __future__ import annotations

import re

from muslin.model.selector.expression import All, And, Compare, Global, Has, Member, Node, Operator, Or, negated
from muslin.model.selector.fault import (
    SelectorError,
    argument_fault,
    character_fault,
    end_fault,
    member_fault,
    operand_fault,
    operator_fault,
    set_fault,
    value_fault,
)
from muslin.model.selector.selector import ALL, Selector

LONGEST_TEXT = 1024
"""Calico's API takes no longer ones."""
LONGEST_LABEL = 512
DEEPEST = 100
"""Brackets in brackets. Nobody writes 20; Python's own stack ends somewhere above 300."""

_TOKEN = re.compile(
    r"""[ \t]*(?:((?:has|all|global)\()|([A-Za-z0-9_./-]+)|("[^"]*"|'[^']*')|(==|!=|&&|\|\||[!(){},])|(\Z))""",
)
_CALL, _WORD, _VALUE, _SIGN, _END = range(1, 6)

_COMPARISONS = {"==": Operator.EQUALS, "!=": Operator.DIFFERS, "contains": Operator.CONTAINS,
                "startswith": Operator.STARTS_WITH, "endswith": Operator.ENDS_WITH}
_TWO_WORDS = {("starts", "with"): "startswith", ("ends", "with"): "endswith", ("not", "in"): "notin"}


def parse(text: str, *, longest: int | None = LONGEST_TEXT) -> Selector:
    """The selector that the text spells. Raises SelectorError (a ValueError) with column and mend.

    `longest` None lifts the API's limit: a canonical text can be longer than the text that it comes from.
    """
    if longest is not None and len(text) > longest:
        what = f"a selector of {len(text)} characters, {longest} is the most"
        raise SelectorError(text, longest, what, "split the policy, or mark its endpoints with a label of their own")
    reader = _Reader(text)
    if reader.kind == _END:
        return ALL
    node = reader.alternatives()
    if reader.kind != _END:
        raise end_fault(text, reader.column, reader.token, None)
    return Selector(node)


class _Reader:
    """Holds the token ahead: `kind`, `token` (its text), `column`."""

    __slots__ = ("_after", "_depth", "_text", "column", "kind", "token")

    def __init__(self, text: str) -> None:
        self._text = text
        self._after = 0
        self._depth = 0
        self.advance()

    def advance(self) -> None:
        found = _TOKEN.match(self._text, self._after)
        if found is None:
            blank = len(self._text[self._after :]) - len(self._text[self._after :].lstrip(" \t"))
            raise character_fault(self._text, self._after + blank)
        self.kind = found.lastindex
        self.token = found[found.lastindex]  # type: ignore[index]  # one of the five groups always matches
        self._after = found.end()
        self.column = self._after - len(self.token)

    def alternatives(self) -> Node:
        first = self.conditions()
        if self.token != "||":
            return first
        operands = [first]
        while self.token == "||":
            self.advance()
            operands.append(self.conditions())
        return Or(tuple(operands))

    def conditions(self) -> Node:
        first = self.condition()
        if self.token != "&&":
            return first
        operands = [first]
        while self.token == "&&":
            self.advance()
            operands.append(self.condition())
        return And(tuple(operands))

    def condition(self) -> Node:
        negative = False
        while self.token == "!":
            negative = not negative
            self.advance()
        if self.kind == _WORD:
            node = self.comparison()
        elif self.kind == _CALL:
            node = self.call()
        elif self.token == "(":
            node = self.bracket()
        else:
            raise operand_fault(self._text, self.column, self.token)
        return negated(node) if negative else node

    def bracket(self) -> Node:
        opened = self.column
        self._depth += 1
        if self._depth > DEEPEST:
            what = f"more than {DEEPEST} brackets in each other"
            raise SelectorError(self._text, opened, what, "write it flatter; && binds tighter than ||")
        self.advance()
        node = self.alternatives()
        if self.token != ")":
            raise end_fault(self._text, self.column, self.token, opened)
        self.advance()
        self._depth -= 1
        return node

    def call(self) -> Node:
        name = self.token[:-1]
        self.advance()
        node: Node = Global() if name == "global" else All()
        if name == "has":
            if self.kind != _WORD:
                raise argument_fault(self._text, self.column, name, self.token)
            node = Has(self.label())
        if self.token != ")":
            raise argument_fault(self._text, self.column, name, self.token)
        self.advance()
        return node

    def label(self) -> str:
        label, column = self.token, self.column
        if len(label) > LONGEST_LABEL:
            what = f"a label name of {len(label)} characters, {LONGEST_LABEL} is the most"
            raise SelectorError(self._text, column, what, "write a shorter one")
        self.advance()
        return label

    def comparison(self) -> Node:
        label = self.label()
        operator = self.operator(label)
        if operator in ("in", "notin"):
            return self.membership(label, operator == "in")
        if self.kind != _VALUE:
            raise value_fault(self._text, self.column, f"{label} {_COMPARISONS[operator]}", self.token)
        value = self.token[1:-1]
        self.advance()
        return Compare(label, _COMPARISONS[operator], value)

    def operator(self, label: str) -> str:
        """The operator in one word, and on to what follows it."""
        operator, column = self.token, self.column
        if operator in ("starts", "ends", "not"):
            self.advance()
            operator = _TWO_WORDS.get((operator, self.token), operator)
        if operator not in _COMPARISONS and operator not in ("in", "notin"):
            raise operator_fault(self._text, column, label, operator)
        self.advance()
        return operator

    def membership(self, label: str, inside: bool) -> Node:
        if self.token != "{":
            raise set_fault(self._text, self.column, f"{label} {'in' if inside else 'not in'}", self.token)
        opened = self.column
        self.advance()
        values = set()
        while self.kind == _VALUE:
            values.add(self.token[1:-1])
            self.advance()
            if self.token != ",":
                break
            self.advance()
        if self.token != "}":
            raise member_fault(self._text, self.column, self.token, opened)
        self.advance()
        return Member(label, tuple(sorted(values)), inside)
