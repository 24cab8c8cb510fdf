"""Which objects a user means: `gnp`, `gnp/web`, `gnp web db`, `np,gnp`, with -n and -A."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from muslin.cli.faults import Misused, Refused, meant
from muslin.cli.parsing import Parser, Words
from muslin.client.blocking import Client
from muslin.client.kinds import Served, served


class Target(NamedTuple):
    """One object, or with name "" all of a kind. `namespace` is said by the object itself, else by the command line."""

    kind: Served
    name: str
    namespace: str = ""


class Kinds:
    """The server's kinds, asked for once."""

    def __init__(self, client: Client) -> None:
        self.all = served(client)
        self._words: dict[str, Served] = {}
        for kind in self.all:
            for word in kind.words():
                self._words.setdefault(word, kind)

    def find(self, word: str) -> Served:
        """Raises Misused, with the kind that was meant."""
        kind = self._words.get(word.lower())
        if kind is None:
            raise Misused(f"the server has no kind {word!r}{meant(word, self._words)}\n  see: muslin kinds")
        return kind

    def several(self, word: str, *, wholesale: bool) -> list[Served]:
        """`np,gnp`; with `wholesale` also a category such as `calico`, or `all`."""
        found: list[Served] = []
        for part in word.split(","):
            chosen = [kind for kind in self.all if part == "all" or part in kind.categories] if wholesale else []
            found += [kind for kind in chosen or [self.find(part)] if kind not in found]
        return found


def targets(kinds: Kinds, words: Sequence[str], *, wholesale: bool = False) -> list[Target]:
    """Without `wholesale` each kind must be named: nobody means to delete all that there is. Raises Misused."""
    if not words:
        raise Misused("say what: a kind, such as gnp, or KIND/NAME\n  see: muslin kinds")
    if not all(words):
        raise Misused("one of the words is empty: is a variable of the shell not set?")
    if "/" in words[0]:
        if loose := [word for word in words if "/" not in word]:
            raise Misused(f"{loose[0]!r}: where one word is KIND/NAME, all must be")
        return [_slashed(kinds, word) for word in words]
    chosen, names = kinds.several(words[0], wholesale=wholesale), words[1:]
    if slashed := [name for name in names if "/" in name]:
        raise Misused(f"{slashed[0]!r}: write either KIND NAME... or KIND/NAME...")
    if not names:
        return [Target(kind, "") for kind in chosen]
    if len(chosen) > 1:
        raise Misused(f"{words[0]} names {len(chosen)} kinds: give names to one kind only, or write KIND/NAME")
    return [Target(chosen[0], name) for name in names]


def _slashed(kinds: Kinds, word: str) -> Target:
    kind, _, name = word.partition("/")
    if not kind or not name:
        raise Misused(f"{word!r}: write KIND/NAME, such as gnp/web")
    return Target(kinds.find(kind), name)


def scope(parser: Parser, *, every: bool = True) -> None:
    """-n and -A."""
    parser.add_argument("-n", "--namespace", default="", metavar="NAME", help="of namespaced kinds (default: default)")
    if every:
        parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")


def namespace(words: Words) -> str:
    """"" for all namespaces."""
    return "" if getattr(words, "all_namespaces", False) else words.namespace or "default"


def path_of(target: Target, words: Words) -> str:
    """Where the object lies in the API. Raises Refused when one object of all namespaces is meant."""
    inside = target.namespace or namespace(words)
    if target.name and target.kind.namespaced and not inside:
        raise Refused(f"{target.kind.singular}/{target.name}: one object lies in one namespace, so -A cannot name it: "
                      "use -n")
    return target.kind.path(inside, target.name)
