"""A server and an agent that can be asked how much they hold, and a server whose store a storm goes through.

    python tests/stormrig.py server SERVER_SOCKET CONTROL_SOCKET STORE     the server, on `memory:` or `sqlite:///FILE`
    python tests/stormrig.py agent FILE ARGUMENTS...                 `muslin agent`; SIGUSR1: its count, into FILE
    python tests/stormrig.py calls SERVER_SOCKET CONTROL_SOCKET SEED SECONDS RATE     a storm of calls of the API
    python tests/stormrig.py stream SOCKET CONTROL_SOCKET DUMP       in place of the server: only an agent's stream

A storm comes in three ways. Into the store, in the server's own process, past the HTTP door: what is tried is all that
comes behind it. By the API, as fast as the server takes it. Into an agent's stream, a delta for each change: the server
would have gathered them, so more than an agent is ever told.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from aiohttp import web

from agentrig import Site
from muslin.agent.report import resident
from muslin.calc import cluster
from muslin.cli import main
from muslin.client import Client
from muslin.model.meta import ResourceKey
from muslin.model.names import workload_endpoint_name
from muslin.server.decoding import decoded
from muslin.server.frames import Frames
from muslin.server.run import ServerOptions, serve_store
from muslin.store import Store, layout, open_store
from netrig import wait_for

Object = dict[str, Any]
TICK = 0.01
CALL = 1000
APPS = ("db", "web", "x", "y")


def holdings() -> Object:
    """Objects that the collector knows, without caches that have a limit; what Python and C have given out and not
    got back (blocks of up to 512 bytes; bytes of all that is larger); and bytes of memory."""
    for module in [each for name, each in sys.modules.items() if name.startswith("muslin")]:
        for each in vars(module).values():
            if hasattr(each, "cache_clear") and each.cache_parameters()["maxsize"] is not None:
                each.cache_clear()
    gc.collect()
    known = gc.get_objects()
    return {"objects": len(known), "blocks": sys.getallocatedblocks(), "large": _large(), "resident": resident(),
            "most": Counter(type(each).__qualname__ for each in known).most_common(40)}


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of glibc."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"))


def _large() -> int:
    """Bytes that malloc has given out, in its main arena and as mappings of their own."""
    ask = ctypes.CDLL("libc.so.6").mallinfo2
    ask.restype = _Mallinfo
    found = ask()
    return int(found.uordblks + found.hblkhd)


# ---- what a storm is made of: nothing of it changes what `web`, `db` and `guest` may do among each other


def _thing(kind: str, name: str, spec: Object, labels: Object, namespace: str = "") -> tuple[ResourceKey, Object]:
    metadata = {"name": name, "labels": labels, "uid": name, "creationTimestamp": "2026-01-02T03:04:05Z"}
    metadata |= {"namespace": namespace} if namespace else {}
    return ResourceKey(kind, namespace, name), {
        "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec}


def _policy(dice: random.Random) -> tuple[ResourceKey, Object]:
    """Behind the one that allows, and never of UDP. Of few words, so that what is kept of words is soon full."""
    rule = {"action": dice.choice(("Allow", "Deny")), "protocol": "TCP",
            "source": {"nets": [f"198.51.100.{dice.randrange(64)}/32"]},
            "destination": {"ports": [dice.randrange(1, 64) * 1000]}}
    return _thing("GlobalNetworkPolicy", f"late.noise{dice.randrange(40)}", {
        "tier": "late", "order": dice.randrange(20, 90), "types": ["Ingress"], "ingress": [rule],
        "selector": dice.choice(("app == 'db'", "app == 'web'", "zone == '1'", "all()"))}, {})


def _set(dice: random.Random) -> tuple[ResourceKey, Object]:
    nets = sorted({f"203.0.113.{dice.randrange(64)}/32" for _ in range(dice.randrange(4))})
    return _thing("GlobalNetworkSet", f"noise{dice.randrange(30)}", {"nets": nets}, {"role": "friend"})


def _endpoint(dice: random.Random) -> tuple[ResourceKey, Object]:
    """Of another host; one in twenty of this one, whose interface is not there."""
    number = dice.randrange(400)
    node = "h1" if number < 20 else "h2"
    spec = {"node": node, "orchestrator": "muslin", "workload": f"storm{number}", "endpoint": "eth0",
            "ipNetworks": [f"10.99.{number >> 8}.{number & 255}/32"], "interfaceName": f"musstorm{number:05}"}
    name = workload_endpoint_name(node, "muslin", f"storm{number}", "eth0")
    return _thing("WorkloadEndpoint", name, spec, {"app": dice.choice(APPS), "zone": str(dice.randrange(3))}, "default")


def _relabelled(dice: random.Random, real: list[tuple[ResourceKey, Object]]) -> tuple[ResourceKey, Object]:
    key, found = dice.choice(real)
    labels = found["metadata"]["labels"] | {"zone": str(dice.randrange(3))}
    return key, found | {"metadata": found["metadata"] | {"labels": labels}}


def changes(dice: random.Random, real: list[tuple[ResourceKey, Object]]) -> Iterator[tuple[str, bytes | None]]:
    """Without end. A quarter of what may go, goes."""
    makers = (_policy, _set, _endpoint, _endpoint)
    while True:
        if real and dice.random() < 0.1:
            key, value = _relabelled(dice, real)
            gone = False
        else:
            key, value = dice.choice(makers)(dice)
            gone = dice.random() < 0.25
        yield layout.path(key), None if gone else json.dumps(value).encode()


class Storm:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def rage(self, seed: int, seconds: float, rate: float) -> Object:
        dice, real, there = random.Random(seed), await self._real(), set[str]()
        going, began, written, wanted = changes(dice, real), time.monotonic(), 0, int(seconds * rate)
        while written < wanted and time.monotonic() < began + 3 * seconds:  # a slow machine does less
            due = min(wanted, int((time.monotonic() - began + TICK) * rate))
            while written < due:
                key, value = next(going)
                if value is not None:
                    await self._store.put(key, value)
                    there.add(key)
                elif key in there:
                    await self._store.delete(key)
                    there.remove(key)
                written += 1
                if not written % 50:
                    await asyncio.sleep(0)
                    if time.monotonic() > began + 3 * seconds:
                        break
            await asyncio.sleep(TICK)
        return {"written": written, "seconds": time.monotonic() - began}

    async def clear(self) -> Object:
        """All that storms left."""
        page = await self._store.list("/")
        left = [entry.key for entry in page.entries if "noise" in entry.key or "storm" in entry.key]
        for key in left:
            await self._store.delete(key)
        await self._store.compact(max(0, page.revision - 1000))  # the store's history would hide what else grows
        return {"cleared": len(left)}

    async def dump(self) -> Object:
        page = await self._store.list("/")
        return {entry.key: entry.value.decode() for entry in page.entries}

    async def _real(self) -> list[tuple[ResourceKey, Object]]:
        found = []
        for entry in (await self._store.list("/")).entries:
            key = layout.parse(entry.key)
            if key is not None and key.kind == "WorkloadEndpoint" and "storm" not in key.name:
                found.append((key, json.loads(entry.value)))
        return found


async def _serve(listen: str, control: str, url: str) -> None:
    store, stop = open_store(url), asyncio.Event()
    storm = Storm(store)

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wish = json.loads(await reader.readline())
        match wish.pop("do"):
            case "storm":
                answer = await storm.rage(**wish)
            case "clear":
                answer = await storm.clear()
            case "dump":
                answer = await storm.dump()
            case _:
                await store.compact((await store.list("/", limit=1)).revision)
                answer = holdings()
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await asyncio.start_unix_server(hear, control):
        await serve_store(store, ServerOptions(listen=(f"unix:{listen}",)), stop)


# ---- a storm of calls


def _call_of(key: ResourceKey, value: bytes | None) -> Object:
    """An item of POST /muslin/v1/changes. Who an object is, and since when, the server says."""
    if value is None:
        named = {"name": key.name} | ({"namespace": key.namespace} if key.namespace else {})
        return {"delete": {"apiVersion": "projectcalico.org/v3", "kind": key.kind, "metadata": named}}
    found = json.loads(value)
    metadata = {word: part for word, part in found["metadata"].items() if word not in ("uid", "creationTimestamp")}
    return {"put": found | {"metadata": metadata}}


def call(listen: Path, control: Path, seed: int, seconds: float, rate: float) -> Object:
    """Over two connections, a thousand at once. What was asked for comes round after two seconds of storm."""
    real = [(key, json.loads(text)) for path, text in ask(control, do="dump").items()
            if (key := layout.parse(path)) and key.kind == "WorkloadEndpoint" and "storm" not in key.name]
    going = ((layout.parse(path), value) for path, value in changes(random.Random(seed), real))
    wanted = int(seconds * rate)
    items = [_call_of(key, value) for key, value in islice(going, min(wanted, 20_000)) if key is not None]
    bodies = [{"items": items[first : first + CALL]} for first in range(0, len(items), CALL)]
    numbers, told, began = iter(range(wanted // CALL)), Counter[str](), time.monotonic()

    def one_after_another() -> None:
        client = Client(f"unix:{listen}", timeout=60)
        for number in numbers:
            time.sleep(max(0.0, began + number * CALL / rate - time.monotonic()))
            if time.monotonic() > began + 3 * seconds:
                return
            for answer in client.post("/muslin/v1/changes", bodies[number % len(bodies)])["items"]:
                told[answer["verb"] if "verb" in answer else answer["status"]["message"]] += 1

    with ThreadPoolExecutor(2) as callers:
        for caller in [callers.submit(one_after_another) for _ in range(2)]:
            caller.result()
    return {"written": told.total(), "seconds": time.monotonic() - began, "told": dict(told)}


def storm_of_calls(place: Site, seed: int, seconds: float, rate: float) -> Object:
    """In a process of its own, so that it does not slow those that send packets."""
    found = subprocess.run(
        [sys.executable, __file__, "calls", str(place.run / "server.sock"), str(place.run / "storm.sock"), str(seed),
         str(seconds), str(rate)], check=True, capture_output=True, timeout=300)
    told: Object = json.loads(found.stdout)
    return told


# ---- a storm of deltas


class Stream:
    """A server that has only the stream of one host, and answers everything else as if it were well."""

    def __init__(self, objects: dict[str, str]) -> None:
        self.graph, self.now = cluster.Graph(), {path: text.encode() for path, text in objects.items()}
        self._real = [(key, json.loads(text)) for path, text in objects.items()
                      if (key := layout.parse(path)) and key.kind == "WorkloadEndpoint"]
        self._before = dict(self.now)
        self._listening: list[web.StreamResponse] = []
        self._change(self.now)

    def _change(self, writes: Mapping[str, bytes | None]) -> bytes:
        """The lines of the host; perhaps none."""
        keyed = [(layout.parse(path), value) for path, value in writes.items()]
        self.graph.update({key: decoded(key, value) for key, value in keyed if key is not None})
        for path, value in writes.items():
            if value is not None:
                self.now[path] = value
            else:
                self.now.pop(path, None)
        delta = self.graph.flush().hosts.get("h1")
        return Frames().line(delta) if delta is not None else b""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/feed"):
            return web.json_response({"metadata": {"labels": {}}, "spec": {}})
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(Frames().line(self.graph.subscribe("h1")))
        self._listening.append(response)
        while True:
            await asyncio.sleep(2)
            await response.write(b"\n")

    async def rage(self, seed: int, seconds: float, rate: float) -> Object:
        """A round of changes that ends where it began, again and again, and half a round."""
        going = changes(random.Random(seed), self._real)
        paths: list[tuple[str, bytes | None]] = []
        lines: list[bytes] = []
        while len(lines) < min(rate, seconds * rate / 2):
            paths.append(next(going))
            lines += filter(None, [self._change(dict(paths[-1:]))])
        for path in {path for path, _ in paths}:
            lines += filter(None, [self._change({path: self._before.get(path)})])
        assert self.now == self._before
        wanted, sent, began = int(seconds * rate) // len(lines) * len(lines), 0, time.monotonic()
        while sent < wanted and time.monotonic() < began + 3 * seconds:
            due = min(wanted, int((time.monotonic() - began + TICK) * rate), sent + len(lines))
            both = lines * 2
            await self._say(both[sent % len(lines) :][: due - sent])
            sent = due
            await asyncio.sleep(TICK)
        await self._say(lines[sent % len(lines) :] if sent % len(lines) else [])
        took = time.monotonic() - began
        await self._say([line for path in paths[: len(paths) // 2] if (line := self._change(dict([path])))])
        return {"written": sent, "seconds": took}

    async def _say(self, lines: list[bytes]) -> None:
        for response in self._listening:
            await response.write(b"".join(lines))

    def dump(self) -> Object:
        return {path: value.decode() for path, value in self.now.items()}


async def _stream(listen: str, control: str, file: str) -> None:
    stream = Stream(json.loads(Path(file).read_text()))
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", stream.answer)

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wish = json.loads(await reader.readline())
        answer = await stream.rage(**wish) if wish.pop("do") == "storm" else stream.dump()
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, listen).start()
    async with await asyncio.start_unix_server(hear, control):
        await asyncio.Event().wait()


def turn_to_stream(place: Site) -> None:
    """The agent of h1 is started anew, with nothing but a stream that begins with what the server has."""
    dump = place.directory / "dump.json"
    dump.write_text(json.dumps(ask(place.run / "storm.sock", do="dump")))
    place.start("stream", sys.executable, __file__, "stream", str(place.run / "stream.sock"),
                str(place.run / "deltas.sock"), str(dump))
    wait_for("the stream", (place.run / "deltas.sock").exists)
    place.signal("agent-h1", signal.SIGTERM)
    place.start_agent("h1", "--no-bgp", "--server", f"unix:{place.run / 'stream.sock'}")


def start_agent(place: Site, host: str) -> Path:
    """In place of the ordinary one. Where it tells what it holds, when it is asked."""
    told = place.directory / f"{host}.json"
    place.start(f"agent-{host}", "ip", "netns", "exec", place.make_host(host), sys.executable, __file__, "agent",
                str(told), "agent", "--node", host, "--no-bgp")
    place.wait_for_agent(host)
    return told


def ask_agent(place: Site, host: str, told: Path) -> Object:
    told.unlink(missing_ok=True)
    place.signal(f"agent-{host}", signal.SIGUSR1)
    wait_for("the agent's count", told.exists, 30)
    found: Object = json.loads(told.read_text())
    return found


def start_server(place: Site, store: str = "memory:") -> None:
    """In place of the ordinary one."""
    place.start("server", sys.executable, __file__, "server", str(place.run / "server.sock"),
                str(place.run / "storm.sock"), store)
    place.wait_for_server()


def start_server_on_disk(place: Site) -> None:
    start_server(place, f"sqlite:///{place.state / 'store.db'}")


def ask(control: Path, **wish: object) -> Any:
    """Of the server's control socket."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(300)
        asking.connect(str(control))
        asking.sendall(json.dumps(wish).encode() + b"\n")
        return json.loads(b"".join(iter(lambda: asking.recv(1 << 20), b"")))


def _attend(file: Path, words: list[str]) -> None:
    def tell(*_: object) -> None:
        beside = file.with_suffix(".new")
        beside.write_text(json.dumps(holdings()))
        os.replace(beside, file)  # noqa: PTH105 (nothing else may be half done in a signal's handler)

    signal.signal(signal.SIGUSR1, tell)
    sys.argv = ["muslin", *words]
    main()


if __name__ == "__main__":
    if sys.argv[1] == "server":
        asyncio.run(_serve(*sys.argv[2:5]))
    elif sys.argv[1] == "stream":
        asyncio.run(_stream(*sys.argv[2:5]))
    elif sys.argv[1] == "calls":
        print(json.dumps(call(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), *map(float, sys.argv[5:7]))))
    else:
        _attend(Path(sys.argv[2]), sys.argv[3:])
