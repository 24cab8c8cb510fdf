"""`./dev bench` end to end with a few packets: it measures, shows, writes, compares; it does not believe everything."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from bench.figures import Side

from bench import figures, packets, rig, world
from muslin.drivers.nft import Nft
from muslin.intent import Delta
from muslin.render.nft import NftState

pytestmark = [pytest.mark.kernel]
_ROOT = Path(__file__).parents[2]


def _bench(*words: str) -> tuple[int, str, str]:
    """Exit code, output and errors. None of its namespaces, whose names hold its process id, may be left."""
    process = subprocess.Popen([sys.executable, "-m", "bench", *words], cwd=_ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    output, errors = process.communicate(timeout=300)
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert f"mub-{process.pid}" not in left
    return process.returncode, output, errors


@pytest.mark.slow
def test_a_tiny_run_measures_everybody_beside_everybody(tmp_path: Path) -> None:
    """Every layout lets through what it should and nothing else, or the run would have ended without a report."""
    code, output, errors = _bench("dataplane", "programming", "--tiny", "--output", str(tmp_path))
    assert code == 0, errors
    report = figures.decode((tmp_path / "report.json").read_bytes())
    assert (tmp_path / "picture.svg").read_text().startswith("<svg")
    sections = {section.key: section for section in report.sections}
    assert set(sections) == {
        "dataplane.established", "dataplane.new", "dataplane.connect", "dataplane.waited", "programming.full",
        "programming.member", "programming.sharing", "programming.own", "programming.policy", "programming.routes"}
    for section in report.sections:
        assert {figure.side for figure in section.figures} >= {Side.OURS, Side.PEER}, section.key
        assert all(value > 0 for figure in section.figures for value in figure.values), section.key
    for figure in sections["dataplane.new"].figures:
        assert figure.name in output
    _, again, _ = _bench("--show", str(tmp_path / "report.json"), "--compare", str(tmp_path / "report.json"))
    assert "slower: nothing" in again, "a run is not slower than itself"


def _checked(word: str, ruleset: str, *, guarded: bool) -> None:
    with ExitStack() as stack:
        spaces = stack.enter_context(rig.rig(word))
        rig.load(spaces.host, ruleset)
        packets.Path(spaces, stack).check(guarded=guarded)


@pytest.mark.slow
@pytest.mark.parametrize(("verdict", "words"), [
    ("drop", "0 of 3 allowed"), ("accept", "1 of those to a port that nothing"),
])
def test_a_layout_that_drops_or_accepts_everything_is_found_out(verdict: str, words: str) -> None:
    """Such a layout would be fast."""
    ruleset = f"table ip t {{\n chain c {{\n type filter hook forward priority 0; policy {verdict};\n }}\n}}\n"
    with pytest.raises(packets.Wrong, match=words):
        _checked(f"t{verdict}", ruleset, guarded=True)


@pytest.mark.slow
def test_packets_that_get_lost_while_measuring_make_the_figures_void() -> None:
    """A drop in between, after the check was fine: here of every second packet."""
    ruleset = ("table ip t {\n chain c {\n type filter hook forward priority 0;\n"
               " udp sport 7002 numgen inc mod 2 0 drop\n }\n}\n")
    with ExitStack() as stack:
        spaces = stack.enter_context(rig.rig("tlost"))
        path = packets.Path(spaces, stack)
        path.check(guarded=False)
        rig.load(spaces.host, ruleset)
        with pytest.raises(packets.Wrong, match="void"):
            path.measure(packets.Load(10, 10, 1))


@pytest.mark.slow
def test_our_own_layout_passes_the_check_that_others_must_pass() -> None:
    with ExitStack() as stack:
        spaces = stack.enter_context(rig.rig("tours"))
        changes = NftState().update(Delta(snapshot=True), world.intent(5, 3))
        asyncio.run(Nft(spaces.host).apply(changes))
        packets.Path(spaces, stack).check(guarded=True)


@pytest.mark.slow
def test_a_word_that_is_no_measurement_is_told_which_there_are() -> None:
    code, _, errors = _bench("datapane")
    assert code == 2
    assert "dataplane" in errors



@pytest.mark.parametrize(("words", "says"), [
    (("--compare", "/nowhere.json"), "/nowhere.json"),
    (("--compare", "/etc/hostname"), "not a run"),
    (("--output", "/proc/nowhere"), "--output /proc/nowhere"),
    (("--tiny", "--keep"), "--keep"),
    (("elsewhere",), "elsewhere"),
])
def test_what_cannot_be_is_said_before_anything_is_measured(words: tuple[str, ...], says: str) -> None:
    code, output, errors = _bench(*words)
    assert (code != 0, output) == (True, "")
    assert says in errors
    assert "measuring" not in errors
