"""Why, what if, who can: the real command, against a server and against files alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from clirig import Shell

pytestmark = [pytest.mark.slow]

ENDPOINT = """
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: h1-muslin-NAME-eth0, namespace: shop, labels: {role: ROLE}}
spec: {node: h1, orchestrator: muslin, workload: NAME, endpoint: eth0, interfaceName: musNAME, ipNetworks: [ADDRESS/32],
       profiles: [kns.shop]}
"""
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
POLICY = """
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  selector: role == 'db'
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: role == 'web'}, destination: {ports: [PORT]}}
"""


def town(port: int = 5432) -> str:
    some = (("web", "10.65.0.1"), ("job", "10.65.0.2"), ("db", "10.65.0.3"))
    ends = [ENDPOINT.replace("NAME", name).replace("ROLE", name).replace("ADDRESS", at) for name, at in some]
    return "---\n".join([NAMESPACE, *ends, POLICY.replace("PORT", str(port))])


@pytest.fixture
def both(shell: Shell) -> Shell:
    """A server and files that say the same."""
    shell.file("town/all.yaml", town())
    shell.did("apply -f town/all.yaml")
    return shell


@pytest.mark.parametrize("line", [
    "why web db tcp/5432 -o json", "why job db tcp/5432 -o json", "why outside db tcp/5432 -o json",
    "who-can reach db tcp/5432 -o json", "matrix -o json --ports tcp/5432", "matrix -o json --by class",
    "matrix", "matrix --outside --ports tcp/5432,udp/53,icmp", "whois 10.65.0.3", "who-can reach db tcp/5432",
    "staged"])
def test_files_answer_as_the_server_does(both: Shell, line: str) -> None:
    online, offline = both.run(line), both.run(f"{line} --offline -f town --quiet")
    assert offline.code == online.code == 0, (online.err, offline.err)
    if "-o json" in line:
        one, other = json.loads(online.out), json.loads(offline.out)
        for end in ("source", "destination"):
            if isinstance(other.get(end), dict):
                other[end].pop("made_up", None)
        assert other == one
    else:
        assert offline.out == online.out


def test_a_diff_tells_who_gains_and_who_loses_and_by_which_lines(both: Shell) -> None:
    both.file("new.yaml", POLICY.replace("PORT", "6379"))
    for said in (both.run("diff -f new.yaml"), both.run("diff --offline -f town --with new.yaml --quiet")):
        assert said.code == 1, said.err
        assert "shop/web -> shop/db" in said.lines[0]
        assert "  + tcp/6379" in said.lines
        assert "  - tcp/5432" in said.lines
        rule = "Allow by NetworkPolicy shop/db, ingress rule 0"
        assert any(f"before  {rule}  town/all.yaml:" in one for one in said.lines)
        assert any(f"after   {rule}  new.yaml:8" in one for one in said.lines)


def test_the_exit_code_of_a_diff_is_that_of_kubectl_diff(both: Shell) -> None:
    both.file("new/all.yaml", town())
    assert both.run("diff -f town/all.yaml").code == 0
    assert both.run("diff --offline -f town --to new").code == 0
    assert both.run("diff --delete np/db -n shop").code == 1
    assert both.run("diff --offline -f town --delete np/db -n shop").code == 1
    for wrong in ("diff", "diff -f nowhere.yaml", "diff --offline -f town", "diff --delete np/nope -n shop",
                  "diff --offline -f town --delete np/dbb -n shop", "diff --offline --to new"):
        assert both.run(wrong).code == 2, wrong


@pytest.mark.parametrize("line", [
    "apply -f new.yaml --dry-run", "delete np/db -n shop --dry-run",
    "label wep -n shop h1-muslin-job-eth0 role=web --overwrite --dry-run"])
def test_a_dry_run_tells_the_effect(both: Shell, line: str) -> None:
    both.file("new.yaml", POLICY.replace("PORT", "6379"))
    said = both.did(line)
    assert any(one.startswith(("  + ", "  - ")) for one in said.lines), said.out
    assert "dry run" in said.lines[0]
    assert "Allow" in both.did("why web db tcp/5432 -o json").out  # and nothing has changed


def test_expectations_are_tested_with_no_server(lonely: Shell) -> None:
    lonely.file("town/all.yaml", town())
    lonely.file("town/shop.muslin-test.yaml", "expectations:\n- allow: web -> db tcp/5432\n- deny: job -> db\n")
    assert lonely.did("test town").lines[-1].startswith("2 expectations: 2 met (")
    lonely.file("town/shop.muslin-test.yaml", "deny:\n- * -> db\n")
    said = lonely.run("test town")
    assert said.code == 1
    assert said.lines[0] == "FAIL  deny: * -> db  town/shop.muslin-test.yaml:2"
    assert any("town/all.yaml:" in line for line in said.lines)
    assert "<failure" in lonely.run("test town -o junit").out
    found = json.loads(lonely.run("test town -o json").out)
    assert (found["ok"], found["expectations"][0]["counterexamples"][0]["verdict"]) == (False, "Allow")
    lonely.file("town/shop.muslin-test.yaml", "deny:\n- wbe -> db\n")
    assert "did you mean" in lonely.run("test town").out


def test_files_of_expectations_do_not_disturb_apply(both: Shell) -> None:
    both.file("town/shop.muslin-test.yaml", "expectations:\n- allow: web -> db tcp/5432\n")
    both.file("town/beside.yaml", "deny: ['job -> db']\n---\n" + NAMESPACE)
    both.did("apply -f town")
    assert both.did("test town").code == 0


@pytest.mark.parametrize(("line", "said"), [
    ("why wbe db tcp/80", "did you mean web"), ("why web db tcp/70000", "1 to 65535"), ("why web db tpc/80", "tcp"),
    ("why web 10.0.0.0/8 tcp/80", "is a prefix"), ("who-can reach nobody tcp/80", "no workload"),
    ("whois 10.0.0.300", "is no address"), ("matrix --ports tcp", "1 to 65535")])
def test_nonsense_is_answered_alike(both: Shell, line: str, said: str) -> None:
    online, offline = both.run(line), both.run(f"{line} --offline -f town --quiet")
    assert online.code == offline.code == 1
    assert said in online.err
    assert said in offline.err


def test_faults_of_files_are_shown_as_apply_shows_them(lonely: Shell) -> None:
    lonely.file("town/all.yaml", town().replace("action: Allow", "action: allow"))
    shown = lonely.run("apply -f town").err.splitlines()[0]
    said = lonely.run("why web db tcp/80 --offline -f town")
    assert (said.code, said.err.splitlines()[0]) == (1, shown)
    assert shown.startswith("town/all.yaml:")


def test_a_wide_town_is_listed_where_a_grid_does_not_fit(lonely: Shell) -> None:
    ends = [ENDPOINT.replace("NAME", f"w{n}").replace("ROLE", f"r{n}").replace("ADDRESS", f"10.65.0.{n + 1}")
            for n in range(12)]
    rules = [POLICY.replace("name: db", f"name: p{n}").replace("role == 'db'", f"role == 'r{n}'")
             .replace("role == 'web'", f"role == 'r{n + 1}'").replace("PORT", "80") for n in range(11)]
    lonely.file("town/all.yaml", "---\n".join([NAMESPACE, *ends, *rules]))
    said = lonely.did("matrix --offline -f town --quiet")
    assert "from" not in said.lines[0]
    assert max(map(len, said.lines)) <= 80
    assert lonely.did("matrix --offline -f town --quiet -o wide").lines[0].startswith("from \\ to")


HOSTS = """
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: h1}
spec: {bgp: {ipv4Address: 192.0.2.1/24, asNumber: 64512}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: h2}
spec: {bgp: {ipv4Address: 192.0.2.2/24, asNumber: 64512}}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {failsafeInboundHostPorts: [], failsafeOutboundHostPorts: []}
"""
HOST_ENDPOINT = """
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: h1, labels: {sort: host}}
spec: {node: h1, interfaceName: '*', expectedIPs: [192.0.2.1]}
"""
LET_BGP = """
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: let-bgp}
spec:
  selector: sort == 'host'
  types: [Ingress, Egress]
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [179]}}]
  egress: [{action: Allow, protocol: TCP, destination: {ports: [179]}}]
"""


def test_who_would_lock_himself_out_is_told_and_may_force_it(shell: Shell) -> None:
    shell.file("hosts.yaml", HOSTS)
    shell.did("apply -f hosts.yaml")
    shell.file("hep.yaml", HOST_ENDPOINT)
    for line in ("apply -f hep.yaml", "apply -f hep.yaml --dry-run"):
        said = shell.run(line)
        assert said.code == 1
        assert "hep.yaml:2:1: HostEndpoint h1 would lock the cluster out" in said.err
        assert "--force" in said.err
    shell.did("apply -f hep.yaml --force")
    shell.did("delete hep h1")
    shell.file("both.yaml", HOST_ENDPOINT + "---" + LET_BGP)
    shell.did("apply -f both.yaml")  # the policy goes first, so the host endpoint cuts nothing
    assert "would lock the cluster out" in shell.run("delete gnp let-bgp").err
    assert shell.run("get gnp let-bgp").code == 0
    shell.did("delete gnp let-bgp --force")


def test_the_examples_do_what_is_expected_of_them(lonely: Shell) -> None:
    """And the expectations notice when they do not."""
    examples = Path(__file__).parents[2] / "examples"
    said = lonely.did(f"test {examples}/expected -f {examples}")
    assert said.lines[-1].startswith("11 expectations: 11 met")
    copy = lonely.directory / "copy"
    shutil.copytree(examples, copy)
    text = (copy / "4-shop.yaml").read_text()
    (copy / "4-shop.yaml").write_text(text.replace(" && !has(canary)", ""))
    said = lonely.run("test copy/expected -f copy")
    assert (said.code, said.lines[0].split("  ")[:2]) == (1, ["FAIL", "deny: canary -> db tcp"])


def test_standard_input_is_a_cluster_too(lonely: Shell) -> None:
    """`helm template . | muslin why ...`."""
    said = lonely.run("why web db tcp/5432 --offline -f -", stdin=town())
    assert (said.code, said.lines[0].split("  ")[0]) == (0, "allowed")


def test_each_staged_policy_is_told_by_itself(both: Shell) -> None:
    """Two that do different things: which of them is to be enforced is asked one by one."""
    stage = POLICY.replace("kind: NetworkPolicy", "kind: StagedNetworkPolicy").replace("name: db", "name: NAME")
    both.file("town/staged.yaml", "---".join([
        stage.replace("NAME", "db").replace("PORT", "6379"),
        stage.replace("NAME", "job").replace("role == 'db'", "role == 'job'").replace("PORT", "80")]))
    both.did("apply -f town/staged.yaml")
    online, offline = both.did("staged"), both.did("staged --offline -f town --quiet")
    assert online.out == offline.out
    assert "StagedNetworkPolicy/shop/db" in online.lines
    assert "StagedNetworkPolicy/shop/job" in online.lines
    assert "    + tcp/6379" in online.lines
    assert "all of them" in online.lines
    assert "Allow" in both.did("why web db tcp/5432 -o json").out


def test_a_diff_of_files_tells_what_would_be_cut(lonely: Shell) -> None:
    lonely.file("main/hosts.yaml", HOSTS)
    lonely.file("branch/hosts.yaml", HOSTS + "---" + HOST_ENDPOINT)
    said = lonely.run("diff --offline -f main --to branch --quiet")
    assert said.code == 1
    cut = "cut  the BGP session of h1 with h2 (192.0.2.2) would end"
    assert any(line.startswith(cut) for line in said.lines), said.out


GUARDED = """
apiVersion: v1
kind: Node
metadata: {name: h1}
status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: h1-eth0, labels: {role: host}}
spec: {node: h1, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: hosts}
spec:
  selector: role == 'host'
  types: [Ingress]
  ingress:
  - {action: Allow, protocol: TCP, destination: {ports: [8443]}}
---
apiVersion: v1
kind: Pod
metadata: {name: named, namespace: shop}
spec: {nodeName: h1, containers: [{name: c, image: i, ports: [{name: pg, containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}
"""


@pytest.mark.parametrize(("line", "said"), [
    ("why outside host/h1 tcp/8443", "entering host h1, input of eth0: Allow by GlobalNetworkPolicy hosts"),
    ("why outside host/h1 tcp/80", "nearly allowed by GlobalNetworkPolicy hosts, ingress rule 0: destination.ports"),
    ("why host/h1 8.8.8.8 tcp/80", "leaving host h1, output of eth0: Deny by the end of the profiles"),
    ("why web host/h1 tcp/80", "leaving shop/web: Deny by Host endpointToHostAction"),
    ("why web named tcp/pg", "tcp/5432"),
    ("why web named icmp/3/4", "icmp type 3 code 4"),
    ("whois 10.96.0.10", "10.96.0.10 is the address of Service shop/front"),
    ("diff --delete hep/h1-eth0", "host endpoint h1-eth0: h1 is asked something else of what it sends and gets itself"),
])
def test_what_people_ask_of_hosts_ports_and_services(shell: Shell, line: str, said: str) -> None:
    shell.file("town/all.yaml", town() + "---" + GUARDED)
    assert said in shell.run(f"{line} --offline -f town --quiet").out


@pytest.mark.parametrize(("line", "said"), [
    ("why web web tcp/80", "speaks to itself within its own network"),
    ("why web named tcp/pgg", "has no tcp port named 'pgg': it has pg (tcp/5432)"),
    ("why web db tcp/80 -6", "shop/web has no IPv6 address, only 10.65.0.1"),
    ("why web db icmp/300", "0 to 255"),
    ("diff --delete hepp/h1-eth0", "there is no kind 'hepp'"),
])
def test_what_cannot_be_asked_is_said(shell: Shell, line: str, said: str) -> None:
    shell.file("town/all.yaml", town() + "---" + GUARDED)
    assert said in shell.run(f"{line} --offline -f town --quiet").err
