"""`muslin cni show`: the network configuration that `install` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from muslin.cli import cni


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """Its plugins."""
    assert cni.run(["show", *words]) == 0
    return list(json.loads(capsys.readouterr().out)["plugins"])


def portmap(directory: Path, answer: str) -> None:
    file = directory / "portmap"
    file.write_text(f"#!/bin/sh\n[ \"$CNI_COMMAND\" = VERSION ] && echo '{answer}'\n")
    file.chmod(0o755)


def test_a_portmap_that_is_there_maps_ports(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    portmap(tmp_path, '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}')
    ours, other = shown(capsys, "--bin-dir", str(tmp_path))
    assert (other["type"], other["capabilities"]) == ("portmap", {"portMappings": True})
    assert "portMappings" not in ours["capabilities"]


@pytest.mark.parametrize("answer", [None, "", "[]", "{}", '{"supportedVersions": ["0.4.0", "1.0.0"]}'])
def test_where_none_is_of_use_ports_are_ours(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, answer: str | None
) -> None:
    """They must lead somewhere: the runtime shows them to its user whatever happens. It would also fail each time."""
    if answer is not None:
        portmap(tmp_path, answer)
    [ours] = shown(capsys, "--bin-dir", str(tmp_path), "--cni-version", "1.1.0")
    assert ours["capabilities"]["portMappings"] is True
