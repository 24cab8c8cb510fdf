"""Docker, as its users use it: a real dockerd, networks of ours, containers that reach each other or do not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agentrig import V3, Site, deny_to, site
from dockerrig import Docker, Failed, asking, docker, install, page
from netrig import in_ns, ip_json, namespace, run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as made:
        made.start_agent("h1")
        yield made


@pytest.fixture(scope="module")
def host(place: Site) -> Iterator[Docker]:
    with docker(place, "h1") as made:
        try:
            yield made
        finally:
            print(made.words()[-3000:])


@pytest.fixture
def clean(host: Docker) -> Iterator[None]:
    yield
    host.clear()


def network(host: Docker, name: str, *words: str) -> str:
    host("network", "create", "-d", "muslin", "--ipam-driver", "muslin", *words, name)
    return name


def endpoints(place: Site) -> list[dict[str, Any]]:
    return place.api.get(f"{V3}/workloadendpoints")["items"]


@pytest.mark.usefixtures("clean")
def test_containers_of_a_network_reach_each_other_and_nobody_else_reaches_them(place: Site, host: Docker) -> None:
    network(host, "blue", "--subnet", "10.65.8.0/24")
    network(host, "red", "--subnet", "10.65.9.0/24")
    one, two = host.container("b1", "--network", "blue"), host.container("b2", "--network", "blue")
    other = host.container("r1", "--network", "red")

    address = host.address(two, "blue")
    assert address.startswith("10.65.8.")
    assert host.ping(one, address), "the first packet passes"
    assert not host.ping(other, address)
    assert not host.ping(one, host.address(other, "red"))

    host("rm", "-f", one, two, other)
    assert endpoints(place) == []


@pytest.mark.usefixtures("clean")
def test_both_families_fixed_addresses_and_a_start_after_a_stop(place: Site, host: Docker) -> None:
    network(host, "dual", "--ipv6", "--subnet", "10.65.8.0/24", "--subnet", "fd00:65::8:0/112")
    one = host.container("d1", "--network", "dual", "--ip", "10.65.8.77")
    two = host.container("d2", "--network", "dual")
    settings = host.inspect(two)["NetworkSettings"]["Networks"]["dual"]
    assert settings["GlobalIPv6Address"].startswith("fd00:65::8:")
    assert host.address(one, "dual") == "10.65.8.77"
    assert host.ping(two, "10.65.8.77")
    assert host.ping(one, settings["GlobalIPv6Address"])

    with pytest.raises(Failed, match=r"10\.65\.8\.77"):
        host.container("d3", "--network", "dual", "--ip", "10.65.8.77")
    host("stop", "-t", "0", one)
    assert len(endpoints(place)) == 1
    host("start", one)
    assert host.ping(two, "10.65.8.77")


@pytest.mark.usefixtures("clean")
def test_labels_count_before_the_first_packet(place: Site, host: Docker) -> None:
    network(host, "lab", "--subnet", "10.65.8.0/24", "--label", "tier=back")
    place.declare(deny_to("no-web", "role == 'db' && tier == 'back'", source={"selector": "role == 'web'"}))
    try:
        database = host.container("db", "--network", "lab", "--label", "role=db")
        web = host.container("web", "--network", "lab", "--label", "role=web", "--label", "when=2026-11-30T10:00:00Z")
        other = host.container("other", "--network", "lab")
        assert not host.ping(web, host.address(database, "lab"))
        assert host.ping(other, host.address(database, "lab"))
        [found] = [each["metadata"]["labels"] for each in endpoints(place)
                   if each["metadata"]["labels"]["docker.name"] == "web"]
        assert found["docker.network"] == "lab"
        assert found["when"].startswith("2026-11-30T10-00-00Z-"), "a value that is no label value keeps its words"
    finally:
        place.api.delete(f"{V3}/globalnetworkpolicies/no-web")


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("internal", [(), ("--internal",)])
def test_a_link_local_address_is_refused_where_dockerd_tells_in_time(
    place: Site, host: Docker, internal: tuple[str, ...]
) -> None:
    network(host, "first", "--subnet", "10.65.8.0/24")
    network(host, "second", "--subnet", "10.65.9.0/24", *internal)
    one, other = host.container("l1", "--network", "first"), host.container("l2", "--network", "first")
    with pytest.raises(Failed, match=r"--link-local-ip 169\.254\.7\.8 cannot be had .* connect it without"):
        host("network", "connect", "--link-local-ip", "169.254.7.8", "second", one)
    assert host.ping(one, host.address(other, "first"))

    host("network", "disconnect", "second", one)
    host("network", "connect", "second", one)
    assert len(endpoints(place)) == 3
    assert host.ping(one, host.address(other, "first"))


@pytest.mark.usefixtures("clean")
def test_a_container_with_a_link_local_address_does_not_start(place: Site, host: Docker) -> None:
    network(host, "linked", "--subnet", "10.65.8.0/24")
    with pytest.raises(Failed, match=r"169\.254\.0\.0/16.*file exists"):
        host.container("l3", "--network", "linked", "--link-local-ip", "169.254.7.7")
    assert host.inspect("l3")["State"]["Running"] is False
    wait_for("nothing of it", lambda: endpoints(place) == [])

    one = host.container("l5", "--network", "linked")
    assert "169.254.0.0/16 via 169.254.1." in host("exec", one, "/bin/ip", "route")


@pytest.mark.usefixtures("clean")
def test_a_link_local_address_of_which_nobody_tells_in_time_is_a_red_line(place: Site, host: Docker) -> None:
    network(host, "linked", "--subnet", "10.65.8.0/24", "--internal")
    one = host.container("l3", "--network", "linked", "--link-local-ip", "169.254.7.7")

    def said() -> bool:
        [found] = place.api.get("/muslin/v1/status")["hosts"]
        return any("l3" in each["what"] and "--link-local-ip 169.254.7.7" in each["what"]
                   for each in found.get("problems", ()))

    wait_for("the red line", said)
    other = host.container("l4", "--network", "linked")
    assert not host.ping(one, host.address(other, "linked")), "nothing of it passes"
    host("rm", "-f", one)
    wait_for("the end of it", lambda: not said())


@pytest.mark.usefixtures("clean")
def test_policies_of_networks(place: Site, host: Docker) -> None:
    network(host, "open", "--subnet", "10.65.8.0/24", "-o", "policy=open")
    network(host, "shut", "--subnet", "10.65.9.0/24", "-o", "policy=deny")
    network(host, "inside", "--subnet", "10.65.10.0/24", "--internal")
    names = {name: [host.container(f"{name}{number}", "--network", name) for number in (1, 2)]
             for name in ("open", "shut", "inside")}
    at = {name: host.address(pair[1], name) for name, pair in names.items()}
    assert host.ping(names["open"][0], at["open"])
    assert not host.ping(names["shut"][0], at["shut"])
    assert host.ping(names["inside"][0], at["inside"])
    assert not host.ping(names["inside"][0], at["open"]), "internal: not even to those who would let it in"
    assert not host.ping(names["open"][0], at["inside"])


@pytest.mark.usefixtures("clean")
def test_a_container_in_two_networks_and_out_again(place: Site, host: Docker) -> None:
    network(host, "one", "--subnet", "10.65.8.0/24")
    network(host, "two", "--subnet", "10.65.9.0/24")
    both = host.container("both", "--network", "one")
    first, second = host.container("c1", "--network", "one"), host.container("c2", "--network", "two")
    host("network", "connect", "two", both)
    assert host.ping(both, host.address(first, "one"))
    assert host.ping(both, host.address(second, "two"))
    assert host.ping(second, host.address(both, "two"))
    host("network", "disconnect", "one", both)
    assert not host.ping(both, host.address(first, "one"))
    assert host.ping(both, host.address(second, "two"))
    host("network", "connect", "one", both)
    host("restart", "-t", "0", both)
    assert host.ping(both, host.address(first, "one"))
    assert host.ping(both, host.address(second, "two"))


@pytest.mark.parametrize(("words", "says"), [
    (("--ipam-driver", "muslin", "--subnet", "10.9.0.0/16"), "in no IPPool"),
    (("--ipam-driver", "muslin", "--subnet", "10.65.8.0/28"), "smaller than a block"),
    (("--ipam-driver", "muslin", "--subnet", "10.65.8.0/24", "--gateway", "10.65.8.1"), "leave it out"),
    (("--ipam-driver", "muslin", "--subnet", "10.65.8.0/24", "-o", "colour=blue"), "colour"),
    (("--ipam-driver", "muslin", "--subnet", "10.65.8.0/24", "-o", "policy=maybe"), "same-network, open, deny"),
    (("--ipam-driver", "muslin", "--ipam-opt", "x=y"), "--ipam-opt x"),
    (("--subnet", "10.65.8.0/24"), "--ipam-driver muslin"),
    (("-d", "bridge", "--ipam-driver", "muslin", "--subnet", "10.65.8.0/24"), "of driver bridge"),
])
@pytest.mark.usefixtures("clean")
def test_what_cannot_be_is_refused_in_words(host: Docker, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(Failed, match=says):
        _create_and_use(host, words)


def _create_and_use(host: Docker, words: tuple[str, ...]) -> None:
    """Some are seen when the first address is asked for, and no earlier."""
    host("network", "create", *(() if "-d" in words else ("-d", "muslin")), *words, "bad")
    try:
        host.container("never", "--network", "bad")
    finally:
        host("rm", "-f", "never")
        host.remove("bad")


@pytest.mark.usefixtures("clean")
def test_a_network_without_a_subnet_takes_from_the_pools(host: Docker) -> None:
    network(host, "any")
    one, two = (host.container(name, "--network", "any") for name in ("a1", "a2"))
    assert host.address(one, "any").startswith("10.65.")
    assert host.ping(one, host.address(two, "any"))


@pytest.mark.usefixtures("clean")
def test_without_an_agent_docker_fails_at_once_and_says_what_to_do(place: Site, host: Docker) -> None:
    network(host, "gone", "--subnet", "10.65.8.0/24")
    one, two = (host.container(name, "--network", "gone") for name in ("g1", "g2"))
    place.signal("agent-h1", signal.SIGKILL)
    try:
        assert host.ping(one, host.address(two, "gone")), "who runs goes on"
        begun = time.monotonic()
        with pytest.raises(Failed, match="start it with `muslin agent`"):
            host.container("g3", "--network", "gone")
        assert time.monotonic() - begun < 8
    finally:
        place.start_agent("h1")
    assert host.ping(one, host.address(two, "gone"))
    three = host.container("g4", "--network", "gone")
    assert host.ping(one, host.address(three, "gone"))


@pytest.mark.usefixtures("clean")
def test_dockerd_may_be_killed_and_come_back_and_the_book_may_be_lost(place: Site, host: Docker) -> None:
    network(host, "live", "--subnet", "10.65.8.0/24")
    one, two = (host.container(name, "--network", "live") for name in ("l1", "l2"))
    address = host.address(two, "live")
    with nothing_lost(host, one, address):
        host.stop()
        host.start()
        place.signal("agent-h1", signal.SIGKILL)
        place.start_agent("h1")
        host.stop(signal.SIGKILL)
        place.signal("agent-h1", signal.SIGKILL)
        (place.state / "agents" / "h1" / "docker.json").unlink()
        host.start()
        place.start_agent("h1")
        install(place, "h1", "install", "--docker", f"unix:{host.socket}", "--plugin-dir", str(host.plugins))
    assert host.ping(one, address)
    three = host.container("l3", "--network", "live")
    assert host.ping(three, address)
    host("rm", "-f", one, two, three)
    assert endpoints(place) == []
    four = host.container("l4", "--network", "live", "--ip", address)
    assert host.address(four, "live") == address, "addresses of before are free again, too"


@pytest.mark.usefixtures("clean")
def test_what_dockerd_could_not_start_without_an_agent_runs_when_there_is_one(place: Site, host: Docker) -> None:
    """A boot: dockerd is there first, starts what its restart policy says once, and does not try again."""
    network(host, "boot", "--subnet", "10.65.8.0/24")
    for name, policy in (("always", "always"), ("stopped", "unless-stopped"), ("once", "no")):
        host.container(name, "--network", "boot", "--restart", policy)
    host("stop", "-t", "0", "stopped")
    pids = [host.inspect(name)["State"]["Pid"] for name in ("always", "once")]
    host.stop(signal.SIGKILL)
    place.signal("agent-h1", signal.SIGKILL)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    host.start()
    try:
        wait_for("dockerd's only try", lambda: "h1." in host.inspect("always")["State"]["Error"], 30)
        assert not running(host, "always")
    finally:
        place.start_agent("h1")
    wait_for("the container", lambda: running(host, "always"), 30)
    assert [running(host, name) for name in ("stopped", "once")] == [False, False]
    other = host.container("other", "--network", "boot")
    wait_for("its network", lambda: host.ping(other, host.address("always", "boot")))


def running(host: Docker, name: str) -> bool:
    return bool(host.inspect(name)["State"]["Running"])


@contextmanager
def nothing_lost(host: Docker, name: str, address: str) -> Iterator[None]:
    """Every packet of a container passes meanwhile, dockerd stopped and started, killed, agent killed, or both."""
    pid = str(host.inspect(name)["State"]["Pid"])
    process = subprocess.Popen(["nsenter", "-t", pid, "-n", "ping", "-i", "0.05", "-q", address],
                               stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=10)
    [counted] = [line.split() for line in said.splitlines() if "transmitted" in line]
    sent, received = int(counted[0]), int(counted[3])
    assert sent > 20
    assert sent - received <= 1, said  # the last may still be under way


@pytest.fixture
def outside(place: Site) -> Iterator[str]:
    """Somebody beyond the host's uplink; the host is 192.0.2.1 there."""
    with namespace("out") as space:
        host = place.space("h1")
        run("ip", "link", "add", "up0", "netns", host, "type", "veth", "peer", "name", "up0", "netns", space)
        for number, where in ((1, host), (2, space)):
            run("ip", "-n", where, "addr", "add", f"192.0.2.{number}/24", "dev", "up0")
            run("ip", "-n", where, "link", "set", "up0", "up")
        yield space


def answer(space: str, address: str, port: int) -> str:
    """The page of a web server there, "" when it does not answer."""
    return page(in_ns(space, "busybox", "sh", "-c", asking(address, port, "busybox nc"), check=False))


@pytest.mark.usefixtures("clean")
def test_published_ports_lead_to_the_container_from_everywhere(place: Site, host: Docker, outside: str) -> None:
    network(host, "pub", "--subnet", "10.65.8.0/24")
    network(host, "else", "--subnet", "10.65.9.0/24")
    host("run", "-d", "--name", "server", "--network", "pub", "-p", "8080:80", "bb:1", "/bin/sh", "-c",
         "/bin/echo hello >/page; exec /bin/httpd -f -p 80 -h /")
    other = host.container("client", "--network", "else")

    wait_for("the port", lambda: answer(outside, "192.0.2.1", 8080) == "hello")
    assert answer(place.space("h1"), "192.0.2.1", 8080) == "hello", "from the host itself"
    assert host.hears(other, "192.0.2.1", 8080) == "hello", "from another network, by the host's address"
    assert host.hears("server", "192.0.2.1", 8080) == "hello", "from the container itself"
    assert answer(outside, "192.0.2.1", 80) == ""
    with pytest.raises(Failed, match="8080/tcp of this host is published"):
        host.container("second", "--network", "else", "-p", "8080:90")
    with pytest.raises(Failed, match="nothing leads from loopback"):
        host.container("third", "--network", "else", "-p", "127.0.0.1:8081:90")
    with listening(place.space("h1"), 8082), pytest.raises(Failed, match="8082/tcp of this host is in use"):
        host.container("fourth", "--network", "else", "-p", "8082:90")
    host("rm", "-f", "server")
    assert answer(outside, "192.0.2.1", 8080) == ""


@pytest.mark.usefixtures("clean")
def test_a_port_that_nobody_names_is_chosen_and_shown(place: Site, host: Docker, outside: str) -> None:
    network(host, "any", "--subnet", "10.65.8.0/24")
    serve = ("bb:1", "/bin/sh", "-c", "/bin/echo $0 >/page; exec /bin/httpd -f -p 80 -h /")
    host("run", "-d", "--name", "one", "--network", "any", "-p", "80", *serve, "first")
    host("run", "-d", "--name", "two", "--network", "any", "--expose", "80", "-P", *serve, "second")
    host("run", "-d", "--name", "three", "--network", "any", "-p", "8000-8002:80", *serve, "third")
    with listening(place.space("h1"), 8001):
        host("run", "-d", "--name", "four", "--network", "any", "-p", "8000-8002:80", *serve, "fourth")
    shown = install(place, "h1", "port").splitlines()
    found = {line.split()[0]: line.split()[-1].rpartition(":")[2] for line in shown[1:]}
    assert found == {"one": "49153", "two": "49154", "three": "8000", "four": "8002"}
    for name, says in (("one", "first"), ("two", "second"), ("three", "third"), ("four", "fourth")):
        port = int(found[name])
        wait_for(name, lambda port=port, says=says: answer(outside, "192.0.2.1", port) == says)
    host("restart", "-t", "0", "three")
    wait_for("its port again", lambda: answer(outside, "192.0.2.1", 8000) == "third")


@contextmanager
def listening(space: str, port: int) -> Iterator[None]:
    """A process of the host has the port."""
    process = subprocess.Popen(["ip", "netns", "exec", space, "busybox", "nc", "-l", "-p", str(port)],
                               stdin=subprocess.DEVNULL)
    try:
        wait_for("the listener", lambda: f":{port} " in in_ns(space, "ss", "-ltn"))
        yield
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.usefixtures("clean")
def test_an_agent_killed_in_the_middle_of_any_call_leaves_nothing_behind(place: Site, host: Docker) -> None:
    """Each round kills it a little later into `docker run`, and into `docker rm`; then the same command again works."""
    network(host, "kill", "--subnet", "10.65.8.0/24")
    peer, other = (host.container(name, "--network", "kill") for name in ("peer", "other"))
    for number, delay in enumerate((0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)):
        for words in (("run", "-d", "--name", f"k{number}", "--network", "kill", "bb:1", "/bin/sleep", "900"),
                      ("rm", "-f", f"k{number}")):
            with host.started(*words) as process:
                time.sleep(delay)  # not a wait for anything: where in the call the kill falls is the point
                place.signal("agent-h1", signal.SIGKILL)
                place.start_agent("h1")
                process.wait(60)
            if process.returncode and words[0] == "run":
                host("rm", "-f", f"k{number}")
                host(*words)
            if words[0] == "run":
                assert host.ping(peer, host.address(f"k{number}", "kill"))
        assert f"k{number}" not in host("ps", "-a", "--format", "{{.Names}}").split()
    wait_for("the end of what broken calls left", lambda: len(endpoints(place)) == 2 and used(place) == 2, 60)
    assert host.ping(peer, host.address(other, "kill")), "who was not touched goes on"
    host("rm", "-f", peer, other)
    wait_for("the end of the last", lambda: not endpoints(place) and not used(place) and not links(place), 60)


@pytest.mark.usefixtures("clean")
def test_what_was_removed_while_no_agent_ran_is_found_when_it_comes_back(place: Site, host: Docker) -> None:
    """dockerd could tell nobody, and forgot; its network is still there."""
    network(host, "away", "--subnet", "10.65.8.0/24")
    kept, gone, more = (host.container(name, "--network", "away") for name in ("kept", "gone", "more"))
    address = host.address(gone, "away")
    place.signal("agent-h1", signal.SIGKILL)
    try:
        host("rm", "-f", gone, more)
    finally:
        place.start_agent("h1")
    again = host.container("again", "--network", "away", "--ip", address)
    assert host.ping(kept, host.address(again, "away")), "who asks for the address by name gets it at once"
    with pytest.raises(Failed, match=address):
        host.container("thief", "--network", "away", "--ip", address)
    host("rm", "-f", "thief")
    wait_for("the end of what is gone", lambda: len(endpoints(place)) == 2 and used(place) == 2, 60)
    assert host.ping(kept, address)


def used(place: Site) -> int:
    return sum(pool.get("used", 0) for pool in place.api.get("/muslin/v1/addresses").get("pools", []))


def links(place: Site) -> list[str]:
    return [link["ifname"] for link in ip_json(place.space("h1"), "link", "show")
            if link["ifname"].startswith(("mus", "dtmp"))]
