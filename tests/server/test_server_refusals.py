"""Bad input gets a Status that says what is wrong, never a 500, and stores nothing."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muslin.errors import Invalid
from muslin.server.bodies import from_json, from_yaml
from muslin.server.protobuf import MAGIC, decode
from muslin.server.refusals import Refusal
from serverrig import APPLY, CALICO, GNPS, JSON_PATCH, MERGE, NPS, Api, gnp, policy, resource

DEEP = b"[" * 100_000 + b"]" * 100_000
DEEP_OBJECTS = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
GARBAGE = [
    b"", b"{", b"null", b"[]", b"7", b'"x"', b"\x00\xff\xfe", b"{'a': 1}", b'{"a": NaN}', b"\xef\xbb\xbf{}", DEEP,
    DEEP_OBJECTS, b'{"metadata": 7}', b'{"metadata": []}', b'{"metadata": {"name": 7}}',
    b'{"metadata": {"name": null}}',
    b'{"metadata": {"name": ["a"]}}', b'{"metadata": {"name": "a"}, "spec": "x"}', b'{"kind": 7}', b'{"kind": {}}',
    b'{"apiVersion": [], "kind": "GlobalNetworkPolicy"}', b'{"metadata": {"name": "a", "labels": "x"}}',
    b'{"metadata": {"name": "a", "labels": {"a": 1}}}', b'{"metadata": {"name": "a", "annotations": [1]}}',
    b'{"metadata": {"name": "a", "finalizers": {}}, "spec": {}}', b'{"a": "\\ud800"}',
    b'{"metadata": {"name": "../../etc", "generateName": 1}}',
    b'{"metadata": {"name": "a"}, "spec": {"ingress": [{}, 7, null, "x", {"action": {}}]}}',
    b'{"metadata": {"name": "a"}, "spec": {"order": 1e999}}', b'{"metadata": {"name": "a"}, "spec": null}',
    b'{"metadata": {"name": "a", "managedFields": "x", "ownerReferences": 7}, "spec": {"selector": "all()"}}',
    b'{"metadata": {"name": "\xff"}}', b'{"\xff": 1}', b'{"items": [{"handle": "\xff"}]}',
]


def require_status(answer: object, *codes: int) -> None:
    status = answer.json  # type: ignore[attr-defined]
    assert (status["kind"], status["status"]) == ("Status", "Failure")
    assert status["code"] == answer.status  # type: ignore[attr-defined]
    assert 400 <= status["code"] < 500, status
    assert status["message"]
    if codes:
        assert status["code"] in codes, status


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: repr(body[:40]))
def test_garbage_is_refused_on_every_way_in(api: Api, body: bytes) -> None:
    api.made(GNPS, gnp("there"))
    require_status(api.send("POST", GNPS, body, {"Content-Type": "application/json"}), 400, 422)
    require_status(api.send("PUT", f"{GNPS}/there", body, {"Content-Type": "application/json"}), 400, 422)
    for kind in (MERGE, JSON_PATCH, APPLY):
        answer = api.send("PATCH", f"{GNPS}/there", body, {"Content-Type": kind}, fieldManager="x")
        assert answer.status < 500, answer.body
    for path in ("/muslin/v1/addresses/assign", "/muslin/v1/addresses/release", "/muslin/v1/hosts/h1/report",
                 "/muslin/v1/changes", "/muslin/v1/workloads",
                 "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"):
        assert api.send("POST", path, body, {"Content-Type": "application/json"}).status < 500
    for path in (f"{GNPS}/there", "/muslin/v1/workloads"):
        assert api.send("DELETE", path, body, {"Content-Type": "application/json"}).status < 500


@pytest.mark.parametrize("kind", [
    "text/plain", "application/xml", "multipart/form-data", "x", "a/b; c=\"", "application/cbor"])
def test_a_body_of_a_strange_type_is_refused(api: Api, kind: str) -> None:
    api.made(GNPS, gnp("there"))
    body = json.dumps(gnp("a")).encode()
    require_status(api.send("POST", GNPS, body, {"Content-Type": kind}), 400, 415)
    require_status(api.send("PATCH", f"{GNPS}/there", b"{}", {"Content-Type": kind}), 415)
    require_status(api.send("PATCH", f"{GNPS}/there", b"{}", {"Content-Type": "application/json"}), 415)


def test_a_body_without_a_type_is_json(api: Api) -> None:
    """kubectl 1.20 sends `create namespace` so."""
    connection = http.client.HTTPConnection("muslin")
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.connect(str(api.path))
    connection.putrequest("POST", "/api/v1/namespaces")
    body = b'{"metadata": {"name": "x"}}'
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    assert connection.getresponse().status == 201
    connection.close()


def test_yaml_is_read_and_its_bombs_are_not(api: Api) -> None:
    yaml = b"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: a}\nspec: {order: 5}\n"
    assert api.send("POST", GNPS, yaml, {"Content-Type": "application/yaml"}).status == 201
    bomb = b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nmetadata: {name: b}\n"
    require_status(api.send("POST", GNPS, bomb, {"Content-Type": "application/yaml"}), 400)
    require_status(api.send("POST", GNPS, b"a: [", {"Content-Type": "application/yaml"}), 400)
    require_status(api.send("POST", GNPS, b"!!python/object:os.system {}", {"Content-Type": "application/yaml"}), 400)


def test_a_huge_body_is_refused(api: Api) -> None:
    body = json.dumps(gnp("a", selector="x" * (4 << 20))).encode()
    require_status(api.send("POST", GNPS, body, {"Content-Type": "application/json"}), 413)
    packed = gzip.compress(body)
    answer = api.send("POST", GNPS, packed, {"Content-Type": "application/json", "Content-Encoding": "gzip"})
    require_status(answer, 413)


def test_a_body_that_is_not_packed_as_it_says_is_refused(api: Api) -> None:
    answer = api.send("POST", GNPS, b"{}", {"Content-Type": "application/json", "Content-Encoding": "gzip"})
    require_status(answer, 400)


@pytest.mark.parametrize("path", [
    "/", "/nothing", "/api/v2", "/apis/nobody.org", "/apis/nobody.org/v1", "/apis/projectcalico.org/v4",
    f"{CALICO}/unheardof", f"{CALICO}/unheardof/x", f"{GNPS}/a/status",
    f"{CALICO}/namespaces/shop/globalnetworkpolicies",
    f"{CALICO}/networkpolicies/a", f"{GNPS}/%2e%2e%2fx", f"{GNPS}/a%2Fb", "/api/v1/pods", "/api/v1/namespaces/x/pods",
    "/openapi/v3/apis/nobody.org/v1", "/muslin/v1/nothing", "/muslin/v1/hosts/h1",
])
def test_what_is_not_there_is_a_404_with_a_status(api: Api, path: str) -> None:
    require_status(api.get(path), 404)


@pytest.mark.parametrize(("method", "path"), [
    ("POST", f"{GNPS}/a"), ("PUT", GNPS), ("PATCH", GNPS), ("BREW", GNPS), ("POST", "/version"), ("DELETE", "/healthz"),
    ("GET", "/muslin/v1/addresses/assign"), ("HEAD", GNPS), ("OPTIONS", GNPS), ("TRACE", GNPS),
])
def test_a_method_that_has_no_meaning_is_refused(api: Api, method: str, path: str) -> None:
    assert api.send(method, path).status in (400, 405)


@pytest.mark.parametrize("query", [
    "limit=x", "limit=-1", "limit=99999999999999999999", "watch=maybe", "fieldSelector=x=y", "labelSelector=%3D",
    "labelSelector=%00", "resourceVersionMatch=Exact", "includeObject=x", "fieldSelector=%FF", "continue=%00",
])
def test_a_query_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    answer = api.send("GET", f"{GNPS}?{query}", headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    require_status(answer, 400)


def test_an_answer_of_another_type_than_json_is_not_to_be_had(api: Api) -> None:
    require_status(api.get(GNPS, "application/xml"), 406)
    assert api.get(GNPS, "application/vnd.kubernetes.protobuf,application/json").status == 200


def test_every_fault_of_an_object_is_a_cause(api: Api) -> None:
    body = gnp("a", selector="role = 'db'", ingress=[{"action": "Alow"}, {"action": "Allow", "protocol": "TCPP"}])
    answer = api.post(GNPS, body)
    require_status(answer, 422)
    assert answer.json["details"]["kind"] == "GlobalNetworkPolicy"
    assert {"spec.selector", "spec.ingress[0].action", "spec.ingress[1].protocol"} <= set(answer.fields)
    assert all(cause["reason"].startswith("FieldValue") for cause in answer.json["details"]["causes"])


def test_an_unknown_field_is_an_error_unless_the_client_says_otherwise(api: Api) -> None:
    """Strict is our default; kubectl says which it wants."""
    body = gnp("a", selektor="all()")
    refused = api.post(GNPS, body)
    assert (refused.status, refused.fields) == (422, ["spec.selektor"])
    assert "did you mean selector" in refused.json["message"]
    warned = api.post(GNPS, body, fieldValidation="Warn")
    assert warned.status == 201
    assert "selektor" not in warned.json["spec"]
    assert warned.headers["Warning"].startswith('299 - "unknown field \\"spec.selektor\\"')
    api.delete(f"{GNPS}/a")
    ignored = api.post(GNPS, body, fieldValidation="Ignore")
    assert (ignored.status, ignored.headers["Warning"]) == (201, None)
    assert api.post(GNPS, gnp("b"), fieldValidation="Perhaps").status == 400


def test_strange_field_names_do_not_break_the_warnings(api: Api) -> None:
    """They travel in a header."""
    body = gnp("a", **{"x\r\nSet-Cookie: y": 1, "ü\x00": 2, "q" * 5000: 3, **{f"f{n}": n for n in range(100)}})
    answer = api.post(GNPS, body, fieldValidation="Warn")
    assert answer.status == 201
    assert answer.headers["Set-Cookie"] is None
    assert len(answer.headers.get_all("Warning", [])) == 20


def test_what_clients_make_up_does_not_become_metrics(api: Api) -> None:
    for n in range(3):
        api.get(f"{CALICO}/made-up-{n}")
        api.get(f"/made-up-{n}")
        api.send(f"BREW{n}", GNPS)
    assert "made-up" not in api.get("/metrics").body.decode()
    assert "BREW" not in api.get("/metrics").body.decode()


def test_a_change_is_validated_as_a_whole(api: Api) -> None:
    api.made(NPS, policy("a"))
    unknown = [{"op": "add", "path": "/spec/x", "value": 1}]
    require_status(api.patch(f"{NPS}/a", {"spec": {"selector": "("}}), 422)
    require_status(api.patch(f"{NPS}/a", unknown, JSON_PATCH), 422)
    assert api.patch(f"{NPS}/a", {"spec": None}).status == 422
    assert api.patch(f"{NPS}/a", [], MERGE).status == 400
    assert api.get(f"{NPS}/a").json["spec"]["selector"] == "all()"


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (from_json, from_yaml):
        with suppress(Refusal):
            read(body)


@given(st.binary(max_size=60))
@settings(max_examples=300)
def test_any_protobuf_is_read_or_refused(body: bytes) -> None:
    with suppress(Invalid):
        decode(MAGIC + body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(
        st.sampled_from(["metadata", "spec", "name", "labels", "kind", "selector", "ingress", "action", "source",
                         "finalizers", "annotations", "managedFields", "ports", "x"]), below, max_size=4),
    max_leaves=15,
)


def test_any_json_is_stored_or_refused(api: Api) -> None:
    """Whatever shape, wherever it is posted or patched: never a 500, and the lists can still be read."""
    paths = [f"{CALICO}/{plural}" for plural in ("globalnetworkpolicies", "tiers", "ippools", "nodes", "bgppeers")]

    @given(body=st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), JSON), path=st.sampled_from(paths),
           kind=st.sampled_from([MERGE, APPLY]))
    @settings(max_examples=150)
    def attempt(body: object, path: str, kind: str) -> None:
        assert api.post(path, body).status < 500
        assert api.patch(f"{path}/default", body, kind, fieldManager="m", force="true").status < 500
        assert api.get(path).status == 200

    attempt()


def test_pools_of_one_range_are_refused(api: Api) -> None:
    pools = f"{CALICO}/ippools"
    api.made(pools, resource("IPPool", "a", cidr="10.65.0.0/16"))
    for cidr in ("10.65.0.0/16", "10.65.4.0/24", "10.0.0.0/8"):
        answer = api.post(pools, resource("IPPool", "b", cidr=cidr))
        assert (answer.status, answer.fields) == (422, ["spec.cidr"])
        assert "10.65.0.0/16 of the pool a" in answer.json["message"]
    api.made(pools, resource("IPPool", "b", cidr="10.66.0.0/16"))
    api.made(pools, resource("IPPool", "c", cidr="fd65::/48"))
