"""The agent's side of CNI: one call after another, each idempotent, each answered in the caller's words.

ADD answers when policy and routes are in the kernel. DEL always succeeds: what cannot be removed now (no server
answers) is put aside and removed later, as is what the executable put aside while no agent ran. A pod's endpoint
belongs to the container that was added last: the late DEL of an older one of the same name leaves it alone.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

import msgspec
import structlog
from aiohttp import web

from muslin.client.workload import Request, Workload
from muslin.errors import Invalid, MuslinError
from muslin.intent import EndpointKey
from muslin.model.names import parse_workload_endpoint_name
from muslin.plugins.cni import pods, words
from muslin.plugins.cni.call import (
    VERSIONS,
    Answered,
    Call,
    Config,
    arguments,
    check,
    config_for_removal,
    config_of,
    configuration,
    names_address_plugin,
    version_of,
    where,
)
from muslin.plugins.cni.faults import Code, Fault, fault_of

Object = dict[str, Any]
ORCHESTRATORS = ("cni", "k8s")
AGAIN_EVERY = 2.0
AT_ONCE = 64
"""More calls wait for their turn: each has 10 s for its policy to be in the kernel, and 200 may come at once."""
KEPT = ".call"

log = structlog.get_logger()


class Door(Protocol):
    """What the agent's workloads offer."""

    async def add(self, request: Request) -> Workload: ...

    async def detach(self, request: Request) -> None: ...

    async def clear(self, request: Request) -> None: ...

    async def find(self, request: Request) -> Object | None: ...

    async def read(self, key: EndpointKey) -> Object | None: ...

    async def check(self, request: Request) -> tuple[str, ...]: ...

    async def clear_remains(self, orchestrators: Collection[str]) -> None: ...

    @property
    def attached(self) -> tuple[EndpointKey, ...]: ...

    @property
    def why_not_ready(self) -> str: ...


class Service:
    """`socket`: where the agent is asked. `pending`: where removals lie that could not be done yet."""

    def __init__(self, door: Door, socket: Path, pending: Path) -> None:
        self._door = door
        self._socket = socket
        self._pending = pending
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._commands: dict[str, Callable[[Call, Config], Awaitable[Object | None]]] = {
            "ADD": self._add, "DEL": self._delete, "CHECK": self._check, "GC": self._collect, "STATUS": self._status,
        }

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/cni", self._answer)]

    async def run(self) -> None:
        """Removals that were put aside, for ever."""
        while True:
            for path in sorted(self._pending.glob(f"*{KEPT}")) if self._pending.is_dir() else ():
                await self._remove_pending(path)
            await asyncio.sleep(AGAIN_EVERY)

    # ---- calls

    async def _answer(self, request: web.Request) -> web.Response:
        call, version = Call(command=""), "1.0.0"
        try:
            call = Call.of(await request.read())
            if call.command == "VERSION":
                return _json({"cniVersion": _wanted_version(call), "supportedVersions": VERSIONS})
            document = configuration(call)
            version = version_of(document)
            config = (config_for_removal if call.command == "DEL" else config_of)(document)
            if not call.addresses and (status := self._left_to_the_caller(call, document, config)):
                return web.Response(status=status)
            answer = await self.call(call, config)
        except Fault as fault:
            log.warning("cni", command=call.command, container=call.container_id, why=str(fault))
            return _json({"cniVersion": version, "code": int(fault.code), "msg": str(fault),
                          "details": fault.details}, HTTPStatus.BAD_REQUEST)
        return _json(answer) if answer is not None else web.Response()

    def _left_to_the_caller(self, call: Call, document: Object, config: Config) -> HTTPStatus | None:
        """What the executable must do first, where it only guessed what the configuration says."""
        socket, node = document.get("agentSocket"), document.get("nodename")
        if socket != str(self._socket) if socket else node and f"{node}.sock" != self._socket.name:
            return HTTPStatus.MISDIRECTED_REQUEST
        if call.command in ("ADD", "DEL", "CHECK", "GC", "STATUS") and names_address_plugin(config):
            return HTTPStatus.PRECONDITION_REQUIRED
        return None

    async def call(self, call: Call, config: Config) -> Object | None:
        """Raises Fault."""
        check(call, config)
        try:
            async with self._turns:
                return await self._commands[call.command](call, config)
        except MuslinError as error:
            raise _in_callers_words(fault_of(error), call) from error

    async def _add(self, call: Call, config: Config) -> Object:
        given = arguments(call, config)
        identity = words.identity(call, config, given)
        self._forget_pending(identity)
        pod = pods.NOBODY
        if identity.orchestrator == "k8s" and config.kubernetes and (
                config.kubernetes.kubeconfig or config.kubernetes.k8s_api_root):
            pod = await pods.read(config.kubernetes, identity.namespace, identity.pod)
        workload = await self._door.add(words.request(call, config, given, pod))
        return words.result(workload, call, config)

    async def _delete(self, call: Call, config: Config) -> None:
        try:
            await self._remove(call, config)
        except MuslinError as error:
            log.warning("cni_removal_put_aside", container=call.container_id, why=str(error))
            self._put_aside(call)

    async def _remove(self, call: Call, config: Config) -> None:
        """Gone, or not ours to remove."""
        identity = words.identity(call, config, arguments(call, config))
        try:
            existing = await self._door.find(identity)
        except Invalid:
            return None  # nothing can have such a name
        if existing is None:  # nothing was there, or a removal was broken off after its first step
            await self._door.clear(identity)
            return await self._remove_nameless(call) if identity.orchestrator == "cni" else None
        if _container_of(existing) not in ("", call.container_id):
            return None  # the pod has a newer container
        return await self._door.detach(identity)

    async def _remove_nameless(self, call: Call) -> None:
        """A pod's container whose DEL does not name the pod, or one that is gone already."""
        for key, found in await self._endpoints(("k8s",)):
            if _container_of(found) == call.container_id and found["spec"].get("endpoint") == words.segment(
                    call.interface):
                await self._door.detach(_identity_of(key, found))

    async def _check(self, call: Call, config: Config) -> None:
        identity = words.identity(call, config, arguments(call, config))
        existing = await self._door.find(identity)
        if existing is None or _container_of(existing) not in ("", call.container_id):
            raise Fault(Code.UNKNOWN_CONTAINER, f"container {call.container_id} has no {call.interface} here")
        request = words.request(call, config, arguments(call, config), pods.NOBODY)
        faults = list(await self._door.check(request))
        faults += _differences(existing, call, config)
        if faults:
            raise Fault(Code.DIFFERENT, "; ".join(faults))

    async def _collect(self, _: Call, config: Config) -> None:
        """GC: whatever this network attached and the runtime does not list is removed, and so is what is left of
        attachments, of whatever network, that were broken off."""
        if config.valid_attachments is None:
            raise Fault(Code.CONFIGURATION, "GC without cni.dev/valid-attachments: nobody would know what to keep")
        valid = {(one.container_id, words.segment(one.interface)) for one in config.valid_attachments}
        faults: list[str] = []
        for key, found in await self._endpoints(ORCHESTRATORS):
            notes = found["metadata"].get("annotations") or {}
            attachment = _container_of(found), found["spec"].get("endpoint", "")
            if notes.get(words.NETWORK) == config.name and attachment not in valid:
                try:
                    await self._door.detach(_identity_of(key, found))
                except MuslinError as error:
                    faults.append(f"{key}: {error}")
        if faults:
            raise Fault(Code.TRY_AGAIN, "; ".join(faults))
        await self._door.clear_remains(ORCHESTRATORS)

    async def _status(self, _: Call, __: Config) -> None:
        if why := self._door.why_not_ready:
            raise Fault(Code.NOT_AVAILABLE, f"no container can be connected now: {why}")

    async def _endpoints(self, orchestrators: tuple[str, ...]) -> list[tuple[EndpointKey, Object]]:
        """Those of this host that CNI made."""
        found = []
        for key in self._door.attached:
            try:
                orchestrator = parse_workload_endpoint_name(key.rpartition("/")[2])[1]
            except Invalid:
                continue  # not made by anything that names endpoints as Calico does
            if orchestrator in orchestrators and (read := await self._door.read(key)) is not None:
                found.append((key, read))
        return found

    # ---- removals for later

    def _put_aside(self, call: Call) -> None:
        self._pending.mkdir(parents=True, exist_ok=True)
        path = self._pending / f"{uuid.uuid4().hex}{KEPT}"
        beside = path.with_suffix(".new")
        beside.write_bytes(call.text())
        beside.replace(path)

    async def _remove_pending(self, path: Path) -> None:
        try:
            call = Call.of(path.read_bytes())
            await self._remove(call, config_for_removal(configuration(call)))
        except FileNotFoundError:
            return  # its container was added again meanwhile
        except Fault as fault:
            log.error("cni_removal_unreadable", file=str(path), why=str(fault))  # tried again, it would say the same
        except MuslinError as error:
            log.info("cni_removal_waits", file=str(path), why=str(error))
            return
        path.unlink(missing_ok=True)

    def _forget_pending(self, identity: Request) -> None:
        """The container is back: what was to be removed is wanted again."""
        for path in self._pending.glob(f"*{KEPT}") if self._pending.is_dir() else ():
            try:
                call = Call.of(path.read_bytes())
                config = config_for_removal(configuration(call))
                other = words.identity(call, config, arguments(call, config))
            except (Fault, FileNotFoundError):
                continue
            same = (other.orchestrator, other.namespace, other.name, other.container_id, other.endpoint)
            if same == (identity.orchestrator, identity.namespace, identity.name, identity.container_id,
                        identity.endpoint):
                path.unlink(missing_ok=True)


def _in_callers_words(fault: Fault, call: Call) -> Fault:
    """The caller's namespace by the name that he gave it."""
    if not call.opened_netns:
        return fault
    return Fault(fault.code, str(fault).replace(call.opened_netns, call.netns), fault.details)


def _json(body: Object, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def _wanted_version(call: Call) -> str:
    try:
        found = configuration(call).get("cniVersion")
    except Fault:
        found = None
    return found if found in VERSIONS else VERSIONS[-1]


def _container_of(endpoint: Object) -> str:
    return str((endpoint["metadata"].get("annotations") or {}).get(words.CONTAINER, ""))


def _identity_of(key: EndpointKey, endpoint: Object) -> Request:
    spec = endpoint["spec"]
    return Request(name=spec.get("workload") or spec.get("pod") or spec.get("containerID"), namespace=key.split("/")[1],
                   orchestrator=spec["orchestrator"], pod=spec.get("pod", ""),
                   container_id=spec.get("containerID", ""), endpoint=spec["endpoint"])


def _differences(endpoint: Object, call: Call, config: Config) -> list[str]:
    """Between the result of ADD and what it has now. Raises Fault: that is no result."""
    try:
        answered = msgspec.convert(config.prev_result, Answered)
    except msgspec.ValidationError as error:
        raise Fault(Code.CONFIGURATION, f"CHECK needs the result of ADD as prevResult: {where(error)}") from None
    has, spec = set(endpoint["spec"].get("ipNetworks") or ()), endpoint["spec"]
    found = [f"address {address} is not its own any more"
             for address in sorted({ip.address for ip in answered.ips} - has)]
    ours = [each for each in answered.interfaces if each.sandbox and each.name == call.interface]
    return found + [f"interface {each.name} was answered with MAC {each.mac}, and has {spec['mac']}" for each in ours
                    if each.mac and each.mac.lower().replace("-", ":") != spec.get("mac", "").lower()]
