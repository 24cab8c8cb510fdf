"""From words to an exit code: 0 done, 1 refused or failed, 130 interrupted. No traceback without --debug."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module

from muslin.cli.commands import BY_NAME, ELSEWHERE, overview
from muslin.cli.faults import Misused, Refused, meant
from muslin.client.refusal import ApiError
from muslin.errors import Broken, MuslinError

VALUED = ("--server", "--certificate-authority", "--client-certificate", "--client-key")
"""Options of every command that take a value; they may stand before the command."""


def main() -> None:
    """The entry point of the command `muslin`."""
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Exit code of one command line. Every error ends here, as words on stderr."""
    debug = "--debug" in words
    try:
        code = dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `muslin get ... | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Refused as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except Exception as error:  # the outermost shell: a user never sees a traceback unasked
        if debug:
            raise
        return failed(error)


def failed(error: Exception) -> int:
    """Of several that ended a daemon together, what a user can mend is said; the others followed from it."""
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, MuslinError) and not isinstance(leaf, Broken):
            print(f"error: {said(leaf)}", file=sys.stderr)
            return 1
    if isinstance(leaves[0], OSError):  # a full disk, a file that is not ours: the machine's matter
        print(f"error: {leaves[0]}", file=sys.stderr)
        return 1
    print(f"error: muslin failed at this: {type(leaves[0]).__name__}: {leaves[0]}\n"
          "  this is a fault of muslin's own; run it again with --debug, and report what it says", file=sys.stderr)
    return 1


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def dispatch(words: list[str]) -> int:
    """Raises whatever the command raises; SystemExit of `--help` becomes its code."""
    before, name, after = split(words)
    if not name:
        if "--version" in before:
            name = "version"
        else:
            print(overview())
            return 0
    if name == "help":
        name, after = (after[0], ["--help"]) if after else ("", [])
        if not name:
            print(overview())
            return 0
    if name not in BY_NAME:
        if name in ELSEWHERE:
            raise Misused(f"muslin has no command {name!r}: {ELSEWHERE[name]}")
        raise Misused(f"muslin has no command {name!r}{meant(name, BY_NAME)}\n  see: muslin --help")
    module = import_module(f"muslin.cli.{BY_NAME[name].module}")
    try:
        return int(module.run([*after, *(word for word in before if word not in ("--version", "-h", "--help"))]))
    except SystemExit as end:
        return int(end.code or 0)


def split(words: list[str]) -> tuple[list[str], str, list[str]]:
    """(options before the command, the command or "", words behind it)."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in VALUED else 1
    return words[:at], words[at] if at < len(words) else "", words[at + 1 :]


def said(error: MuslinError) -> str:
    """An error for people. Of an invalid object, the fields and not the sentence that repeats them."""
    if isinstance(error, ApiError) and error.causes:
        details = error.status.get("details") or {}
        head = f"{details.get('kind', 'object')} {details.get('name', '')!r} is invalid:"
        lines = [": ".join(filter(None, (cause.get("field"), cause.get("message")))) for cause in error.causes]
        return "\n  ".join([head, *lines])
    return str(error)
