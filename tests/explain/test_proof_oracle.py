"""Calculation and explanation agree with a plain reading of the resources, packet by packet.

What is proven is the whole way from YAML to verdict: `calc.cluster` makes sets and rules of selectors and names,
`calc.host` makes them one host's, `explain` walks them; `prove.oracle` knows none of these. To see one world again:
`MUSLIN_SEED=<the number> pytest tests/explain/test_oracle.py`.
"""

from __future__ import annotations

import json
import os
from random import Random
from typing import Any

import pytest

from muslin.calc.cluster import Graph as Cluster
from muslin.calc.host import Graph as Host
from muslin.explain import Packet as ExplainedPacket
from muslin.explain import path, text, verdicts
from muslin.intent import EndpointKey, HostIntent
from prove import aim, oracle, shrink, worlds
from prove.flight import Flight, Packet
from prove.opinions import resources

SEEDS = [int(os.environ["MUSLIN_SEED"])] if "MUSLIN_SEED" in os.environ else list(range(6))
WORLDS, FLIGHTS = 40, 60

Object = dict[str, Any]


def intents(objects: list[Object]) -> dict[str, HostIntent]:
    """What each of the two hosts must do."""
    cluster = Cluster()
    cluster.update(resources(objects))
    found = {}
    for name in ("h1", "h2"):
        host = Host()
        host.update(cluster.snapshot(name))
        host.flush()
        found[name] = host.intent
    return found


def workload(objects: list[Object], **words: str) -> Object | None:
    """By its interface, or by an address."""
    for each in objects:
        if each["kind"] == "WorkloadEndpoint":
            addresses = [net.partition("/")[0] for net in each["spec"]["ipNetworks"]]
            if words.get("interface") == each["spec"]["interfaceName"] or words.get("address") in addresses:
                return each
    return None


def by_reading(objects: list[Object], flight: Flight) -> str:
    """The oracle's verdict for the whole way."""
    world = oracle.World(objects)
    sender = workload(objects, interface=flight.arrives)
    receiver = workload(objects, address=flight.packet.destination)
    if sender and oracle.verdict(world, sender, "egress", flight.packet) == "Deny":
        return "Deny"
    return oracle.verdict(world, receiver, "ingress", flight.packet) if receiver else "Allow"


def by_explain(
    objects: list[Object], hosts: dict[str, HostIntent], flight: Flight
) -> tuple[str, list[str]]:
    """(verdict, why) for the whole way."""
    sender = workload(objects, interface=flight.arrives)
    receiver = workload(objects, address=flight.packet.destination)
    found = path(
        hosts[sender["spec"]["node"]] if sender else None,
        hosts[receiver["spec"]["node"]] if receiver else None,
        ExplainedPacket(*flight.packet),
        source=endpoint_key(sender) if sender else None,
    )
    lines = [line for decision in (found.egress, found.ingress) if decision for line in text(decision)]
    return found.verdict, lines


def endpoint_key(each: Object) -> EndpointKey:
    return EndpointKey(f"WorkloadEndpoint/{each['metadata']['namespace']}/{each['metadata']['name']}")


def disagree(objects: list[Object], flight: Flight) -> bool:
    return by_explain(objects, intents(objects), flight)[0] != by_reading(objects, flight)


def report(objects: list[Object], flight: Flight) -> str:
    small = shrink.reduced(objects, lambda fewer: disagree(fewer, flight))
    verdict, lines = by_explain(small, intents(small), flight)
    things = "\n".join(json.dumps(each) for each in small)
    return "\n".join((f"{flight}: {verdict}, the oracle says {by_reading(small, flight)}", things, *lines))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_explain_says_what_a_plain_reading_of_the_resources_says(seed: int) -> None:
    """Any difference is a hole or a breakage on somebody's network."""
    random = Random(seed)
    seen = {"Allow": 0, "Deny": 0}

    for number in range(WORLDS):
        objects = worlds.world(random, plain=True)
        hosts = intents(objects)
        for flight in aim.flights(random, objects, FLIGHTS, plain=True):
            verdict = by_reading(objects, flight)
            seen[verdict] += 1
            if by_explain(objects, hosts, flight)[0] != verdict:
                pytest.fail(f"seed {seed}, world {number}\n{report(objects, flight)}", pytrace=False)

    assert min(seen.values()) > 0.15 * sum(seen.values()), f"the generator is blind on one eye: {seen}"


@pytest.mark.slow
def test_the_matrix_is_what_a_plain_reading_says_of_every_pair() -> None:
    """The server shows this one to people."""
    random = Random(4)
    ports = [(6, 80), (6, 8090), (17, 53), (1, 0), (58, 0)]

    for _ in range(12):
        objects = worlds.world(random, plain=True)
        for cell in verdicts(intents(objects).values(), ports):
            ends = [next(each for each in objects if each["kind"] == "WorkloadEndpoint" and endpoint_key(each) == key)
                    for key in (cell.source, cell.destination)]
            source, destination = (end["spec"]["ipNetworks"][cell.family == 6].partition("/")[0] for end in ends)
            packet = Packet(source, destination, cell.protocol, cell.port, 49152, {1: 8, 58: 128}.get(cell.protocol))
            expected = by_reading(objects, Flight(ends[0]["spec"]["interfaceName"], packet))
            assert cell.verdict == expected, (cell, objects)


def last_port_left_out(entry: str | int, port: int) -> bool:
    first, colon, last = str(entry).partition(":")
    return int(first) <= port < int(last) if colon else port == int(first)


def namespace_forgotten(words: Object, _: str, labels: dict[str, str]) -> bool:
    return RIGHT["is_named"](words, "", labels)


def icmp_code_ignored(icmp: Object, packet: Packet) -> bool:
    return RIGHT["icmp_is"]({"type": icmp["type"]}, packet)


def first_address_left_out(net: str, address: str) -> bool:
    whole = net.endswith(("/32", "/128")) or address != net.partition("/")[0]
    return whole and RIGHT["holds"](net, address)


def tiers_in_the_wrong_order(
    world: oracle.World, endpoint: Object, direction: str, sort: oracle.Sort, staged: bool
) -> list[tuple[str, list[oracle.Reading]]]:
    return list(reversed(RIGHT["tiers"](world, endpoint, direction, sort, staged)))


RIGHT: dict[str, Any] = {name: getattr(oracle, name) for name in dir(oracle)}
MISTAKES = [
    ("in_range", last_port_left_out),
    ("is_named", namespace_forgotten),
    ("icmp_is", icmp_code_ignored),
    ("holds", first_address_left_out),
    ("tiers", tiers_in_the_wrong_order),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "wrong"), MISTAKES, ids=[wrong.__name__ for _, wrong in MISTAKES])
def test_the_proof_would_see_a_reader_that_errs(name: str, wrong: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these mistakes was made by somebody once. A generator that does not find them proves nothing."""
    monkeypatch.setattr(oracle, name, wrong)

    assert any(differs(Random(seed)) for seed in range(60))


def differs(random: Random) -> bool:
    """Does any packet in a few worlds get two answers?"""
    for _ in range(10):
        objects = worlds.world(random, plain=True)
        hosts = intents(objects)
        for flight in aim.flights(random, objects, FLIGHTS, plain=True):
            if by_explain(objects, hosts, flight)[0] != by_reading(objects, flight):
                return True
    return False
