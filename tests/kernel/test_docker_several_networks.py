"""Containers in several networks of a real dockerd: which way leads where, and where published ports lead."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from agentrig import V3, Site, site
from dockerrig import Docker, Failed, asking, docker, install, page
from netrig import in_ns, namespace, run, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SERVER = ("bb:1", "/bin/sh", "-c", "/bin/echo hello >/page; exec /bin/httpd -f -p 80 -h /")


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


@pytest.fixture(scope="module")
def outside(place: Site) -> Iterator[str]:
    """Somebody beyond the host's uplink; the host is 192.0.2.1 there."""
    with namespace("out") as space:
        host = place.space("h1")
        run("ip", "link", "add", "up0", "netns", host, "type", "veth", "peer", "name", "up0", "netns", space)
        for number, where in ((1, host), (2, space)):
            run("ip", "-n", where, "addr", "add", f"192.0.2.{number}/24", "dev", "up0")
            run("ip", "-n", where, "link", "set", "up0", "up")
        yield space


def network(host: Docker, name: str, *words: str) -> None:
    host("network", "create", "-d", "muslin", "--ipam-driver", "muslin", *words, name)


def two_networks(host: Docker) -> None:
    network(host, "one", "--ipv6", "--subnet", "10.65.8.0/24", "--subnet", "fd00:65::8:0/112")
    network(host, "two", "--ipv6", "--subnet", "10.65.9.0/24", "--subnet", "fd00:65::9:0/112")


def six(host: Docker, name: str, network: str) -> str:
    return str(host.inspect(name)["NetworkSettings"]["Networks"][network]["GlobalIPv6Address"])


def serves(outside: str, port: int) -> bool:
    said = in_ns(outside, "busybox", "sh", "-c", asking("192.0.2.1", port, "busybox nc"), check=False)
    return page(said) == "hello"


def published(place: Site) -> list[tuple[str, str]]:
    """(port of the container, port of the host)"""
    return sorted((line.split()[1], line.split()[-1].rpartition(":")[2])
                  for line in install(place, "h1", "port").splitlines()[1:])


@pytest.mark.usefixtures("clean")
def test_both_families_lead_to_each_network_on_its_own_link(host: Docker) -> None:
    two_networks(host)
    first, second = host.container("c1", "--network", "one"), host.container("c2", "--network", "two")
    both = host.container("both", "--network", "one")

    def reach(there: bool) -> None:
        wait_for("the link of the second", lambda: host.ping(both, six(host, second, "two")))
        assert host.ping(second, six(host, both, "two"))
        if there:
            wait_for("the link of the first", lambda: host.ping(both, six(host, first, "one")))
        else:
            assert not host.ping(both, six(host, first, "one"))

    host("network", "connect", "two", both)
    reach(there=True)
    assert host.ping(first, six(host, both, "one"))
    host("network", "disconnect", "one", both)
    reach(there=False)
    host("network", "connect", "one", both)
    reach(there=True)
    host("restart", "-t", "0", both)
    reach(there=True)


@pytest.mark.usefixtures("clean")
def test_the_way_out_does_not_depend_on_when_the_link_is_ready(host: Docker) -> None:
    """dockerd looks for the link of the IPv6 gateway at once; the kernel knows link-local ways a moment later."""
    two_networks(host)
    for number in range(8):
        host.container(f"many{number}", "--network", "one")
        host("network", "disconnect", "one", f"many{number}")
        host("network", "connect", "two", f"many{number}")


@pytest.mark.usefixtures("clean")
def test_published_ports_follow_the_network_that_leads_outside(place: Site, host: Docker, outside: str) -> None:
    """dockerd hands them to every network that the container is in."""
    two_networks(host)
    host("run", "-d", "--name", "web", "--network", "one", "-p", "8080:80", "-p", "81", *SERVER)
    shown = [("80/tcp", "8080"), ("81/tcp", "49153")]
    wait_for("the port", lambda: serves(outside, 8080))
    for verb, name in (("connect", "two"), ("disconnect", "one"), ("connect", "one"), ("disconnect", "two")):
        host("network", verb, name, "web")
        assert serves(outside, 8080), (verb, name)
        assert published(place) == shown, (verb, name)
    with pytest.raises(Failed, match="8080/tcp of this host is published"):
        host.container("other", "--network", "two", "-p", "8080:90")
    host("stop", "-t", "0", "web")
    assert published(place) == []
    assert not serves(outside, 8080)
    host("rm", "-f", "other")
    host.container("third", "--network", "two", "-p", "8080:90")
    with pytest.raises(Failed, match="8080/tcp of this host is published"):
        host("start", "web")
    host("rm", "-f", "third")
    host("start", "web")
    wait_for("the port again", lambda: serves(outside, 8080))


@pytest.mark.usefixtures("clean")
def test_a_container_is_in_a_network_with_a_subnet_and_in_one_without(host: Docker) -> None:
    """The pools hold the subnet, too, and its blocks are this host's already."""
    network(host, "any")
    network(host, "sub", "--subnet", "10.65.8.0/24")
    peer, both = host.container("peer", "--network", "any"), host.container("both", "--network", "sub")
    host("network", "connect", "any", both)
    assert not host.address(both, "any").startswith("10.65.8.")
    assert host.ping(peer, host.address(both, "any"))
    host("restart", "-t", "0", both)
    assert host.ping(peer, host.address(both, "any"))


@pytest.mark.usefixtures("clean")
def test_networks_whose_subnets_overlap_have_no_container_in_common(host: Docker) -> None:
    network(host, "wide", "--subnet", "10.65.8.0/23")
    network(host, "narrow", "--subnet", "10.65.8.0/24")
    both = host.container("both", "--network", "wide")
    with pytest.raises(Failed, match="give networks that have containers in common subnets that lie apart"):
        host("network", "connect", "narrow", both)
    other = host.container("other", "--network", "wide")
    assert host.ping(both, host.address(other, "wide"))
    third = host.container("third", "--network", "narrow", "--ip", "10.65.8.3")
    with pytest.raises(Failed, match="give networks that have containers in common subnets that lie apart"):
        host("network", "connect", "--ip", "10.65.9.5", "wide", third)


@pytest.mark.parametrize(("words", "says"), [
    (("-p", "192.0.2.77:8080:80"), r"192\.0\.2\.77 is no address of this host"),
    (("-p", "[fd00:99::77]:8080:80"), "is no address of this host"),
    (("--ip", "10.65.8.9"), r"10\.65\.8\.9 is in use by container holder of this host"),
    (("--mac-address", "01:00:5e:00:00:01"), "multicast"),
])
@pytest.mark.usefixtures("clean")
def test_what_a_container_cannot_have_is_told_in_words(
    place: Site, host: Docker, words: tuple[str, ...], says: str
) -> None:
    network(host, "one", "--subnet", "10.65.8.0/24")
    host.container("holder", "--network", "one", "--ip", "10.65.8.9")
    with pytest.raises(Failed, match=says):
        host.container("never", "--network", "one", *words)
    assert len([link for link in run("ip", "-n", place.space("h1"), "-br", "link").splitlines()
                if link.startswith(("mus", "dtmp"))]) == 1, "the holder's"


@pytest.mark.usefixtures("clean")
def test_a_network_with_a_long_name_works_and_leaves_nothing(place: Site, host: Docker) -> None:
    name = "n" * 120
    network(host, name, "--subnet", "10.65.8.0/24")
    one, two = (host.container(each, "--network", name) for each in ("c1", "c2"))
    assert host.ping(one, host.address(two, name))
    host("rm", "-f", one, two)
    host.remove(name)
    assert [each["metadata"]["name"] for each in place.api.get(f"{V3}/profiles")["items"]
            if each["metadata"]["name"].startswith("docker.")] == []


@pytest.mark.usefixtures("clean")
def test_a_network_that_was_removed_while_no_agent_ran_leaves_neither_profile_nor_gateway(
    place: Site, host: Docker
) -> None:
    def profiles() -> list[str]:
        names = [each["metadata"]["name"] for each in place.api.get(f"{V3}/profiles")["items"]]
        return [name for name in names if name.startswith("docker.")]

    network(host, "gone", "--subnet", "10.65.8.0/24")
    host("rm", "-f", host.container("c1", "--network", "gone"))
    assert profiles() == ["docker.gone"]
    place.signal("agent-h1", signal.SIGKILL)
    try:
        host.remove("gone")
    finally:
        place.start_agent("h1")
    wait_for("the end of its Profile", lambda: profiles() == [], 30)

    def next_gateway() -> str:
        network(host, "next", "--subnet", "10.65.8.0/24")
        host.container("c2", "--network", "next")
        found = str(host.inspect("c2")["NetworkSettings"]["Networks"]["next"]["Gateway"])
        host("rm", "-f", "c2")
        host.remove("next")
        return found

    wait_for("its gateway", lambda: next_gateway() == "169.254.1.1", 30)


def used(place: Site) -> int:
    """Addresses of all pools."""
    return sum(int(pool["used"]) for pool in place.api.get("/muslin/v1/addresses")["pools"])


@pytest.mark.usefixtures("clean")
def test_a_container_that_starts_again_has_its_addresses_again(place: Site, host: Docker) -> None:
    two_networks(host)
    names = ("c1", "c2", "c3")
    for name in names:
        host.container(name, "--network", "one")
        host("network", "connect", "two", name)

    def addresses(name: str) -> list[str]:
        found = host.inspect(name)["NetworkSettings"]["Networks"]
        return [found[net][field] for net in ("one", "two") for field in ("IPAddress", "GlobalIPv6Address")]

    before = {name: addresses(name) for name in names}
    host("stop", "-t", "0", *names)
    new = host.container("new", "--network", "one")
    assert host.address(new, "one") not in [each[0] for each in before.values()]
    for name in ("c2", "c1"):
        host("start", name)
        host("restart", "-t", "0", name)
        assert addresses(name) == before[name]
    wait_for("the link", lambda: host.ping("c1", before["c2"][2]))
    other = host.container("other", "--network", "one", "--ip", before["c3"][0])
    wait_for("who asks for one that is kept", lambda: host.ping("c1", host.address(other, "one")))
    host("start", "c3")
    assert addresses("c3")[1:] == before["c3"][1:]
    host("stop", "-t", "0", "c1")
    host("rm", "-f", *names, new, other)
    wait_for("the end of what was kept", lambda: used(place) == 0)


@pytest.mark.usefixtures("clean")
def test_addresses_of_stopped_containers_go_with_their_network(place: Site, host: Docker) -> None:
    two_networks(host)
    host.container("c1", "--network", "one")
    host("stop", "-t", "0", "c1")
    host("network", "rm", "one")
    assert used(place) == 0
