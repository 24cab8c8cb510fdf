"""What `apply` changes, as kubectl's users know it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from muslin.cli.merge import LAST_APPLIED, SOURCE, change, last_applied, only_bookkeeping, with_last_applied

Json = dict[str, Any]


def patched(obj: Json, patch: Json) -> Json:
    """RFC 7386, the plainest way."""
    result = dict(obj)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = patched(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result


def test_a_field_that_left_the_file_is_removed() -> None:
    last = {"spec": {"order": 10, "selector": "a"}}

    assert change(last, last, {"spec": {"selector": "a"}}) == {"spec": {"order": None}}


def test_a_field_that_somebody_else_set_stays() -> None:
    """A default of the server, or a label set by hand, was never in the file: it is nobody's to remove."""
    live = {"spec": {"types": ["Ingress"], "selector": "a"}, "metadata": {"labels": {"by": "hand"}}}

    assert change({}, live, {"spec": {"selector": "a"}, "metadata": {"labels": {}}}) == {}


def test_a_changed_list_is_replaced_whole() -> None:
    live = {"spec": {"ingress": [{"action": "Allow"}, {"action": "Deny"}]}}

    assert change({}, live, {"spec": {"ingress": [{"action": "Deny"}]}}) == {"spec": {"ingress": [{"action": "Deny"}]}}


def test_what_was_applied_is_remembered_without_itself() -> None:
    obj = with_last_applied({"metadata": {"name": "x"}, "spec": {"order": 1}})

    assert last_applied(obj) == {"metadata": {"name": "x"}, "spec": {"order": 1}}
    assert last_applied(with_last_applied(obj)) == {"metadata": {"name": "x"}, "spec": {"order": 1}}


def test_a_garbled_memory_removes_nothing() -> None:
    assert last_applied({"metadata": {"annotations": {LAST_APPLIED: "{"}}}) == {}
    assert last_applied({"metadata": {"annotations": {LAST_APPLIED: "[1]"}}}) == {}


def test_a_policy_that_only_moved_in_its_file_is_unchanged() -> None:
    """Its lines are written anew, but nobody wants to read `configured` for that."""
    assert only_bookkeeping({"metadata": {"annotations": {SOURCE: "a.yaml:7", LAST_APPLIED: "{}"}}})
    assert not only_bookkeeping({"metadata": {"annotations": {"ticket": "1"}}})
    assert not only_bookkeeping({"metadata": {"labels": {"a": "b"}}})
    assert not only_bookkeeping({"spec": {"order": 1}})


keys = st.sampled_from("abc")
values = st.recursive(
    st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=2), lambda inner: st.dictionaries(keys, inner, max_size=3)
)
objects = st.dictionaries(keys, values, max_size=3)


@given(objects, objects, objects)
def test_the_patch_brings_the_object_to_what_the_file_says(last: Json, live: Json, wanted: Json) -> None:
    """Everything in the file is so afterwards, what left the file is gone, and a second time changes nothing."""
    after = patched(live, change(last, live, wanted))

    assert _within(wanted, after)
    assert not (last.keys() - wanted.keys()) & after.keys()
    assert after.keys() >= live.keys() - last.keys()
    assert change(wanted, after, wanted) == {}


def _within(part: Json, whole: Json) -> bool:
    return all(
        _within(value, whole[key]) if isinstance(value, dict) and isinstance(whole.get(key), dict)
        else key in whole and whole[key] == value
        for key, value in part.items()
    )
