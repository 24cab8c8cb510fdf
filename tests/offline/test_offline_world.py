"""A cluster out of files: what Kubernetes' documents become, and what is refused."""

from __future__ import annotations

from textwrap import dedent

import pytest

from muslin.explain import question
from muslin.explain.ends import Ambiguous, Unknown
from muslin.explain.question import Question
from muslin.model import documents
from muslin.offline import Assembly, World, assemble, is_foreign

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, labels: {app: %s}}
spec:
  serviceAccountName: robot
  containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]
status: {podIP: %s}
"""
WEB, DB = POD % ("web", "shop", "web", "10.0.0.1"), POD % ("db", "shop", "db", "10.0.0.2")
ONLY_WEB = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: http}]
"""


def assembled(*texts: str) -> Assembly:
    reading = documents.read("\n---\n".join(map(dedent, texts)), "all.yaml", is_foreign)
    found = assemble(reading.objects, reading.foreign)
    return Assembly(found.world, (*reading.faults, *found.faults))


def world(*texts: str) -> World:
    found = assembled(*texts)
    assert not found.faults, found.faults
    return found.world


def verdict(of: World, source: str, destination: str, protocol: str = "tcp", port: int = 8080) -> str:
    ends = of.directory.resolve(source), of.directory.resolve(destination)
    packet = question.packet_of(Question(protocol=protocol, port=port), *ends)
    return str(question.decided(of, *ends, packet).verdict)


def names(of: World) -> list[str]:
    return [end.called for end in of.directory.workloads]


def maker(kind: str, name: str, labels: str, *, group: str = "apps/v1", more: str = "") -> str:
    return f"""
apiVersion: {group}
kind: {kind}
metadata: {{name: {name}, namespace: shop{more}}}
spec: {{template: {{metadata: {{labels: {labels}}}, spec: {{containers: [{{name: c}}]}}}}}}
"""


def test_a_pod_is_a_workload_with_its_labels_ports_and_namespace() -> None:
    town = world(WEB, DB, POD % ("other", "shop", "other", "10.0.0.3"), ONLY_WEB)
    assert verdict(town, "web", "db") == "Allow"
    assert verdict(town, "other", "db") == "Deny"
    assert verdict(town, "web", "db", port=8081) == "Deny"


def test_without_policy_everything_is_allowed_as_in_kubernetes() -> None:
    town = world(WEB, DB)
    assert verdict(town, "web", "db", "udp", 53) == "Allow"
    assert verdict(town, "203.0.113.9", "db") == "Allow"


def test_the_line_of_a_converted_rule_is_that_of_the_rule_in_the_file() -> None:
    town = world(WEB, DB, ONLY_WEB)
    ends = town.directory.resolve("web"), town.directory.resolve("db")
    packet = question.packet_of(Question(protocol="tcp", port=8080), *ends)
    found = question.answer(town, *ends, packet, question.decided(town, *ends, packet), where=town.where)
    line = found["ingress"]["decided_by"]["line"]
    text = "\n---\n".join(map(dedent, (WEB, DB, ONLY_WEB))).splitlines()
    assert "from:" in text[line - 1]


def test_a_service_account_hands_down_its_labels() -> None:
    account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: robot, namespace: shop, labels: {trusted: 'yes'}}"
    policy = """
        apiVersion: projectcalico.org/v3
        kind: NetworkPolicy
        metadata: {name: db, namespace: shop}
        spec:
          selector: app == 'db'
          ingress:
          - {action: Allow, source: {serviceAccounts: {selector: trusted == 'yes'}}}
    """
    assert verdict(world(WEB, DB, account, policy), "web", "db") == "Allow"
    assert verdict(world(WEB, DB, policy), "web", "db") == "Deny"


def test_a_namespace_that_nobody_declares_exists_where_a_pod_stands() -> None:
    """A chart does not bring the namespace that it is installed into."""
    policy = ONLY_WEB.replace("podSelector: {matchLabels: {app: web}}",
                              "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ops}}")
    town = world(WEB, DB, POD % ("probe", "ops", "probe", "10.0.0.9"), policy)
    assert verdict(town, "probe", "db") == "Allow"
    assert verdict(town, "web", "db") == "Deny"


@pytest.mark.parametrize(("kind", "group"), [
    ("Deployment", "apps/v1"), ("StatefulSet", "apps/v1"), ("DaemonSet", "apps/v1"), ("ReplicaSet", "apps/v1"),
    ("Job", "batch/v1"), ("ReplicationController", "v1")])
def test_a_maker_of_pods_is_one_workload(kind: str, group: str) -> None:
    assert names(world(maker(kind, "web", "{app: web}", group=group))) == ["shop/web"]


def test_a_cron_job_is_one_workload() -> None:
    text = """
        apiVersion: batch/v1
        kind: CronJob
        metadata: {name: nightly}
        spec: {jobTemplate: {spec: {template: {metadata: {labels: {app: n}}, spec: {containers: [{name: c}]}}}}}
    """
    assert names(world(text)) == ["default/nightly"]


def test_a_pod_that_is_there_stands_for_itself_and_not_its_maker_too() -> None:
    """`kubectl get all -o yaml`: the Deployment, the ReplicaSet of it, and its Pods."""
    owned = ", ownerReferences: [{kind: Deployment, name: web, controller: true}]"
    replicas = maker("ReplicaSet", "web-abc", "{app: web}", more=owned)
    pod = WEB.replace("name: web, namespace", "name: web-abc-1, ownerReferences: [{kind: ReplicaSet, name: web-abc, "
                      "controller: true}], namespace")
    deployment = maker("Deployment", "web", "{app: web}")
    assert names(world(deployment, replicas)) == ["shop/web"]
    assert names(world(deployment, replicas, pod)) == ["shop/web-abc-1"]


def test_two_makers_of_one_name_are_two_workloads() -> None:
    town = world(maker("Deployment", "web", "{app: web}"), maker("StatefulSet", "web", "{app: store}"))
    assert sorted(names(town)) == ["shop/web", "shop/web-statefulset"]


def test_pods_that_ended_and_pods_of_the_host_are_no_workloads() -> None:
    over = WEB.replace("podIP:", "phase: Succeeded, podIP:")
    at_home = DB.replace("spec:", "spec:\n  hostNetwork: true")
    assert names(world(over, at_home)) == []


def test_addresses_are_made_up_alike_whoever_else_is_there() -> None:
    """Two versions of the files are compared: what did not change must not look changed."""
    web, more = maker("Deployment", "web", "{app: web}"), [maker("Deployment", f"x{n}", "{app: x}") for n in range(40)]
    alone, crowded = world(web), world(*more, web)
    first = alone.directory.resolve("web").addresses
    assert first == crowded.directory.resolve("web").addresses
    assert first[0].startswith("198.1")
    assert set(first) <= alone.made_up
    assert len({end.addresses for end in crowded.directory.workloads}) == 41


def test_made_up_addresses_are_of_the_pools_that_the_files_declare() -> None:
    pool = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: p}\nspec: {cidr: %s}"
    other = pool.replace("p}", "q}")
    town = world(maker("Deployment", "web", "{app: web}"), pool % "10.99.0.0/16", other % "fd99::/64")
    assert [address.rpartition(".")[0][:6] or address[:4] for address in town.directory.resolve("web").addresses] == [
        "10.99.", "fd99"]


def test_what_cannot_matter_is_counted_and_passed_over() -> None:
    found = assembled(WEB, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {mode: 010}",
                      "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: c}", "replicas: 3\n")
    assert not found.faults
    assert "3 documents passed over (1 ConfigMap, 1 Certificate, 1 no resource)" in found.world.notes[-1]


@pytest.mark.parametrize(("text", "said"), [
    ("apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: x}", "write kind: Deployment"),
    ("apiVersion: v1\nkind: Deployment\nmetadata: {name: x}", "write apiVersion: apps/v1"),
    ("apiVersion: v1\nkind: Namespce\nmetadata: {name: x}", "write kind: Namespace"),
    ("apiVersion: v1\nkind: Pod\nspec: {containers: []}", "metadata.name is missing"),
    ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}", "spec is missing"),
    ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nstatus: {podIP: 10.0.0.300}", "'10.0.0.300'"),
    ("apiVersion: v1\nkind: Pod\nmetadata: {name: x, labels: [a]}", "a list where"),
    ("apiVersion: projectcalico.org/v3\nkind: NetworkPolcy\nmetadata: {name: x}", "write kind: NetworkPolicy"),
    ("apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: x}\nspec: {tier: nowhere}",
     'there is no tier "nowhere" in these files'),
])
def test_what_would_make_the_answer_wrong_is_a_fault_with_its_line(text: str, said: str) -> None:
    found = assembled(WEB, text)
    assert any(said in str(fault) for fault in found.faults), found.faults
    assert all(str(fault).startswith("all.yaml:") for fault in found.faults)


def test_a_name_that_nobody_has_is_answered_as_online() -> None:
    town = world(WEB, DB, POD % ("web", "ops", "x", "10.0.0.7"))
    with pytest.raises(Unknown, match="did you mean shop/db"):
        town.directory.resolve("shop/dv")
    with pytest.raises(Ambiguous, match="could be 2 workloads"):
        town.directory.resolve("web")
    with pytest.raises(Ambiguous, match="is a prefix"):
        town.directory.resolve("10.0.0.0/8")
    assert town.directory.resolve("outside").sort == "outside"


def test_a_rule_that_names_a_service_means_the_pods_that_it_selects() -> None:
    """A chart has no EndpointSlices; a cluster makes them."""
    service = """
        apiVersion: v1
        kind: Service
        metadata: {name: db, namespace: shop}
        spec: {selector: {app: db}, ports: [{port: 80, targetPort: http}]}
    """
    policy = """
        apiVersion: projectcalico.org/v3
        kind: NetworkPolicy
        metadata: {name: web, namespace: shop}
        spec:
          selector: app == 'web'
          types: [Egress]
          egress: [{action: Allow, destination: {services: {name: db, namespace: shop}}}]
    """
    town = world(WEB, DB, OTHER_POD, service, policy)
    assert verdict(town, "web", "db", port=8080) == "Allow"
    assert verdict(town, "web", "db", port=80) == "Deny"
    assert verdict(town, "web", "other", port=8080) == "Deny"
    assert verdict(world(WEB, DB, policy), "web", "db", port=8080) == "Deny"


OTHER_POD = POD % ("other", "shop", "other", "10.0.0.3")
