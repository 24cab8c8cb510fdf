"""The answer of a check of one value: nothing, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable

Wrong = tuple[str, str, str]
"""What is wrong, why it matters ("" when plain), what to write instead."""

TextForm = Callable[[str], Wrong | None]
MixedForm = Callable[[int | str], Wrong | None]
