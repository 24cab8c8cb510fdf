"""The agent's own HTTP API, on a unix socket that only root may open: workloads of this host, and how it is.

    POST /v1/workloads   DELETE /v1/workloads/{namespace}/{name}   GET /v1/workloads   GET /v1/status   GET /healthz
    POST /v1/why   POST /v1/trace       what the kernel does with a packet, see `witness`
    GET /v1/flows                       what is under way, and what policy says of it, see `client.flows`

Errors are Kubernetes `Status` JSON, as everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web

from muslin.agent.flow_list import FlowList
from muslin.agent.report import Reporter
from muslin.agent.witness import Asked, Witness
from muslin.agent.workloads import NotAdded, Workloads
from muslin.client.refusal import ApiError
from muslin.client.workload import Request
from muslin.drivers.plug import NameTaken
from muslin.errors import Broken, Conflict, Invalid, MuslinError, Transient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger()


_MOST_FLOWS = 1000
_LARGEST = 16 << 20
"""Of a request's body: a container runtime sends what it likes along with its configuration."""


def application(workloads: Workloads, reporter: Reporter, witness: Witness, flow_list: FlowList) -> web.Application:
    async def add(request: web.Request) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=Request)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Invalid(f"the body is not a workload: {error}") from None
        return _json(await workloads.add(wanted), HTTPStatus.CREATED)

    async def remove(request: web.Request) -> web.Response:
        await workloads.remove(request.match_info["namespace"], request.match_info["name"])
        return _json({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    async def listed(_: web.Request) -> web.Response:
        return _json({"items": workloads.listed()})

    async def status(_: web.Request) -> web.Response:
        return _json(reporter.report())

    async def healthz(_: web.Request) -> web.Response:
        report = reporter.report()
        return web.Response(text="ok" if report.in_sync else "not in sync",
                            status=HTTPStatus.OK if report.in_sync else HTTPStatus.SERVICE_UNAVAILABLE)

    async def live(request: web.Request) -> web.Response:
        return _json(await witness.live(await _asked(request)))

    async def trace(request: web.Request) -> web.Response:
        return _json(await witness.trace(await _asked(request)))

    async def flows(request: web.Request) -> web.Response:
        limit = request.query.get("limit", str(_MOST_FLOWS))
        if not limit.isdecimal():
            raise Invalid(f"limit={limit}: write a number")
        return _json(await flow_list.seen(request.query.get("address", ""), int(limit)))

    app = web.Application(middlewares=[_refusals], client_max_size=_LARGEST)
    app.router.add_post("/v1/workloads", add)
    app.router.add_get("/v1/workloads", listed)
    app.router.add_delete("/v1/workloads/{namespace}/{name}", remove)
    app.router.add_get("/v1/status", status)
    app.router.add_post("/v1/why", live)
    app.router.add_post("/v1/trace", trace)
    app.router.add_get("/v1/flows", flows)
    app.router.add_get("/healthz", healthz)
    return app


async def _asked(request: web.Request) -> Asked:
    try:
        return msgspec.json.decode(await request.read(), type=Asked)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the body is no packet: {error}") from None


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _status(error.status, error.reason.replace(" ", ""), f"{request.method} {request.path}: {error.reason}")
    except MuslinError as error:
        cause = error.cause if isinstance(error, NotAdded) else error
        code, reason = _code(cause)
        if code == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("broken", why=str(error))
        details = cause.status.get("details") if isinstance(cause, ApiError) else None
        return _status(code, reason, str(error), details)


def _code(error: MuslinError) -> tuple[int, str]:
    match error:
        case ApiError():
            return error.code, error.reason
        case NameTaken():
            return HTTPStatus.CONFLICT, "AlreadyExists"
        case Invalid():
            return HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid"
        case Conflict():
            return HTTPStatus.CONFLICT, "Conflict"
        case Transient():
            return HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable"
        case Broken() | MuslinError():
            return HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError"


def _status(code: int, reason: str, message: str, details: Any = None) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "code": int(code)}
    return _json(body | ({"details": details} if details else {}), code)


def _json(body: object, code: int = HTTPStatus.OK) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=code, content_type="application/json")


async def listen(app: web.Application, path: Path) -> web.AppRunner:
    """Serve on the socket, mode 0600. A socket that a dead predecessor left is taken over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(before)
    return runner
