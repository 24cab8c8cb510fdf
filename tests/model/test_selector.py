"""The selector language is Calico's: what each operator means, how it is spelt back, what an index may rely on."""

from __future__ import annotations

import pytest

from muslin.model import selector
from muslin.model.selector import ALL, LONGEST_TEXT, both, parse

MEANINGS = [
    # text, labels it matches, labels it does not match
    ('a == "b"', [{"a": "b"}, {"a": "b", "c": "d"}], [{}, {"a": "c"}, {"c": "b"}]),
    ("a != 'b'", [{}, {"a": "c"}, {"a": ""}], [{"a": "b"}]),
    ('a in {"x", "y"}', [{"a": "x"}, {"a": "y"}], [{}, {"a": "z"}, {"b": "x"}]),
    ('a not in {"x", "y"}', [{}, {"a": "z"}], [{"a": "x"}, {"a": "y"}]),
    ("a in {}", [], [{}, {"a": ""}]),
    ("a not in {}", [{}, {"a": ""}], []),
    ('a contains "b"', [{"a": "b"}, {"a": "abc"}], [{}, {"a": "ac"}, {"b": "b"}]),
    ('a contains ""', [{"a": ""}, {"a": "x"}], [{}]),
    ('a starts with "b"', [{"a": "b"}, {"a": "bc"}], [{}, {"a": "ab"}]),
    ('a starts with ""', [{"a": ""}], [{}]),
    ('a ends with "b"', [{"a": "b"}, {"a": "ab"}], [{}, {"a": "ba"}]),
    ('a == ""', [{"a": ""}], [{}, {"a": "x"}]),
    ("has(a)", [{"a": ""}, {"a": "x"}], [{}, {"b": "x"}]),
    ("!has(a)", [{}, {"b": "x"}], [{"a": "x"}]),
    ("!a == 'x'", [{}, {"a": "y"}], [{"a": "x"}]),
    ("all()", [{}, {"a": "x"}], []),
    ("!all()", [], [{}, {"a": "x"}]),
    ("", [{}, {"a": "x"}], []),
    (" \t", [{}, {"a": "x"}], []),
    ("global()", [{}, {"a": "b"}], [{"projectcalico.org/namespace": "x"}]),
    ("has(a) && has(b)", [{"a": "", "b": ""}], [{}, {"a": ""}, {"b": ""}]),
    ("has(a) || has(b)", [{"a": ""}, {"b": ""}], [{}, {"c": ""}]),
    ("has(a) && has(b) && has(c)", [{"a": "", "b": "", "c": ""}], [{"a": "", "b": ""}, {"b": "", "c": ""}]),
    ("has(a) || has(b) || has(c)", [{"a": ""}, {"c": ""}], [{}]),
    ("has(a) || has(b) && has(c)", [{"a": ""}, {"b": "", "c": ""}], [{"b": ""}, {"c": ""}]),
    ("(has(a) || has(b)) && has(c)", [{"a": "", "c": ""}], [{"a": ""}, {"c": ""}]),
    ("!(has(a) || has(b))", [{}, {"c": ""}], [{"a": ""}, {"b": ""}]),
    ("!!has(a)", [{"a": ""}], [{}]),
    ("! ! !has(a)", [{}], [{"a": ""}]),
]


@pytest.mark.parametrize(("text", "matching", "others"), MEANINGS, ids=[text or "nothing" for text, _, _ in MEANINGS])
def test_each_operator_means_what_calico_means(
    text: str, matching: list[dict[str, str]], others: list[dict[str, str]]
) -> None:
    """An absent label equals nothing and contains nothing, so the not-forms are true of it."""
    parsed = parse(text)

    assert [labels for labels in matching if not parsed.matches(labels)] == []
    assert [labels for labels in others if parsed.matches(labels)] == []


CANONICAL = [
    ("", "all()"),
    ("  all( )\t", "all()"),
    ("((all()))", "all()"),
    ("global( )", "global()"),
    ("a=='b'", 'a == "b"'),
    ("a!=\"b\"", 'a != "b"'),
    ("a == '\"'", "a == '\"'"),
    ("a == \"'\"", "a == \"'\""),
    ("a startswith'x'", 'a starts with "x"'),
    ("a starts \t with 'x'", 'a starts with "x"'),
    ("a endswith 'x'", 'a ends with "x"'),
    ("a contains'x'", 'a contains "x"'),
    ("a in{'z','x','z','a'}", 'a in {"a", "x", "z"}'),
    ("a in {'x',}", 'a in {"x"}'),
    ("a notin{'x'}", 'a not in {"x"}'),
    ("a  not  in {'x'}", 'a not in {"x"}'),
    ("a in {}", "a in {}"),
    ("""a in {'"', "'"}""", """a in {'"', "'"}"""),
    ("has( a )", "has(a)"),
    ("x=='1'&&y=='2'", '(x == "1" && y == "2")'),
    ("has(x)||has(y)||has(z)", "(has(x) || has(y) || has(z))"),
    ("has(x)||has(y)&&has(z)", "(has(x) || (has(y) && has(z)))"),
    ("(has(x)&&has(y))&&has(z)", "((has(x) && has(y)) && has(z))"),
    ('! (a == "b"&&! c != "d")', '!(a == "b" && !c != "d")'),
    ("! (has( b)||! has(a ))", "!(has(b) || !has(a))"),
    ("!(k == 'v')", '!k == "v"'),
    ("!!has(a)", "has(a)"),
    ("!(!has(a))", "has(a)"),
    ("in in {'in'}", 'in in {"in"}'),
    ("not not in {'x'}", 'not not in {"x"}'),
    ("has(has)", "has(has)"),
    ("has == 'x'", 'has == "x"'),
    ("contains contains 'contains'", 'contains contains "contains"'),
    ("-a/b.c_d == 'x'", '-a/b.c_d == "x"'),
    ("/ == 'x'", '/ == "x"'),
    ("1 == '2'", '1 == "2"'),
    ("has(projectcalico.org/namespace)", "has(projectcalico.org/namespace)"),
    ("a == 'öl'", 'a == "öl"'),
]


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_every_spelling_has_one_canonical_form_and_that_form_is_its_own(text: str, canonical: str) -> None:
    """Set ids are hashes of this text, so two spellings of one selector must not make two sets."""
    parsed = parse(text)

    assert str(parsed) == canonical
    assert str(parse(canonical)) == canonical
    assert parse(canonical) == parsed
    assert hash(parse(canonical)) == hash(parsed)


@pytest.mark.parametrize(
    ("text", "requires"),
    [
        ("all()", {}),
        ("a == 'x'", {"a": {"x"}}),
        ("a != 'x'", {}),
        ("!a != 'x'", {"a": {"x"}}),
        ("!a not in {'x', 'y'}", {"a": {"x", "y"}}),
        ("has(a) && b starts with 'x'", {"a": None, "b": None}),
        ("has(a) && a in {'x', 'y'} && a in {'y', 'z'}", {"a": {"y"}}),
        ("a == 'x' && a == 'y'", {"a": set()}),
        ("a == 'x' || a in {'y', 'z'}", {"a": {"x", "y", "z"}}),
        ("a == 'x' || has(a)", {"a": None}),
        ("a == 'x' || b == 'x'", {}),
        ("!(a != 'x' || !has(b))", {"a": {"x"}, "b": None}),
        ("!global()", {"projectcalico.org/namespace": None}),
    ],
)
def test_an_index_may_rely_on_what_a_selector_requires(text: str, requires: dict[str, set[str] | None]) -> None:
    """Whatever matches has these labels; what has none of them need not be asked."""
    expected = {label: None if values is None else frozenset(values) for label, values in requires.items()}

    assert dict(parse(text).requires) == expected
    assert list(parse(text).requires) == sorted(parse(text).requires, key=lambda item: item[0])


def test_both_is_what_both_select() -> None:
    """all() adds nothing, so that a policy without a selector shares the set of its namespace."""
    a, b = parse("has(a)"), parse("has(b) || has(c)")

    assert str(both(a, b)) == "(has(a) && (has(b) || has(c)))"
    assert both(a, ALL) == a == both(ALL, a)
    assert both(ALL, ALL) == ALL


def test_a_prefix_goes_before_every_label() -> None:
    """Endpoints inherit the labels of their namespace under `pcns.`, those of their service account under `pcsa.`."""
    parsed = parse("!(!(k == 'v' && has(t) || all()) && (a in {'b', 'c'})) && global()")

    text = '(!(!((pcns.k == "v" && has(pcns.t)) || all()) && pcns.a in {"b", "c"}) && global())'
    assert str(parsed.prefixed("pcns.")) == text
    assert parse("x == '1'").prefixed("pcns.").matches({"pcns.x": "1"})


def test_a_namespace_selector_speaks_of_namespaces_only() -> None:
    """`all()` there means "in some namespace": global network sets and host endpoints are out. `global()` the rest."""
    inside, outside = {"projectcalico.org/namespace": "n", "pcns.team": "red"}, {"team": "red"}

    assert parse("all()").of_namespaces().matches(inside)
    assert not parse("all()").of_namespaces().matches(outside)
    assert parse("global()").of_namespaces().matches(outside)
    assert not parse("global()").of_namespaces().matches(inside)
    assert parse("team == 'red'").of_namespaces().matches(inside)
    assert not parse("team == 'red'").of_namespaces().matches(outside)
    assert not parse("!all()").of_namespaces().matches(inside)


def test_global_is_seen_so_that_validation_can_forbid_it() -> None:
    """Calico takes global() only alone, and only in a rule's namespaceSelector."""
    assert parse("global()").is_global
    assert parse("!(has(a) || global())").mentions_global
    assert not parse("!(has(a) || global())").is_global
    assert not parse("has(global)").mentions_global


def test_a_canonical_text_may_be_longer_than_the_api_allows() -> None:
    """The limit is on what people send, not on what we make of it."""
    text = "&&".join(["a=='b'"] * 113)
    canonical = str(parse(text))

    assert len(text) <= LONGEST_TEXT < len(canonical)
    assert str(parse(canonical, longest=None)) == canonical


def test_it_is_there_for_python_users() -> None:
    """The words of the README."""
    assert selector.parse("a == 'b'").matches({"a": "b"})
    with pytest.raises(ValueError, match="write `==`"):
        selector.parse("a = 'b'")
