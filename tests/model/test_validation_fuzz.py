"""Garbage gives faults, never an exception, and every fault says what to write instead."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwords import SPECS, Object, made
from muslin.model.documents import read
from muslin.model.fault import Fault
from muslin.model.kinds import BY_NAME
from muslin.model.kubernetes import to_calico
from muslin.model.outline import Outline, outline
from muslin.model.validation import faults, immutable_faults, normal

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([
    "", "Allow", "deny", "TCP", "10.0.0.0/8", "fd00::/64", "all()", "a == 'b'", "80", "8000:9000", "default", "x" * 300,
    10**4000, -1, 2**63, float("nan"), float("inf"), "\ud800", "\x00", "*", "1.10", "10s", "yes", "Ingress", 4, 6, 26])
JSON = st.recursive(SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=4), below,
                                                                                        max_size=4), max_leaves=12)


def names(of: Outline) -> set[str]:
    """All field names below a struct."""
    found = set(of.fields)
    for part in [*of.fields.values(), *([of.item] if of.item else [])]:
        found |= names(part)
    return found


FIELDS = sorted({"apiVersion", "kind", "podSelector", "from", "ipBlock", "except"}.union(
    *(names(outline(kind.struct)) for kind in BY_NAME.values() if kind.name != "FelixConfiguration")))
SHAPED = st.recursive(SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(
    st.sampled_from(FIELDS) | st.text(max_size=4), below, max_size=5), max_leaves=25)


def require_sentences(found: tuple[Fault, ...]) -> None:
    for fault in found:
        assert "" not in (fault.what, fault.mend, str(fault)), fault
        assert not fault.mend.endswith((".", " ")), fault


def require_consistent(obj: Any) -> None:
    """What has no fault can be normalised, decoded and stored."""
    found = faults(obj)
    require_sentences(found)
    if found:
        return
    once = normal(obj)
    assert normal(once) == once
    assert immutable_faults(once, once) == ()
    if obj["apiVersion"] == "networking.k8s.io/v1":
        assert faults(normal(to_calico(obj))) == ()
    else:
        msgspec.convert(once, BY_NAME[obj["kind"]].struct)
        msgspec.json.encode(once)


@given(JSON)
def test_anything_at_all(value: Any) -> None:
    """The API takes bytes from anybody."""
    require_consistent(value)


def test_numbers_that_python_itself_will_not_print() -> None:
    """Printing them is what a fault would do."""
    for field in ("order", "selector", "tier", "types", "ingress", "nothing"):
        require_consistent(made("NetworkPolicy", **{field: 10**5000}))
        require_consistent(made("NetworkPolicy", **{field: [-(10**5000)]}))


@pytest.mark.slow
@settings(max_examples=300)
@given(st.sampled_from(sorted(SPECS)), SHAPED, SHAPED)
def test_the_right_fields_with_the_wrong_values(kind: str, metadata: Any, spec: Any) -> None:
    """Deeper in, past the first checks."""
    require_consistent({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec})


@settings(max_examples=100)
@given(SHAPED, SHAPED)
def test_policies_of_kubernetes_with_wrong_values(metadata: Any, spec: Any) -> None:
    """They take another way through the checks."""
    require_consistent({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata,
                        "spec": spec})


@st.composite
def spoilt(draw: st.DrawFn) -> Object:
    """A good object with one to three places replaced: the rules meet one wrong value among right ones."""
    obj = copy.deepcopy(made(draw(st.sampled_from(sorted(SPECS)))))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = obj
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            if isinstance(place, dict) and draw(st.booleans()):
                key = draw(st.sampled_from(FIELDS))
            place[key] = draw(SHAPED)
            break
    return obj


@pytest.mark.slow
@settings(max_examples=400)
@given(spoilt())
def test_a_good_object_with_spoilt_places(obj: Object) -> None:
    """The likeliest garbage."""
    require_consistent(obj)


GOOD = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: "app == 'web'"
  ingress:
  - &a {action: Allow, protocol: TCP, destination: {ports: [80, 443]}}
  - <<: *a
---
{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
"""
PIECES = st.sampled_from(["\t", ":", "- ", "{", "}", "[", "]", "'", '"', "&a ", "*a", "<<: ", "---\n", "\n",
                          "!!int ", "|", ">", "#", "%", "@", "010", "yes", "\x00", "\ufeff", "\r", "\u2028", "? ",
                          "...\n", "!x "])


@settings(max_examples=300)
@given(st.text(max_size=40) | st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_read(text: str) -> None:
    """A file may be anything."""
    result = read(text, "f")
    require_sentences(result.faults)
    assert all(fault.line > 0 and fault.column > 0 and fault.file == "f" for fault in result.faults)


@settings(max_examples=400)
@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 6), PIECES), min_size=1, max_size=3))
def test_a_good_file_with_slips_of_the_pen(slips: list[tuple[int, int, str]]) -> None:
    """Every slip gives good objects or faults with lines; the lines are lines of the file."""
    text = GOOD
    for place, length, piece in slips:
        text = text[:place] + piece + text[place + length:]
    result = read(text, "f")
    require_sentences(result.faults)
    assert all(0 < fault.line <= len(text.splitlines()) + 1 for fault in result.faults), result.faults
    for located in result.objects:
        assert located.line > 0
        require_consistent(located.object)
