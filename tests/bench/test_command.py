"""What `./dev bench` understands, how far it says it is, and which old run it takes for comparison."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from bench.progress import Progress

from bench import __main__ as command
from bench import figures
from benchwords import figure, report, section


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("words", [["datapane"], ["--long", "--tiny"], ["--compare"]])
def test_what_makes_no_sense_is_refused_before_anything_is_measured(words: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command.options(words)
    assert refused.value.code == 2


def test_nothing_named_means_everything_and_quick() -> None:
    given = command.options([])
    assert (given.names, given.size, given.keep, given.compare) == ([], "quick", False, None)


def test_help_names_every_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.options(["--help"])
    told = capsys.readouterr().out
    for name in command.MEASUREMENTS:
        assert f"\n  {name} " in told


def test_a_bar_grows_on_a_terminal_and_goes_at_the_end() -> None:
    screen = _Terminal()
    progress = Progress(screen)
    progress.begin("dataplane", 4)
    lengths = []
    for _ in range(4):
        progress.step("a round")
        lengths.append(screen.getvalue().rpartition("\r")[2].count("█"))
    progress.end()
    assert lengths == [0, 6, 12, 18]
    assert screen.getvalue().endswith("\r\033[K")


def test_elsewhere_a_line_says_what_is_measured() -> None:
    file = io.StringIO()
    progress = Progress(file)
    progress.begin("dataplane", 4)
    progress.step("a round")
    progress.end()
    assert file.getvalue() == "measuring dataplane\n"


def test_of_each_measurement_the_newest_kept_run_is_compared_with(tmp_path: Path) -> None:
    """Not a tiny one, though it is newer."""
    def kept(name: str, size: str, **values: float) -> None:
        made = report(*(section(figure("it", value, value), key=key) for key, value in values.items()))
        facts = type(made.facts)(date=name, commit=name, size=size, cpu="a processor", cores=2)
        (tmp_path / f"{name}.json").write_bytes(figures.encode(figures.Report(facts=facts, sections=made.sections)))

    kept("2026-01", "quick", cni=100, calc=100)
    kept("2026-02", "long", cni=300)
    kept("2026-03", "tiny", cni=900)
    now = report(section(figure("it", 200, 200), key="cni"), section(figure("it", 200, 200), key="calc"))
    told = "\n".join(command.compared(now, None, tmp_path))
    assert "0.67 times  cni: it" in told
    assert "2.00 times  calc: it" in told
    assert "2026-03" not in told


def test_a_file_that_is_no_run_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(SystemExit, match="not a run of"):
        command.read(tmp_path / "x.json")
