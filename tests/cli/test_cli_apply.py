"""Files on their way to the server: all faults at once, at their lines, and nothing half done."""

from __future__ import annotations

import json

import pytest
import yaml

from clirig import Shell

TIER = """\
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: security}
spec: {order: 100}
"""
POLICY = """\
# a comment
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: web
  labels: {from: file}
spec:
  tier: security
  order: 10
  selector: app == 'web'
  ingress:
  - action: Allow
    protocol: TCP
    destination:
      ports: [80]

  - action: Deny
"""
NETS = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: good}
spec: {nets: [10.0.0.0/8]}
"""


def live(shell: Shell, words: str) -> dict:  # type: ignore[type-arg]
    found = json.loads(shell.did(f"get {words} -o json").out)
    assert isinstance(found, dict)
    return found


def test_objects_are_created_then_unchanged_then_configured(shell: Shell) -> None:
    shell.file("p.yaml", f"{POLICY}---\n{TIER}")

    assert shell.did("apply -f p.yaml").lines == [
        "tier.projectcalico.org/security created", "globalnetworkpolicy.projectcalico.org/web created"]
    assert {line.split()[1] for line in shell.did("apply -f p.yaml").lines} == {"unchanged"}
    shell.file("p.yaml", f"{POLICY.replace('order: 10', 'order: 20')}---\n{TIER}")
    assert [line.split()[1] for line in shell.did("apply -f p.yaml").lines] == ["unchanged", "configured"]
    assert live(shell, "gnp web")["spec"]["order"] == 20


def test_a_policy_carries_the_lines_of_its_rules(shell: Shell) -> None:
    """`muslin why` shows them."""
    shell.file("dir/p.yaml", f"{TIER}---\n{POLICY}")
    shell.did("apply -f dir")

    annotations = live(shell, "gnp web")["metadata"]["annotations"]
    assert annotations["muslin.dev/source"] == "dir/p.yaml:7"
    assert json.loads(annotations["muslin.dev/source-lines"]) == {"ingress": [17, 22], "egress": []}


def test_what_left_the_file_is_removed_and_what_others_set_stays(shell: Shell) -> None:
    shell.did("apply -f -", stdin=f"{TIER}---\n{POLICY}")
    shell.did("label gnp web by=hand")

    shell.did("apply -f -", stdin=POLICY.replace("  order: 10\n", "").replace("labels: {from: file}", "labels: {}"))

    found = live(shell, "gnp web")
    assert "order" not in found["spec"]
    assert found["metadata"]["labels"] == {"by": "hand", "projectcalico.org/tier": "security"}


FAULTY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: bad
spec:
  selektor: app == 'web'
  ingress:
  - action: Alow
"""


def test_every_fault_of_every_file_is_shown_and_nothing_is_applied(shell: Shell) -> None:
    shell.file("d/a.yaml", f"{FAULTY}---\n{NETS}")
    shell.file("d/b.yaml", FAULTY.replace("Alow", "Dney"))

    said = shell.run("apply -f d")

    assert said.code == 1
    for place in ("d/a.yaml:6:", "d/a.yaml:8:", "d/b.yaml:6:", "d/b.yaml:8:"):
        assert place in said.err
    assert "selector" in said.err
    assert "nothing was changed" in said.err
    assert shell.did("get gns -o name").out == ""


def test_partial_applies_the_good_objects_and_still_fails(shell: Shell) -> None:
    shell.file("a.yaml", f"{FAULTY}---\n{NETS}")

    said = shell.run("apply -f a.yaml --partial")

    assert said.code == 1
    assert said.lines == ["globalnetworkset.projectcalico.org/good created"]


def test_what_only_the_server_can_see_is_shown_at_its_line_before_anything_changes(shell: Shell) -> None:
    shell.file("p.yaml", f"{NETS}---\n{POLICY}")

    said = shell.run("apply -f p.yaml")

    assert said.code == 1
    assert 'p.yaml:13:9: there is no tier "security"' in said.err
    assert shell.did("get gns -o name").out == ""
    assert shell.run("apply -f p.yaml --partial").lines == ["globalnetworkset.projectcalico.org/good created"]


def test_a_dry_run_says_what_would_happen_and_changes_nothing(shell: Shell) -> None:
    """Also where a policy waits for a tier of the same files."""
    shell.file("p.yaml", f"{POLICY}---\n{TIER}")

    assert shell.did("apply -f p.yaml --dry-run").lines == [
        "tier.projectcalico.org/security created (dry run)",
        "globalnetworkpolicy.projectcalico.org/web created (dry run)"]
    assert shell.run("get tier security").code == 1


def test_an_object_that_was_taken_out_can_be_applied_again_later(shell: Shell) -> None:
    """kubectl refuses its old resourceVersion; a file says what should be, not when it was read."""
    shell.did("apply -f -", stdin=f"{TIER}---\n{POLICY}")
    taken = shell.did("get gnp web -o yaml").out
    shell.did("patch gnp web -p 'spec: {order: 99}'")

    shell.did("apply -f -", stdin=taken)

    assert live(shell, "gnp web")["spec"]["order"] == 10


def test_create_refuses_what_is_there_and_replace_what_is_not(shell: Shell) -> None:
    shell.file("n.yaml", NETS)

    assert 'globalnetworksets.projectcalico.org "good" not found' in shell.run("replace -f n.yaml").err
    assert shell.did("create -f n.yaml").lines == ["globalnetworkset.projectcalico.org/good created"]
    assert "already exists" in shell.run("create -f n.yaml").err
    assert shell.did("replace -f n.yaml").lines == ["globalnetworkset.projectcalico.org/good replaced"]


def test_names_are_made_up_only_for_create(shell: Shell) -> None:
    """An apply that makes a new object each time is not an apply."""
    nameless = NETS.replace("name: good", "generateName: good-")

    assert shell.did("create -f -", stdin=nameless).out.startswith("globalnetworkset.projectcalico.org/good-")
    for command in ("apply", "replace", "delete"):
        said = shell.run(f"{command} -f -", stdin=nameless)
        assert said.code == 1
        assert "<stdin>:3:" in said.err
        assert "muslin create" in said.err
    shell.file("n.yaml", nameless)
    assert "n.yaml:1" in shell.run("get -f n.yaml").err


def test_replace_refuses_a_file_that_was_read_before_somebody_elses_change(shell: Shell) -> None:
    shell.did("create -f -", stdin=NETS)
    taken = shell.did("get gns good -o yaml").out
    shell.did("label gns good a=b")

    said = shell.run("replace -f -", stdin=taken)

    assert said.code == 1
    assert "has been modified" in said.err


def test_the_namespace_is_the_objects_then_that_of_the_command(shell: Shell) -> None:
    net = NETS.replace("Global", "").replace("good}", "good, namespace: shop}")

    shell.did("apply -f -", stdin=net)
    shell.did("apply -f - -n other", stdin=net.replace(", namespace: shop", ""))

    assert shell.did("get netset -A -o jsonpath={.items[*].metadata.namespace}").out.split() == ["other", "shop"]
    assert "leave one out" in shell.run("apply -f - -n other", stdin=net).err


def test_objects_go_in_the_order_in_which_they_lean_on_each_other(shell: Shell) -> None:
    """And come out in the reverse."""
    shell.file("p.yaml", f"{POLICY}---\n{TIER}")
    shell.did("apply -f p.yaml")

    assert shell.did("delete -f p.yaml").lines == [
        "globalnetworkpolicy.projectcalico.org/web deleted", "tier.projectcalico.org/security deleted"]
    assert shell.run("delete -f p.yaml").code == 1
    assert shell.did("delete -f p.yaml --ignore-not-found").out == ""


@pytest.mark.parametrize(("stdin", "said"), [
    ("a: [", "<stdin>:"), ("", "no object"), ("hello", "<stdin>:1:1"), ("{}", "<stdin>:1:"),
    ("kind: Pod", "<stdin>:1:"),
    ("apiVersion: projectcalico.org/v3\nkind: Teir\nmetadata: {name: x}", "Tier"), ("\x00", "<stdin>:1"),
])
def test_what_is_no_object_is_said_with_its_line(shell: Shell, stdin: str, said: str) -> None:
    found = shell.run("apply -f -", stdin=stdin)

    assert found.code == 1
    assert said in found.err


def test_validate_needs_no_server_and_lists_every_fault_as_data(lonely: Shell) -> None:
    lonely.file("a.yaml", f"{FAULTY}---\n{NETS}")

    assert lonely.run("validate -f a.yaml").code == 1
    found = json.loads(lonely.run("validate -f a.yaml -o json").out)
    assert (found["ok"], found["objects"]) == (False, 1)
    assert [(fault["file"], fault["line"], fault["field"]) for fault in found["faults"]] == [
        ("a.yaml", 6, "spec.selektor"), ("a.yaml", 8, "spec.ingress[0].action")]
    assert lonely.did("validate -f -", stdin=NETS).lines == ["1 good object"]


def test_files_that_are_not_there_are_named(lonely: Shell) -> None:
    assert "nosuch.yaml: there is no such file" in lonely.run("apply -f nosuch.yaml").err
    lonely.file("deep/er/n.yaml", NETS)
    assert "-R" in lonely.run("validate -f deep").err
    assert lonely.did("validate -f deep -R").code == 0


def test_kubernetes_policies_and_lists_are_accepted(shell: Shell) -> None:
    kubernetes = """\
apiVersion: v1
kind: List
items:
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: deny, namespace: shop}
  spec: {podSelector: {}, policyTypes: [Ingress]}
- apiVersion: crd.projectcalico.org/v1
  kind: GlobalNetworkSet
  metadata: {name: old}
  spec: {nets: [10.0.0.0/8]}
"""
    shell.did("apply -f -", stdin=kubernetes)

    assert "deny" in shell.did("get np -n shop").out
    assert "old" in shell.did("get gns").out
    assert {line.split()[1] for line in shell.did("apply -f -", stdin=kubernetes).lines} == {"unchanged"}


def test_labels_annotations_and_patches_change_one_thing(shell: Shell) -> None:
    shell.did("create -f -", stdin=NETS)

    assert shell.did("label gns good a=b c=d").lines == ["globalnetworkset.projectcalico.org/good labeled"]
    assert "--overwrite" in shell.run("label gns good a=x").err
    assert shell.did("label gns good a=x --overwrite c-").lines == ["globalnetworkset.projectcalico.org/good labeled"]
    assert shell.did("label gns good a=x").lines == ["globalnetworkset.projectcalico.org/good unchanged"]
    shell.did("annotate gns good why=test")
    shell.did("patch gns good -p 'spec: {nets: [10.1.0.0/16]}'")
    shell.did("""patch gns good --type json -p '[{"op": "add", "path": "/spec/nets/-", "value": "10.2.0.0/16"}]'""")
    found = live(shell, "gns good")
    assert found["metadata"]["labels"] == {"a": "x"}
    assert found["metadata"]["annotations"] == {"why": "test"}
    assert found["spec"]["nets"] == ["10.1.0.0/16", "10.2.0.0/16"]


def test_a_refused_change_lists_the_fields(shell: Shell) -> None:
    shell.did("create ippool p --cidr 10.65.0.0/16")

    said = shell.run("patch ipp p -p 'spec: {blockSize: 27, ipipMode: Sometimes}'")

    assert said.code == 1
    assert "spec.ipipMode: " in said.err
    assert "strategic" in shell.run("patch ipp p --type strategic -p '{}'").err


def test_yaml_that_comes_out_goes_in_again(shell: Shell) -> None:
    shell.did("apply -f -", stdin=f"{TIER}---\n{POLICY}")

    out = shell.did("get gnp,tiers -o yaml").out

    assert yaml.safe_load(out)["kind"] == "List"
    assert {line.split()[1] for line in shell.did("apply -f -", stdin=out).lines} <= {"unchanged", "configured"}
