"""What the guard keeps says what it would say if it were read anew, whatever was written, tried or drafted before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muslin.errors import Conflict
from muslin.explain.lockout import Cut, cuts, new_cuts
from muslin.explain.scene import Connection, Scenery
from muslin.explain.scene import scene as whole
from muslin.model.meta import ResourceKey
from muslin.server.decoding import decoded
from muslin.server.guarded import KINDS, Changes, Guarded
from muslin.store import Draft, Store, layout
from muslin.store.memory import MemoryStore
from serverrig import resource

TCP = {"action": "Allow", "protocol": "TCP"}
SOURCES = ({}, {"selector": "role == 'server'"}, {"selector": "sort == 'net'"}, {"nets": ["192.0.2.0/24"]})
SELECTORS = ("host == 'h1'", "host == 'h2'", "all()", "role == 'db'")
CONNECTIONS = (Connection("h2", "192.0.2.2", "192.0.2.1", 7443), Connection("h1", "192.0.2.1", "198.51.100.9", 7443),
               Connection("h1", "192.0.2.1", "10.65.0.9", 7443))


def labelled(made: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {**made, "metadata": {**made["metadata"], "labels": labels}}


def node(number: int, *, there: bool = True) -> dict[str, Any]:
    return resource("Node", f"h{number}", **({"bgp": {"ipv4Address": f"192.0.2.{number}/24", "asNumber": 64512}}
                                           if there else {}))


def host_endpoint(number: int, interface: str, sort: str) -> dict[str, Any]:
    return labelled(resource("HostEndpoint", f"h{number}", node=f"h{number}", interfaceName=interface,
                             expectedIPs=[f"192.0.2.{number}"], profiles=["projectcalico-default-allow"]), sort=sort,
                    host=f"h{number}")


BOTH = ("Ingress", "Egress")


def policy(name: str, selector: str, ports: list[int], source: dict[str, Any], order: int,
           types: tuple[str, ...] = BOTH) -> dict[str, Any]:
    rules = [{**TCP, "destination": {"ports": ports}, "source": source}] if ports else []
    back = [{**TCP, "destination": {"ports": ports, **source}}] if ports else []
    sides = {"ingress": rules} if types == ("Ingress",) else {"egress": back} if types == ("Egress",) else {
        "ingress": rules, "egress": back}
    return resource("GlobalNetworkPolicy", name, selector=selector, types=list(types), order=order, **sides)


def refusing(host: str) -> dict[str, Any]:
    """Nobody is let in."""
    return resource("GlobalNetworkPolicy", f"into-{host}", selector=f"host == '{host}'", types=["Ingress"], order=0,
                    ingress=[{"action": "Deny"}])


def felix(*ports: int) -> dict[str, Any]:
    failsafe = [{"protocol": "tcp", "port": port} for port in ports]
    return resource("FelixConfiguration", "default", failsafeInboundHostPorts=failsafe,
                    failsafeOutboundHostPorts=failsafe)


def networks(*nets: str) -> dict[str, Any]:
    return labelled(resource("GlobalNetworkSet", "nets", nets=list(nets)), sort="net")


def server(address: str) -> dict[str, Any]:
    """A workload in which a server may run."""
    made = labelled(resource("WorkloadEndpoint", "h1-k8s-api-eth0", node="h1", orchestrator="k8s", pod="api",
                             endpoint="eth0", interfaceName="musapi", ipNetworks=[f"{address}/32"]), role="server")
    return {**made, "metadata": {**made["metadata"], "namespace": "shop"}}


numbers = st.sampled_from((1, 2))
objects = st.one_of(
    st.builds(host_endpoint, numbers, st.sampled_from(("*", "eth0")), st.sampled_from(("host", "other"))),
    st.builds(policy, st.sampled_from(("a", "b")), st.sampled_from(SELECTORS),
              st.sampled_from(([], [7443], [179], [7443, 179])), st.sampled_from(SOURCES), numbers,
              st.sampled_from((BOTH, ("Ingress",), ("Egress",)))),
    st.builds(node, numbers, there=st.booleans()), st.sampled_from((felix(), felix(179), felix(179, 7443))),
    st.sampled_from((networks(), networks("192.0.2.2/32"), networks("192.0.2.0/24", "198.51.100.0/24"))),
    st.builds(server, st.sampled_from(("10.65.0.9", "10.65.0.8"))))
steps = st.lists(st.tuples(objects, st.booleans(), st.booleans(), st.integers(0, 3)), min_size=1, max_size=10)
BASE = (node(1), node(2), felix(), host_endpoint(1, "*", "host"), host_endpoint(2, "*", "host"),
        policy("a", "sort == 'host'", [7443, 179], {}, 1))


def key_of(obj: dict[str, Any]) -> ResourceKey:
    return ResourceKey(obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


async def write(store: Store, obj: dict[str, Any], *, gone: bool) -> None:
    path = layout.path(key_of(obj))
    await (store.delete(path) if gone else store.put(path, json.dumps(obj).encode()))


async def told_by_the_whole(store: Store, change: Changes, drafted: Mapping[str, bytes | None],
                            connections: tuple[Connection, ...]) -> list[Cut]:
    """Both clusters put together from nothing, and all of their connections asked."""
    stored = {entry.key: entry.value for entry in (await store.list("/")).entries}
    keyed = {layout.parse(path): value for path, value in {**stored, **drafted}.items()}
    servers = tuple(f'"{one.server}/'.encode() for one in connections)
    before = {key: decoded(key, value) for key, value in keyed.items() if key is not None and value is not None
              and (key.kind != "WorkloadEndpoint" or any(server in value for server in servers))}
    after = {**before, **{key: decoded(key, value) for key, value in change.items()}}
    return new_cuts(*(cuts(whole({key: value for key, value in one.items() if value is not None}, connections))
                      for one in (before, after)))


def as_change(obj: dict[str, Any]) -> Changes:
    return {key_of(obj): json.dumps(obj).encode()}


def play(*base: dict[str, Any], scene: Callable[[MemoryStore, Guarded], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        store = MemoryStore()
        for obj in base:
            await write(store, obj, gone=False)
        await scene(store, Guarded(store))

    asyncio.run(all_of_it())


@settings(max_examples=200)
@given(steps, st.integers(0, 3))
def test_what_is_kept_says_what_is_read_anew(walk: list[tuple[dict[str, Any], bool, bool, int]], known: int) -> None:
    """Each step is asked about, where the guard would be; of some nothing is written, some only a draft learns, and
    saves now and then."""
    async def scene(store: MemoryStore, kept: Guarded) -> None:
        draft = Draft(store)
        for obj, gone, drafted, then in walk:
            change: Changes = {key_of(obj): None if gone else json.dumps(obj).encode()}
            beside = draft.changes() if drafted else {}
            connections = CONNECTIONS[: known if then else len(CONNECTIONS)]
            if obj["kind"] in KINDS:
                found = await kept.cuts(change, beside, connections)
                assert found == await told_by_the_whole(store, change, beside, connections)
            if then == 1:
                await write(store, obj, gone=gone)
            elif then == 2:
                await write(draft, obj, gone=gone)
            elif then == 3:
                with suppress(Conflict):
                    await draft.save()
                draft = Draft(store)

    play(*BASE, scene=scene)


CLOSED, OPEN = policy("a", "sort == 'host'", [], {}, 1), policy("a", "sort == 'host'", [7443, 179], {}, 1)


def test_what_means_nothing_to_hosts_cuts_nothing_and_what_closes_them_does() -> None:
    async def scene(_: MemoryStore, guarded: Guarded) -> None:
        for obj, cut in ((policy("b", "role == 'db'", [], {}, 0), False), (CLOSED, True), (OPEN, False)):
            assert bool(await guarded.cuts(as_change(obj), {}, ())) == cut

    play(*BASE, scene=scene)


def test_a_session_that_another_end_stops_now_is_cut_at_both() -> None:
    """h2 lets nobody in, and h1 nobody from now on; h2 itself is as before."""
    async def scene(store: MemoryStore, guarded: Guarded) -> None:
        change = as_change(refusing("h1"))
        found = await guarded.cuts(change, {}, ())
        assert [cut.host for cut in found] == ["h1", "h2"]
        assert found == await told_by_the_whole(store, change, {}, ())

    play(*BASE, refusing("h2"), scene=scene)


def test_what_a_draft_says_of_an_object_holds_also_when_the_store_says_otherwise_later() -> None:
    async def scene(store: MemoryStore, guarded: Guarded) -> None:
        draft = Draft(store)
        await write(draft, CLOSED, gone=False)
        other = as_change(policy("b", "host == 'h1'", [], {}, 3))
        assert await guarded.cuts(other, draft.changes(), ()) == [], "closed already"
        await write(store, {**OPEN, "spec": {**OPEN["spec"], "order": 7}}, gone=False)
        assert await guarded.cuts(other, draft.changes(), ()) == []
        opening = policy("0", "sort == 'host'", [179], {}, 0)
        await write(draft, opening, gone=False)
        assert await guarded.cuts({key_of(opening): None}, draft.changes(), ()), "what lets BGP through, by the draft"

    play(*BASE, scene=scene)


def test_a_server_that_is_heard_of_later_may_run_in_a_workload_that_was_there() -> None:
    async def scene(_: MemoryStore, guarded: Guarded) -> None:
        letting = policy("a", "sort == 'host'", [7443, 179], {}, 1)
        narrow = policy("a", "sort == 'host'", [7443], {"selector": "role == 'server'"}, 1)
        assert await guarded.cuts(as_change(letting), {}, CONNECTIONS[:1]) == []
        away = Connection("h2", "192.0.2.2", "10.65.0.9", 7443)
        assert await guarded.cuts(as_change(narrow), {}, (away,)) == []

    play(node(1), node(2), felix(179), host_endpoint(1, "*", "host"), host_endpoint(2, "*", "host"),
         policy("a", "sort == 'host'", [7443, 179], {}, 1), server("10.65.0.9"), scene=scene)


@pytest.mark.parametrize("policies", [10, 300])
def test_a_write_costs_what_it_changes_however_much_there_is(
    policies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read whole once; then each object that is written, and nothing else, also of a draft of many."""
    sizes: list[int] = []
    update = Scenery.update

    def counted(scenery: Scenery, batch: Any) -> Any:
        sizes.append(len(batch))
        return update(scenery, batch)

    async def scene(store: MemoryStore, guarded: Guarded) -> None:
        draft = Draft(store)
        for n in range(20):
            obj = policy(f"p{n}", "role == 'db'", [], {}, 1)
            await guarded.cuts(as_change(obj), {}, ())
            await write(store, obj, gone=False)
        for n in range(20):
            obj = policy(f"q{n}", "role == 'db'", [], {}, 1)
            await guarded.cuts(as_change(obj), draft.changes(), ())
            await write(draft, obj, gone=False)

    monkeypatch.setattr(Scenery, "update", counted)
    play(*BASE, *(policy(f"p{n}", "role == 'db'", [n + 1], {}, 1) for n in range(policies)), scene=scene)
    assert sizes[0] == len(BASE) + policies
    assert sum(sizes[1:]) <= 2 * 40
