"""kubectl, unchanged, on Calico's kinds. Each test is what a person would type, and reads what the person would see.

The oldest and the newest version do everything (`k`), those between them what differed between versions (`every`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kubectlrig import Kubectl
from netrig import wait_for
from serverrig import gnp, policy, resource

pytestmark = pytest.mark.slow


def test_discovery_knows_every_kind_by_every_name(k: Kubectl) -> None:
    listed = k("api-resources", "--api-group=projectcalico.org", "-o", "name").out.split()
    assert "globalnetworkpolicies.projectcalico.org" in listed
    assert "projectcalico.org/v3" in k("api-versions").out
    for word in ("gnp", "globalnetworkpolicy", "globalnetworkpolicies", "GlobalNetworkPolicy",
                 "globalnetworkpolicies.projectcalico.org", "globalnetworkpolicies.v3.projectcalico.org",
                 "np", "hep", "wep", "bgpp", "ipp", "netset", "tiers", "no", "ns", "calico", "kcc"):
        k("get", word)
    assert "Server Version" in k("version").out


def test_networkpolicies_are_calicos(every: Kubectl) -> None:
    """Kubernetes' own are there too, by their group's name."""
    every("apply", "-f", "-", given=policy("calicos", namespace="which"))
    assert "calicos" in every("get", "networkpolicies", "-n", "which").out
    assert "calicos" not in every("get", "networkpolicies.networking.k8s.io", "-n", "which").out


def test_apply_creates_then_leaves_then_configures(every: Kubectl) -> None:
    objects: list[Any] = [gnp("apply-a"), policy("apply-b"), resource("IPPool", "apply-c", cidr="10.1.0.0/16"),
                          {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}}]
    assert every("apply", "-f", "-", given=objects).out.count("created") == 4
    assert every("apply", "-f", "-", given=objects).out.count("unchanged") == 4
    objects[0] = gnp("apply-a", order=77)
    told = every("apply", "-f", "-", given=objects).out
    assert (told.count("unchanged"), "apply-a configured" in told) == (3, True)
    assert every.json("get", "gnp", "apply-a")["spec"]["order"] == 77
    del objects[0]["spec"]["order"]
    assert "apply-a configured" in every("apply", "-f", "-", given=objects).out
    assert "order" not in every.json("get", "gnp", "apply-a")["spec"]
    every("delete", "-f", "-", given=objects)


def test_host_endpoints_are_made_and_taken_away_by_a_switch(k: Kubectl) -> None:
    made = resource("KubeControllersConfiguration", "default", controllers={
        "node": {"hostEndpoint": {"autoCreate": "Enabled"}}})
    k("apply", "-f", "-", given=[resource("Node", "hosted", addresses=[
        {"address": "192.0.2.1", "type": "InternalIP"}]), made])
    assert k("get", "kcc").out.splitlines()[1].split()[:2] == ["default", "Enabled"]
    wait_for("the host endpoint", lambda: "hosted-auto-hep" in k("get", "hep").out)
    assert k.json("get", "hep", "hosted-auto-hep")["spec"]["expectedIPs"] == ["192.0.2.1"]
    k("delete", "kcc", "default")
    wait_for("its end", lambda: "hosted-auto-hep" not in k("get", "hep").out)
    k("delete", "no", "hosted")


def test_a_list_is_applied_as_its_objects(k: Kubectl) -> None:
    together = {"apiVersion": "v1", "kind": "List", "items": [gnp("list-a"), gnp("list-b")]}
    assert k("apply", "-f", "-", given=together).out.count("created") == 2


def test_get_prints_for_people_and_for_programs(k: Kubectl) -> None:
    k("apply", "-f", "-", given=gnp("get-a", labels={"app": "get"}, order=5, ingress=[{"action": "Allow"}]))
    header, row = k("get", "gnp", "get-a").out.splitlines()
    assert header.split() == ["NAME", "TIER", "ORDER", "TYPES", "SELECTOR", "AGE"]
    assert row.split()[:5] == ["get-a", "default", "5", "Ingress", "all()"]
    assert k("get", "gnp", "get-a", "-o", "wide").out.split()[:7][-2:] == ["INGRESS", "EGRESS"]
    assert k("get", "gnp", "get-a", "-o", "name").out == "globalnetworkpolicy.projectcalico.org/get-a\n"
    assert "selector: all()" in k("get", "gnp", "get-a", "-o", "yaml").out
    assert k("get", "gnp", "get-a", "-o", "jsonpath={.spec.order}").out == "5"
    assert "app=get" in k("get", "gnp", "get-a", "--show-labels").out
    assert "get-a" in k("get", "gnp", "--sort-by=.spec.order").out
    assert "get-a" in k("get", "gnp", "get-a", "--server-print=false").out
    assert "Selector" in k("describe", "gnp", "get-a").out


def test_namespaces_of_policies(k: Kubectl) -> None:
    for namespace in ("one", "two"):
        k("apply", "-f", "-", given=policy("same", namespace=namespace))
    assert "NAMESPACE" in k("get", "np", "-A").out
    assert k.json("get", "np", "same", "-n", "two")["metadata"]["namespace"] == "two"
    k("get", "np", "same", "-n", "three", code=1)


def test_selectors(k: Kubectl) -> None:
    for name, app in (("sel-a", "x"), ("sel-b", "w")):
        k("apply", "-f", "-", given=gnp(name, labels={"sel": app}))
    assert k("get", "gnp", "-l", "sel in (x)", "-o", "name").out.endswith("/sel-a\n")
    assert k("get", "gnp", "-l", "sel,sel!=x", "-o", "name").out.endswith("/sel-b\n")
    assert k("get", "gnp", "--field-selector=metadata.name=sel-b", "-o", "name").out.endswith("/sel-b\n")
    assert "field label not supported: spec.order" in k("get", "gnp", "--field-selector=spec.order=1", code=1).err
    assert "No resources found" in k("get", "gnp", "-l", "sel=z").err


def test_long_lists_come_in_chunks(k: Kubectl) -> None:
    k("apply", "-f", "-", given=[resource("NetworkSet", f"chunk-{n}", "chunks", nets=["10.0.0.0/8"]) for n in range(7)])
    told = k("get", "netset", "-n", "chunks", "--chunk-size=2", "-o", "name").out.split()
    assert len(told) == 7
    assert k("get", "netset", "-n", "chunks", "--chunk-size=3").out.count("chunk-") == 7


def test_create_refuses_what_is_there(k: Kubectl) -> None:
    assert "created" in k("create", "-f", "-", given=gnp("create-a")).out
    assert '(AlreadyExists)' in k("create", "-f", "-", given=gnp("create-a"), code=1).err
    generated = gnp("")
    generated["metadata"] = {"generateName": "create-"}
    assert "created" in k("create", "-f", "-", given=generated).out


def test_replace_and_its_conflict(k: Kubectl) -> None:
    k("create", "-f", "-", given=gnp("replace-a"))
    seen = k.json("get", "gnp", "replace-a")
    assert "replaced" in k("replace", "-f", "-", given=gnp("replace-a", order=3)).out
    seen["spec"]["order"] = 4
    assert "the object has been modified" in k("replace", "-f", "-", given=seen, code=1).err
    assert "replaced" in k("replace", "--force", "-f", "-", given=gnp("replace-a", order=5)).out
    assert k.json("get", "gnp", "replace-a")["spec"]["order"] == 5


def test_edit(k: Kubectl, tmp_path: Path) -> None:
    """What is refused comes back into the editor, with the reasons on top."""
    k("create", "-f", "-", given=gnp("edit-a", order=10))
    assert "edited" in k("edit", "gnp", "edit-a", KUBE_EDITOR="sed -i 's/order: 10/order: 11/'").out
    assert k.json("get", "gnp", "edit-a")["spec"]["order"] == 11
    assert "cancelled, no changes made" in k("edit", "gnp", "edit-a", KUBE_EDITOR="true").err
    script = tmp_path / "editor"
    script.write_text(f"#!/bin/sh\ncp $1 {tmp_path}/last\nsed -i 's/all()/all((/' $1\n")
    script.chmod(0o755)
    k("edit", "gnp", "edit-a", code=1, KUBE_EDITOR=str(script))
    assert "# * spec.selector: " in (tmp_path / "last").read_text()
    assert k.json("get", "gnp", "edit-a")["spec"]["selector"] == "all()"


def test_patch(k: Kubectl) -> None:
    k("create", "-f", "-", given=gnp("patch-a", order=10))
    assert "patched" in k("patch", "gnp", "patch-a", "--type=merge", "-p", '{"spec":{"order":11}}').out
    assert "no change" in k("patch", "gnp", "patch-a", "--type=merge", "-p", '{"spec":{"order":11}}').out
    operations = [{"op": "test", "path": "/spec/order", "value": 11}, {"op": "remove", "path": "/spec/order"}]
    k("patch", "gnp", "patch-a", "--type=json", "-p", json.dumps(operations))
    assert "order" not in k.json("get", "gnp", "patch-a")["spec"]
    assert "no /spec/order" in k("patch", "gnp", "patch-a", "--type=json", "-p", json.dumps(operations), code=1).err
    assert "--type merge" in k("patch", "gnp", "patch-a", "-p", '{"spec":{"order":1}}', code=1).err


def test_label_and_annotate(k: Kubectl) -> None:
    k("create", "-f", "-", given=gnp("label-a"))
    k("label", "gnp", "label-a", "env=prod")
    k("annotate", "gnp", "label-a", "note=hello world")
    metadata = k.json("get", "gnp", "label-a")["metadata"]
    assert (metadata["labels"]["env"], metadata["annotations"]["note"]) == ("prod", "hello world")
    assert "already has a value" in k("label", "gnp", "label-a", "env=test", code=1).err
    k("label", "gnp", "label-a", "env=test", "--overwrite")
    k("label", "gnp", "label-a", "env-")
    assert "env" not in k.json("get", "gnp", "label-a")["metadata"]["labels"]
    k("label", "gnp", "-l", "projectcalico.org/tier=default", "--overwrite", "seen=yes")
    assert "Conflict" in k("label", "gnp", "label-a", "x=y", "--resource-version=1", code=1).err


def test_delete(k: Kubectl) -> None:
    for name in ("del-a", "del-b", "del-c"):
        k("create", "-f", "-", given=gnp(name, labels={"del": "yes"}))
    assert '"del-a" deleted' in k("delete", "gnp", "del-a").out
    assert "(NotFound)" in k("delete", "gnp", "del-a", code=1).err
    k("delete", "gnp", "del-a", "--ignore-not-found")
    assert k("delete", "gnp", "-l", "del=yes").out.count("deleted") == 2
    assert "(Forbidden)" in k("delete", "tier", "default", code=1).err


def test_delete_waits_for_finalizers(k: Kubectl) -> None:
    body = gnp("final-a")
    body["metadata"]["finalizers"] = ["example.com/x"]
    k("create", "-f", "-", given=body)
    k("delete", "gnp", "final-a", "--wait=false")
    assert k.json("get", "gnp", "final-a")["metadata"]["deletionTimestamp"]
    k("delete", "gnp", "final-a", "--timeout=1s", code=1)
    k("patch", "gnp", "final-a", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    k("get", "gnp", "final-a", code=1)


def test_watch(every: Kubectl) -> None:
    every("create", "-f", "-", given=resource("Tier", "watch-a", order=5))
    with every.watching("get", "tiers", "-w") as lines:
        before = [next(lines) for _ in range(5)]
        assert before[0].split()[0] == "NAME"
        every("patch", "tier", "watch-a", "--type=merge", "-p", '{"spec":{"order":6}}')
        assert next(lines).split()[:2] == ["watch-a", "6"]
    with every.watching("get", "tier", "watch-a", "-w", "-o", "name") as lines:
        assert next(lines) == "tier.projectcalico.org/watch-a"
        every("patch", "tier", "watch-a", "--type=merge", "-p", '{"spec":{"order":7}}')
        assert next(lines) == "tier.projectcalico.org/watch-a"
    every("delete", "tier", "watch-a")


def test_wait(k: Kubectl) -> None:
    k("create", "-f", "-", given=gnp("wait-a", order=1))
    if k.minor >= 23:
        k("wait", "gnp/wait-a", "--for=jsonpath={.spec.order}=1", "--timeout=10s")
    with k.watching("wait", "gnp/wait-a", "--for=delete", "--timeout=20s") as lines:
        k("delete", "gnp", "wait-a")
        told = list(lines)
    assert not [line for line in told if "error" in line.lower() and "no matching" not in line], told


def test_diff(k: Kubectl) -> None:
    k("apply", "-f", "-", given=gnp("diff-a", order=1))
    k("diff", "-f", "-", given=gnp("diff-a", order=1))
    told = k("diff", "-f", "-", given=gnp("diff-a", order=2), code=1).out
    assert "-  order: 1" in told
    assert "+  order: 2" in told
    assert "+  name: diff-new" in k("diff", "-f", "-", given=gnp("diff-new"), code=1).out
    k("get", "gnp", "diff-new", code=1)
    assert k.json("get", "gnp", "diff-a")["spec"]["order"] == 1


def test_dry_run_of_the_server(k: Kubectl) -> None:
    assert "(server dry run)" in k("apply", "--dry-run=server", "-f", "-", given=gnp("dry-a")).out
    k("get", "gnp", "dry-a", code=1)
    k("create", "-f", "-", given=gnp("dry-a"))
    k("delete", "gnp", "dry-a", "--dry-run=server")
    k("label", "gnp", "dry-a", "a=b", "--dry-run=server")
    k("patch", "gnp", "dry-a", "--type=merge", "-p", '{"spec":{"order":9}}', "--dry-run=server")
    found = k.json("get", "gnp", "dry-a")
    assert (found["spec"]["order"], "a" in found["metadata"]["labels"]) == (10, False)


def test_explain(every: Kubectl) -> None:
    told = every("explain", "gnp.spec.ingress.source").out
    assert "namespaceSelector" in told
    assert "<string>" in told
    assert "Where the packet comes from" in told
    assert "Labels of the endpoints" in every("explain", "networkpolicies.spec.selector").out
    assert "cidr" in every("explain", "ippool.spec").out
    assert "labels" in every("explain", "bgppeer.metadata").out
    every("explain", "gnp.spec.nonsense", code=1)
    for kind in ("tier", "hep", "wep", "node", "bgpconfig", "bgpfilter", "felixconfig", "clusterinfo", "ipr", "gns"):
        assert "DESCRIPTION" in every("explain", kind, "--recursive").out


def test_validation_names_every_fault(every: Kubectl) -> None:
    wrong = gnp("wrong-a", selector="role = 'db'", ingress=[{"action": "Alow"}])
    told = every("create", "-f", "-", "--validate=false", given=wrong, code=1).err
    assert "spec.selector" in told
    assert "spec.ingress[0].action" in told
    assert "write Allow" in told
    unknown = every("apply", "-f", "-", given=gnp("wrong-b", selektor="all()"), code=1).err
    assert "selektor" in unknown
    pool = every("create", "-f", "-", given=resource("IPPool", "wrong-c", cidr="10.2.0.1/16x"), code=1).err
    assert "spec.cidr" in pool
    if every.minor >= 27:
        warned = every("create", "-f", "-", "--validate=warn", given=gnp("wrong-d", selektor="x"))
        assert 'Warning: unknown field "spec.selektor"' in warned.err


def test_conflicts_name_the_object(k: Kubectl) -> None:
    k("apply", "-f", "-", given=gnp("conflict-a"))
    stale = k.json("get", "gnp", "conflict-a")
    k("label", "gnp", "conflict-a", "x=y")
    stale["spec"]["order"] = 3
    told = k("apply", "-f", "-", given=stale, code=1).err
    assert "Conflict" in told or "the object has been modified" in told


def test_namespaces(every: Kubectl) -> None:
    """A kind that is compiled into kubectl: protobuf bodies, strategic patches."""
    assert "created" in every("create", "namespace", "space-a").out
    every("label", "ns", "space-a", "team=x")
    assert "patched" in every("patch", "ns", "space-a", "-p", '{"metadata":{"labels":{"more":"y"}}}').out
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "space-b", "labels": {"a": "b"}}}
    every("apply", "-f", "-", given=body)
    body["metadata"]["labels"] = {"c": "d"}  # type: ignore[index]
    assert "configured" in every("apply", "-f", "-", given=body).out
    labels = every.json("get", "ns", "space-b")["metadata"]["labels"]
    assert labels == {"c": "d", "kubernetes.io/metadata.name": "space-b"}
    assert "edited" in every("edit", "ns", "space-b", KUBE_EDITOR="sed -i 's/c: d/c: e/'").out
    assert "Active" in every("get", "ns", "space-a").out
    every("describe", "ns", "space-a")
    assert '"space-a" deleted' in every("delete", "ns", "space-a").out


def test_policies_of_kubernetes(every: Kubectl) -> None:
    body = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {
        "podSelector": {"matchLabels": {"role": "db"}},
        "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 5432}]}],
    }, "metadata": {"name": "k8s-a", "namespace": "x"}}
    assert "created" in every("apply", "-f", "-", given=body).out
    assert "unchanged" in every("apply", "-f", "-", given=body).out
    body["spec"]["ingress"][0]["ports"][0]["port"] = 5433  # type: ignore[index]
    assert "configured" in every("apply", "-f", "-", given=body).out
    assert "role=db" in every("get", "networkpolicies.networking.k8s.io", "-n", "x").out
    assert "knp.default.k8s-a" in every("get", "np", "-n", "x").out
    assert "5433" in every("get", "np", "knp.default.k8s-a", "-n", "x", "-o", "yaml").out
    told = every("describe", "networkpolicies.networking.k8s.io", "k8s-a", "-n", "x").out
    assert "To Port: 5433/" in told
    assert "deleted" in every("delete", "-f", "-", given=body).out
    assert "knp.default.k8s-a" not in every("get", "np", "-n", "x").out


def test_server_side_apply(k: Kubectl) -> None:
    assert "serverside-applied" in k("apply", "--server-side", "-f", "-", given=gnp("ssa-a", order=5)).out
    again = k("apply", "--server-side", "-f", "-", given=gnp("ssa-a", order=6)).out
    assert "serverside-applied" in again
    mine = gnp("ssa-a", order=7)
    told = k("apply", "--server-side", "--field-manager=other", "-f", "-", given=mine, code=1).err
    assert 'conflict with "kubectl"' in told
    k("apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-", given=mine)
    assert k.json("get", "gnp", "ssa-a")["spec"]["order"] == 7
    k("apply", "-f", "-", given=gnp("ssa-b", order=1))
    k("apply", "--server-side", "-f", "-", given=gnp("ssa-b", order=2))
    assert k.json("get", "gnp", "ssa-b")["spec"]["order"] == 2
    k("diff", "--server-side", "-f", "-", given=gnp("ssa-b", order=2))
    k("diff", "-f", "-", given=gnp("ssa-a", order=7))


def test_may_i(k: Kubectl) -> None:
    assert k("auth", "can-i", "create", "gnp").out.strip() == "yes"
    assert "*.*" in k("auth", "can-i", "--list").out


def test_a_kind_that_is_not_served_is_said_to_be_none(every: Kubectl) -> None:
    """Newer versions first look whether somebody has defined it; a refusal there would hide the reason."""
    for version, kind in (("projectcalico.org/v3", "CalicoNodeStatus"), ("v1", "Pod"), ("apps/v1", "Deployment")):
        body = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, "spec": {}}
        assert f'no matches for kind "{kind}"' in every("apply", "-f", "-", given=body, code=1).err


def test_listing_by_watching(k: Kubectl) -> None:
    """What newer clients do by default; older ones ignore the switch."""
    k("create", "-f", "-", given=gnp("stream-a", order=1))
    assert "stream-a" in k("get", "gnp", KUBE_FEATURE_WatchListClient="true").out
    if k.minor >= 23:
        k("wait", "gnp/stream-a", "--for=jsonpath={.spec.order}=1", "--timeout=10s",
          KUBE_FEATURE_WatchListClient="true")


def test_raw_and_what_is_not_there(k: Kubectl) -> None:
    assert json.loads(k("get", "--raw", "/muslin/v1/status").out)["server"]
    assert "the server doesn't have a resource type" in k("get", "pods", code=1).err
    assert "(NotFound)" in k("get", "gnp", "nobody", code=1).err
