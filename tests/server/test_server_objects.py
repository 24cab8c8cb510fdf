"""Create, read, change, delete: what a client may rely on, request by request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from serverrig import CALICO, GNPS, JSON_PATCH, MERGE, NAMESPACES, NPS, Api, gnp, policy, resource


def test_what_is_created_is_stamped_and_read_back(api: Api) -> None:
    """uid, creationTimestamp, generation and resourceVersion are the server's, whatever the client says of them."""
    body = gnp("a")
    body["metadata"] |= {"uid": "mine", "creationTimestamp": "1999-01-01T00:00:00Z", "generation": 7}
    made = api.post(GNPS, body)
    assert made.status == 201
    metadata = made.json["metadata"]
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"] > "2020"
    assert metadata["generation"] == 1
    assert int(metadata["resourceVersion"]) > 0
    assert api.get(f"{GNPS}/a").json == made.json


def test_defaults_are_written_into_what_is_stored(api: Api) -> None:
    """Other readers of the store rely on them: a policy has its types and its tier."""
    spec = api.made(NPS, policy("a", egress=[{"action": "Allow"}]))["spec"]
    assert (spec["tier"], spec["types"]) == ("default", ["Egress"])


def test_creating_it_again_is_already_exists(api: Api) -> None:
    api.made(GNPS, gnp("a"))
    again = api.post(GNPS, gnp("a"))
    assert (again.status, again.json["reason"]) == (409, "AlreadyExists")
    assert again.json["message"] == 'globalnetworkpolicies.projectcalico.org "a" already exists'


def test_of_many_that_create_one_name_one_wins(api: Api) -> None:
    with ThreadPoolExecutor(8) as many:
        codes = list(many.map(lambda n: api.post(GNPS, gnp("a", order=n)).status, range(16)))
    assert sorted(codes) == [201] + [409] * 15


def test_generate_name_gives_each_its_own(api: Api) -> None:
    body = gnp("")
    body["metadata"] = {"generateName": "auto-"}
    names = {api.made(GNPS, body)["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("auto-") and len(name) == 10 for name in names)


def test_an_object_needs_a_name(api: Api) -> None:
    body = gnp("")
    answer = api.post(GNPS, body)
    assert (answer.status, answer.fields) == (422, ["metadata.name"])


def test_what_is_not_there_is_not_found_in_kubectls_words(api: Api) -> None:
    answer = api.get(f"{NPS}/nobody")
    assert answer.status == 404
    assert answer.json["message"] == 'networkpolicies.projectcalico.org "nobody" not found'
    assert answer.json["details"] == {"name": "nobody", "group": "projectcalico.org", "kind": "networkpolicies"}


def test_the_namespace_is_that_of_the_path(api: Api) -> None:
    body = policy("a")
    del body["metadata"]["namespace"]
    assert api.made(NPS, body)["metadata"]["namespace"] == "shop"
    assert api.post(NPS, policy("b", namespace="other")).status == 400
    assert api.get(f"{CALICO}/namespaces/other/networkpolicies/a").status == 404


def test_a_namespaced_kind_is_not_created_without_a_namespace(api: Api) -> None:
    assert api.post(f"{CALICO}/networkpolicies", policy("a")).status == 400


def test_the_same_name_lives_once_in_each_namespace(api: Api) -> None:
    api.made(NPS, policy("a"))
    api.made(f"{CALICO}/namespaces/b/networkpolicies", policy("a", namespace="b"))
    items = api.get(f"{CALICO}/networkpolicies").json["items"]
    assert [item["metadata"]["namespace"] for item in items] == ["b", "shop"]


@pytest.mark.parametrize("wrong", [{"kind": "NetworkPolicy"}, {"apiVersion": "v1"}])
def test_an_object_of_another_kind_is_refused(api: Api, wrong: dict[str, str]) -> None:
    assert api.post(GNPS, {**gnp("a"), **wrong}).status == 400


def test_replacing_keeps_the_stamps_and_counts_the_change(api: Api) -> None:
    old = api.made(GNPS, gnp("a"))
    new = api.put(f"{GNPS}/a", gnp("a", order=20)).json
    assert new["metadata"]["uid"] == old["metadata"]["uid"]
    assert new["metadata"]["generation"] == 2
    assert int(new["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])
    assert api.get(f"{GNPS}/a").json["spec"]["order"] == 20


def test_replacing_what_is_not_there_is_not_found(api: Api) -> None:
    assert api.put(f"{GNPS}/a", gnp("a")).status == 404


def test_the_name_of_the_path_counts(api: Api) -> None:
    api.made(GNPS, gnp("a"))
    assert api.put(f"{GNPS}/a", gnp("b")).status == 400
    assert api.patch(f"{GNPS}/a", {"metadata": {"name": "b"}}).status == 400


@pytest.mark.parametrize("how", ["put", "patch"])
def test_a_change_of_what_has_moved_on_is_a_conflict(api: Api, how: str) -> None:
    """The resourceVersion that a client has seen protects what it has not seen."""
    seen = api.made(GNPS, gnp("a"))
    api.patch(f"{GNPS}/a", {"spec": {"order": 11}})
    seen["spec"]["order"] = 12
    answer = api.put(f"{GNPS}/a", seen) if how == "put" else api.patch(f"{GNPS}/a", seen)
    assert (answer.status, answer.json["reason"]) == (409, "Conflict")
    assert "the object has been modified" in answer.json["message"]
    assert api.get(f"{GNPS}/a").json["spec"]["order"] == 11


def test_a_change_of_an_object_that_was_made_anew_is_a_conflict(api: Api) -> None:
    seen = api.made(GNPS, gnp("a"))
    api.delete(f"{GNPS}/a")
    api.made(GNPS, gnp("a"))
    answer = api.patch(f"{GNPS}/a", {"metadata": {"uid": seen["metadata"]["uid"]}, "spec": {"order": 5}})
    assert answer.status == 409


def test_patches_without_a_resource_version_all_count(api: Api) -> None:
    """Each is made on top of whatever is there: twenty at once lose none."""
    api.made(GNPS, gnp("a"))

    def label(n: int) -> int:
        return api.patch(f"{GNPS}/a", {"metadata": {"labels": {f"l{n}": "x"}}}).status

    with ThreadPoolExecutor(10) as many:
        assert set(many.map(label, range(20))) == {200}
    labels = api.get(f"{GNPS}/a").json["metadata"]["labels"]
    assert {f"l{n}" for n in range(20)} <= set(labels)


@pytest.mark.parametrize("patch", [
    ({"spec": {"order": 10}}, MERGE), ({}, MERGE), ([], JSON_PATCH),
    ([{"op": "replace", "path": "/spec/order", "value": 10}], JSON_PATCH),
])
def test_a_change_that_changes_nothing_writes_nothing(api: Api, patch: tuple[object, str]) -> None:
    """kubectl says "unchanged" or "no change" by the resourceVersion, and no host is woken."""
    before = api.made(GNPS, gnp("a"))
    after = api.patch(f"{GNPS}/a", *patch)
    assert after.status == 200
    assert after.json == before
    assert api.put(f"{GNPS}/a", gnp("a")).json == before


def test_a_change_of_labels_is_no_new_generation(api: Api) -> None:
    api.made(GNPS, gnp("a"))
    assert api.patch(f"{GNPS}/a", {"metadata": {"labels": {"x": "y"}}}).json["metadata"]["generation"] == 1


def test_dry_runs_answer_as_usual_and_store_nothing(api: Api) -> None:
    assert api.post(GNPS, gnp("a"), dryRun="All").status == 201
    assert api.get(f"{GNPS}/a").status == 404
    api.made(GNPS, gnp("a"))
    assert api.patch(f"{GNPS}/a", {"spec": {"order": 99}}, dryRun="All").json["spec"]["order"] == 99
    assert api.put(f"{GNPS}/a", gnp("a", order=98), dryRun="All").json["spec"]["order"] == 98
    assert api.delete(f"{GNPS}/a", {"dryRun": ["All"]}).status == 200  # kubectl says it in the body
    assert api.delete(f"{GNPS}/a", dryRun="All").status == 200
    assert api.delete(GNPS, dryRun="All").status == 200
    assert api.get(f"{GNPS}/a").json["spec"]["order"] == 10


def test_a_dry_run_is_validated(api: Api) -> None:
    assert api.post(GNPS, gnp("a", selector="a =="), dryRun="All").status == 422
    assert api.post(GNPS, gnp("a"), dryRun="maybe").status == 400


def test_deleting_tells_whom_and_it_is_gone(api: Api) -> None:
    uid = api.made(GNPS, gnp("a"))["metadata"]["uid"]
    answer = api.delete(f"{GNPS}/a", {"propagationPolicy": "Background"})
    assert answer.json["status"] == "Success"
    assert answer.json["details"]["uid"] == uid
    assert api.get(f"{GNPS}/a").status == 404
    assert api.delete(f"{GNPS}/a").status == 404


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
def test_preconditions_of_a_deletion_hold(api: Api, field: str) -> None:
    metadata = api.made(GNPS, gnp("a"))["metadata"]
    assert api.delete(f"{GNPS}/a", {"preconditions": {field: "other"}}).status == 409
    assert api.delete(f"{GNPS}/a", {"preconditions": {field: metadata[field]}}).status == 200


def test_an_object_with_finalizers_waits_for_them(api: Api) -> None:
    """It is marked, stays readable, and goes with its last finalizer."""
    body = gnp("a")
    body["metadata"]["finalizers"] = ["example.com/one"]
    api.made(GNPS, body)
    marked = api.delete(f"{GNPS}/a").json
    assert marked["metadata"]["deletionTimestamp"]
    assert api.delete(f"{GNPS}/a").json["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]
    assert api.get(f"{GNPS}/a").status == 200
    assert api.patch(f"{GNPS}/a", {"metadata": {"finalizers": None}}).status == 200
    assert api.get(f"{GNPS}/a").status == 404


def test_a_collection_is_deleted_by_selector(api: Api) -> None:
    for name, app in (("a", "x"), ("b", "y"), ("c", "x")):
        api.made(GNPS, gnp(name, labels={"app": app}))
    assert len(api.delete(GNPS, labelSelector="app=x").json["items"]) == 2
    assert [item["metadata"]["name"] for item in api.get(GNPS).json["items"]] == ["b"]


def test_namespaces_are_kept_and_labelled_with_their_name(api: Api) -> None:
    """Policies of Kubernetes select namespaces by kubernetes.io/metadata.name."""
    made = api.made(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    assert made["metadata"]["labels"]["kubernetes.io/metadata.name"] == "shop"
    assert made["status"] == {"phase": "Active"}
    names = [item["metadata"]["name"] for item in api.get(NAMESPACES).json["items"]]
    assert names == ["default", "shop"]


def test_policies_need_no_namespace_object(api: Api) -> None:
    assert api.post(f"{CALICO}/namespaces/ghost/networkpolicies", policy("a", namespace="ghost")).status == 201
    assert api.get(f"{NAMESPACES}/ghost").status == 404


def test_a_namespace_takes_a_strategic_patch_as_a_merge_patch(api: Api) -> None:
    """kubectl knows the kind and sends nothing else; its directives say nothing about maps."""
    api.made(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    patch = {"metadata": {"labels": {"team": "a"}, "$setElementOrder/finalizers": []}}
    answer = api.patch(f"{NAMESPACES}/shop", patch, "application/strategic-merge-patch+json")
    assert answer.json["metadata"]["labels"]["team"] == "a"
    refused = api.patch(f"{GNPS}/x", {}, "application/strategic-merge-patch+json")
    assert (refused.status, "--type merge" in refused.json["message"]) == (415, True)


def test_other_kinds_have_the_same_manners(api: Api) -> None:
    pools = f"{CALICO}/ippools"
    made = api.made(pools, resource("IPPool", "p", cidr="10.65.0.0/16"))
    assert made["spec"]["blockSize"] == 26
    answer = api.patch(f"{pools}/p", {"spec": {"cidr": "10.66.0.0/16"}})
    assert (answer.status, answer.fields) == (422, ["spec.cidr"])
    assert api.patch(f"{pools}/p", {"spec": {"natOutgoing": True}}).status == 200
