"""A real server in a thread, over a real unix socket, and the smallest client that can speak to it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from muslin.server.run import ServerOptions, serve

CALICO = "/apis/projectcalico.org/v3"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

Json = dict[str, Any]


class Answer:
    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Json:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found

    @property
    def fields(self) -> list[str]:
        """The fields that a refusal complains of."""
        return [cause["field"] for cause in self.json["details"]["causes"]]


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("muslin", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Api:
    """`put`, `post` and so on send JSON and return the Answer, whatever its code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None,
             **query: object) -> Answer:
        connection = _Unix(self.path, 20)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            given = {"Content-Type": "application/json"} if data is not None else {}
            target = path + ("?" + urlencode(query) if query else "")
            connection.request(method, target, body=data, headers=given | (headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, accept: str = "application/json", **query: object) -> Answer:
        return self.send("GET", path, headers={"Accept": accept}, **query)

    def post(self, path: str, body: object, **query: object) -> Answer:
        return self.send("POST", path, body, **query)

    def put(self, path: str, body: object, **query: object) -> Answer:
        return self.send("PUT", path, body, **query)

    def patch(self, path: str, body: object, kind: str = MERGE, **query: object) -> Answer:
        return self.send("PATCH", path, body, {"Content-Type": kind}, **query)

    def delete(self, path: str, body: object = None, **query: object) -> Answer:
        return self.send("DELETE", path, body, **query)

    def made(self, path: str, body: Json, **query: object) -> Json:
        """POST that must succeed."""
        answer = self.post(path, body, **query)
        assert answer.status == 201, answer.body
        return answer.json

    @contextmanager
    def lines(self, path: str, accept: str = "application/json", **query: object) -> Iterator[Iterator[Any]]:
        """The JSON lines of a stream, keep-alives left out."""
        connection = _Unix(self.path, 20)
        connection.request("GET", path + ("?" + urlencode(query) if query else ""), headers={"Accept": accept})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        try:
            yield (json.loads(line) for line in iter(response.readline, b"") if line.strip())
        finally:
            response.close()
            connection.close()


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Api]:
    """A server that is stopped at the end, and whose end is without errors."""
    path = folder / "s.sock"
    given = ServerOptions(**{"store": "memory:", "listen": (f"unix:{path}",), **options})
    controls: dict[str, Any] = {}
    failures: list[BaseException] = []
    up = threading.Event()

    async def life() -> None:
        stop, started = asyncio.Event(), asyncio.Event()
        controls.update(loop=asyncio.get_running_loop(), stop=stop)
        serving = asyncio.create_task(serve(given, stop, started))
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait([serving, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if started.is_set():
            up.set()
        await serving

    def run() -> None:
        try:
            asyncio.run(life())
        except BaseException as error:  # noqa: BLE001 (raised again by whoever waits)
            failures.append(error)
            up.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert up.wait(20), "the server did not start in 20 s"
    if failures:
        raise failures[0]
    try:
        yield Api(path)
    finally:
        controls["loop"].call_soon_threadsafe(controls["stop"].set)
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop in 20 s"
    if failures:
        raise failures[0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: Callable[[], Any], seconds: float = 10) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError(f"nothing in {seconds} s")


# -- tiny words

def gnp(name: str, labels: dict[str, str] | None = None, **spec: Any) -> Json:
    return {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": name, **({"labels": labels} if labels else {})},
            "spec": {"selector": "all()", "order": 10, **spec}}


def policy(name: str, namespace: str = "shop", **spec: Any) -> Json:
    return {"apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": namespace}, "spec": {"selector": "all()", **spec}}


def resource(kind: str, name: str, namespace: str = "", labels: dict[str, str] | None = None, **spec: Any) -> Json:
    metadata: Json = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec}


def workload(name: str, host: str, *addresses: str, namespace: str = "shop", **labels: str) -> Json:
    return resource(
        "WorkloadEndpoint", f"{host}-muslin-{name}-eth0", namespace, labels, node=host, orchestrator="muslin",
        workload=name, endpoint="eth0", interfaceName=f"mus{name}",
        ipNetworks=[f"{one}/128" if ":" in one else f"{one}/32" for one in addresses],
        profiles=["projectcalico-default-allow"],
    )


def weps(namespace: str = "shop") -> str:
    return f"{CALICO}/namespaces/{namespace}/workloadendpoints"


GNPS = f"{CALICO}/globalnetworkpolicies"
NPS = f"{CALICO}/namespaces/shop/networkpolicies"
NAMESPACES = "/api/v1/namespaces"
