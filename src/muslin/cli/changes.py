"""What a change does to who reaches whom, on a screen: pairs of classes, what they gain and lose, and by which rules.

Pairs that change alike are told as one line: the same traffic from several classes to one, and IPv4 and IPv6 of the
same workloads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from muslin.cli.screen import BOLD, DIM, GREEN, RED, paint

Json = dict[str, Any]
FEW = 3
PINGS = ("icmp type 8", "icmpv6 type 128")
MOST = 40
"""Changes on a screen; -o json has all of them."""


def lines(found: Json, *, most: int = MOST) -> Iterator[str]:
    """The screen. Nothing when nothing changes."""
    groups = list(_groups(found))
    told: dict[int, list[Json]] = {}
    for example in found.get("examples") or ():
        told.setdefault(example["change"], []).append(example)
    for sources, destination, words, families, numbers in groups[:most]:
        yield f"{_several(found, sources)} -> {paint(_called(found['classes'][destination]), BOLD)}{families}"
        for sign, colour, traffic, what in (("+", GREEN, words[0], "gained"), ("-", RED, words[1], "lost")):
            if traffic:
                yield f"  {paint(f'{sign} {chr(32).join(traffic)}', colour)}"
                those = [one for number in numbers for one in told.get(number, ()) if one["what"] == what]
                yield from _example(those[0]) if those else ()
    if len(groups) > most:
        yield f"... and {len(groups) - most} more; -o json has all"
    for word in ("appeared", "vanished"):
        ends: list[str] = found.get(word) or []
        if ends:
            some = ", ".join(map(_short, ends[:FEW]))
            yield paint(f"{word}: {some}" + (f" and {len(ends) - FEW} more" if len(ends) > FEW else ""), DIM)


def summary(found: Json) -> str:
    """`3 pairs of classes gain, 1 loses; 14 pairs of workloads are concerned`."""
    gain = sum(bool(change["gained"]) for change in found["changes"])
    lose = sum(bool(change["lost"]) for change in found["changes"])
    if not gain and not lose:
        return "nobody gains or loses a connection"
    pairs = sum(_size(found, change["source"]) * _size(found, change["destination"]) for change in found["changes"])
    parts = [f"{number} pair{'s' * (number != 1)} of classes {word}{'s' * (number == 1)}"
             for number, word in ((gain, "gain"), (lose, "lose")) if number]
    return f"{', '.join(parts)}; up to {pairs} pair{'s' * (pairs != 1)} of ends"


def _groups(found: Json) -> Iterator[tuple[list[int], int, tuple[list[str], list[str]], str, list[int]]]:
    """(sources, destination, (gained, lost), families, numbers of the changes)"""
    families: dict[tuple[str, str, str, str], set[int]] = {}
    firsts: dict[tuple[str, str, str, str], list[int]] = {}
    for number, change in enumerate(found["changes"]):
        source, destination = (found["classes"][change[end]] for end in ("source", "destination"))
        gained, lost = (" ".join(_words(change[way])) for way in ("gained", "lost"))
        key = (_identity(source), _identity(destination), gained, lost)
        families.setdefault(key, set()).add(source["family"])
        firsts.setdefault(key, []).append(number)
    merged: dict[tuple[str, str, str, tuple[int, ...]], list[int]] = {}
    for key, numbers in firsts.items():
        merged.setdefault((*key[1:], tuple(sorted(families[key]))), []).extend(numbers)
    both = {one["family"] for one in found["classes"]} == {4, 6}
    for (*_, spoken), numbers in merged.items():
        first = found["changes"][numbers[0]]
        some = list(dict.fromkeys(found["changes"][number]["source"] for number in numbers))
        seen: dict[str, int] = {}
        for source in some:
            seen.setdefault(_identity(found["classes"][source]), source)
        only = paint(f"  (IPv{spoken[0]} only)", DIM) if both and len(spoken) == 1 else ""
        words = _words(first["gained"]), _words(first["lost"])
        yield list(seen.values()), first["destination"], words, only, numbers


def _words(traffic: Sequence[str]) -> list[str]:
    """As both families say it: an echo request is a ping."""
    return ["ping" if word in PINGS else word.replace("icmpv6", "icmp") for word in traffic]


def _identity(one: Json) -> str:
    """The same for both families of the same workloads."""
    return " ".join(one.get("members") or ()) or f"outside {one['title']}"


def _several(found: Json, numbers: Sequence[int]) -> str:
    names = [_called(found["classes"][number]) for number in numbers]
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more classes" if len(names) > FEW else "")


def _called(one: Json) -> str:
    if one["kind"] == "outside":
        return f"outside ({one['title']})"
    return few(one) or str(one["title"])


def few(one: Json) -> str:
    """The names of a class of two or three, "" for others."""
    members = one.get("members") or ()
    return ", ".join(map(_short, members)) if 1 < len(members) <= FEW else ""


def _size(found: Json, number: int) -> int:
    return max(1, len(found["classes"][number].get("members") or ()))


def _short(key: str) -> str:
    """`shop/web` of an endpoint's key."""
    from muslin.errors import Invalid
    from muslin.model.names import parse_workload_endpoint_name

    _, _, rest = key.partition("/")
    namespace, _, name = rest.partition("/")
    try:
        return f"{namespace}/{parse_workload_endpoint_name(name)[2]}"
    except Invalid:
        return rest


def _example(example: Json) -> Iterator[str]:
    names = [end["address"] if end["kind"] == "outside" else "/".join(filter(None, (end["namespace"], end["name"])))
             for end in (example["source"], example["destination"])]
    what = example["packet"].rpartition(" -> ")[2].partition(" ")[2]
    yield paint(f"      such as {names[0]} -> {names[1]} {what}", DIM)
    for word in ("before", "after"):
        side = example[word]
        if side is None:
            yield paint(f"      {word:<6}  one of them was not there", DIM)
            continue
        for decided in side["decided_by"]:
            where = f"  {decided['file']}:{decided['line']}" if decided.get("file") else ""
            yield paint(f"      {word:<6}  {side['verdict']} by {decided['text']}{where}", DIM)
