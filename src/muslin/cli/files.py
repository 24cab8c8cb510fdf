"""Objects from files: every document of every file is read before anything is said or done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muslin.cli.faults import Misused, Refused
from muslin.cli.parsing import Parser
from muslin.model import documents
from muslin.model.documents import Located
from muslin.model.fault import Fault

SUFFIXES = (".yaml", ".yml", ".json")
EXPECTATIONS = (".muslin-test.yaml", ".muslin-test.yml")
"""Files of expectations, which lie beside policies: `muslin test` reads them."""


@dataclass(frozen=True, slots=True)
class Contents:
    """`objects` are those without a fault, `foreign` those that the caller asked to be left as they are."""

    objects: tuple[Located, ...]
    faults: tuple[Fault, ...]
    foreign: tuple[Located, ...] = ()


def options(parser: Parser) -> None:
    """-f and -R."""
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE",
                        help="a file, a directory, or - for standard input; may be given several times")
    parser.add_argument("-R", "--recursive", action="store_true", help="-f DIR: with all directories inside")


def read(names: Sequence[str], *, recursive: bool = False,
         foreign: Callable[[Any], bool] = documents.expects) -> Contents:
    """Raises Misused when no file is named, Refused when one is not there or holds no object at all."""
    if not names:
        raise Misused("say which files: -f FILE, -f DIR or -f -")
    objects: list[Located] = []
    faults: list[Fault] = []
    others: list[Located] = []
    for name, text in texts(names, recursive=recursive):
        reading = documents.read(text, name, foreign)
        objects += reading.objects
        faults += reading.faults
        others += reading.foreign
    if not objects and not faults and not others:
        raise Refused(f"{', '.join('standard input' if name == '-' else name for name in names)}: no object in there")
    return Contents(tuple(objects), tuple(faults), tuple(others))


def texts(names: Sequence[str], *, recursive: bool) -> list[tuple[str, str]]:
    """(name, text) of each file. Files of expectations are passed over in directories, and so are hidden ones."""
    found: list[tuple[str, str]] = []
    for name in names:
        if name == "-":
            found.append(("<stdin>", sys.stdin.read()))
            continue
        path = Path(name)
        if path.is_dir():
            inside = sorted(each for each in path.glob("**/*" if recursive else "*") if each.suffix in SUFFIXES
                            and not each.name.endswith(EXPECTATIONS) and not _hidden(each, path))
            if not inside:
                deeper = "" if recursive else ", or -R to look into its directories"
                raise Refused(f"{name}: no {', '.join(SUFFIXES)} file in this directory{deeper}")
            found += [(str(each), _text(str(each))) for each in inside if each.is_file()]
        else:
            found.append((name, _text(name)))
    return found


def _hidden(each: Path, below: Path) -> bool:
    """`.git` and its kin."""
    return any(part.startswith(".") for part in each.relative_to(below).parts)


def _text(name: str) -> str:
    if "://" in name:
        raise Refused(f"{name}: muslin reads files only; curl -fsSL {name} | muslin apply -f -")
    path = Path(name)
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refused(f"{path}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise Refused(f"{path}: not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
