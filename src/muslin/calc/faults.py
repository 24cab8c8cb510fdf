"""What is wrong with which object, and what of that is news.

One object can be wrong in several ways that are found in different places (its own words, a rival on its host, BGP).
Each place reports under its own name; the object's message is all of them.
"""

from __future__ import annotations

from muslin.model.meta import ResourceKey


class Faults:
    def __init__(self) -> None:
        self._current: dict[ResourceKey, dict[str, str]] = {}
        self._told: dict[ResourceKey, str] = {}
        self._touched: set[ResourceKey] = set()

    def note(self, key: ResourceKey, place: str, message: str | None) -> None:
        """From now on this is what `place` has to say of the object; None: nothing."""
        found = self._current.get(key)
        if message is None:
            if found is None or found.pop(place, None) is None:
                return
            if not found:
                del self._current[key]
        else:
            self._current.setdefault(key, {})[place] = message
        self._touched.add(key)

    def flush(self) -> dict[ResourceKey, str | None]:
        """What changed since the last call; None: nothing is wrong any more."""
        news: dict[ResourceKey, str | None] = {}
        for key in sorted(self._touched):
            message = self.message(key)
            if message == self._told.get(key):
                continue
            news[key] = message
            if message is None:
                del self._told[key]
            else:
                self._told[key] = message
        self._touched.clear()
        return news

    def message(self, key: ResourceKey) -> str | None:
        found = self._current.get(key)
        return "; ".join(found[place] for place in sorted(found)) if found else None

    def all(self) -> dict[ResourceKey, str]:
        return {key: message for key in sorted(self._current) if (message := self.message(key)) is not None}
