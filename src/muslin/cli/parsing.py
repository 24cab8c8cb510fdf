"""Words of a command line, read as kubectl users write them.

Options may stand before, between and behind the names (`get gnp -o yaml web`), short ones may touch their value
(`-oyaml`), and a wrong one is answered by the right one. argparse does the reading; the decision record
0001-command-line-library says why it and not a bigger library.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from muslin.cli.faults import Misused, meant

DRY = ("none", "server", "client")
"""The server is asked in any case: only it knows what it would refuse."""


class Words(argparse.Namespace):
    """What was written, by the name of each option."""

    server: str
    debug: bool
    certificate_authority: str
    client_certificate: str
    client_key: str
    generated: bool = False
    partial: bool = False


class _Help(argparse.RawDescriptionHelpFormatter):
    """One line an option. argparse makes one for every option that is declared: asking for the terminal's width there
    would import shutil, with all its compressors."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=100)


class Parser(argparse.ArgumentParser):
    """Of one command. `examples` are shown under the help, one a line."""

    def __init__(self, command: str, summary: str, *, usage: str = "", examples: str = "", more: str = "") -> None:
        lines = "\n".join(f"  {line}" if line else "" for line in examples.strip().splitlines())
        told = "\n\n".join(part for part in (more.strip(), f"Examples:\n{lines}" if lines else "") if part)
        super().__init__(
            prog=f"muslin {command}", description=summary, epilog=told or None, allow_abbrev=False, add_help=False,
            usage=f"muslin {command} {usage}".rstrip() if usage else None,
            formatter_class=_Help,
        )
        self._bare: dict[str, str] = {}
        self._own = self.add_argument_group("options")
        self.add_argument = self._own.add_argument  # type: ignore[method-assign]

    def positional(self, name: str, **how: object) -> None:
        """A word without an option; the usage line speaks of it."""
        argparse.ArgumentParser.add_argument(self, name, help=argparse.SUPPRESS, **how)  # type: ignore[arg-type]

    def dry_run(self, told: str) -> None:
        """`--dry-run`, alone or as kubectl writes it: `--dry-run=server`. It never takes the word behind it."""
        self.add_argument("--dry-run", choices=DRY, default="none", metavar="server", help=told)
        self._bare["--dry-run"] = "server"

    def force(self) -> None:
        """`--force`, of commands that write."""
        self.add_argument("--force", action="store_true",
                          help="even if it cuts off the server, an agent or BGP (such writes are refused otherwise)")

    def read(self, words: Sequence[str]) -> Words:
        """Raises Misused. `--help` prints and ends."""
        shared(self)
        full = [f"{word}={self._bare[word]}" if word in self._bare else word for word in words]
        found, unknown = self.parse_known_intermixed_args(full, Words())
        if unknown:
            self._refuse(unknown[0])
        return found

    def error(self, message: str) -> NoReturn:
        raise Misused(f"{message[:1].lower()}{message[1:]}\n  see: {self.prog} --help")

    def _refuse(self, word: str) -> NoReturn:
        options = [option for option in self._option_string_actions if len(option) > 2 or len(word) == 2]
        flag = word.partition("=")[0]
        if word.startswith("-"):
            self.error(f"{self.prog} has no option {flag}{meant(flag, options)}")
        self.error(f"{word!r} is one word too many")


def is_dry(words: Words) -> bool:
    """Nothing is to be changed."""
    return bool(words.dry_run != "none")


def shared(parser: argparse.ArgumentParser) -> None:
    """Options of every command."""
    group = parser.add_argument_group("for every command")
    group.add_argument("--server", metavar="ADDRESS", default="",
                       help="unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT (default: $MUSLIN_SERVER, "
                            "else the socket of this machine)")
    group.add_argument("--certificate-authority", metavar="FILE", default="", help="who signs the server ($MUSLIN_CA)")
    group.add_argument("--client-certificate", metavar="FILE", default="", help="who you are ($MUSLIN_CERTIFICATE)")
    group.add_argument("--client-key", metavar="FILE", default="", help="the key of it ($MUSLIN_KEY)")
    group.add_argument("--debug", action="store_true", help="show tracebacks and requests")
    group.add_argument("-h", "--help", action="help", help="show this")
