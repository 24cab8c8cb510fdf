"""What people expect of their policies, in their own words, beside the policies.

    expectations:                              or, shorter      allow:
    - allow: web -> api tcp/8080                                - web -> api tcp/8080
    - deny: "* -> db"                                           deny:
    - allow: shop/web -> 8.8.8.8 udp/53                         - {app == 'web'} -> {app == 'db'}

or a list of `- allow: ...`. `namespace: shop` at the top says where bare names are. An expectation may have a `why:`.
`deny` without a port means that no packet at all passes. `allow` must say what: `any` for every packet.

A line such as `deny: * -> db` is not YAML (`*` would be an alias, `{` a mapping). It is what everybody writes first, so
`spelled` puts such lines in quotes before the file is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from muslin.model.documents import Located
from muslin.model.fault import Fault, Path
from muslin.model.validation.findings import near, shown
from muslin.net import PROTOCOLS_WITH_PORTS, protocol_number

VERDICTS = ("allow", "deny")
ARROW = "->"
ANY = "any"
_FIELDS = ("expectations", *VERDICTS, "namespace", "why")
_ICMP = ("icmp", "ping", "icmpv6")
_FAMILIES = {"ipv4": 4, "ipv6": 6, "-4": 4, "-6": 6}
_BARE = re.compile(r"^(\s*(?:-\s+)*(?:\{\s*)?(?:(?:allow|deny)\s*:\s+|-\s+))([^'\"|>\s#].*?->.*?)(\s*\}?\s*(?:#.*)?)$")


@dataclass(frozen=True, slots=True)
class Service:
    """A protocol and a range of ports, (0, 0) without ports. `protocol` 0: ICMP of either family."""

    protocol: int
    first: int = 0
    last: int = 0

    @property
    def whole(self) -> bool:
        """All ports of it."""
        return self.protocol in PROTOCOLS_WITH_PORTS and (self.first, self.last) == (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """`services` empty: every packet. `family` 0: every family that both ends have."""

    allow: bool
    source: str
    destination: str
    services: tuple[Service, ...]
    family: int
    text: str
    why: str = ""
    namespace: str = ""
    file: str = ""
    line: int = 0

    @property
    def title(self) -> str:
        return f"{'allow' if self.allow else 'deny'}: {self.text}"


def spelled(text: str) -> str:
    """The text of a file with bare expectations put in quotes. Lines stay lines."""
    return "".join(map(_quoted, text.splitlines(keepends=True)))


def _quoted(line: str) -> str:
    found = _BARE.match(line.rstrip("\r\n"))
    if not found:
        return line
    before, value, after = found.groups()
    if value.startswith("[") or re.match(r"\{?\s*(allow|deny)\s*:", value):
        return line
    if "{" not in before and after.lstrip().startswith("}"):  # the brace belongs to a selector: {app == 'db'}
        value, after = value + after[: after.index("}") + 1], after[after.index("}") + 1 :]
    if "{" in before and (cut := value.find(", why:")) > 0:
        value, after = value[:cut], value[cut:] + after
    end = line[len(line.rstrip("\r\n")) :]
    return f"{before}'{value.replace(chr(39), chr(39) * 2)}'{after}{end}"


def expectations(located: Located) -> tuple[list[Expectation], list[Fault]]:
    """All of one document."""
    reader = _Reader(located)
    return reader.read(), reader.faults


class _Reader:
    def __init__(self, located: Located) -> None:
        self._located = located
        self._namespace = ""
        self.faults: list[Fault] = []

    def read(self) -> list[Expectation]:
        document: Any = self._located.object
        if isinstance(document, list):
            return list(self._items(document, ()))
        for name in document:
            if name not in _FIELDS:
                meant = near(str(name), _FIELDS)
                self._fault((name,), f"there is no field {shown(name)} beside expectations",
                            f"did you mean {meant}?" if meant else "take it out")
        namespace = document.get("namespace", "")
        if not isinstance(namespace, str):
            self._fault(("namespace",), f"{shown(namespace)} where a namespace belongs", "write namespace: shop")
        else:
            self._namespace = namespace
        return [*self._items(document.get("expectations") or [], ("expectations",)),
                *self._item({word: document[word] for word in VERDICTS if document.get(word)}, (), "")]

    def _items(self, items: Any, path: Path) -> Iterator[Expectation]:
        if not isinstance(items, list):
            self._fault(path, f"{shown(items)} where a list belongs",
                        "write a dash before each: - allow: web -> api tcp/80")
            return
        for index, item in enumerate(items):
            if not isinstance(item, dict) or not set(VERDICTS) & item.keys():
                self._fault((*path, index), f"{shown(item)} where an expectation belongs",
                            "write allow: web -> api tcp/80, or deny: web -> db")
                continue
            for name in item.keys() - {*VERDICTS, "why"}:
                meant = near(str(name), (*VERDICTS, "why"))
                self._fault((*path, index, name), f"there is no field {shown(name)} in an expectation",
                            f"did you mean {meant}?" if meant else "take it out")
            yield from self._item(item, (*path, index), str(item.get("why") or ""))

    def _item(self, item: dict[str, Any], path: Path, why: str) -> Iterator[Expectation]:
        for word in VERDICTS:
            given = item.get(word)
            if given is None:
                continue
            for index, text in enumerate(given) if isinstance(given, list) else [(None, given)]:
                here: Path = (*path, word) if index is None else (*path, word, index)
                if isinstance(text, str):
                    yield from self._one(text, word == "allow", why, here)
                else:
                    self._fault(here, f"{shown(text)} where an expectation belongs",
                                "write it in quotes: 'web -> api tcp/80'")

    def _one(self, text: str, allow: bool, why: str, path: Path) -> Iterator[Expectation]:
        source, arrow, rest = text.partition(ARROW)
        source = source.strip()
        destination, words = _split(rest.strip())
        if not arrow or not source or not destination:
            self._fault(path, f"{shown(text)} does not say from where to where", "write web -> api tcp/80")
            return
        family, services, every = 0, list[Service](), False
        for word in words:
            if word.lower() in _FAMILIES:
                family = _FAMILIES[word.lower()]
            elif word.lower() == ANY:
                every = True
            else:
                try:
                    services += _services(word)
                except ValueError as error:
                    self._fault(path, str(error), "write tcp/80, udp/53, tcp/8000-8010, icmp, or any")
                    return
        if allow and not services and not every:
            self._fault(path, f"{shown(text)} does not say what is allowed",
                        f"write allow: {source} -> {destination} tcp/80, or any for every packet")
            return
        line, _ = self._located.position(path)
        yield Expectation(allow=allow, source=source, destination=destination, services=tuple(services), family=family,
                          text=" ".join(text.split()), why=why, namespace=self._namespace, file=self._located.file,
                          line=line)

    def _fault(self, path: Path, what: str, mend: str) -> None:
        line, column = self._located.position(path)
        self.faults.append(Fault(path=path, what=what, why="", mend=mend, file=self._located.file, line=line,
                                 column=column))


def _split(rest: str) -> tuple[str, list[str]]:
    """(destination, words behind it). A selector in braces may hold blanks."""
    if rest.startswith("{"):
        inside, brace, behind = rest.partition("}")
        return inside + brace, behind.replace(",", " ").split()
    words = rest.replace(", ", ",").split()
    return (words[0] if words else ""), [part for word in words[1:] for part in _lists(word)]


def _lists(word: str) -> Iterator[str]:
    """`tcp/80,443,udp/53` is tcp/80, tcp/443 and udp/53."""
    protocol = ""
    for part in filter(None, word.split(",")):
        if part.replace("-", "").isdigit() and protocol:
            yield f"{protocol}/{part}"
        else:
            protocol = part.partition("/")[0]
            yield part


def _services(word: str) -> list[Service]:
    """Raises ValueError."""
    name, slash, ports = word.partition("/")
    if name.lower() in _ICMP:
        if slash:
            raise ValueError(f"{word!r}: {name} has no ports")
        return [Service(0)]
    protocol = protocol_number(name)
    if not slash:
        return [Service(protocol)]
    if protocol not in PROTOCOLS_WITH_PORTS:
        raise ValueError(f"{word!r}: {name} has no ports")
    first, dash, last = ports.replace(":", "-").partition("-")
    numbers = [_port(first, word), _port(last if dash else first, word)]
    if numbers[0] > numbers[1]:
        raise ValueError(f"{word!r}: {numbers[0]} is more than {numbers[1]}")
    return [Service(protocol, *numbers)]


def _port(text: str, word: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:6]) <= 65535:
        raise ValueError(f"{word!r}: {text!r} is no port, which is 1 to 65535")
    return int(text)
