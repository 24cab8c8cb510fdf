"""What the kernel holds, against what it should hold.

`nft -j` prints rules in its own words, and each version of nft in others, so rules are not compared word by word. What
is compared of a rule is what we put beside it and where it leads: its comment (policy, direction, rule) and its last
statement. A rule that somebody deleted, added, moved or replaced by hand shows; sets and maps are compared element by
element, chains by name and hook. Names in `differences` are those that `nft list` shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from muslin.net import Cidr, is_host
from muslin.render.nft.table import Changes, Table, renewed
from muslin.render.nft.words import (
    ByMap,
    Chain,
    Choose,
    Element,
    Field,
    Hook,
    Log,
    Mapped,
    Masquerade,
    Noted,
    Redirect,
    Reject,
    Rule,
    Ruling,
    SourceNat,
    Statement,
    Translate,
    Verdict,
)

Line = tuple[str, str]
"""A rule's comment, and what its last statement is: `drop`, `goto X`, `vmap @X`, ..."""


class ListedChain(msgspec.Struct, frozen=True):
    hook: Hook | None
    lines: tuple[Line, ...]
    policy: str = "accept"


class Listing(msgspec.Struct, frozen=True):
    """A table as it can be read back. Elements are text: `10.0.0.1 . mus1` and the verdict or "". `loose`: sets whose
    elements come and go while the table stands; a kernel does not tell."""

    chains: dict[str, ListedChain] = {}
    elements: dict[str, dict[str, str]] = {}
    loose: frozenset[str] = frozenset()


def listing_of(table: Table) -> Listing:
    """What reading the table back must give."""
    return Listing(
        {name: _expected_chain(chain) for name, chain in table.chains.items()},
        {
            name: {_element_text(element): _verdict_text(verdict) for element, verdict in content.items()}
            for name, content in table.elements.items()
        },
        frozenset(name for name, declared in table.sets.items() if declared.loose),
    )


def parse(output: bytes) -> Listing:
    """From `nft -n -j list table`."""
    chains: dict[str, ListedChain] = {}
    lines: dict[str, list[Line]] = {}
    elements: dict[str, dict[str, str]] = {}
    for item in msgspec.json.decode(output)["nftables"]:
        for kind, body in item.items():
            if kind == "chain":
                chains[body["name"]] = ListedChain(_hook(body), (), body.get("policy", "accept"))
            elif kind == "rule":
                lines.setdefault(body["chain"], []).append((body.get("comment", ""), _listed_ending(body["expr"])))
            elif kind in ("set", "map"):
                elements[body["name"]] = dict(_listed_elements(body.get("elem", [])))
    with_lines = {
        name: msgspec.structs.replace(chain, lines=tuple(lines.get(name, ()))) for name, chain in chains.items()
    }
    return Listing(with_lines, elements)


def counters(output: bytes) -> dict[str, tuple[int, int]]:
    """From `nft -n -j list table`: comment -> (packets, bytes) of the rules that bear it. One rule of a policy may be
    several of the kernel's, or elements of a set that counts."""
    found: dict[str, tuple[int, int]] = {}
    for item in msgspec.json.decode(output)["nftables"]:
        rule = item.get("rule", {})
        told = [(rule.get("comment"), one["counter"]) for one in rule.get("expr", ()) if "counter" in one][:1]
        elements = (each["elem"] for each in item.get("set", {}).get("elem", ()) if isinstance(each, dict)
                    and "elem" in each)
        told += [(each.get("comment"), each["counter"]) for each in elements if "counter" in each]
        for comment, counted in told:
            if comment:
                packets, size = found.get(comment, (0, 0))
                found[comment] = packets + counted["packets"], size + counted["bytes"]
    return found


def differences(expected: Listing, found: Listing | None) -> tuple[str, ...]:
    """What is not as it should be, in words; none when all is well. `found` None: there is no table."""
    if found is None:
        return ("the table is gone",)
    return (*_chain_differences(expected, found), *_element_differences(expected, found))


def renewal(table: Table, found: Listing) -> Changes:
    """What makes this table of what was found, without a loss: see `table.renewed`."""
    wanted = listing_of(table)
    unchanged = {name for name, content in wanted.elements.items() if found.elements.get(name) == content}
    strange_sets = found.elements.keys() - wanted.elements.keys()
    return renewed(table, unchanged, sorted(found.chains.keys() - wanted.chains.keys()), sorted(strange_sets))


def _chain_differences(expected: Listing, found: Listing) -> Iterator[str]:
    for name in sorted(expected.chains.keys() | found.chains.keys()):
        wanted, there = expected.chains.get(name), found.chains.get(name)
        if there is None or wanted is None:
            yield f"chain {name} {'is gone' if there is None else 'is not ours'}"
        elif (wanted.hook, wanted.policy) != (there.hook, there.policy):
            yield f"chain {name} is hooked in otherwise"
        elif wanted.lines != there.lines:
            yield f"chain {name} has {len(there.lines)} rules, not the {len(wanted.lines)} that were written"


def _element_differences(expected: Listing, found: Listing) -> Iterator[str]:
    for name in sorted(expected.elements.keys() | found.elements.keys()):
        wanted, there = expected.elements.get(name), found.elements.get(name)
        if there is None or wanted is None:
            yield f"set {name} {'is gone' if there is None else 'is not ours'}"
        elif wanted != there and name not in expected.loose:
            missing, strange = len(wanted.items() - there.items()), len(there.items() - wanted.items())
            yield f"set {name} lacks {missing} elements and has {strange} that are not ours"


def _expected_chain(chain: Chain) -> ListedChain:
    return ListedChain(chain.hook, tuple(_expected_line(rule) for rule in chain.rules))


def _expected_line(rule: Rule) -> Line:
    return rule.comment, _ending(rule.statements[-1])


def _ending(statement: Statement) -> str:
    match statement:
        case Verdict():
            return _verdict_text(statement)
        case ByMap(map=name):
            return f"vmap @{name}"
        case Choose():
            return "vmap"
        case Log():
            return "log"
        case Masquerade():
            return "masquerade"
        case Reject():
            return "reject"
        case SourceNat():
            return "snat"
        case Redirect():
            return "dnat"
        case Translate(field=field):
            return "snat" if field in (Field.SOURCE4, Field.SOURCE6) else "dnat"
        case _:
            return ""


def _verdict_text(value: Mapped) -> str:
    match value:
        case None:
            return ""
        case Verdict(ruling=ruling, chain=chain):
            return f"{ruling} {chain}".strip()
        case Noted(comment=comment):
            return comment
        case _:
            return _element_text(value)


def _element_text(element: Element) -> str:
    if isinstance(element, tuple):
        return " . ".join(_element_text(atom) for atom in element)
    if isinstance(element, str) and "/" in element and is_host(Cidr(element)):
        return element.partition("/")[0]
    return str(element)


def _hook(body: dict[str, Any]) -> Hook | None:
    return Hook(body["type"], body["hook"], body["prio"]) if "hook" in body else None


def _listed_ending(statements: list[dict[str, Any]]) -> str:
    last = statements[-1]
    if "vmap" in last:
        data = last["vmap"]["data"]
        return f"vmap {data}" if isinstance(data, str) else "vmap"
    return _listed_verdict(last) if last.keys() & set(Ruling) else next(
        (word for word in ("log", "masquerade", "reject", "snat", "dnat") if word in last), ""
    )


def _listed_verdict(body: dict[str, Any]) -> str:
    for ruling in Ruling:
        if ruling in body:
            target = body[ruling]
            return f"{ruling} {target['target']}" if target else str(ruling)
    return ""


def _listed_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return _listed_element(value) if "concat" in value else _listed_verdict(value)


def _listed_elements(elements: list[Any]) -> Iterator[tuple[str, str]]:
    for element in elements:
        if isinstance(element, list):
            key, verdict = element
            yield _listed_element(key), _listed_value(verdict)
        else:
            yield _listed_element(element), _listed_comment(element)


def _listed_comment(body: Any) -> str:
    return str(body["elem"].get("comment", "")) if isinstance(body, dict) and "elem" in body else ""


def _listed_element(body: Any) -> str:
    match body:
        case {"elem": {"val": value}}:
            return _listed_element(value)
        case {"concat": parts}:
            return " . ".join(_listed_element(part) for part in parts)
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case {"range": [first, last]}:
            return f"{first}-{last}"
        case _:
            return str(body)
