"""`muslin cni show`: the network configuration that `install` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from muslin.cli import cni
from muslin.cli.faults import Misused


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


@pytest.mark.parametrize(("option", "value"), [
    ("--name", "a b"), ("--name", "../x"), ("--name", ""), ("--namespace", "Blue_1"), ("--cni-version", "2.0.0"),
])
def test_what_each_addition_would_refuse_is_not_written(option: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(Misused, match=option):
        cni.run(["install", option, value, "--bin-dir", str(tmp_path / "b"), "--conf-dir", str(tmp_path / "c")])
    assert not list(tmp_path.iterdir())


def test_an_agent_that_does_not_run_yet_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name was guessed: each container would ask at the wrong place."""
    monkeypatch.setenv("NODENAME", "guessed")
    assert cni.run(["install", "--bin-dir", str(tmp_path), "--conf-dir", str(tmp_path)]) == 0
    assert "guessed.sock yet" in capsys.readouterr().err
