"""A selector that does not parse: where, what, and what to write instead.

People meet this language without having read its page: they write `=` for `==`, `and` for `&&`, values without
quotes, Kubernetes' round brackets for a set. Each of these is recognised and answered with its own mend.
"""

from __future__ import annotations

import difflib

from muslin.errors import Invalid

OPERATORS = ("==", "!=", "in", "not in", "contains", "starts with", "ends with")
_TYPOGRAPHIC = "\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb`\u00b4"
_WIDEST = 100


class SelectorError(Invalid):
    """`column` is 0-based; `what` is wrong there, `mend` says what to write."""

    def __init__(self, text: str, column: int, what: str, mend: str) -> None:
        super().__init__(f"{what}; {mend}\n{_pointed_at(text, column)}")
        self.text, self.column, self.what, self.mend = text, column, what, mend


def _pointed_at(text: str, column: int) -> str:
    """The text on one line, a caret under the column below it. Of a long text, the part around the column."""
    start = max(0, column - _WIDEST * 2 // 3) if len(text) > _WIDEST else 0
    shown = "".join(letter if letter.isprintable() else " " for letter in text[start : start + _WIDEST])
    before, after = "..." if start else "", "..." if start + _WIDEST < len(text) else ""
    return f"    {before}{shown}{after}\n    {' ' * (len(before) + column - start)}^"


def character_fault(text: str, column: int) -> SelectorError:
    """No token begins here."""
    found = text[column]
    what, mend = f"unexpected {found!r}", "label names are made of letters, digits and _ . / -"
    if found in "\"'":
        what, mend = "this quote is never closed", f"put {found} at the end of the value"
    elif found == "=":
        what, mend = "`=` is not an operator", "write `==`"
        if column >= 2 and text[column - 2 : column] in ("==", "!="):
            what, mend = f"`{text[column - 2 : column]}=` is not an operator", f"write `{text[column - 2 : column]}`"
    elif found in "&|":
        what, mend = f"a single `{found}` is not an operator", f"write `{found}{found}`"
    elif found in _TYPOGRAPHIC:
        what, mend = f"{found} is not a quote here", "write plain quotes: \" or '"
    elif found in "\r\n":
        what, mend = "a line break cannot stand in a selector", "write it on one line (in YAML, `>-` joins lines)"
    elif found in "[]":
        what, mend = f"unexpected `{found}`", 'a set is written {"a", "b"}'
    elif found in "<>~":
        what, mend = f"`{found}` is not an operator", f"the operators are {', '.join(OPERATORS)}"
    return SelectorError(text, column, what, mend)


def operator_fault(text: str, column: int, label: str, found: str) -> SelectorError:
    """An operator should follow the label, and something else does; `found` is "" at the end of the text."""
    if label == "not":
        return SelectorError(text, text.rfind("not", 0, column), "`not` here is a label name", "to negate, write `!`")
    if found == "(":
        return _function_fault(text, column, label)
    if not found or found in ("&&", "||", ")", "}", ","):
        what = f"the label {label!r} alone asks nothing"
        return SelectorError(text, column, what, f'write has({label}) or {label} == "value"')
    close = difflib.get_close_matches(found, OPERATORS, 1, 0.6)
    mend = f"write `{close[0]}`" if close else f"write one of {', '.join(OPERATORS)}"
    if found in ("is", "eq", "equals"):
        mend = "write `==`"
    elif found in ("starts", "ends"):
        mend = f"write `{found} with`"
    elif found == "not":
        mend = "write `not in`"
    elif found[:1] in "\"'":
        mend = f"an operator goes between them: {label} == {found}"
    return SelectorError(text, column, f"expected an operator after the label {label!r}, found {found}", mend)


def _function_fault(text: str, column: int, name: str) -> SelectorError:
    if name in ("has", "all", "global"):
        return SelectorError(text, column, f"a blank between {name!r} and its bracket", f"write `{name}(` in one piece")
    close = difflib.get_close_matches(name, ("has", "all", "global"), 1, 0.5)
    mend = f"did you mean {close[0]}()?" if close else "there are has(label), all() and global()"
    return SelectorError(text, max(0, text.rfind(name, 0, column)), f"there is no function {name}()", mend)


def value_fault(text: str, column: int, before: str, found: str) -> SelectorError:
    """A quoted value should follow `before` (a label and its operator)."""
    mend = f'write {before} "value"'
    if found and found[0] not in "(){},&|!=":
        mend = f'put it in quotes: {before} "{found}"'
    elif found == "{":
        mend = 'a set goes with `in`: label in {"a", "b"}'
    return SelectorError(text, column, f"expected a quoted value, found {_shown(found)}", mend)


def set_fault(text: str, column: int, before: str, found: str) -> SelectorError:
    """A `{` should follow `before` (a label and `in` or `not in`)."""
    mend = f'write {before} {{"a", "b"}}'
    if found[:1] in ("'", '"') and found:
        mend = f"write {before} {{{found}}}"
    elif found == "(":
        mend = f'a set has curly brackets: {before} {{"a", "b"}}'
    return SelectorError(text, column, f"expected a set, found {_shown(found)}", mend)


def member_fault(text: str, column: int, found: str, opened: int) -> SelectorError:
    """Inside a set: neither a value, nor a comma, nor the end of it."""
    if found[:1] in ("'", '"') and found:
        return SelectorError(text, column, "two values without a comma between them", f"write `, {found}`")
    if found and found[0] not in "(){},&|!=":
        return SelectorError(text, column, f"{found} in a set is not quoted", f'write "{found}"')
    if found == ",":
        return SelectorError(text, column, "a comma without a value before it", "leave it out")
    return SelectorError(text, column, f"the set that begins at column {opened} is not closed", "close it with `}`")


def argument_fault(text: str, column: int, name: str, found: str) -> SelectorError:
    """Inside the brackets of a function."""
    if name != "has":
        return SelectorError(text, column, f"{name}() takes nothing between its brackets", f"write {name}()")
    if found[:1] in ("'", '"') and found:
        return SelectorError(text, column, "a label name has no quotes", f"write has({found[1:-1]})")
    if found == ",":
        return SelectorError(text, column, "has() takes one label", "write has(a) && has(b)")
    if found == ")":
        return SelectorError(text, column, "has() needs a label name", "write has(label), or all() to match everything")
    return SelectorError(text, column, f"expected a label name and `)`, found {_shown(found)}", "write has(label)")


def operand_fault(text: str, column: int, found: str) -> SelectorError:
    """A condition should begin here."""
    what, mend = f"unexpected {_shown(found)}", 'a condition goes here, such as has(label) or label == "value"'
    if found[:1] in ("'", '"') and found:
        what = "a condition begins with a label name, which has no quotes"
        mend = f"write {found[1:-1] or 'label'} == ..."
    elif not found:
        what = "the text ends where a condition should follow"
    elif found == ")" and text[:column].rstrip(" \t").endswith("("):
        what, mend = "nothing between the brackets", "write a condition there, or all()"
    return SelectorError(text, column, what, mend)


def end_fault(text: str, column: int, found: str, opened: int | None) -> SelectorError:
    """After a whole condition: neither `&&`, nor `||`, nor the end. `opened`: column of the bracket it stands in."""
    word = found.lower()
    if word in ("and", "or"):
        sign = "&&" if word == "and" else "||"
        return SelectorError(text, column, f"{found!r} is not an operator between conditions", f"write `{sign}`")
    if found == ",":
        return SelectorError(text, column, "a comma does not join conditions", "write `&&` or `||`")
    if opened is not None and not found:
        return SelectorError(text, column, f"the bracket at column {opened} is not closed", "close it with `)`")
    if found == ")":
        return SelectorError(text, column, "this bracket was never opened", "leave it out, or open it with `(`")
    return SelectorError(text, column, f"unexpected {_shown(found)} after a condition", "join conditions with && or ||")


def _shown(found: str) -> str:
    return found or "the end of the text"
