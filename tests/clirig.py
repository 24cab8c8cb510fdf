"""The real command in a real process, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MUSLIN = Path(sys.executable).parent / "muslin"


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Shell:
    """Somebody at a shell in an empty directory, with a server (or none) at a socket there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MUSLIN_")}
        self.environment = {
            **kept, "MUSLIN_RUN": str(directory), "MUSLIN_STATE": str(directory),
            "MUSLIN_SERVER": f"unix:{directory}/s.sock",
        }

    def run(self, line: str, *, stdin: str = "", **environment: str) -> Said:
        """Words as split by blanks; a word may be quoted."""
        import shlex

        done = subprocess.run(
            [MUSLIN, *shlex.split(line)], cwd=self.directory, env={**self.environment, **environment},
            input=stdin, capture_output=True, text=True, timeout=60, check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    def did(self, line: str, *, stdin: str = "") -> Said:
        """It must succeed."""
        said = self.run(line, stdin=stdin)
        assert said.code == 0, f"{line}: {said.err}{said.out}"
        return said

    def file(self, name: str, text: str) -> str:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name
