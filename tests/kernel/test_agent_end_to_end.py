"""From a resource in the store to packets in a kernel: a real server, a real agent, real workloads."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentrig import MUSLIN, V3, Site, deny_to, ping, play, site
from muslin.agent import journal
from muslin.client import ApiError, Unreachable
from muslin.lab.crowd import Flow
from netrig import in_ns, ip_json, namespace, run, wait_for

pytestmark = pytest.mark.kernel


@pytest.fixture
def place() -> Iterator[Site]:
    with site() as made:
        yield made


def pids_tell(place: Site, host: str) -> dict[str, str]:
    return {key: state["state"] for key, state in place.report(host).get("endpoints", {}).items()}


def test_two_workloads_reach_each_other_until_a_policy_says_otherwise(place: Site) -> None:
    place.start_agent("h1")
    web, db = place.guest("h1", "web", labels={"app": "web"}), place.guest("h1", "db", labels={"app": "db"})
    for address in db.addresses:
        assert ping(web.network, address), "the first packet passes: add answers only when all is in the kernel"

    place.declare(deny_to("no-web", "app == 'db'", source={"selector": "app == 'web'"}))

    wait_for("the policy", lambda: not ping(web.network, db.addresses[0]))
    assert not ping(web.network, db.addresses[1])
    assert ping(db.network, web.addresses[0]), "the other way is still open"
    place.api.delete(f"{V3}/globalnetworkpolicies/no-web")
    wait_for("its end", lambda: ping(web.network, db.addresses[0]))


def test_adding_again_changes_nothing_and_removing_twice_is_fine(place: Site) -> None:
    place.start_agent("h1")
    web = place.guest("h1", "web", labels={"app": "web"})
    again = place.add("h1", "web", web.network, labels={"app": "web"})
    assert again.addresses == web.addresses
    [listed] = place.agent("h1").get("/v1/workloads")["items"]
    assert (listed["name"], listed["state"], listed["addresses"]) == ("web", "up", list(web.addresses))

    place.remove(web)
    place.remove(web)

    assert place.agent("h1").get("/v1/workloads")["items"] == []
    assert {link["ifname"] for link in ip_json(web.network, "link", "show")} == {"lo"}
    assert place.api.get(f"{V3}/workloadendpoints")["items"] == []
    other = place.add("h1", "other", web.network, addresses=[web.addresses[0]])
    assert other.addresses == web.addresses[:1], "the address is free again"
    assert place.report("h1").get("repairs", []) == []


def test_new_labels_and_another_namespace_of_the_kernel_are_taken_over(place: Site) -> None:
    """A container that starts anew keeps its name and its addresses, but not its namespace."""
    place.start_agent("h1")
    web, peer = place.guest("h1", "web", labels={"app": "web", "old": "1"}), place.guest("h1", "peer")
    with namespace("fresh") as fresh:
        moved = place.add("h1", "web", fresh, labels={"app": "api"})
        assert moved.addresses == web.addresses
        assert ping(peer.network, web.addresses[0])
        [wep] = [one for one in place.api.get(f"{V3}/workloadendpoints")["items"] if one["spec"]["workload"] == "web"]
        labels = {key: value for key, value in wep["metadata"]["labels"].items() if "/" not in key}
        assert labels == {"app": "api"}
        place.remove(moved)


def test_what_fails_is_undone_and_says_so(place: Site) -> None:
    place.start_agent("h1")
    with pytest.raises(ApiError, match=r"nowhere.*undone again: endpoint, addresses") as refused:
        place.add("h1", "web", "nowhere")
    assert refused.value.code == 422
    taken = place.guest("h1", "web")
    with pytest.raises(ApiError, match=r"eth0 in network namespace .* is there already") as refused:
        place.add("h1", "other", taken.network)
    assert refused.value.code == 409
    with pytest.raises(ApiError, match="either netns"):
        place.agent("h1").post("/v1/workloads", {"name": "x"})
    with pytest.raises(ApiError, match="unknown field"):
        place.agent("h1").post("/v1/workloads", {"name": "x", "netns": "y", "adresses": []})
    for wrong in ({"name": "../x"}, {"name": "x", "namespace": "a/b"}, {"name": "x", "mac": "zz"}):
        with pytest.raises(ApiError) as refused:
            place.agent("h1").post("/v1/workloads", {"netns": taken.network, **wrong})
        assert refused.value.code == 422
    with pytest.raises(ApiError) as refused:
        place.agent("h1").get("/v1/nothing")
    assert (refused.value.code, refused.value.reason) == (404, "NotFound")
    # Link and server do not wait for each other: what was done last, by whichever of them, is undone first.
    orders = "interface, endpoint, addresses|endpoint, interface, addresses|endpoint, addresses, interface"
    with pytest.raises(ApiError, match=rf"remove that; undone again: ({orders})$"):
        place.add("h1", "third", taken.network, interface="net1", addresses=["10.65.0.77"])
    again = place.guest("h1", "third", addresses=["10.65.0.77"])
    assert again.addresses == ("10.65.0.77/32",), "nothing of the failures is left in the way"


def test_a_tap_gets_its_routes_and_loses_them(place: Site) -> None:
    place.start_agent("h1")
    space = place.space("h1")
    run("ip", "-n", space, "tuntap", "add", "tapvm", "mode", "tap")
    added = place.agent("h1").post("/v1/workloads", {"name": "vm", "tap": "tapvm", "mac": "02:00:00:00:00:01"})
    assert added["interface"] == "tapvm"
    [route] = ip_json(space, "route", "show", added["addresses"][0].partition("/")[0])
    assert route["dev"] == "tapvm"
    place.agent("h1").delete("/v1/workloads/default/vm")
    assert ip_json(space, "route", "show", added["addresses"][0].partition("/")[0]) == []
    assert in_ns(space, "sysctl", "-n", "net.ipv4.conf.tapvm.forwarding").strip() == "0"


def test_a_workload_needs_no_tool_of_ours_only_its_resource(place: Site) -> None:
    """Orchestrators write WorkloadEndpoints themselves and bring their own interfaces."""
    place.start_agent("h1")
    peer = place.guest("h1", "peer")
    with namespace("own") as own:
        run("ip", "-n", place.space("h1"), "link", "add", "cali0", "type", "veth", "peer", "name", "eth0", "netns", own)
        for words in ("addr add 10.65.9.9/32 dev eth0", "link set eth0 up", "route add 169.254.1.1 dev eth0",
                      "route add default via 169.254.1.1"):
            run("ip", "-n", own, *words.split())
        place.api.post("/api/v1/namespaces", {"metadata": {"name": "pods"}, "kind": "Namespace", "apiVersion": "v1"})
        place.declare({
            "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
            "metadata": {"name": "h1-k8s-pod-eth0", "namespace": "pods"},
            "spec": {"node": "h1", "orchestrator": "k8s", "workload": "pod", "pod": "pod", "endpoint": "eth0",
                     "interfaceName": "cali0", "ipNetworks": ["10.65.9.9/32"], "profiles": ["kns.pods"]},
        })
        wait_for("the endpoint", lambda: ping(own, peer.addresses[0]))
        assert ping(peer.network, "10.65.9.9")


DRIFT: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("table", ("nft", "flush", "ruleset"), "nftables: "),
    ("route", ("ip", "route", "flush", "proto", "80"), "was gone"),
    ("forwarding", ("sysctl", "-qw", "net.ipv4.ip_forward=0"), "sysctl net/ipv4/ip_forward was changed"),
)


def test_drift_is_mended_within_ten_seconds_and_reported(place: Site) -> None:
    place.start_agent("h1")
    web, db = place.guest("h1", "web"), place.guest("h1", "db", labels={"app": "db"})
    place.declare(deny_to("no-udp", "app == 'db'", protocol="UDP"))
    for name, words, told in DRIFT:
        in_ns(place.space("h1"), *words)
        wait_for(f"the mend of the {name}", lambda told=told: any(told in what for what in place.repairs("h1")))
        assert ping(web.network, db.addresses[0])
    server_side = place.api.get("/muslin/v1/status")["hosts"][0]
    wait_for("the report", lambda: place.api.get("/muslin/v1/status")["hosts"][0].get("repairs"))
    assert server_side["name"] == "h1"


@pytest.mark.parametrize("victim", ["agent-h1", "server"])
def test_kill_nine_loses_no_allowed_packet_and_lets_no_denied_one_through(place: Site, victim: str) -> None:
    """A packet each millisecond, while the victim dies, while it is dead, and while it starts again."""
    place.start_agent("h1")
    web, db = place.guest("h1", "web", labels={"app": "web"}), place.guest("h1", "db", labels={"app": "db"})
    place.declare(deny_to("no-9", "app == 'db'", protocol="UDP", destination={"ports": [9]}))
    play(place.crowd.serve(db.network, udp=[7, 9]))
    wait_for("the policy", lambda: "no-9" in in_ns(place.space("h1"), "nft", "list", "ruleset"))
    flows = [Flow(source=web, destination=db, port=port, version=version) for version in (4, 6) for port in (7, 9)]

    async def scene() -> None:
        for fresh in (False, True):  # flows that go on, and flows that begin at every moment
            async with place.crowd.stream(flows, fresh=fresh) as running:
                await running.packets(200)
                place.signal(victim, signal.SIGKILL)
                await running.packets(200)
                start_again(place, victim)
                await running.packets(500)
            for flow in flows:
                told = (victim, fresh, flow.port, flow.version, flow.count)
                assert flow.count.sent > 500, told
                came = flow.count.arrived if fresh else flow.count.answered  # of a fresh flow, the answer may come
                assert came == (flow.count.sent if flow.port == 7 else 0), told  # when its port is closed already

    play(scene())
    assert place.report("h1").get("repairs", []) == [], "there was nothing to mend"
    place.guest("h1", "another")


def start_again(place: Site, victim: str) -> None:
    if victim == "server":
        place.start_server()
    else:
        place.start_agent("h1")


def test_an_agent_that_finds_no_server_uses_what_it_knew(place: Site) -> None:
    """The machine was started anew: empty kernel, and no server anywhere."""
    place.start_agent("h1")
    web, db = place.guest("h1", "web"), place.guest("h1", "db", labels={"app": "db"})
    place.declare(deny_to("no-udp", "app == 'db'", protocol="UDP"))
    wait_for("the policy", lambda: "no-udp" in in_ns(place.space("h1"), "nft", "list", "ruleset"))
    for name in ("server", "agent-h1"):
        place.signal(name, signal.SIGKILL)
    for words in (("nft", "flush", "ruleset"), ("ip", "route", "flush", "proto", "80"),
                  ("sysctl", "-qw", "net.ipv4.ip_forward=0")):
        in_ns(place.space("h1"), *words)
    assert not ping(web.network, db.addresses[0])

    place.start_agent("h1", healthy=False)

    wait_for("the old state", lambda: ping(web.network, db.addresses[0]))
    report = wait_for("a report that says why", lambda: (found := place.report("h1")).get("problems") and found)
    assert report.get("in_sync", False) is False
    assert "no server" in report["problems"][0]["what"]
    assert "no-udp" in in_ns(place.space("h1"), "nft", "list", "ruleset")
    with pytest.raises(ApiError, match="nobody answers"):
        place.add("h1", "x", web.network)
    place.start_server()
    wait_for("sync", lambda: place.report("h1").get("in_sync"))
    place.guest("h1", "another")


def test_an_agent_without_server_or_snapshot_touches_nothing(place: Site) -> None:
    place.signal("server", signal.SIGTERM)
    with namespace("bare") as bare:
        place.use_host("h1", bare)
        before = in_ns(bare, "nft", "list", "ruleset"), ip_json(bare, "route", "show", "table", "all")
        place.start_agent("h1", healthy=False)
        wait_for("its socket", (place.run / "agents" / "h1.sock").exists)
        wait_for("its first scan", lambda: place.words("agent-h1").count("feed_lost") > 4)
        assert (in_ns(bare, "nft", "list", "ruleset"), ip_json(bare, "route", "show", "table", "all")) == before
        place.signal("agent-h1", signal.SIGTERM)


@pytest.mark.parametrize("moment", [0.0, 0.003, 0.006, 0.012])
def test_an_addition_that_was_cut_short_is_undone_by_the_next_agent(place: Site, moment: float) -> None:
    """Nothing of it may stay, and its addresses are free again. What was whole stays; only that is answered."""
    place.start_agent("h1")
    place.guest("h1", "first")
    with namespace("w") as space:
        place.start("asking", "curl", "-s", "--unix-socket", str(place.run / "agents" / "h1.sock"), "-d",
                    f'{{"name": "cut", "netns": "{space}"}}', "http://x/v1/workloads")
        state = place.state / "agents" / "h1"
        begun = spin(lambda: journal.read(state) or "cut" in place.words("asking"))
        spin(lambda: time.monotonic() - begun >= moment)
        place.signal("agent-h1", signal.SIGKILL)
        cut = bool(journal.read(state))
        place.wait("asking")
        assert not (cut and place.words("asking")), "answered although it was not whole"
        place.start_agent("h1")
        wait_for("the undoing", lambda: not journal.read(state))
        there = {one["spec"]["workload"] for one in place.api.get(f"{V3}/workloadendpoints")["items"]}
        assert there == ({"first"} if cut else {"first", "cut"})
        assert {link["ifname"] for link in ip_json(space, "link", "show")} == ({"lo"} if cut else {"lo", "eth0"})
        place.add("h1", "cut", space, addresses=["10.65.164.129"])  # its address is free, or its own


def spin(condition: Callable[[], object]) -> float:
    """Until it is true, looking all the time: for moments that are shorter than a nap. When that was."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
    return time.monotonic()


def test_a_second_agent_of_the_same_node_or_namespace_is_turned_away(place: Site) -> None:
    place.start_agent("h1")
    place.start("double", "ip", "netns", "exec", place.space("h1"), *AGENT_H1)
    wait_for("its refusal", lambda: "an agent of node h1 runs already" in place.words("double"))
    place.start("other", "ip", "netns", "exec", place.space("h1"), MUSLIN, "agent", "--node", "h2", "--no-bgp")
    wait_for("its refusal", lambda: "another agent keeps this network namespace" in place.words("other"))
    assert place.report("h1")["in_sync"]


AGENT_H1 = (MUSLIN, "agent", "--node", "h1", "--no-bgp")


def test_sigterm_ends_the_agent_and_leaves_the_kernel_as_it_is(place: Site) -> None:
    place.start_agent("h1")
    web, db = place.guest("h1", "web"), place.guest("h1", "db")
    place.signal("agent-h1", signal.SIGTERM)
    assert ping(web.network, db.addresses[0])
    assert not (place.run / "agents" / "h1.sock").exists()
    with pytest.raises(Unreachable):
        place.report("h1")


def test_a_node_registers_itself_and_keeps_what_others_wrote(place: Site) -> None:
    place.start_agent("h1")
    node = wait_for("the node", lambda: _found(lambda: place.api.get(f"{V3}/nodes/h1")))
    assert node["metadata"]["name"] == "h1"
    place.api.patch(f"{V3}/nodes/h1", {"metadata": {"labels": {"rack": "r1"}}})
    place.signal("agent-h1", signal.SIGTERM)
    place.start_agent("h1")
    wait_for("its registration", lambda: place.words("agent-h1").count("event=registered") == 2)
    assert place.api.get(f"{V3}/nodes/h1")["metadata"]["labels"]["rack"] == "r1"


def _found(ask: Callable[[], dict[str, dict[str, str]]]) -> dict[str, dict[str, str]] | None:
    try:
        return ask()
    except ApiError:
        return None


def test_adding_is_quick_and_the_agent_is_lean(place: Site, record_property: Callable[[str, object], None]) -> None:
    """Told, not asserted: bench/ has the figures. Only a gross failure fails."""
    place.start_agent("h1")
    times = []
    for number in range(5):
        began = time.monotonic()
        place.guest("h1", f"w{number}")
        times.append(time.monotonic() - began)
    resident = place.report("h1")["rss"]
    record_property("add_ms", [round(one * 1000) for one in times])
    record_property("rss", resident)
    assert resident < 120 * 1024 * 1024
    assert Path(f"/proc/{place.pid('agent-h1')}").exists()
