"""`muslin delete`: by name, by label, or the objects of files, those that lean on others first."""

from __future__ import annotations

from typing import Any

from muslin.cli import output, screen
from muslin.cli.connection import connect
from muslin.cli.faults import Misused
from muslin.cli.naming import Kinds, Target, namespace, path_of, scope, targets
from muslin.cli.parsing import Parser, Words, is_dry
from muslin.client.blocking import Client
from muslin.client.refusal import ApiError

EXAMPLES = """
muslin delete gnp web db
muslin delete np/web -n shop
muslin delete wep -l app=web -n shop
muslin delete -f policies/                the objects that are in these files
muslin delete gnp --all --dry-run
"""


def run(arguments: list[str]) -> int:
    parser = Parser("delete", "Remove objects.", examples=EXAMPLES,
                    usage="KIND NAME... | KIND/NAME... | KIND (-l LABELS | --all) | -f FILE [options]")
    parser.positional("words", nargs="*", metavar="KIND")
    scope(parser)
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE", help="objects in these files")
    parser.add_argument("-R", "--recursive", action="store_true", help="-f DIR: with all directories inside")
    parser.add_argument("-l", "--selector", metavar="LABELS", default="", help="all with these labels")
    parser.add_argument("--all", action="store_true", help="all of the kind")
    parser.add_argument("--ignore-not-found", action="store_true", help="what is not there is no error")
    parser.force()
    parser.dry_run("say what would go, after the server's checks")
    parser.add_argument("-o", "--output", default="", metavar="FORM", help="name: nothing but the names")
    words = parser.read(arguments)
    if words.output not in ("", "name"):
        raise Misused(f"-o {words.output}: delete knows only -o name")
    client = connect(words)
    chosen = _chosen(client, words)
    gone = [_delete(client, path, title, words) for path, title in chosen]
    if is_dry(words) and not words.output and all(gone):
        from muslin.cli.batch import effect

        effect(client, delete=_existing(client, [path for path, _ in chosen]))
    return 0 if all(gone) else 1


def _existing(client: Client, paths: list[str]) -> list[dict[str, Any]]:
    found = []
    for path in paths:
        try:
            found.append(client.get(path))
        except ApiError as error:
            if error.code != 404:
                raise
    return found


def _chosen(client: Client, words: Words) -> list[tuple[str, str]]:
    """(path, title) of each object."""
    if words.filename:
        return _in_files(words)
    kinds = Kinds(client)
    wanted = targets(kinds, words.words)
    by_name = all(target.name for target in wanted)
    if by_name and (words.selector or words.all):
        raise Misused("give names, or -l, or --all: only one of them")
    if by_name:
        return [(path_of(target, words), _title(target)) for target in wanted]
    if not (words.selector or words.all):
        raise Misused(f"which {wanted[0].kind.plural}? give names, -l LABELS, or --all")
    found = []
    for target in wanted:
        query = {"labelSelector": words.selector} if words.selector else {}
        for obj in client.get(target.kind.path(namespace(words)), **query).get("items") or []:
            found.append(_of(target, obj))
    if not found:
        screen.note("nothing to delete")
    return found


def _of(target: Target, obj: dict[str, Any]) -> tuple[str, str]:
    metadata = obj["metadata"]
    named = Target(target.kind, metadata["name"])
    return target.kind.path(metadata.get("namespace", ""), metadata["name"]), _title(named)


def _in_files(words: Words) -> list[tuple[str, str]]:
    from muslin.cli import batch

    if words.words:
        raise Misused("give either names or -f, not both")
    return [(item.path, item.title) for item in reversed(batch.gather(words))]


def _title(target: Target) -> str:
    return output.name({"apiVersion": target.kind.group_version, "kind": target.kind.kind,
                        "metadata": {"name": target.name}})


def _delete(client: Client, path: str, title: str, words: Words) -> bool:
    try:
        client.delete(path, {"dryRun": ["All"]} if is_dry(words) else None)
    except ApiError as error:
        if error.code == 404 and words.ignore_not_found:
            return True
        screen.note(f"error: {error}")
        return False
    print(title if words.output else f"{title} deleted{' (dry run)' if is_dry(words) else ''}")
    return True
