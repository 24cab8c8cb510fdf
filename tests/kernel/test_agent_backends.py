"""The real agent goes from one backend to another, by FelixConfiguration and by its option, under traffic."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from agentrig import V3, Site, deny_to, ping, play, site
from muslin.lab.crowd import Flow
from muslin.lab.record import Workload
from netrig import in_ns, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NFT: dict[str, Any] = {"nftablesMode": "Enabled"}
LEGACY: dict[str, Any] = {"nftablesMode": "Disabled", "iptablesBackend": "Legacy"}
IPT_NFT: dict[str, Any] = {"nftablesMode": "Disabled", "iptablesBackend": "NFT"}


@pytest.fixture
def place() -> Iterator[Site]:
    with site() as made:
        yield made


def configure(place: Site, spec: dict[str, Any]) -> None:
    path = f"{V3}/felixconfigurations"
    whole = {"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"},
             "spec": spec}
    there = [item for item in place.api.get(path)["items"] if item["metadata"]["name"] == "default"]
    if there:
        whole["metadata"] = there[0]["metadata"]
        place.api.put(f"{path}/default", whole)
    else:
        place.api.post(path, whole)


def of_ours(space: str) -> set[str]:
    """Which interfaces of the kernel hold rules of ours."""
    found = {word for word in ("legacy", "nft") if "mus-" in in_ns(space, f"iptables-{word}-save")
             or "mus-" in in_ns(space, f"ip6tables-{word}-save")}
    if "table inet muslin" in in_ns(space, "nft", "list", "tables"):
        found.add("nftables")
    if "mus" in in_ns(space, "ipset", "list", "-n"):
        found.add("ipset")
    return found


RESULT = ((LEGACY, {"legacy", "ipset"}), (IPT_NFT, {"nft", "ipset"}), (NFT, {"nftables"}))


def flows_of(place: Site) -> list[Flow]:
    web, db = place.guest("h1", "web", labels={"app": "web"}), place.guest("h1", "db", labels={"app": "db"})
    place.declare(deny_to("no-9", "app == 'db'", protocol="UDP", destination={"ports": [9]}))
    play(place.crowd.serve(db.network, udp=[7, 9]))
    wait_for("the policy", lambda: "no-9" in in_ns(place.space("h1"), "nft", "list", "ruleset"))
    return [Flow(source=web, destination=db, port=port, version=version) for version in (4, 6) for port in (7, 9)]


@pytest.mark.parametrize("fresh", [False, True])
def test_all_the_way_round_loses_nothing_lets_nothing_through_and_leaves_nothing(place: Site, fresh: bool) -> None:
    """A packet each millisecond on each flow; also flows that begin at every moment."""
    place.start_agent("h1")
    flows, space = flows_of(place), place.space("h1")

    async def scene() -> None:
        async with place.crowd.stream(flows, fresh=fresh) as running:
            await running.packets(100)
            for spec, expected in RESULT:
                configure(place, spec)
                wait_for(f"{spec}", lambda expected=expected: of_ours(space) == expected)
                await running.packets(200)

    play(scene())
    for flow in flows:
        told = (fresh, flow.port, flow.version, flow.count)
        assert flow.count.sent > 500, told
        came = flow.count.arrived if fresh else flow.count.answered
        assert came == (flow.count.sent if flow.port == 7 else 0), told
    assert place.report("h1").get("problems", []) == []


def test_kill_nine_in_the_middle_of_a_switch_ends_clean(place: Site) -> None:
    """At whatever moment: the next agent finishes it, and no packet is lost or let through meanwhile."""
    place.start_agent("h1")
    flows, space = flows_of(place), place.space("h1")

    async def scene() -> None:
        async with place.crowd.stream(flows, fresh=False) as running:
            for number, (spec, expected) in enumerate((*RESULT, *RESULT)):
                configure(place, spec)
                await running.packets(3 + 11 * number)
                place.signal("agent-h1", signal.SIGKILL)
                await running.packets(20)
                place.start_agent("h1")
                wait_for(f"{spec}", lambda expected=expected: of_ours(space) == expected)

    play(scene())
    for flow in flows:
        told = (flow.port, flow.version, flow.count)
        assert flow.count.answered == (flow.count.sent if flow.port == 7 else 0), told


def test_the_option_has_the_last_word_and_what_an_agent_opens_it_closes(place: Site) -> None:
    """`--dataplane` whatever FelixConfiguration says; new workloads and policies there; drift is mended and told."""
    place.start_agent("h1", "--no-bgp", "--dataplane", "iptables-legacy")
    configure(place, NFT)
    space = place.space("h1")
    web, db = place.guest("h1", "web", labels={"app": "web"}), place.guest("h1", "db", labels={"app": "db"})
    assert of_ours(space) == {"legacy", "ipset"}
    for address in db.addresses:
        assert ping(web.network, address), "the first packet passes: add answers only when all is in the kernel"

    place.declare(deny_to("no-web", "app == 'db'", source={"selector": "app == 'web'"}))
    for address in db.addresses:  # the families change one after another
        wait_for(f"the policy of {address}", lambda address=address: not ping(web.network, address))
    assert ping(db.network, web.addresses[0]), "the other way is still open"

    in_ns(space, "iptables-legacy", "-F", "FORWARD")
    wait_for("the mend", lambda: any("iptables: filter FORWARD" in what for what in place.repairs("h1")))
    assert not ping(web.network, db.addresses[0])
    place.api.delete(f"{V3}/globalnetworkpolicies/no-web")
    wait_for("its end", lambda: ping(web.network, db.addresses[0]))
    gone(place, web)


def gone(place: Site, workload: Workload) -> None:
    place.remove(workload)
    address = workload.addresses[0].partition("/")[0]
    wait_for("its end in the sets", lambda: f"{address}," not in in_ns(place.space("h1"), "ipset", "save"))
