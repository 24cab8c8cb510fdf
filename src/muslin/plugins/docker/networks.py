"""Networks that the cluster has: each DockerNetwork is made in this host's dockerd, and goes with it.

They are followed by a watch, so a host that joins later, or comes back, makes those that it lacks. What dockerd has is
looked at anew at each change and now and then, for somebody may have removed one. Whatever cannot be is said in this
host's report, by name, and tried again. Ours carry a label; a network that a person made is never removed, and is as
good as ours if it is the same.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from muslin.errors import MuslinError
from muslin.intent import Problem
from muslin.model.docker import POLICIES, DockerNetworkSpec
from muslin.net import parse_cidr, version_of
from muslin.plugins.docker import words
from muslin.plugins.docker.book import Book
from muslin.plugins.docker.daemon import Daemon
from muslin.plugins.docker.naming import Api, Report

Object = dict[str, Any]
KIND = "DockerNetwork"
PATH = "/apis/muslin.dev/v1/dockernetworks"
_SILENCE = 40.0
"""A watch is marked every 15 s."""
_AGAIN = 1.0
_RETRY, _LOOK = 2.0, 30.0

log = structlog.get_logger()


class Networks:
    def __init__(self, api: Api, book: Book, report: Report) -> None:
        self._api = api
        self._book = book
        self._report = report
        self._wanted: dict[str, DockerNetworkSpec | None] | None = None
        self._said: dict[str, Problem | None] | None = None
        self._ring = asyncio.Event()

    def changed(self) -> None:
        self._ring.set()

    def removed(self) -> None:
        """Somebody removes a network: dockerd has forgotten it a moment after it told us."""
        asyncio.get_running_loop().call_later(_AGAIN, self._ring.set)

    async def run(self) -> None:
        following: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._ring.clear()
                if self._book.pages.enabled and following is None:
                    following = tasks.create_task(self._follow())
                elif not self._book.pages.enabled and following is not None:
                    following.cancel()
                    following, self._wanted = None, None
                states = await self._reconcile() if self._book.pages.enabled else None
                if states != self._said:
                    self._said = states
                    self._report.follow(KIND, states)
                pause = _RETRY if any((states or {}).values()) else _LOOK
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ring.wait(), pause)

    # ---- what there should be

    async def _follow(self) -> None:
        while True:
            try:
                listed = await self._api.call("GET", PATH)
                self._wanted = {item["metadata"]["name"]: _spec(item) for item in listed["items"]}
                self._ring.set()
                since = listed["metadata"]["resourceVersion"]
                async for line in self._api.lines(
                        f"{PATH}?watch=true&allowWatchBookmarks=true&resourceVersion={since}", _SILENCE):
                    if line and not self._take(msgspec.json.decode(line)):
                        break
            except MuslinError as error:
                log.info("docker_networks_not_heard", why=str(error))
            await asyncio.sleep(_AGAIN)

    def _take(self, event: Object) -> bool:
        """False: all is to be read again."""
        if event["type"] == "ERROR" or self._wanted is None:
            return False
        if event["type"] != "BOOKMARK":
            name = event["object"]["metadata"]["name"]
            self._wanted.pop(name, None)
            if event["type"] != "DELETED":
                self._wanted[name] = _spec(event["object"])
            self._ring.set()
        return True

    # ---- what there is

    async def _reconcile(self) -> dict[str, Problem | None]:
        """Name -> what is wrong with it here; "" is dockerd itself."""
        if self._wanted is None:
            return {"": None}
        wanted, daemon = dict(self._wanted), Daemon(self._book.pages.docker)
        try:
            there = {str(each.get("Name")): each for each in await daemon.networks()}
        except MuslinError as error:
            fault = Problem(what=str(error), mend="start docker on this host")
            return dict.fromkeys(("", *wanted), fault)
        states: dict[str, Problem | None] = {"": None}
        for name, found in there.items():
            mark = (found.get("Labels") or {}).get(words.FOLLOWED)
            spec = wanted.get(name)
            if mark == name and (name not in wanted or (spec is not None and _difference(name, spec, found))):
                states[name] = await self._remove(daemon, name, found)
        for name, spec in wanted.items():
            if spec is None:
                states[name] = Problem(what=f"dockernetwork {name} cannot be read",
                                       mend=f"muslin get dockernetwork {name} -o yaml, correct it, apply it again")
            elif states.get(name) is None:
                found = {} if name in states else there.get(name, {})
                states[name] = await self._make(daemon, name, spec, found)
        return {name: state for name, state in states.items() if name in wanted or name == "" or state is not None}

    async def _make(self, daemon: Daemon, name: str, spec: DockerNetworkSpec, found: Object) -> Problem | None:
        if found:
            other = _difference(name, spec, found)
            return Problem(
                what=f"docker network {name} is there already with {other}",
                mend=f"on this host: docker network rm {name}; or delete dockernetwork {name}, and take another name",
            ) if other else None
        try:
            await daemon.create_network(_body(name, spec))
        except MuslinError as error:
            return Problem(what=f"docker network {name} cannot be made: {str(error).rpartition('muslin: ')[2]}",
                           mend=f"it is tried until it can, or until dockernetwork {name} is deleted")
        log.info("docker_network_made", name=name)
        return None

    async def _remove(self, daemon: Daemon, name: str, found: Object) -> Problem | None:
        try:
            await daemon.remove_network(str(found["Id"]))
        except MuslinError as error:
            within = await _containers(daemon, str(found["Id"]))
            verb = "is" if len(within) == 1 else "are"
            why = f"{', '.join(within)} of this host {verb} in it" if within else str(error)
            mend = "remove these containers, or docker network disconnect them" if within else "it is tried again"
            return Problem(what=f"docker network {name} cannot go: {why}", mend=mend)
        log.info("docker_network_removed", name=name)
        return None


async def _containers(daemon: Daemon, network: str) -> list[str]:
    try:
        found = await daemon.network(network) or {}
    except MuslinError:
        return []  # the next try asks again
    return sorted(str(each.get("Name")) for each in (found.get("Containers") or {}).values())


def _spec(item: Object) -> DockerNetworkSpec | None:
    """None: it cannot be read, for somebody wrote it past the API; what was made of it stays."""
    try:
        return msgspec.convert(item.get("spec") or {}, DockerNetworkSpec)
    except msgspec.ValidationError:
        return None


def _body(name: str, spec: DockerNetworkSpec) -> Object:
    """Of POST /networks/create."""
    options = {"net": name, "policy": spec.policy or POLICIES[0]} | ({words.MTU: str(spec.mtu)} if spec.mtu else {})
    return {
        "Name": name, "CheckDuplicate": True, "Driver": words.DRIVER, "Internal": spec.internal, "Options": options,
        "EnableIPv6": any(version_of(parse_cidr(subnet)) == 6 for subnet in spec.subnets),
        "IPAM": {"Driver": words.DRIVER, "Config": [{"Subnet": parse_cidr(subnet)} for subnet in spec.subnets]},
        "Labels": {**spec.labels, words.FOLLOWED: name},
    }


def _difference(name: str, spec: DockerNetworkSpec, found: Object) -> str:
    """In words; "" when the network that is there is as it should be."""
    options = found.get("Options") or {}
    config = (found.get("IPAM") or {}).get("Config") or ()
    subnets = sorted(str(each.get("Subnet")) for each in config if each.get("Subnet") not in words.ANY.values())
    for what, has, should in (
        ("driver", found.get("Driver"), words.DRIVER),
        ("subnets", " ".join(subnets) or "of any pool",
         " ".join(sorted(map(parse_cidr, spec.subnets))) or "of any pool"),
        ("internal", bool(found.get("Internal")), spec.internal),
        ("net", options.get("net") or words.net_name(str(found.get("Name"))), name),
        ("policy", options.get("policy") or POLICIES[0], spec.policy or POLICIES[0]),
        ("mtu", str(options.get(words.MTU) or 0), str(spec.mtu)),
    ):
        if has != should:
            return f"{what} {has} instead of {should}"
    return ""
