"""Every law of Calico's validator for policies: the good value is taken, the bad one beside it is refused with a mend.

A wrong policy that is let in is worse than a good one refused: nobody sees that a rule matches nothing.
"""

from typing import Any

import pytest

from modelwords import SPECS, Object, at, fields, made, rule
from muslin.model.fault import Reason
from muslin.model.validation import faults

TCP = {"protocol": "TCP"}
S, D = "source", "destination"


def test_good_objects_have_no_faults() -> None:
    """What Calico's documentation shows must pass."""
    assert {kind: fields(made(kind)) for kind in SPECS} == {kind: set() for kind in SPECS}


GOOD_RULES: list[Object] = [
    {}, {"protocol": "SCTP"}, {"protocol": 6, S: {"ports": [1]}}, {"protocol": "6", S: {"ports": [1]}},
    {**TCP, S: {"ports": ["http"]}}, {**TCP, D: {"ports": [80, "80", "8000:9000", "http-alt"]}},
    {"protocol": 7, S: {"ports": []}}, {"protocol": 17, S: {"notPorts": [1]}}, {D: {"ports": ["http"]}},
    {"protocol": "ICMP", "icmp": {"type": 0}}, {"protocol": "ICMPv6", "icmp": {"type": 128, "code": 255}},
    {"protocol": 1, "icmp": {"type": 8}}, {"protocol": "ICMP", "ipVersion": 4},
    {"notProtocol": "ICMPv6", "ipVersion": 6},
    {"ipVersion": 6, D: {"nets": ["fd00::/8"]}}, {S: {"nets": ["10.0.0.0/8"]}, D: {"notNets": ["10.1.0.0/16"]}},
    {S: {"services": {"name": "dns", "namespace": "kube-system"}}}, {S: {"namespaceSelector": "  global()  "}},
    {**TCP, S: {"services": {"name": "dns"}, "ports": [53]}}, {"metadata": {"annotations": {"why": "because"}}},
    {S: {"serviceAccounts": {"names": ["a"], "selector": "team == 'x'"}}}, {"notICMP": {"type": 8, "code": 0}},
    {"protocol": 112}, {"protocol": "255"}, {S: {"selector": "", "nets": None}, "protocol": None},
]


@pytest.mark.parametrize("good", GOOD_RULES, ids=str)
def test_a_rule_that_calico_takes_is_taken(good: Object) -> None:
    """Each of these stands in Calico's own tests or documentation."""
    assert fields(rule(**good)) == set()


BAD_RULES: list[tuple[Object, str, str]] = [
    ({"action": "deny"}, "action", "write Deny"),
    ({"action": "Permit"}, "action", "write Allow"),
    ({"action": "drop"}, "action", "write Deny"),
    ({"action": None}, "action", "write action: Allow, Deny, Pass or Log"),
    ({"action": True}, "action", 'put it in quotes: "true"'),
    ({"protocol": "tcp"}, "protocol", "write TCP"),
    ({"protocol": "UDP, TCP"}, "protocol", "write 2 rules, one for each of UDP and TCP"),
    ({"protocol": "any"}, "protocol", "leave protocol out"),
    ({"protocol": "0"}, "protocol", "from 1 to 255"),
    ({"protocol": 256}, "protocol", "from 1 to 255"),
    ({"protocol": 6.5}, "protocol", "6.5"),
    ({"notProtocol": "footcp"}, "notProtocol", "write"),
    ({D: {"ports": [80]}}, "destination.ports", "write protocol: TCP"),
    ({D: {"ports": ["http", "80:90"]}}, "destination.ports", "write protocol: TCP"),
    ({"protocol": 7, S: {"ports": [1]}}, "source.ports", "take ports out"),
    ({"protocol": "ICMP", S: {"notPorts": ["http"]}}, "source.notPorts", "take notPorts out"),
    ({"protocol": "UDPLite", S: {"ports": [1]}}, "source.ports", "take ports out"),
    ({**TCP, D: {"ports": [0]}}, "destination.ports[0]", "leave the ports out"),
    ({**TCP, D: {"ports": [65536]}}, "destination.ports[0]", "from 1 to 65535"),
    ({**TCP, D: {"ports": ["200:100"]}}, "destination.ports[0]", 'write "100:200"'),
    ({**TCP, D: {"ports": ["0:100"]}}, "destination.ports[0]", '"1:65535"'),
    ({**TCP, D: {"ports": ["8000-9000"]}}, "destination.ports[0]", 'write "8000:9000"'),
    ({**TCP, D: {"ports": ["80,443"]}}, "destination.ports[0]", "write a list: [80, 443]"),
    ({**TCP, D: {"ports": ["HTTP"]}}, "destination.ports[0]", "http-alt"),
    ({**TCP, D: {"ports": 80}}, "destination.ports", "write [80]"),
    ({**TCP, D: {"ports": [80.5]}}, "destination.ports[0]", "80.5"),
    ({**TCP, D: {"ports": list(range(1, 52))}}, "destination.ports", "split"),
    ({"protocol": "ICMP", "icmp": {"code": 0}}, "icmp.code", "write type"),
    ({"notICMP": {"code": 0}}, "notICMP.code", "write type"),
    ({"protocol": "ICMP", "icmp": {"type": 255}}, "icmp.type", "write 254"),
    ({"protocol": "ICMP", "icmp": {"type": 8, "code": 256}}, "icmp.code", "write 255"),
    ({"icmp": {"type": 8}}, "icmp", "write protocol: ICMP"),
    ({**TCP, "icmp": {"type": 8}}, "icmp", "write protocol: ICMP"),
    ({"protocol": "ICMP", "ipVersion": 6}, "ipVersion", "write ipVersion: 4"),
    ({"protocol": 58, "ipVersion": 4}, "ipVersion", "write ipVersion: 6"),
    ({"notProtocol": "ICMP", "ipVersion": 6}, "ipVersion", "write ipVersion: 4"),
    ({"ipVersion": 5}, "ipVersion", "one of them"),
    ({"ipVersion": "4"}, "ipVersion", "write 4"),
    ({S: {"nets": ["10.0.0.1/8"]}}, "source.nets[0]", "write 10.0.0.0/8, or 10.0.0.1/32"),
    ({S: {"nets": ["10.0.0.1"]}}, "source.nets[0]", "write 10.0.0.1/32"),
    ({S: {"nets": ["10.0.0.0/33"]}}, "source.nets[0]", "write 10.0.0.0/32"),
    ({S: {"nets": ["10.0.0.0/8 "]}}, "source.nets[0]", "without blanks"),
    ({S: {"nets": ["10.0.0.0/8,10.1.0.0/16"]}}, "source.nets[0]", "entry of its own"),
    ({S: {"nets": ["example.com"]}}, "source.nets[0]", "10.0.0.0/24"),
    ({S: {"nets": ["010.0.0.0/8"]}}, "source.nets[0]", "10.0.0.0/24"),
    ({S: {"nets": "10.0.0.0/8"}}, "source.nets", "write [10.0.0.0/8]"),
    ({S: {"nets": [""]}}, "source.nets[0]", "10.0.0.0/24"),
    ({S: {"nets": ["10.0.0.0/8", "10.0.0.0/8"]}}, "source.nets[1]", "take it out"),
    ({S: {"nets": ["10.0.0.0/8", "fd00::/8"]}}, "source.nets[1]", "a rule for IPv4 and one for IPv6"),
    ({S: {"nets": ["10.0.0.0/8"]}, D: {"nets": ["fd00::/8"]}}, "destination.nets[0]", "one for IPv6"),
    ({S: {"notNets": ["fd00::/8"]}, D: {"nets": ["10.0.0.0/8"]}}, "destination.nets[0]", "one for IPv6"),
    ({"ipVersion": 6, S: {"nets": ["10.0.0.0/8"]}}, "source.nets[0]", "ipVersion: 4"),
    ({S: {"notNets": ["0.0.0.0/0"]}}, "source.notNets[0]", "take it out"),
    ({D: {"notNets": ["::/0"]}}, "destination.notNets[0]", "take it out"),
    ({S: {"nets": [f"10.{n // 256}.{n % 256}.0/24" for n in range(257)]}}, "source.nets", "split"),
    ({S: {"selector": "thing=hello &"}}, "source.selector", "write `==`"),
    ({S: {"selector": "global()"}}, "source.selector", "write all()"),
    ({S: {"notSelector": "has(x"}}, "source.notSelector", ")"),
    ({S: {"namespaceSelector": "global() && all()"}}, "source.namespaceSelector", "global() alone"),
    ({S: {"namespaceSelector": "global()||has(x)"}}, "source.namespaceSelector", "global() alone"),
    ({S: {"selector": "x" * 1025}}, "source.selector", "split"),
    ({S: {"selector": {"app": "db"}}}, "source.selector", "role == 'db'"),
    ({S: {"serviceAccounts": {"selector": "a == b"}}}, "source.serviceAccounts.selector", '"b"'),
    ({S: {"services": {"namespace": "x"}}}, "source.services.name", "write name"),
    ({S: {"services": {"name": "x"}, "nets": ["10.0.0.0/8"]}}, "source.services", "take nets out"),
    ({S: {"services": {"name": "x"}, "notSelector": "has(a)"}}, "source.services", "take notSelector out"),
    ({S: {"services": {"name": "x"}, "namespaceSelector": "has(a)"}}, "source.services", "namespaceSelector"),
    ({S: {"services": {"name": "x"}, "serviceAccounts": {}}}, "source.services", "serviceAccounts"),
    ({S: {"services": {"name": "X_y"}}}, "source.services.name", "write x-y"),
    ({D: {"services": {"name": "x"}}}, "destination.services", "move it to source"),
    ({"http": {"methods": ["GET"]}}, "http", "match protocol and ports"),
    ({"action": "Deny", **TCP, "http": {"paths": [{"exact": "/foo"}, {"prefix": "/bar"}]}}, "http", "take http out"),
    ({"metadata": {"annotations": {"...": "x"}}}, "metadata.annotations[...]", "write"),
    ({"metadata": {"annotations": {"a": 1}}}, "metadata.annotations.a", 'put it in quotes: "1"'),
]


@pytest.mark.parametrize(("bad", "field", "mend"), BAD_RULES, ids=lambda part: part if isinstance(part, str) else "")
def test_a_bad_rule_is_refused_at_its_field_and_says_what_to_write(bad: Object, field: str, mend: str) -> None:
    """One slip, one fault, at the field that the user must change."""
    found = faults(rule(**bad))

    assert [fault.field for fault in found] == [f"spec.ingress[0].{field}"]
    assert mend in found[0].mend


def test_services_stand_on_the_far_side_only() -> None:
    """The near side is what the policy selects."""
    service = {"services": {"name": "dns", "namespace": "kube-system"}}

    assert fields(rule("egress", destination=service)) == set()
    assert fields(rule("egress", source=service)) == {"spec.egress[0].source.services"}
    assert fields(rule("egress", destination={**service, "ports": [53]}, protocol="UDP")) == {
        "spec.egress[0].destination.services"}


def test_http_is_read_on_the_way_in_only() -> None:
    """The proxy sits before the server."""
    assert fields(rule("egress", http={"methods": ["GET"]})) == {"spec.egress[0].http"}


def test_a_global_policy_must_say_whose_service_it_means() -> None:
    """It is in no namespace itself."""
    service = {"services": {"name": "dns"}}

    assert fields(rule("egress", "GlobalNetworkPolicy", destination=service)) == {
        "spec.egress[0].destination.services.namespace"}
    assert fields(rule("egress", "NetworkPolicy", destination=service)) == set()


GLOBAL: list[tuple[Object, str | None, str]] = [
    ({"doNotTrack": True, "applyOnForward": True}, None, ""),
    ({"preDNAT": True, "applyOnForward": True, "ingress": [{"action": "Allow"}], "types": ["Ingress"]}, None, ""),
    ({"applyOnForward": True}, None, ""),
    ({"doNotTrack": True, "preDNAT": True, "applyOnForward": True}, "spec.preDNAT", "keep one"),
    ({"doNotTrack": True}, "spec.applyOnForward", "write applyOnForward: true"),
    ({"preDNAT": True, "applyOnForward": False}, "spec.applyOnForward", "write applyOnForward: true"),
    ({"preDNAT": True, "applyOnForward": True, "egress": [{"action": "Allow"}]}, "spec.egress", "without preDNAT"),
    ({"preDNAT": True, "applyOnForward": True, "types": ["Ingress", "Egress"]}, "spec.types[1]", "types: [Ingress]"),
    ({"selector": "global()"}, "spec.selector", "write all()"),
    ({"serviceAccountSelector": "global()"}, "spec.serviceAccountSelector", "write all()"),
    ({"namespaceSelector": "global()"}, "spec.namespaceSelector", "write all()"),
    ({"doNotTrack": "yes"}, "spec.doNotTrack", "write true"),
    ({"types": ["Egress", "Egress"]}, "spec.types[1]", "take it out"),
    ({"types": ["egress"]}, "spec.types[0]", "write Egress"),
    ({"types": ["unexpected"]}, "spec.types[0]", "write one of them"),
    ({"types": []}, None, ""),
    ({"types": ["Egress"], "ingress": [{"action": "Allow"}]}, None, ""),
    ({"order": "10"}, "spec.order", "write 10, without quotes"),
    ({"order": "first"}, "spec.order", "write 100"),
    ({"order": -7.5}, None, ""),
    ({"order": float("nan")}, "spec.order", "write 100"),
    ({"order": float("inf")}, "spec.order", "write 100"),
    ({"order": True}, "spec.order", "write 100"),
    ({"tier": "Security"}, "spec.tier", "write security"),
    ({"performanceHints": ["AssumeNeededOnEveryNode"]}, None, ""),
    ({"performanceHints": ["assumeneededoneverynode"]}, "spec.performanceHints[0]", "AssumeNeededOnEveryNode"),
    ({"ingress": [{"action": "Allow"}] * 1024}, None, ""),
    ({"ingress": [{"action": "Allow"}] * 1025}, "spec.ingress", "split"),
    ({"ingress": {"action": "Allow"}}, "spec.ingress", "put a dash"),
    ({"ingress": [None]}, "spec.ingress[0]", "take it out"),
    ({"ingress": None, "egress": None, "order": None}, None, ""),
]


@pytest.mark.parametrize(("spec", "field", "mend"), GLOBAL, ids=str)
def test_laws_of_a_global_policy(spec: Object, field: str | None, mend: str) -> None:
    """Good beside bad."""
    found = faults(made("GlobalNetworkPolicy", **spec))

    assert [fault.field for fault in found] == ([field] if field else [])
    assert all(mend in fault.mend for fault in found)


UNKNOWN: list[tuple[Object, str, str]] = [
    (made("NetworkPolicy", destination={"nets": []}), "spec.destination", "spec.ingress[].destination"),
    (made("NetworkPolicy", selectr="x"), "spec.selectr", "did you mean selector?"),
    (made("NetworkPolicy", Selector="x"), "spec.Selector", "did you mean selector?"),
    (made("NetworkPolicy", podSelector={}), "spec.podSelector", "write selector"),
    (made("NetworkPolicy", policyTypes=[]), "spec.policyTypes", "write types"),
    (made("NetworkPolicy", doNotTrack=True), "spec.doNotTrack", "kind: GlobalNetworkPolicy"),
    (made("NetworkPolicy", namespaceSelector="x"), "spec.namespaceSelector", "kind: GlobalNetworkPolicy"),
    (made("NetworkPolicy", labels={}), "spec.labels", "move it to metadata.labels"),
    (rule(**{"from": []}), "spec.ingress[0].from", "write source"),
    (rule(ports=[80]), "spec.ingress[0].ports", "spec.ingress[].destination.ports"),
    (rule(source={"domains": ["a.com"]}), "spec.ingress[0].source.domains", "GlobalNetworkSet"),
    (rule(source={"ipBlock": {}}), "spec.ingress[0].source.ipBlock", "write nets"),
    (rule(source={"net": "10.0.0.0/8"}), "spec.ingress[0].source.net", "write nets"),
    (rule(source={"notnets": []}), "spec.ingress[0].source.notnets", "did you mean notNets?"),
    ({**made("Tier"), "order": 5}, "order", "move it to spec.order"),
    ({**made("Tier"), "name": "x"}, "name", "move it to metadata.name"),
    (made("IPPool", blocksize=26), "spec.blocksize", "did you mean blockSize?"),
    (made("FelixConfiguration", ipv6support=True), "spec.ipv6support", "did you mean ipv6Support?"),
    (made("FelixConfiguration", zzz=True), "spec.zzz", "take it out"),
]


@pytest.mark.parametrize(("obj", "field", "mend"), UNKNOWN, ids=lambda part: part if isinstance(part, str) else "")
def test_an_unknown_field_is_never_dropped_and_its_mend_guesses_what_was_meant(
    obj: Object, field: str, mend: str
) -> None:
    """A field passed over in silence is a policy that does something else than it says."""
    found = faults(obj)

    assert [(fault.field, fault.reason) for fault in found] == [(field, Reason.UNKNOWN)]
    assert mend in found[0].mend


NAMES: list[tuple[str, str, bool]] = [
    ("NetworkPolicy", "thing", True), ("NetworkPolicy", "default.thing", True), ("NetworkPolicy", "sec.thing", True),
    ("NetworkPolicy", "knp.default.a.b.c", True), ("NetworkPolicy", "ossg.default.6f1c-2a", True),
    ("NetworkPolicy", "x" * 253, True), ("NetworkPolicy", "x" * 254, False), ("NetworkPolicy", "t.h.i.ng", False),
    ("NetworkPolicy", "tHiNg", False), ("NetworkPolicy", "a_b", False), ("NetworkPolicy", "-a", False),
    ("GlobalNetworkPolicy", "thing", True), ("GlobalNetworkPolicy", "default.thing", True),
    ("GlobalNetworkPolicy", "knp.default.thing", False), ("GlobalNetworkPolicy", "t~!s.h.i.ng", False),
    ("Tier", "sec", True), ("Tier", "a.b", False), ("Tier", "x" * 63, True), ("Tier", "x" * 64, False),
    ("Profile", "kns.default", True), ("Profile", "projectcalico-default-allow", False), ("Profile", "A", False),
    ("GlobalNetworkSet", "a.b.c", True), ("GlobalNetworkSet", "test$set", False), ("GlobalNetworkSet", "", False),
    ("ClusterInformation", "default", True), ("ClusterInformation", "mine", False), ("IPPool", "pool.name", True),
    ("Node", "h1.example.com", True), ("Node", "H1", False),
]


@pytest.mark.parametrize(("kind", "name", "good"), NAMES)
def test_names_per_kind(kind: str, name: str, good: bool) -> None:
    """Policies take one dot (an old tier prefix), tiers none, the others any."""
    assert fields(made(kind, name)) == (set() if good else {"metadata.name"})


def test_a_generated_name_needs_no_name() -> None:
    """kubectl create with generateName."""
    obj = made("GlobalNetworkSet")
    obj["metadata"] = {"generateName": "set-"}

    assert fields(obj) == set()


METADATA: list[tuple[Object, str | None]] = [
    ({"labels": {"projectcalico.org/Label": "x" * 63, "a": ""}}, None),
    ({"labels": {"projectcalico.org/label": "x" * 64}}, "metadata.labels[projectcalico.org/label]"),
    ({"labels": {"ProjectCalico.org/label": "v"}}, "metadata.labels[ProjectCalico.org/label]"),
    ({"labels": {".a": "v"}}, "metadata.labels[.a]"),
    ({"labels": {"a!b": "v"}}, "metadata.labels[a!b]"),
    ({"labels": {"a": "a b"}}, "metadata.labels.a"),
    ({"labels": {"a": 1}}, "metadata.labels.a"),
    ({"labels": {"a": True}}, "metadata.labels.a"),
    ({"labels": {"x" * 64: "v"}}, f"metadata.labels.{'x' * 64}"),
    ({"labels": ["a"]}, "metadata.labels"),
    ({"annotations": {"ProjectCalico.org/Label": "any text at all: ü"}}, None),
    ({"annotations": {"projectcalico.org$label": "v"}}, "metadata.annotations[projectcalico.org$label]"),
    ({"annotations": {"key": "x" * (256 * 1024 - 3)}}, None),
    ({"annotations": {"key": "x" * (256 * 1024 - 2)}}, "metadata.annotations"),
    ({"resourceVersion": "7", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 3,
      "selfLink": "/x", "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}], "finalizers": ["a/b"],
      "ownerReferences": [{"kind": "Pod"}]}, None),
    ({"creationTimestamp": None}, None),
    ({"lables": {}}, "metadata.lables"),
]


@pytest.mark.parametrize(("metadata", "field"), METADATA, ids=lambda part: str(part)[:60])
def test_metadata(metadata: Object, field: str | None) -> None:
    """Labels obey Kubernetes' rules; what an export carries (resourceVersion, uid, managedFields) is taken."""
    obj = made("GlobalNetworkSet")
    obj["metadata"].update(metadata)

    assert fields(obj) == ({field} if field else set())


ENVELOPES: list[tuple[Any, str, str]] = [
    ({"kind": "Tier", "metadata": {"name": "a"}}, "apiVersion", "write apiVersion: projectcalico.org/v3"),
    ({"apiVersion": "projectcalico.org/v3", "metadata": {"name": "a"}}, "kind", "write kind"),
    ({"apiVersion": "projectcalico.org/v3", "kind": "tier"}, "kind", "write kind: Tier"),
    ({"apiVersion": "projectcalico.org/v3", "kind": "gnp"}, "kind", "write kind: GlobalNetworkPolicy"),
    ({"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolcy"}, "kind", "write kind: NetworkPolicy"),
    ({"apiVersion": "projectcalico.org/v3", "kind": "GlobalThreatFeed"}, "kind", "take the document out"),
    ({"apiVersion": "projectcalico.org/v3", "kind": "CalicoNodeStatus"}, "kind", "take the document out"),
    ({"apiVersion": "projectcalico.org/v3", "kind": 7}, "kind", "write kind"),
    ({"apiVersion": "projectcalico.org/v2", "kind": "Tier", "metadata": {"name": "a"}}, "apiVersion", "org/v3"),
    ({"apiVersion": "projectcalico.org/v3", "kind": "Namespace", "metadata": {"name": "a"}}, "apiVersion", ": v1"),
    (None, "", "write a mapping"), ([], "", "write a mapping"), ("text", "", "write a mapping"), (3.5, "", "write"),
]


@pytest.mark.parametrize(("obj", "field", "mend"), ENVELOPES, ids=lambda part: str(part)[:60])
def test_what_is_no_object_of_ours(obj: Any, field: str, mend: str) -> None:
    """The first thing to mend is what the object claims to be."""
    found = faults(obj)

    assert [fault.field for fault in found] == [field]
    assert mend in found[0].mend


def test_a_policy_without_a_spec_is_refused() -> None:
    """It would select everything and allow nothing."""
    obj = made("NetworkPolicy")
    del obj["spec"]

    assert fields(obj) == {"spec"}
    assert fields({**obj, "spec": None}) == {"spec"}
    assert fields({**obj, "spec": []}) == {"spec"}


TIERS: list[tuple[str, Object, str | None]] = [
    ("default", {"order": 1_000_000, "defaultAction": "Deny"}, None), ("default", {"order": ...}, None),
    ("default", {"order": 5}, "spec.order"), ("default", {"order": ..., "defaultAction": "Pass"}, "spec.defaultAction"),
    ("kube-admin", {"order": 1000.0, "defaultAction": "Pass"}, None), ("kube-admin", {"order": 1}, "spec.order"),
    ("kube-baseline", {"order": 10_000_000, "defaultAction": "Pass"}, None),
    ("kube-baseline", {"order": 10_000_000, "defaultAction": "Deny"}, "spec.defaultAction"),
    ("mine", {"order": 5, "defaultAction": "Pass"}, None), ("mine", {"defaultAction": "Allow"}, "spec.defaultAction"),
    ("mine", {"defaultAction": "pass"}, "spec.defaultAction"),
]


@pytest.mark.parametrize(("name", "spec", "field"), TIERS, ids=str)
def test_tiers_that_always_exist_keep_their_place_and_action(name: str, spec: Object, field: str | None) -> None:
    """Other tiers go by them."""
    assert fields(made("Tier", name, **spec)) == ({field} if field else set())


NETS: list[tuple[list[Any], str | None]] = [
    (["10.0.0.1", "11.0.0.0/8", "dead:beef::", "dead:beef::/96"], None), (["garbage"], "spec.nets[0]"),
    (["10.0.0.1/8"], "spec.nets[0]"), (["10.0.0.0/8", 7], "spec.nets[1]"), ([], None),
]


@pytest.mark.parametrize("kind", ["NetworkSet", "GlobalNetworkSet"])
@pytest.mark.parametrize(("nets", "field"), NETS, ids=str)
def test_sets_hold_addresses_and_prefixes_of_both_families(kind: str, nets: list[Any], field: str | None) -> None:
    """As a rule's selector will match them."""
    assert fields(made(kind, nets=nets)) == ({field} if field else set())


def test_a_set_cannot_claim_a_namespace() -> None:
    """namespaceSelector goes by that label."""
    obj = made("GlobalNetworkSet")
    obj["metadata"]["labels"] = {"projectcalico.org/namespace": "shop"}

    assert fields(obj) == {"metadata.labels[projectcalico.org/namespace]"}


def test_a_profile_hands_down_labels_and_may_pass() -> None:
    """Pass in a profile goes on to the next one; Calico takes it."""
    good = made("Profile", ingress=[{"action": "Pass"}], labelsToApply={"a.b/c": "x" * 63})
    bad = made("Profile", ingress=[{"action": "pass"}], labelsToApply={"a.b/c": "x" * 64})

    assert fields(good) == set()
    assert fields(bad) == {"spec.ingress[0].action", "spec.labelsToApply[a.b/c]"}


def test_all_faults_come_at_once() -> None:
    """A file is mended in one round."""
    obj = made("NetworkPolicy", "Bad_Name", order="ten", selectr="", types=["ingress"],
               ingress=[{"action": "deny"}, {"protocol": "tcp"}])

    assert fields(obj) == {"metadata.name", "spec.order", "spec.selectr", "spec.types[0]", "spec.ingress[0].action",
                           "spec.ingress[1].action", "spec.ingress[1].protocol"}


def test_a_selector_fault_points_at_its_letter() -> None:
    """The caret stands under the wrong sign, and the offset lets an editor jump there."""
    [found] = at(rule(source={"selector": "role = 'db'"}), "spec.ingress[0].source.selector")

    assert found.message.splitlines()[1:] == ["    role = 'db'", "         ^"]
    assert found.offset == 5
