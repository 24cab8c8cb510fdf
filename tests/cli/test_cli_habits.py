"""What people type who come from calicoctl and kubectl: it works, or the answer says what does."""

from __future__ import annotations

import pytest
import yaml

from clirig import Shell

POOL = "create ippool p --cidr 10.65.0.0/16"


def test_calicoctls_columns_go_by_their_heads(shell: Shell) -> None:
    """`-o custom-columns=NAME,CIDR` is calicoctl's, with paths it is kubectl's."""
    shell.did(POOL)

    for columns in ("NAME,CIDR", "A:.metadata.name,B:.spec.cidr"):
        assert shell.did(f"get ipp -o custom-columns={columns}").lines[1].split() == ["p", "10.65.0.0/16"]
    assert "there is no column COST: write NAME, CIDR" in shell.run("get ipp -o custom-columns=NAME,COST").err


def test_ps_is_calicoctls_word_for_a_table(shell: Shell) -> None:
    assert shell.did("get tiers -o ps").lines[0].split()[:2] == ["NAME", "ORDER"]


def test_an_export_can_be_applied_elsewhere(shell: Shell) -> None:
    """Calico's guides begin with it: get the default configuration, edit it, apply it."""
    shell.did("apply -f -", stdin="apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\nspec: {order: 5}")

    text = shell.did("get tier a --export -o yaml").out

    assert set(yaml.safe_load(text)["metadata"]) == {"name"}
    shell.did("delete tier a")
    assert shell.did("apply -f -", stdin=text).out == "tier.projectcalico.org/a created\n"


def test_texts_of_several_lines_are_printed_as_such(shell: Shell) -> None:
    shell.did("apply -f -", stdin='apiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotations: {b: "1\\n2\\n"}}')

    assert "    b: |\n      1\n      2\n" in shell.did("get ns a -o yaml").out


def test_a_jsonpath_ends_as_it_says(shell: Shell) -> None:
    shell.did(POOL)

    assert shell.did("get ipp p -o 'jsonpath={.spec.cidr}{\"\\n\"}'").out == "10.65.0.0/16\n"
    assert shell.did("get ipp p -o jsonpath={.spec.cidr}").out == "10.65.0.0/16\n"


@pytest.mark.parametrize("line", ["get tier ''", "delete tier ''", "label tier '' a=b", "get ''"])
def test_an_empty_name_is_not_every_name(shell: Shell, line: str) -> None:
    """`muslin delete gnp $NAME` with a variable that is not set."""
    assert "one of the words is empty" in shell.run(line).err


def test_a_label_is_removed_in_either_way(shell: Shell) -> None:
    shell.did("label ns default a=1 b=2 c=3")

    shell.did("label ns default a-")
    shell.did("label ns default b --remove")
    shell.did("label ns default --remove c")

    assert set(yaml.safe_load(shell.did("get ns default -o yaml").out)["metadata"]["labels"]) == {
        "kubernetes.io/metadata.name"}


@pytest.mark.parametrize("form", ["--dry-run", "--dry-run=server", "--dry-run=client"])
def test_a_dry_run_changes_nothing_and_takes_no_word(shell: Shell, form: str) -> None:
    shell.did(POOL)

    assert "(dry run)" in shell.did(f"delete {form} ipp p").out
    assert "(dry run)" in shell.did(f"patch {form} ipp p -p '{{\"spec\":{{\"disabled\":true}}}}'").out
    assert "(dry run)" in shell.did(f"label {form} ipp p a=b").out
    assert "(dry run)" in shell.did(f"create {form} ippool q --cidr 10.66.0.0/16").out
    assert yaml.safe_load(shell.did("get ipp p --export -o yaml").out)["spec"].get("disabled") is None
    assert "choose from" in shell.run("delete ipp p --dry-run=maybe").err


def test_a_patch_in_yaml_reads_as_a_file_does(shell: Shell) -> None:
    """YAML 1.1 would make a number of a community."""
    shell.did("patch ns default -p 'metadata: {annotations: {a: 100:20}}'")

    assert yaml.safe_load(shell.did("get ns default -o yaml").out)["metadata"]["annotations"]["a"] == "100:20"
    assert "braces that does not end" in shell.run("patch ns default -p 'metadata: {a'").err


def test_addresses_of_the_web_are_no_files(shell: Shell) -> None:
    assert "curl -fsSL https://example.com/a.yaml | muslin apply -f -" in shell.run(
        "apply -f https://example.com/a.yaml").err


def test_commands_of_others_are_answered_by_ours(shell: Shell) -> None:
    assert "`kubectl edit` works with this server" in shell.run("edit gnp a").err
    assert "`muslin status`" in shell.run("node status").err
    assert "did you mean 'get'" in shell.run("gett").err


KNP = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}, {podSelector: {matchLabels: {app: cli}}}]
    ports: [{port: 5432}]
  - from: [{ipBlock: {cidr: 10.0.0.0/8}}]
"""


def test_kubernetes_own_policies_stay_what_they_are(shell: Shell) -> None:
    """kubectl and muslin may take turns at one file, and `why` knows the lines of the rules that it became."""
    file = shell.file("knp.yaml", KNP)

    assert shell.did(f"apply -f {file}").out == "networkpolicy.networking.k8s.io/db created\n"
    assert shell.did(f"apply -f {file}").out == "networkpolicy.networking.k8s.io/db unchanged\n"
    assert shell.did("get networkpolicies.networking.k8s.io -o name").out == "networkpolicy.networking.k8s.io/db\n"
    assert "podSelector" in shell.did(f"get -f {file} -o yaml").out
    meant = yaml.safe_load(shell.did("get np knp.default.db -o yaml").out)["metadata"]["annotations"]
    assert (meant["muslin.dev/source"], meant["muslin.dev/source-lines"]) == (
        "knp.yaml:2", '{"ingress":[8,8,10],"egress":[]}')
    shell.file("knp.yaml", KNP.replace("5432", "5433"))
    assert shell.did(f"apply -f {file}").out == "networkpolicy.networking.k8s.io/db configured\n"
    assert "5433" in shell.did("get np knp.default.db -o yaml").out
    assert shell.did(f"delete -f {file}").out == "networkpolicy.networking.k8s.io/db deleted\n"
