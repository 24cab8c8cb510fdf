"""Objects of files on their way to the server: all faults first, then one after the other in an order that works.

Nothing is sent while any document is faulty, unless --partial; and nothing is written before the server, asked without
consequences (`dryRun=All`), has agreed to every object. What the server finds wrong is shown where the file says it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from muslin.cli import files, output, screen
from muslin.cli.faults import Refused
from muslin.cli.parsing import Parser, Words, is_dry
from muslin.client.blocking import Client
from muslin.client.kinds import Served
from muslin.client.refusal import ApiError
from muslin.model.documents import Located
from muslin.model.fault import Fault, Path, Reason
from muslin.model.kinds import BY_NAME
from muslin.model.translated import translation

Json = dict[str, Any]
FIRST = ("Namespace", "ServiceAccount", "Tier", "ClusterInformation", "ClusterConfiguration", "FelixConfiguration",
         "BGPConfiguration", "IPPool", "IPReservation", "Node", "Profile", "BGPFilter", "BGPPeer", "GlobalNetworkSet",
         "NetworkSet")
CONCERNED = frozenset({
    "Tier", "Profile", "Namespace", "GlobalNetworkSet", "NetworkSet", "GlobalNetworkPolicy", "NetworkPolicy",
    "WorkloadEndpoint", "HostEndpoint", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy",
    "Service", "EndpointSlice", "ServiceAccount",
})
"""Kinds that say who reaches whom."""
LAST = ("GlobalNetworkPolicy", "NetworkPolicy", "StagedGlobalNetworkPolicy", "StagedNetworkPolicy",
        "StagedKubernetesNetworkPolicy", "KubeControllersConfiguration", "HostEndpoint", "WorkloadEndpoint")


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a file, and where it goes."""

    located: Located
    obj: Json
    kind: Served

    @property
    def path(self) -> str:
        metadata = self.obj["metadata"]
        return self.kind.path(metadata.get("namespace", ""), metadata["name"])

    @property
    def collection(self) -> str:
        return self.kind.path(self.obj["metadata"].get("namespace", ""))

    @property
    def title(self) -> str:
        """`globalnetworkpolicy.projectcalico.org/web`."""
        return output.name(self.obj)


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an object: `created`, `configured`, `unchanged`, `replaced`."""

    verb: str
    obj: Json


Act = Callable[[Client, Item, bool], Done]
"""Client, object, dry run."""


def options(parser: Parser) -> None:
    """What all commands that send files have in common."""
    files.options(parser)
    parser.add_argument("-n", "--namespace", default="", metavar="NAME", help="for objects that name none")
    parser.dry_run("say what would happen, after the server's own checks; change nothing")
    parser.force()
    parser.add_argument("--partial", action="store_true", help="send the good objects although others are faulty")
    output.option(parser, "print the objects instead of what happened: yaml, json or name")


def send(client: Client, words: Words, act: Act, *, generated: bool = False) -> int:
    """The exit code. `generated`: the server may make names up."""
    words.generated = generated
    form = output.form(words.output, ("table", "json", "yaml", "name"))
    dry = is_dry(words)
    items = gather(words)
    agreed = rehearse(client, items, act)
    refused = len(items) - len(agreed)
    if refused and not words.partial:
        raise Refused(f"the server refuses {_many(refused, 'object')}: nothing was changed (--partial sends the rest)")
    done = []
    for item, rehearsed in agreed:
        try:
            result = rehearsed if dry else act(client, item, False)
        except ApiError as error:
            _show(_faults(item, error))
            refused += 1
            continue
        done.append(result.obj)
        if form == "table":
            print(f"{output.name(result.obj)} {result.verb}{' (dry run)' if dry else ''}")
    if dry and form == "table" and done:
        effect(client, apply=done)
    if form != "table":
        output.show(done, form, words.output, one=len(done) == 1)
    return 1 if refused or words.faulty else 0


def effect(client: Client, *, apply: Sequence[Json] = (), delete: Sequence[Json] = ()) -> None:
    """Who would gain and lose which connections, below what would happen to the objects."""
    if not any(obj.get("kind") in CONCERNED for obj in (*apply, *delete)):
        return
    from muslin.cli.changes import summary
    from muslin.cli.diff import show

    found = client.post("/muslin/v1/diff", {"apply": list(apply), "delete": list(delete)})
    if not found["groups"] and not found.get("hosts"):
        screen.note(summary(found))
        return
    print()
    show(found)


def gather(words: Words) -> list[Item]:
    """The good objects, in an order in which each finds what it refers to. Raises Refused, having shown all faults."""
    contents = files.read(words.filename, recursive=words.recursive)
    unnamed = [] if words.generated else [each for each in contents.objects if not each.object["metadata"].get("name")]
    faults = [*contents.faults, *map(_unnamed, unnamed)]
    _show(faults)
    words.faulty = len(faults)
    if faults and not words.partial:
        raise Refused(f"{_many(len(faults), 'fault')}: nothing was changed (--partial sends the good objects)")
    items = [_item(located, words) for located in contents.objects if located not in unnamed]
    return sorted(items, key=lambda item: _rank(item.kind.kind))


def _unnamed(located: Located) -> Fault:
    line, column = located.position(("metadata",))
    return Fault(path=("metadata", "name"), what="the object has no name", why="it could not be found again",
                 mend="give it a metadata.name; generateName is for muslin create", reason=Reason.REQUIRED,
                 file=located.file, line=line, column=column)


def _rank(kind: str) -> int:
    order = (*FIRST, "", *LAST)
    return order.index(kind) if kind in order else len(FIRST)


def _item(located: Located, words: Words) -> Item:
    obj, kind = located.object, BY_NAME[located.object["kind"]]
    if located.original is not None and (kept := translation(located.original)):
        obj, kind = located.original, kept.kind  # the server keeps what it means, and shows it as it was written
    served = Served(kind.name, kind.plural, kind.group_version, kind.namespaced)
    metadata = {key: value for key, value in obj["metadata"].items() if key != "namespace"}
    if kind.namespaced:
        stated = obj["metadata"].get("namespace") or ""
        if stated and words.namespace and stated != words.namespace:
            raise Refused(f"{located.file}:{located.line}: the object is in namespace {stated!r}, "
                          f"but -n says {words.namespace!r}: leave one out")
        metadata["namespace"] = stated or words.namespace or "default"
    return Item(located, {**obj, "metadata": metadata}, served)


def rehearse(client: Client, items: Sequence[Item], act: Act) -> list[tuple[Item, Done]]:
    """The objects that the server would take, and what would become of each."""
    agreed = []
    promised = {(item.kind.kind, item.obj["metadata"].get("name", "")) for item in items}
    for item in items:
        try:
            agreed.append((item, act(client, item, True)))
        except ApiError as error:
            if _waits_for(item, error, promised) or (len(items) > 1 and _locks_out(error)):
                agreed.append((item, Done("created", item.obj)))
            else:
                _show(_faults(item, error))
    return agreed


def _locks_out(error: ApiError) -> bool:
    """Is it only that it would cut something off? Another object of the same files may prevent that: the server is
    asked again when its turn comes."""
    return bool(error.causes) and all(cause.get("reason") == "LockOut" for cause in error.causes)


def _waits_for(item: Item, error: ApiError, promised: set[tuple[str, str]]) -> bool:
    """Does it lack only a tier that the same files bring?"""
    causes = error.causes
    tier = ("Tier", str((item.obj.get("spec") or {}).get("tier")))
    return bool(causes) and tier in promised and all(
        cause.get("reason") == "FieldValueNotFound" and cause.get("field") == "spec.tier" for cause in causes
    )


def _faults(item: Item, error: ApiError) -> list[Fault]:
    """What the server found, at the lines of the file."""
    found = []
    causes = [] if _locks_out(error) else error.causes
    for cause in causes or [{"field": "", "message": str(error)}]:
        path = path_of(cause.get("field", ""))
        line, column = item.located.written_position(path)
        found.append(Fault(path=path, what=cause.get("message", ""), why="", mend="", reason=Reason.INVALID,
                           file=item.located.file, line=line, column=column))
    return found


def path_of(field: str) -> Path:
    """("spec", "ingress", 0, "action") of `spec.ingress[0].action`; keys in brackets may hold anything."""
    path: list[str | int] = []
    for name, inside in re.findall(r"([^.\[\]]+)|\[([^\]]*)\]", field):
        path.append(name or (int(inside) if inside.isdigit() else inside))
    return tuple(path)


def _show(faults: Iterable[Fault]) -> None:
    for fault in faults:
        screen.note(str(fault))


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
