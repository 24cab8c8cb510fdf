"""Two hosts, a real dockerd on each, BGP between them: one network of containers. And compose, as people use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentrig import V3, Site, site
from dockerrig import Docker, compose, docker
from netrig import run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


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
        yield place, *(stack.enter_context(docker(place, host)) for host in ("h1", "h2"))


def test_a_network_of_the_same_name_on_two_hosts_is_one(hosts: tuple[Site, Docker, Docker]) -> None:
    place, one, two = hosts
    for host in (one, two):
        host("network", "create", "-d", "muslin", "--ipam-driver", "muslin", "--subnet", "10.65.0.0/17", "blue")
        host("network", "create", "-d", "muslin", "--ipam-driver", "muslin", "--subnet", "10.65.128.0/17",
             "-o", "net=green", "other" if host is one else "more")
    web, database = one.container("web", "--network", "blue"), two.container("db", "--network", "blue")
    address = two.address(database, "blue")
    wait_for("the way between the hosts", lambda: one.ping(web, address), 30)
    assert two.ping(database, one.address(web, "blue"))

    green, away = one.container("g1", "--network", "other"), two.container("g2", "--network", "more")
    wait_for("the way between the hosts", lambda: one.ping(green, two.address(away, "more")), 30)
    assert not one.ping(green, address)
    assert not two.ping(away, one.address(web, "blue"))
    profiles = {each["metadata"]["name"] for each in place.api.get(f"{V3}/profiles")["items"]}
    assert {"docker.blue", "docker.green"} <= profiles
    for host in (one, two):
        host.clear()
    profiles = {each["metadata"]["name"] for each in place.api.get(f"{V3}/profiles")["items"]}
    assert not {"docker.blue", "docker.green"} & profiles


COMPOSE = """
version: "2.4"
networks:
  back:
    driver: muslin
    driver_opts: {policy: same-network}
    labels: {tier: back}
    ipam: {driver: muslin, config: [{subnet: 10.65.20.0/24}]}
services:
  db:
    image: bb:1
    command: ["/bin/sleep", "600"]
    labels: {role: db}
    networks: {back: {ipv4_address: 10.65.20.20, aliases: [database]}}
  web:
    image: bb:1
    command: ["/bin/sleep", "600"]
    networks: [back]
"""


def test_compose_files_just_work(hosts: tuple[Site, Docker, Docker], tmp_path: Path) -> None:
    place, host, _ = hosts
    (tmp_path / "docker-compose.yaml").write_text(COMPOSE)
    compose(host, tmp_path, "up", "-d")
    try:
        web, database = "shop_web_1", "shop_db_1"
        assert host.inspect(database)["NetworkSettings"]["Networks"]["shop_back"]["IPAddress"] == "10.65.20.20"
        assert host.ping(web, "10.65.20.20")
        assert host.ping(web, "database"), "by its alias"
        labels = {each["metadata"]["labels"]["docker.name"]: each["metadata"]["labels"]
                  for each in place.api.get(f"{V3}/workloadendpoints")["items"]}
        assert labels["shop_db_1"]["role"] == "db"
        assert labels["shop_db_1"]["com.docker.compose.service"] == "db"
        assert labels["shop_web_1"]["com.docker.compose.project"] == "shop"
        assert labels["shop_web_1"]["docker.network"] == "shop-back"
    finally:
        compose(host, tmp_path, "down", "-t", "0")
    assert place.api.get(f"{V3}/workloadendpoints")["items"] == []
