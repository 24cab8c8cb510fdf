"""The classes that exist, and what they inherit.

A member's effective labels are its own ones and those that its profiles hand down. Members with the same own labels
and the same profiles therefore always have the same effective labels, whatever the profiles say at the moment: that
pair is the class, and it does not change when a profile does. A profile change moves whole classes between selectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from muslin.calc.members import ClassKey, LabelClass, Sort
from muslin.calc.selectors import Entry, SelectorIndex
from muslin.model.labels import effective_labels

Inherited = Callable[[str], Mapping[str, str]]


class Classes:
    def __init__(self, index: SelectorIndex, inherited: Inherited) -> None:
        """`inherited`: labelsToApply of a profile by name, empty when there is none."""
        self._index = index
        self._inherited = inherited
        self._classes: dict[ClassKey, LabelClass] = {}
        self._by_profile: dict[str, set[LabelClass]] = {}

    def get(self, sort: Sort, own: dict[str, str], profiles: tuple[str, ...]) -> LabelClass:
        """The class, made if it is new."""
        key: ClassKey = (sort, profiles, tuple(sorted(own.items())))
        found = self._classes.get(key)
        if found is None:
            found = self._classes[key] = LabelClass(key, own)
            found.labels = self._labels(found)
            for profile in profiles:
                self._by_profile.setdefault(profile, set()).add(found)
            self._index.add(found)
            self._index.move(found, self._index.matches(found.labels))
        return found

    def release(self, label_class: LabelClass) -> None:
        """Forget a class without members."""
        if label_class.members:
            return
        del self._classes[label_class.key]
        for profile in label_class.profiles:
            found = self._by_profile.get(profile)
            if found is not None:
                found.discard(label_class)
                if not found:
                    del self._by_profile[profile]
        self._index.move(label_class, set())
        self._index.discard(label_class)

    def with_profile(self, profile: str) -> list[LabelClass]:
        return list(self._by_profile.get(profile, ()))

    def matches_anew(self, label_class: LabelClass) -> tuple[dict[str, str], set[Entry]]:
        """(labels, entries) that the class should have now."""
        labels = self._labels(label_class)
        return labels, self._index.matches(labels)

    def relabel(self, label_class: LabelClass, labels: dict[str, str], entries: set[Entry]) -> None:
        self._index.discard(label_class)
        label_class.labels = labels
        self._index.add(label_class)
        self._index.move(label_class, entries)

    def _labels(self, label_class: LabelClass) -> dict[str, str]:
        if not label_class.profiles:
            return label_class.own
        return effective_labels(label_class.own, map(self._inherited, label_class.profiles))

    def __iter__(self) -> Iterator[LabelClass]:
        return iter(self._classes.values())

    def __len__(self) -> int:
        return len(self._classes)
