"""`muslin label` and `muslin annotate`: words that hang on an object, set as KEY=VALUE and removed as KEY-."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from muslin.cli.connection import connect
from muslin.cli.faults import Misused, Refused
from muslin.cli.naming import Kinds, Target, namespace, path_of, scope, targets
from muslin.cli.output import name
from muslin.cli.parsing import Parser, Words, is_dry
from muslin.client.blocking import Client


def change(field: str, command: str, summary: str, examples: str, arguments: list[str]) -> int:
    """`field` is labels or annotations."""
    parser = Parser(command, summary, usage="KIND NAME... KEY=VALUE... KEY-... [options]", examples=examples)
    parser.positional("words", nargs="*", metavar="KIND")
    scope(parser)
    parser.add_argument("--overwrite", action="store_true", help="also where the key has another value")
    parser.add_argument("--remove", action="append", nargs="?", const="", default=[], metavar="KEY",
                        help="the same as KEY-; without KEY, the last name is the key, as for calicoctl")
    parser.add_argument("--all", action="store_true", help="of all objects of the kind")
    parser.add_argument("-l", "--selector", metavar="LABELS", default="", help="of all objects with these labels")
    parser.force()
    parser.dry_run("say what would change, after the server's checks")
    words = parser.read(arguments)
    names = [word for word in words.words if not _is_change(word)]
    removed = [key or (names.pop() if len(names) > 1 else "") for key in words.remove]
    wanted = changes([word for word in words.words if _is_change(word)] + [f"{key}-" for key in removed])
    if not wanted:
        raise Misused(f"say which {field}: KEY=VALUE to set, KEY- to remove")
    client = connect(words)
    chosen = targets(Kinds(client), names)
    patched: list[dict[str, Any]] = []
    for path, obj in _objects(client, chosen, words):
        print(f"{name(obj)} {_change(client, path, obj, field, wanted, words, patched)}")
    if is_dry(words) and field == "labels" and patched:
        from muslin.cli.batch import effect

        effect(client, apply=patched)
    return 0


def changes(words: Sequence[str]) -> dict[str, str | None]:
    """Value by key; None removes. Raises Misused."""
    found: dict[str, str | None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            key = word.removesuffix("-")
        if not key:
            raise Misused(f"{word!r}: write KEY=VALUE, or KEY- to remove")
        found[key] = value if equals else None
    return found


def pairs(words: Sequence[str]) -> dict[str, str]:
    """`app=web,tier=x`, given once or several times. Raises Misused."""
    found = {}
    for word in (part for each in words for part in each.split(",") if part):
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise Misused(f"label {word!r}: write KEY=VALUE, such as app=web")
        found[key.strip()] = value.strip()
    return found


def _is_change(word: str) -> bool:
    return "=" in word or (word.endswith("-") and len(word) > 1)


def _objects(client: Client, chosen: Sequence[Target], words: Words) -> list[tuple[str, dict[str, Any]]]:
    if all(target.name for target in chosen):
        paths = [path_of(target, words) for target in chosen]
        return [(path, client.get(path)) for path in paths]
    if not (words.all or words.selector):
        raise Misused(f"of which {chosen[0].kind.plural}? give names, -l LABELS, or --all")
    found = []
    for target in chosen:
        query = {"labelSelector": words.selector} if words.selector else {}
        for obj in client.get(target.kind.path(namespace(words)), **query).get("items") or []:
            metadata = obj["metadata"]
            found.append((target.kind.path(metadata.get("namespace", ""), metadata["name"]), obj))
    return found


def _change(
    client: Client, path: str, obj: dict[str, Any], field: str, wanted: dict[str, str | None], words: Words,
    patched: list[dict[str, Any]],
) -> str:
    """What was done, in a word. What it came to is added to `patched`."""
    there = obj["metadata"].get(field) or {}
    clash = {key: value for key, value in wanted.items() if value is not None and there.get(key, value) != value}
    if clash and not words.overwrite:
        key = next(iter(clash))
        raise Refused(f"{name(obj)} has {key}={there[key]} already: give --overwrite to set {key}={clash[key]}")
    differs = {key: value for key, value in wanted.items() if there.get(key) != value}
    if not differs:
        return "unchanged"
    query = {"fieldManager": "muslin", **({"dryRun": "All"} if is_dry(words) else {})}
    patched.append(client.patch(path, {"metadata": {field: differs}}, **query))
    done = "labeled" if field == "labels" else "annotated"
    return done + (" (dry run)" if is_dry(words) else "")
