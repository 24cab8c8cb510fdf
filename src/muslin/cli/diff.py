"""`muslin diff`: who gains and who loses which connections by a change that is not made yet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from muslin.cli import batch, changes, output, screen, worlds
from muslin.cli.connection import connect
from muslin.cli.faults import Misused, Refused, meant
from muslin.cli.main import said
from muslin.cli.naming import Kinds, Target, targets
from muslin.cli.parsing import Parser, Words
from muslin.cli.screen import RED, paint
from muslin.client.blocking import Client
from muslin.errors import MuslinError

EXAMPLES = """
muslin diff -f new.yaml                   against the server: nothing is written
muslin diff --delete np/web -n shop       what would happen without it
muslin diff -f new.yaml --delete gnp/old
muslin diff --offline -f main/ --to branch/       two versions of a repository, in CI
muslin diff --offline -f . --with new.yaml        files as they are, and with these on top
"""
MORE = """\
Not text is compared but its effect: every pair of classes of workloads, and every protocol and port there is; exact,
not sampled. For a diff of the objects' text, kubectl diff works with this server.
Exit code as kubectl diff: 0 nothing changes, 1 something does, 2 the question was refused."""
Json = dict[str, Any]


def run(arguments: list[str]) -> int:
    parser = Parser("diff", "Who gains and who loses which connections?", usage="-f FILE... [options]",
                    examples=EXAMPLES, more=MORE)
    worlds.options(parser)
    parser.add_argument("--to", action="append", default=[], metavar="DIR",
                        help="with --offline: the other version, whole")
    parser.add_argument("--with", action="append", default=[], metavar="FILE", dest="overlay",
                        help="with --offline: objects that are added, or take the place of those of their name")
    parser.add_argument("--delete", action="append", default=[], metavar="KIND/NAME", help="objects that would go")
    parser.add_argument("-n", "--namespace", default="", metavar="NAME", help="of objects named without one")
    output.option(parser, "table or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    try:
        found = _offline(words) if words.offline else _online(words)
    except MuslinError as error:
        raise Refused(said(error), 2) from None
    if form == "json":
        print(json.dumps(found, indent=2))
    else:
        show(found)
    return 1 if found["groups"] or found.get("cuts") or found.get("hosts") else 0


def show(found: Json) -> None:
    """On the screen, with one line of summary."""
    for line in changes.lines(found):
        print(line)
    for line in changes.host_lines(found):
        print(line)
    for cut in found.get("cuts") or ():
        print(f"{paint('cut', RED)}  {cut}")
    print(changes.summary(found))


def effect(client: Client, apply: Sequence[Json] = (), delete: Sequence[Json] = ()) -> Json:
    """What the server reckons. `delete`: kind and name count."""
    found: Json = client.post("/muslin/v1/diff", {"apply": list(apply), "delete": list(delete)})
    return found


def _online(words: Words) -> Json:
    if words.to or words.overlay:
        raise Misused("--to and --with compare files: write --offline too, or -f FILE to compare with the server")
    if not words.filename and not words.delete:
        raise Misused("say what would change: -f FILE, or --delete KIND/NAME")
    from muslin.cli.apply import apply

    client = connect(words)
    words.partial = False
    items = batch.gather(words) if words.filename else []
    agreed = batch.rehearse(client, items, apply)
    if len(agreed) < len(items):
        raise Refused("the server refuses some of these objects: nothing was compared", 2)
    named = targets(Kinds(client), words.delete) if words.delete else []
    return effect(client, [done.obj for _, done in agreed], [identity(one, words.namespace) for one in named])


def identity(target: Target, namespace: str) -> Json:
    """An object by its name alone."""
    if not target.name:
        raise Misused(f"{target.kind.plural}: write KIND/NAME")
    metadata = {"name": target.name}
    if target.kind.namespaced:
        metadata["namespace"] = target.namespace or namespace or "default"
    return {"apiVersion": target.kind.group_version, "kind": target.kind.kind, "metadata": metadata}


def _offline(words: Words) -> Json:
    from muslin.offline.compare import compare, without

    if not words.filename:
        raise Misused("--offline needs files: -f FILE, -f DIR or -f -")
    if not (words.to or words.overlay or words.delete):
        raise Misused("compare with what? --to DIR for another version, --with FILE for objects on top, or "
                      "--delete KIND/NAME")
    if words.to and words.overlay:
        raise Misused("--to is another version whole, --with something on top: give one of them")
    before = worlds.world(words.filename, quiet=True, what="nothing was compared")
    after = before
    if words.to:
        after = worlds.world(words.to, quiet=True, what="nothing was compared")
    elif words.overlay:
        after = worlds.world([*words.filename, *words.overlay], quiet=True, what="nothing was compared", overlay=True)
    try:
        after = without(after, [_named(word, words.namespace) for word in words.delete])
    except MuslinError as error:
        raise Refused(str(error), 2) from None
    if not words.quiet:
        for note in (*before.notes[-1:], *(after.notes[-1:] if after is not before else ())):
            screen.note(f"offline: {note}")
    return compare(before, after)


def _named(word: str, namespace: str) -> tuple[str, str, str]:
    """(kind, namespace, name) of `np/web` or `np/shop/web`, as it is kept. Raises Misused."""
    from muslin.model import kinds, translated

    parts = word.split("/")
    if len(parts) not in (2, 3):
        raise Misused(f"{word!r}: write KIND/NAME, such as np/web")
    kind, foreign = kinds.find(parts[0]), None
    if kind is None and (own := translated.find(parts[0])) is not None:
        kind, foreign = own, translated.of_kind(own)
    if kind is None:
        raise Misused(f"{word!r}: there is no kind {parts[0]!r}: write KIND/NAME, such as np/web"
                      f"{meant(parts[0], [one.plural for one in kinds.KINDS])}")
    place = (parts[1] if len(parts) == 3 else namespace or "default") if kind.namespaced else ""
    return (foreign.stored, place, foreign.prefix + parts[-1]) if foreign else (kind.name, place, parts[-1])
