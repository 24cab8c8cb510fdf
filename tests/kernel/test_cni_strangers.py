"""CNI as strangers use it: configurations that were edited since ADD, odd values, results that were meddled with."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentrig import Site, site
from cnirig import Failed, Runtime, endpoints, path, written
from netrig import ip_json, namespace, run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

STOCK = "/usr/lib/cni"


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as made:
        made.start_agent("h1")
        yield made


@pytest.fixture
def runtime(place: Site) -> Runtime:
    return Runtime(place.run / "agents" / "h1.sock", place.state, cniVersion="1.1.0")


@pytest.fixture
def space() -> Iterator[str]:
    with namespace("s") as name:
        yield name


def addresses(answer: dict[str, Any]) -> list[str]:
    return [ip["address"] for ip in answer["ips"]]


def put_aside(place: Site) -> list[Path]:
    return list((place.state / "cni-pending").rglob("*.call"))


EDITED: tuple[dict[str, Any], ...] = (
    {"mtu": "1400"}, {"mtu": -1}, {"ipam": "none"}, {"labels": ["a"]}, {"dns": "8.8.8.8"}, {"kubernetes": 5},
    {"runtimeConfig": {"portMappings": [{"hostPort": "80"}]}}, {"name": "no name"}, {"prevResult": "gone"},
    {"runtimeConfig": {"ips": "x"}}, {"dataplane_options": {"type": "grpc"}}, {"ipam": {"type": "../evil"}},
    {"ipam": {"type": "dhcp"}}, {"ipam": {"routes": [{"dst": "10.0.0.0/8"}]}},
)


@pytest.mark.parametrize("edited", EDITED, ids=json.dumps)
def test_del_succeeds_with_a_configuration_that_add_would_refuse(
    place: Site, runtime: Runtime, space: str, edited: dict[str, Any]
) -> None:
    """Somebody edited it meanwhile, and containers must go all the same."""
    runtime.call("ADD", "edited", path(space))
    with pytest.raises(Failed):
        runtime.call("ADD", "another", path(space), interface="eth7", text=json.dumps(runtime.config | edited))
    assert runtime.call("DEL", "edited", path(space), text=json.dumps(runtime.config | edited)) is None
    assert endpoints(place) == []
    runtime.call("ADD", "edited", path(space))
    assert runtime.call("DEL", "edited", path(space), text=written(runtime.config | edited)) is None
    assert endpoints(place) == []


def test_an_edited_configuration_still_gives_another_plugins_address_back(
    runtime: Runtime, space: str, tmp_path: Path
) -> None:
    ipam = {"type": "host-local", "dataDir": str(tmp_path), "ranges": [[{"subnet": "10.77.0.0/24"}]]}
    words = {"ipam": ipam, "cni_path": STOCK, "cniVersion": "1.0.0"}
    runtime.call("ADD", "edited", path(space), **words)
    runtime.call("DEL", "edited", path(space), labels=["a"], **words)
    assert not [file for file in (tmp_path / "net").iterdir() if file.name.startswith("10.")]


@pytest.mark.parametrize("words", [
    {"args": "WHO=me"}, {"args": "nonsense"}, {"namespace": "UP_per"},
    {"args": "K8S_POD_NAME=No_Name;K8S_POD_NAMESPACE=shop"},
])
def test_del_of_what_can_never_have_been_added_is_over_at_once(
    place: Site, runtime: Runtime, space: str, words: dict[str, Any]
) -> None:
    """Nothing is put aside: it would be tried for ever."""
    with pytest.raises(Failed):
        runtime.call("ADD", "never", path(space), **words)
    assert runtime.call("DEL", "never", path(space), **words) is None
    assert put_aside(place) == []


def test_what_was_put_aside_and_cannot_be_is_let_go(place: Site, runtime: Runtime, space: str) -> None:
    place.signal("agent-h1", signal.SIGKILL)
    try:
        runtime.call("DEL", "never", path(space), namespace="UP_per")
        runtime.call("DEL", "never", path(space), mtu="wide")
        runtime.call("DEL", "never", path(space), ipam={"type": "dhcp"})
        assert len(put_aside(place)) == 3
    finally:
        place.start_agent("h1")
    wait_for("the end of them", lambda: not put_aside(place), 30)


@pytest.mark.parametrize(("words", "code", "says"), [
    ({"mtu": -1}, 7, "mtu"),
    ({"mtu": 65536}, 7, "mtu"),
    ({"mtu": 1279}, 100, "1280 to 65535"),
    ({"dns": {"nameservers": "8.8.8.8"}}, 7, "dns.nameservers"),
    ({"dns": {"search": [1]}}, 7, "dns.search"),
    ({"ipam": {"assign_ipv4": "false", "assign_ipv6": False}}, 7, "both false"),
    ({"ipam": {"type": "dhcp"}}, 2, "dhcp"),
    ({"runtimeConfig": {"mac": "01:00:5e:00:00:01"}}, 100, "multicast"),
    ({"runtimeConfig": {"mac": "00:00:00:00:00:00"}}, 100, "zero"),
    ({"args": "IP=10.65.0.3,nowhere"}, 7, "CNI_ARGS IP"),
    ({"filler": "x" * (17 << 20)}, 7, "16 MiB"),
])
def test_odd_values_are_refused_with_the_reason_and_leave_nothing(
    place: Site, runtime: Runtime, space: str, words: dict[str, Any], code: int, says: str
) -> None:
    with pytest.raises(Failed) as refused:
        runtime.call("ADD", "odd", path(space), **words)
    assert refused.value.code == code
    assert says in str(refused.value)
    assert endpoints(place) == []
    assert {link["ifname"] for link in ip_json(place.space("h1"), "link", "show")} == {"lo"}
    assert {link["ifname"] for link in ip_json(space, "link", "show")} == {"lo"}


def test_a_large_configuration_is_read(place: Site, runtime: Runtime, space: str) -> None:
    answer = runtime.call("ADD", "large", path(space), filler="x" * (5 << 20))
    [endpoint] = endpoints(place)
    assert endpoint["spec"]["ipNetworks"] == addresses(answer)
    runtime.call("DEL", "large", path(space), filler="x" * (5 << 20))
    assert endpoints(place) == []


def test_a_pipe_in_a_namespaces_place_keeps_nobody_waiting(place: Site, runtime: Runtime, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Failed, match="is not a network namespace"):
        runtime.call("ADD", "odd", str(tmp_path / "pipe"))
    assert runtime.call("DEL", "odd", str(tmp_path / "pipe")) is None
    assert endpoints(place) == []


@pytest.mark.parametrize("meddle", [
    lambda result: result["interfaces"][1].update(mac="02:00:00:00:00:99"),
    lambda result: result["ips"][0].update(address="10.65.1.99/32"),
])
def test_check_compares_with_the_result_of_add(runtime: Runtime, space: str, meddle: Any) -> None:
    answer = runtime.call("ADD", "compared", path(space))
    meddled = copy.deepcopy(answer)
    meddle(meddled)
    try:
        runtime.call("CHECK", "compared", path(space), prevResult=answer)
        with pytest.raises(Failed) as differs:
            runtime.call("CHECK", "compared", path(space), prevResult=meddled)
        assert differs.value.code == 101
        for nonsense in ({"ips": "all"}, {"interfaces": [7]}, {"ips": [{}]}, None):
            with pytest.raises(Failed) as unreadable:
                runtime.call("CHECK", "compared", path(space), prevResult=nonsense)
            assert unreadable.value.code == 7
    finally:
        runtime.call("DEL", "compared", path(space))


def test_errors_name_the_namespace_as_the_caller_does(runtime: Runtime, space: str, tmp_path: Path) -> None:
    run("ip", "-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", "other")
    for netns in (path(space), str(tmp_path)):
        with pytest.raises(Failed) as refused:
            runtime.call("ADD", "named", netns)
        assert f"network namespace {netns}" in str(refused.value)
        assert "/proc/" not in str(refused.value).replace("a process's is /proc/PID/ns/net", "")
    assert {link["ifname"] for link in ip_json(space, "link", "show")} == {"lo", "eth0", "other"}


def test_pools_of_one_family_leave_the_other_where_it_is_asked_for(runtime: Runtime, space: str) -> None:
    for pool in ("four", "10.65.4.0/24"):
        for assign, count in ((None, 1), ("true", 2), ("false", 1)):
            ipam = {"ipv4_pools": [pool]} | ({"assign_ipv6": assign} if assign else {})
            answer = runtime.call("ADD", "families", path(space), ipam=ipam)
            runtime.call("DEL", "families", path(space))
            assert len(addresses(answer)) == count, (pool, assign)


def test_addresses_and_macs_in_the_spellings_of_others(runtime: Runtime, space: str) -> None:
    answer = runtime.call("ADD", "spelt", path(space), args="IP=10.65.0.50/24,fd00:65::50;MAC=02-AB-00-00-00-05")
    assert addresses(answer) == ["10.65.0.50/32", "fd00:65::50/128"]
    assert answer["interfaces"][1]["mac"] == "02:ab:00:00:00:05"
    runtime.call("DEL", "spelt", path(space))
    answer = runtime.call("ADD", "spelt", path(space), runtimeConfig={"ips": ["10.65.0.50", "10.65.0.50/16"]})
    assert addresses(answer) == ["10.65.0.50/32"]
    runtime.call("DEL", "spelt", path(space))
    static = {"type": "static"}
    answer = runtime.call("ADD", "spelt", path(space), cniVersion="1.0.0", ipam=static, cni_path=STOCK,
                          args="IP=10.65.0.51/24;GATEWAY=10.65.0.1")
    assert addresses(answer) == ["10.65.0.51/32"]
    runtime.call("DEL", "spelt", path(space), cniVersion="1.0.0", ipam=static, cni_path=STOCK,
                 args="IP=10.65.0.51/24;GATEWAY=10.65.0.1")


def test_dns_of_the_configuration_is_in_the_result(runtime: Runtime, space: str) -> None:
    dns = {"nameservers": ["10.0.0.53"], "search": ["a.example"], "domain": "b.example", "options": ["ndots:2"]}
    assert runtime.call("ADD", "dns", path(space), dns=dns)["dns"] == dns
    assert runtime.call("ADD", "dns", path(space), dns={"search": None})["dns"] == {}
    runtime.call("DEL", "dns", path(space))
