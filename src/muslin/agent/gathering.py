"""What many workloads ask of the server at one path: whoever comes while a call is under way is gathered.

One alone costs one call. Fifty at once cost three or four: while the first is answered the others gather, and go
together. So it needs no timer, and nobody waits for somebody who may not come.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import msgspec

from muslin.agent.resources import Object
from muslin.agent.upstream import Upstream
from muslin.client.refusal import ApiError
from muslin.errors import Broken, MuslinError

_MOST = 64
_PATH = "/muslin/v1/workloads"
_ENDPOINTS = "workloadendpoints"
_UNKNOWN = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
"""The path or the method: of an item it would be said in the item's answer."""


class Said(msgspec.Struct, frozen=True):
    """The server's answer to one item. `status`: a refusal; then nothing was done."""

    status: dict[str, Any] | None = None


class _Answers(msgspec.Struct, frozen=True):
    items: tuple[dict[str, Any], ...]


Answer = TypeVar("Answer", bound=Said)


class Gathering(Generic[Answer]):
    def __init__(self, upstream: Upstream, method: str, shape: type[Answer]) -> None:
        self._upstream = upstream
        self._method = method
        self._shape = shape
        self._waiting: list[tuple[Object, asyncio.Future[Answer]]] = []
        self._is_due = False
        """Not only patient ones wait."""
        self._calling: asyncio.Task[None] | None = None

    async def ask(self, item: Object, patience: float = 0.0) -> Answer:
        """With `patience`, it goes along with the next call that somebody asks for, or after so many seconds.

        Raises Refused (nothing was done), and whatever else a call ends in (what was done is not known).
        """
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((item, answered))
        if patience:
            loop.call_later(patience, self._begin)
        else:
            self._begin()
        return await answered

    def _begin(self) -> None:
        self._is_due = True
        if self._waiting and (self._calling is None or self._calling.done()):
            self._calling = asyncio.create_task(self._call())

    async def _call(self) -> None:
        while self._waiting and self._is_due:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            self._is_due = bool(self._waiting)
            try:
                outcomes = await self._outcomes([item for item, _ in batch])
            except Exception as error:  # noqa: BLE001 (our bug, or an answer like none; nobody may wait for ever)
                broken = Broken(f"{self._method} {_PATH} ended in {type(error).__name__}: {error}")
                broken.__cause__ = error
                outcomes = [broken] * len(batch)
            for (_, answered), outcome in zip(batch, outcomes, strict=True):
                if answered.done():
                    continue  # whoever asked is gone
                if isinstance(outcome, MuslinError):
                    answered.set_exception(outcome)
                else:
                    answered.set_result(outcome)

    async def _outcomes(self, items: list[Object]) -> list[Answer | MuslinError]:
        try:
            said = await self._upstream.call(self._method, _PATH, {"items": items})
            answers = [msgspec.convert(each, self._shape) for each in msgspec.convert(said, _Answers).items]
        except ApiError as error:
            return [_older(error) if error.code in _UNKNOWN else error] * len(items)
        except MuslinError as error:
            return [error] * len(items)
        except msgspec.ValidationError as error:
            return [Broken(f"the server answered {self._method} {_PATH} by {error}")] * len(items)
        if len(answers) != len(items):
            return [Broken(f"the server answered {len(answers)} of {len(items)} items")] * len(items)
        return [one if one.status is None else Refused(one.status) for one in answers]


def _older(error: ApiError) -> ApiError:
    message = f"the server is older than this agent: upgrade the servers first (it answered {error.code}: {error})"
    return ApiError({**error.status, "message": message}, error.code)


class Refused(ApiError):
    """The server did nothing, and says why."""

    def __init__(self, status: dict[str, Any]) -> None:
        super().__init__(status, int(status.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR))

    @property
    def is_there_already(self) -> bool:
        """The endpoint, not an address that somebody has."""
        details = self.status.get("details")
        kind = details.get("kind") if isinstance(details, dict) else None
        return self.code == HTTPStatus.CONFLICT and kind == _ENDPOINTS
