"""`muslin workload`: connect a namespace or a VM's tap, with no orchestrator at all. The host's agent does it."""

from __future__ import annotations

import json
from typing import Any

from muslin.cli import output, screen
from muslin.cli.agents import agent
from muslin.cli.connection import connect
from muslin.cli.faults import Misused, meant
from muslin.cli.labelling import pairs
from muslin.cli.naming import namespace, scope
from muslin.cli.parsing import Parser, Words
from muslin.client.blocking import segment

EXAMPLES = """
muslin workload add web --netns web -l app=web             a namespace of `ip netns`
muslin workload add vm1 --tap tap0 --ip 10.65.0.9          a VM's tap, and its address
muslin workload list -A
muslin workload rm web
"""
MORE = """\
`add` gives the workload its interface, addresses, routes and policy, and returns when all are in the kernel.
Its labels are what policies select. The agent of this machine does it; --host says which, where there are several."""
PORT_FORM = "NAME:tcp:80"


def run(arguments: list[str]) -> int:
    actions = {"add": _add, "rm": _remove, "remove": _remove, "delete": _remove, "list": _list, "ls": _list}
    action = arguments[0] if arguments else ""
    if action in actions:
        return actions[action](arguments[1:])
    if action and not action.startswith("-"):
        raise Misused(f"muslin workload has no {action!r}: write add, rm or list{meant(action, actions)}")
    Parser("workload", "Connect namespaces and VMs.", usage="add|rm|list [NAME] [options]", examples=EXAMPLES,
           more=MORE).read(arguments or ["--help"])
    return 0


def _add(arguments: list[str]) -> int:
    parser = Parser("workload add", "Connect a namespace or a tap.", usage="NAME (--netns NS | --tap DEV) [options]",
                    examples=EXAMPLES, more=MORE)
    parser.positional("name", nargs="?", default="", metavar="NAME")
    parser.add_argument("--netns", default="", metavar="NS", help="a namespace, by name or path")
    parser.add_argument("--tap", default="", metavar="DEV", help="a tap that a hypervisor has made, instead")
    parser.add_argument("-l", "--labels", action="append", default=[], metavar="KEY=VALUE", help="app=web,tier=front")
    parser.add_argument("--ip", action="append", default=[], metavar="ADDRESS",
                        help="this address and no other; repeat it for both families (default: one free one of each)")
    parser.add_argument("--interface", default="eth0", metavar="NAME", help="inside the namespace (default: eth0)")
    parser.add_argument("--mac", default="", metavar="MAC", help="of the workload's side")
    parser.add_argument("--profile", action="append", default=[], metavar="NAME", help="a Profile it follows")
    parser.add_argument("--port", action="append", default=[], metavar=PORT_FORM, help="a named port")
    parser.add_argument("--host", default="", metavar="NODE", help="whose agent, where there are several")
    scope(parser, every=False)
    words = parser.read(arguments)
    if not words.name or bool(words.netns) == bool(words.tap):
        raise Misused("write muslin workload add NAME --netns NS, or --tap DEV for a VM")
    answer = agent(words.host).post("/v1/workloads", _request(words))
    addresses = ", ".join(each.partition("/")[0] for each in answer.get("addresses") or [])
    print(f"workload {words.namespace or 'default'}/{words.name}: {addresses} by {answer.get('interface')}")
    return 0


def _request(words: Words) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": words.name, "namespace": words.namespace or "default", "interface": words.interface,
        "labels": pairs(words.labels), "addresses": words.ip, "profiles": words.profile,
        "ports": [_port(each) for each in words.port],
    }
    body.update({name: getattr(words, name) for name in ("netns", "tap", "mac") if getattr(words, name)})
    return body


def _port(text: str) -> dict[str, Any]:
    name, _, rest = text.partition(":")
    protocol, _, number = rest.partition(":")
    if not name or not protocol or not number.isdigit():
        raise Misused(f"--port {text!r}: write {PORT_FORM}")
    return {"name": name, "protocol": protocol.upper(), "port": int(number)}


def _remove(arguments: list[str]) -> int:
    parser = Parser("workload rm", "Disconnect workloads and release their addresses.", usage="NAME... [options]",
                    examples=EXAMPLES)
    parser.positional("names", nargs="*", metavar="NAME")
    parser.add_argument("--host", default="", metavar="NODE", help="whose agent, where there are several")
    parser.add_argument("--ignore-not-found", action="store_true", help="what is not there is no error")
    scope(parser, every=False)
    words = parser.read(arguments)
    if not words.names:
        raise Misused("say which workload: muslin workload rm NAME")
    client = agent(words.host)
    there = {(each["namespace"], each["name"]) for each in client.get("/v1/workloads").get("items") or []}
    missing = 0
    for name in words.names:
        full = f"{namespace(words)}/{name}"
        client.delete(f"/v1/workloads/{segment(namespace(words))}/{segment(name)}")
        if (namespace(words), name) in there:
            print(f"workload {full} removed")
        elif not words.ignore_not_found:
            screen.note(f"error: this host has no workload {full}")
            missing += 1
    return 1 if missing else 0


def _list(arguments: list[str]) -> int:
    parser = Parser("workload list", "Workloads of all hosts, as the server knows them.", usage="[options]",
                    examples=EXAMPLES)
    scope(parser)
    parser.add_argument("-l", "--selector", default="", metavar="LABELS", help="only with these labels")
    parser.add_argument("--host", default="", metavar="NODE", help="only of this host")
    output.option(parser, "table or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    inside = f"/namespaces/{segment(namespace(words))}" if namespace(words) else ""
    query = {"labelSelector": words.selector} if words.selector else {}
    items = connect(words).get(f"/apis/projectcalico.org/v3{inside}/workloadendpoints", **query).get("items") or []
    found = [_described(obj) for obj in items if words.host in ("", obj["spec"].get("node"))]
    if form == "json":
        print(json.dumps(found, indent=2))
    elif found:
        rows = [[_text(each[key]) for key in _COLUMNS] for each in found]
        print("\n".join(screen.columns([[key.upper() for key in _COLUMNS], *rows])))
    else:
        screen.note("no workloads" + ("" if not namespace(words) else f" in namespace {namespace(words)} (-A: all)"))
    return 0


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ",".join(value) or "<none>"


_COLUMNS = ("namespace", "name", "host", "addresses", "interface", "labels")


def _described(obj: dict[str, Any]) -> dict[str, Any]:
    spec, metadata = obj.get("spec") or {}, obj["metadata"]
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if not k.startswith("projectcalico.org/")}
    return {
        "namespace": metadata.get("namespace", ""),
        "name": spec.get("workload") or spec.get("pod") or metadata["name"],
        "host": spec.get("node", ""),
        "addresses": [net.partition("/")[0] for net in spec.get("ipNetworks") or []],
        "interface": spec.get("interfaceName", ""),
        "labels": [f"{key}={value}" for key, value in sorted(labels.items())],
    }
