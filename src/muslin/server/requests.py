"""What a request asks for, read once and with every mistake in it refused: place, query, wish, form of the answer."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from aiohttp import web

from muslin.server import pages, served, tables
from muslin.server.checks import IGNORE, STRICT, WARN
from muslin.server.lockout import forced
from muslin.server.objects import Wish
from muslin.server.refusals import Json, Refusal, bad_request, unknown_path
from muslin.server.selection import Predicate, selection

JSON = "application/json"
MOST_WARNINGS, LONGEST_WARNING = 20, 300
"""Clients bound the headers that they read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the API: `name` is "" for the collection, `namespace` is "" for all of them or for none."""

    served: served.Served
    namespace: str
    name: str


def place(request: web.Request) -> Place:
    """Raises Refusal (404)."""
    match = request.match_info
    found = served.find(match.get("group", ""), match.get("version", "v1"), match["plural"])
    namespace, name = match.get("namespace", ""), match.get("name", "")
    scoped = "namespace" in match
    if (scoped and not found.namespaced) or (name and found.namespaced and not scoped):
        raise unknown_path()
    if "/" in name or "/" in namespace or (scoped and not namespace) or ("name" in match and not name):
        raise unknown_path()
    return Place(found, namespace, name)


def chosen(request: web.Request) -> Predicate:
    return selection(request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))


def asked(request: web.Request) -> pages.Asked:
    """Raises Refusal (400)."""
    query = request.query
    revision = query.get("resourceVersion", "")
    exact = query.get("resourceVersionMatch") == "Exact"
    if exact and revision in ("", "0"):
        raise bad_request("resourceVersionMatch Exact needs a resourceVersion")
    return pages.Asked(limit=number(request, "limit"), token=query.get("continue", ""),
                       revision=number(request, "resourceVersion") if exact else None)


def number(request: web.Request, name: str) -> int:
    """A whole number of the query, 0 when absent. Raises Refusal (400)."""
    text = request.query.get(name, "")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise bad_request(f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)


def flag(request: web.Request, name: str) -> bool:
    text = request.query.get(name, "").lower()
    if text not in ("", "true", "1", "t", "false", "0", "f"):
        raise bad_request(f"{name} must be true or false, not {text[:40]!r}")
    return text in ("true", "1", "t")


def wish(request: web.Request, *, upsert: bool = False) -> Wish:
    """Raises Refusal (400, 422)."""
    strictness = request.query.get("fieldValidation") or STRICT
    if strictness not in (STRICT, WARN, IGNORE):
        raise bad_request(f"fieldValidation must be Strict, Warn or Ignore, not {strictness[:40]!r}")
    return Wish(dry=dry(request.query.getall("dryRun", [])), strictness=strictness, upsert=upsert,
                forced=forced(request))


def dry(values: object) -> bool:
    """`dryRun` of a query or of DeleteOptions: nothing, or All. Raises Refusal (400)."""
    if values in (None, [], [""]):
        return False
    if values != ["All"]:
        raise bad_request("dryRun must be All")
    return True


def manager(request: web.Request) -> str:
    """Who changes the object, for field ownership: as kubectl says, else the program's name."""
    return request.query.get("fieldManager") or request.headers.get("User-Agent", "unknown").split("/")[0][:128]


def wants_table(request: web.Request) -> bool:
    """kubectl, when it prints for people."""
    best = request.headers.get("Accept", "").partition(",")[0].replace(" ", "").split(";")
    return {"as=Table", "v=v1", "g=meta.k8s.io"} <= set(best)


def require_json_wanted(request: web.Request) -> None:
    """Nothing but JSON is answered. Raises Refusal (406)."""
    accept = request.headers.get("Accept", "")
    if accept and not any(word in accept for word in ("json", "*/*", "application/*")):
        raise Refusal(406, "NotAcceptable", "only the following media types are accepted: application/json")


def include(request: web.Request) -> str:
    wanted = request.query.get("includeObject") or "Metadata"
    if wanted not in ("None", "Metadata", "Object"):
        raise bad_request(f"includeObject must be None, Metadata or Object, not {wanted[:40]!r}")
    return wanted


def answer(body: object, status: int = 200, warnings: tuple[str, ...] = ()) -> web.Response:
    """JSON, with warnings that kubectl prints."""
    response = web.Response(body=msgspec.json.encode(body) + b"\n", status=status, content_type=JSON)
    for warning in warnings[:MOST_WARNINGS]:
        text = "".join(letter if letter.isprintable() else "?" for letter in warning[:LONGEST_WARNING])
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def answer_object(request: web.Request, where: Place, obj: Json, status: int = 200,
                  warnings: tuple[str, ...] = ()) -> web.Response:
    """One object, as a row where the client wants a table."""
    if wants_table(request):
        version = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return answer(tables.table(where.served, [obj], version, include=include(request)), status, warnings)
    return answer(obj, status, warnings)
