"""Which containers are started when the agent is back: those that would run, had it been there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from muslin.errors import Invalid
from muslin.plugins.docker import reviving
from muslin.plugins.docker.daemon import Daemon
from muslin.plugins.docker.reviving import NO_AGENT, Reviving, should_run

SOCKET = "/run/muslin/agents/h1.docker"
BY_THE_DOOR = f"legacy plugin: Plugin.Activate: muslin: {NO_AGENT} at /run/muslin/agents/h1.sock: start it"
NO_DOOR = f'Post "http://%2Frun/Plugin.Activate": dial unix {SOCKET}: connect: connection refused'
RAN = "2026-12-01T13:00:00.5Z"


def container(policy: str = "always", error: str = BY_THE_DOOR, started: str = RAN, **state: Any) -> dict[str, Any]:
    return {"Id": "c", "HostConfig": {"RestartPolicy": {"Name": policy}},
            "State": {"Error": error, "StartedAt": started, "Running": False, **state}}


@pytest.mark.parametrize("found", [
    container(), container("unless-stopped"), container("on-failure"), container(error=NO_DOOR),
])
def test_a_container_whose_start_failed_for_want_of_us_is_started(found: dict[str, Any]) -> None:
    assert should_run(found, SOCKET)


@pytest.mark.parametrize("found", [
    container("no"), container(""), container(error=""), container(error="no such image"), container(Running=True),
    container(started="0001-01-01T00:00:00Z"), {}, {"State": None, "HostConfig": None},
    container(error="dial unix /run/docker/plugins/weave.sock: connect: connection refused"),
])
def test_others_are_left_alone(found: dict[str, Any]) -> None:
    assert not should_run(found, SOCKET)


def test_one_that_cannot_start_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    class Told(Daemon):
        """A dockerd that has three such containers, and cannot start the first, nor tell of the second."""

        async def stopped(self) -> list[str]:
            return ["bad", "untold", "good"]

        async def whole_container(self, container_id: str) -> dict[str, Any] | None:
            if container_id == "untold":
                raise Invalid("500")
            return container()

        async def start(self, container_id: str) -> None:
            if container_id == "bad":
                raise Invalid("port is already allocated")
            started.append(container_id)

    monkeypatch.setattr(reviving, "AFTER", (0.0,))
    asyncio.run(asyncio.wait_for(Reviving(lambda: Told(""), lambda: "", SOCKET).run(), 10))
    assert started == ["good"]
