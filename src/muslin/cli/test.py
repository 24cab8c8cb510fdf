"""`muslin test`: people's own expectations of their policies, in CI, with no cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muslin.cli import files, output, screen, worlds
from muslin.cli.faults import Refused
from muslin.cli.parsing import Parser
from muslin.cli.screen import BOLD, DIM, GREEN, RED, paint

if TYPE_CHECKING:
    from muslin.model.documents import Reading
    from muslin.model.fault import Fault
    from muslin.offline.expectations import Expectation
    from muslin.offline.judge import Counterexample, Outcome
    from muslin.offline.world import World

EXAMPLES = """
muslin test                               expectations and resources in this directory and all below it
muslin test policies/                     in that one
muslin test tests/ -f manifests/          expectations there, resources here
helm template . | muslin test tests/ -f - resources from a chart
muslin test -o junit > report.xml         for CI; json has every packet and rule
"""
MORE = """\
Expectations stand in files *.muslin-test.yaml, or in documents of their own beside the policies:

  expectations:
  - allow: web -> api tcp/8080              that packet passes, also back
  - deny: "* -> db"                         no packet at all, of no protocol, from no workload
  - allow: shop/web -> 8.8.8.8 udp/53
  - deny: outside -> {role == 'db'} tcp     nobody from anywhere else
    why: the database is ours alone

An end is a workload (web, shop/web), labels in braces ({app == 'web'}, shop/{app == 'web'}), shop/* or * for all
workloads, an address, a prefix, host/NAME, or outside. Then protocols and ports: tcp/80,443  udp/53  tcp/8000-8010
icmp  any; and ipv4 or ipv6, else both. Resources are Calico's and Kubernetes': policies, pods, Deployments, Namespaces
and so on. An expectation that is about nobody fails. Exit code 1: one is not met, or a file has a fault."""
Json = dict[str, Any]


def run(arguments: list[str]) -> int:
    parser = Parser("test", "Check policies against what you expect of them, from files alone.",
                    usage="[DIR...] [-f FILE...] [options]", examples=EXAMPLES, more=MORE)
    parser.positional("words", nargs="*", metavar="DIR")
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE",
                        help="where the resources are, if elsewhere: files, directories, or -; repeat it")
    parser.add_argument("-v", "--verbose", action="store_true", help="show also what is met")
    output.option(parser, "json, or junit for CI")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json", "junit"))
    began = time.perf_counter()
    places = words.words or ["."]
    expected, world = gather(places, words.filename)
    outcomes = judged(world, expected)
    seconds = time.perf_counter() - began
    if form == "json":
        print(json.dumps(as_json(outcomes, world, seconds), indent=2))
    elif form == "junit":
        print(as_junit(outcomes, world, seconds))
    else:
        print("\n".join(lines(outcomes, world, seconds, verbose=words.verbose)))
    return 0 if all(outcome.met for outcome in outcomes) else 1


def gather(places: Sequence[str], resources: Sequence[str]) -> tuple[list[Expectation], World]:
    """Raises Refused, having shown every fault."""
    from muslin.model import documents
    from muslin.offline import is_foreign
    from muslin.offline.expectations import expectations, spelled

    expected: list[Expectation] = []
    faults: list[Fault] = []
    beside: list[Reading] = []
    for name, text in _texts(places):
        own = name.endswith(files.EXPECTATIONS)
        reading = documents.read(spelled(text), name, _anything if own else is_foreign)
        beside += () if own else (reading,)
        faults += reading.faults if own else ()
        for located in reading.foreign:
            if documents.expects(located.object):
                found, wrong = expectations(located)
                expected += found
                faults += wrong
            elif own:
                faults.append(worlds.fault_at(located, "this document expects nothing",
                                              "write expectations: with a list of allow: and deny:"))
    for fault in faults:
        screen.note(str(fault))
    if faults:
        raise Refused(f"{len(faults)} fault{'s' * (len(faults) != 1)} in expectations: nothing was tested")
    if not expected:
        raise Refused(f"{', '.join(places)}: nothing is expected there. Write a file shop.muslin-test.yaml:\n"
                      "  expectations:\n  - allow: web -> api tcp/8080\n  - deny: '* -> db'")
    what = "nothing was tested"
    if resources:
        return expected, worlds.world(resources, quiet=True, what=what)
    read = files.Contents(*(tuple(one for each in beside for one in getattr(each, part))
                            for part in ("objects", "faults", "foreign")))
    return expected, worlds.assembled(read, quiet=True, what=what)


def _anything(_: object) -> bool:
    return True


def _texts(places: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Files of resources may hold expectations too."""
    for place in places:
        path = Path(place)
        if not path.is_dir():
            yield from files.texts([place], recursive=True)
            continue
        own = sorted(each for suffix in files.EXPECTATIONS for each in path.glob(f"**/*{suffix}"))
        yield from files.texts([str(each) for each in own], recursive=True)
        try:
            yield from files.texts([place], recursive=True)
        except Refused:  # expectations only
            continue


def judged(world: World, expected: Sequence[Expectation]) -> list[Outcome]:
    from muslin.offline.judge import judge

    return judge(world, expected)


def lines(outcomes: Sequence[Outcome], world: World, seconds: float, *, verbose: bool) -> Iterator[str]:
    """The screen: what is not met, and why; then how many."""
    for outcome in outcomes:
        if outcome.met and verbose:
            yield f"{paint('ok  ', GREEN)}  {outcome.expectation.title}  {paint(_place(outcome), DIM)}"
        elif not outcome.met:
            yield from _failure(outcome, world)
    failed = sum(not outcome.met for outcome in outcomes)
    met = len(outcomes) - failed
    summary = f"{len(outcomes)} expectation{'s' * (len(outcomes) != 1)}: {met} met"
    summary += f", {failed} not met" if failed else ""
    yield f"{paint(summary, RED if failed else GREEN)} ({seconds:.2f} s)"


def _failure(outcome: Outcome, world: World) -> Iterator[str]:
    yield f"{paint('FAIL', RED)}  {paint(outcome.expectation.title, BOLD)}  {paint(_place(outcome), DIM)}"
    if outcome.expectation.why:
        yield f"      because {outcome.expectation.why}"
    if outcome.fault:
        yield f"      {worlds.offline_words(outcome.fault)}"
    for example in outcome.shown:
        verdict = paint("denied", RED) if outcome.expectation.allow else paint("allowed", RED)
        yield f"      {described(example)} is {verdict}"
        yield from (f"        {line}" for line in deciding(example, world))
    if outcome.against > len(outcome.shown) and outcome.shown:
        yield f"      and {outcome.against - len(outcome.shown)} more of {outcome.pairs} pairs"
    yield ""


def described(example: Counterexample) -> str:
    packet = example.packet
    what = str(packet).removeprefix(f"{packet.source} -> {packet.destination} ")
    return f"{_called(example, 'source')} -> {_called(example, 'destination')} {what}"


def _called(example: Counterexample, which: str) -> str:
    end, address = getattr(example, which), getattr(example.packet, which)
    if end.sort != "outside":
        return str(end.called)
    return address if end.name == address else f"{end.name} ({address})"


def deciding(example: Counterexample, world: World) -> Iterator[str]:
    """By which rules, and where they stand. Of a denied packet, what denies it."""
    from muslin.explain import origin_text

    for title, decision in (("leaving", example.found.egress), ("entering", example.found.ingress)):
        if decision is None or (example.found.verdict != decision.verdict and decision.verdict == "Allow"):
            continue
        file, line = world.where(decision.decided_by)
        where = f"  {paint(f'{file}:{line}', DIM)}" if file else ""
        yield f"{title}: {decision.verdict} by {origin_text(decision.decided_by)}{where}"
    for host, way in example.found.journeys:
        for one in way.passages:
            others = one.gate in ("sender", "receiver", "translation")
            if not others and one.outcome.value == example.found.verdict.value:
                file, line = world.where(one.decided_by)
                where = f"  {paint(f'{file}:{line}', DIM)}" if file else ""
                yield f"host {host}, {one.gate}: {one.outcome} by {origin_text(one.decided_by)}{where}"


def _place(outcome: Outcome) -> str:
    return f"{outcome.expectation.file}:{outcome.expectation.line}"


def as_json(outcomes: Sequence[Outcome], world: World, seconds: float) -> Json:
    from muslin.explain import question

    def shown(example: Counterexample) -> Json:
        found = question.answer(world, example.source, example.destination, example.packet, example.found,
                                where=world.where)
        kept = ("verdict", "packet", "source", "destination", "egress", "ingress", "gates")
        return {name: found[name] for name in kept}

    failed = sum(not outcome.met for outcome in outcomes)
    return {
        "ok": not failed, "met": len(outcomes) - failed, "failed": failed, "seconds": round(seconds, 3),
        "expectations": [
            {"file": one.expectation.file, "line": one.expectation.line, "text": one.expectation.title,
             "expected": "Allow" if one.expectation.allow else "Deny", "why": one.expectation.why, "met": one.met,
             "pairs": one.pairs, "against": one.against, "fault": one.fault,
             "counterexamples": [shown(example) for example in one.shown]}
            for one in outcomes
        ],
    }


def as_junit(outcomes: Sequence[Outcome], world: World, seconds: float) -> str:
    from xml.sax.saxutils import quoteattr

    by_file: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_file.setdefault(outcome.expectation.file, []).append(outcome)
    failed = sum(not outcome.met for outcome in outcomes)
    text = ['<?xml version="1.0" encoding="UTF-8"?>',
            f'<testsuites name="muslin test" tests="{len(outcomes)}" failures="{failed}" time="{seconds:.3f}">']
    for file, some in by_file.items():
        wrong = sum(not outcome.met for outcome in some)
        text.append(f'  <testsuite name={quoteattr(file)} tests="{len(some)}" failures="{wrong}">')
        text += [line for outcome in some for line in _case(outcome, world)]
        text.append("  </testsuite>")
    return "\n".join([*text, "</testsuites>"])


def _case(outcome: Outcome, world: World) -> Iterator[str]:
    from xml.sax.saxutils import escape, quoteattr

    one = outcome.expectation
    head = (f"    <testcase classname={quoteattr(one.file)} name={quoteattr(one.title)} "
            f'file={quoteattr(one.file)} line="{one.line}"')
    if outcome.met:
        yield head + "/>"
        return
    told = [outcome.fault] if outcome.fault else []
    for example in outcome.shown:
        told += [f"{described(example)} is {'denied' if one.allow else 'allowed'}", *deciding(example, world)]
    yield head + ">"
    yield f"      <failure message={quoteattr(told[0])}>{escape(chr(10).join(told))}</failure>"
    yield "    </testcase>"
