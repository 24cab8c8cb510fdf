"""Around every request: errors become `Status`, everything is counted, and what is our fault is logged.

This is the outermost shell, the one place that catches everything: bad input has been refused below, so what arrives
here is a bug, and one request's bug must not take the server from the others.
"""

from __future__ import annotations

import time

import structlog
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError
from aiohttp.typedefs import Handler, Middleware

from muslin.errors import Broken, MuslinError
from muslin.server.listeners import is_own_page
from muslin.server.metrics import Metrics
from muslin.server.refusals import Refusal, bad_request, refusal_of, unknown_path
from muslin.server.requests import answer
from muslin.server.served import SERVED

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
PLURALS = frozenset(one.plural for one in SERVED)

log = structlog.get_logger()


def shell(metrics: Metrics) -> Middleware:
    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        start = time.perf_counter()
        try:
            _require_honest(request)
            response = await handler(request)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 (the outermost shell)
            response = _answer(request, error)
        method = request.method if request.method in METHODS else "other"
        metrics.requests.labels(method, _resource(request), response.status).inc()
        if isinstance(response, web.Response):
            metrics.seconds.labels(method).observe(time.perf_counter() - start)
        return response

    return around


def _resource(request: web.Request) -> str:
    """What the request was about, in few words: what clients make up must not become time series."""
    plural = request.match_info.get("plural")
    if plural is not None:
        return plural if plural in PLURALS else "unknown"
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


def _require_honest(request: web.Request) -> None:
    about = request.get_extra_info
    plain_tcp = isinstance(about("sockname"), tuple) and about("ssl_object") is None
    if plain_tcp and not is_own_page(request):
        raise Refusal(403, "Forbidden", "requests of web pages from elsewhere are not answered")


def _answer(request: web.Request, error: Exception) -> web.Response:
    match error:
        case web.HTTPRequestEntityTooLarge():
            refusal = Refusal(413, "RequestEntityTooLarge", "the body is larger than 3 MB: split the object, or write"
                              " it with create or replace: apply keeps a copy of it within it")
        case web.HTTPNotFound():
            refusal = unknown_path()
        case web.HTTPMethodNotAllowed():
            refusal = Refusal(405, "MethodNotAllowed",
                              "the server does not allow this method on the requested resource")
        case web.HTTPException():
            refusal = Refusal(error.status, "BadRequest", error.reason)
        case MuslinError() if not isinstance(error, Broken):
            refusal = refusal_of(error)
        case RecursionError():
            refusal = bad_request("the body is nested too deeply")
        case web.RequestPayloadError() | ContentEncodingError():
            refusal = bad_request("the body cannot be read: it is cut short or wrongly encoded")
        case _:
            log.error("request_failed", method=request.method, path=request.path, exc_info=error)
            refusal = Refusal(500, "InternalError", f"{type(error).__name__}: see the server's log")
    response = answer(refusal.status, refusal.code)
    if refusal.code in (429, 503):
        response.headers["Retry-After"] = "1"
    return response
