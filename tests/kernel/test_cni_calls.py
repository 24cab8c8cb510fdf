"""CNI, call by call: a real agent, a real server, the executable as runtimes start it, packets."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentrig import V3, Site, deny_to, ping, site
from cnirig import Failed, Runtime, endpoints, path
from netrig import in_ns, ip_json, namespace, wait_for

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture(scope="module")
def place() -> Iterator[Site]:
    with site() as made:
        made.start_agent("h1")
        yield made


@pytest.fixture
def runtime(place: Site) -> Runtime:
    return Runtime(place.run / "agents" / "h1.sock", place.state)


def bare(answer: dict[str, Any], family: int = 4) -> str:
    return next(ip["address"].partition("/")[0] for ip in answer["ips"] if (":" in ip["address"]) == (family == 6))


def test_add_answers_when_packets_pass_and_del_leaves_nothing(place: Site, runtime: Runtime) -> None:
    with namespace("a") as one, namespace("b") as two:
        first = runtime.call("ADD", "c1", path(one))
        second = runtime.call("ADD", "c2", path(two))

        assert ping(one, bare(second)), "the first packet passes"
        assert ping(one, bare(second, 6))
        host, inner = first["interfaces"]
        assert (inner["name"], inner["sandbox"]) == ("eth0", path(one))
        assert ip_json(one, "link", "show", "eth0")[0]["address"] == inner["mac"]
        assert {ip["interface"] for ip in first["ips"]} == {1}
        assert in_ns(place.space("h1"), "ip", "-br", "link", "show", host["name"])
        runtime.call("CHECK", "c1", path(one), prevResult=first)

        for container, space in (("c1", one), ("c2", two)):
            assert runtime.call("DEL", container, path(space), prevResult=first) is None
            assert runtime.call("DEL", container, path(space)) is None, "again is fine"
            assert {link["ifname"] for link in ip_json(space, "link", "show")} == {"lo"}
    assert endpoints(place) == []


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_each_version_gets_its_own_form_of_result(runtime: Runtime, version: str) -> None:
    with namespace("v") as space:
        answer = runtime.call("ADD", "ver", path(space), cniVersion=version)
        runtime.call("DEL", "ver", path(space), cniVersion=version)
    assert answer["cniVersion"] == version
    assert all(("version" in ip) == version.startswith("0.") for ip in answer["ips"])


def test_add_twice_is_one_attachment(place: Site, runtime: Runtime) -> None:
    with namespace("t") as space:
        first, again = (runtime.call("ADD", "twice", path(space)) for _ in range(2))
        assert first == again
        assert len(endpoints(place)) == 1
        runtime.call("DEL", "twice", path(space))


def test_del_without_namespace_or_anything_else_succeeds(place: Site, runtime: Runtime) -> None:
    with namespace("g") as space:
        runtime.call("ADD", "gone", path(space))
    assert runtime.call("DEL", "gone", "") is None
    assert runtime.call("DEL", "never", "/proc/1/ns/nothing") is None
    assert endpoints(place) == []


def test_policy_holds_from_the_first_packet(place: Site, runtime: Runtime) -> None:
    place.declare(deny_to("no-red", "colour == 'blue'", source={"selector": "colour == 'red'"}))
    with namespace("r") as red, namespace("l") as blue:
        runtime.call("ADD", "red", path(red), labels={"colour": "red"})
        answer = runtime.call("ADD", "blue", path(blue), labels={"colour": "blue"})
        assert not ping(red, bare(answer))
        place.api.delete(f"{V3}/globalnetworkpolicies/no-red")
        wait_for("the policy's end", lambda: ping(red, bare(answer)))
        for container in ("red", "blue"):
            runtime.call("DEL", container)


def test_addresses_and_mac_as_asked_for(runtime: Runtime) -> None:
    with namespace("i") as space:
        answer = runtime.call("ADD", "asked", path(space),
                              runtimeConfig={"ips": ["10.65.7.7/24", "fd00:65::77"], "mac": "02:00:00:00:07:07"})
        assert [ip["address"] for ip in answer["ips"]] == ["10.65.7.7/32", "fd00:65::77/128"]
        assert answer["interfaces"][1]["mac"] == "02:00:00:00:07:07"
        with namespace("j") as other:
            with pytest.raises(Failed, match=r"10\.65\.7\.7") as taken:
                runtime.call("ADD", "other", path(other), args="IP=10.65.7.7;IgnoreUnknown=1")
            assert taken.value.code == 100
            assert {link["ifname"] for link in ip_json(other, "link", "show")} == {"lo"}, "nothing is left of it"
        runtime.call("DEL", "asked", path(space))


def test_a_pod_belongs_to_its_newest_container(place: Site, runtime: Runtime) -> None:
    args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_UID=u"
    with namespace("o") as old, namespace("n") as new:
        before = runtime.call("ADD", "sandbox1", path(old), args=args)
        after = runtime.call("ADD", "sandbox2", path(new), args=args)
        assert before["ips"] == after["ips"]
        runtime.call("DEL", "sandbox1", path(old), args=args)
        [endpoint] = endpoints(place)
        assert (endpoint["metadata"]["namespace"], endpoint["spec"]["pod"]) == ("shop", "web-0")
        assert endpoint["spec"]["orchestrator"] == "k8s"
        runtime.call("CHECK", "sandbox2", path(new), args=args, prevResult=after)
        with pytest.raises(Failed) as unknown:
            runtime.call("CHECK", "sandbox1", path(old), args=args)
        assert unknown.value.code == 3
        runtime.call("DEL", "sandbox2", "", args="")
    assert endpoints(place) == [], "a DEL that does not name the pod finds it by its container"


def test_gc_removes_what_the_runtime_does_not_know(place: Site, runtime: Runtime) -> None:
    with namespace("k") as kept, namespace("l") as lost, namespace("m") as foreign:
        runtime.call("ADD", "kept", path(kept))
        runtime.call("ADD", "Lost_1", path(lost))
        runtime.call("ADD", "foreign", path(foreign), name="another")
        runtime.call("GC", cniVersion="1.1.0",
                     **{"cni.dev/valid-attachments": [{"containerID": "kept", "ifname": "eth0"}]})
        left = {one["metadata"]["annotations"]["muslin.dev/container-id"] for one in endpoints(place)}
        assert left == {"kept", "foreign"}
        for container, name in (("kept", "net"), ("foreign", "another")):
            runtime.call("DEL", container, name=name)


@pytest.mark.parametrize(("attachments", "kept"), [
    ({"cni.dev/valid-attachments": None}, []),
    ({"cni.dev/attachments": [{"containerID": "one", "ifname": "eth0"}]}, ["one"]),
    ({"cni.dev/valid-attachments": [{"containerID": "two", "ifname": "eth0"}], "cni.dev/attachments": []}, ["two"]),
])
def test_gc_reads_the_list_as_other_runtimes_write_it(
    place: Site, runtime: Runtime, attachments: dict[str, Any], kept: list[str]
) -> None:
    """Go's empty list is null, and the specification once named it otherwise than libcni."""
    with namespace("q") as one, namespace("r") as two:
        runtime.call("ADD", "one", path(one), cniVersion="1.1.0")
        runtime.call("ADD", "two", path(two), cniVersion="1.1.0")
        runtime.call("GC", cniVersion="1.1.0", **attachments)
        assert [endpoint["spec"]["containerID"] for endpoint in endpoints(place)] == kept
        runtime.call("GC", cniVersion="1.1.0", **{"cni.dev/valid-attachments": []})
        assert endpoints(place) == []
        runtime.call("ADD", "one", path(one), cniVersion="1.1.0")
        for wrong in ({}, {"cni.dev/valid-attachments": {}}, {"cni.dev/valid-attachments": ""},
                      {"cni.dev/attachments": [{"containerID": "one"}]}):
            with pytest.raises(Failed) as refused:
                runtime.call("GC", cniVersion="1.1.0", **wrong)
            assert refused.value.code == 7
        assert [endpoint["spec"]["containerID"] for endpoint in endpoints(place)] == ["one"]
        runtime.call("DEL", "one", path(one))


def test_without_an_agent_del_succeeds_and_is_done_later(place: Site, runtime: Runtime) -> None:
    with namespace("d") as space, namespace("e") as back:
        runtime.call("ADD", "later", path(space))
        runtime.call("ADD", "back", path(back))
        place.signal("agent-h1", signal.SIGKILL)
        for command, code in (("ADD", 11), ("STATUS", 50), ("CHECK", 11)):
            with pytest.raises(Failed) as refused:
                runtime.call(command, "x", path(space), cniVersion="1.1.0")
            assert refused.value.code == code
        assert runtime.call("DEL", "later", path(space)) is None
        assert runtime.call("DEL", "back", path(back)) is None
        assert len(endpoints(place)) == 2
        place.start_agent("h1")
        wait_for("the end of both", lambda: endpoints(place) == [], 30)
        wait_for("the link's end", lambda: {link["ifname"] for link in ip_json(space, "link", "show")} == {"lo"}, 30)
        wait_for("nothing put aside", lambda: not [*Path(place.state, "cni-pending", "h1").iterdir()])
    assert runtime.call("STATUS", cniVersion="1.1.0") is None


def test_without_a_server_del_succeeds_and_is_done_later(place: Site, runtime: Runtime) -> None:
    with namespace("d") as space:
        runtime.call("ADD", "late", path(space))
        place.signal("server", signal.SIGKILL)
        assert runtime.call("DEL", "late", path(space)) is None
        with pytest.raises(Failed) as refused:
            runtime.call("STATUS", cniVersion="1.1.0")
        assert refused.value.code == 50
        place.start_server()
        wait_for("its end", lambda: endpoints(place) == [], 30)
        wait_for("its link's end", lambda: {link["ifname"] for link in ip_json(space, "link", "show")} == {"lo"}, 30)
        wait_for("the agent", lambda: place.report("h1").get("in_sync"), 30)


@pytest.mark.parametrize(("words", "code", "says"), [
    ({"text": "{"}, 6, "not JSON"),
    ({"text": "[]"}, 6, "not a JSON object"),
    ({"cniVersion": "9.9.9"}, 1, "9.9.9"),
    ({"cniVersion": "0.3.1", "command": "CHECK"}, 1, "0.4.0"),
    ({"name": ""}, 7, "name"),
    ({"name": 7}, 7, "name"),
    ({"mtu": "big"}, 7, "mtu"),
    ({"ipam": []}, 7, "ipam"),
    ({"ipam": {"type": "no-such-plugin"}}, 7, "no-such-plugin"),
    ({"runtimeConfig": {"ips": ["10.65.0.300"]}}, 7, "runtimeConfig.ips"),
    ({"container": ""}, 4, "CNI_CONTAINERID"),
    ({"container": "../x"}, 4, "CNI_CONTAINERID"),
    ({"interface": "a/b"}, 4, "CNI_IFNAME"),
    ({"interface": "x" * 16}, 4, "CNI_IFNAME"),
    ({"interface": "ü" * 8}, 4, "15 bytes"),
    ({"interface": "eth%d"}, 4, "CNI_IFNAME"),
    ({"text": ""}, 6, "not JSON"),
    ({"text": "null"}, 6, "it is null"),
    ({"text": "[" * 100_000}, 6, "not JSON"),
    ({"text": '{"cniVersion": "1.0.0", "name": "\udcff"}'}, 6, "not JSON"),
    ({"text": '{"cniVersion": "1.0.0", "name": "x'}, 6, "not JSON"),
    ({"text": '{"agentSocket":"'}, 6, "not JSON"),
    ({"agentSocket": 7}, 7, "agentSocket"),
    ({"ipam": {"type": "../evil"}}, 7, "ipam"),
    ({"ipam": {"type": "host-local", "subnet": "usePodCidr"}}, 2, "usePodCidr"),
    ({"ipam": {"routes": [{"dst": "10.0.0.0/8"}]}}, 2, "10.0.0.0/8"),
    ({"ipam": {"assign_ipv4": "perhaps"}}, 7, "assign_ipv4"),
    ({"dataplane_options": {"type": "grpc"}}, 2, "grpc"),
    ({"annotate": {"cni.projectcalico.org/floatingIPs": '["10.65.3.3"]'}}, 7, "floating_ips"),
    ({"annotate": {"cni.projectcalico.org/ipAddrsNoIpam": '["10.65.3.3"]'}}, 7, "ip_addrs_no_ipam"),
    ({"annotate": {"cni.projectcalico.org/ipAddrs": "10.65.3.3"}}, 7, "ipAddrs"),
    ({"annotate": {"cni.projectcalico.org/ipAddrs": '["10.65.3.3"]',
                   "cni.projectcalico.org/ipAddrsNoIpam": '["10.65.3.3"]'},
      "feature_control": {"ip_addrs_no_ipam": True}}, 7, "exclude each other"),
    ({"annotate": {"cni.projectcalico.org/ipv4pools": '["nowhere"]'}}, 100, "nowhere"),
    ({"annotate": {"kubernetes.io/egress-bandwidth": "much"}}, 7, "egress-bandwidth"),
    ({"netns": ""}, 4, "CNI_NETNS"),
    ({"netns": "/nowhere"}, 100, "/nowhere"),
    ({"args": "nonsense"}, 4, "CNI_ARGS"),
    ({"args": "WHO=me"}, 4, "WHO"),
    ({"command": "FLY"}, 4, "FLY"),
])
def test_bad_calls_are_refused_and_leave_nothing(
    place: Site, runtime: Runtime, words: dict[str, Any], code: int, says: str
) -> None:
    with namespace("x") as space:
        given = {"command": "ADD", "container": "bad", "netns": path(space)} | words
        if notes := given.pop("annotate", None):
            given["runtimeConfig"] = {"io.kubernetes.cri.pod-annotations": notes}
        with pytest.raises(Failed) as refused:
            runtime.call(**given)
        assert refused.value.code == code
        assert says in str(refused.value)
        assert refused.value.answer["cniVersion"]
        assert {link["ifname"] for link in ip_json(space, "link", "show")} == {"lo"}
    assert endpoints(place) == []


def test_the_executable_itself_costs_little(runtime: Runtime) -> None:
    """Of the processor, not of the clock: others may be using it. 8 ms when nobody is."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        runtime.call("STATUS", cniVersion="1.1.0")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) < 0.04


@pytest.mark.parametrize("order", [sorted, reversed])
def test_fields_in_any_order_find_the_agent(runtime: Runtime, order: Callable[[Any], Iterable[str]]) -> None:
    """First or not: the executable guesses only what libcni would have written, the rest is read with care."""
    config = runtime.config | {"cniVersion": "1.1.0"}
    text = json.dumps({key: config[key] for key in order(config)})
    assert runtime.call("STATUS", text=text) is None


def test_an_annotation_cannot_name_the_agent(runtime: Runtime) -> None:
    notes = {"agentSocket": "/nowhere", "nodename": "elsewhere"}
    config = json.dumps(runtime.config | {"runtimeConfig": {"io.kubernetes.cri.pod-annotations": notes}, "args": notes,
                                          "cniVersion": "1.1.0"}, sort_keys=True, separators=(",", ":"))
    without = config.replace(f'"agentSocket":"{runtime.config["agentSocket"]}",', "")
    assert without.startswith('{"args":{"agentSocket"')
    assert runtime.call("STATUS", text=config) is None
    with pytest.raises(Failed) as unknown:
        runtime.call("STATUS", text=without)
    assert "/nowhere" not in str(unknown.value)
