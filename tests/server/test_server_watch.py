"""Watches: nothing missed, nothing repeated, from wherever the client says it stopped."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from serverrig import CALICO, GNPS, NAMESPACES, NPS, TABLE, Api, gnp, policy, running


def brief(events: object) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]  # type: ignore[attr-defined]


def test_a_watch_from_a_list_tells_each_change_once(api: Api) -> None:
    api.made(GNPS, gnp("old"))
    version = api.get(GNPS).json["metadata"]["resourceVersion"]
    api.made(GNPS, gnp("a"))
    with api.lines(GNPS, watch="true", resourceVersion=version) as events:
        api.patch(f"{GNPS}/a", {"spec": {"order": 7}})
        api.delete(f"{GNPS}/old")
        found = list(islice(events, 3))
    assert brief(found) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "old")]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in found]
    assert revisions == sorted(revisions)
    assert revisions[0] > int(version)
    assert found[2]["object"]["spec"]["order"] == 10  # the last state, with the revision of its end


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}, {"resourceVersion": ""}])
def test_a_watch_without_a_revision_begins_with_what_is_there(api: Api, query: dict[str, str]) -> None:
    """`kubectl get NAME -w` relies on it."""
    api.made(GNPS, gnp("a"))
    api.made(GNPS, gnp("b"))
    with api.lines(GNPS, watch="true", **query) as events:
        assert brief(islice(events, 2)) == [("ADDED", "a"), ("ADDED", "b")]
        api.delete(f"{GNPS}/a")
        assert brief(islice(events, 1)) == [("DELETED", "a")]


def test_a_watch_of_one_name_hears_of_no_other(api: Api) -> None:
    api.made(GNPS, gnp("a"))
    with (
        api.lines(GNPS, watch="1", fieldSelector="metadata.name=a") as by_selector,
        api.lines(f"{GNPS}/a", watch="true") as by_path,
    ):
        api.made(GNPS, gnp("b"))
        api.patch(f"{GNPS}/a", {"spec": {"order": 1}})
        for events in (by_selector, by_path):
            assert brief(islice(events, 2)) == [("ADDED", "a"), ("MODIFIED", "a")]


def test_a_watch_of_a_namespace_hears_of_no_other(api: Api) -> None:
    with api.lines(NPS, watch="true") as events:
        api.made(f"{CALICO}/namespaces/shopping/networkpolicies", policy("x", namespace="shopping"))
        api.made(NPS, policy("a"))
        assert brief(islice(events, 1)) == [("ADDED", "a")]


def test_an_object_that_begins_to_fit_is_added_and_one_that_ceases_is_deleted(api: Api) -> None:
    """To a watcher of `app=web` the others do not exist."""
    with api.lines(GNPS, watch="true", labelSelector="app=web") as events:
        api.made(GNPS, gnp("a", labels={"app": "db"}))
        api.patch(f"{GNPS}/a", {"metadata": {"labels": {"app": "web"}}})
        api.patch(f"{GNPS}/a", {"spec": {"order": 1}})
        api.patch(f"{GNPS}/a", {"metadata": {"labels": {"app": None}}})
        api.delete(f"{GNPS}/a")
        api.made(GNPS, gnp("end", labels={"app": "web"}))
        assert brief(islice(events, 4)) == [
            ("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"), ("ADDED", "end")]


def test_a_watch_for_people_is_a_table_with_its_head_once(api: Api) -> None:
    api.made(GNPS, gnp("a"))
    with api.lines(GNPS, TABLE, watch="true") as events:
        api.patch(f"{GNPS}/a", {"spec": {"order": 1}})
        first, second = islice(events, 2)
    assert [len(event["object"]["columnDefinitions"]) for event in (first, second)] == [8, 0]
    assert second["object"]["rows"][0]["cells"][2] == 1


def test_the_end_of_the_initial_events_is_marked_where_asked(api: Api) -> None:
    """WatchList: newer clients list by watching, and would wait for this mark until they time out."""
    api.made(GNPS, gnp("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    with api.lines(GNPS, watch="true", **query) as events:
        first, mark = islice(events, 2)
        api.made(GNPS, gnp("b"))
        (later,) = islice(events, 1)
    assert first["type"] == "ADDED"
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(later["object"]["metadata"]["resourceVersion"]) > int(mark["object"]["metadata"]["resourceVersion"])


@pytest.mark.parametrize("query", [
    {"sendInitialEvents": "true"}, {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"},
    {"resourceVersion": "abc"}, {"resourceVersion": "-1"}, {"timeoutSeconds": "soon"}, {"labelSelector": "=="},
])
def test_a_watch_that_makes_no_sense_is_refused(api: Api, query: dict[str, str]) -> None:
    assert api.get(GNPS, watch="true", **query).status == 400


def test_a_watch_ends_when_its_time_is_up(api: Api) -> None:
    with api.lines(GNPS, watch="true", timeoutSeconds=1) as events:
        assert list(events) == []


def test_a_watch_from_a_revision_that_has_not_been_is_expired(api: Api) -> None:
    """The client has seen another store: it must list again, not wait for ever."""
    answer = api.get(GNPS, watch="true", resourceVersion=999_999)
    assert (answer.status, answer.json["reason"]) == (410, "Expired")


def test_a_watch_from_before_the_compaction_is_expired(tmp_path: Path) -> None:
    with running(tmp_path, store=f"sqlite:///{tmp_path}/s.db") as api:
        version = api.get(GNPS).json["metadata"]["resourceVersion"]
    import asyncio

    from muslin.store.sqlite import SqliteStore

    async def compact() -> None:
        store = SqliteStore(tmp_path / "s.db")
        await store.put("/x", b"")
        await store.compact(await store.revision())
        await store.close()

    asyncio.run(compact())
    with running(tmp_path, store=f"sqlite:///{tmp_path}/s.db") as api:
        assert api.get(GNPS, watch="true", resourceVersion=version).status == 410


def test_a_watch_goes_on_over_a_restart_of_the_server(tmp_path: Path) -> None:
    """Revisions are the file's: a client comes back with the last it saw, and misses nothing."""
    with running(tmp_path, store=f"sqlite:///{tmp_path}/s.db") as api:
        version = api.made(GNPS, gnp("a"))["metadata"]["resourceVersion"]
        api.delete(f"{GNPS}/a")
    with running(tmp_path, store=f"sqlite:///{tmp_path}/s.db") as api:
        api.made(GNPS, gnp("b"))
        with api.lines(GNPS, watch="true", resourceVersion=version) as events:
            assert brief(islice(events, 2)) == [("DELETED", "a"), ("ADDED", "b")]


def test_the_built_in_profile_is_part_of_every_replay(api: Api) -> None:
    with api.lines(f"{CALICO}/profiles", watch="true") as events:
        assert brief(islice(events, 1)) == [("ADDED", "projectcalico-default-allow")]


def test_namespaces_are_watched_like_all_else(api: Api) -> None:
    with api.lines(NAMESPACES, watch="true") as events:
        api.made(NAMESPACES, {"metadata": {"name": "shop"}})
        assert brief(islice(events, 2)) == [("ADDED", "default"), ("ADDED", "shop")]


def test_a_server_that_stops_ends_its_watches(tmp_path: Path) -> None:
    with running(tmp_path) as api:
        lines = api.lines(GNPS, watch="true")
        events = lines.__enter__()
    assert list(events) == []
    lines.__exit__(None, None, None)
