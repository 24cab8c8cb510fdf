"""A server and an agent that can be asked how much they hold, and a server whose store a storm goes through.

    python tests/stormrig.py server SERVER_SOCKET CONTROL_SOCKET     the server, on a store in memory
    python tests/stormrig.py agent FILE ARGUMENTS...                 `muslin agent`; SIGUSR1: its count, into FILE

The store is written in the server's own process, past the HTTP door: ten thousand changes a second are more than
requests could bring, and what is tried here is what comes behind it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agentrig import Site
from muslin.agent.report import resident
from muslin.cli import main
from muslin.model.meta import ResourceKey
from muslin.model.names import workload_endpoint_name
from muslin.server.run import ServerOptions, serve_store
from muslin.store import Store, layout, open_store
from netrig import wait_for

Object = dict[str, Any]
TICK = 0.01
APPS = ("db", "web", "x", "y")


def holdings() -> Object:
    """Objects that the collector knows, without caches that have a limit, and bytes."""
    for module in [each for name, each in sys.modules.items() if name.startswith("muslin")]:
        for each in vars(module).values():
            if hasattr(each, "cache_clear") and each.cache_parameters()["maxsize"] is not None:
                each.cache_clear()
    gc.collect()
    known = gc.get_objects()
    return {"objects": len(known), "resident": resident(),
            "most": Counter(type(each).__qualname__ for each in known).most_common(40)}


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
    nets = [f"203.0.113.{dice.randrange(64)}/32" for _ in range(dice.randrange(4))]
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


async def _serve(listen: str, control: str) -> None:
    store, stop = open_store("memory:"), asyncio.Event()
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


def start_server(place: Site) -> None:
    """In place of the ordinary one."""
    place.start("server", sys.executable, __file__, "server", str(place.run / "server.sock"),
                str(place.run / "storm.sock"))
    place.wait_for_server()


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
        asyncio.run(_serve(*sys.argv[2:4]))
    else:
        _attend(Path(sys.argv[2]), sys.argv[3:])
