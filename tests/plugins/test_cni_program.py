"""The installed executable answers by its compiled half, and by its text where another Python reads it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from muslin.plugins.cni import program


def versions(text: str, directory: Path) -> list[str]:
    """The answer to VERSION of an executable with this text."""
    file = directory / "muslin"
    file.write_text(text)
    file.chmod(0o755)
    done = subprocess.run([file], input='{"cniVersion": "1.0.0"}', env={"CNI_COMMAND": "VERSION"}, capture_output=True,
                          text=True, check=True, timeout=30)
    return list(json.loads(done.stdout)["supportedVersions"])


def changed(text: str, before: str, after: str) -> str:
    assert text.count(before) == 1
    return text.replace(before, after)


def test_the_python_that_compiled_it_reads_no_text(tmp_path: Path) -> None:
    assert "1.0.0" in versions(changed(program.text(), "FIRST = r'''", "FIRST = r'''this is no Python: "), tmp_path)


def test_another_python_takes_the_text(tmp_path: Path) -> None:
    text = changed(program.text(), "MADE_BY, CODE = (b'", "MADE_BY, CODE = (b'another")
    assert "1.0.0" in versions(text, tmp_path)
    broken = changed(text, "FIRST = r'''", "FIRST = r'''this is no Python: ")
    with pytest.raises(subprocess.CalledProcessError):
        versions(broken, tmp_path)


def test_a_python_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing-here"):
        program.text(str(tmp_path / "nothing-here"))
    with pytest.raises(OSError, match="/bin/false"):
        program.text("/bin/false")
