"""`muslin replace`: the whole object becomes what the file says."""

from __future__ import annotations

from muslin.cli import batch
from muslin.cli.apply import with_source
from muslin.cli.batch import Done, Item
from muslin.cli.connection import connect
from muslin.cli.parsing import Parser
from muslin.client.blocking import Client

EXAMPLES = """
muslin get gnp web -o yaml > web.yaml     take it out,
muslin replace -f web.yaml                put it back, changed; refused if it has changed meanwhile
"""


def run(arguments: list[str]) -> int:
    parser = Parser("replace", "Put objects in the place of those there are.", usage="-f FILE... [options]",
                    examples=EXAMPLES)
    batch.options(parser)
    words = parser.read(arguments)
    return batch.send(connect(words), words, replace)


def replace(client: Client, item: Item, dry: bool) -> Done:
    """Raises ApiError when there is none, or the file's resourceVersion is old. Without one: whatever is there."""
    query = {"fieldManager": "muslin", "fieldValidation": "Strict", **({"dryRun": "All"} if dry else {})}
    obj = with_source(item)
    metadata = obj["metadata"]
    if not metadata.get("resourceVersion"):
        live = client.get(item.path)["metadata"]
        obj = {**obj, "metadata": {**metadata, "resourceVersion": live["resourceVersion"]}}
    return Done("replaced", client.put(item.path, obj, **query))
