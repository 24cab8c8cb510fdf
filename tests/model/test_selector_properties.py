"""Any selector at all: printed and parsed again it is the same, and it matches what a plain reading of it matches."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from muslin.model.selector import Selector, both, parse

# A selector as nested tuples, as a person would draw it; the words are few so that labels and values meet.
LABELS = ["a", "b", "in", "not", "has", "-x/y.z", "projectcalico.org/namespace"]
VALUES = ["", "x", "y", "xy", "yx", "it's", 'say "x"']
BINARY = ["==", "!=", "contains", "starts with", "startswith", "ends with", "endswith"]
SETS = ["in", "not in", "notin"]

leaves = st.one_of(
    st.tuples(st.sampled_from(BINARY), st.sampled_from(LABELS), st.sampled_from(VALUES)),
    st.tuples(st.sampled_from(SETS), st.sampled_from(LABELS), st.lists(st.sampled_from(VALUES), max_size=4)),
    st.tuples(st.just("has"), st.sampled_from(LABELS)),
    st.sampled_from([("all",), ("global",)]),
)
trees: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.just("!"), inner),
        st.tuples(st.sampled_from(["&&", "||"]), st.lists(inner, min_size=2, max_size=4)),
    ),
    max_leaves=12,
)
labellings = st.dictionaries(st.sampled_from(LABELS), st.sampled_from(VALUES), max_size=4)


def spelt(tree: Any, gap: str) -> str:
    """One of the many spellings of a tree."""
    quote = lambda value: f"'{value}'" if "'" not in value else f'"{value}"'  # noqa: E731
    match tree:
        case ("all",) | ("global",):
            return f"{tree[0]}({gap})"
        case ("has", label):
            return f"has({gap}{label}{gap})"
        case ("in" | "not in" | "notin" as operator, label, values):
            return f"{label} {operator}{gap}{{{f'{gap},'.join(map(quote, values))}{gap}}}"
        case ("!", operand):
            return f"!{gap}({spelt(operand, gap)})"
        case ("&&" | "||" as operator, operands):
            return f"({f'{gap}{operator}{gap}'.join(spelt(operand, gap) for operand in operands)})"
        case (operator, label, value):
            return f"{label} {operator}{gap}{quote(value)}"
    raise AssertionError(tree)


def true_of(tree: Any, labels: dict[str, str]) -> bool:
    """The naive reading: slow, and too simple to be wrong."""
    match tree:
        case ("all",):
            return True
        case ("global",):
            return "projectcalico.org/namespace" not in labels
        case ("has", label):
            return label in labels
        case ("!", operand):
            return not true_of(operand, labels)
        case ("&&", operands):
            return all(true_of(operand, labels) for operand in operands)
        case ("||", operands):
            return any(true_of(operand, labels) for operand in operands)
        case ("!=", label, value):
            return not (label in labels and labels[label] == value)
        case ("not in" | "notin", label, values):
            return not (label in labels and labels[label] in values)
        case (operator, label, value):
            if label not in labels:
                return False
            found = labels[label]
            return {
                "==": lambda: found == value,
                "in": lambda: found in value,
                "contains": lambda: value in found,
                "startswith": lambda: found[: len(value)] == value,
                "endswith": lambda: found[len(found) - len(value) :] == value and len(found) >= len(value),
            }[operator.replace("s with", "swith")]()
    raise AssertionError(tree)


def parsed(tree: Any, gap: str = "") -> Selector:
    return parse(spelt(tree, gap), longest=None)


@given(trees, st.sampled_from(["", " ", "\t "]), labellings)
def test_a_selector_matches_what_a_naive_reading_matches(tree: Any, gap: str, labels: dict[str, str]) -> None:
    """Kills: `<` for `<=`-like slips in any operator, precedence, negation, absent labels."""
    assert parsed(tree, gap).matches(labels) is true_of(tree, labels)


@given(trees, st.sampled_from(["", " ", "\t "]))
def test_printed_and_parsed_again_it_is_the_same(tree: Any, gap: str) -> None:
    """The canonical form is a fixed point, whatever the spelling was."""
    first = parsed(tree, gap)

    again = parse(str(first), longest=None)

    assert str(again) == str(first)
    assert again == first == parsed(tree)


@given(trees, labellings)
def test_whatever_matches_has_what_is_required(tree: Any, labels: dict[str, str]) -> None:
    """An index leaves out what lacks a required label; leaving out a match would open or close a rule in silence."""
    if true_of(tree, labels):
        for label, values in parsed(tree).requires:
            assert label in labels
            assert values is None or labels[label] in values


@given(trees, trees, labellings)
def test_both_matches_what_each_matches(left: Any, right: Any, labels: dict[str, str]) -> None:
    """And it is spelt so that it parses again."""
    joined = both(parsed(left), parsed(right))

    assert joined.matches(labels) is (true_of(left, labels) and true_of(right, labels))
    assert parse(str(joined), longest=None) == joined


@given(trees, labellings)
def test_prefixed_asks_the_same_of_prefixed_labels(tree: Any, labels: dict[str, str]) -> None:
    """global() alone keeps asking for the namespace label itself, so that one is given both ways."""
    namespace = {label: value for label, value in labels.items() if label == "projectcalico.org/namespace"}
    prefixed = {f"pcns.{label}": value for label, value in labels.items()}

    assert parsed(tree).prefixed("pcns.").matches(prefixed | namespace) is true_of(tree, labels)
