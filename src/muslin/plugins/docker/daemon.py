"""Questions to dockerd, in the middle of its own calls.

Within a driver's call dockerd holds locks: some questions would wait for us for ever. Two are safe in Join (measured
with 20.10), and tell what policy needs before the first packet: a network with the names of its endpoints' containers,
and the list of containers with labels.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from muslin.client.address import parse
from muslin.client.refusal import reason
from muslin.errors import Transient
from muslin.plugins.docker.faults import Refused

_TIMEOUT = aiohttp.ClientTimeout(total=5, sock_connect=2)
_OTHER_QUESTIONS = 25
"""One after the other, 1 ms each: a question about a container, asked before, takes 1 to 5 of them."""
_CHANGE = aiohttp.ClientTimeout(total=60, sock_connect=2)
"""It asks us, and so the server, meanwhile."""
DEFAULT = "unix:/var/run/docker.sock"
Object = dict[str, Any]


class Daemon:
    def __init__(self, address: str) -> None:
        self.address = address or DEFAULT

    async def network(self, network: str) -> Object | None:
        """None: there is none, or it is still being made."""
        found = await self._get(f"/networks/{network}")
        return found if isinstance(found, dict) else None

    async def networks(self) -> list[Object]:
        """All, also those of other drivers; without their containers."""
        found = await self._get("/networks")
        return found if isinstance(found, list) else []

    async def container(self, name: str) -> Object | None:
        """By its name, as the list of containers has it."""
        filters = json.dumps({"name": [f"^/{name}$"]})
        found = await self._get("/containers/json", all="1", filters=filters)
        return found[0] if isinstance(found, list) and found else None

    async def locked(self, containers: Iterable[str]) -> set[str]:
        """On which of them does dockerd work just now? It answers no question about those. How slow it is at others is
        seen by others."""
        questions = {each: asyncio.create_task(self.whole_container(each)) for each in containers}
        try:
            for _ in range(_OTHER_QUESTIONS):
                await self._get("/containers/json", limit="1")
                if all(question.done() for question in questions.values()):
                    break
            return {each for each, question in questions.items() if not question.done()}
        finally:
            for question in questions.values():
                question.cancel()
            await asyncio.gather(*questions.values(), return_exceptions=True)

    async def state(self, container: str) -> str:
        """In dockerd's words, such as `running`; "" when there is none."""
        found = await self._get("/containers/json", all="1", filters=json.dumps({"id": [container]}))
        return str(found[0].get("State")) if isinstance(found, list) and found else ""

    async def whole_container(self, container: str) -> Object | None:
        """With its aliases. Not within a driver's call: dockerd answers only when that is over."""
        found = await self._get(f"/containers/{container}/json")
        return found if isinstance(found, dict) else None

    async def stopped(self) -> list[str]:
        """The ids of containers that do not run."""
        filters = json.dumps({"status": ["created", "exited"]})
        found = await self._get("/containers/json", all="1", filters=filters)
        return [str(each.get("Id")) for each in found] if isinstance(found, list) else []

    async def start(self, container: str) -> None:
        """Also one that runs already. Raises Refused, in dockerd's words."""
        await self._do("POST", f"/containers/{container}/start", None)

    async def create_network(self, body: Object) -> None:
        """Raises Refused, in dockerd's words."""
        await self._do("POST", "/networks/create", body)

    async def remove_network(self, network: str) -> None:
        """Gone, also when it was gone already. Raises Refused, in dockerd's words."""
        await self._do("DELETE", f"/networks/{network}", None)

    async def _do(self, method: str, path: str, body: Object | None) -> None:
        status, answer = await self._call(method, path, {}, body)
        if status >= HTTPStatus.BAD_REQUEST and (method, status) != ("DELETE", HTTPStatus.NOT_FOUND):
            raise Refused(str(_decoded(answer).get("message") or f"dockerd answered {status}"))

    async def _get(self, path: str, **query: str) -> Any:
        status, body = await self._call("GET", path, query, None)
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status != HTTPStatus.OK:
            raise Transient(f"dockerd at {self.address} answered {status} to {path}: {body[:200]!r}")
        return msgspec.json.decode(body)

    async def _call(self, method: str, path: str, query: dict[str, str], body: Object | None) -> tuple[int, bytes]:
        socket = parse(self.address).path
        timeout = _TIMEOUT if method == "GET" else _CHANGE
        try:
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=timeout) as session, \
                    session.request(method, f"http://docker{path}", params=query, json=body) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Transient(f"dockerd does not answer at {self.address} ({reason(error)}): "
                            "`muslin docker install --docker unix:PATH` says where it does") from None


def _decoded(body: bytes) -> Object:
    try:
        return msgspec.json.decode(body, type=Object)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
