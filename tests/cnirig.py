"""Calls of the CNI executable as runtimes make them: environment, configuration on stdin, exit code, answer."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from agentrig import V3, Site
from muslin.plugins.cni import program


@cache
def executable() -> Path:
    """As `muslin cni install` writes it."""
    directory = tempfile.mkdtemp(prefix="mut-")
    atexit.register(shutil.rmtree, directory)
    file = Path(directory, "muslin")
    file.write_text(program.text())
    file.chmod(0o755)
    return file


def written(config: dict[str, Any]) -> str:
    """As libcni writes it, on which every runtime is built."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"))


def path(space: str) -> str:
    """Of a network namespace."""
    return f"/run/netns/{space}"


def endpoints(place: Site) -> list[dict[str, Any]]:
    """All that the server holds."""
    return list(place.api.get(f"{V3}/workloadendpoints")["items"])


class Failed(Exception):
    """An answer with an error."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(f"{answer.get('code')}: {answer.get('msg')} {answer.get('details', '')}")
        self.answer = answer

    @property
    def code(self) -> int:
        return int(self.answer["code"])


class Runtime:
    """Speaks to one agent, for one network."""

    def __init__(self, socket: Path, state: Path, **config: Any) -> None:
        self.config = {"cniVersion": "1.0.0", "name": "net", "type": "muslin", "agentSocket": str(socket),
                       "stateDir": str(state), **config}

    def call(self, command: str, container: str = "c1", netns: str = "", interface: str = "eth0", args: str = "",
             *, text: str | None = None, cni_path: str = "", **config: Any) -> Any:
        """The answer, None for an empty one. Raises Failed."""
        done = self.start(command, container, netns, interface, args, text=text, cni_path=cni_path, **config)
        return answer(done)

    def start(self, command: str, container: str = "c1", netns: str = "", interface: str = "eth0", args: str = "",
              *, text: str | None = None, cni_path: str = "", **config: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns,
                       "CNI_IFNAME": interface, "CNI_ARGS": args, "CNI_PATH": cni_path}
        process = subprocess.Popen([executable()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, errors="surrogateescape", env=environment)
        assert process.stdin is not None
        process.stdin.write(written(self.config | config) if text is None else text)
        process.stdin.close()
        process.stdin = None
        return process


def answer(process: subprocess.Popen[str]) -> Any:
    out, errors = process.communicate(timeout=60)
    assert errors == "", errors
    found = json.loads(out) if out.strip() else None
    if process.returncode:
        assert isinstance(found, dict), f"exit code {process.returncode}: {out}"
        raise Failed(found)
    return found
