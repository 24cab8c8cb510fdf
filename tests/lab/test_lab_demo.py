"""What a newcomer sees first: the demo comes up, tells the truth, suggests what works, and goes away whole."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from muslin.errors import Invalid
from muslin.lab import verbs
from muslin.lab.demo import demo, suggestions
from muslin.lab.fabric import namespace_of
from muslin.lab.lab import Lab
from muslin.lab.record import load, recorded, started
from muslin.lab.shop import WORKLOADS
from muslin.lab.topology import Topology
from netrig import in_ns, run

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NAME = f"t{os.getpid()}demo"


@pytest.fixture(scope="module", autouse=True)
def shown() -> Iterator[None]:
    """The demo, as a person starts it: it stays up."""
    assert asyncio.run(demo(False, NAME)) == 0
    yield
    if NAME in recorded():
        asyncio.run(Lab.open(NAME).down())


def left_of(name: str) -> list[str]:
    """Namespaces and processes that still bear the lab's name."""
    namespaces = [line for line in run("ip", "netns", "list").splitlines() if line.startswith(f"mu-{name}-")]
    listed = subprocess.run(["pgrep", "-af", f"/lab/{name}/"], capture_output=True, text=True, check=False)
    return namespaces + [line for line in listed.stdout.splitlines() if "pgrep" not in line]


def test_every_suggestion_works_as_it_stands(capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is worse than a first command that fails."""
    environment = dict(os.environ)
    for what, command in suggestions(Lab.open(NAME))[:-1]:
        if command.startswith("export "):
            for word in command.split()[1:]:
                name, _, value = word.partition("=")
                environment[name] = value.replace("$PATH", environment["PATH"])
            continue
        done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{what}: {command}: {done.stdout}{done.stderr}"
        assert done.stdout.strip(), f"{command} says nothing"


def test_a_packet_that_vanishes_is_a_difference() -> None:
    """The demo's green line means something: somebody drops what policy allows, and it turns red."""
    network = Lab.open(NAME).network("shop/api1")
    run("ip", "netns", "exec", network, "nft", "-f", "-",
        stdin="table inet thief { chain i { type filter hook input priority 0; tcp dport 9100 drop; }; }\n")

    assert asyncio.run(verbs.test(NAME)) == 1

    in_ns(network, "nft", "delete", "table", "inet", "thief")
    assert asyncio.run(verbs.test(NAME)) == 0


def test_a_second_demo_takes_the_place_of_the_first_and_the_check_leaves_nothing() -> None:
    before = load(NAME).processes["server"]

    assert asyncio.run(demo(True, NAME)) == 0

    assert not before.alive
    assert NAME not in recorded()
    assert left_of(NAME) == []


def test_down_works_after_everything_was_killed() -> None:
    """Also when nobody who started it lives any more."""
    name = f"{NAME}2"
    lab = asyncio.run(Lab.up(Topology(name=name, racks=1, hosts_per_rack=1, spines=0)))
    directories = (lab.record.run, lab.record.state)
    for process in lab.record.processes.values():
        process.kill(signal.SIGKILL)

    asyncio.run(Lab.open(name).down())

    assert left_of(name) == []
    assert not any(directory.exists() for directory in directories)
    assert all(started(process.pid) != process.started for process in lab.record.processes.values())


def test_a_strangers_namespace_is_neither_used_nor_removed() -> None:
    """Only what this lab has made may go when it goes."""
    name = f"{NAME}3"
    foreign = namespace_of(name, "r1")
    run("ip", "netns", "add", foreign)
    try:
        with pytest.raises(Invalid, match=foreign):
            asyncio.run(Lab.up(Topology(name=name)))

        assert Path("/run/netns", foreign).exists()
        assert name not in recorded()
    finally:
        run("ip", "netns", "del", foreign)


def test_a_lab_that_is_there_is_not_built_twice() -> None:
    name = f"{NAME}4"
    lab = asyncio.run(Lab.up(Topology(name=name, racks=1, hosts_per_rack=1, spines=0)))
    try:
        with pytest.raises(Invalid, match="muslin lab down"):
            asyncio.run(Lab.up(Topology(name=name)))
        assert all(process.alive for process in lab.record.processes.values())
    finally:
        asyncio.run(lab.down())


def test_the_demos_people_stand_at_every_distance_from_each_other() -> None:
    """Same host, same rack, other rack: each is another way through the kernels."""
    places = [(host.name, host.rack) for wanted in WORKLOADS for host in Topology().hosts if host.name == wanted.host]
    pairs = [(one, two) for index, one in enumerate(places) for two in places[index + 1 :]]

    assert any(one == two for one, two in pairs)
    assert any(one != two and one[1] == two[1] for one, two in pairs)
    assert any(one[1] != two[1] for one, two in pairs)
