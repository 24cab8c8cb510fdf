"""What clients ask before they act. Old and new discovery must tell the same, and every schema must hold together."""

from __future__ import annotations

from typing import Any

import pytest

from muslin.model.kinds import KINDS
from muslin.server import openapi, openapi_protobuf
from serverrig import Api

V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
BETA = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


def test_every_kind_is_offered_with_its_names(api: Api) -> None:
    offered = {
        (one["kind"], one["name"], one["singularName"], one["namespaced"], tuple(one.get("shortNames", ())))
        for path in ("/apis/projectcalico.org/v3", "/api/v1", "/apis/discovery.k8s.io/v1",
                     "/apis/muslin.dev/v1")
        for one in api.get(path).json["resources"]
    }
    assert offered == {(kind.name, kind.plural, kind.singular, kind.namespaced, kind.short) for kind in KINDS}


def test_no_category_all() -> None:
    """`kubectl delete all --all -n shop` would delete every cluster-wide policy."""
    from muslin.server.served import SERVED

    assert {category for one in SERVED for category in one.categories} == {"calico"}


def test_calicos_group_comes_first(api: Api) -> None:
    """A name that two groups share means the first: `kubectl get networkpolicies` are Calico's."""
    groups = [group["name"] for group in api.get("/apis").json["groups"]]
    assert groups.index("projectcalico.org") < groups.index("networking.k8s.io")


@pytest.mark.parametrize(("accept", "version"), [
    (f"{V2},{BETA},application/json", "v2"), (f"{BETA},application/json", "v2beta1"), (BETA, "v2beta1")])
def test_both_discoveries_tell_the_same(api: Api, accept: str, version: str) -> None:
    for path in ("/api", "/apis"):
        answer = api.get(path, accept)
        assert answer.headers["Content-Type"] == (
            f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
        for item in answer.json["items"]:
            name = item["metadata"]["name"]
            for found in item["versions"]:
                old = api.get(f"/apis/{name}/{found['version']}" if name else f"/api/{found['version']}").json
                assert {one["name"] for one in old["resources"]} == {one["resource"] for one in found["resources"]}
    listed = {item["metadata"]["name"] for item in api.get("/apis", accept).json["items"]}
    assert listed <= {group["name"] for group in api.get("/apis").json["groups"]}


def test_the_version_is_one_that_kubectl_can_read(api: Api) -> None:
    found = api.get("/version", timeout="32s").json
    assert (found["major"], found["minor"]) == ("1", "32")
    assert found["gitVersion"].startswith("v1.32.")


def test_every_schema_refers_only_to_what_is_there() -> None:
    for document, schemas in (
        (openapi.document_2(), openapi.document_2()["definitions"]),
        *((found, found["components"]["schemas"])
          for found in (openapi.document_3(*pair) for pair in openapi.served.group_versions())),
    ):
        for reference in references(document):
            assert reference.rpartition("/")[2] in schemas, reference


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_a_policys_schema_explains_its_fields() -> None:
    schemas = openapi.document_3("projectcalico.org", "v3")["components"]["schemas"]
    rule = schemas["org.projectcalico.v3.Rule"]["properties"]
    assert rule["action"]["enum"] == ["Allow", "Deny", "Pass", "Log"]
    assert rule["protocol"]["x-kubernetes-int-or-string"]
    assert "description" in rule["source"]


def test_patches_declare_what_makes_kubectl_trust_the_server() -> None:
    """fieldValidation: it need not check by itself; dryRun: version 1.20 dares it only then."""
    paths = openapi.document_3("projectcalico.org", "v3")["paths"]
    patch = paths["/apis/projectcalico.org/v3/namespaces/{namespace}/networkpolicies/{name}"]["patch"]
    assert {parameter["name"] for parameter in patch["parameters"]} >= {"dryRun", "fieldValidation"}
    assert patch["x-kubernetes-group-version-kind"]["kind"] == "NetworkPolicy"


def test_openapi_2_is_protobuf_and_reads_back(api: Api) -> None:
    answer = api.get("/openapi/v2", PROTOBUF)
    assert answer.headers["Content-Type"] == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    document = fields(answer.body)
    assert document[1] == [b"2.0"]
    definitions = [fields(one)[1][0].decode() for one in fields(document[9][0])[1]]
    assert "org.projectcalico.v3.GlobalNetworkPolicy" in definitions
    assert len(fields(document[8][0])[2]) == 2 * len(openapi.served.SERVED)
    assert api.get("/openapi/v2").json["swagger"] == "2.0"


def fields(data: bytes) -> dict[int, list[bytes]]:
    """An independent reader of length-delimited protobuf fields."""
    found: dict[int, list[bytes]] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = number()
        assert tag & 7 == 2, tag
        length = number()
        found.setdefault(tag >> 3, []).append(data[at : at + length])
        at += length
    assert at == len(data)
    return found


def test_openapi_3_is_kept_by_its_hash(api: Api) -> None:
    """With the hash kubectl keeps the document on disk; it changes when the document does."""
    for found in api.get("/openapi/v3").json["paths"].values():
        url = found["serverRelativeURL"]
        answer = api.get(url)
        assert answer.json["openapi"] == "3.0.0"
        assert "Expires" in answer.headers
        assert "Expires" not in api.get(url.partition("?")[0]).headers


def test_long_texts_survive_protobuf() -> None:
    """Lengths beyond one byte."""
    text = "x" * 300
    schema = {"type": "object", "description": text, "properties": {}}
    info = {"title": "t", "version": "v"}
    data = openapi_protobuf.document({"swagger": "2.0", "info": info, "paths": {}, "definitions": {"a": schema}})
    named = fields(fields(fields(data)[9][0])[1][0])
    assert fields(named[2][0])[4] == [text.encode()]


def test_whoever_is_in_may_do_everything(api: Api) -> None:
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    body = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": {"resourceAttributes": {"verb": "get", "resource": "tiers"}}}
    answer = api.post(reviews, body)
    assert (answer.status, answer.json["status"]["allowed"]) == (201, True)
    raw = b"k8s\x00" + message((1, message((1, b"authorization.k8s.io/v1"), (2, b"SelfSubjectAccessReview"))),
                               (2, message((2, message((1, message((2, b"get"), (5, b"tiers"))))))))
    answer = api.send("POST", reviews, raw, {"Content-Type": "application/vnd.kubernetes.protobuf"})
    assert answer.json["spec"] == {"resourceAttributes": {"verb": "get", "resource": "tiers"}}


def test_a_namespace_is_created_from_protobuf(api: Api) -> None:
    """As kubectl 1.32 and newer send it."""
    label = message((1, b"team"), (2, b"a"))
    raw = b"k8s\x00" + message((1, message((1, b"v1"), (2, b"Namespace"))),
                               (2, message((1, message((1, b"shop"), (11, label))), (2, b""), (3, b""))))
    answer = api.send("POST", "/api/v1/namespaces", raw, {"Content-Type": "application/vnd.kubernetes.protobuf"})
    assert answer.status == 201
    assert answer.json["metadata"]["labels"]["team"] == "a"


def message(*parts: tuple[int, bytes]) -> bytes:
    return b"".join(bytes([number << 3 | 2, len(data)]) + data for number, data in parts)


def test_health_and_metrics_are_told(api: Api) -> None:
    assert api.get("/healthz").body == b"ok"
    api.get("/apis/projectcalico.org/v3/tiers")
    text = api.get("/metrics").body.decode()
    assert 'muslin_server_requests_total{code="200",method="GET",resource="tiers"} 1.0' in text
    assert 'muslin_server_objects{kind="Tier"} 3.0' in text
