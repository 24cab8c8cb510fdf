"""One command for a network on every host: also where a host joins later, has another of that name, or is down."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentrig import MUSLIN, Site, site
from dockerrig import Docker, compose, docker
from netrig import run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as made:
        spaces = [made.make_host(host) for host in ("h1", "h2")]
        run("ip", "link", "add", "up0", "netns", spaces[0], "type", "veth", "peer", "name", "up0", "netns", spaces[1])
        for number, space in enumerate(spaces, 1):
            run("ip", "-n", space, "addr", "add", f"192.0.2.{number}/24", "dev", "up0")
            run("ip", "-n", space, "link", "set", "up0", "up")
        for host in ("h1", "h2"):
            made.start_agent(host, "--as-number", "64512")
        yield made


def muslin(place: Site, *words: str) -> tuple[int, str]:
    """(exit code, what was said)."""
    done = subprocess.run([MUSLIN, *words], capture_output=True, text=True, check=False, timeout=60,
                          env={**os.environ, "MUSLIN_SERVER": f"unix:{place.run / 'server.sock'}"})
    return done.returncode, done.stdout + done.stderr


COMPOSE = """
version: "2.4"
networks: {shop: {external: true}}
services:
  db:
    image: bb:1
    command: ["/bin/sleep", "600"]
    networks: {shop: {aliases: [database]}}
"""


def networks(host: Docker) -> set[str]:
    return set(host("network", "ls", "--filter", "driver=muslin", "--format", "{{.Name}}").split())


def test_a_network_on_every_host_by_one_command(place: Site, tmp_path: Path) -> None:
    with ExitStack() as stack:
        one = stack.enter_context(docker(place, "h1"))
        code, said = muslin(place, "docker", "network", "create", "shop", "--subnet", "10.65.0.0/17")
        assert (code, said) == (0, "dockernetwork shop created\nh1: made\n")
        assert networks(one) == {"shop"}
        web = one.container("web", "--network", "shop")

        two = stack.enter_context(docker(place, "h2"))
        wait_for("the network on a host that joined later", lambda: networks(two) == {"shop"}, 20)
        (tmp_path / "docker-compose.yaml").write_text(COMPOSE)
        compose(two, tmp_path, "up", "-d")
        for name in ("db", "database", "shop_db_1"):
            wait_for(f"name and way of {name}", lambda name=name: one.say(web, "ping", "-4", "-c1", "-W1", name), 30)
        wait_for("both in the list", lambda: "2/2" in muslin(place, "docker", "network", "ls")[1], 20)
        assert "10.65.0.0/17" in muslin(place, "get", "dockernetworks")[1]

        _a_host_that_has_another(place, two)
        _one_that_is_down(place, one, two)

        code, said = muslin(place, "docker", "network", "rm", "shop")
        assert code == 1
        assert "h1: docker network shop cannot go: web of this host is in it" in said
        assert "disconnect" in muslin(place, "status")[1]
        one("rm", "-f", web)
        compose(two, tmp_path, "down", "-t", "0")
        wait_for("the network's end", lambda: not networks(one) | networks(two), 20)


def _a_host_that_has_another(place: Site, two: Docker) -> None:
    two("network", "create", "-d", "muslin", "--ipam-driver", "muslin", "--subnet", "10.65.200.0/24", "clash")
    code, said = muslin(place, "docker", "network", "create", "clash", "--subnet", "10.65.201.0/24")
    assert code == 1
    assert "h1: made" in said
    assert "h2: docker network clash is there already with subnets 10.65.200.0/24 instead of 10.65.201.0/24" in said
    two("network", "rm", "clash")
    wait_for("the network", lambda: "clash" in networks(two), 20)
    code, said = muslin(place, "docker", "network", "rm", "clash")
    assert (code, said) == (0, "dockernetwork clash deleted\nh1: removed\nh2: removed\n")


def _one_that_is_down(place: Site, one: Docker, two: Docker) -> None:
    two.stop()
    code, said = muslin(place, "docker", "network", "create", "late", "--internal", "-o", "policy=open")
    assert code == 1
    assert "h2: dockerd does not answer" in said
    two.start()
    wait_for("what was missed", lambda: "late" in networks(two), 30)
    assert two.inspect("late")["Internal"]
    one("network", "rm", "late")
    wait_for("what somebody took away", lambda: "late" in networks(one), 45)
    assert muslin(place, "docker", "network", "rm", "late")[0] == 0


@pytest.mark.parametrize(("words", "says"), [
    (("--subnet", "10.65.8.0/24", "--subnet", "10.65.9.0/24"), "one of each family"),
    (("--subnet", "fd00:65::/112"), "no subnet of IPv4"),
    (("--subnet", "10.65.8.1/24"), "10.65.8.0/24"),
    (("--subnet", "10.65.8.0"), "10.65.8.0"),
    (("-o", "colour=blue"), "policy and mtu"),
    (("-o", "policy=maybe"), "same-network"),
])
def test_what_cannot_be_is_refused_at_the_command(place: Site, words: tuple[str, ...], says: str) -> None:
    code, said = muslin(place, "docker", "network", "create", "bad", *words)
    assert code != 0
    assert says in said, said
