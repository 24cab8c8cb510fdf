"""Text that is not YAML at all: what the parser says of it, and what to write instead.

The parser reports what it expected, in its own terms. A person has indented with a tab, forgotten a quote or passed a
template; the character at the place tells which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

from muslin.model.fault import Fault

STRANGE = "\ufffd"
"""Stands for what could not be read as a character; editors show it so, too."""
_NO_TEXT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SEPARATOR = re.compile(r"---(?=\s|$)")
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")

# What the parser says -> what is wrong, and what to write instead.
_ANSWERS: tuple[tuple[str, str, str], ...] = (
    ("mapping values are not allowed", "a colon where no value can begin",
     "put a text that has ': ' in it in quotes, or indent the line like its neighbours"),
    ("unknown escape character", "a backslash that escapes nothing", "write two backslashes, or use single quotes"),
    ("expected ',' or ']'", "a list in brackets that does not end",
     "put a comma between its items, and a ] at its end"),
    ("expected ',' or '}'", "a mapping in braces that does not end",
     "put a comma between its fields, and a } at its end"),
    ("while scanning a quoted scalar", "a quote that is not closed", "close it, or double a quote inside the text"),
    ("expected node content", "a value is missing", "write it, or close the bracket that is open"),
    ("expected '-' indicator", "a line that does not belong to the list before it",
     "begin each item with a dash, in one column"),
    ("expected key", "a line that does not fit the lines before it",
     "indent it like its neighbours, and write key: value"),
    ("could not find expected ':'", "a line without a colon", "write key: value"),
    ("while scanning a block scalar", "a text of several lines that is indented unevenly",
     "indent all its lines like the first"),
    ("cannot start any token", "a character that begins nothing", "put the text in quotes"),
    ("expected <document start>", "something after the end of the object", "write --- on a line of its own before it"),
    ("nesting", "mappings and lists inside each other, too deep", "write the object flat"),
    ("alphabetic or numeric character", "a * or & that begins no name", "put the text in quotes"),
    ("found duplicate %YAML directive", "two %YAML lines", "take one out"),
    ("undefined tag handle", "a ! that begins no known tag", "put the text in quotes"),
)


def fault_of(error: yaml.YAMLError, lines: Sequence[str], first_line: int) -> Fault:
    """The parser's complaint. `first_line`: the index of the line with which the parser began."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return Fault(what=f"the text is no YAML: {error}", why="", mend="mend the file", line=first_line + 1, column=1)
    said = f"{error.context or ''} {error.problem or ''}"
    what, mend = next(((what, mend) for words, what, mend in _ANSWERS if words in said),
                      (str(error.problem), "mend the line, or put its text in quotes"))
    begun = error.context_mark
    if begun and begun.line != mark.line and ("quoted scalar" in said or "expected ','" in said):
        mark = begun
    number = first_line + mark.line
    line = lines[number] if number < len(lines) else ""
    here = line[mark.column:mark.column + 1]
    if "{{" in line:
        what, mend = "a template where YAML belongs", "render the template first, or put the text in quotes"
    elif here == "\t" or re.match(r" *\t", line):
        what, mend = "a tab", "indent with blanks: YAML knows no tabs there"
    elif here and here in "@`%":
        what, mend = f"{here} at the beginning of a text", "put the text in quotes"
    return Fault(what=what, why="this is not YAML", mend=mend, line=number + 1, column=mark.column + 1)


def next_document(lines: Sequence[str], number: int) -> int | None:
    """The first line from `number` on that separates documents."""
    return next((index for index in range(number, len(lines)) if _SEPARATOR.match(lines[index])), None)


def readable(text: str) -> str:
    """The text in a form that the parser takes.

    Without byte order mark; JSON's surrogate pairs as one letter; and what no text file has as STRANGE.
    """
    text = _NO_TEXT.sub(STRANGE, text.removeprefix("\ufeff"))
    if "\\u" in text and text.lstrip()[:1] in ("{", "["):
        return _SURROGATES.sub(_joined, text)
    return text


def _joined(found: re.Match[str]) -> str:
    high, low = int(found[2], 16), int(found[3], 16)
    return f"{found[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08x}"
