"""World after world, until time or number is up, or the opinions part."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from prove import aim, scenario, worlds
from prove.flight import Flight
from prove.governed import governed
from prove.kernels import BACKENDS
from prove.opinions import Site, floating, kept_as, part
from prove.rig import one_processor, rig
from prove.scenario import Scenario
from prove.shrink import reduced

Object = dict[str, Any]
DRIFT_EVERY = 20
CROWDED_EVERY = 3
GOVERNED_EVERY = 4
SHRINK_SECONDS = 90.0


class Drift(AssertionError):
    """What changes have made of a kernel is not what the same world makes from scratch."""


@dataclass
class Progress:
    seed: int
    worlds: int = 0
    packets: int = 0
    disagreements: int = 0


@dataclass
class Difference:
    """Opinions that part: in this world, after that one."""

    world: int
    before: list[Object]
    objects: list[Object]
    flight: Flight
    said: dict[str, str]


@contextmanager
def site_with(backends: Sequence[str]) -> Iterator[Site]:
    """The same host once for each backend, on one processor."""
    with ExitStack() as stack:
        if backends:
            stack.enter_context(one_processor())
        yield Site({name: BACKENDS[name](stack.enter_context(rig(name[:4]))) for name in backends})


def proof(
    site: Site, seed: int, flights: int, goes_on: Callable[[Progress], bool], *,
    without: tuple[str, ...] = (), drift_every: int = DRIFT_EVERY,
) -> Iterator[Difference]:
    """Differences as they are found: at most one of each world. `goes_on` is asked before every world. Some worlds are
    looked at again with crowded ports, or under administrators, with dice of their own, and are not counted twice."""
    random = Random(seed)
    progress = Progress(seed)
    before: list[Object] = []
    while goes_on(progress):
        number = progress.worlds
        objects = worlds.world(random, without=without)
        variants = [(objects, objects, random)]
        if number % CROWDED_EVERY == 1:
            dice = Random(f"{seed} {number}")
            variants.append((crowd := worlds.crowded(dice, objects), crowd, dice))
        if number % GOVERNED_EVERY == 2:
            dice = Random(f"governed {seed} {number}")
            variants.append((more := governed(dice, objects), list(map(kept_as, more)), dice))
        for objects, targets, dice in variants:
            made = aim.apart(aim.flights(dice, targets, flights), partial(floating, objects))
            site.becomes(objects)
            opinions = site.opinions(objects, made)
            if number % drift_every == 0 and (found := site.drift()):
                raise Drift(f"seed {seed}, world {number}: {found}")
            for flight, said in zip(made, opinions, strict=True):
                if part(said):
                    progress.disagreements += 1
                    yield Difference(number, before, objects, flight, said)
                    break
            progress.packets += len(made)
            before = objects
        progress.worlds += 1


def shrunk(site: Site, found: Difference, seed: int) -> Scenario:
    """The difference as a small scenario: from an empty world if that shows it, else after the world before."""
    end = time.monotonic() + SHRINK_SECONDS

    def differs(before: list[Object], objects: list[Object]) -> bool:
        if time.monotonic() > end:
            return False
        site.becomes([])
        site.becomes(before)
        site.becomes(objects)
        return part(site.opinions(objects, [found.flight])[0])

    before, objects = found.before, found.objects
    if differs([], objects):
        before = []
    elif differs(before, objects):
        before = reduced(before, lambda fewer: differs(fewer, objects))
    if differs(before, objects):
        objects = reduced(objects, lambda fewer: differs(before, fewer))
    site.becomes(before)
    site.becomes(objects)
    said = site.opinions(objects, [found.flight])[0]
    about = f"found by seed {seed} in world {found.world}: opinions differ"
    return Scenario(about, objects, [(found.flight, said["oracle"])], before, said)


def verdicts(site: Site, given: Scenario) -> Iterator[tuple[Flight, str, dict[str, str]]]:
    """Of each packet of a scenario: where it must come out, and what everybody says. Each meets a host that has seen
    no packet before."""
    site.becomes(given.before)
    site.becomes(given.given)
    for flight, comes_out in given.flights:
        for kernel in site.kernels.values():
            kernel.rig.forget_flows()
        yield flight, comes_out, site.opinions(given.given, [flight])[0]


def kept(given: Scenario, directory: Path, name: str) -> Path:
    file = directory / f"{name}.yaml"
    scenario.write(given, file)
    return file
