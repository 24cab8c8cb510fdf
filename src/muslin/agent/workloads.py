"""Address, link, policy and routes for a namespace or a tap, with no orchestrator at all.

    addresses from the server -> veth laid, workload's side down -> WorkloadEndpoint created
      -> the server tells all hosts, us too -> our kernel has policy and routes -> workload's side up -> answer

Whatever fails, everything that was done is undone, and the error says so. The same request again finds what is there
and completes it. Removal is the way back: resource, then, once our kernel routes it no more, link and addresses.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import msgspec
import structlog

from muslin.agent import foreign, remains, resources
from muslin.agent.additions import Additions
from muslin.agent.gathering import Refused
from muslin.agent.journal import Entry, Journal
from muslin.agent.removals import Removals
from muslin.agent.resources import Object
from muslin.agent.upstream import Upstream
from muslin.agent.worker import Worker
from muslin.client.workload import Request, Workload, endpoint_key
from muslin.drivers import plug
from muslin.drivers.fitter import Fitter
from muslin.drivers.links import Link, check_mac
from muslin.drivers.plug import Cable, Doomed, Laid
from muslin.errors import Invalid, MuslinError, Transient
from muslin.intent import EndpointKey, Published
from muslin.model.names import address_handle, interface_name, parse_workload_endpoint_name
from muslin.net import Cidr, host_cidr, parse_cidr, protocol_number, version_of

_READY_WITHIN = 10.0
_GONE_WITHIN = 5.0
NETNS_ANNOTATION = "muslin.dev/netns"
INTERFACE_ANNOTATION = "muslin.dev/interface"
_WORD = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")

A = TypeVar("A")
B = TypeVar("B")
log = structlog.get_logger()


@dataclass(slots=True)
class Undone:
    """Steps that were taken back, and those that could not be."""

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        words = [f"undone again: {', '.join(self.done)}"] if self.done else []
        words += [f"could not be undone: {', '.join(self.failed)}"] if self.failed else []
        return "; ".join(words)


class NotAdded(MuslinError):
    """The workload was not added because of `cause`; what had been done is in `undone`."""

    def __init__(self, cause: MuslinError, undone: Undone) -> None:
        super().__init__(f"{cause}; {undone}" if undone.done or undone.failed else str(cause))
        self.cause = cause


class Workloads:
    def __init__(self, node: str, worker: Worker, upstream: Upstream, journal: Journal) -> None:
        self._node = node
        self._worker = worker
        self._upstream = upstream
        self._journal = journal
        self._fitter = Fitter()
        self._additions = Additions(upstream)
        self._removals = Removals(upstream)
        self._turns: WeakValueDictionary[EndpointKey, asyncio.Lock] = WeakValueDictionary()

    def listed(self) -> tuple[Workload, ...]:
        """The workloads of this host, as its kernel was told."""
        states = self._worker.states
        return tuple(
            Workload(
                key=key, name=_workload_of(key), namespace=key.split("/")[1], interface=endpoint.interface,
                addresses=endpoint.addresses, state=states[key].state if key in states else "pending",
                message=states[key].message if key in states else "",
            )
            for key, endpoint in sorted(self._worker.intent.endpoints.items())
        )

    async def add(self, request: Request) -> Workload:
        """Raises Invalid, ApiError, Transient; what was done is undone then."""
        if sum(map(bool, (request.netns, request.tap, request.loose))) != 1:
            raise Invalid("a workload needs either netns (its namespace) or tap (its interface), not both")
        if request.mac:
            check_mac(request.mac)
        plug.check_mtu(request.mtu)
        if request.foreign_addresses and not request.addresses:
            raise Invalid("foreignAddresses without addresses: say which they are")
        if request.foreign_addresses and not request.loose:  # dockerd's are from our pools
            await foreign.check(self._upstream, request.addresses)
        name = _endpoint_name(self._node, request)
        key = endpoint_key(request.namespace, name)
        async with self._turns.setdefault(key, asyncio.Lock()):
            undone = Undone()
            try:
                async with AsyncExitStack() as undo:
                    workload = await self._add(request, name, undo, undone)
                    undo.pop_all()
            except MuslinError as error:
                if not undone.failed:
                    self._journal.remove(key)
                log.warning("workload_not_added", key=key, why=str(error), undone=str(undone))
                raise NotAdded(error, undone) from error
            self._journal.remove(key)
            return workload

    async def _add(self, request: Request, name: str, undo: AsyncExitStack, undone: Undone) -> Workload:
        key, path = endpoint_key(request.namespace, name), resources.endpoint_path(request.namespace, name)
        cable = self._cable(request, name)
        existing = None if self._is_surely_new(key) else await resources.find(self._upstream, path)
        if existing is None:
            try:
                addresses, laid = await self._create(request, name, cable, undo, undone)
            except Refused as refused:
                if not refused.is_there_already:
                    raise
                existing = await resources.find(self._upstream, path)
        if existing is not None:
            addresses, laid = await self._renew(request, name, cable, existing, undo, undone)
        await self._wait_up(key, laid.link, addresses)
        if request.netns:
            await self._fitter.do(lambda host: plug.connect(host, cable, addresses, laid))
        log.info("workload_added", key=key, interface=cable.interface, addresses=",".join(addresses))
        return Workload(key=key, name=request.name, namespace=request.namespace, interface=cable.interface,
                        addresses=addresses, state="up", mac=request.mac if request.tap else cable.inner_mac,
                        mtu=cable.mtu)

    def _is_surely_new(self, key: EndpointKey) -> bool:
        """The server would have told us of it. Where it has not yet, it refuses to make it again."""
        return self._worker.has_intent and key not in self._worker.intent.endpoints

    async def _create(self, request: Request, name: str, cable: Cable, undo: AsyncExitStack,
                      undone: Undone) -> tuple[tuple[Cidr, ...], Laid]:
        """Server and link do not wait for each other."""
        link = "" if request.tap else cable.interface
        self._journal.write(Entry(key=cable.owner, interface=link, handle=request.handle(self._node)))
        return await _together(self._register(request, name, cable, undo, undone),
                               _after_the_other(self._link(request, cable, None, undo, undone)))

    async def _register(self, request: Request, name: str, cable: Cable, undo: AsyncExitStack,
                        undone: Undone) -> tuple[Cidr, ...]:
        """Endpoint, addresses, namespace: one call."""
        given = tuple(map(host_cidr, request.addresses)) if request.foreign_addresses else ()
        handle = request.handle(self._node)
        if handle and request.floating:  # which lead to its own: these must be known first
            given = await resources.assign(self._upstream, self._node, handle, request)
            undo.push_async_callback(_step_back, undone, "addresses", resources.release, self._upstream, handle)
        wanted = resources.wanted_addresses(self._node, handle, request) if handle and not given else None

        def undo_all() -> None:
            if wanted is not None:
                undo.push_async_callback(_step_back, undone, "addresses", resources.release, self._upstream, handle)
            path = resources.endpoint_path(request.namespace, name)
            undo.push_async_callback(_step_back, undone, "endpoint", resources.remove, self._upstream, path)

        try:
            found = await self._additions.ask(self._endpoint(request, name, cable, given), wanted)
        except Refused:
            raise
        except MuslinError:
            undo_all()  # nobody knows how far it came
            raise
        undo_all()
        self._expect(found, undo)
        return found

    def _expect(self, addresses: tuple[Cidr, ...], undo: AsyncExitStack) -> None:
        """Flows that another holder of them left are forgotten meanwhile; not while somebody has them here."""
        if self._worker.intent.routes.keys().isdisjoint(addresses):
            bare = [_bare(address) for address in addresses]
            self._worker.forgetting.ask_early(bare)
            undo.callback(self._worker.forgetting.not_coming, bare)

    async def _renew(self, request: Request, name: str, cable: Cable, existing: Object, undo: AsyncExitStack,
                     undone: Undone) -> tuple[tuple[Cidr, ...], Laid]:
        addresses, laid = await _together(self._addresses(request, existing, undo, undone),
                                          self._link(request, cable, existing, undo, undone))
        await resources.put_endpoint(self._upstream, self._endpoint(request, name, cable, addresses), existing)
        return addresses, laid

    async def _addresses(self, request: Request, existing: Object, undo: AsyncExitStack,
                         undone: Undone) -> tuple[Cidr, ...]:
        """Those it has, unless others are asked for."""
        if request.foreign_addresses:
            return tuple(host_cidr(address) for address in request.addresses)
        there, asked = _addresses_of(existing), {_bare(address) for address in request.addresses}
        if there and (not asked or asked == {_bare(address) for address in there}):
            return there
        handle = request.handle(self._node)
        await resources.release(self._upstream, handle)
        found = await resources.assign(self._upstream, self._node, handle, request)
        undo.push_async_callback(_step_back, undone, "addresses", resources.release, self._upstream, handle)
        self._expect(found, undo)
        return found

    async def _link(self, request: Request, cable: Cable, existing: Object | None, undo: AsyncExitStack,
                    undone: Undone) -> Laid:
        if request.tap:
            return Laid(await self._fitter.do(lambda host: plug.adopt(host, request.tap, cable.mtu)), is_new=False)
        lay = plug.lay_loose if request.loose else plug.lay
        laid = await self._fitter.do(lambda host: lay(host, cable))
        undo.callback(laid.close)
        if existing is None:
            undo.push_async_callback(_step_back, undone, "interface", self._unplug, cable.interface, cable.owner)
        if laid.is_new:
            self._worker.made(laid.link)
        return laid

    def _cable(self, request: Request, name: str) -> Cable:
        interface = request.tap or interface_name(request.namespace, name)
        return Cable(owner=endpoint_key(request.namespace, name), interface=interface, namespace=request.netns,
                     inner=request.loose or request.interface, mac=request.mac, mtu=request.mtu or self._worker.mtu,
                     forwards=request.forwards)

    def _endpoint(self, request: Request, name: str, cable: Cable, addresses: tuple[Cidr, ...]) -> Object:
        place = {NETNS_ANNOTATION: request.netns, INTERFACE_ANNOTATION: request.interface} if request.netns else {}
        spec: Object = {
            "node": self._node, "orchestrator": request.orchestrator, "workload": request.name,
            "endpoint": request.endpoint, "containerID": request.container_id, "pod": request.pod,
            "serviceAccountName": request.service_account_name, "interfaceName": cable.interface,
            "ipNetworks": list(addresses), "profiles": list(request.profiles) or [f"kns.{request.namespace}"],
            "mac": request.mac if request.tap else cable.inner_mac, "ports": list(request.ports),
            "ipNATs": _nats(request.floating, addresses) if addresses else [],
            "allowSpoofedSourcePrefixes": list(request.spoofable),
            "qosControls": request.qos_controls, "ipv6Gateway": request.gateway_v6,
        }
        return {
            "apiVersion": "projectcalico.org/v3", "kind": "WorkloadEndpoint",
            "spec": {field: value for field, value in spec.items() if value},
            "metadata": {"name": name, "namespace": request.namespace, "labels": dict(request.labels),
                         "annotations": place | request.annotations},
        }

    async def _wait_up(self, key: EndpointKey, link: Link, addresses: tuple[Cidr, ...]) -> None:
        def ready() -> bool:
            endpoint = self._worker.intent.endpoints.get(key)
            fresh = endpoint and endpoint.interface == link.name and set(endpoint.addresses) == set(addresses)
            return bool(fresh) and self._worker.is_up(key, link)

        if not await self._within(_READY_WITHIN, ready):
            state = self._worker.states.get(key)
            why = state.message if state else self._worker.why_disconnected or "the server has not told us of it"
            raise Transient(f"policy and routes are not in the kernel after {_READY_WITHIN:.0f} s: {why}")

    async def _within(self, seconds: float, condition: Callable[[], bool]) -> bool:
        try:
            async with asyncio.timeout(seconds):
                while not (self._worker.at_rest and condition()):
                    await self._worker.wait_turn()
        except TimeoutError:
            return False
        return True

    async def publish(self, request: Request, ports: tuple[Object, ...]) -> None:
        """Its ports are these from now on, in the kernel as well. One that is gone has none."""
        name = _endpoint_name(self._node, request)
        key = endpoint_key(request.namespace, name)
        wanted = frozenset(map(_published, ports))

        def led() -> bool:
            endpoint, state = self._worker.intent.endpoints.get(key), self._worker.states.get(key)
            if endpoint is None or state is None:
                return not wanted
            return state.state == "up" and frozenset(endpoint.published) == wanted

        async with self._turns.setdefault(key, asyncio.Lock()):
            there = await resources.set_ports(self._upstream, resources.endpoint_path(request.namespace, name), ports)
            if not there and wanted:
                raise Invalid(f"{key} is not there any more: start the container again")
            if not await self._within(_READY_WITHIN, led):
                raise Transient(f"the ports of {key} are not in the kernel after {_READY_WITHIN:.0f} s")

    def published(self, but: str) -> tuple[Published, ...]:
        """The ports of this host that lead to workloads of others than that orchestrator."""
        return tuple(port for key, endpoint in self._worker.intent.endpoints.items() if endpoint.published
                     and _orchestrator_of(key) != but for port in endpoint.published)

    async def remove(self, namespace: str, workload: str) -> None:
        """Gone, also when it was gone already."""
        await self.detach(Request(name=workload, namespace=namespace))

    async def detach(self, request: Request) -> None:
        """As `remove`, for a workload of any orchestrator: only what names it in the request is looked at."""
        name = _endpoint_name(self._node, request)
        key = endpoint_key(request.namespace, name)
        async with self._turns.setdefault(key, asyncio.Lock()):
            await self._undo_all(Entry(key=key, interface=interface_name(request.namespace, name),
                                       handle=request.handle(self._node)))
        log.info("workload_removed", key=key)

    async def find(self, request: Request) -> Object | None:
        """Its WorkloadEndpoint, by what names it in the request."""
        name = _endpoint_name(self._node, request)
        return await resources.find(self._upstream, resources.endpoint_path(request.namespace, name))

    async def read(self, key: EndpointKey) -> Object | None:
        """A WorkloadEndpoint by its key."""
        _, namespace, name = key.split("/")
        return await resources.find(self._upstream, resources.endpoint_path(namespace, name))

    async def check(self, request: Request) -> tuple[str, ...]:
        """What is not as `add` left it, in words; nothing is changed."""
        name = _endpoint_name(self._node, request)
        existing = await self.find(request)
        key = endpoint_key(request.namespace, name)
        if existing is None:
            return (f"{key} is not there",)
        await self._worker.look_again()
        state = self._worker.states.get(key)
        if state is None or state.state != "up":
            return (f"{key} is not up: {state.message if state else 'this host does not know it'}",)
        has = msgspec.structs.replace(request, mac=existing["spec"].get("mac", ""))
        cable, addresses = self._cable(has, name), _addresses_of(existing)
        return await self._fitter.do(lambda host: plug.check(host, cable, addresses))

    @property
    def attached(self) -> tuple[EndpointKey, ...]:
        """The endpoints that this host's kernel has."""
        return tuple(self._worker.intent.endpoints)

    @property
    def why_not_ready(self) -> str:
        """Why nothing can be added now, "" when it can."""
        if self._worker.in_sync and not self._worker.fault:
            return ""
        return self._worker.fault or self._worker.why_disconnected or "the kernel is being brought up to date"

    async def _undo_all(self, entry: Entry) -> None:
        with self._removals.under_way():
            with self._worker.removal_of(entry.interface):
                await self._undo_endpoint(entry)
            if entry.handle:
                await self._removals.addresses(entry.handle)

    async def _undo_endpoint(self, entry: Entry) -> None:
        _, namespace, name = entry.key.split("/")
        await self._removals.endpoint(namespace, name)
        if not await self._within(_GONE_WITHIN, lambda: entry.key not in self._worker.intent.endpoints):
            raise Transient(f"{entry.key} is still in this host's kernel after {_GONE_WITHIN:.0f} s: its link and"
                            " addresses are kept until it is gone; remove it again")
        await self._worker.forgetting.wait()
        if entry.interface:
            await self._unplug(entry.interface, entry.key)

    async def _unplug(self, interface: str, owner: EndpointKey) -> None:
        await self._fitter.unplug(Doomed(interface, owner, self._worker.number_of(interface, owner)))

    async def clear_remains(self, orchestrators: Collection[str]) -> None:
        """What these have on this host without an endpoint, see `remains`."""
        await self._worker.look_again()
        held = {*await remains.of_addresses(self._upstream), *self._worker.orphans}
        for key in sorted(remains.made_here(held, self._node, orchestrators)):
            if await self._clear(key):
                log.warning("remains_cleared", key=key)

    async def clear(self, request: Request) -> None:
        """What one that has no endpoint still has: its removal was broken off after the first step. Where it has one,
        somebody has added it meanwhile, and it stays."""
        await self._clear(endpoint_key(request.namespace, _endpoint_name(self._node, request)))

    async def _clear(self, key: EndpointKey) -> bool:
        _, namespace, name = key.split("/")
        async with self._turns.setdefault(key, asyncio.Lock()):
            if await self.read(key) is not None:
                return False
            await self._undo_all(Entry(key=key, interface=interface_name(namespace, name),
                                       handle=address_handle(namespace, name)))
        return True

    async def undo_interrupted(self) -> None:
        """Additions during which our predecessor died: whoever asked for them got no answer."""
        for entry in self._journal.entries():
            async with self._turns.setdefault(entry.key, asyncio.Lock()):
                if not self._journal.holds(entry.key):
                    continue  # asked for again meanwhile, and answered
                await self._undo_all(entry)
                self._journal.remove(entry.key)
            log.warning("interrupted_addition_undone", key=entry.key)


def _endpoint_name(node: str, request: Request) -> str:
    """Raises Invalid: they become parts of names, keys and paths."""
    for what, word in (("namespace", request.namespace), ("name", request.workload), ("endpoint", request.endpoint)):
        if not _WORD.fullmatch(word):
            raise Invalid(f"{what} {word!r}: write lower-case letters, digits, '-' and '.', such as web-1")
    return request.endpoint_name(node)


def _orchestrator_of(key: EndpointKey) -> str:
    try:
        return parse_workload_endpoint_name(key.rpartition("/")[2])[1]
    except Invalid:
        return ""  # named by hand


def _workload_of(key: EndpointKey) -> str:
    name = key.rpartition("/")[2]
    try:
        return parse_workload_endpoint_name(name)[2]
    except Invalid:
        return name


def _addresses_of(endpoint: Object | None) -> tuple[Cidr, ...]:
    return tuple(Cidr(address) for address in (endpoint or {}).get("spec", {}).get("ipNetworks") or ())


def _published(port: Object) -> Published:
    """As the host's intent will have it. Raises Invalid."""
    try:
        return Published(protocol=protocol_number(port["protocol"]), host_port=port["hostPort"], port=port["port"],
                         host_address=_bare(parse_cidr(port["hostIP"])) if port.get("hostIP") else "")
    except ValueError as error:
        raise Invalid(f"spec.ports: {error}") from None


def _nats(floating: Iterable[str], addresses: Iterable[Cidr]) -> list[dict[str, str]]:
    """Each floating address leads to the first of its family."""
    inner = {version_of(address): _bare(address) for address in reversed(list(addresses))}
    found = []
    for text in floating:
        address = _bare(host_cidr(text))
        if version_of(address) not in inner:
            raise Invalid(f"floating address {text}: the workload has no address of its family")
        found.append({"externalIP": address, "internalIP": inner[version_of(address)]})
    return found


def _bare(address: str) -> str:
    return address.partition("/")[0]


async def _together(one: Coroutine[Any, Any, A], two: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Both at once, and both to their end, so that what was done is known; then the first failure is raised."""
    tasks = asyncio.ensure_future(one), asyncio.ensure_future(two)
    await asyncio.gather(*tasks, return_exceptions=True)
    return tasks[0].result(), tasks[1].result()


async def _after_the_other(coroutine: Coroutine[Any, Any, A]) -> A:
    """What the other asks of the server goes out first: its answer takes longer than this, and the thread that this
    starts would have Python's lock at once."""
    for _ in range(3):
        await asyncio.sleep(0)
    return await coroutine


async def _step_back(undone: Undone, what: str, step: Callable[..., Awaitable[object]], *words: object) -> None:
    """One that fails is told and does not stop the others."""
    try:
        await step(*words)
        undone.done.append(what)
    except MuslinError as error:
        undone.failed.append(f"{what} ({error})")
