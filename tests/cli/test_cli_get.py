"""`muslin get` and its neighbours, as somebody at a shell sees them."""

from __future__ import annotations

import json
import subprocess
import sys

import yaml

from clirig import MUSLIN, Shell
from netrig import wait_for


def test_a_table_is_what_the_server_draws(shell: Shell) -> None:
    said = shell.did("get tiers")

    assert said.lines[0].split() == ["NAME", "ORDER", "DEFAULT", "AGE"]
    assert [line.split()[0] for line in said.lines[1:]] == ["default", "kube-admin", "kube-baseline"]


def test_wide_shows_more_columns_than_the_table(shell: Shell) -> None:
    shell.did("create ippool p --cidr 10.65.0.0/16")

    assert len(shell.did("get ipp -o wide").lines[0].split()) > len(shell.did("get ipp").lines[0].split())


def test_host_endpoints_come_by_a_switch(shell: Shell) -> None:
    shell.file("hosts.yaml", json.dumps({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "projectcalico.org/v3", "kind": "Node", "metadata": {"name": "h1", "labels": {"rack": "a"}}},
        {"apiVersion": "projectcalico.org/v3", "kind": "KubeControllersConfiguration", "metadata": {"name": "default"},
         "spec": {"controllers": {"node": {"hostEndpoint": {"autoCreate": "Enabled"}}}}},
    ]}))
    shell.did("apply -f hosts.yaml")

    assert shell.did("get kcc").lines[1].split()[:2] == ["default", "Enabled"]
    wait_for("h1-auto-hep", lambda: "h1-auto-hep" in shell.did("get hep").out)
    assert shell.did("get hep --selector rack=a -o name").out == "hostendpoint.projectcalico.org/h1-auto-hep\n"


def test_one_object_comes_whole_and_several_in_a_list(shell: Shell) -> None:
    one = yaml.safe_load(shell.did("get tier default -o yaml").out)
    several = json.loads(shell.did("get tier default kube-admin -o json").out)

    assert (one["kind"], one["metadata"]["name"]) == ("Tier", "default")
    assert several["kind"] == "List"
    assert [item["metadata"]["name"] for item in several["items"]] == ["default", "kube-admin"]


def test_kinds_go_by_all_their_words(shell: Shell) -> None:
    for word in ("tier", "Tier", "TIERS", "tiers.projectcalico.org"):
        assert shell.did(f"get {word} default -o name").out == "tier.projectcalico.org/default\n"


def test_several_kinds_are_several_tables_with_the_kind_before_the_name(shell: Shell) -> None:
    said = shell.did("get tiers,ns")

    assert "tier/default" in said.out
    assert "namespace/default" in said.out
    assert "" in said.lines


def test_all_kinds_can_be_seen_at_once_and_not_be_deleted_at_once(shell: Shell) -> None:
    assert "tier/default" in shell.did("get all").out
    assert "no kind 'all'" in shell.run("delete all --all").err
    assert "no kind 'calico'" in shell.run("delete calico --all").err


def test_both_network_policies_have_a_word(shell: Shell) -> None:
    """The short word means Calico's."""
    shell.did("apply -f -", stdin=POLICY.replace("NS", "default"))

    assert shell.did("get networkpolicy -o name").out == "networkpolicy.projectcalico.org/web\n"
    assert shell.run("get networkpolicies.networking.k8s.io").code == 0


def test_kind_and_name_may_be_one_word(shell: Shell) -> None:
    said = shell.did("get tier/default ns/default -o name")

    assert said.lines == ["tier.projectcalico.org/default", "namespace/default"]


def test_all_namespaces_put_the_namespace_first(shell: Shell) -> None:
    shell.did("create ns shop")
    shell.did("apply -f -", stdin=POLICY.replace("NS", "shop"))

    said = shell.did("get np -A")
    assert said.lines[0].split()[0] == "NAMESPACE"
    assert said.lines[1].split()[:2] == ["shop", "web"]
    assert shell.did("get np -n shop").lines[1].split()[0] == "web"


def test_nothing_there_is_said_on_the_side_and_is_no_error(shell: Shell) -> None:
    said = shell.did("get np")

    assert said.out == ""
    assert said.err == "no networkpolicies found in namespace default\n"


def test_a_name_that_is_not_there_is_an_error_and_the_others_are_shown(shell: Shell) -> None:
    said = shell.run("get tier default nosuch")

    assert said.code == 1
    assert said.lines[1].startswith("default")
    assert '"nosuch" not found' in said.err
    assert shell.run("get tier nosuch --ignore-not-found").code == 0


def test_labels_select(shell: Shell) -> None:
    shell.did("create ns a -l env=prod,team=x")
    shell.did("create ns b -l env=test")

    assert shell.did("get ns -l env=prod -o name").out == "namespace/a\n"
    assert shell.did("get ns -l 'env in (prod,test),!team' -o name").out == "namespace/b\n"
    assert "env=prod" in shell.did("get ns a --show-labels").out


def test_columns_and_paths_are_chosen_as_with_kubectl(shell: Shell) -> None:
    assert shell.did("get tiers -o custom-columns=N:.metadata.name,O:.spec.order").lines[1].split() == [
        "default", "1000000"]
    assert shell.did("get tier default -o 'jsonpath={.spec.defaultAction}'").out.strip() == "Deny"


def test_rows_are_sorted_by_any_field(shell: Shell) -> None:
    for order in ("", " -o name"):
        said = shell.did(f"get tiers --sort-by .spec.order{order}").lines
        assert [line.split()[0].rpartition("/")[2] for line in said if "NAME" not in line] == [
            "kube-admin", "default", "kube-baseline"]


def test_words_that_are_wrong_are_answered_by_those_that_were_meant(shell: Shell) -> None:
    assert "did you mean 'get'?" in shell.run("gte tiers").err
    assert "did you mean 'tiers'?" in shell.run("get teirs").err
    assert "did you mean '--output'?" in shell.run("get tiers --ouput yaml").err
    assert {shell.run(line).code for line in ("gte tiers", "get teirs", "get tiers --ouput yaml")} == {1}


def test_without_a_server_the_address_and_the_mend_are_said(lonely: Shell) -> None:
    said = lonely.run("get tiers")

    assert said.code == 1
    assert str(lonely.directory) in said.err
    assert "muslin up" in said.err


def test_a_watch_shows_what_changes(shell: Shell) -> None:
    with subprocess.Popen([MUSLIN, "get", "ns", "-w", "-o", "name"], env=shell.environment, text=True,
                          stdout=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        try:
            assert watching.stdout.readline() == "namespace/default\n"
            shell.did("create ns later")
            assert watching.stdout.readline() == "namespace/later\n"
        finally:
            watching.kill()


def test_a_watch_of_a_table_shows_each_change_as_a_row(shell: Shell) -> None:
    with subprocess.Popen([MUSLIN, "get", "ns", "-w"], env=shell.environment, text=True,
                          stdout=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        try:
            assert watching.stdout.readline().split() == ["NAME", "STATUS", "AGE"]
            assert watching.stdout.readline().split()[0] == "default"
            shell.did("create ns later")
            assert watching.stdout.readline().split()[0] == "later"
        finally:
            watching.kill()


def test_the_way_of_get_imports_nothing_heavy() -> None:
    """150 ms for the whole process: msgspec, aiohttp, rich, inspect (by dataclasses) or the kinds eat them."""
    code = "import sys, muslin.cli.main, muslin.cli.get; print(' '.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())

    assert not loaded & {"msgspec", "aiohttp", "rich", "yaml", "inspect", "dataclasses", "asyncio", "structlog", "ssl",
                         "email", "http.client", "pathlib", "muslin.model.kinds"}


def test_completion_knows_commands_kinds_and_names(shell: Shell) -> None:
    assert shell.did("completion --words -- ge").lines == ["get"]
    assert "globalnetworkpolicy" in shell.did("completion --words -- get globaln").lines
    assert shell.did("completion --words -- get tier kube-a").lines == ["kube-admin"]
    assert shell.did("completion --words -- get tier -o y").lines == ["yaml"]
    assert "complete -o default -F _muslin muslin" in shell.did("completion bash").out


def test_help_shows_examples_and_every_command_has_some(shell: Shell) -> None:
    overview = shell.did("--help").out
    assert "muslin why web db tcp/5432" in overview
    for command in ("get", "apply", "why", "status", "workload", "up", "server", "agent", "lab", "ipam", "validate"):
        assert "Examples:" in shell.did(f"{command} --help").out
        assert f"\n  {command} " in overview


def test_explain_needs_no_server(lonely: Shell) -> None:
    assert "selector" in lonely.did("explain gnp.spec").out
    assert "did you mean 'spec'" in lonely.run("explain gnp.spce").err
    assert "did you mean" in lonely.run("explain gpn").err


POLICY = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: NS}
spec:
  selector: app == 'web'
  ingress:
  - action: Allow
"""
