"""From words to an exit code: 0 done, 1 refused or failed, 130 interrupted. No traceback without --debug."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from muslin.cli.commands import BY_NAME, overview
from muslin.cli.faults import Misused, Refused, meant
from muslin.client.refusal import ApiError
from muslin.errors import MuslinError

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
    except MuslinError as error:
        if debug:
            raise
        print(f"error: {said(error)}", file=sys.stderr)
        return error.code if isinstance(error, Refused) else 1
    except Exception as error:  # the outermost shell: a user never sees a traceback unasked
        if debug:
            raise
        print(f"error: muslin failed at this: {type(error).__name__}: {error}\n"
              "  this is a fault of muslin's own; run it again with --debug, and report what it says", file=sys.stderr)
        return 1


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
