"""Words of the command line, and what is said to those that are wrong."""

from __future__ import annotations

import pytest

from muslin.cli import output
from muslin.cli.batch import path_of
from muslin.cli.commands import BY_NAME
from muslin.cli.faults import Misused, meant
from muslin.cli.jsonpath import expand, values
from muslin.cli.labelling import changes, pairs
from muslin.cli.main import split
from muslin.cli.parsing import Parser
from muslin.cli.why import question

OBJECT = {
    "metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "x"}},
    "spec": {"ingress": [{"action": "Allow"}, {"action": "Deny"}], "order": 10},
}


def parser() -> Parser:
    made = Parser("get", "Show.")
    made.positional("words", nargs="*")
    made.add_argument("-o", "--output", default="")
    made.add_argument("-A", "--all-namespaces", action="store_true")
    return made


@pytest.mark.parametrize("line", ["gnp web -o yaml", "-o yaml gnp web", "gnp -o yaml web", "gnp -oyaml web",
                                  "gnp web --output=yaml", "gnp --output yaml web"])
def test_options_may_stand_anywhere(line: str) -> None:
    found = parser().read(line.split())

    assert (found.words, found.output) == (["gnp", "web"], "yaml")


def test_short_options_may_stand_together() -> None:
    assert parser().read(["gnp", "-Aoyaml"]).output == "yaml"


@pytest.mark.parametrize(("words", "said"), [
    (["--ouptut", "x"], "has no option --ouptut, did you mean '--output'?"),
    (["-x"], "has no option -x"),
    (["-o"], "expected one argument"),
])
def test_a_wrong_option_is_answered_by_the_right_one(words: list[str], said: str) -> None:
    with pytest.raises(Misused) as refused:
        parser().read(words)

    assert said in str(refused.value)
    assert "muslin get --help" in str(refused.value)


def test_options_of_every_command_may_stand_before_it() -> None:
    assert split(["--server", "unix:/x", "get", "gnp"]) == (["--server", "unix:/x"], "get", ["gnp"])
    assert split(["--debug", "get"]) == (["--debug"], "get", [])
    assert split(["--help"]) == (["--help"], "", [])


def test_every_command_is_there() -> None:
    """Its module can be imported, and can run."""
    from importlib import import_module

    for command in BY_NAME.values():
        assert callable(import_module(f"muslin.cli.{command.module}").run)


def test_near_words_are_suggested_and_far_ones_are_not() -> None:
    assert meant("aply", BY_NAME) == ", did you mean 'apply'?"
    assert meant("zzzzz", BY_NAME) == ""


@pytest.mark.parametrize(("path", "found"), [
    (".metadata.name", ["web"]), ("{.metadata.name}", ["web"]), ("metadata.name", ["web"]),
    (".spec.ingress[*].action", ["Allow", "Deny"]), (".spec.ingress[-1].action", ["Deny"]),
    (".spec.ingress[9]", []), (".nothing.here", []),
    (r".metadata.labels.app\.kubernetes\.io/name", ["x"]), (".metadata.labels['app.kubernetes.io/name']", ["x"]),
])
def test_a_path_leads_to_its_values(path: str, found: list[object]) -> None:
    assert values(path, OBJECT) == found


def test_a_template_is_text_around_paths() -> None:
    items = {"items": [OBJECT, {"metadata": {"name": "db"}}]}

    assert expand('{range .items[*]}{.metadata.name}={.spec.order}{"\\n"}{end}', items) == "web=10\ndb=\n"
    assert expand("{.items[*].metadata.name}", items) == "web db"
    assert expand("{range .nothing[*]}x{end}done", items) == "done"


def test_a_path_that_is_none_is_refused_where_it_goes_wrong() -> None:
    with pytest.raises(Misused, match=r"\[x\]"):
        values(".spec[x]", OBJECT)
    with pytest.raises(Misused, match="range"):
        expand("{end}", OBJECT)


@pytest.mark.parametrize(("text", "asked"), [
    ("tcp/80", {"protocol": "tcp", "port": "80"}), ("UDP/53", {"protocol": "udp", "port": "53"}),
    ("icmp", {"protocol": "icmp"}), ("112", {"protocol": "112"}), ("6/80", {"protocol": "6", "port": "80"}),
])
def test_a_packet_is_a_protocol_and_a_port(text: str, asked: dict[str, str]) -> None:
    assert question(text) == asked


@pytest.mark.parametrize("text", ["tcp", "tcp/", "tcp/0", "tcp/70000", "tcp/http", "tpc/80", "icmp/8", "6/x", ""])
def test_a_packet_that_is_none_is_refused_by_an_example(text: str) -> None:
    with pytest.raises(Misused, match=r"tcp/|icmp|6/80"):
        question(text)


def test_labels_are_set_by_equals_and_removed_by_a_dash() -> None:
    assert changes(["a=b", "c-", "d="]) == {"a": "b", "c": None, "d": ""}
    assert pairs(["app=web,tier=front", "x=y"]) == {"app": "web", "tier": "front", "x": "y"}
    with pytest.raises(Misused, match="KEY=VALUE"):
        pairs(["app"])


@pytest.mark.parametrize(("field", "path"), [
    ("spec.ingress[0].action", ("spec", "ingress", 0, "action")),
    ("metadata.labels[a.b/c]", ("metadata", "labels", "a.b/c")), ("", ()),
])
def test_the_servers_fields_become_paths(field: str, path: tuple[str | int, ...]) -> None:
    assert path_of(field) == path


def test_an_output_form_that_is_none_names_those_there_are() -> None:
    with pytest.raises(Misused, match="did you mean 'yaml'"):
        output.form("ymal")
    with pytest.raises(Misused, match="custom-columns=NAME"):
        output.form("custom-columns")
