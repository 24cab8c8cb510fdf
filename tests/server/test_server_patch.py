"""Patches by the letter of RFC 7386 and RFC 6902: the examples are the documents' own."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.server.patch import json_patch, merge, strategic
from muslin.server.refusals import Refusal

# RFC 7386, Appendix A
MERGES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), MERGES)
def test_a_merge_patch_does_what_rfc_7386_says(target: Any, patch: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert merge(target, patch) == result
    assert target == before


# RFC 6902, Appendix A
OPERATIONS = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
    ({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
     [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
     {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}),
    ({"foo": ["all", "grass", "cows", "eat"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
     {"foo": ["all", "cows", "eat", "grass"]}),
    ({"baz": "qux", "foo": ["a", 2, "c"]},
     [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
     {"baz": "qux", "foo": ["a", 2, "c"]}),
    ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
     {"foo": "bar", "child": {"grandchild": {}}}),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
    ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}, {"op": "replace", "path": "/c/b", "value": 2}],
     {"a": {"b": 1}, "c": {"b": 2}}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ({"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}),
    ({"": 1}, [{"op": "test", "path": "/", "value": 1}], {"": 1}),
]


@pytest.mark.parametrize(("target", "operations", "result"), OPERATIONS)
def test_a_json_patch_does_what_rfc_6902_says(target: Any, operations: Any, result: Any) -> None:
    before = copy.deepcopy(target)
    assert json_patch(target, operations) == result
    assert target == before


MISTAKES = [
    ([{"op": "test", "path": "/baz", "value": "bar"}], "test failed"),
    ([{"op": "test", "path": "/one", "value": True}], "test failed"),  # true is not 1
    ([{"op": "test", "path": "/~01", "value": "10"}], "there is no"),
    ([{"op": "add", "path": "/no/such", "value": 1}], "there is no /no"),
    ([{"op": "add", "path": "/list/9", "value": 1}], "only 3 entries"),
    ([{"op": "remove", "path": "/list/3"}], "only 3 entries"),
    ([{"op": "remove", "path": "/list/-"}], "not an index"),
    ([{"op": "remove", "path": "/list/01"}], "not an index"),
    ([{"op": "remove", "path": "/list/-1"}], "not an index"),
    ([{"op": "remove", "path": "/list/１"}], "not an index"),
    ([{"op": "remove", "path": "/gone"}], "there is no /gone"),
    ([{"op": "remove", "path": ""}], "delete it"),
    ([{"op": "replace", "path": "/gone", "value": 1}], "there is no /gone"),
    ([{"op": "move", "from": "/deep", "path": "/deep/er"}], "into itself"),
    ([{"op": "add", "path": "/baz/x", "value": 1}], "is a text"),
    ([{"op": "add", "path": "/x"}], "no value"),
    ([{"op": "add", "value": 1}], "no path"),
    ([{"op": "add", "path": 7, "value": 1}], "no path"),
    ([{"op": "add", "path": "x", "value": 1}], "slash"),
    ([{"op": "copy", "path": "/x"}], "no from"),
    ([{"op": "frobnicate", "path": "/x"}], "must be add"),
    ([{}], "no path"),
    ([{"op": "add", "path": "/ok", "value": 1}, {"op": "remove", "path": "/gone"}], "operation 1"),
]


@pytest.mark.parametrize(("operations", "why"), MISTAKES)
def test_an_operation_that_cannot_be_done_says_which_and_why(operations: Any, why: str) -> None:
    """And none of them is done."""
    target = {"baz": "qux", "list": [1, 2, 3], "deep": {"er": 1}, "one": 1}
    before = copy.deepcopy(target)
    with pytest.raises(Refusal, match=why) as refusal:
        json_patch(target, operations)
    assert refusal.value.code == 422
    assert refusal.value.details["causes"]
    assert target == before


@pytest.mark.parametrize("operations", [{}, "x", 7, None, [1], [[]]])
def test_what_is_no_json_patch_is_refused(operations: Any) -> None:
    with pytest.raises(Refusal) as refusal:
        json_patch({}, operations)
    assert refusal.value.code == 400


def test_a_strategic_patch_loses_its_directives() -> None:
    patch = {"$patch": "merge", "a": {"$retainKeys": ["b"], "b": 1}, "$setElementOrder/c": [1]}
    assert strategic({"a": {"c": 2}}, patch) == {"a": {"b": 1, "c": 2}}


NAMES = st.sampled_from(["a", "b", "/", "~1"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "/", "~"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3),
    max_leaves=8,
)
OPERATION = st.fixed_dictionaries({}, optional={
    "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]),
    "path": st.sampled_from(["", "/", "/a", "/a/b", "/a/0", "/b/-", "/~1", "/~01/0", "x"]),
    "from": st.sampled_from(["", "/a", "/a/0", "/b"]),
    "value": VALUES,
})


@given(target=st.dictionaries(st.sampled_from(["a", "b", "/"]), VALUES), operations=st.lists(OPERATION, max_size=4))
def test_any_json_patch_is_applied_or_refused_and_never_touches_its_target(target: Any, operations: Any) -> None:
    before = json.dumps(target)
    with suppress(Refusal):
        json_patch(target, operations)
    assert json.dumps(target) == before


@given(one=VALUES, other=VALUES)
def test_a_merge_patch_merged_twice_changes_nothing_more(one: Any, other: Any) -> None:
    once = merge(one, other)
    assert merge(once, other) == once
