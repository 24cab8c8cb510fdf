"""Where checks put what they find, and how they word it.

Every check gets the same list and appends to it; nobody raises, nobody stops. The words for values and near misses
are here, so that the same mistake reads the same everywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from muslin.model.fault import Fault, Path, Reason

_LONGEST_SHOWN = 60
_CLOSE = 0.65

# Words that people bring along from iptables, firewalls and BIRD.
_SYNONYMS = (
    frozenset({"allow", "accept", "permit", "pass through"}),
    frozenset({"deny", "reject", "drop", "block"}),
    frozenset({"pass", "next", "nexttier", "next-tier", "continue"}),
    frozenset({"enabled", "enable", "true", "on", "yes"}),
    frozenset({"disabled", "disable", "false", "off", "no"}),
)


class Findings:
    """The faults of one object, in the order they were found.

    Rules see only what is well-typed, so what is ill-typed looks absent to them. Hence an absence is not a fault where
    there already is one, at that place or below it.
    """

    __slots__ = ("_touched", "faults")

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._touched: set[Path] = set()

    def add(
        self, path: Path, what: str, why: str, mend: str, reason: Reason = Reason.INVALID, offset: int = 0
    ) -> None:
        """Sentences without a full stop; `why` may be empty, `what` and `mend` never are."""
        if reason is Reason.REQUIRED and path in self._touched:
            return
        self._touched.update(path[:end] for end in range(1, len(path) + 1))
        self.faults.append(Fault(path=path, what=what, why=why, mend=mend, reason=reason, offset=offset))


def shown(value: Any) -> str:
    """A value as the user would recognise it, cut when long."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            text = value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 3] + "..."
            return f"'{text}'" if "'" not in text else f'"{text}"'
        case int() | float():
            return str(value) if isinstance(value, float) or abs(value) < 10**_LONGEST_SHOWN else "a huge number"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def listed(words: Iterable[str | int], last: str = "or") -> str:
    """`a, b or c`."""
    texts = [str(word) for word in words]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {last} {texts[-1]}"


def near(word: str, words: Iterable[str]) -> str | None:
    """The word that was most likely meant: the same in another case, a synonym, or a close spelling."""
    candidates = list(words)
    folded = word.strip().casefold()
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    if folded in by_folded:
        return by_folded[folded]
    for group in _SYNONYMS:
        if folded in group:
            meant = [candidate for low, candidate in by_folded.items() if low in group]
            if meant:
                return meant[0]
    close = difflib.get_close_matches(folded, by_folded, 1, _CLOSE)
    return by_folded[close[0]] if close else None


def quoted(text: str) -> str:
    """How a text must be written so that YAML does not read a number or a truth value into it."""
    return f'put it in quotes: "{text}"'
