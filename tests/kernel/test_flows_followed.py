"""Policy that denies today ends what it allowed yesterday: within a second, in both directions, and nothing else."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from agentrig import PLURALS, V3, Site, site
from flowrig import Conversation, connection, datagrams, silent_after, talking
from muslin.client.blocking import MERGE_PATCH, Client
from muslin.client.refusal import ApiError
from muslin.lab.record import Workload
from netrig import in_ns, run, wait_for
from outrig import outside

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


@pytest.mark.parametrize("table_is_lost", [False, True])
def test_what_was_ended_stays_so_when_the_agent_dies(scene: Scene, table_is_lost: bool) -> None:
    """It finds other policy when it comes back, and perhaps no table. Both ends go on trying meanwhile."""
    with talking(*scene.conversations()) as conversations:
        scene.says("GlobalNetworkPolicy", "gate", {**TO_SERVER, "ingress": []})
        silent_after(conversations, time.monotonic())
        scene.place.signal("agent-h1", signal.SIGKILL)
        scene.says("GlobalNetworkPolicy", "other", {"selector": "role == 'nobody'", "types": ["Ingress"]})
        if table_is_lost:
            silence(scene)  # without a table everything passes: nobody is to say anything just then
            in_ns(scene.place.space("h1"), "nft", "delete", "table", "inet", "muslin")
        scene.place.start_agent("h1")
        if table_is_lost:
            silence(scene, ends=True)
        silent_after(conversations, time.monotonic(), 0.0)


def silence(scene: Scene, *, ends: bool = False) -> None:
    for each in (scene.client, scene.server):
        run("ip", "-n", each.network, "link", "set", "eth0", "up" if ends else "down")


def test_what_policy_denied_while_no_agent_ran_ends_when_it_comes_back(scene: Scene) -> None:
    with talking(*scene.conversations(), datagrams(*scene.others, 9000)) as (*denied, bystander):
        scene.place.signal("agent-h1", signal.SIGKILL)
        scene.says("GlobalNetworkPolicy", "gate", {**TO_SERVER, "ingress": []})
        scene.place.start_agent("h1")
        silent_after(tuple(denied), time.monotonic())
        assert bystander.settled_loss() == [0, 0]


HOST = {"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
        "metadata": {"name": "up", "labels": {"of": "h1"}}, "spec": {"node": "h1", "interfaceName": "up0"}}


def test_flows_of_the_host_itself_and_those_that_it_forwards_end_too() -> None:
    """By what a host endpoint is asked; its failsafe ports are open whatever policy says."""
    with site() as place, outside(place.make_host("h1")) as there:
        place.start_agent("h1")
        host = there.of_host(place.space("h1"))
        web = place.guest("h1", "web")
        allow = [{"action": "Allow"}]
        for name, order in (("gate", 1), ("forward", 2)):
            place.api.post(f"{V3}/globalnetworkpolicies", gate(
                name, order=order, selector="of == 'h1'", types=["Ingress", "Egress"], ingress=allow, egress=allow,
                applyOnForward=name == "forward"))
        place.api.post(f"{V3}/hostendpoints", HOST)
        wait_for("the host endpoint", lambda: "up0" in in_ns(host.network, "nft", "list", "table", "inet", "muslin"))
        with talking(
            connection(there, host, 7001), datagrams(host, there, 7002, version=6), connection(there, host, 22),
            datagrams(there, web, 7003), connection(web, there, 7004, version=6), connection(web, there, 7005),
        ) as conversations:
            failsafe = conversations[2]
            own, forwarded = conversations[:2], conversations[3:]
            for name, ended in (("gate", own), ("forward", forwarded)):
                rules = [{"action": "Deny"}]
                place.api.patch(f"{V3}/globalnetworkpolicies/{name}", {"spec": {"ingress": rules, "egress": rules}},
                                kind=MERGE_PATCH)
                silent_after(ended, time.monotonic())
                if ended is own:
                    since = list(forwarded[0].heard)
                    wait_for("what is forwarded to go on", lambda since=since: forwarded[0].heard[0] > since[0] + 20)
            before = list(failsafe.heard)
            wait_for("ssh to go on", lambda: all(now > was for now, was in zip(failsafe.heard, before, strict=True)))


def gate(name: str = "gate", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": name},
            "spec": spec}


def test_the_agent_tells_which_flows_there_are_and_which_a_staged_policy_would_end(scene: Scene) -> None:
    place = scene.place
    with talking(*scene.conversations()) as conversations:
        flows = place.agent("h1").get("/v1/flows")
        told = {(one["protocol"], one["destination"]): one for one in flows["items"]}
        assert flows["total"] >= 4
        assert {each["enforced"]["verdict"] for each in told.values()} == {"Allow"}
        assert all("staged" not in each for each in told.values()), "nothing is staged"

        place.api.post(f"{V3}/stagedglobalnetworkpolicies", {
            "apiVersion": "projectcalico.org/v3", "kind": "StagedGlobalNetworkPolicy", "metadata": {"name": "gate"},
            "spec": {**TO_SERVER, "ingress": [{"action": "Allow", "protocol": "UDP"}]}})
        wait_for("the staged policy", lambda: "staged" in place.agent("h1").get("/v1/flows")["items"][0])

        address = scene.server.address(4)
        items = place.agent("h1").get("/v1/flows", address=address)["items"]
        by_protocol = {one["protocol"]: one for one in items}
        assert {one["destination"] for one in items} == {address}
        tcp, udp = by_protocol["TCP"], by_protocol["UDP"]
        assert (tcp["enforced"]["verdict"], tcp["staged"]["verdict"]) == ("Allow", "Deny")
        assert tcp["destinationPort"] == 8001
        assert "the end of tier default" in tcp["staged"]["by"]
        assert (udp["enforced"]["verdict"], udp["staged"]["verdict"]) == ("Allow", "Allow")
        assert len(place.agent("h1").get("/v1/flows", limit="1")["items"]) == 1
        heard = list(conversations[0].heard)
        wait_for("tcp to go on", lambda: min(conversations[0].heard) > min(heard) + 20)


CLUSTER = {"apiVersion": "muslin.dev/v1", "kind": "ClusterConfiguration", "metadata": {"name": "default"},
           "spec": {"establishedFlows": "Keep"}}


def test_who_keeps_established_flows_keeps_them_and_may_change_his_mind(scene: Scene) -> None:
    """As Calico has it; new ones are denied all the same."""
    scene.place.api.post("/apis/muslin.dev/v1/clusterconfigurations", CLUSTER)
    wait_for("the setting", lambda: not scene.place.report("h1").get("problems"))
    with talking(*scene.conversations()) as conversations:
        scene.says("GlobalNetworkPolicy", "gate", {**TO_SERVER, "ingress": []})
        wait_for("new flows to be denied", lambda: not reaches(scene.client, scene.server))
        before = [list(each.heard) for each in conversations]
        for each, was in zip(conversations, before, strict=True):
            wait_for(f"{each.name} to go on for a second", lambda each=each, was=was: min(
                now - then for now, then in zip(each.heard, was, strict=True)) > 500)
        scene.place.api.patch("/apis/muslin.dev/v1/clusterconfigurations/default",
                              {"spec": {"establishedFlows": "Follow"}}, kind=MERGE_PATCH)
        silent_after(conversations, time.monotonic())


@pytest.mark.parametrize("dataplane", ["iptables-nft", "iptables-legacy"])
def test_every_backend_ends_flows(dataplane: str) -> None:
    with site() as place:
        place.start_agent("h1", "--no-bgp", "--dataplane", dataplane)
        scene = Scene(place)
        with talking(*scene.conversations(), datagrams(*scene.others, 9000)) as (*denied, bystander):
            scene.says("GlobalNetworkPolicy", "gate", {**TO_SERVER, "ingress": []})
            silent_after(tuple(denied), time.monotonic())
            assert bystander.settled_loss() == [0, 0]


def test_a_storm_of_other_changes_does_not_hold_it_up(scene: Scene) -> None:
    """Somebody else's policies change as fast as they can, meanwhile."""
    over = threading.Event()

    def storm() -> None:
        other = Client(f"unix:{scene.place.run / 'server.sock'}")
        number = 0
        while not over.is_set():
            number += 1
            spec = {"selector": "!has(role)", "types": ["Ingress"], "order": number, "ingress": [{"action": "Allow"}]}
            name = f"storm-{number % 7}"
            path = f"{V3}/globalnetworkpolicies"
            with suppress(ApiError):
                if number <= 7:
                    other.post(path, {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
                                      "metadata": {"name": name}, "spec": spec})
                else:
                    other.patch(f"{path}/{name}", {"spec": spec}, kind=MERGE_PATCH)
        other.close()

    with talking(*scene.conversations(), datagrams(*scene.others, 9000)) as (*denied, bystander):
        storming = threading.Thread(target=storm, daemon=True)
        storming.start()
        try:
            wait_for("the storm", lambda: scene.place.words("agent-h1").count("event=applied") > 30)
            scene.says("GlobalNetworkPolicy", "gate", {**TO_SERVER, "ingress": []})
            silent_after(tuple(denied), time.monotonic())
        finally:
            over.set()
            storming.join(10)
        assert bystander.settled_loss() == [0, 0]
