"""Which classes does a selector match, kept true while labels and selectors come and go.

Asking every selector about every class on every change is what makes policy engines slow. Most selectors demand
one definite label (`app == "db"`), many a namespace too. So each selector stands under a handle, and a class asks
only those that stand under a handle of its own:

    `app == "db"`                                    handle (app, db)
    `has(app)`, `app starts with "d"`                handle (app,)
    either, and `projectcalico.org/namespace == "shop"`  the same handle, for that namespace only
    `!has(app)`, `all()`                             no handle: everybody asks

In the other direction a new selector asks only the classes that carry the rarest label it demands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from muslin.calc.members import LabelClass
from muslin.model.selector import NAMESPACE_LABEL, Selector

if TYPE_CHECKING:
    from muslin.calc.policies import PolicyState
    from muslin.calc.sets import ActiveSet

K = TypeVar("K")
V = TypeVar("V")

Handle = tuple[str | None, str, str | None]
"""(namespace or None for any, label, value or None for any)"""

_EVERYBODY: Handle = (None, "", None)


class Entry:
    """One distinct selector, the classes that it matches, and who asked: policies, sets."""

    __slots__ = ("classes", "handles", "policies", "selector", "sets")

    def __init__(self, selector: Selector) -> None:
        self.selector = selector
        self.handles = _handles(selector)
        self.classes: set[LabelClass] = set()
        self.policies: set[PolicyState] = set()
        self.sets: set[ActiveSet] = set()


class SelectorIndex:
    def __init__(self) -> None:
        self._entries: dict[Selector, Entry] = {}
        self._by_handle: dict[Handle, set[Entry]] = {}
        self._classes: set[LabelClass] = set()
        self._by_label: dict[str, dict[str, set[LabelClass]]] = {}

    def entry(self, selector: Selector) -> Entry:
        """The entry of a selector, made on first use. Whoever puts nothing into it must `release` it."""
        entry = self._entries.get(selector)
        if entry is None:
            entry = self._entries[selector] = Entry(selector)
            for handle in entry.handles:
                self._by_handle.setdefault(handle, set()).add(entry)
            for found in self.matching(selector):
                entry.classes.add(found)
                found.entries.add(entry)
        return entry

    def release(self, entry: Entry) -> None:
        """Forget the entry if nobody asks any more."""
        if entry.policies or entry.sets:
            return
        del self._entries[entry.selector]
        for handle in entry.handles:
            _discard(self._by_handle, handle, entry)
        for found in entry.classes:
            found.entries.discard(entry)

    def matching(self, selector: Selector) -> Iterator[LabelClass]:
        matches = selector.matches
        return (candidate for candidate in self._candidates(selector) if matches(candidate.labels))

    def matches(self, labels: Mapping[str, str]) -> set[Entry]:
        """Entries that match these labels."""
        candidates: set[Entry] = set(self._by_handle.get(_EVERYBODY, ()))
        namespace = labels.get(NAMESPACE_LABEL)
        for label, value in labels.items():
            for handle in _handles_of(namespace, label, value):
                if found := self._by_handle.get(handle):
                    candidates |= found
        return {entry for entry in candidates if entry.selector.matches(labels)}

    def add(self, label_class: LabelClass) -> None:
        """Its labels can be found from now on. Its entries are the caller's to set, by `move`."""
        self._classes.add(label_class)
        for label, value in label_class.labels.items():
            self._by_label.setdefault(label, {}).setdefault(value, set()).add(label_class)

    def discard(self, label_class: LabelClass) -> None:
        self._classes.discard(label_class)
        for label, value in label_class.labels.items():
            values = self._by_label[label]
            _discard(values, value, label_class)
            if not values:
                del self._by_label[label]

    def move(self, label_class: LabelClass, entries: set[Entry]) -> None:
        """From now on exactly these match the class."""
        for entry in label_class.entries - entries:
            entry.classes.discard(label_class)
        for entry in entries - label_class.entries:
            entry.classes.add(label_class)
        label_class.entries = entries

    def statistics(self) -> dict[str, int]:
        return {"selectors": len(self._entries), "handles": len(self._by_handle), "labels": len(self._by_label)}

    def _candidates(self, selector: Selector) -> Iterable[LabelClass]:
        best: Iterable[LabelClass] = self._classes
        fewest = len(self._classes)
        for label, values in selector.requires:
            known = self._by_label.get(label, {})
            pools = list(known.values()) if values is None else [known[value] for value in values if value in known]
            number = sum(map(len, pools))
            if number < fewest:
                fewest, best = number, (candidate for pool in pools for candidate in pool)
        return best


def _handles(selector: Selector) -> tuple[Handle, ...]:
    """Where the selector stands: under its namespace if it demands one, and the demand with the fewest values."""
    namespaces: Iterable[str | None] = (None,)
    demands: list[tuple[str, frozenset[str] | None]] = []
    for label, values in selector.requires:
        if label == NAMESPACE_LABEL and values is not None:
            namespaces = values
        else:
            demands.append((label, values))
    if not demands:
        if None in namespaces:
            return (_EVERYBODY,)
        return tuple((namespace, NAMESPACE_LABEL, namespace) for namespace in sorted(filter(None, namespaces)))
    label, values = min(demands, key=lambda demand: (len(demand[1]) if demand[1] is not None else 1 << 30, demand[0]))
    choices: Iterable[str | None] = values if values is not None else (None,)
    return tuple((namespace, label, value) for namespace in namespaces for value in choices)


def _handles_of(namespace: str | None, label: str, value: str) -> tuple[Handle, ...]:
    if namespace is None:
        return (None, label, value), (None, label, None)
    return (None, label, value), (None, label, None), (namespace, label, value), (namespace, label, None)


def _discard(index: dict[K, set[V]], key: K, value: V) -> None:
    found = index[key]
    found.discard(value)
    if not found:
        del index[key]
