"""A day's churn in a quarter of a minute: server and agent hold as much after it as before, and so does the kernel.
`MUSLIN_CHURN=80` makes as many rounds.

A round: a storm over policies, sets, labels and endpoints of all hosts; workloads that come and go by the agent's door;
hosts that connect to the server and hang up; then all of it goes. The first rounds fill what is filled once (caches,
the store's history); the others must add nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import stormrig
from agentrig import V3, Site, site
from muslin.client import Client
from netrig import namespace, run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

BEFORE, AT_LEAST = 4, 4
SECONDS, AT_MOST = 8.0, int(os.environ.get("MUSLIN_CHURN", "10"))
MORE_OBJECTS, MORE_BYTES = 1500, 6 << 20
"""A leak of one object for each of the thousands of changes would be more; the allocator's holes are less."""
MORE_BLOCKS, MORE_LARGE = 4000, 400_000
"""Of what is in use, holes not counted: 70 bytes for each of the 6000 changes that there are at least, be it blocks of
their own or something that grows."""


@pytest.fixture
def place() -> Iterator[Site]:
    with site(stormrig.start_server) as made:
        yield made


class Churn:
    def __init__(self, place: Site, told: Path, spaces: list[str]) -> None:
        self.place, self._told, self._spaces = place, told, spaces
        self.changes = self.workloads = self.connections = 0
        place.api.post(f"{V3}/tiers", {"apiVersion": "projectcalico.org/v3", "kind": "Tier",
                                       "metadata": {"name": "late"}, "spec": {"order": 20}})

    def round(self, seed: int) -> None:
        agent: Client = self.place.agent("h1")
        for number, space in enumerate(self._spaces):
            agent.post("/v1/workloads", {"name": f"w{number}", "namespace": "default", "netns": space,
                                         "labels": {"app": "db"}})
        told = stormrig.ask(self.place.run / "storm.sock", do="storm", seed=seed, seconds=0.3, rate=5000)
        for _ in range(10):
            self._connect_and_hang_up()
        for number in range(len(self._spaces)):
            agent.delete(f"/v1/workloads/default/w{number}")
        self.changes += told["written"]
        self.workloads += len(self._spaces)
        stormrig.ask(self.place.run / "storm.sock", do="clear")

    def _connect_and_hang_up(self) -> None:
        with socket.socket(socket.AF_UNIX) as feed:
            feed.settimeout(30)
            feed.connect(str(self.place.run / "server.sock"))
            feed.sendall(b"GET /muslin/v1/hosts/h9/feed HTTP/1.1\r\nHost: muslin\r\n\r\n")
            assert b"200" in feed.recv(1 << 16)
        self.connections += 1

    def quiet(self) -> dict[str, Any]:
        """What all hold, when everything of the last round has gone."""
        wait_for("nobody here", lambda: not self.place.agent("h1").get("/v1/workloads")["items"], 60)
        wait_for("nothing under way", lambda: self.place.report("h1")["in_sync"], 60)
        wait_for("no host but one", lambda: "muslin_server_feeds 1.0" in self._metrics(), 60)
        kernel = wait_for("the kernel's rest", self._kernel_at_rest, 60)
        return {"server": stormrig.ask(self.place.run / "storm.sock", do="count"),
                "agent": stormrig.ask_agent(self.place, "h1", self._told), "kernel": kernel}

    def _metrics(self) -> str:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.place.run / "server.sock"))
            asking.sendall(b"GET /metrics HTTP/1.1\r\nHost: muslin\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: asking.recv(1 << 16), b"")).decode()

    def _kernel_at_rest(self) -> tuple[str, ...] | None:
        """The same twice: what went is gone, and the last snapshot is written."""
        one = self._kernel()
        time.sleep(0.3)
        return one if one == self._kernel() else None

    def _kernel(self) -> tuple[str, ...]:
        space = self.place.space("h1")
        words = ("link show", "addr show", "route show table all", "-6 route show table all", "neigh show nud all")
        shown = [run("ip", "-n", space, "-o", *each.split()) for each in words]
        return run("ip", "netns", "exec", space, "nft", "-s", "list", "table", "inet", "muslin"), *shown


def test_after_a_days_churn_all_hold_what_they_held_before(place: Site) -> None:
    with ExitStack() as stack:
        churn = Churn(place, stormrig.start_agent(place, "h1"),
                      [stack.enter_context(namespace(f"g{number}")) for number in range(4)])
        for number in range(BEFORE):
            churn.round(number)
        before, began, rounds = churn.quiet(), time.monotonic(), 0
        while rounds < AT_LEAST or (rounds < AT_MOST and (AT_MOST > 10 or time.monotonic() < began + SECONDS)):
            rounds += 1
            churn.round(BEFORE + rounds)
        after = churn.quiet()

    print(f"{rounds} rounds: {churn.changes} changes, {churn.workloads} workloads, {churn.connections} connections")
    assert after["kernel"] == before["kernel"]
    for who in ("server", "agent"):
        objects = after[who]["objects"] - before[who]["objects"]
        resident = after[who]["resident"] - before[who]["resident"]
        blocks, large = (after[who][what] - before[who][what] for what in ("blocks", "large"))
        print(f"{who}: {objects:+} of {before[who]['objects']} objects, {blocks:+} blocks and {large / 1e3:+.0f} kB of "
              f"larger ones, {resident / 1e6:+.1f} of {before[who]['resident'] / 1e6:.0f} MB")
        assert objects < MORE_OBJECTS, _grown(before[who], after[who])
        assert blocks < MORE_BLOCKS, _grown(before[who], after[who])
        assert large < MORE_LARGE, _grown(before[who], after[who])
        assert resident < MORE_BYTES, _grown(before[who], after[who])


def _grown(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    """Which kinds of objects are more now."""
    had = dict(before["most"])
    return {name: number - had.get(name, 0) for name, number in after["most"] if number > had.get(name, 0)}
