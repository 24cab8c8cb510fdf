"""`muslin create`: new objects, from files or, for the two that need no file, from words."""

from __future__ import annotations

from muslin.cli import batch, output
from muslin.cli.batch import Done, Item
from muslin.cli.connection import connect
from muslin.cli.faults import Misused, meant
from muslin.cli.parsing import Parser, Words, is_dry
from muslin.client.blocking import Client

EXAMPLES = """
muslin create -f tier.yaml
muslin create namespace shop -l env=prod
muslin create ippool workloads --cidr 10.65.0.0/16
muslin create ippool workloads-6 --cidr fd65::/48 --block-size 122
"""
BY_WORDS = ("namespace", "ns", "ippool", "ipp", "pool")


def run(arguments: list[str]) -> int:
    parser = Parser("create", "Make new objects.", examples=EXAMPLES,
                    usage="-f FILE... | namespace NAME | ippool NAME --cidr PREFIX [options]")
    parser.positional("words", nargs="*", metavar="KIND NAME")
    batch.options(parser)
    parser.add_argument("-l", "--labels", action="append", default=[], metavar="KEY=VALUE",
                        help="namespace: its labels")
    parser.add_argument("--cidr", default="", metavar="PREFIX", help="ippool: its addresses")
    parser.add_argument("--block-size", type=int, metavar="LENGTH", help="ippool: prefix length of a host's share")
    words = parser.read(arguments)
    if not words.words:
        return batch.send(connect(words), words, create, generated=True)
    return _by_words(words)


def create(client: Client, item: Item, dry: bool) -> Done:
    """Raises ApiError when there is one already."""
    query = {"fieldManager": "muslin", "fieldValidation": "Strict", **({"dryRun": "All"} if dry else {})}
    from muslin.cli.apply import with_source

    return Done("created", client.post(item.collection, with_source(item), **query))


def _by_words(words: Words) -> int:
    kind = words.words[0].lower()
    if words.filename:
        raise Misused("give either -f or a kind and a name, not both")
    if kind not in BY_WORDS:
        raise Misused(f"only a namespace or an ippool can be made from words, not {kind!r}: write it in a file and "
                      f"use -f{meant(kind, BY_WORDS)}")
    if len(words.words) != 2:
        raise Misused(f"write one name: muslin create {kind} NAME")
    from muslin.cli.labelling import pairs

    name = words.words[1]
    if kind in ("namespace", "ns"):
        path = "/api/v1/namespaces"
        labels = pairs(words.labels)
        obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    else:
        if not words.cidr:
            raise Misused(f"an ippool is made of addresses: muslin create ippool {name} --cidr 10.65.0.0/16")
        path = "/apis/projectcalico.org/v3/ippools"
        spec = {"cidr": words.cidr, **({"blockSize": words.block_size} if words.block_size else {})}
        obj = {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": name}, "spec": spec}
    dry = is_dry(words)
    connect(words).post(path, obj, **({"dryRun": "All"} if dry else {}))
    print(f"{output.name(obj)} created{' (dry run)' if dry else ''}")
    return 0
