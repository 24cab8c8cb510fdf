"""POST /muslin/v1/changes: objects of any kind, many in one call, each for itself and in its order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from muslin.errors import Conflict
from muslin.server.addresses import Addresses, Wanted
from muslin.server.changes import Changes, Item
from muslin.server.lockout import Guard
from muslin.server.objects import Objects, Wish
from muslin.server.turnover import Turnover
from muslin.store import Store, Write
from muslin.store.memory import MemoryStore
from serverrig import CALICO, Api, resource

PATH = "/muslin/v1/changes"
GNPS = f"{CALICO}/globalnetworkpolicies"


def policy(name: str, **spec: Any) -> dict[str, Any]:
    return resource("GlobalNetworkPolicy", name, **{"selector": "all()", **spec})


def endpoint(name: str, *addresses: str) -> dict[str, Any]:
    found = resource("WorkloadEndpoint", f"h1-k8s-{name}-eth0", node="h1", orchestrator="k8s", pod=name,
                     endpoint="eth0", interfaceName=f"mus{name}", ipNetworks=list(addresses))
    found["metadata"]["namespace"] = "shop"
    return found


def change(api: Api, *items: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    answer = api.post(PATH, {"items": items}, **query)
    assert answer.status == 200, answer.body
    found = answer.json["items"]
    assert isinstance(found, list)
    return found


def verbs(answers: list[dict[str, Any]]) -> list[Any]:
    return [one.get("verb", one.get("status", {}).get("code")) for one in answers]


def names(api: Api, path: str = GNPS) -> set[str]:
    return {one["metadata"]["name"] for one in api.get(path).json["items"]}


def test_objects_are_made_changed_left_and_removed(api: Api) -> None:
    assert verbs(change(api, *({"put": policy(f"p{number}")} for number in range(300)))) == ["created"] * 300
    answers = change(api, {"put": policy("p0")}, {"put": policy("p1", order=5)}, {"delete": policy("p2")},
                     {"delete": policy("never")})
    assert verbs(answers) == ["unchanged", "configured", "deleted", "absent"]
    assert names(api) == {f"p{number}" for number in range(300)} - {"p2"}
    changed = api.get(f"{GNPS}/p1").json
    assert changed["spec"]["order"] == 5
    assert changed["metadata"]["generation"] == 2
    assert int(changed["metadata"]["resourceVersion"]) > 0


def test_the_same_object_may_come_several_times(api: Api) -> None:
    gone = {"delete": policy("a")}
    one, two, three = ({"put": policy("a", **spec)} for spec in ({}, {"order": 1}, {"order": 2}))
    answers = change(api, one, two, gone, gone, three)
    assert verbs(answers) == ["created", "configured", "deleted", "absent", "created"]
    assert api.get(f"{GNPS}/a").json["spec"]["order"] == 2


def test_one_that_is_wrong_fails_alone_and_says_why(api: Api) -> None:
    answers = change(api, {"put": policy("good")}, {"put": policy("bad", selector="app ==")},
                     {"put": policy("lost", tier="nowhere")}, {"put": policy("odd", colour="red")},
                     {"put": policy("late")})
    assert verbs(answers) == ["created", 422, 422, 422, "created"]
    assert "colour" in answers[3]["status"]["message"]
    assert names(api) == {"good", "late"}


def test_each_finds_what_came_before_it(api: Api) -> None:
    """A tier and its policies, a pool and one that overlaps it: also where they may not share a commit."""
    tier = resource("Tier", "late", order=20)
    pool, other = (resource("IPPool", name, cidr=cidr) for name, cidr in (("a", "10.0.0.0/16"), ("b", "10.0.1.0/24")))
    answers = change(api, {"put": tier}, {"put": policy("late.a", tier="late")}, {"delete": tier}, {"put": pool},
                     {"put": other}, {"delete": policy("late.a")}, {"delete": tier})
    assert verbs(answers) == ["created", "created", 409, "created", 422, "deleted", "deleted"]
    assert names(api, f"{CALICO}/ippools") == {"a"}


def test_an_endpoint_takes_its_addresses_along(api: Api) -> None:
    change(api, {"put": resource("IPPool", "p", cidr="10.65.0.0/24")}, {"put": resource("Node", "h1")})
    api.post("/muslin/v1/addresses/assign",
             {"host": "h1", "handle": "muslin.shop.h1-k8s-web-eth0", "addresses": ["10.65.0.7"]})
    assert verbs(change(api, {"put": endpoint("web", "10.65.0.7/32")})) == ["created"]
    assert verbs(change(api, {"delete": endpoint("web")})) == ["deleted"]
    assert api.get("/muslin/v1/addresses").json["addresses"] == {}


def test_what_is_only_tried_is_not_done(api: Api) -> None:
    change(api, {"put": policy("a")})
    answers = change(api, {"put": policy("a", order=1)}, {"put": policy("b")}, {"delete": policy("a")}, dryRun="All")
    assert verbs(answers) == ["configured", "created", "deleted"]
    assert names(api) == {"a"}
    assert "order" not in api.get(f"{GNPS}/a").json["spec"]


def test_a_change_of_another_version_than_the_one_that_was_seen_is_refused(api: Api) -> None:
    change(api, {"put": policy("a")})
    seen = api.get(f"{GNPS}/a").json
    assert verbs(change(api, {"put": policy("a", order=1)}, {"put": seen}, {"put": policy("b")})) == [
        "configured", 409, "created"]
    seen = api.get(f"{GNPS}/a").json
    seen["spec"]["order"] = 7
    assert verbs(change(api, {"put": seen})) == ["configured"]


def test_hosts_that_would_be_locked_out_by_two_changes_together_are_not(api: Api) -> None:
    """Each alone would leave the other: the second is refused, and the first is done."""
    host = resource("HostEndpoint", "h1-eth0", node="h1", interfaceName="eth0", expectedIPs=["192.0.2.1"])
    api.made(f"{CALICO}/nodes", resource("Node", "h1", bgp={"ipv4Address": "192.0.2.1/24"}))
    api.made(f"{CALICO}/nodes", resource("Node", "h2", bgp={"ipv4Address": "192.0.2.2/24"}))
    allow = {"types": ["Ingress", "Egress"], "ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}
    assert verbs(change(api, {"put": policy("one", **allow)}, {"put": policy("two", **allow)}, {"put": host})) == [
        "created"] * 3
    felix = resource("FelixConfiguration", "default", failsafeInboundHostPorts=[], failsafeOutboundHostPorts=[])
    assert verbs(change(api, {"put": felix})) == ["created"]
    gone = change(api, {"delete": policy("one")}, {"delete": policy("two")})
    assert verbs(gone) == ["deleted", 403], gone
    assert verbs(change(api, {"delete": policy("two")}, lockout="force")) == ["deleted"]


@pytest.mark.parametrize("item", [
    {}, {"put": policy("a"), "delete": policy("a")}, {"put": {}}, {"put": {"kind": "Tier"}},
    {"put": {"apiVersion": "projectcalico.org/v3", "kind": 7, "metadata": {"name": "a"}}},
    {"put": {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": 7}},
    {"put": {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "a", "namespace": "b"}}},
    {"delete": {"apiVersion": "projectcalico.org/v3", "kind": "NetworkSet", "metadata": {"name": "a"}}},
    {"delete": {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "a/b"}}},
])
def test_what_names_no_object_is_refused_alone(api: Api, item: dict[str, Any]) -> None:
    assert verbs(change(api, item, {"put": policy("good")})) == [400, "created"]


@pytest.mark.parametrize("body", [{}, {"items": 7}, {"items": [{"putt": {}}]}, {"items": [], "more": 1},
                                  {"items": [{"put": {}}] * 1001}])
def test_what_is_no_list_of_changes_is_refused(api: Api, body: dict[str, Any]) -> None:
    assert api.post(PATH, body).status == 400


@pytest.mark.parametrize("kind", [[], {}, ["Tier"], {"Tier": 1}])
def test_a_kind_that_is_no_text_is_refused_alone(api: Api, kind: object) -> None:
    """Those before it are in the store already: they must be answered."""
    answers = change(api, {"put": policy("good")}, {"put": {**policy("bad"), "kind": kind}}, {"put": policy("late")})
    assert verbs(answers) == ["created", 400, "created"]


class Commits(MemoryStore):
    """Counts what is written together. A key that says `broken` is a bug; `quicker`: so many commits are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.quicker = 0

    async def commit(self, writes: Sequence[Write]) -> tuple[int | None, ...]:
        if self.quicker:
            self.quicker -= 1
            raise Conflict("somebody was quicker")
        self.sizes.append(len(writes))
        return await super().commit(writes)

    async def get(self, key: str) -> Any:
        if "broken" in key:
            raise ZeroDivisionError
        return await super().get(key)


class Scene:
    def __init__(self) -> None:
        self.store = Commits()
        self.workloads, self.others = Turnover(self.store), Turnover(self.store)
        self.changes = Changes(Objects(self.store, Guard(self.store)), Addresses(self.store), self.workloads,
                               self.others)

    async def put(self, *objects: dict[str, Any]) -> list[Any]:
        return verbs(await self.changes.all_of([Item(put=one) for one in objects], Wish(upsert=True), "tests"))


HOST = resource("HostEndpoint", "h1-eth0", node="h1", interfaceName="eth0", expectedIPs=["192.0.2.1"])
TIER = resource("Tier", "default", order=1_000_000)


def test_a_bug_in_one_is_its_own_answer_and_the_others_are_done() -> None:
    async def play() -> None:
        scene = Scene()
        bad = resource("Tier", "broken", order=3)
        assert await scene.put(TIER, policy("a"), policy("broken"), policy("b"), bad, policy("c")) == [
            "created", "created", 500, "created", 500, "created"]

    asyncio.run(asyncio.wait_for(play(), 30))


def test_workloads_do_not_wait_for_policies_at_which_the_guard_looks() -> None:
    """A container waits for its addition; of a thousand policies the guard judges each by the whole cluster."""
    async def play() -> None:
        scene = Scene()
        assert await scene.put(TIER, HOST) == ["created"] * 2
        many = asyncio.ensure_future(scene.put(*(policy(f"p{number}") for number in range(30))))
        while not scene.others._waiting and not scene.workloads._waiting:
            await asyncio.sleep(0)
        assert not scene.workloads._waiting

        async def addition(store: Store) -> int:
            return await store.put("/workload", b"1", expect=0)

        await scene.workloads.do([addition])
        assert not many.done()
        assert await many == ["created"] * 30

    asyncio.run(asyncio.wait_for(play(), 30))


def test_changes_at_which_the_guard_looks_go_in_small_steps_and_others_come_in_between() -> None:
    async def play() -> None:
        scene = Scene()
        await scene.put(TIER)
        assert await scene.put(*(policy(f"p{number}") for number in range(100))) == ["created"] * 100
        assert max(scene.store.sizes) == 100, "nothing can be cut"
        scene.store.sizes.clear()
        many = asyncio.ensure_future(scene.put(HOST, *(policy(f"q{number}") for number in range(30))))
        while not scene.store.sizes:
            await asyncio.sleep(0)
        assert await scene.put(policy("single")) == ["created"]
        assert not many.done()
        assert await many == ["created"] * 31
        assert max(scene.store.sizes) <= 8

    asyncio.run(asyncio.wait_for(play(), 30))


def test_endpoints_are_planned_among_the_workloads_that_come_and_go() -> None:
    """Apart, they would race with additions for the blocks of addresses."""
    async def play() -> None:
        scene = Scene()
        mixed = [each for number in range(50) for each in (endpoint(f"w{number}"), resource("Node", f"n{number}"))]
        found = asyncio.ensure_future(scene.put(*mixed))
        while not scene.workloads._waiting and not scene.others._waiting:
            await asyncio.sleep(0)
        assert not scene.others._waiting
        assert await found == ["created"] * 100
        assert scene.store.sizes == [100], "whatever comes along with them shares their commit"

    asyncio.run(asyncio.wait_for(play(), 30))


def test_an_endpoint_that_a_put_rids_of_its_last_finalizer_is_gone_with_its_addresses(api: Api) -> None:
    change(api, {"put": resource("IPPool", "p", cidr="10.65.0.0/24")}, {"put": resource("Node", "h1")})
    api.post("/muslin/v1/addresses/assign",
             {"host": "h1", "handle": "muslin.shop.h1-k8s-web-eth0", "addresses": ["10.65.0.7"]})
    held, path = endpoint("web", "10.65.0.7/32"), f"{CALICO}/namespaces/shop/workloadendpoints/h1-k8s-web-eth0"
    held["metadata"]["finalizers"] = ["example.org/wait"]
    change(api, {"put": held})
    assert api.delete(path).status == 200
    last = {**held, "metadata": {**held["metadata"], "finalizers": []}}
    assert verbs(change(api, {"put": last})) == ["deleted"]
    assert api.get(path).status == 404
    assert api.get("/muslin/v1/addresses").json["addresses"] == {}


def test_what_is_only_tried_finds_what_came_before_it_too(api: Api) -> None:
    change(api, {"put": policy("old")})
    tried = [{"put": policy("a")}, {"put": policy("a")}, {"put": policy("a", order=2)}, {"delete": policy("old")},
             {"delete": policy("old")}, {"put": resource("Tier", "late", order=20)},
             {"put": policy("late.a", tier="late")}, {"put": policy("bad", tier="nowhere")}]
    wanted = ["created", "unchanged", "configured", "deleted", "absent", "created", "created", 422]
    assert verbs(change(api, *tried, dryRun="All")) == wanted
    assert names(api) == {"old"}
    assert "late" not in names(api, f"{CALICO}/tiers")
    assert verbs(change(api, *tried)) == wanted


def test_an_endpoint_that_is_only_tried_to_be_removed_keeps_its_addresses(api: Api) -> None:
    change(api, {"put": resource("IPPool", "p", cidr="10.65.0.0/24")}, {"put": resource("Node", "h1")})
    api.post("/muslin/v1/addresses/assign",
             {"host": "h1", "handle": "muslin.shop.h1-k8s-web-eth0", "addresses": ["10.65.0.7"]})
    change(api, {"put": endpoint("web", "10.65.0.7/32")})
    assert verbs(change(api, {"delete": endpoint("web")}, dryRun="All")) == ["deleted"]
    assert len(api.get("/muslin/v1/addresses").json["addresses"]) == 1


def test_one_that_waits_for_its_finalizers_is_leaving_and_not_deleted(api: Api) -> None:
    held = policy("a")
    held["metadata"]["finalizers"] = ["example.org/wait"]
    change(api, {"put": held})
    assert verbs(change(api, {"delete": policy("a")}, dryRun="All")) == ["leaving"]
    assert "deletionTimestamp" not in api.get(f"{GNPS}/a").json["metadata"]
    for _ in range(2):
        assert verbs(change(api, {"delete": policy("a")})) == ["leaving"]
    assert api.get(f"{GNPS}/a").json["metadata"]["deletionTimestamp"]


@pytest.mark.parametrize("meant", [{"resourceVersion": "999"}, {"uid": "somebody else's"}, {"uid": 7}])
def test_only_the_object_that_is_meant_is_deleted(api: Api, meant: dict[str, Any]) -> None:
    change(api, {"put": policy("a")})
    other = policy("a")
    other["metadata"] |= meant
    assert verbs(change(api, {"delete": other})) == [409]
    assert names(api) == {"a"}
    assert verbs(change(api, {"delete": api.get(f"{GNPS}/a").json})) == ["deleted"]


def test_an_address_is_said_to_be_released_once_it_is() -> None:
    """What is only tried never happens, nor what was planned before another writer was quicker."""
    async def play() -> None:
        scene = Scene()
        assert await scene.put(resource("IPPool", "p", cidr="10.65.0.0/24"), resource("Node", "h1")) == ["created"] * 2
        [address] = await Addresses(scene.store).assign(Wanted(host="h1", handle="muslin.shop.h1-k8s-web-eth0"))
        await scene.put(endpoint("web", address))
        scene.store.quicker = 3
        with capture_logs() as logs:
            for wish in (Wish(dry=True), Wish()):
                await scene.changes.all_of([Item(delete=endpoint("web"))], wish, "tests")
        assert scene.store.quicker == 0
        assert [(one["event"], one["address"]) for one in logs] == [("address_released", address)]

    asyncio.run(asyncio.wait_for(play(), 30))
