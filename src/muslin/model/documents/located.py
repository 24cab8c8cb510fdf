"""An object of a file, which still knows its lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from muslin.model.documents.tree import Node, Place
from muslin.model.fault import Path

# Words of Calico's policy -> those of Kubernetes', for objects that were converted.
_KUBERNETES_WORDS = {"selector": "podSelector", "types": "policyTypes"}


@dataclass(frozen=True, slots=True)
class Located:
    """`object` is in Calico's v3 form, whatever form it has in the file. Lines and columns count from 1."""

    object: dict[str, Any]
    file: str
    line: int
    column: int
    root: Node = field(repr=False)
    base: Path = ()
    """Where the object stands in its document: ("items", 3) in a List."""
    rules: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    """Direction -> for each rule of a converted policy, the index of the rule in the file."""

    original: dict[str, Any] | None = None
    """Kubernetes' own policy, where `object` is what it means."""

    def position(self, path: Path) -> Place:
        """Line and column of a field of `object`, or of what is nearest to it on the way there."""
        return self.root.position(self.base + self._in_file(path))

    def written_position(self, path: Path) -> Place:
        """The same for a field in the words of the file."""
        return self.root.position(self.base + path)

    def _in_file(self, path: Path) -> Path:
        if not self.rules or len(path) < 2 or path[0] != "spec":
            return path
        step, rest = str(path[1]), path[2:]
        sources = self.rules.get(step, ())
        if rest and isinstance(rest[0], int) and rest[0] < len(sources):
            return "spec", step, sources[rest[0]]
        return "spec", _KUBERNETES_WORDS.get(step, step)
