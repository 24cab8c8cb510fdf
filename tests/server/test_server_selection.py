"""Kubernetes' label and field selectors: another language than Calico's, and not to be confused with it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.server.refusals import Refusal
from muslin.server.selection import selection

OBJ = {"metadata": {"name": "a", "namespace": "shop", "labels": {"app": "web", "tier": "front", "x.io/y": ""}},
       "spec": {"node": "h1"}}


@pytest.mark.parametrize(("text", "fits"), [
    ("", True), ("app=web", True), ("app==web", True), ("app = web", True), ("app=db", False), ("app!=db", True),
    ("app!=web", False), ("none!=x", True), ("none=x", False), ("app", True), ("none", False), ("!none", True),
    ("!app", False), ("app in (web, db)", True), ("app in (db)", False), ("app notin (db)", True),
    ("app notin (web,db)", False), ("none notin (x)", True), ("none in (x)", False), ("x.io/y=", True),
    ("x.io/y", True),
    ("app=web,tier=front", True), ("app=web,tier=back", False), ("app in (web,db),!none,tier!=back", True),
    ("app in (),tier", False), (" app=web , tier ", True),
])
def test_a_label_selector_means_what_kubernetes_says(text: str, fits: bool) -> None:
    """`!=` and `notin` hold where the label is absent; conditions are ANDed."""
    assert selection(text, "")(OBJ) is fits


@pytest.mark.parametrize(("text", "fits"), [
    ("metadata.name=a", True), ("metadata.name==a", True), ("metadata.name!=a", False), ("metadata.name=b", False),
    ("metadata.namespace=shop,metadata.name=a", True), ("spec.node=h1", True), ("spec.node=h2", False), ("", True),
    ("spec.tier=", True),
])
def test_a_field_selector_selects_by_name_and_place(text: str, fits: bool) -> None:
    assert selection("", text)(OBJ) is fits


@pytest.mark.parametrize(("labels", "fields"), [
    ("a=b=c", ""), ("app == 'web'", ""), ("has(app)", ""), ("app in web", ""), ("(", ""), ("a in (b", ""), ("=x", ""),
    ("a in ('b')", ""), ("-a", ""), ("a=" + "x" * 64, ""), ("", "metadata.nam=a"), ("", "metadata.name"), ("", "=x"),
])
def test_a_selector_that_is_none_is_refused_and_says_why(labels: str, fields: str) -> None:
    with pytest.raises(Refusal) as refusal:
        selection(labels, fields)
    assert refusal.value.code == 400


@pytest.mark.parametrize("obj", [{}, {"metadata": None}, {"metadata": {"labels": [1]}, "spec": "x"}])
def test_an_object_that_is_not_as_it_should_be_simply_has_no_labels(obj: dict[str, object]) -> None:
    assert not selection("app", "")(obj)
    assert not selection("", "spec.node=x")(obj)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_a_selector_or_refused(labels: str, fields: str) -> None:
    with suppress(Refusal):
        selection(labels, fields)(OBJ)
