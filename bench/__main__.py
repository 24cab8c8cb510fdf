"""`./dev bench`: runs measurements, shows one table, compares it with the run before, and keeps it when asked to."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from bench import (
    asked,
    bulk,
    calc,
    churn,
    cni,
    cold,
    command,
    compare,
    control,
    dataplane,
    explain,
    figures,
    flows,
    machine,
    page,
    picture,
    programming,
)
from bench.figures import Report, Section
from bench.plan import Plan
from bench.progress import Progress
from bench.sheet import Sheet

HERE = Path(__file__).parent
KEPT, LAST = HERE / "results", HERE / "last"
MEASUREMENTS: dict[str, tuple[Callable[[Plan], list[Section]], str]] = {
    "dataplane": (dataplane.measure, "a packet and a connection: plain routing, others' layouts, ours"),
    "programming": (programming.measure, "a change until it is in the kernel, beside nft, iptables-restore, ip -batch"),
    "control": (control.measure, "an API call until the kernel has it, and until the first packet"),
    "cni": (cni.measure, "a container's ADD, beside the stock bridge plugin"),
    "cold": (cold.measure, "server and agent from nothing, in clusters of 10,000 and 100,000 endpoints"),
    "churn": (churn.measure, "a host with 1000 endpoints: idle, and while 100 workloads a second come or go"),
    "bulk": (bulk.measure, "a storm through the API: a call for each change, and a thousand in one"),
    "command": (command.measure, "whole commands, as a person waits for them"),
    "calc": (calc.measure, "what the server and the agent reckon, without any kernel"),
    "explain": (explain.measure, "matrix, diff, who-can and why"),
    "asked": (asked.measure, "the same questions over HTTP, of a server with 100,000 endpoints"),
    "flows": (flows.measure, "judging and ending 100,000 flows"),
}
_HELP = f"""
measurements (all, when none is named):
{chr(10).join(f"  {name:<12} {what}" for name, (_, what) in MEASUREMENTS.items())}

examples:
  ./dev bench                          everything; six to eight minutes on two idle processors
  ./dev bench dataplane                a packet's way alone; one to two minutes
  ./dev bench --long --keep            for the results page; about twenty minutes
  ./dev bench programming --compare bench/results/2026-12-01-0300.json
  ./dev bench --show bench/results/2026-12-01-0300.json      an old run's table; nothing is measured

reading it:
  Less is better in every line. `x` is the ratio to the first line of its table, in the same run, the rounds of all
  layouts turn and turn about; it survives a busy machine, absolute figures do not. Blue is muslin, ochre are the peers
  (what others do, made from the same policies), grey is the limit. `slower` and `faster` are beyond the rounds' own
  spread.
  The last run lies in bench/last/ as report.json and picture.svg. Root, because it makes network namespaces.
"""


def options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev bench", epilog=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures what muslin costs on this machine, beside what others do, and says what got slower.")
    parser.add_argument("names", nargs="*", metavar="MEASUREMENT", help="which; all when none")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--long", dest="size", action="store_const", const="long", default="quick",
                      help="more rounds, for figures to keep")
    size.add_argument("--tiny", dest="size", action="store_const", const="tiny",
                      help="a few packets only: does it still run?")
    parser.add_argument("--keep", action="store_true", help="also into bench/results/, and a new bench/RESULTS.md")
    parser.add_argument("--compare", type=Path, metavar="OLD.json",
                        help="with this run, instead of the newest kept one")
    parser.add_argument("--show", type=Path, metavar="RUN.json", help="a run that was kept; nothing is measured")
    parser.add_argument("--output", type=Path, default=LAST, metavar="DIR", help="instead of bench/last")
    given = parser.parse_args(words)
    unknown = [name for name in given.names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"unknown measurement {unknown[0]!r}: choose from {', '.join(MEASUREMENTS)}")
    if given.keep and given.size == "tiny":
        parser.error("--tiny measures too little to stand on the results page: leave out --keep")
    given.names = list(dict.fromkeys(given.names))
    return given


def run(names: Iterable[str], plan: Plan) -> Report:
    begun, facts = time.monotonic(), machine.begin(plan.size)
    sections: list[Section] = []
    for name in names:
        sections += MEASUREMENTS[name][0](plan)
        plan.progress.end()
    return Report(facts=machine.end(facts, time.monotonic() - begun), sections=tuple(sections))


def kept(directory: Path = KEPT) -> list[tuple[str, Report]]:
    """Oldest first; the name of a file begins with its date."""
    return [(path.name, read(path)) for path in sorted(directory.glob("*.json"))]


def read(path: Path) -> Report:
    try:
        return figures.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise SystemExit(f"{path}: {error}: not a run of ./dev bench that I can read") from None


def place(directory: Path) -> None:
    """Where the run will lie. Raises SystemExit."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(f"--output {directory}: {error.strerror}") from None


def write(directory: Path, report: Report) -> None:
    (directory / "report.json").write_bytes(figures.encode(report))
    (directory / "picture.svg").write_text(picture.svg(report))


def keep(report: Report) -> Path:
    KEPT.mkdir(exist_ok=True)
    stamp = report.facts.date.removesuffix(" UTC").replace(":", "").replace(" ", "-")
    path = KEPT / f"{stamp}.json"
    path.write_bytes(figures.encode(report))
    runs = kept()
    (KEPT / "picture.svg").write_text(picture.svg(page.together(runs)))
    (HERE / "RESULTS.md").write_text(page.page(runs, picture="results/picture.svg"))
    return path


def compared(report: Report, given: Path | None, directory: Path = KEPT) -> list[str]:
    """With the run that was named, or of each measurement with the newest that was kept. A quick run and a long one
    say the same, the long one more surely; a tiny one is of other hosts."""
    if given:
        runs = [(given.name, read(given))]
    else:
        tiny = report.facts.size == "tiny"
        runs = page.newest([(name, old) for name, old in kept(directory) if (old.facts.size == "tiny") == tiny])
    lines: list[str] = []
    for name, old in runs:
        measured = {section.key for section in old.sections}
        some = Report(facts=report.facts, sections=tuple(one for one in report.sections if one.key in measured))
        if some.sections:
            lines += ["", *compare.words(name, old, some)]
    return lines


def main() -> None:
    given = options()
    for ending in (signal.SIGTERM, signal.SIGINT):  # as an exception, so that everything made is removed
        signal.signal(ending, lambda number, _: sys.exit(f"ended by {signal.Signals(number).name}, nothing is kept"))
    if given.compare:
        read(given.compare)  # before the minutes that measuring takes
    if not given.show:
        place(given.output)
    sheet = Sheet(shutil.get_terminal_size((120, 24)).columns, colour=sys.stdout.isatty())
    report = read(given.show) if given.show else run(given.names or MEASUREMENTS, Plan(given.size, Progress()))
    lines = [*sheet.report(report)]
    if given.compare or not given.show:
        lines += compared(report, given.compare)
    if not given.show:
        write(given.output, report)
        lines += ["", f"{given.output}/report.json, {given.output}/picture.svg"]
        if given.keep:
            lines.append(f"kept: {keep(report)}, and bench/RESULTS.md is new")
    with suppress(BrokenPipeError):  # whoever read has seen enough
        print("\n".join(lines), flush=True)
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
