"""NetworkPolicy of Kubernetes: kept as the Calico policy that it means, read back as it was written."""

from __future__ import annotations

from itertools import islice
from typing import Any

from serverrig import CALICO, JSON_PATCH, NPS, TABLE, Api, gnp, policy

KNPS = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"


def knp(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "shop", "labels": {"a": "b"}},
            "spec": {"podSelector": {"matchLabels": {"role": "db"}}, **spec}}


WEB = knp("web", ingress=[{"from": [{"podSelector": {"matchLabels": {"role": "web"}}}],
                           "ports": [{"protocol": "TCP", "port": 5432}]}])


def test_it_is_stored_as_calicos(api: Api) -> None:
    api.made(KNPS, WEB)
    found = api.get(f"{NPS}/knp.default.web").json
    assert found["spec"]["order"] == 1000
    assert found["spec"]["tier"] == "default"
    assert found["spec"]["ingress"][0]["destination"]["ports"] == [5432]


def test_it_is_read_back_as_it_was_written(api: Api) -> None:
    """So that `kubectl apply` a second time says unchanged."""
    made = api.made(KNPS, WEB)
    assert made == api.get(f"{KNPS}/web").json
    assert (made["apiVersion"], made["kind"]) == (WEB["apiVersion"], WEB["kind"])
    assert made["spec"] == {**WEB["spec"], "policyTypes": ["Ingress"]}  # filled in by Kubernetes too
    assert made["metadata"]["labels"] == {"a": "b"}
    assert "annotations" not in made["metadata"]
    assert made["metadata"]["name"] == "web"
    assert api.patch(f"{KNPS}/web", {"spec": WEB["spec"]}).json == made


def test_a_list_holds_only_those_of_kubernetes(api: Api) -> None:
    api.made(KNPS, WEB)
    api.made(NPS, policy("calicos"))
    assert [item["metadata"]["name"] for item in api.get(KNPS).json["items"]] == ["web"]
    assert [item["metadata"]["name"] for item in api.get(NPS).json["items"]] == ["calicos", "knp.default.web"]
    assert api.get(KNPS, labelSelector="a=b").json["items"]
    assert api.get(KNPS, TABLE).json["rows"][0]["cells"][:2] == ["web", "role=db"]


def test_a_change_changes_both(api: Api) -> None:
    api.made(KNPS, WEB)
    patch = [{"op": "replace", "path": "/spec/ingress/0/ports/0/port", "value": 5433}]
    for path, body, kind in (
        (f"{KNPS}/web", patch, JSON_PATCH),
        (f"{KNPS}/web", {"spec": {"podSelector": {"matchLabels": {"role": "cache"}}}},
         "application/strategic-merge-patch+json"),
    ):
        assert api.patch(path, body, kind).status == 200
    found = api.get(f"{NPS}/knp.default.web").json
    assert found["spec"]["ingress"][0]["destination"]["ports"] == [5433]
    assert "role == 'cache'" in found["spec"]["selector"]
    assert found["metadata"]["generation"] == 3


def test_the_converted_form_is_not_changed_behind_its_back(api: Api) -> None:
    """Else what is read back would not be what is enforced."""
    api.made(KNPS, WEB)
    assert api.patch(f"{NPS}/knp.default.web", {"spec": {"order": 1}}).status == 403
    assert api.patch(f"{NPS}/knp.default.web", {"metadata": {"annotations": None}}).status == 403
    assert api.patch(f"{NPS}/knp.default.web", {"metadata": {"labels": {"x": "y"}}}).status == 200


def test_it_is_deleted_by_either_name(api: Api) -> None:
    api.made(KNPS, WEB)
    assert api.delete(f"{KNPS}/web").status == 200
    assert api.get(f"{NPS}/knp.default.web").status == 404
    api.made(KNPS, WEB)
    assert api.delete(f"{NPS}/knp.default.web").status == 200
    assert api.get(f"{KNPS}/web").status == 404


def test_it_is_watched(api: Api) -> None:
    with api.lines(KNPS, watch="true") as events:
        api.made(NPS, policy("calicos"))
        api.made(KNPS, WEB)
        api.delete(f"{NPS}/knp.default.web")
        found = list(islice(events, 2))
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in found] == [
        ("ADDED", "web"), ("DELETED", "web")]
    assert found[0]["object"]["spec"]["ingress"] == WEB["spec"]["ingress"]


def test_its_faults_are_told_in_its_own_words(api: Api) -> None:
    body = knp("web", ingress=[{"from": [{"podSelektor": {}}], "ports": [{"port": 99999}]}])
    answer = api.post(KNPS, body)
    assert answer.status == 422
    assert answer.json["details"]["kind"] == "NetworkPolicy"
    assert {"spec.ingress[0].from[0].podSelektor", "spec.ingress[0].ports[0].port"} <= set(answer.fields)


def test_a_policy_of_calico_that_only_looks_like_one_is_not_shown_as_one(api: Api) -> None:
    """kube-controllers writes such policies into etcd without their original."""
    api.post(NPS, policy("knp.default.other"))
    assert api.get(f"{KNPS}/other").status == 404
    assert api.get(KNPS).json["items"] == []


def test_the_name_of_a_calico_policy_is_free_for_calico(api: Api) -> None:
    api.made(KNPS, WEB)
    assert api.post(KNPS, WEB).status == 409
    assert api.post(f"{CALICO}/globalnetworkpolicies", gnp("web")).status == 201
