"""Policy that denies today ends what it allowed yesterday: within a second, in both directions, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentrig import PLURALS, V3, Site, site
from flowrig import Conversation, connection, datagrams, silent_after, talking
from muslin.client.blocking import MERGE_PATCH
from muslin.lab.record import Workload
from netrig import in_ns, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


class Scene:
    """A host with a client, a server and two who have nothing to do with them."""

    def __init__(self, place: Site) -> None:
        self.place = place
        self.client = place.guest("h1", "client", labels={"role": "client"})
        self.server = place.guest("h1", "server", labels={"role": "server"})
        self.others = place.guest("h1", "one"), place.guest("h1", "two")

    def conversations(self) -> tuple[Conversation, ...]:
        pair = self.client, self.server
        return (connection(*pair, 8001), datagrams(*pair, 8002), connection(*pair, 8003, version=6),
                datagrams(*pair, 8004, version=6))

    def says(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """That resource is so now, whether it is there or not."""
        path = f"{V3}/{PLURALS.get(kind, kind.lower() + 's')}"
        body = {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}, "spec": spec}
        if any(item["metadata"]["name"] == name for item in self.place.api.get(path)["items"]):
            self.place.api.patch(f"{path}/{name}", {"spec": spec}, kind=MERGE_PATCH)
        else:
            self.place.api.post(path, body)

    def unsays(self, kind: str, name: str) -> None:
        self.place.api.delete(f"{V3}/{PLURALS.get(kind, kind.lower() + 's')}/{name}")


@pytest.fixture
def scene() -> Iterator[Scene]:
    with site() as place:
        place.start_agent("h1")
        yield Scene(place)


TO_SERVER = {"selector": "role == 'server'", "types": ["Ingress"]}
FROM_CLIENTS = {**TO_SERVER, "ingress": [{"action": "Allow", "source": {"selector": "role == 'client'"}}]}


def rule_removed(scene: Scene) -> Callable[[], None]:
    scene.says("GlobalNetworkPolicy", "gate", FROM_CLIENTS)
    return lambda: scene.says("GlobalNetworkPolicy", "gate", {**TO_SERVER, "ingress": []})


def label_changed(scene: Scene) -> Callable[[], None]:
    """The set that the rule speaks of loses a member."""
    scene.says("GlobalNetworkPolicy", "gate", FROM_CLIENTS)

    def change() -> None:
        [found] = [item for item in scene.place.api.get(f"{V3}/workloadendpoints")["items"]
                   if item["spec"]["workload"] == "client"]
        name = found["metadata"]["name"]
        scene.place.api.patch(f"{V3}/namespaces/default/workloadendpoints/{name}",
                              {"metadata": {"labels": {"role": "stranger"}}}, kind=MERGE_PATCH)

    return change


def network_shrunk(scene: Scene) -> Callable[[], None]:
    """A prefix in a set of prefixes goes."""
    nets = {"nets": ["10.65.0.0/16", "fd00:65::/64"]}
    scene.place.api.post(f"{V3}/globalnetworksets", {
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet",
        "metadata": {"name": "friends", "labels": {"friends": "yes"}}, "spec": nets})
    scene.says("GlobalNetworkPolicy", "gate", {
        **TO_SERVER, "ingress": [{"action": "Allow", "source": {"selector": "friends == 'yes'"}}]})
    return lambda: scene.says("GlobalNetworkSet", "friends", {"nets": ["192.0.2.0/24"]})


def egress_denied(scene: Scene) -> Callable[[], None]:
    return lambda: scene.says("GlobalNetworkPolicy", "gate", {
        "selector": "role == 'client'", "types": ["Egress"],
        "egress": [{"action": "Deny", "destination": {"selector": "role == 'server'"}}, {"action": "Allow"}]})


def profile_gone(scene: Scene) -> Callable[[], None]:
    """Its workloads are denied, by a stand-in that says what is missing."""
    allow = [{"action": "Allow"}]
    scene.says("Profile", "open", {"ingress": allow, "egress": allow})
    scene.server = scene.place.add("h1", "server", scene.server.network, labels={"role": "server"}, profiles=["open"])
    return lambda: scene.unsays("Profile", "open")


@pytest.mark.parametrize("prepared", [rule_removed, label_changed, network_shrunk, egress_denied, profile_gone])
def test_a_flow_that_is_denied_now_ends_within_a_second(
    scene: Scene, prepared: Callable[[Scene], Callable[[], None]]
) -> None:
    """TCP and UDP, both families; both ends go on trying, and neither opens the flow again."""
    change = prepared(scene)
    wait_for("the way there", lambda: reaches(scene.client, scene.server))
    bystander = datagrams(*scene.others, 9000)
    with talking(*scene.conversations(), bystander) as (*denied, _):
        change()
        since = time.monotonic()
        took = silent_after(tuple(denied), since)
        print(f"{prepared.__name__}: the last word was heard after {took * 1000:.0f} ms")
        assert bystander.settled_loss() == [0, 0], "who is still allowed loses nothing"


def reaches(one: Workload, other: Workload) -> bool:
    return all("1 received" in in_ns(one.network, "ping", "-c1", "-W0.5", other.address(version), check=False)
               for version in (4, 6))


def test_what_is_allowed_again_goes_on_and_new_connections_pass(scene: Scene) -> None:
    """A TCP connection that still tries is not lost because somebody corrected a mistake."""
    with talking(*scene.conversations()) as conversations:
        scene.says("GlobalNetworkPolicy", "gate", {**TO_SERVER, "ingress": []})
        since = time.monotonic()
        silent_after(conversations, since)
        heard = [list(each.heard) for each in conversations]

        scene.unsays("GlobalNetworkPolicy", "gate")

        for each, before in zip(conversations, heard, strict=True):
            wait_for(f"{each.name} to go on", lambda each=each, before=before: all(
                now > was for now, was in zip(each.heard, before, strict=True)))
        with talking(connection(scene.client, scene.server, 8011)):
            pass
