"""From the parser's events to trees, one for each document.

YAML allows more than a resource can be: keys that are no text, keys that stand twice, tags, aliases that multiply. All
of it is refused here, with its line, and the rest of the document is still read, so that its other faults are found.

Some things are only doubtful: a bare `010` is fine where text belongs and will be quoted anyway, and a trap where a
number belongs. Such doubts are handed on, for who knows the field to decide.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from muslin.model.documents import syntax
from muslin.model.documents.scalars import is_octal, resolved
from muslin.model.documents.tree import Node
from muslin.model.fault import Fault, Path, Reason
from muslin.model.validation.findings import quoted, shown
from muslin.model.validation.walk import DEEPEST

MOST_FROM_ALIASES = 100_000
"""How many values aliases may add to a document. A few lines can stand for billions."""
_TAG = "tag:yaml.org,2002:"


class Document:
    """A tree and what is wrong with it as YAML. `root` is None when there is nothing to judge."""

    __slots__ = ("doubts", "faults", "root")

    def __init__(self) -> None:
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self.doubts: list[Fault] = []


def documents(text: str) -> Iterator[Document]:
    """All documents, the broken ones with their faults; reading goes on behind the next `---`."""
    text = syntax.readable(text)
    lines, first = text.splitlines(keepends=True), 0
    while True:
        composer = _Composer(text, lines, first)
        yield from composer.documents()
        following = None if composer.broken is None else syntax.next_document(lines, composer.resume)
        if following is None:
            return
        text, first = "".join(lines[following:]), following


def _refused(fault: Fault) -> Document:
    document = Document()
    document.faults.append(fault)
    return document


class _Abandoned(Exception):
    """The rest of the document is not worth reading; the fault is written."""


class _Composer:
    def __init__(self, text: str, lines: Sequence[str], first: int) -> None:
        self._lines, self._first = lines, first
        self._parser = yaml.CSafeLoader(text)
        self._anchors: dict[str, Node | None] = {}
        self._from_aliases = 0
        self._path: list[str | int] = []
        self._depth = 0
        self._abandoned = False
        self._document = Document()
        self.broken: Fault | None = None
        self.resume = 0
        """When broken: the index of the line from which on another document may begin."""

    def documents(self) -> Iterator[Document]:
        try:
            while True:
                self._document = Document()
                event = self._parser.get_event()
                if isinstance(event, yaml.StreamEndEvent):
                    return
                if isinstance(event, yaml.DocumentStartEvent):
                    self.resume = self._begun(event).place[0]
                    self._compose()
                    yield self._document
        except yaml.YAMLError as error:
            self.broken = syntax.fault_of(error, self._lines, self._first)
            mark = getattr(error, "problem_mark", None)
            self.resume = max(self.resume, self._first + mark.line if mark else 0)
            yield _refused(self.broken) if not self._abandoned else self._document
        finally:
            self._parser.dispose()

    def _compose(self) -> None:
        self._anchors, self._from_aliases, self._path, self._depth, self._abandoned = {}, 0, [], 0, False
        try:
            self._document.root = self._node(self._parser.get_event())
        except _Abandoned:
            self._abandoned = True
        while not isinstance(self._parser.get_event(), yaml.DocumentEndEvent):
            pass

    def _node(self, event: Any) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        node = self._begun(event)
        if event.anchor:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, node)
        else:
            self._container(event, node)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _container(self, event: Any, node: Node) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._path.clear()
            self._fault(node, f"more than {DEEPEST} mappings and lists inside each other", "", "write the object flat")
            raise _Abandoned
        if isinstance(event, yaml.MappingStartEvent):
            self._check_tag(event, node, "map")
            self._mapping(node)
        else:
            self._check_tag(event, node, "seq")
            self._sequence(node)
        self._depth -= 1

    def _begun(self, event: Any) -> Node:
        mark = event.start_mark
        return Node(None, (self._first + mark.line + 1, mark.column + 1))

    def _alias(self, event: Any) -> Node:
        node = self._begun(event)
        meant = self._anchors.get(event.anchor)
        if meant is None:
            within = event.anchor in self._anchors
            self._fault(node, f"*{event.anchor} stands inside its own &{event.anchor}" if within else
                        f"there is no &{event.anchor} before *{event.anchor}", "", "write the value out")
            return node
        self._from_aliases += meant.weight
        if self._from_aliases > MOST_FROM_ALIASES:
            self._fault(node, "aliases that stand for too much", f"{MOST_FROM_ALIASES} values is the most",
                        "write the values out")
            raise _Abandoned
        node.value, node.below, node.spelled, node.weight = meant.value, meant.below, meant.spelled, meant.weight
        return node

    def _mapping(self, node: Node) -> None:
        below: dict[str, Node] = {}
        merged: list[Node] = []
        value: dict[str, Any] = {}
        node.value, node.below = value, below
        while not isinstance(event := self._parser.get_event(), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.style:
                merged.append(self._node(self._parser.get_event()))
                continue
            key, key_node = self._key(event)
            self._path.append(key)
            part = self._node(self._parser.get_event())
            part.key = key_node.place
            if key in below:
                first = below[key].key or node.place
                self._fault(key_node, f"the key {shown(key)} stands twice", f"it stands in line {first[0]} already",
                            "take one of them out, or join them", Reason.DUPLICATE)
            else:
                below[key], value[key] = part, part.value
                node.weight += part.weight
            self._path.pop()
        for one in merged:
            self._merge(one, node, below)

    def _key(self, event: Any) -> tuple[str, Node]:
        """The key as it is spelled. Kubernetes' tools would turn the key `on` into "true"."""
        if isinstance(event, yaml.ScalarEvent):
            node = self._begun(event)
            key: str = event.value
            self._check_letters(key, node)
            if not event.style and not event.tag and not isinstance(resolved(key), str):
                self._path.append(key)
                self._doubt(node, f"the key {key or 'without a word'} is no text",
                            "YAML takes it for something else", quoted(key or "key"))
                self._path.pop()
            return key, node
        node = self._node(event)
        if isinstance(node.value, str):
            return node.value, node
        if isinstance(node.value, dict):
            self._fault(node, "a mapping where a key belongs", "templates look like that",
                        "render the template first, or put the text in quotes")
            raise _Abandoned
        self._fault(node, "a key that is no text", "", "write key: value")
        return shown(node.value), node

    def _merge(self, one: Node, node: Node, below: dict[str, Node]) -> None:
        """`<<`: fields of other mappings, unless they are there; of several the first wins."""
        for source in one.below if isinstance(one.below, list) else (one,):
            if not isinstance(source.below, dict):
                self._fault(source, "<< with something that is no mapping", "it takes over the fields of a mapping",
                            "write <<: *name, with the name of an anchor")
                continue
            for key, part in source.below.items():
                if key not in below:
                    below[key] = part
                    node.value[key] = part.value
                    node.weight += part.weight

    def _sequence(self, node: Node) -> None:
        below: list[Node] = []
        self._path.append(0)
        while not isinstance(event := self._parser.get_event(), yaml.SequenceEndEvent):
            self._path[-1] = len(below)
            below.append(self._node(event))
            node.weight += below[-1].weight
        self._path.pop()
        node.value, node.below = [part.value for part in below], below

    def _scalar(self, event: Any, node: Node) -> None:
        text, style = event.value, event.style
        self._check_letters(text, node)
        if event.tag and event.tag != "!":
            self._tagged(event, node)
        elif style or event.tag:
            node.value = text
        else:
            node.value = resolved(text)
            if not isinstance(node.value, str):
                node.spelled = text
                if is_octal(text):
                    self._doubt(node, f"{text} is {shown(node.value)}", "YAML takes a zero in front for octal",
                                f'write {text.lstrip("+-0") or 0}, or "{text}" in quotes')
        width = event.end_mark.column - event.start_mark.column
        if event.end_mark.line == event.start_mark.line and width == len(text) + 2 * bool(style):
            node.letters = (node.place[0], node.place[1] + bool(style))

    def _check_letters(self, text: str, node: Node) -> None:
        if syntax.STRANGE in text:
            self._fault(node, "characters that no text file has", "", "save the file as UTF-8 text")
            raise _Abandoned

    def _tagged(self, event: Any, node: Node) -> None:
        """`!!str 5` and the like; what no resource needs is refused."""
        text = event.value
        match event.tag.removeprefix(_TAG):
            case "str":
                node.value = text
            case "int" | "float" | "bool" | "null":
                node.value, node.spelled = resolved(text), text
            case "binary":
                try:
                    node.value = base64.b64decode(text, validate=False).decode()
                except (binascii.Error, ValueError):
                    self._fault(node, "!!binary with something that is no text in base64", "", "write the text itself")
            case _:
                self._strange_tag(event, node)

    def _check_tag(self, event: Any, node: Node, expected: str) -> None:
        if event.tag and event.tag not in ("!", _TAG + expected):
            self._strange_tag(event, node)

    def _strange_tag(self, event: Any, node: Node) -> None:
        self._fault(node, f"the tag {event.tag.replace(_TAG, '!!')}", "resources have plain values", "take the tag out")

    def _fault(self, node: Node, what: str, why: str, mend: str, reason: Reason = Reason.INVALID) -> None:
        self._document.faults.append(self._placed(node, what, why, mend, reason))

    def _doubt(self, node: Node, what: str, why: str, mend: str) -> None:
        self._document.doubts.append(self._placed(node, what, why, mend, Reason.INVALID))

    def _placed(self, node: Node, what: str, why: str, mend: str, reason: Reason) -> Fault:
        path: Path = tuple(self._path)
        line, column = node.place
        return Fault(path=path, what=what, why=why, mend=mend, reason=reason, line=line, column=column)
