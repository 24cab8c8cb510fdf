"""CNI when things break: many calls at once, calls out of order, processes killed halfway, a network meddled with."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import cnirig
from agentrig import V3, Site, deny_to, ping, site
from cnirig import Failed, Runtime, endpoints, path
from muslin.agent import journal
from netrig import in_ns, ip_json, namespace, run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

MANY = 200


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as made:
        made.start_agent("h1")
        yield made


@pytest.fixture
def runtime(place: Site) -> Runtime:
    return Runtime(place.run / "agents" / "h1.sock", place.state, cniVersion="1.1.0")


def handles(place: Site) -> set[str]:
    """Who holds addresses."""
    return {*place.api.get("/muslin/v1/addresses?handlePrefix=muslin.")["handles"]}


def links_of(place: Site) -> set[str]:
    """The host's sides of workloads' links."""
    return {link["ifname"] for link in ip_json(place.space("h1"), "link", "show") if link["ifname"].startswith("mus")}


def bare(answer: dict[str, Any]) -> str:
    return next(ip["address"].partition("/")[0] for ip in answer["ips"] if ":" not in ip["address"])


def holds_nothing(place: Site) -> bool:
    return not endpoints(place) and not handles(place) and not links_of(place)


def test_two_hundred_at_once(place: Site, runtime: Runtime) -> None:
    with ExitStack() as stack:
        spaces = [stack.enter_context(namespace(f"m{number}")) for number in range(MANY)]
        started = [runtime.start("ADD", f"many{number}", path(space)) for number, space in enumerate(spaces)]
        answers = [cnirig.answer(process) for process in started]
        addresses = {bare(answer) for answer in answers}
        assert len(addresses) == MANY
        assert reached(spaces[0], addresses) == addresses
        ended = [runtime.start("DEL", f"many{number}", path(space)) for number, space in enumerate(spaces)]
        assert [cnirig.answer(process) for process in ended] == [None] * MANY
    assert holds_nothing(place)


def reached(space: str, addresses: set[str]) -> set[str]:
    """Those that answer, asked all at once."""
    said = in_ns(space, "sh", "-c", "for a in " + " ".join(addresses)
                 + "; do ping -qc1 -W5 $a >/dev/null 2>&1 && echo $a & done; wait")
    return set(said.split())


def test_calls_out_of_order(place: Site, runtime: Runtime) -> None:
    with namespace("o") as one, namespace("p") as two:
        assert runtime.call("DEL", "c", path(one)) is None, "before its ADD"
        first = runtime.call("ADD", "c", path(one))
        with pytest.raises(Failed) as taken:
            runtime.call("ADD", "d", path(one))
        assert taken.value.code == 100
        moved = runtime.call("ADD", "c", path(two))
        assert moved["ips"] == first["ips"], "the same container in another namespace: a sandbox made anew"
        assert {link["ifname"] for link in ip_json(one, "link", "show")} == {"lo"}
        runtime.call("CHECK", "c", path(two), prevResult=moved)
        runtime.call("GC", **{"cni.dev/valid-attachments": [{"containerID": "c", "ifname": "eth0"}]})
        runtime.call("CHECK", "c", path(two), prevResult=moved)
        for _ in range(2):
            assert runtime.call("DEL", "c", path(two)) is None
        with pytest.raises(Failed) as unknown:
            runtime.call("CHECK", "c", path(two), prevResult=moved)
        assert unknown.value.code == 3
    assert holds_nothing(place)


def journal_written(place: Site, _: str) -> bool:
    return bool(journal.read(Path(place.state, "agents", "h1")))


def addresses_held(place: Site, _: str) -> bool:
    return any("broken" in handle for handle in handles(place))


def link_laid(_: Site, space: str) -> bool:
    return any(link["ifname"] == "eth0" for link in ip_json(space, "link", "show"))


def endpoint_written(place: Site, _: str) -> bool:
    return any("broken" in endpoint["metadata"]["name"] for endpoint in endpoints(place))


@pytest.mark.parametrize(("point", "journal_is_lost"), [
    (journal_written, False), (addresses_held, True), (link_laid, False), (link_laid, True), (endpoint_written, True),
])
def test_an_agent_killed_halfway_leaves_what_gc_removes(
    place: Site, runtime: Runtime, point: Callable[[Site, str], bool], journal_is_lost: bool
) -> None:
    """Where exactly it dies, the machine decides: what must be true afterwards is the same everywhere."""
    valid = {"cni.dev/valid-attachments": [{"containerID": "kept", "ifname": "eth0"}]}
    with namespace("k") as kept, namespace("b") as broken:
        before = runtime.call("ADD", "kept", path(kept))
        holding = endpoints(place), handles(place), links_of(place)
        process = runtime.start("ADD", "broken", path(broken))
        wait_for(point.__name__, lambda: point(place, broken) or process.poll() is not None)
        place.signal("agent-h1", signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0 or json.loads(out)["code"] == 11, out
        if journal_is_lost:
            shutil.rmtree(place.state / "agents" / "h1")
        place.start_agent("h1")
        runtime.call("GC", **valid)
        wait_for("what was there before, and no more",
                 lambda: (endpoints(place), handles(place), links_of(place)) == holding)
        assert {link["ifname"] for link in ip_json(broken, "link", "show")} == {"lo"}
        again = runtime.call("ADD", "broken", path(broken))
        assert ping(broken, bare(before))
        runtime.call("DEL", "broken", path(broken), prevResult=again)
        runtime.call("DEL", "kept", path(kept))
    assert holds_nothing(place)


def test_an_executable_killed_halfway_leaves_a_container_that_gc_removes(place: Site, runtime: Runtime) -> None:
    with namespace("b") as broken:
        process = runtime.start("ADD", "broken", path(broken))
        wait_for("the call's begin", lambda: journal_written(place, broken) or process.poll() is not None)
        process.kill()
        process.communicate()
        wait_for("the call's end", lambda: not journal_written(place, broken))
        runtime.call("GC", **{"cni.dev/valid-attachments": []})
        assert holds_nothing(place)
        assert {link["ifname"] for link in ip_json(broken, "link", "show")} == {"lo"}
        again = runtime.call("ADD", "broken", path(broken))
        assert again["ips"]
        runtime.call("DEL", "broken", path(broken))


@pytest.mark.parametrize("args", ["", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web"])
def test_del_finishes_a_removal_that_was_broken_off(place: Site, runtime: Runtime, args: str) -> None:
    """Its first step is the endpoint. Whoever dies or fails after it leaves a link and addresses, and the call that
    comes again, or was put aside, finds no endpoint any more."""
    with namespace("h") as half:
        runtime.call("ADD", "half", path(half), args=args)
        [there] = [endpoint["metadata"] for endpoint in endpoints(place)]
        place.api.delete("/muslin/v1/workloads", {"items": [{key: there[key] for key in ("namespace", "name")}]})
        assert handles(place)
        assert links_of(place)
        assert runtime.call("DEL", "half", path(half), args=args) is None
        assert {link["ifname"] for link in ip_json(half, "link", "show")} == {"lo"}
    assert holds_nothing(place)


def test_del_with_the_agents_state_gone(place: Site, runtime: Runtime) -> None:
    with namespace("s") as space:
        runtime.call("ADD", "stateless", path(space))
        place.signal("agent-h1", signal.SIGKILL)
        shutil.rmtree(place.state / "agents" / "h1")
        place.start_agent("h1")
        assert runtime.call("DEL", "stateless", path(space)) is None
        assert {link["ifname"] for link in ip_json(space, "link", "show")} == {"lo"}
    assert holds_nothing(place)


@pytest.mark.parametrize(("meddling", "says"), [
    ("ip route del default", "route 0.0.0.0/0"),
    ("ip -6 route del default", "route ::/0"),
    ("ip addr flush dev eth0 scope global", "address"),
    ("ip link set eth0 address 02:00:00:00:00:99", "02:00:00:00:00:99"),
    ("ip link set eth0 down", "is down"),
    ("ip link set eth0 name other", "is not the other end"),
    ("ip link del eth0", "is not there"),
])
def test_check_tells_what_is_broken_in_the_container(runtime: Runtime, meddling: str, says: str) -> None:
    with namespace("c") as space:
        answer = runtime.call("ADD", "meddled", path(space))
        runtime.call("CHECK", "meddled", path(space), prevResult=answer)
        in_ns(space, *meddling.split())
        with pytest.raises(Failed, match=says) as different:
            runtime.call("CHECK", "meddled", path(space), prevResult=answer)
        assert different.value.code in (101, 11)
        runtime.call("DEL", "meddled", path(space))


def test_check_tells_addresses_that_are_not_its_own_any_more(runtime: Runtime) -> None:
    with namespace("c") as space:
        answer = runtime.call("ADD", "other", path(space))
        answer["ips"][0]["address"] = "10.65.200.200/32"
        with pytest.raises(Failed, match=r"10\.65\.200\.200") as different:
            runtime.call("CHECK", "other", path(space), prevResult=answer)
        assert different.value.code == 101
        runtime.call("DEL", "other", path(space))


@pytest.mark.parametrize("meddling", ["nft delete table inet muslin", "ip route flush proto 80"])
def test_check_of_a_host_that_was_meddled_with_answers_when_it_is_mended(
    place: Site, runtime: Runtime, meddling: str
) -> None:
    place.declare(deny_to("no-tcp", "all()", protocol="UDP"))
    with namespace("c") as space, namespace("p") as peer:
        answer = runtime.call("ADD", "one", path(space))
        runtime.call("ADD", "two", path(peer))
        run("ip", "netns", "exec", place.space("h1"), *meddling.split())
        runtime.call("CHECK", "one", path(space), prevResult=answer)
        table = in_ns(place.space("h1"), "nft", "list", "table", "inet", "muslin")
        assert "udp" in table.lower()
        assert ping(peer, bare(answer))
        for container, netns in (("one", space), ("two", peer)):
            runtime.call("DEL", container, path(netns))
    place.api.delete(f"{V3}/globalnetworkpolicies/no-tcp")


def test_a_taken_address_or_an_empty_pool_is_told_and_costs_nothing(place: Site, runtime: Runtime) -> None:
    place.declare({"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "tiny"},
                   "spec": {"cidr": "10.99.0.0/30", "blockSize": 30, "nodeSelector": "!all()"}})
    with ExitStack() as stack:
        answers = []
        for number in range(5):
            space = stack.enter_context(namespace(f"e{number}"))
            answers.append(runtime.start("ADD", f"few{number}", path(space),
                                         ipam={"ipv4_pools": ["tiny"], "assign_ipv6": "false"}))
            answers[-1].wait(60)
        assert [process.returncode for process in answers] == [0, 0, 0, 0, 1]
        with pytest.raises(Failed, match="tiny"):
            cnirig.answer(answers[-1])
        assert {link["ifname"] for link in ip_json(space, "link", "show")} == {"lo"}
        for number in range(4):
            runtime.call("DEL", f"few{number}")
    place.api.delete(f"{V3}/ippools/tiny")
    assert holds_nothing(place)


STRANGER = """
import socket, sys
door = socket.socket(socket.AF_UNIX)
door.bind(sys.argv[1])
door.listen()
print(flush=True)
while True:
    caller, _ = door.accept()
    caller.sendall(b"hello")
    caller.close()
"""


def test_a_socket_that_speaks_no_cni_is_told(tmp_path: Path, place: Site) -> None:
    stranger = str(tmp_path / "s")
    process = subprocess.Popen([sys.executable, "-c", STRANGER, stranger], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        runtime = Runtime(Path(stranger), place.state)
        with namespace("n") as space, pytest.raises(Failed, match=stranger) as refused:
            runtime.call("ADD", "c", path(space))
        assert refused.value.code == 11
    finally:
        process.kill()
        process.communicate()
