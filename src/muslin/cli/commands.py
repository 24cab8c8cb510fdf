"""All commands: what each does in one line, and the module that does it. Modules are imported only when called."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """`module` has `run(words) -> int`, which reads the words behind the command."""

    name: str
    summary: str
    module: str
    hidden: bool = False


GROUPS: tuple[tuple[str, tuple[Command, ...]], ...] = (
    ("See", (
        Command("get", "objects, as a table, YAML or JSON", "get"),
        Command("status", "hosts, agents, BGP sessions, and what is not as it should be, on one screen", "status"),
        Command("why", "would this packet pass? which rule decides, and by which route", "why"),
        Command("matrix", "who reaches whom, by which ports: computed, and in a lab probed with packets", "matrix"),
        Command("diff", "who gains and who loses which connections by a change that is not made yet", "diff"),
        Command("who-can", "who can reach a workload by this port", "who_can"),
        Command("whois", "whose is this address?", "whois"),
        Command("staged", "what staged policies would change, if they were enforced", "staged"),
        Command("test", "check policies against what you expect of them, from files alone: for CI", "test"),
        Command("kinds", "the kinds of objects there are, and their short names", "kinds"),
        Command("explain", "the fields of a kind", "explain"),
        Command("ipam", "address blocks: who has which address; check, release", "ipam"),
    )),
    ("Change", (
        Command("apply", "make the objects in files so (created, or changed to match)", "apply"),
        Command("validate", "check files, offline: every fault with its line and its mend", "validate"),
        Command("create", "make new objects from files", "create"),
        Command("replace", "put objects from files in the place of those there are", "replace"),
        Command("patch", "change some fields of an object", "patch"),
        Command("delete", "remove objects", "delete"),
        Command("label", "set or remove labels of objects", "label"),
        Command("annotate", "set or remove annotations of objects", "annotate"),
        Command("workload", "give an address, routes and policy to a namespace or a VM's tap", "workload"),
    )),
    ("Run", (
        Command("up", "server and agent for this machine, in one process", "up"),
        Command("server", "the API server, with its store", "server"),
        Command("agent", "the agent that keeps this host's kernel as it should be", "agent"),
        Command("cni", "make this host's container runtimes (podman, containerd, kubelet) use muslin", "cni"),
        Command("docker", "make this host's dockerd use muslin", "docker"),
        Command("lab", "a whole data centre of network namespaces on this machine, to try things", "lab"),
    )),
    ("Other", (
        Command("completion", "completion of commands, options and names for bash or zsh", "completion"),
        Command("version", "versions of this command and of the server", "version"),
    )),
)

BY_NAME: dict[str, Command] = {command.name: command for _, commands in GROUPS for command in commands}

ELSEWHERE = {
    "edit": "`kubectl edit` works with this server; or `muslin get KIND NAME -o yaml`, and apply it",
    "describe": "`muslin get KIND NAME -o yaml` shows an object whole",
    "node": "`muslin status` shows hosts and their BGP sessions; `muslin agent` runs on each",
    "convert": "`muslin apply` takes Kubernetes' and crd.projectcalico.org's forms as they are",
    "config": "$MUSLIN_SERVER or --server says where the server is",
    "api-resources": "`muslin kinds` lists them",
    "cluster": "`muslin status` shows all hosts on one screen",
    "datastore": "the store is SQLite: see `muslin server --help`",
}
"""Commands of kubectl and calicoctl that muslin does not have, and what does the same."""


def overview() -> str:
    """What `muslin` alone prints."""
    lines = ["muslin: plain routed networking, with policy at the workload's own interface", ""]
    for title, commands in GROUPS:
        lines.append(f"{title}:")
        lines += [f"  {command.name:<12} {command.summary}" for command in commands]
        lines.append("")
    return "\n".join([*lines, EXAMPLES])


EXAMPLES = """\
Examples:
  muslin lab up                                a data centre to try things in
  muslin up                                    this machine as a muslin host
  muslin apply -f policies/                    policy YAML, exactly as for Calico
  muslin get gnp -o wide                       kinds go by Calico's names and short names
  muslin why web db tcp/5432                   allowed or not, and the line of YAML that decides

  muslin COMMAND --help                        more of each command"""
