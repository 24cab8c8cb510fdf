"""Server-side apply: each writer owns its part, and nobody's part is changed behind his back."""

from __future__ import annotations

from typing import Any

import pytest

from serverrig import APPLY, CALICO, GNPS, JSON_PATCH, Answer, Api, gnp

ONE = f"{GNPS}/a"


def apply(api: Api, manager: str, *, force: bool = False, metadata: Any = None, **spec: Any) -> Answer:
    body: dict[str, Any] = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
                            "metadata": {"name": "a", **(metadata or {})}}
    if spec:
        body["spec"] = spec
    return api.patch(ONE, body, APPLY, fieldManager=manager, force=str(force).lower())


def test_applying_creates_what_is_not_there(api: Api) -> None:
    answer = apply(api, "me", selector="all()", order=5)
    assert answer.status == 201
    (entry,) = answer.json["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"], entry["fieldsType"]) == ("me", "Apply", "FieldsV1")
    assert entry["fieldsV1"] == {"f:spec": {"f:selector": {}, "f:order": {}}}


def test_applying_the_same_again_writes_nothing(api: Api) -> None:
    first = apply(api, "me", selector="all()", order=5).json
    again = apply(api, "me", selector="all()", order=5)
    assert again.status == 200
    assert again.json == first


def test_a_field_that_is_no_longer_applied_is_removed(api: Api) -> None:
    apply(api, "me", selector="all()", order=5, metadata={"labels": {"x": "1", "y": "2"}})
    found = apply(api, "me", selector="all()", metadata={"labels": {"x": "1"}}).json
    assert "order" not in found["spec"]
    assert "y" not in found["metadata"]["labels"]
    assert found["spec"]["tier"] == "default"  # a default is the server's


def test_two_writers_own_their_parts(api: Api) -> None:
    apply(api, "me", selector="all()")
    found = apply(api, "you", order=7).json
    assert (found["spec"]["selector"], found["spec"]["order"]) == ("all()", 7)
    assert apply(api, "you").json["spec"].get("order") is None
    assert api.get(ONE).json["spec"]["selector"] == "all()"


def test_a_field_of_another_is_a_conflict_until_forced(api: Api) -> None:
    apply(api, "me", selector="all()", order=5)
    answer = apply(api, "you", order=7)
    assert (answer.status, answer.json["reason"]) == (409, "Conflict")
    (cause,) = answer.json["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".spec.order")
    assert '"me"' in cause["message"]
    assert api.get(ONE).json["spec"]["order"] == 5
    assert apply(api, "you", force=True, order=7).json["spec"]["order"] == 7
    assert apply(api, "me", selector="all()", order=5).status == 409


def test_two_may_own_one_value_and_it_goes_with_the_last(api: Api) -> None:
    apply(api, "me", selector="all()", order=5)
    assert apply(api, "you", order=5).status == 200
    assert apply(api, "me", selector="all()").json["spec"]["order"] == 5
    assert "order" not in apply(api, "you", metadata={"labels": {"y": "1"}}).json["spec"]


def test_what_is_changed_otherwise_changes_its_owner(api: Api) -> None:
    """`kubectl edit` takes a field; the next apply meets a conflict instead of undoing it in silence."""
    apply(api, "me", selector="all()", order=5)
    api.patch(ONE, {"spec": {"order": 6}}, fieldManager="kubectl-edit")
    assert apply(api, "me", selector="all()", order=5).status == 409
    managers = {entry["manager"]: entry["fieldsV1"] for entry in api.get(ONE).json["metadata"]["managedFields"]}
    assert managers["kubectl-edit"] == {"f:spec": {"f:order": {}}}
    assert "f:order" not in managers["me"]["f:spec"]


def test_who_sends_an_empty_map_owns_nothing(api: Api) -> None:
    """Old `kubectl diff` sends `annotations: {}`; its dry run would show a new owner of nothing."""
    before = apply(api, "me", selector="all()").json
    assert api.patch(ONE, {"metadata": {"annotations": {}, "labels": {}}}, fieldManager="kubectl").json == before


def test_fields_of_an_object_that_nobody_applied_are_anybodys(api: Api) -> None:
    api.made(GNPS, gnp("a", order=3))
    found = apply(api, "me", order=4)
    assert (found.status, found.json["spec"]["order"]) == (200, 4)


def test_objects_that_nobody_applied_carry_no_owners(api: Api) -> None:
    body = gnp("a")
    body["metadata"]["managedFields"] = [{"manager": "liar", "operation": "Apply"}]
    assert "managedFields" not in api.made(GNPS, body)["metadata"]
    assert "managedFields" not in api.patch(ONE, {"spec": {"order": 1}}).json["metadata"]


def test_an_apply_of_metadata_alone_leaves_the_spec(api: Api) -> None:
    """kubectl sends one, for its last-applied annotation."""
    apply(api, "kubectl", selector="all()", order=5)
    found = apply(api, "kubectl-last-applied", metadata={"annotations": {"a": "b"}}).json
    assert (found["spec"]["order"], found["metadata"]["annotations"]) == (5, {"a": "b"})


def test_a_client_may_move_ownership_itself(api: Api) -> None:
    """kubectl does, when a user goes from client-side to server-side apply."""
    apply(api, "me", selector="all()", order=5)
    entries = api.get(ONE).json["metadata"]["managedFields"]
    entries[0]["manager"] = "you"
    answer = api.patch(ONE, [{"op": "replace", "path": "/metadata/managedFields", "value": entries}], JSON_PATCH)
    assert answer.json["metadata"]["managedFields"][0]["manager"] == "you"
    assert apply(api, "you", selector="all()", order=9).status == 200


def test_lists_belong_to_one_writer_as_a_whole(api: Api) -> None:
    apply(api, "me", selector="all()", ingress=[{"action": "Allow"}])
    assert apply(api, "you", ingress=[{"action": "Allow"}, {"action": "Deny"}]).status == 409


def test_a_dry_apply_stores_nothing(api: Api) -> None:
    body = {"metadata": {"name": "a"}, "spec": {"selector": "all()"}}
    assert api.patch(ONE, body, APPLY, fieldManager="me", dryRun="All").status == 201
    assert api.get(ONE).status == 404


def test_an_apply_is_validated(api: Api) -> None:
    assert apply(api, "me", selector="all(").status == 422
    assert apply(api, "me", selektor="all()").status == 422
    assert api.get(ONE).status == 404


@pytest.mark.parametrize("query", [{}, {"fieldManager": ""}, {"fieldManager": "x" * 200}, {"fieldManager": "a\nb"}])
def test_an_apply_names_its_writer(api: Api, query: dict[str, str]) -> None:
    assert api.patch(ONE, {"metadata": {"name": "a"}}, APPLY, **query).status == 400


def test_an_apply_for_another_object_is_refused(api: Api) -> None:
    assert api.patch(ONE, {"metadata": {"name": "b"}}, APPLY, fieldManager="me").status == 400
    assert api.patch(ONE, {"kind": "Tier"}, APPLY, fieldManager="me").status == 400
    managed = {"metadata": {"name": "a", "managedFields": [{}]}}
    assert api.patch(ONE, managed, APPLY, fieldManager="me").status == 400


def test_namespaces_are_applied_too(api: Api) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}}
    assert api.patch("/api/v1/namespaces/shop", body, APPLY, fieldManager="me").status == 201
    assert api.get(f"{CALICO}/tiers").status == 200
