"""Real kubectl binaries against a real server.

Every version that is installed is tested: those on the path, the versioned ones of a cloud SDK, and any that
$MUSLIN_KUBECTL names (separated by colons). A dispatcher, which runs another version as it sees fit, does not count.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDERS = ("/usr/bin", "/usr/local/bin", "/usr/lib/google-cloud-sdk/bin", "/snap/bin")


@cache
def kubectls() -> dict[str, str]:
    """Version -> binary."""
    found = [*os.environ.get("MUSLIN_KUBECTL", "").split(":"), shutil.which("kubectl") or ""]
    found += [str(path) for folder in FOLDERS for path in sorted(Path(folder).glob("kubectl*"))]
    versions: dict[str, str] = {}
    for path in found:
        if path and os.access(path, os.X_OK) and (version := _version(path)):
            versions.setdefault(version, path)
    return dict(sorted(versions.items(), key=lambda pair: [int(part) for part in pair[0].split(".")]))


def _version(path: str) -> str:
    told = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True, text=True, check=False)
    try:
        version = json.loads(told.stdout)["clientVersion"]["gitVersion"].removeprefix("v")
    except (ValueError, KeyError):
        return ""
    return version if all(part.isdigit() for part in version.split(".")) else ""  # a dispatcher is v1.32.4-dispatcher


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}\n{self.err}"


class Kubectl:
    """`k("get", "gnp")` runs it and demands success; `code=1` demands failure; input is YAML of any objects."""

    def __init__(self, version: str, server: str, home: Path) -> None:
        self.version = version
        self.minor = int(version.split(".")[1])
        self._binary = kubectls()[version]
        self._server = server
        self._environment = {"HOME": str(home), "PATH": os.environ["PATH"], "KUBECONFIG": "/dev/null",
                             "TMPDIR": str(home)}  # where `edit` leaves what it could not save

    def command(self, *words: str) -> list[str]:
        return [self._binary, "--server", self._server, *words]

    def environment(self, **more: str) -> dict[str, str]:
        return {**self._environment, **more}

    def __call__(self, *words: str, given: object = None, code: int = 0, **environment: str) -> Ran:
        text = None
        if given is not None:
            text = yaml.safe_dump_all(given if isinstance(given, list) else [given])
        done = subprocess.run(self.command(*words), input=text, capture_output=True, text=True, timeout=60, check=False,
                              env=self.environment(**environment))
        ran = Ran(done.returncode, done.stdout, done.stderr)
        assert ran.code == code, f"kubectl {' '.join(words)}: {ran}"
        return ran

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "-o", "json").out)

    @contextmanager
    def watching(self, *words: str) -> Iterator[Iterator[str]]:
        """The lines that a `get -w` prints; each waits at most until the test's own end."""
        process = subprocess.Popen(self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   env=self.environment())
        assert process.stdout is not None
        try:
            yield (line.rstrip() for line in process.stdout)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
