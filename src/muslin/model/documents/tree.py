"""A document as a tree in which every value knows its line.

The parser says where each token stands; plain data has forgotten. So the tree keeps both: `value` is the plain data,
`below` the nodes of the parts. A path leads to a line, also after the data has been judged by somebody who knows
nothing of files.
"""

from __future__ import annotations

from typing import Any

from muslin.model.fault import Path

Place = tuple[int, int]
"""Line and column, from 1."""


class Node:
    """One value of a document. `spelled`: the letters, where YAML read something other than text into them."""

    __slots__ = ("below", "key", "letters", "place", "spelled", "value", "weight")

    def __init__(self, value: Any, place: Place) -> None:
        self.value = value
        self.place = place
        self.key: Place | None = None
        """Where the key of the value stands, if it has one."""
        self.below: dict[str, Node] | list[Node] | None = None
        self.spelled: str | None = None
        self.letters: Place | None = None
        """Where the first letter of a text stands, if each letter of the value is one letter of the file."""
        self.weight = 1
        """How many values it holds, itself included, with its aliases written out."""

    def find(self, path: Path) -> tuple[Node, bool]:
        """The node at the path, or else the deepest on the way there; and whether it is the one."""
        node = self
        for step in path:
            part = node.part(step)
            if part is None:
                return node, False
            node = part
        return node, True

    def part(self, step: str | int) -> Node | None:
        if isinstance(self.below, dict):
            return self.below.get(str(step))
        if isinstance(self.below, list) and isinstance(step, int) and step < len(self.below):
            return self.below[step]
        return None

    def position(self, path: Path, *, key: bool = False, offset: int = 0) -> Place:
        """Where to look: a word itself, `offset` letters into it; the key of what is a mapping, a list or nothing."""
        node, found = self.find(path)
        if node.key and (key or not found or node.below is not None or node.value is None):
            return node.key
        if found and offset and node.letters:
            return node.letters[0], node.letters[1] + offset
        return node.place
