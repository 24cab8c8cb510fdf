"""The server makes host endpoints for hosts: with a real server, over its real API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netrig import wait_for
from serverrig import CALICO, Api, running

pytestmark = pytest.mark.slow

HEPS, NODES = f"{CALICO}/hostendpoints", f"{CALICO}/nodes"
CONFIG = f"{CALICO}/kubecontrollersconfigurations"
Json = dict[str, Any]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running(tmp_path) as made:
        yield made


def node(name: str, address: str = "172.16.0.1/24", **labels: str) -> Json:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"bgp": {"ipv4Address": address}}}


def config(auto: str = "Enabled", *templates: Json) -> Json:
    return {"metadata": {"name": "default"}, "spec": {"controllers": {"node": {"hostEndpoint": {
        "autoCreate": auto, "templates": list(templates)}}}}}


def heps(api: Api) -> dict[str, Json]:
    return {one["metadata"]["name"]: one for one in api.get(HEPS).json["items"]}


def wait_heps(api: Api, *names: str) -> dict[str, Json]:
    wait_for(f"host endpoints {names}", lambda: set(heps(api)) == set(names))
    return heps(api)


def test_they_come_and_go_with_the_hosts_and_the_switch(api: Api) -> None:
    api.made(NODES, node("h1", rack="a"))
    api.made(CONFIG, config())
    (made,) = wait_heps(api, "h1-auto-hep").values()
    assert made["metadata"]["labels"] == {"rack": "a", "projectcalico.org/created-by": "calico-kube-controllers"}
    assert made["spec"] == {"node": "h1", "interfaceName": "*", "expectedIPs": ["172.16.0.1"],
                            "profiles": ["projectcalico-default-allow"]}

    api.made(NODES, node("h2", "172.16.0.2/24"))
    wait_heps(api, "h1-auto-hep", "h2-auto-hep")
    api.patch(f"{NODES}/h1", {"metadata": {"labels": {"rack": "b"}}, "spec": {"bgp": {"ipv4Address": "172.16.0.7/24"}}})
    wait_for("its new label and address", lambda: (
        heps(api)["h1-auto-hep"]["metadata"]["labels"]["rack"] == "b"
        and heps(api)["h1-auto-hep"]["spec"]["expectedIPs"] == ["172.16.0.7"]))
    assert heps(api)["h1-auto-hep"]["metadata"]["uid"] == made["metadata"]["uid"]

    api.delete(f"{NODES}/h1")
    wait_heps(api, "h2-auto-hep")
    api.patch(f"{CONFIG}/default", config("Disabled"))
    wait_heps(api)


def test_what_somebody_changes_of_them_or_takes_away_is_put_right(api: Api) -> None:
    api.made(CONFIG, config())
    api.made(NODES, node("h1"))
    wait_heps(api, "h1-auto-hep")
    api.patch(f"{HEPS}/h1-auto-hep", {"spec": {"interfaceName": "eth0"}})
    wait_for("all interfaces", lambda: heps(api)["h1-auto-hep"]["spec"]["interfaceName"] == "*")
    api.delete(f"{HEPS}/h1-auto-hep")
    wait_heps(api, "h1-auto-hep")


def test_somebody_elses_are_never_touched_and_one_in_the_way_is_told(api: Api) -> None:
    mine = {"metadata": {"name": "h1-auto-hep"}, "spec": {"node": "h1", "interfaceName": "eth0"}}
    other = {"metadata": {"name": "mine"}, "spec": {"node": "h1", "interfaceName": "eth1"}}
    before = [api.made(HEPS, one) for one in (mine, other)]
    api.made(NODES, node("h1"))
    api.made(NODES, node("h2", "172.16.0.2/24"))
    api.made(CONFIG, config())
    wait_heps(api, "h1-auto-hep", "mine", "h2-auto-hep")
    assert [heps(api)[name] for name in ("h1-auto-hep", "mine")] == before
    (told,) = wait_for("a word of it", lambda: api.get("/muslin/v1/status").json["faults"])
    assert told["object"] == "HostEndpoint/h1-auto-hep"
    assert "made by itself" in told["message"]

    api.delete(f"{CONFIG}/default")
    wait_heps(api, "h1-auto-hep", "mine")
    wait_for("the end of it", lambda: not api.get("/muslin/v1/status").json["faults"])


def test_a_template_makes_its_own(api: Api) -> None:
    api.made(NODES, node("h1", "203.0.113.7/24", rack="a"))
    api.made(NODES, node("h2", "203.0.113.8/24", rack="b"))
    api.made(CONFIG, config("Enabled", {"generateName": "edge", "interfaceCIDRs": ["203.0.113.0/24"],
                                        "nodeSelector": "rack == 'b'", "labels": {"zone": "edge"}}))
    made = wait_heps(api, "h1-auto-hep", "h2-auto-hep", "h2-edge-auto-hep")["h2-edge-auto-hep"]
    assert made["metadata"]["labels"]["zone"] == "edge"
    assert made["spec"]["expectedIPs"] == ["203.0.113.8"]


def test_a_server_that_starts_again_mends_what_changed_meanwhile(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'store.db'}"
    with running(tmp_path, store=store) as api:
        api.made(NODES, node("h1"))
        api.made(CONFIG, config())
        wait_heps(api, "h1-auto-hep")
        revision = api.get(HEPS).json["items"][0]["metadata"]["resourceVersion"]
    with running(tmp_path, store=store) as api:
        api.made(NODES, node("h2", "172.16.0.2/24"))
        found = wait_heps(api, "h1-auto-hep", "h2-auto-hep")
        assert found["h1-auto-hep"]["metadata"]["resourceVersion"] == revision, "what is right is not written again"


@pytest.mark.parametrize(("template", "field"), [
    ({"generateName": "t"}, "templates[0]"), ({"interfacePattern": "eth"}, "templates[0].generateName"),
    ({"generateName": "t", "interfacePattern": "["}, "templates[0].interfacePattern"),
    ({"generateName": "t", "interfacePattern": "x", "nodeSelector": "a =="}, "templates[0].nodeSelector"),
    ({"generateName": "t", "interfaceCIDRs": ["10.0.0.0/33"]}, "templates[0].interfaceCIDRs[0]"),
])
def test_a_template_that_cannot_be_is_refused(api: Api, template: Json, field: str) -> None:
    answer = api.post(CONFIG, config("Enabled", template))
    assert answer.status == 422
    assert answer.fields == [f"spec.controllers.node.hostEndpoint.{field}"]


def test_there_is_one_configuration_and_its_templates_have_different_names(api: Api) -> None:
    other = {**config(), "metadata": {"name": "other"}}
    assert api.post(CONFIG, other).fields == ["metadata.name"]
    twice = config("Enabled", *[{"generateName": "t", "interfacePattern": "eth"}] * 2)
    assert api.post(CONFIG, twice).fields == ["spec.controllers.node.hostEndpoint.templates[1].generateName"]
