"""What hosts are told: a snapshot, then only what concerns them, and what they say is in the status."""

from __future__ import annotations

import asyncio
import http.client
import socket
import time
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from muslin.calc import host as one_host
from muslin.calc.cluster import Graph
from muslin.intent import Delta, MemberChange
from muslin.model import kinds
from muslin.model.meta import ResourceKey
from muslin.server.frames import Frames
from muslin.server.hub import Hub
from muslin.server.metrics import Metrics
from muslin.server.turnover import Turnover
from muslin.store import Event, Store, layout
from muslin.store.memory import MemoryStore
from muslin.store.sqlite import SqliteStore
from serverrig import CALICO, GNPS, NPS, Api, gnp, policy, resource, running, wait_for, weps, workload

STATUS = "/muslin/v1/status"


def deltas(lines: Iterator[Any]) -> Iterator[Delta]:
    for line in lines:
        yield msgspec.convert(line, Delta)


def feed(host: str) -> str:
    return f"/muslin/v1/hosts/{host}/feed"


def test_a_feed_begins_with_a_snapshot_of_what_the_host_needs(api: Api) -> None:
    api.made(weps(), workload("web", "h1", "10.65.0.1", role="web"))
    api.made(weps(), workload("db", "h2", "10.65.1.1", role="db"))
    api.made(GNPS, gnp("db-only", selector="role == 'db'",
                       ingress=[{"action": "Allow", "source": {"selector": "role == 'web'"}}]))
    with api.lines(feed("h2")) as lines:
        first = next(deltas(lines))
    assert first.snapshot
    assert list(first.endpoints) == ["WorkloadEndpoint/shop/h2-muslin-db-eth0"]
    assert "GlobalNetworkPolicy/db-only" in first.policies
    (members,) = [found.members for found in first.sets.values()]  # type: ignore[union-attr]
    assert members == {"10.65.0.1/32"}
    with api.lines(feed("h1")) as lines:
        assert "GlobalNetworkPolicy/db-only" not in next(deltas(lines)).policies


def test_a_change_reaches_the_hosts_that_it_concerns(api: Api) -> None:
    """And a new member of a set is told as that, not as the whole set."""
    api.made(weps(), workload("db", "h2", "10.65.1.1", role="db"))
    api.made(weps(), workload("web", "h1", "10.65.0.1", role="web"))
    api.made(GNPS, gnp("db-only", selector="role == 'db'",
                       ingress=[{"action": "Allow", "source": {"selector": "role == 'web'"}}]))
    with api.lines(feed("h1")) as first, api.lines(feed("h2")) as second:
        one, two = deltas(first), deltas(second)
        assert next(one).snapshot
        assert next(two).snapshot
        version = api.made(weps(), workload("web2", "h1", "10.65.0.2", role="web"))["metadata"]["resourceVersion"]
        local, remote = next(one), next(two)
    assert list(local.endpoints) == ["WorkloadEndpoint/shop/h1-muslin-web2-eth0"]
    (change,) = remote.sets.values()
    assert isinstance(change, MemberChange)
    assert change.added == {"10.65.0.2/32"}
    assert not remote.endpoints
    assert local.revision == remote.revision == int(version)


def test_frames_are_the_deltas_themselves(api: Api) -> None:
    """Sharing what is encoded must not change what is said."""
    graph = Graph()
    for body in (workload("web", "h1", "10.65.0.1", "fd65::1", role="web"), gnp("a", ingress=[{"action": "Deny"}])):
        kind, metadata = body["kind"], body["metadata"]
        key = ResourceKey(kind, metadata.get("namespace", ""), metadata["name"])
        graph.update({key: msgspec.convert(body, kinds.BY_NAME[kind].struct)})
    graph.flush()
    snapshot = graph.snapshot("h1")
    frames = Frames()
    for delta in (snapshot, Delta(revision=3), Delta(bgp=None), Delta(sets={"a": None})):  # type: ignore[dict-item]
        line = frames.line(delta)
        assert line == frames.line(delta)
        assert line.count(b"\n") == 1
        assert msgspec.json.decode(line, type=Delta) == delta


def test_all_deltas_add_up_to_the_next_snapshot(api: Api) -> None:
    def intent(lines: Iterator[Delta], count: int) -> Any:
        graph = one_host.Graph()
        for delta in islice(lines, count):
            graph.update(delta)
            graph.flush()
        return graph.intent

    with api.lines(feed("h1")) as lines:
        found = deltas(lines)
        follower = one_host.Graph()
        follower.update(next(found))
        last = 0
        for n in range(5):
            api.made(weps(), workload(f"w{n}", "h1", f"10.65.0.{n}", app=f"a{n}"))
        last = int(api.made(NPS, policy("p", selector="app == 'a1'", ingress=[{"action": "Allow"}])
                            )["metadata"]["resourceVersion"])
        api.delete(f"{weps()}/h1-muslin-w0-eth0")
        while last >= 0:
            delta = next(found)
            follower.update(delta)
            follower.flush()
            last = -1 if delta.revision > last else last
    with api.lines(feed("h1")) as lines:
        again = intent(deltas(lines), 1)
    assert msgspec.json.encode(again, order="sorted") == msgspec.json.encode(follower.intent, order="sorted")


def test_a_second_agent_of_a_host_gets_its_own_snapshot(api: Api) -> None:
    """A restart overlaps its predecessor for a moment; both are told what changes."""
    with api.lines(feed("h1")) as first, api.lines(feed("h1")) as second:
        one, two = deltas(first), deltas(second)
        assert next(one).snapshot
        assert next(two).snapshot
        api.made(weps(), workload("web", "h1", "10.65.0.1"))
        assert next(one).endpoints.keys() == next(two).endpoints.keys() != set()


def test_a_feed_is_kept_alive(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that hears nothing for long takes the connection for dead."""
    monkeypatch.setattr("muslin.server.feeds.KEEP_ALIVE_SECONDS", 0.05)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(api.path))
    connection = http.client.HTTPConnection("x")
    connection.sock = sock
    connection.request("GET", feed("h1"))
    response = connection.getresponse()
    assert response.readline().startswith(b"{")
    assert [response.readline() for _ in range(3)] == [b"\n"] * 3
    connection.close()


@pytest.mark.slow
def test_a_host_that_takes_nothing_is_dropped_and_the_others_are_not(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines must not fill the server's memory; when it is back it begins with a snapshot."""
    monkeypatch.setattr("muslin.server.hub.MOST_WAITING", 200_000)
    rule = {"action": "Deny", "source": {"nets": [f"10.0.{n}.0/24" for n in range(200)]}}
    api.made(weps(), workload("web", "h1", "10.65.0.1"))
    api.made(GNPS, gnp("big", ingress=[rule] * 40))
    with api.lines(feed("h1")) as slow, api.lines(feed("h1")) as quick:
        assert next(slow)["snapshot"]
        assert next(quick)["snapshot"]
        for n in range(60):
            api.patch(f"{GNPS}/big", {"spec": {"ingress": [{**rule, "protocol": n + 1}] * 40}})
            next(quick)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            list(slow)
    with api.lines(feed("h1")) as back:
        assert next(back)["snapshot"]


def test_whoever_asks_waits_for_what_was_written_before(tmp_path: Path) -> None:
    """`why` right after `apply`, also when many wrote at once: the last revision is in the calculation."""

    async def scene() -> None:
        store = SqliteStore(tmp_path / "s.db", synchronous="OFF")
        hub = Hub(store, Metrics())
        running = asyncio.create_task(hub.run())
        await hub.wait_ready()
        nodes = [store.put(f"/calico/resources/v3/projectcalico.org/nodes/h{n}", b"{}") for n in range(50)]
        last = max(await asyncio.gather(*nodes))
        await asyncio.wait_for(hub.wait_revision(last), 10)
        assert (hub.revision, hub.counts["Node"]) == (last, 50)
        running.cancel()
        await store.close()

    asyncio.run(scene())


def test_a_host_is_told_before_whoever_wrote_has_his_answer(tmp_path: Path) -> None:
    """An agent that adds a workload waits for what it is told of it: its policy is in the kernel so much earlier."""
    web = workload("web", "h1", "10.65.0.1")
    key = ResourceKey(kind="WorkloadEndpoint", namespace="shop", name=web["metadata"]["name"])
    happened: list[str] = []

    async def write(store: Store) -> None:
        await store.put(layout.path(key), msgspec.json.encode(web))

    async def scene() -> None:
        store = SqliteStore(tmp_path / "s.db", synchronous="OFF")
        hub = Hub(store, Metrics())
        running = asyncio.create_task(hub.run())
        subscriber = await hub.subscribe("h1", lambda: None)
        await subscriber.take(5)

        async def hear() -> None:
            if b"10.65.0.1" in await subscriber.take(5):
                happened.append("told")

        hearing = asyncio.create_task(hear())
        await asyncio.sleep(0)
        await Turnover(store).do([write])
        happened.append("answered")
        await hearing
        running.cancel()
        await store.close()

    asyncio.run(scene())
    assert happened == ["told", "answered"]


def test_a_calculation_that_fell_behind_the_history_begins_anew(tmp_path: Path) -> None:
    """Hosts get a new snapshot: whatever was missed is made up for."""

    class Forgetful(MemoryStore):
        first = True

        async def watch(self, prefix: str, *, after: int) -> AsyncIterator[tuple[Event, ...]]:
            if self.first:
                self.first = False
                await self.put("/calico/resources/v3/projectcalico.org/nodes/h9", b"{}")
                await self.compact(await self.revision())
            async for batch in super().watch(prefix, after=after):
                yield batch

    async def scene() -> tuple[list[bool], int]:
        hub = Hub(Forgetful(), Metrics())
        running = asyncio.create_task(hub.run())
        subscriber = await hub.subscribe("h1", lambda: None)
        snapshots = []
        while hub.revision < 1 or len(snapshots) < 2:
            taken = await asyncio.wait_for(subscriber.take(5), 5)
            snapshots += [msgspec.json.decode(line, type=Delta).snapshot for line in taken.splitlines()]
        running.cancel()
        return snapshots, hub.counts["Node"]

    assert asyncio.run(scene()) == ([True, True], 1)


def test_the_server_learns_that_an_agent_has_gone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muslin.server.feeds.KEEP_ALIVE_SECONDS", 0.05)
    with api.lines(feed("h1")) as lines:
        next(lines)
        assert host(api, "h1")["connected"]
    wait_for(lambda: not [one for one in api.get(STATUS).json["hosts"] if one["connected"]])


def test_a_restarted_server_serves_everything_again(tmp_path: Path) -> None:
    with running(tmp_path, store=f"sqlite:///{tmp_path}/s.db") as api:
        api.made(weps(), workload("web", "h1", "10.65.0.1"))
    with running(tmp_path, store=f"sqlite:///{tmp_path}/s.db") as api, api.lines(feed("h1")) as lines:
        assert len(next(deltas(lines)).endpoints) == 1


# -- reports and status


def host(api: Api, name: str) -> dict[str, Any]:
    return next(one for one in api.get(STATUS).json["hosts"] if one["name"] == name)


def report(name: str, **more: Any) -> dict[str, Any]:
    return {"host": name, "in_sync": True, "applied": 10**6, "version": "1", **more}


def problems(api: Api, name: str) -> str:
    found = host(api, name)["problems"]
    assert all(one["mend"] for one in found), found
    return " | ".join(one["what"] for one in found)


def test_all_is_well_with_nothing_to_do(api: Api) -> None:
    found = api.get(STATUS).json
    assert (found["ok"], found["hosts"], found["faults"]) == (True, [], [])
    assert found["server"]["objects"]["Tier"] == 3


def test_a_host_that_is_declared_but_not_connected_is_a_problem(api: Api) -> None:
    api.made(f"{CALICO}/nodes", resource("Node", "h1"))
    assert "not connected" in problems(api, "h1")
    assert not api.get(STATUS).json["ok"]


def test_a_host_that_reports_in_sync_is_well(api: Api) -> None:
    with api.lines(feed("h1")) as lines:
        next(lines)
        assert api.post("/muslin/v1/hosts/h1/report", report("h1")).status == 200
        found = host(api, "h1")
        assert (found["connected"], found["in_sync"], found["problems"], found["behind"]) == (True, True, [], 0)
        assert api.get(STATUS).json["ok"]


def test_what_a_host_reports_as_wrong_is_named_with_its_mend(api: Api) -> None:
    with api.lines(feed("h1")) as lines:
        next(lines)
        session = {"name": "Mesh_1", "peer": "192.0.2.2", "peer_as": 64512, "state": "Active", "info": "refused"}
        api.post("/muslin/v1/hosts/h1/report", report(
            "h1", in_sync=False, bgp="down", sessions=[session],
            endpoints={"WorkloadEndpoint/shop/x": {"state": "error", "message": "no such interface"}},
            problems=[{"what": "disk full", "mend": "make room"}]))
        said = problems(api, "h1")
    for part in ("disk full", "192.0.2.2 is Active (refused)", "no such interface", "BIRD is not running"):
        assert part in said


def test_a_host_that_is_behind_is_seen(api: Api) -> None:
    with api.lines(feed("h1")) as lines:
        found = deltas(lines)
        next(found)
        api.made(weps(), workload("web", "h1", "10.65.0.1"))
        revision = next(found).revision
        api.post("/muslin/v1/hosts/h1/report", report("h1", applied=revision - 1))
        assert host(api, "h1")["behind"] == 1
        api.post("/muslin/v1/hosts/h1/report", report("h1", applied=revision))
        assert host(api, "h1")["behind"] == 0


def test_a_host_that_was_taken_away_is_forgotten(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.post("/muslin/v1/hosts/h1/report", report("h1"))
    assert host(api, "h1")
    monkeypatch.setattr("muslin.server.status.FORGOTTEN_SECONDS", 0)
    assert api.get(STATUS).json["hosts"] == []


def test_a_report_of_somebody_else_is_refused(api: Api) -> None:
    assert api.post("/muslin/v1/hosts/h1/report", report("h2")).status == 400
    assert api.post("/muslin/v1/hosts/h1/report", {"applied": "x"}).status == 400


def test_what_changes_shows_in_the_status_at_once(api: Api) -> None:
    start = time.monotonic()
    api.made(GNPS, gnp("a"))
    assert api.get(STATUS).json["server"]["objects"]["GlobalNetworkPolicy"] == 1
    assert time.monotonic() - start < 5
