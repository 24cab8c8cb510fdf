"""`--offline -f DIR`: a cluster out of files, for commands that would otherwise ask the server.

A directory is read with all below it: a world that lacks a subdirectory would answer wrongly, and in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from muslin.cli import files, screen
from muslin.cli.faults import Misused, Refused
from muslin.cli.files import Contents
from muslin.cli.parsing import Parser, Words
from muslin.model.documents import Located
from muslin.model.fault import Fault

if TYPE_CHECKING:
    from muslin.offline import World


def options(parser: Parser) -> None:
    """--offline and -f."""
    parser.add_argument("--offline", action="store_true", help="ask files instead of the server: no network needed")
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE",
                        help="with --offline: files, directories (with all below), or - for standard input")
    parser.add_argument("-R", "--recursive", action="store_true", help="as it is anyway")
    parser.add_argument("--quiet", action="store_true", help="with --offline: no line on what was read")


def is_offline(words: Words) -> bool:
    """Raises Misused when -f stands without --offline."""
    if words.offline and not words.filename:
        raise Misused("--offline needs files: -f FILE, -f DIR or -f -")
    if words.filename and not words.offline:
        raise Misused("-f says which files to ask: write --offline too, or leave -f out to ask the server")
    return bool(words.offline)


def world(names: Sequence[str], *, quiet: bool = False, what: str = "nothing was computed",
          overlay: bool = False) -> World:
    """Raises Refused, having shown every fault of every file. `overlay`: later files replace objects of earlier ones,
    and that is meant."""
    from muslin.offline import is_foreign

    return assembled(files.read(names, recursive=True, foreign=is_foreign), quiet=quiet or overlay, what=what)


def assembled(contents: Contents, *, quiet: bool, what: str) -> World:
    """Of what was read with `is_foreign`. Raises Refused."""
    from muslin.offline import assemble

    assembly = assemble(contents.objects, contents.foreign)
    faults = sorted((*contents.faults, *assembly.faults), key=lambda fault: (fault.file, fault.line, fault.column))
    for fault in faults:
        screen.note(str(fault))
    if faults:
        raise Refused(f"{len(faults)} fault{'s' * (len(faults) != 1)}: {what}")
    made = assembly.world
    if not quiet:
        for note in made.notes:
            screen.note(f"offline: {note}")
    for key, wrong in made.faults.items():
        line = made.lines.get(key)
        where = f"{line.file}:{line.line}: " if line else ""
        screen.note(f"warning: {where}{key}: {wrong}")
    return made


def fault_at(located: Located, what: str, mend: str) -> Fault:
    return Fault(what=what, why="", mend=mend, file=located.file, line=located.line, column=located.column)


def offline_words(text: str) -> str:
    """An error's mend, where no server is asked."""
    return text.replace("`muslin get wep -A` lists what there is",
                        "`muslin matrix --offline -f ...` lists what there is in the files")
