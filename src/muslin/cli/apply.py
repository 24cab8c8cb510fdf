"""`muslin apply`: make it so. What is not there is created, what is there is changed only where the file says so."""

from __future__ import annotations

import json
from typing import Any

from muslin.cli import batch, merge
from muslin.cli.batch import Done, Item
from muslin.cli.connection import connect
from muslin.cli.parsing import Parser
from muslin.client.blocking import Client
from muslin.client.refusal import ApiError
from muslin.errors import Broken

EXAMPLES = """
muslin apply -f policy.yaml
muslin apply -f policies/ -R              a directory with all below it
muslin apply -f - < policy.yaml
muslin apply -f policies/ --dry-run       what would change, checked by the server
muslin apply -f mixed.yaml --partial      the good objects, although others are faulty
"""
MORE = """\
Files may hold YAML or JSON, several documents, Lists, Calico v3 (projectcalico.org/v3, crd.projectcalico.org/v1) and
Kubernetes NetworkPolicies. Every fault of every file is shown with its line; then nothing is changed.
Only fields in the file are touched; a field that was applied before and left the file is removed."""
ATTEMPTS = 5
RULES = ("ingress", "egress")
WITH_RULES = frozenset({
    "NetworkPolicy", "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy",
    "StagedKubernetesNetworkPolicy", "Profile", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy",
    "ClusterNetworkPolicy",
})
Json = dict[str, Any]


def run(arguments: list[str]) -> int:
    parser = Parser("apply", "Make the objects in files so.", usage="-f FILE... [options]", examples=EXAMPLES,
                    more=MORE)
    batch.options(parser)
    words = parser.read(arguments)
    return batch.send(connect(words), words, apply)


def apply(client: Client, item: Item, dry: bool) -> Done:
    """Raises ApiError; lost races are tried again as kubectl does."""
    wanted = merge.with_last_applied(merge.without_bookkeeping(with_source(item)))
    for attempt in range(ATTEMPTS):
        try:
            return _once(client, item, wanted, dry)
        except ApiError as error:
            if error.reason not in ("Conflict", "AlreadyExists") or attempt == ATTEMPTS - 1:
                raise
    raise Broken("the last attempt returns or raises")


def with_source(item: Item) -> Json:
    """The object with file and line of itself and of its rules, which `muslin why` shows."""
    if item.kind.kind not in WITH_RULES:
        return item.obj
    spec = item.located.object.get("spec") or {}
    lines = {
        way: [item.located.position(("spec", way, n))[0]
              for n in range(len(item.located.rules.get(way) or spec.get(way) or ()))] for way in RULES
    }
    annotations = {
        **merge.annotations_of(item.obj),
        merge.SOURCE: f"{item.located.file}:{item.located.line}",
        merge.SOURCE_LINES: json.dumps(lines, separators=(",", ":")),
    }
    return {**item.obj, "metadata": {**item.obj["metadata"], "annotations": annotations}}


def _once(client: Client, item: Item, wanted: Json, dry: bool) -> Done:
    query = {"fieldManager": "muslin", "fieldValidation": "Strict", **({"dryRun": "All"} if dry else {})}
    try:
        live = client.get(item.path)
    except ApiError as error:
        if error.code != 404:
            raise
        return Done("created", client.post(item.collection, wanted, **query))
    patch = merge.change(merge.last_applied(live), live, wanted)
    if not patch:
        return Done("unchanged", live)
    after = client.patch(item.path, patch, **query)
    same = merge.only_bookkeeping(patch) or (_version(after) == _version(live) and not dry)
    return Done("unchanged" if same else "configured", after)


def _version(obj: Json) -> object:
    return obj["metadata"].get("resourceVersion")
