"""Lists: in pages that are one picture, as tables for people, by selector."""

from __future__ import annotations

import base64

import pytest

from muslin.server.tables import short
from serverrig import CALICO, GNPS, NPS, TABLE, Api, gnp, policy, resource, workload


def names(answer: object) -> list[str]:
    return [item["metadata"]["name"] for item in answer.json["items"]]  # type: ignore[attr-defined]


def test_an_empty_list_is_a_list(api: Api) -> None:
    found = api.get(GNPS).json
    assert (found["kind"], found["apiVersion"], found["items"]) == (
        "GlobalNetworkPolicyList", "projectcalico.org/v3", [])
    assert int(found["metadata"]["resourceVersion"]) > 0


def test_pages_are_together_one_picture(api: Api) -> None:
    """Whatever is written while a client turns them."""
    for n in range(7):
        api.made(GNPS, gnp(f"p{n}"))
    first = api.get(GNPS, limit=3)
    api.delete(f"{GNPS}/p4")
    api.made(GNPS, gnp("p45"))
    second = api.get(GNPS, limit=3, **{"continue": first.json["metadata"]["continue"]})
    third = api.get(GNPS, limit=3, **{"continue": second.json["metadata"]["continue"]})
    assert names(first) + names(second) + names(third) == [f"p{n}" for n in range(7)]
    assert "continue" not in third.json["metadata"]
    versions = {page.json["metadata"]["resourceVersion"] for page in (first, second, third)}
    assert len(versions) == 1


def test_a_page_that_ends_the_list_has_no_continue(api: Api) -> None:
    for n in range(4):
        api.made(GNPS, gnp(f"p{n}"))
    assert "continue" not in api.get(GNPS, limit=4).json["metadata"]


def test_pages_of_a_selection_are_full(api: Api) -> None:
    for n in range(9):
        api.made(GNPS, gnp(f"p{n}", labels={"odd": str(n % 2)}))
    first = api.get(GNPS, limit=2, labelSelector="odd=1")
    assert names(first) == ["p1", "p3"]
    rest = api.get(GNPS, limit=9, labelSelector="odd=1", **{"continue": first.json["metadata"]["continue"]})
    assert names(rest) == ["p5", "p7"]


@pytest.mark.parametrize("token", [
    "x", "%%%", "e30", base64.urlsafe_b64encode(b'{"revision":1,"after":"/elsewhere"}').decode(),
    base64.urlsafe_b64encode(b'{"revision":"1","after":7}').decode(), "ä",
])
def test_a_continue_token_that_was_made_up_is_refused(api: Api, token: str) -> None:
    assert api.get(GNPS, limit=2, **{"continue": token}).status == 400


def test_a_continue_token_of_another_list_is_refused(api: Api) -> None:
    for n in range(3):
        api.made(NPS, policy(f"p{n}"))
    token = api.get(NPS, limit=1).json["metadata"]["continue"]
    assert api.get(GNPS, **{"continue": token}).status == 400


def test_a_list_at_a_revision_shows_what_was_then(api: Api) -> None:
    version = api.made(GNPS, gnp("a"))["metadata"]["resourceVersion"]
    api.made(GNPS, gnp("b"))
    assert names(api.get(GNPS, resourceVersion=version, resourceVersionMatch="Exact")) == ["a"]
    assert names(api.get(GNPS, resourceVersion=version)) == ["a", "b"]
    assert api.get(GNPS, resourceVersion=10_000, resourceVersionMatch="Exact").status == 410


def test_a_list_is_selected_by_labels_and_fields(api: Api) -> None:
    api.made(GNPS, gnp("a", labels={"app": "web"}))
    api.made(GNPS, gnp("b", labels={"app": "db"}))
    assert names(api.get(GNPS, labelSelector="app in (web)")) == ["a"]
    assert names(api.get(GNPS, fieldSelector="metadata.name=b")) == ["b"]
    refused = api.get(GNPS, fieldSelector="spec.order=1")
    assert (refused.status, refused.json["message"]) == (400, "field label not supported: spec.order")


def test_a_table_has_calicoctls_columns(api: Api) -> None:
    api.made(GNPS, gnp("a", order=3.5, selector="x == 'y'"))
    table = api.get(GNPS, TABLE).json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [column["name"] for column in table["columnDefinitions"]]
    assert columns == ["Name", "Tier", "Order", "Types", "Selector", "Ingress", "Egress", "Age"]
    assert table["rows"][0]["cells"][:5] == ["a", "default", 3.5, "Ingress", "x == 'y'"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize(
    ("include", "kind"), [("Object", "GlobalNetworkPolicy"), ("Metadata", "PartialObjectMetadata")])
def test_a_table_brings_as_much_of_its_objects_as_asked(api: Api, include: str, kind: str) -> None:
    """kubectl --sort-by needs the whole object."""
    api.made(GNPS, gnp("a"))
    assert api.get(GNPS, TABLE, includeObject=include).json["rows"][0]["object"]["kind"] == kind
    assert "object" not in api.get(GNPS, TABLE, includeObject="None").json["rows"][0]
    assert api.get(GNPS, TABLE, includeObject="Much").status == 400


def test_a_workload_is_shown_with_its_addresses(api: Api) -> None:
    api.made(f"{CALICO}/namespaces/shop/workloadendpoints", workload("web", "h1", "10.65.0.1", "fd65::1"))
    cells = api.get(f"{CALICO}/workloadendpoints", TABLE).json["rows"][0]["cells"]
    assert cells[1:5] == ["web", "h1", "10.65.0.1,fd65::1", "musweb"]


def test_one_object_is_a_row_too(api: Api) -> None:
    api.made(f"{CALICO}/ippools", resource("IPPool", "p", cidr="10.65.0.0/16"))
    table = api.get(f"{CALICO}/ippools/p", TABLE).json
    assert table["rows"][0]["cells"][:2] == ["p", "10.65.0.0/16"]


@pytest.mark.parametrize(("seconds", "text"), [
    (0, "0s"), (119, "119s"), (120, "2m"), (192, "3m12s"), (600, "10m"), (3 * 3600 + 61, "3h1m"), (9 * 3600, "9h"),
    (47 * 3600, "47h"), (48 * 3600, "2d"), (400 * 86400, "400d"), (800 * 86400, "2y"),
])
def test_an_age_is_said_as_kubectl_says_it(seconds: int, text: str) -> None:
    assert short(seconds) == text
