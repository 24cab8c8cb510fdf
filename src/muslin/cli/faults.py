"""Ends of a command that are not successes, and the words that were meant."""

from __future__ import annotations

from collections.abc import Iterable

from muslin.errors import MuslinError


class Refused(MuslinError):
    """Said to the user as `error: ...`; ends the command with `code`."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Misused(Refused):
    """The command line itself is wrong."""


def meant(word: str, words: Iterable[str]) -> str:
    """`, did you mean 'x'?` where some word is near, else nothing. For the middle of an error message."""
    import difflib

    near = difflib.get_close_matches(word.lower(), sorted(set(words)), n=1, cutoff=0.6)
    return f", did you mean {near[0]!r}?" if near else ""
