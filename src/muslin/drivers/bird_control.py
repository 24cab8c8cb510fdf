"""BIRD's control protocol: one line in, numbered lines out.

    0001 BIRD 2.0.12 ready.        greeting
    1002-Mesh_10_0_0_2 BGP ...     `-` behind the number: more lines follow
    1006-  Description: ...
         BGP state: Established    a space instead of a number: the number of the line before
    0000                           a space behind the number: the last line of the answer

Numbers 0xxx and 1xxx are answers, 8xxx and 9xxx refusals (BIRD's doc/reply_codes).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

from muslin.errors import Transient

_PATIENCE = 10.0
_LONGEST_LINE = 1 << 20


class Line(NamedTuple):
    code: int
    text: str


class Answer(NamedTuple):
    """`version` is the greeting's. `refusal` is BIRD's reason for not doing it, "" when it did."""

    version: str
    lines: tuple[Line, ...]

    @property
    def refusal(self) -> str:
        return "; ".join(line.text for line in self.lines if line.code >= 8000)


async def ask(socket: Path, command: str) -> Answer:
    """Raises Transient when nobody answers in time."""
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=_LONGEST_LINE)
            try:
                greeting = await _answer(reader)
                writer.write(command.encode() + b"\n")
                lines = await _answer(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise Transient(f"BIRD does not answer at {socket}: {error or 'timed out'}") from None
    return Answer(greeting[-1].text.removeprefix("BIRD ").removesuffix(" ready."), tuple(lines))


async def _answer(reader: asyncio.StreamReader) -> list[Line]:
    lines: list[Line] = []
    while True:
        raw = await reader.readuntil(b"\n")
        text = raw[:-1].decode(errors="replace")
        if text[:4].isdigit() and text[4:5] in ("-", " ", ""):
            lines.append(Line(int(text[:4]), text[5:]))
            if text[4:5] != "-":
                return lines
        elif text.startswith("+"):
            continue  # a log line that somebody asked BIRD to echo
        else:
            lines.append(Line(lines[-1].code if lines else 0, text[1:]))
