"""A network configuration list carried out as libcni does it: plugin after plugin, each given the result before it.

Removal goes the other way round. A plugin gets those of the runtime's wishes that its `capabilities` declare.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnirig import Failed, executable, written

STOCK = Path("/usr/lib/cni")


class Chain:
    """Called from `space`, the host's namespace: the stock plugins work where they are started."""

    def __init__(self, space: str, plugins: Sequence[dict[str, Any]], version: str = "1.0.0") -> None:
        self._space = space
        self._plugins = plugins
        self._version = version

    def add(self, container: str, netns: str, **wishes: Any) -> dict[str, Any]:
        """The last result. Raises Failed."""
        result: dict[str, Any] = {}
        for plugin in self._plugins:
            result = self._call("ADD", plugin, container, netns, result, wishes)
        return result

    def check(self, container: str, netns: str, result: dict[str, Any], **wishes: Any) -> None:
        for plugin in self._plugins:
            self._call("CHECK", plugin, container, netns, result, wishes)

    def delete(self, container: str, netns: str, result: dict[str, Any] | None = None, **wishes: Any) -> None:
        for plugin in reversed(self._plugins):
            self._call("DEL", plugin, container, netns, result, wishes)

    def _call(self, command: str, plugin: dict[str, Any], container: str, netns: str, before: dict[str, Any] | None,
              wishes: dict[str, Any]) -> dict[str, Any]:
        config = {key: value for key, value in plugin.items() if key != "capabilities"}
        config |= {"cniVersion": self._version, "name": "chain"}
        if before:
            config["prevResult"] = before
        if runtime := {key: value for key, value in wishes.items() if plugin.get("capabilities", {}).get(key)}:
            config["runtimeConfig"] = runtime
        program = executable() if plugin["type"] == "muslin" else STOCK / plugin["type"]
        environment = {**os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns,
                       "CNI_IFNAME": "eth0", "CNI_ARGS": "", "CNI_PATH": str(STOCK)}
        done = subprocess.run(["nsenter", f"--net=/run/netns/{self._space}", str(program)], input=written(config),
                              capture_output=True, text=True, env=environment, check=False)
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
        if done.returncode:
            raise Failed(found or {"code": done.returncode, "msg": done.stderr})
        return found
