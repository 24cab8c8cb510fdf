"""While policy is swapped, nothing leaks and nothing is lost: a packet each millisecond on every flow, a real server, a
real agent, on every backend.

Whatever is changed here changes nothing of what the flows may do: before, after, and so at every moment between. Half
of the streams begin a new flow with each packet, so that each is decided anew; the others ride on one.

    web -> db:7      allowed, by a rule in the second tier that the first one passes on to
    web -> db:9      denied, by the first tier
    guest -> db:7    denied, by the end of the second tier
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentrig import V3, Site, play, site
from muslin.intent import Backend
from muslin.lab.crowd import Flow
from muslin.lab.record import Workload
from netrig import backlog_drops, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

Object = dict[str, Any]
TIMES = 4
"""How often each thing is done, there and back."""


def thing(kind: str, name: str, spec: Object, **labels: str) -> Object:
    metadata = {"name": name, "labels": labels} if labels else {"name": name}
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec}


def gate(*more: Object) -> Object:
    """The first tier: port 9 is shut, the rest is for the second tier to say."""
    shut = {"action": "Deny", "protocol": "UDP", "destination": {"ports": [9]}}
    return thing("GlobalNetworkPolicy", "early.gate", {
        "tier": "early", "order": 10, "selector": "app == 'db'", "types": ["Ingress"],
        "ingress": [*more, shut, {"action": "Pass"}]})


def second(order: float = 10, name: str = "late.friends") -> Object:
    return thing("GlobalNetworkPolicy", name, {
        "tier": "late", "order": order, "selector": "app == 'db'", "types": ["Ingress"], "ingress": [
            {"action": "Allow", "protocol": "UDP", "source": {"selector": "app == 'web' || role == 'friend'"}}]})


FRIENDS = thing("GlobalNetworkSet", "friends", {"nets": ["192.0.2.0/24"]}, role="friend")


class Scene:
    """The three workloads on one host, and words for changing what surrounds them."""

    def __init__(self, place: Site) -> None:
        self.place = place
        self._marks = 0
        self._last: Object = {}
        self.put(thing("Tier", "early", {"order": 10, "defaultAction": "Deny"}))
        self.put(thing("Tier", "late", {"order": 20, "defaultAction": "Deny"}))
        for each in (gate(), second(), FRIENDS):
            self.put(each)
        self.web, self.db, self.guest = (
            place.guest("h1", name, labels={"app": name}) for name in ("web", "db", "guest"))
        self.applied()

    def put(self, wanted: Object) -> None:
        """Creates it, or writes it over what is there."""
        path = f"{V3}/{PLURALS[wanted['kind']]}"
        names = [each["metadata"]["name"] for each in self.place.api.get(path)["items"]]
        name = wanted["metadata"]["name"]
        if name in names:
            self._last = self.place.api.put(f"{path}/{name}", wanted)
        else:
            self._last = self.place.api.post(path, wanted)

    def drop(self, kind: str, name: str) -> None:
        self.place.api.delete(f"{V3}/{PLURALS[kind]}/{name}")

    def label(self, workload: Workload, **labels: str | None) -> None:
        for each in self.place.api.get(f"{V3}/namespaces/default/workloadendpoints")["items"]:
            if each["spec"]["workload"] == workload.name:
                path = f"{V3}/namespaces/default/workloadendpoints/{each['metadata']['name']}"
                self.place.api.patch(path, {"metadata": {"labels": labels}})

    def applied(self) -> None:
        """All changes are in the kernel: told by one more, which this host cannot but hear of."""
        self._marks += 1
        self.put(thing("GlobalNetworkSet", "marker", {"nets": [f"198.51.100.{self._marks % 250}/32"]}, role="friend"))
        revision = int(self._last["metadata"]["resourceVersion"])
        wait_for(f"revision {revision}", lambda: self.place.report("h1").get("applied", 0) >= revision)

    def flows(self) -> tuple[list[Flow], list[Flow]]:
        """(allowed, denied)"""
        return (
            [Flow(self.web, self.db, 7, version) for version in (4, 6)],
            [Flow(self.web, self.db, 9), Flow(self.web, self.db, 9, 6), Flow(self.guest, self.db, 7)],
        )


PLURALS = {"Tier": "tiers", "GlobalNetworkPolicy": "globalnetworkpolicies", "GlobalNetworkSet": "globalnetworksets"}


def a_policy_is_replaced(scene: Scene, number: int) -> None:
    more = ({"action": "Log", "protocol": "TCP"}, {"action": "Deny", "source": {"nets": ["198.51.100.0/24"]}},
            {"action": "Deny", "protocol": "UDP", "destination": {"ports": ["10:99"]}})
    scene.put(gate(*more[: number % 4]))


def a_policy_comes_before_and_goes(scene: Scene, number: int) -> None:
    if number % 2:
        scene.drop("GlobalNetworkPolicy", "early.first")
    else:
        scene.put(thing("GlobalNetworkPolicy", "early.first", {
            "tier": "early", "order": 1, "selector": "all()", "types": ["Ingress", "Egress"],
            "ingress": [{"action": "Deny", "protocol": "TCP"}], "egress": [{"action": "Allow"}]}))


def policies_change_places(scene: Scene, number: int) -> None:
    scene.put(second(30, "late.friends-too"))
    scene.put(second(5 if number % 2 else 40))


def a_tiers_end_changes(scene: Scene, number: int) -> None:
    """Its policy passes whatever it does not deny, so that the tier's end decides of nothing here."""
    scene.put(thing("Tier", "early", {"order": 10, "defaultAction": "Pass" if number % 2 else "Deny"}))


def tiers_change_places_with_others(scene: Scene, number: int) -> None:
    scene.put(thing("Tier", "early", {"order": 10 + number % 2 * 5, "defaultAction": "Deny"}))


def a_set_gains_and_loses_members(scene: Scene, number: int) -> None:
    nets = ["192.0.2.0/24", "203.0.113.7/32", "10.9.0.0/16", "fd09::/32"]
    scene.put(thing("GlobalNetworkSet", "friends", {"nets": nets[: 1 + number % 4]}, role="friend"))


def labels_of_the_receiver_change(scene: Scene, number: int) -> None:
    """It becomes a class of its own, with policy lists of other names."""
    scene.label(scene.db, zone=str(number % 2))
    scene.put(thing("GlobalNetworkPolicy", "late.zone", {
        "tier": "late", "order": 50, "selector": "zone == '1'", "types": ["Ingress"], "ingress": []}))


def labels_of_the_senders_change(scene: Scene, number: int) -> None:
    scene.label(scene.guest, zone=str(number % 2))
    scene.label(scene.web, zone=str(number % 2))


DEEDS: tuple[Callable[[Scene, int], None], ...] = (
    a_policy_is_replaced, a_policy_comes_before_and_goes, policies_change_places, a_tiers_end_changes,
    tiers_change_places_with_others, a_set_gains_and_loses_members, labels_of_the_receiver_change,
    labels_of_the_senders_change,
)


@pytest.fixture(scope="module", params=list(Backend), ids=str)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with site() as place:
        place.start_agent("h1", "--no-bgp", "--dataplane", str(request.param))
        made = Scene(place)
        play(place.crowd.serve(made.db.network, udp=[7, 9]))
        yield made


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_nothing_leaks_and_nothing_is_lost_while(scene: Scene, deed: Callable[[Scene, int], None]) -> None:
    """A leak is one at any time. A loss is not held against us if this machine says that it had no room for packets; a
    machine that was too busy to send many is asked again, for longer."""
    for attempt in range(4):
        before = backlog_drops()
        allowed, denied = scene.flows()
        anew, shut = scene.flows()

        async def streams(going: list[Flow], fresh: list[Flow], packets: int) -> None:
            async with scene.place.crowd.stream(going) as running, scene.place.crowd.stream(fresh, fresh=True):
                await running.packets(100)
                for number in range(TIMES):
                    deed(scene, number)
                    scene.applied()
                await running.packets(packets)

        play(streams([*allowed, *denied], [*anew, *shut], 200 << attempt))

        leaked = [f"{told(flow)}: {flow.count}" for flow in (*denied, *shut) if flow.count.arrived]
        assert not leaked, leaked
        lost = [f"{told(flow)}: {flow.count}" for flow in allowed if flow.count.lost]
        lost += [f"{told(flow)}: {flow.count}" for flow in anew if flow.count.arrived < flow.count.sent]
        many = all(flow.count.sent > 250 for flow in (*allowed, *denied, *anew, *shut))
        if backlog_drops() == before if lost else many:
            break
    assert not lost, lost
    assert many


def told(flow: Flow) -> str:
    return f"{flow.source.name} -> {flow.destination.name}:{flow.port} IPv{flow.version}"
