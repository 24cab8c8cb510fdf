"""A selector that does not parse says where, what, and what to write instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.errors import Invalid
from muslin.model.selector import SelectorError, parse

FAULTS = [
    # text, column, words of the mend
    ("a = 'b'", 2, "write `==`"),
    ("a === 'b'", 4, "write `==`"),
    ("a == 'b' & has(c)", 9, "write `&&`"),
    ("a == 'b' | has(c)", 9, "write `||`"),
    ("a == 'b' and has(c)", 9, "write `&&`"),
    ("a == 'b' OR has(c)", 9, "write `||`"),
    ("a == 'b', has(c)", 8, "`&&` or `||`"),
    ("not has(a)", 0, "write `!`"),
    ("a == b", 5, 'a == "b"'),
    ("a == 5", 5, 'a == "5"'),
    ("a startswith b", 13, 'a starts with "b"'),
    ("a == ", 5, 'a == "value"'),
    ("a == {'b'}", 5, "`in`"),
    ("a == 'b", 5, "put ' at the end"),
    ("a == \"b'", 5, 'put " at the end'),
    ("a == \u201cb\u201d", 5, "plain quotes"),
    ("'a' == 'b'", 0, "write a =="),
    ("a", 1, "has(a)"),
    ("!a && has(b)", 3, "has(a)"),
    ("a b", 2, "one of ==, !="),
    ("a 'b'", 2, "a == 'b'"),
    ("a is 'b'", 2, "`==`"),
    ("a contain 'b'", 2, "`contains`"),
    ("a starts 'b'", 2, "`starts with`"),
    ("a not {'b'}", 2, "`not in`"),
    ("a ~= 'b'", 2, "the operators are"),
    ("a in 'b'", 5, "a in {'b'}"),
    ("a in ('b', 'c')", 5, "curly brackets"),
    ("a in ['b']", 5, "{"),
    ("a in {b}", 6, '"b"'),
    ("a in {'b' 'c'}", 10, ","),
    ("a in {,}", 6, "leave it out"),
    ("a in {'b', 'c'", 14, "`}`"),
    ("a not in {'b' && has(c)", 14, "`}`"),
    ("has(a, b)", 5, "has(a) && has(b)"),
    ("has('a')", 4, "has(a)"),
    ("has()", 4, "all()"),
    ("has(a", 5, "has(label)"),
    ("has (a)", 4, "`has(`"),
    ("all(x)", 4, "all()"),
    ("hass(a)", 0, "has()"),
    ("exists(a)", 0, "has(label)"),
    ("(a == 'b'", 9, "`)`"),
    ("a == 'b')", 8, "leave it out"),
    ("()", 1, "all()"),
    (")", 0, "has(label)"),
    ("has(a) has(b)", 7, "&& or ||"),
    ("has(a) &&", 9, "has(label)"),
    ("has(a) && || has(b)", 10, "has(label)"),
    ("!", 1, "has(label)"),
    ("%", 0, "letters"),
    ("ä == 'b'", 0, "letters"),
    ("a\u00a0== 'b'", 1, "letters"),
    ("has(a) &&\nhas(b)", 9, "`>-`"),
    ("has(a)\n", 6, "one line"),
    ("x" * 513 + " == 'b'", 0, "shorter"),
    ("(" * 101 + "has(a)" + ")" * 101, 100, "flatter"),
    ("a == '" + "x" * 1020 + "'", 1024, "label of their own"),
]


@pytest.mark.parametrize(("text", "column", "mend"), FAULTS, ids=[text[:30] for text, _, _ in FAULTS])
def test_a_fault_says_where_and_what_to_write(text: str, column: int, mend: str) -> None:
    """People learn the language from these."""
    with pytest.raises(SelectorError) as caught:
        parse(text)

    assert (caught.value.column, mend in caught.value.mend) == (column, True), str(caught.value)


def test_the_caret_stands_under_the_fault() -> None:
    """Also when the text is too long to be shown whole."""
    for text, column in (("a = 'b'", 2), ("has(a) && " * 40 + "b = 'c' && " * 40, 402)):
        with pytest.raises(SelectorError) as caught:
            parse(text)
        _, line, caret = str(caught.value).splitlines()

        assert line[caret.index("^")] == "="
        assert caught.value.column == column
        assert len(line) < 120


def test_a_fault_is_the_users_and_a_value_error() -> None:
    """Python users catch ValueError; the shells catch Invalid."""
    with pytest.raises(SelectorError) as caught:
        parse("a = 'b'")

    assert isinstance(caught.value, Invalid)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value) == "`=` is not an operator; write `==`\n    a = 'b'\n      ^"


def test_nesting_up_to_the_limit_is_fine_and_a_thousand_negations_too() -> None:
    """The refusal is ours, never Python's recursion limit."""
    deep = parse("(has(a) && " * 100 + "has(b)" + ")" * 100, longest=None)

    assert deep.matches({"a": "", "b": ""})
    assert parse(str(deep), longest=None) == deep
    assert str(parse("!" * 1001 + "has(a)")) == "!has(a)"


TOKENS = ["a", "b", "has(", "all(", "global(", "(", ")", "{", "}", ",", "==", "!=", "in", "not", "not in", "contains",
          "starts", "with", "'x'", '"y"', "'", "&&", "||", "!", "&", "=", " ", "\t", "\n", "ü", "and", "%"]


@given(st.one_of(st.text(), st.lists(st.sampled_from(TOKENS), max_size=12).map("".join)))
def test_no_text_breaks_the_parser(text: str) -> None:
    """It parses, or it is refused with a column inside the text (or just behind it) and a mend."""
    fault = None
    try:
        parsed = parse(text)
    except SelectorError as error:
        fault = error

    if fault is None:
        assert parse(str(parsed), longest=None) == parsed
    else:
        assert 0 <= fault.column <= len(text)
        assert fault.mend
        assert fault.what
