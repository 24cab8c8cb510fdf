"""What is wrong in the store, written past the API, disables only itself, denies what it touches, and is named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from muslin.model.kinds import BY_NAME
from muslin.model.meta import ResourceKey
from muslin.store import layout
from muslin.store.sqlite import SqliteStore
from serverrig import CALICO, GNPS, TABLE, Api, gnp, running, wait_for, weps, workload

GNP = layout.prefix("GlobalNetworkPolicy") + "wrong"
WRONG = [b"", b"{", b"null", b"[]", b"7", b"\xff\xfe", b'{"spec": {"selector": "\xff"}}', b"{}",
         b'{"metadata": []}', b'{"metadata": {"labels": "x"}}',
         b'{"metadata": {"name": "other", "annotations": 7}, "spec": "x"}', b'{"spec": {"ingress": 7}}',
         b'{"spec": {"selector": "all()", "ingress": [{"action": "Allow", "protocol": {}}]}}', b'{"metadata": ' * 2000]


def put(folder: Path, key: str, value: bytes) -> None:
    async def write() -> None:
        store = SqliteStore(folder / "s.db")
        await store.put(key, value)
        await store.close()

    asyncio.run(write())


def server(folder: Path):  # type: ignore[no-untyped-def]
    return running(folder, store=f"sqlite:///{folder}/s.db")


@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value[:30]))
def test_it_is_listed_read_watched_replaced_and_deleted_like_any_other(tmp_path: Path, value: bytes) -> None:
    put(tmp_path, GNP, value)
    with server(tmp_path) as api:
        api.made(GNPS, gnp("right"))
        assert [item["metadata"]["name"] for item in api.get(GNPS).json["items"]] == ["right", "wrong"]
        assert len(api.get(GNPS, TABLE).json["rows"]) == 2
        assert api.get(f"{GNPS}/wrong").json["metadata"]["name"] == "wrong"
        assert api.get(GNPS, labelSelector="a=b", fieldSelector="spec.tier=x").status == 200
        assert api.patch(f"{GNPS}/wrong", {"spec": {"order": 1}}).status in (200, 422)
        with api.lines(GNPS, watch="true") as events:
            assert {next(events)["object"]["metadata"]["name"] for _ in range(2)} == {"right", "wrong"}
            assert api.put(f"{GNPS}/wrong", gnp("wrong")).status == 200
            assert next(events)["type"] == "MODIFIED"
        assert api.delete(f"{GNPS}/wrong").status == 200


def test_it_is_named_in_the_status_until_it_is_mended(tmp_path: Path) -> None:
    put(tmp_path, GNP, b'{"spec": {"selector": "role ==", "ingress": 7}}')
    with server(tmp_path) as api:
        status = api.get("/muslin/v1/status").json
        (fault,) = status["faults"]
        assert fault["object"] == "GlobalNetworkPolicy wrong"
        assert fault["mend"]
        assert not status["ok"]
        api.put(f"{GNPS}/wrong", gnp("wrong"))
        assert wait_well(api)


def wait_well(api: Api) -> bool:
    return bool(wait_for(lambda: not api.get("/muslin/v1/status").json["faults"]))


def test_a_policy_that_cannot_be_read_denies_those_that_it_selects(tmp_path: Path) -> None:
    """Its author meant to protect them; half a policy must not open what the whole would have closed."""
    put(tmp_path, GNP, b'{"spec": {"selector": "role == \'db\'", "ingress": [{"action": "Allow", "protocol": {}}]}}')
    with server(tmp_path) as api:
        api.made(weps(), workload("web", "h1", "10.65.0.1", role="web"))
        api.made(weps(), workload("db", "h1", "10.65.0.2", role="db"))
        query = {"protocol": "tcp", "port": 80}
        denied = api.get("/muslin/v1/why", source="web", destination="db", **query).json
        assert denied["verdict"] == "Deny"
        assert denied["ingress"]["decided_by"]["name"] == "wrong"
        other_way = api.get("/muslin/v1/why", source="db", destination="web", **query).json
        assert other_way["verdict"] == "Allow"  # it says nothing of egress


@pytest.mark.parametrize(
    "kind", ["Tier", "IPPool", "Node", "Namespace", "WorkloadEndpoint", "Profile", "ClusterInformation"])
@pytest.mark.parametrize("value", [
    b"{", b'{"spec": 7}', b'{"metadata": 7}', b'{"metadata": {"labels": {"a": "\xff"}}, "spec": "\xff"}', b'"\xff"',
])
def test_garbage_of_any_kind_leaves_the_server_working(tmp_path: Path, kind: str, value: bytes) -> None:
    key = ResourceKey(kind, "shop" if BY_NAME[kind].namespaced else "", "default")
    put(tmp_path, layout.path(key), value)
    put(tmp_path, "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-26", value)
    put(tmp_path, "/calico/ipam/v2/assignment/ipv4/block/nonsense", value)
    put(tmp_path, "/calico/felix/v2/no-region/host/h1/status", value)
    with server(tmp_path) as api:
        api.made(weps(), workload("web", "h1", "10.65.0.1"))
        api.made(f"{CALICO}/ippools", {"metadata": {"name": "p"}, "spec": {"cidr": "10.99.0.0/16"}})
        assert api.post(GNPS, gnp("a")).status == 201
        for path in (f"{CALICO}/{BY_NAME[kind].plural}" if kind != "Namespace" else "/api/v1/namespaces",
                     "/muslin/v1/status", "/muslin/v1/matrix?ports=tcp/80",
                     "/muslin/v1/why?source=web&destination=192.0.2.9&port=80"):
            assert api.get(path).status == 200, api.get(path).body
        with api.lines("/muslin/v1/hosts/h1/feed") as lines:
            assert next(lines)["snapshot"]
