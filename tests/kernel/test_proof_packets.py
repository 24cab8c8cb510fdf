"""Four opinions, one network: each kernel backend, `explain`, and a plain reading of the resources, packet by packet.

One host for each backend gets the same generated worlds one after another, as a running host would: by the changes that
`calc` and a renderer make of the difference. Under each, real packets of every protocol are aimed at the edges of its
rules, from workloads, from outside and from the host itself. Where they come out must be where the others say.
To see one run again, or to try others: `./dev prove --seed <number>`; `tests/prove` is all of it.
"""

from __future__ import annotations

import os

import pytest

from prove import run, scenario
from prove.kernels import BACKENDS
from prove.opinions import Site
from prove.run import Difference, Progress

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SEED = int(os.environ.get("MUSLIN_SEED", "20"))
FLIGHTS, PACKETS = 250, 23_000


def test_the_kernels_explain_and_a_plain_reading_agree_on_every_packet() -> None:
    """The heart of the product: what was written is what happens, and what we say happens."""
    with run.site_with(list(BACKENDS)) as site:
        for found in run.proof(site, SEED, FLIGHTS, enough):
            pytest.fail(told(site, found), pytrace=False)

        lacking = site.tally.lacking(LEAST)
    assert not lacking, f"the generator has gone blind: tried only {lacking}, of {LEAST}"


def enough(progress: Progress) -> bool:
    return progress.packets < PACKETS


def told(site: Site, found: Difference) -> str:
    """The difference as small as it gets, in a file that can be run."""
    small = run.shrunk(site, found, SEED)
    file = run.kept(small, scenario.DIRECTORY, f"found-{SEED}-{found.world}")
    return f"MUSLIN_SEED={SEED}, world {found.world}: {found.said}\n{found.flight}\n./dev prove --scenario {file}"


LEAST = {
    "from workload to nowhere": 2000, "from workload to workload": 500, "from outside to workload": 500,
    "workload ingress:Allow": 1000, "workload ingress:Deny": 1000, "workload egress:Allow": 1000,
    "workload egress:Deny": 1000, "fragments": 300, "workload to host": 100,
    "from host to workload": 300, "from host to outside": 300, "from outside to host": 300,
    "from outside to outside": 300, "from workload to host": 300,
    **{f"{gate}:{said}": 5 for gate in ("untracked ingress", "untracked egress", "pre-DNAT")
       for said in ("Allow", "Deny", "Pass")},
    **{f"{gate}:{said}": 100 for gate in ("input", "output", "forward ingress", "forward egress")
       for said in ("Allow", "Deny")},
    **{f"{gate}:failsafe": 10 for gate in ("untracked ingress", "untracked egress", "input", "output")},
    **{f"rule {field}": 60 for field in (
        "Allow", "Deny", "Pass", "ipVersion", "protocol", "notProtocol", "icmp", "notICMP", "source.nets",
        "source.notNets", "source.selector", "source.notSelector", "source.namespaceSelector", "source.ports",
        "destination.nets", "destination.notNets", "destination.selector", "destination.notSelector",
        "destination.namespaceSelector", "destination.ports")},
    **{f"rule {field}": 20 for field in (
        "source.serviceAccounts", "destination.serviceAccounts", "source.notPorts", "destination.notPorts")},
    **{f"protocol {number} v{family}": 200 for number in (6, 17, 132, 136, 97, 103, 4) for family in (4, 6)},
    "protocol 1 v4": 200, "protocol 58 v6": 200,
}
"""How often each of these must have been tried, so that agreement means something."""
