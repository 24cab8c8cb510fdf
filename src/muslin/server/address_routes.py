"""The HTTP face of address assignment, below /muslin/v1/addresses.

    POST assign, POST release, GET and POST configuration
    GET .                           the books
    GET .?handlePrefix=PREFIX       what the handles that begin so hold
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from muslin.errors import Invalid, MuslinError
from muslin.ipam.records import Exhausted, Taken
from muslin.server.address_books import Settings
from muslin.server.addresses import Addresses, Unwanted, Wanted
from muslin.server.refusals import Refusal, bad_request, refusal_of
from muslin.store import Store

Body = TypeVar("Body", Wanted, Unwanted, Settings)


def register(app: web.Application, store: Store) -> Addresses:
    """Adds the routes. The service is handed back for whoever releases the addresses of things that are gone."""
    addresses = Addresses(store)

    async def assign(request: web.Request) -> web.Response:
        wanted = await _read(request, Wanted)
        try:
            return web.json_response({"addresses": await addresses.assign(wanted)})
        except MuslinError as error:
            raise refusal_of_addresses(error) from error

    async def release(request: web.Request) -> web.Response:
        unwanted = await _read(request, Unwanted)
        try:
            return web.json_response({"released": await addresses.release(unwanted)})
        except MuslinError as error:
            raise refusal_of_addresses(error) from error

    async def books(request: web.Request) -> web.Response:
        prefix = request.query.get("handlePrefix")
        if prefix is None:
            return web.json_response(await addresses.books.report())
        try:
            return web.json_response({"handles": await addresses.of_handles(prefix)})
        except MuslinError as error:
            raise refusal_of_addresses(error) from error

    async def settings(_: web.Request) -> web.Response:
        return web.json_response(await addresses.books.settings())

    async def configure(request: web.Request) -> web.Response:
        return web.json_response(await addresses.books.configure(await _read(request, Settings)))

    app.router.add_get("/muslin/v1/addresses", books)
    app.router.add_get("/muslin/v1/addresses/configuration", settings)
    app.router.add_post("/muslin/v1/addresses/configuration", configure)
    app.router.add_post("/muslin/v1/addresses/assign", assign)
    app.router.add_post("/muslin/v1/addresses/release", release)
    return addresses


async def _read(request: web.Request, shape: type[Body]) -> Body:
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is not a request for addresses: {error}") from None


def refusal_of_addresses(error: MuslinError) -> Refusal:
    match error:
        case Taken():
            return Refusal(409, "AlreadyExists", str(error))
        case Exhausted():
            return Refusal(507, "InsufficientStorage", str(error))
        case Invalid():
            return bad_request(str(error))
        case _:
            return refusal_of(error)
