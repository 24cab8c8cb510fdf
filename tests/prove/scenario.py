"""A small world, a packet and what must become of it, as a file: tests/scenarios/*.yaml.

    about: why this is here
    before: [resources]        optional: the world that the host was in before; then only changes are applied
    given: [resources]
    packets:
      - {arrives: up0, source: 192.0.2.1, destination: 10.65.0.1, protocol: 6, destinationPort: 80, comesOut: musw1}

`arrives` and `comesOut` are interfaces of `prove.site`, or `host`; `comesOut: denied` is the end of it. Every file is
run by tests/kernel/test_scenarios.py against each backend, `explain` and the oracle; `said` is only for the reader.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from prove.flight import Flight, Packet

Object = dict[str, Any]
DENIED = "denied"
DIRECTORY = Path(__file__).parent.parent / "scenarios"


@dataclass
class Scenario:
    about: str
    given: list[Object]
    flights: list[tuple[Flight, str]]
    """With where each comes out, "" for nowhere."""
    before: list[Object] = field(default_factory=list)
    said: dict[str, str] = field(default_factory=dict)


_WORDS = {"destinationPort": "destination_port", "sourcePort": "source_port", "icmpType": "icmp_type",
          "icmpCode": "icmp_code"}


def read(file: Path) -> Scenario:
    found = yaml.safe_load(file.read_text())
    return Scenario(found["about"], found["given"], [_flight(each) for each in found["packets"]],
                    found.get("before", []), found.get("said", {}))


def write(scenario: Scenario, file: Path) -> None:
    found: Object = {"about": scenario.about}
    if scenario.before:
        found["before"] = scenario.before
    found["given"] = scenario.given
    found["packets"] = [_words(flight, comes_out) for flight, comes_out in scenario.flights]
    if scenario.said:
        found["said"] = {name: place or DENIED for name, place in scenario.said.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(found, sort_keys=False, width=110, default_flow_style=None))


def _flight(words: Object) -> tuple[Flight, str]:
    fields = {_WORDS.get(name, name): value for name, value in words.items()}
    arrives, comes_out = fields.pop("arrives"), fields.pop("comesOut")
    fragments = fields.pop("fragments", 0)
    return Flight(arrives, Packet(**fields), fragments), "" if comes_out == DENIED else comes_out


def _words(flight: Flight, comes_out: str) -> Object:
    packet = flight.packet._asdict()
    shown = {name: packet[field] for name, field in _WORDS.items() if packet[field]}
    ends = {name: packet[name] for name in ("source", "destination", "protocol")}
    cut = {"fragments": flight.fragments} if flight.fragments else {}
    return {"arrives": flight.arrives, **ends, **shown, **cut, "comesOut": comes_out or DENIED}
