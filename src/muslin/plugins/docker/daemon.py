"""Questions to dockerd, in the middle of its own calls.

Within a driver's call dockerd holds locks: some questions would wait for us for ever. Two are safe in Join (measured
with 20.10), and tell what policy needs before the first packet: a network with the names of its endpoints' containers,
and the list of containers with labels.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec

from muslin.client.address import parse
from muslin.errors import Transient

_TIMEOUT = aiohttp.ClientTimeout(total=5, sock_connect=2)
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

    async def whole_container(self, container: str) -> Object | None:
        """With its aliases. Not within a driver's call: dockerd answers only when that is over."""
        found = await self._get(f"/containers/{container}/json")
        return found if isinstance(found, dict) else None

    async def _get(self, path: str, **query: str) -> Any:
        socket = parse(self.address).path
        try:
            async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket), timeout=_TIMEOUT) as session, \
                    session.get(f"http://docker{path}", params=query) as answer:
                if answer.status == HTTPStatus.NOT_FOUND:
                    return None
                body = await answer.read()
                if answer.status != HTTPStatus.OK:
                    raise Transient(f"dockerd at {self.address} answered {answer.status} to {path}: {body[:200]!r}")
                return msgspec.json.decode(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Transient(f"dockerd does not answer at {self.address}: {error or type(error).__name__}: "
                            "`muslin docker install --docker unix:PATH` says where it does") from None
