"""bird.conf as text: it says what was meant, and BIRD itself can read it.

What the text does is tested with real daemons in tests/kernel/test_bird_*.py. The goldens here show a reader what a
host's file looks like; after a change that is meant, `MUSLIN_GOLDEN=write pytest tests/render` writes them anew.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpwords import Cluster, bgp_filter, block, configuration, node, peer, pool, secret
from muslin.intent import BgpFilter, BgpFilterRule
from muslin.model.network import (
    FilterAddCommunity,
    FilterCommunities,
    FilterOperation,
    FilterPrefixLength,
    FilterPrependASPath,
    FilterRule,
    FilterSetPriority,
    PrefixAdvertisement,
)
from muslin.net import Cidr
from muslin.render.bird import conf
from muslin.render.bird_filters import functions, symbol

GOLDEN = Path(__file__).parent / "golden"


def assert_bird_reads(text: str, directory: Path) -> None:
    file = directory / "bird.conf"
    file.write_text(text)
    done = subprocess.run(["bird", "-p", "-c", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{text}"


MESH = Cluster(
    {"h1": node("10.0.0.1/24", "fd00::1/64"), "h2": node("10.0.0.2/24", "fd00::2/64"), "h3": node("10.0.0.3/24")},
    blocks=[block("10.65.0.0/26", "h1", {0: "h1"}), block("10.65.0.64/26", "h2", {1: "h1"}), block("fd65::/122", "h1")],
    pools=[pool("10.65.0.0/16"), pool("fd65::/112")],
)

EVERYTHING = Cluster(
    {
        "rr": node("10.0.0.9/24", "fd00::9/64", route_reflector_cluster_id="244.0.0.1", as_number="1.10"),
        "h1": node("10.0.0.1/24", "fd00::1/64", labels={"rack": "r1"}, as_number="1.10"),
    },
    configurations={
        "default": configuration(
            bind_mode="NodeIP", ignored_interfaces=("docker*", "vir*"), listen_port=1790, log_severity_screen="Debug",
            ipv4_normal_route_priority=2000, node_to_node_mesh_enabled=False,
            prefix_advertisements=(PrefixAdvertisement(cidr="10.65.0.0/16", communities=("64512:300", "1:2:3")),),
        )
    },
    peers={
        "clients": peer(node="rr", peer_selector="rack == 'r1'", filters=("tenants",)),
        "tor": peer(
            node="rr", peer_ip="10.9.0.1:1790", as_number=65001, local_as_number=65009, next_hop_mode="Self",
            max_restart_time="90s", keepalive_time="20s", num_allowed_local_as_numbers=2, ttl_security=3,
            reachable_by="10.0.0.254", password=secret("bgp", "tor"), filters=("tenants", "no-v6"),
        ),
        "tor6": peer(node="rr", peer_ip="fd09::1", as_number=65001, next_hop_mode="Keep", filters=("no-v6",)),
    },
    filters={
        "tenants": bgp_filter(
            import_v4=(
                FilterRule(cidr="10.0.0.0/8", match_operator="In", prefix_length=FilterPrefixLength(min=16, max=26),
                           action="Accept", operations=(
                               FilterOperation(add_community=FilterAddCommunity(value="1:2")),
                               FilterOperation(prepend_as_path=FilterPrependASPath(prefix=(65001, "1.1"))),
                               FilterOperation(set_priority=FilterSetPriority(value=512)))),
                FilterRule(action="Reject", peer_type="eBGP"),
            ),
            export_v4=(
                FilterRule(cidr="10.66.0.0/16", match_operator="NotIn", source="RemotePeers", interface="eth*",
                           communities=FilterCommunities(values=("1:2:3",)), as_path_prefix=(65001, 65002),
                           priority=512, action="Reject"),
            ),
        ),
        "no-v6": bgp_filter(export_v6=(FilterRule(action="Reject"),)),
    },
    blocks=[block("10.65.0.0/26", "rr"), block("10.66.0.0/26", "rr")],
    pools=[pool("10.65.0.0/16"), pool("10.66.0.0/16", disable_bgp_export=True), pool("fd65::/112")],
    secrets={("bgp", "tor"): "mum's \\ word"},
)


@pytest.mark.parametrize(("name", "cluster", "host"), [("mesh", MESH, "h1"), ("everything", EVERYTHING, "rr")])
def test_the_file_is_the_golden_one_and_bird_reads_it(name: str, cluster: Cluster, host: str, tmp_path: Path) -> None:
    text = conf(cluster.of(host), log="/run/muslin/bird/h/bird.log")
    golden = GOLDEN / f"bird-{name}.conf"
    if os.environ.get("MUSLIN_GOLDEN") == "write":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)

    assert text == golden.read_text()
    assert_bird_reads(text, tmp_path)


def test_a_host_of_one_family_says_nothing_of_the_other(tmp_path: Path) -> None:
    text = conf(Cluster({"a": node(v6="fd00::1/64"), "b": node(v6="fd00::2/64")}).of("a"))

    assert "ipv4 {" not in text
    assert_bird_reads(text, tmp_path)


@pytest.mark.parametrize("severity", ["", "Debug", "info", "Warning", "Error", "Fatal", "none"])
def test_every_severity_is_one_that_bird_knows(severity: str, tmp_path: Path) -> None:
    spoken = configuration(log_severity_screen=severity)
    cluster = Cluster({"a": node("10.0.0.1/24")}, configurations={"default": spoken})

    assert_bird_reads(conf(cluster.of("a"), log=str(tmp_path / "log")), tmp_path)


def test_long_and_strange_filter_names_stay_apart() -> None:
    """BIRD cuts symbols at 64 letters in silence; two filters must never become one."""
    names = ["x" * 100 + "a", "x" * 100 + "b", "a b", "a_b", "a.b-c"]
    symbols = {symbol("out", 4, name) for name in names}

    assert len(symbols) == len(names)
    assert all(len(each) <= 66 for each in symbols), "64 and the quotes"


def rules() -> st.SearchStrategy[BgpFilterRule]:
    numbers = st.integers(1, 4294967295)
    community = st.one_of(
        st.tuples(st.integers(0, 65535), st.integers(0, 65535)), st.tuples(*[st.integers(0, 4294967295)] * 3)
    ).map(lambda parts: ":".join(map(str, parts)))

    def made(action: str, cidr: tuple[str, str, tuple[int, int] | None] | None, **more: Any) -> BgpFilterRule:
        prefix, operator, lengths = cidr or (None, "", None)
        if action == "Reject":
            more |= {"add_communities": (), "prepend_as_path": (), "set_priority": None}
        return BgpFilterRule(version=4, action=action, cidr=None if prefix is None else Cidr(prefix),
                             match_operator=operator, prefix_length=lengths, **more)

    cidrs = st.tuples(
        st.sampled_from(["10.0.0.0/8", "0.0.0.0/0", "10.65.0.0/26", "10.65.0.1/32"]),
        st.sampled_from(["Equal", "NotEqual", "In", "NotIn"]),
        st.none() | st.tuples(st.just(32), st.just(32)),
    )
    return st.builds(
        made, st.sampled_from(["Accept", "Reject"]), st.none() | cidrs, source=st.sampled_from(["", "RemotePeers"]),
        interface=st.sampled_from(["", "eth0", "eth*", "*"]), peer_type=st.sampled_from(["", "eBGP", "iBGP"]),
        communities=st.lists(community, max_size=1).map(tuple), as_path_prefix=st.lists(numbers, max_size=3).map(tuple),
        priority=st.none() | st.integers(1, 2147483646), add_communities=st.lists(community, max_size=2).map(tuple),
        prepend_as_path=st.lists(numbers, max_size=3).map(tuple), set_priority=st.none() | st.integers(1, 2147483646),
    )


@settings(max_examples=15)
@given(written=st.lists(st.lists(rules(), max_size=6), min_size=20, max_size=40))
def test_bird_reads_every_filter_that_can_be_written(written: list[list[BgpFilterRule]], tmp_path_factory: Any) -> None:
    """One unreadable filter would take the host's whole configuration down, and with it every later change."""
    filters = tuple(
        BgpFilter(name=f"f-{index}", imports=tuple(some), exports=tuple(some)) for index, some in enumerate(written)
    )
    text = "\n".join(["router id 1.1.1.1;", "protocol device {}", *functions(filters, 4)])

    assert_bird_reads(text, tmp_path_factory.mktemp("bird"))
