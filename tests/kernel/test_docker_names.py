"""Names across hosts: a container finds those of other hosts as it finds its neighbours, and only those it may see."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentrig import Site, site
from dockerrig import Docker, docker
from netrig import run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ASK = Path(__file__).parents[1] / "dnsask.py"
SERVER = "127.0.0.11"


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Site, Docker, Docker]]:
    with site() as place, ExitStack() as stack:
        spaces = [place.make_host(host) for host in ("h1", "h2")]
        run("ip", "link", "add", "up0", "netns", spaces[0], "type", "veth", "peer", "name", "up0", "netns", spaces[1])
        for number, space in enumerate(spaces, 1):
            run("ip", "-n", space, "addr", "add", f"192.0.2.{number}/24", "dev", "up0")
            run("ip", "-n", space, "link", "set", "up0", "up")
        for host in ("h1", "h2"):
            place.start_agent(host, "--as-number", "64512")
        one, two = (stack.enter_context(docker(place, host)) for host in ("h1", "h2"))
        for host in (one, two):
            for name, subnet in (("blue", "10.65.8.0/24"), ("red", "10.65.9.0/24")):
                host("network", "create", "-d", "muslin", "--ipam-driver", "muslin", "--subnet", subnet,
                     *(("--ipv6", "--subnet", "fd00:65::8:0/112") if name == "blue" else ()), name)
        yield place, one, two


@pytest.fixture
def clean(hosts: tuple[Site, Docker, Docker]) -> Iterator[None]:
    yield
    for host in hosts[1:]:
        if ids := host("ps", "-aq").split():
            host("rm", "-f", *ids)


def container(host: Docker, name: str, network: str, *words: str) -> str:
    """What nobody knows is asked of a closed port: an answer at once."""
    return host.container(name, "--network", network, "--dns", "127.0.0.1", *words)


def ask(host: Docker, container: str, name: str, kind: str = "A", *options: str) -> list[str]:
    """What the container's name server answers, sorted; a word in capitals when it says no, [] when it says nothing."""
    pid = host.inspect(container)["State"]["Pid"]
    return run("nsenter", "-t", str(pid), "-n", "python3", "-IS", str(ASK), SERVER, name, kind, *options).split()


def unknown(host: Docker, container: str, name: str, address: str) -> bool:
    """dockerd is silent where its own servers do not answer."""
    return ask(host, container, name, "A", "udp", "0.7") != [address]


@pytest.mark.usefixtures("clean")
def test_containers_of_other_hosts_are_found_by_name_alias_and_network(hosts: tuple[Site, Docker, Docker]) -> None:
    _, one, two = hosts
    web = container(one, "web", "blue")
    database = container(two, "db-1", "blue", "--network-alias", "database", "--network-alias", "db.shop")
    stranger = container(two, "stranger", "red")
    address = two.address(database, "blue")
    for name in ("db-1", "DB-1", "db-1.blue", two.inspect(database)["Id"][:12]):
        wait_for(f"the name {name}", lambda name=name: ask(one, web, name) == [address], 20)
    for name in ("database", "db.shop", "database.blue"):
        wait_for(f"the alias {name}", lambda name=name: ask(one, web, name) == [address], 20)
    wait_for("the way", lambda: one.say(web, "ping", "-4", "-c1", "-W1", "database"), 30)

    settings = two.inspect(database)["NetworkSettings"]["Networks"]["blue"]
    assert ask(one, web, "database", "AAAA") == [settings["GlobalIPv6Address"]]
    assert ask(one, web, ".".join(reversed(address.split("."))) + ".in-addr.arpa", "PTR") == ["db-1.blue"]
    assert ask(one, web, "database", "A", "tcp") == [address]
    wait_for("the other way round", lambda: ask(two, database, "web") == [one.address(web, "blue")], 20)

    assert unknown(one, web, "stranger", two.address(stranger, "red")), "not of a network that it is not in"
    assert unknown(two, stranger, "db-1", address)
    two("rm", "-f", database)
    wait_for("the end of the name", lambda: unknown(one, web, "db-1", address), 20)


@pytest.mark.usefixtures("clean")
def test_a_name_of_many_leads_to_all_of_them(hosts: tuple[Site, Docker, Docker]) -> None:
    _, one, two = hosts
    asker = container(one, "asker", "red")
    addresses = set()
    for host in (one, two):
        for number in range(2):
            name = container(host, f"w-{host.host}-{number}", "red", "--network-alias", "w")
            addresses.add(host.address(name, "red"))
    wait_for("all of them", lambda: set(ask(one, asker, "w")) == addresses, 20)


@pytest.mark.usefixtures("clean")
def test_what_we_do_not_know_docker_answers_as_without_us(hosts: tuple[Site, Docker, Docker]) -> None:
    """Its own name server is asked, from the container's namespace, by both protocols."""
    _, one, _ = hosts
    both = container(one, "both", "blue")
    neighbour = container(one, "plain", "blue", "--link", "both:linked")
    address = one.address(both, "blue")
    for how in ("udp", "tcp"):
        wait_for("a link, of which only dockerd knows",
                 lambda how=how: ask(one, neighbour, "linked", "A", how) == [address])


@pytest.mark.usefixtures("clean")
def test_a_container_that_joins_a_network_sees_its_names_and_loses_them_when_it_leaves(
        hosts: tuple[Site, Docker, Docker]) -> None:
    _, one, two = hosts
    web, other = container(one, "web", "blue"), container(two, "other", "red")
    address = two.address(other, "red")
    assert unknown(one, web, "other", address)
    one("network", "connect", "red", web)
    wait_for("the name", lambda: ask(one, web, "other") == [address], 20)
    one("network", "disconnect", "red", web)
    wait_for("its end", lambda: unknown(one, web, "other", address), 20)


@pytest.mark.usefixtures("clean")
def test_names_outlive_the_agent_and_docker_s_own_outlive_the_resolver(hosts: tuple[Site, Docker, Docker]) -> None:
    place, one, two = hosts
    web, near = container(one, "web", "blue"), container(one, "near", "blue")
    far = container(two, "far", "blue")
    address = two.address(far, "blue")
    wait_for("the name", lambda: ask(one, web, "far") == [address], 20)

    place.signal("agent-h1", signal.SIGKILL)
    assert ask(one, web, "far") == [address], "no agent: what was known is answered"
    pid = place.run / "agents/h1.docker-names.pid"
    os.kill(int(pid.read_text()), signal.SIGKILL)
    wait_for("Docker alone", lambda: ask(one, web, "near") == [one.address(near, "blue")], 20)
    assert unknown(one, web, "far", address)
    place.start_agent("h1", "--as-number", "64512")
    wait_for("the names again", lambda: ask(one, web, "far") == [address], 20)
    late = container(two, "late", "blue")
    wait_for("a new name", lambda: ask(one, web, "late") == [two.address(late, "blue")], 20)
