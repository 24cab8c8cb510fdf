"""What a change does to who reaches whom, on a screen: pairs of classes, what they gain and lose, and by which rules.

Pairs that change alike are told as one line: the same traffic from several classes to several others, and IPv4 and
IPv6 of the same workloads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from muslin.cli.screen import BOLD, DIM, GREEN, RED, paint

Json = dict[str, Any]
FEW = 3
PINGS = ("icmp type 8", "icmpv6 type 128")
MOST = 40
"""Groups of changes on a screen; -o json has all of them."""
LONG = 160
"""Letters of traffic on a line."""


def lines(found: Json, *, most: int = MOST) -> Iterator[str]:
    """The screen. Nothing when nothing changes."""
    groups = list(_groups(found))
    told: dict[int, list[Json]] = {}
    for example in found.get("examples") or ():
        told.setdefault(example["group"], []).append(example)
    for sources, destinations, words, families, numbers in groups[:most]:
        yield f"{_several(found, sources)} -> {paint(_several(found, destinations), BOLD)}{families}"
        for sign, colour, traffic, what in (("+", GREEN, words[0], "gained"), ("-", RED, words[1], "lost")):
            if traffic:
                yield f"  {paint(f'{sign} {_few(traffic)}', colour)}"
                those = [one for number in numbers for one in told.get(number, ()) if one["what"] == what]
                yield from _example(those[0]) if those else ()
    if len(groups) > most:
        yield f"... and {len(groups) - most} more; -o json has all"
    for word in ("appeared", "vanished"):
        ends: list[str] = found.get(word) or []
        if ends:
            some = ", ".join(map(_short, ends[:FEW]))
            yield paint(f"{word}: {some}" + (f" and {len(ends) - FEW} more" if len(ends) > FEW else ""), DIM)


def host_lines(found: Json) -> Iterator[str]:
    """What hosts themselves send and get is not compared packet by packet; that it changes is told."""
    hosts = found.get("hosts") or []
    for one in hosts[:FEW]:
        yield (f"host endpoint {paint(one['name'], BOLD)}: {one['host']} is asked something else of what it sends and "
               f"gets itself: muslin why WHO host/{one['host']} tcp/PORT")
    if len(hosts) > FEW:
        yield f"... and {len(hosts) - FEW} more host endpoints; -o json has all"


def summary(found: Json) -> str:
    """`3 pairs of classes gain, 1 loses; up to 14 pairs of ends`."""
    counted = {way: sum(_pairs(found, one)[0] for one in found["groups"] if one[way]) for way in ("gained", "lost")}
    if not any(counted.values()):
        return f"{'no workload' if found.get('hosts') else 'nobody'} gains or loses a connection"
    ends = sum(_pairs(found, one)[1] for one in found["groups"])
    parts = [f"{number} pair{'s' * (number != 1)} of classes {word}{'s' * (number == 1)}"
             for number, word in ((counted["gained"], "gain"), (counted["lost"], "lose")) if number]
    return f"{', '.join(parts)}; up to {ends} pair{'s' * (ends != 1)} of ends"


def _pairs(found: Json, group: Json) -> tuple[int, int]:
    """Of classes, and of ends; a class of one workload is not meant with itself."""
    sources, destinations = group["sources"], group["destinations"]
    alone = sum(len(found["classes"][number].get("members") or ()) == 1
                for number in set(sources).intersection(destinations))
    ends = sum(_size(found, one) for one in sources) * sum(_size(found, one) for one in destinations)
    return len(sources) * len(destinations) - alone, ends - alone


Ends = tuple[str, ...]


def _groups(found: Json) -> Iterator[tuple[list[int], list[int], tuple[list[str], list[str]], str, list[int]]]:
    """(sources, destinations, (gained, lost), families, numbers of the groups): IPv4 and IPv6 of the same workloads
    are told as one."""
    merged: dict[tuple[Ends, Ends, Ends, Ends], list[int]] = {}
    for number, group in enumerate(found["groups"]):
        ends = (tuple(_identity(found["classes"][one]) for one in group[end]) for end in ("sources", "destinations"))
        words = (tuple(_words(group[way])) for way in ("gained", "lost"))
        merged.setdefault((*ends, *words), []).append(number)  # type: ignore[arg-type]
    both = {one["family"] for one in found["classes"]} == {4, 6}
    for (*_, gained, lost), numbers in merged.items():
        first = found["groups"][numbers[0]]
        spoken = {found["classes"][found["groups"][number]["sources"][0]]["family"] for number in numbers}
        only = paint(f"  (IPv{min(spoken)} only)", DIM) if both and len(spoken) == 1 else ""
        yield first["sources"], first["destinations"], (list(gained), list(lost)), only, numbers


def _words(traffic: Sequence[str]) -> list[str]:
    """As both families say it: an echo request is a ping."""
    return list(dict.fromkeys("ping" if word in PINGS else word.replace("icmpv6", "icmp") for word in traffic))


def _few(traffic: Sequence[str]) -> str:
    """On one line: of hundreds of ports the first, and how many more."""
    text = " ".join(traffic)
    if len(text) <= LONG:
        return text
    parts = [part for word in traffic for part in _numbers(word)]
    shown = ""
    for count, part in enumerate(parts):
        if len(shown) + len(part) > LONG:
            return f"{shown} and {len(parts) - count} more"
        shown += ("," if shown and part[0].isdigit() and "/" not in part else " " if shown else "") + part
    return shown


def _numbers(word: str) -> list[str]:
    """`tcp/80,443` is `tcp/80` and `443`."""
    return word.split(",")


def _identity(one: Json) -> str:
    """The same for both families of the same workloads."""
    return " ".join(one.get("members") or ()) or f"outside {one['title']}"


def _several(found: Json, numbers: Sequence[int]) -> str:
    names = [_called(found["classes"][number]) for number in numbers]
    more = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {more} more class{'es' * (more > 1)}" if more > 0 else "")


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
