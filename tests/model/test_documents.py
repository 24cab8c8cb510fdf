"""Files as people keep them: every fault of every document, each in its line."""

from pathlib import Path
from textwrap import dedent

import pytest

from muslin.model.documents import Reading, expects, read
from muslin.offline import is_foreign
from muslin.offline.expectations import expectations, spelled

NAME = "shop.yaml"


def reading(text: str) -> Reading:
    return read(dedent(text).lstrip("\n"), NAME)


def said(text: str) -> list[str]:
    """The faults, as a terminal shows them."""
    return [str(fault) for fault in reading(text).faults]


GOOD = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  selector: app == 'web'
  ingress:
  - action: Allow
    protocol: TCP
    destination:
      ports: [80, "443"]
  - action: Deny
"""


def test_an_object_knows_the_lines_of_its_fields() -> None:
    """`why` names the line of a rule, the server's refusals are shown in the file."""
    [located] = read("# a comment\n---\n" + GOOD, NAME).objects

    assert (located.file, located.line, located.column) == (NAME, 3, 1)
    assert located.object["spec"]["ingress"][0]["destination"]["ports"] == [80, "443"]
    assert located.position(("spec", "ingress", 0)) == (11, 5)
    assert located.position(("spec", "ingress", 1)) == (15, 5)
    assert located.position(("spec", "selector")) == (9, 13)
    assert located.position(("spec", "ingress", 0, "destination", "ports", 1)) == (14, 19)
    assert located.position(("spec", "ingress")) == (10, 3)
    assert located.position(("spec", "ingress", 1, "source", "nets", 0)) == (15, 5)
    assert located.position(("nothing",)) == (3, 1)


def test_every_fault_of_every_document_is_named_at_once() -> None:
    """Whoever mends a file should not have to run the command ten times."""
    faults = said("""
        apiVersion: projectcalico.org/v3
        kind: NetworkPolicy
        metadata: {name: a}
        spec:
          selector: app = 'web'
          ingress:
          - action: deny
            protocol: UDP, TCP
            destination:
              domains: [example.com]
          destination: {ports: [80]}
        ---
        kind: NetworkPolcy
        """)

    assert [fault.partition(", ")[0] for fault in faults[:2] + faults[3:]] == [
        "shop.yaml:5:17: the selector does not parse: `=` is not an operator",
        "shop.yaml:7:13: 'deny' is not a word for action",
        "shop.yaml:10:7: there is no field 'domains' here",
        "shop.yaml:11:3: there is no field 'destination' here",
        "shop.yaml:13:1: apiVersion is missing",
        "shop.yaml:13:7: there is no kind 'NetworkPolcy'",
    ]
    assert faults[0].endswith("write `==`\n    app = 'web'\n        ^")
    assert faults[1].endswith("it must be Allow, Deny, Pass or Log, write Deny")
    assert faults[2].startswith("shop.yaml:8:15: 'UDP, TCP' names 2 protocols")
    assert "move it to spec.ingress[].destination or spec.egress[].destination" in faults[4]
    assert faults[6].endswith("write kind: NetworkPolicy")


def test_a_broken_document_hides_no_other() -> None:
    """The parser stops at the first error; we go on at the next separator."""
    text = f"a: [1\n---\n{GOOD}---\nb: 'x\n---\n\tc: d\n---\n{GOOD}---\nkind: X: Y\n"
    result = read(text, NAME)

    assert [located.line for located in result.objects] == [3, 21]
    assert [(fault.line, fault.what) for fault in result.faults] == [
        (1, "a list in brackets that does not end"), (17, "a quote that is not closed"), (19, "a tab"),
        (35, "a colon where no value can begin"),
    ]


@pytest.mark.parametrize(("text", "place", "mend"), [
    ("a: b\n\tc: d", (2, 1), "indent with blanks: YAML knows no tabs there"),
    ("a: @x", (1, 4), "put the text in quotes"), ("a: `x`", (1, 4), "put the text in quotes"),
    ("a: %x", (1, 4), "put the text in quotes"), ("a: *", (1, 5), "put the text in quotes"),
    ("a: b: c", (1, 5), "put a text that has ': ' in it in quotes, or indent the line like its neighbours"),
    ("a: b\n c: d", (2, 3), "put a text that has ': ' in it in quotes, or indent the line like its neighbours"),
    ("a:\n  b: c\n d: e", (3, 2), "indent it like its neighbours, and write key: value"),
    ('a: "\\d"', (1, 5), "write two backslashes, or use single quotes"),
    ("a: {{ .Values.x }}", (1, 5), "render the template first, or put the text in quotes"),
    ("{{- if x }}\na: b", (1, 3), "render the template first, or put the text in quotes"),
    ("{a: b", (1, 1), "put a comma between its fields, and a } at its end"),
    ("a: \x00", (1, 4), "save the file as UTF-8 text"), ("PK\x03\x04", (1, 1), "save the file as UTF-8 text"),
    ("\ud800", (1, 1), "save the file as UTF-8 text"),
    ("a: [1,\n---\n", (2, 1), "write it, or close the bracket that is open"),
    ("{}{}", (1, 3), "write --- on a line of its own before it"),
])
def test_what_is_no_yaml_is_explained(text: str, place: tuple[int, int], mend: str) -> None:
    """The parser speaks of tokens; people have forgotten a quote."""
    faults = read(text, NAME).faults

    assert ((fault := faults[-1]).line, fault.column, fault.mend) == (*place, mend), faults


SET = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: a}\n"


@pytest.mark.parametrize(("rest", "fault"), [
    ("spec: {nets: [10.0.0.0/8], nets: []}",
     "4:28: the key 'nets' stands twice, it stands in line 4 already, take one of them out, or join them"),
    ("spec: {nets: [*x]}", "4:15: there is no &x before *x, write the value out"),
    ("spec: &x {nets: *x}", "4:17: *x stands inside its own &x, write the value out"),
    ("spec: !Ref x", "4:7: the tag !Ref, resources have plain values, take the tag out"),
    ("spec: {nets: !!set {a, b}}", "4:14: the tag !!set, resources have plain values, take the tag out"),
    ("spec: {? [a]: b}", "4:10: a key that is no text, write key: value"),
    ("spec: {<<: 5}", ("4:12: << with something that is no mapping, it takes over the fields of a mapping, "
                      "write <<: *name, with the name of an anchor")),
])
def test_what_yaml_allows_and_a_resource_is_not(rest: str, fault: str) -> None:
    """Nothing is dropped or guessed in silence."""
    faults = [str(one) for one in read(SET + rest, NAME).faults]

    assert f"{NAME}:{fault}" in faults


@pytest.mark.parametrize(("labels", "fault"), [
    ("{a: yes}", '3:33: yes (YAML reads true) where text belongs, put it in quotes: "yes"'),
    ("{a: 1.10}", '3:33: 1.10 (YAML reads 1.1) where text belongs, put it in quotes: "1.10"'),
    ("{a: 0x1F}", '3:33: 0x1F (YAML reads 31) where text belongs, put it in quotes: "0x1F"'),
    ("{a: 007}", '3:33: 007 (YAML reads 7) where text belongs, put it in quotes: "007"'),
    ("{a: 5}", '3:33: 5 where text belongs, put it in quotes: "5"'),
    ("{on: a}", '3:30: the key on is no text, YAML takes it for something else, put it in quotes: "on"'),
    ("{1: a}", '3:30: the key 1 is no text, YAML takes it for something else, put it in quotes: "1"'),
])
def test_words_that_yaml_takes_for_something_else_are_given_back_as_written(labels: str, fault: str) -> None:
    """Quoting "true" where the file says yes would be a third thing."""
    text = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: a, labels: {labels}}}\n"

    assert [str(one) for one in read(text, NAME).faults] == [f"{NAME}:{fault}"]


@pytest.mark.parametrize(("word", "text"), [
    ("true", "true"), ("yes", "true"), ("off", "false"), ("5", "5"), ("1.5", "1.5"), ('"on"', "on"),
    ("2026-11-22", "2026-11-22"),
])
def test_text_without_quotes_is_text_where_calicoctl_takes_it_for_text(word: str, text: str) -> None:
    """`routeReflector: true` is how Calico's users label their nodes."""
    node = f"apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {{name: a, labels: {{b: {word}}}}}\n"

    assert read(node, NAME).objects[0].object["metadata"]["labels"] == {"b": text}


@pytest.mark.parametrize("word", ["1.10", "007", "0x1F", "1_000", "1e3", ".inf"])
def test_numbers_that_would_lose_their_letters_are_no_text(word: str) -> None:
    """Nobody means 1.1 who writes 1.10."""
    node = f"apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {{name: a, labels: {{b: {word}}}}}\n"
    [fault] = read(node, NAME).faults

    assert fault.mend == f'put it in quotes: "{word}"'


def test_text_is_made_also_below_lists_and_aliases_and_nowhere_else() -> None:
    """An alias may stand for text in one place and for a truth value in another."""
    text = """
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default, annotations: {a: &yes yes, 5: b}}
spec: {nodeToNodeMeshEnabled: *yes, nodeMeshMaxRestartTime: 90, ignoredInterfaces: [1]}
"""
    reading = read(text.replace("5: b", "c: 5"), NAME)

    assert [fault.mend for fault in reading.faults] == ["say the unit: 90s"]
    obj = read(text.replace("5: b", "c: 5").replace(": 90,", ": 90s,"), NAME).objects[0].object
    assert obj["metadata"]["annotations"] == {"a": "true", "c": "5"}
    assert obj["spec"]["nodeToNodeMeshEnabled"] is True
    assert obj["spec"]["ignoredInterfaces"] == ["1"]


@pytest.mark.parametrize(("head", "mend"), [
    ("apiVersion: extensions/v1beta1\nkind: NetworkPolicy", "write apiVersion: networking.k8s.io/v1"),
    ("apiVersion: networking.k8s.io/v1beta1\nkind: NetworkPolicy", "write apiVersion: networking.k8s.io/v1"),
])
def test_old_versions_of_kubernetes_own_policies_are_named(head: str, mend: str) -> None:
    """The rest of the document is judged in the words of Kubernetes."""
    [fault] = read(f"{head}\nmetadata: {{name: a}}\nspec: {{podSelector: {{}}}}\n", NAME).faults

    assert (fault.line, fault.mend) == (1, mend)


@pytest.mark.parametrize(("kind", "now"), [("policy", "GlobalNetworkPolicy"), ("ipPool", "IPPool")])
def test_kinds_of_calicos_first_api_are_named(kind: str, now: str) -> None:
    """Tutorials of 2016 are still found."""
    [fault] = read(f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n", NAME).faults

    assert fault.mend == f"write kind: {now} and apiVersion: projectcalico.org/v3"


def test_a_zero_in_front_is_a_trap_where_a_number_belongs() -> None:
    """010 is eight, and nobody means eight."""
    text = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: a}\nspec: {order: %s}\n"
    [fault] = read(text % "010", NAME).faults

    assert str(fault) == f'{NAME}:4:15: 010 is 8, YAML takes a zero in front for octal, write 10, or "010" in quotes'
    assert [read(text % good, NAME).objects[0].object["spec"]["order"] for good in ("0", "0x10", "-5", "1e3", "1_0")] \
        == [0, 16, -5, 1000.0, 10]


@pytest.mark.parametrize(("text", "value"), [
    ("~", None), ("Null", None), ("True", True), ("off", False), ("y", "y"), ("N", "N"), ("12", 12), ("+12", 12),
    ("0o17", 15), ("-0x10", -16), ("0b11", 3), ("20:21", "20:21"), ("8000:9000", "8000:9000"), ("1.5", 1.5),
    (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("1e999", "1e999"), ("2021-01-01", "2021-01-01"), ("09", 9.0),
    ("18446744073709551615", 2**64 - 1), ("18446744073709551616", 2.0**64), ("10.0.0.1", "10.0.0.1"), ("-", "-"),
    ("+", "+"), (".", "."), ("1" * 5000, "1" * 5000), ("'5'", "5"), ("!!str 5", "5"), ('!!int "5"', 5),
    ("!!binary aGk=", "hi"), ("! 5", "5"),
])
def test_plain_words_mean_what_they_mean_to_kubectl(text: str, value: object) -> None:
    """One file, one meaning."""
    reading = read(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: a, ownerReferences: [{{x: {text}}}]}}", NAME)

    if text == "-":
        return
    assert [fault for fault in reading.faults if "octal" not in str(fault)] == []
    if reading.objects:
        [found] = reading.objects[0].object["metadata"]["ownerReferences"]
        assert (found["x"], type(found["x"])) == (value, type(value))


def test_anchors_and_merges_work() -> None:
    """People keep common parts so; the line of a taken over field is where it was written."""
    [one, two] = reading("""
        apiVersion: projectcalico.org/v3
        kind: NetworkPolicy
        metadata: {name: a, namespace: shop}
        spec:
          selector: all()
          ingress:
          - &web
            action: Allow
            protocol: TCP
            destination: &ports {ports: [80]}
          - <<: *web
            protocol: UDP
          - {action: Allow, protocol: SCTP, destination: *ports}
        ---
        apiVersion: projectcalico.org/v3
        kind: GlobalNetworkSet
        metadata: &m {name: b, labels: {a: b}}
        spec: {}
        """).objects

    first, second, third = one.object["spec"]["ingress"]
    assert second == {**first, "protocol": "UDP"}
    assert third["destination"] == first["destination"]
    assert one.position(("spec", "ingress", 1, "action")) == (8, 13)
    assert two.object["metadata"]["labels"] == {"a": "b"}


def test_an_alias_bomb_goes_off_harmlessly() -> None:
    """Nine lines may stand for a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    [fault] = read("\n".join(lines), NAME).faults

    assert str(fault).startswith(f"{NAME}:5:")
    assert "aliases that stand for too much" in fault.what


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["[", "{", "- ", "? ", "a: {", "[{", '{"a":['])
def test_a_bottomless_document_is_refused(letter: str) -> None:
    """No recursion of ours follows it down."""
    for number in (99, 150, 20_000):
        assert read(letter * number, NAME).objects == ()
    assert read(letter * 150, NAME).faults


def test_empty_documents_are_nothing() -> None:
    """A file often begins or ends with a separator."""
    assert read("", NAME) == Reading((), ())
    assert read("---\n# nothing\n---\n...\n---\nnull\n", NAME) == Reading((), ())
    assert len(read(f"---\n{GOOD}---\n", NAME).objects) == 1


@pytest.mark.parametrize("text", ["- a", "a", "5", "true"])
def test_a_document_that_is_no_object(text: str) -> None:
    """A stray word is no resource."""
    [fault] = read(text, NAME).faults

    assert fault.mend == "write a mapping with apiVersion, kind, metadata and spec"


def test_json_is_read_too_with_lines() -> None:
    """`kubectl get -o json` writes it, also with letters beyond 16 bits."""
    text = ('{"apiVersion": "v1",\n\t"kind": "Namespace",\n\t"metadata": {"name": "a", "annotations": '
            '{"x": "\\ud83d\\ude00 \\\\ud83d \\/ \\u0041"}}}')
    [located] = read("\ufeff" + text, NAME).objects

    assert located.object["metadata"]["annotations"] == {"x": "\U0001f600 \\ud83d / A"}
    assert located.position(("kind",)) == (2, 10)


def test_lists_are_unfolded() -> None:
    """calicoctl and kubectl export them; the items of a typed list need not say their kind."""
    result = reading("""
        apiVersion: v1
        kind: List
        items:
        - {apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: a}, spec: {order: 1}}
        - {apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: b}, spec: {order: x}}
        - apiVersion: projectcalico.org/v3
          kind: IPPoolList
          items:
          - {metadata: {name: c}, spec: {cidr: 10.65.0.0/16}}
        ---
        apiVersion: projectcalico.org/v3
        kind: TierList
        metadata: {resourceVersion: "5"}
        items: [{metadata: {name: d}}, 7]
        item: []
        ---
        kind: List
        """)

    assert [(one.object["kind"], one.object["metadata"]["name"], one.line) for one in result.objects] == [
        ("Tier", "a", 4), ("IPPool", "c", 9), ("Tier", "d", 14)]
    assert result.objects[1].position(("spec", "cidr")) == (9, 40)
    assert [str(fault).partition(", ")[0].removeprefix(NAME) for fault in result.faults] == [
        ":5:85: 'x' where a number belongs", ":14:32: 7 where an object belongs",
        ":15:1: there is no field 'item' in a list", ":17:1: items is missing"]
    assert result.faults[0].field == "items[1].spec.order"


CUSTOM = """\
apiVersion: crd.projectcalico.org/v1
kind: NetworkPolicy
metadata:
  name: default.web
  namespace: shop
  annotations:
    projectcalico.org/metadata: '%s'
    kubectl.kubernetes.io/last-applied-configuration: "{}"
    own: x
spec: {selector: all(), order: 10%s}
"""


@pytest.mark.parametrize(("packed", "rest", "name"), [
    ('{"labels":{"a":"b"},"annotations":{"c":"d"},"uid":"5","creationTimestamp":null}', "", "web"),
    ('{"name":"given","labels":{"a":"b"},"annotations":{"c":"d"}}', "", "given"),
    ('{"labels":{"a":"b"},"annotations":{"c":"d"}}', ", tier: ops", "default.web"),
])
def test_custom_resources_of_calico_are_read_as_what_they_stand_for(packed: str, rest: str, name: str) -> None:
    """Clusters without the API server keep v3 metadata in an annotation, and the tier in the name."""
    [located] = read(CUSTOM % (packed, rest), NAME).objects

    assert located.object["apiVersion"] == "projectcalico.org/v3"
    assert located.object["metadata"] == {
        "name": name, "namespace": "shop", "labels": {"a": "b"}, "annotations": {"c": "d", "own": "x"}}
    assert located.position(("spec", "order")) == (10, 32)


@pytest.mark.parametrize("packed", ["{", "[]", '{"labels":5}', '"x"'])
def test_packed_metadata_that_is_none_is_a_fault(packed: str) -> None:
    """The labels would be lost without a word."""
    [fault] = read(CUSTOM % (packed, ""), NAME).faults

    assert (fault.line, fault.field) == (7, "metadata.annotations[projectcalico.org/metadata]")
    assert "take it out" in fault.mend


def test_custom_resources_that_are_no_resources_of_users_are_named() -> None:
    """IPAM blocks have their own way in."""
    [fault] = said("{apiVersion: crd.projectcalico.org/v1, kind: IPAMBlock, metadata: {name: a}}")

    assert fault == f"{NAME}:1:46: there is no kind 'IPAMBlock', muslin does not serve it, take the document out"


def test_policies_of_kubernetes_are_converted_and_keep_their_lines() -> None:
    """One rule of theirs becomes several of Calico's: all stand in its line."""
    [located] = reading("""
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: web, namespace: shop}
        spec:
          podSelector: {matchLabels: {app: web}}
          policyTypes: [Ingress]
          ingress:
          - from: [{podSelector: {}}, {namespaceSelector: {}}]
          - ports: [{port: 80}]
        """).objects

    assert located.object["metadata"]["name"] == "knp.default.web"
    assert [located.position(("spec", "ingress", index)) for index in range(3)] == [(8, 5), (8, 5), (9, 5)]
    assert located.position(("spec", "selector")) == (5, 3)
    assert located.position(("spec", "types", 0)) == (6, 3)
    assert located.position(("metadata", "name")) == (3, 18)


def test_mistakes_in_policies_of_kubernetes_are_named_in_their_words() -> None:
    """And in their lines."""
    [fault] = said("""
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: web}
        spec:
          podSelector: {app: web}
        """)

    assert fault == (f"{NAME}:5:17: there is no field 'app' here, labels stand under matchLabels, "
                     "write matchLabels: {app: ...}")


@pytest.mark.parametrize("name", ["web", "default.web", "ops.web", "knp.default.web"])
def test_policies_may_have_their_tier_in_front_of_their_name(name: str) -> None:
    """Calico wanted it before 3.32, and exports still have it."""
    assert len(read(GOOD.replace("name: web", f"name: {name}"), NAME).objects) == 1


def test_what_servers_put_into_exports_is_accepted() -> None:
    """`get -o yaml | apply -f -` must work."""
    text = GOOD.replace("  name: web", "  name: web\n  uid: 1-2\n  resourceVersion: '5'\n  generation: 1\n"
                                       "  creationTimestamp: 2024-01-01T00:00:00Z\n"
                                       "  managedFields: [{manager: x, fieldsV1: {'f:spec': {}}}]")

    assert len(read(text, NAME).objects) == 1


def test_a_fault_is_placed_at_the_letter_of_a_selector() -> None:
    """Quoted texts count from behind the quote; folded ones have no letters of their own."""
    faults = said("""
        apiVersion: projectcalico.org/v3
        kind: GlobalNetworkPolicy
        metadata: {name: a}
        spec:
          selector: "a = 'b'"
          namespaceSelector: >-
            a = 'b'
          ingress:
          - {action: Allow, source: {selector: has(}}
        """)

    assert [fault.split(": ")[0] for fault in faults] == [f"{NAME}:5:16", f"{NAME}:6:22", f"{NAME}:9:44"]


def test_the_files_of_the_project_are_good() -> None:
    """What we hand out must be what we accept. (Of examples/expected, what is asked without a cluster.)"""
    root = Path(__file__).parents[2]
    for path in [*root.glob("examples/**/*.yaml"), *root.glob("demo/**/*.yaml")]:
        if path.name.endswith(".muslin-test.yaml"):
            reading = read(spelled(path.read_text()), str(path))
            assert [fault for found in reading.foreign for fault in expectations(found)[1]] == [], path
        else:
            reading = read(path.read_text(), str(path), is_foreign if path.parent.name == "expected" else expects)
        assert reading.faults == (), path
