"""The schema of every kind, for `kubectl explain` and for clients that check before they send.

Read off the structs of `model` by way of their outline: there is no second list of fields. OpenAPI 3 is one JSON
document for each group and version; OpenAPI 2 is one document for all, and as protobuf, because kubectl asks for
nothing else.

kubectl trusts the server with the checking when a kind's PATCH declares the parameter `fieldValidation`, and old ones
dare a dry run only when it declares `dryRun`: both are declared.
"""

from __future__ import annotations

import hashlib
from functools import cache

import msgspec
from aiohttp import web

import muslin
from muslin.model.outline import Outline, Sort, outline
from muslin.server import openapi_protobuf, served
from muslin.server.refusals import Json, unknown_path
from muslin.server.requests import answer
from muslin.server.served import Served

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
INFO = {"title": "muslin", "version": muslin.__version__}
FOREVER = {"Cache-Control": "public, immutable", "Expires": "Fri, 01 Jan 2100 00:00:00 GMT", "Vary": "Accept"}

_SCALARS: dict[Sort, Json] = {
    Sort.TEXT: {"type": "string"}, Sort.INTEGER: {"type": "integer", "format": "int64"},
    Sort.NUMBER: {"type": "number", "format": "double"}, Sort.FLAG: {"type": "boolean"},
    Sort.INTEGER_OR_TEXT: {"x-kubernetes-int-or-string": True},
    Sort.ANYTHING: {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}


def routes() -> list[web.RouteDef]:
    return [web.get("/openapi/v2", version_2), web.get("/openapi/v3", index),
            web.get("/openapi/v3/{tail:.+}", version_3)]


async def version_2(request: web.Request) -> web.Response:
    if "protobuf" in request.headers.get("Accept", ""):
        return web.Response(body=_protobuf(), headers={"Content-Type": PROTOBUF, "ETag": _etag(_protobuf())})
    return answer(document_2())


async def index(_: web.Request) -> web.Response:
    return answer({"paths": {
        _path(*pair): {"serverRelativeURL": f"/openapi/v3/{_path(*pair)}?hash={_hash(*pair)}"}
        for pair in served.group_versions()
    }})


async def version_3(request: web.Request) -> web.Response:
    pair = next((pair for pair in served.group_versions() if _path(*pair) == request.match_info["tail"]), None)
    if pair is None:
        raise unknown_path()
    headers = {"ETag": f'"{_hash(*pair)}"'}
    if request.query.get("hash") == _hash(*pair):
        headers |= FOREVER
    return web.Response(body=_bytes_3(*pair), content_type="application/json", headers=headers)


def document_2() -> Json:
    """All kinds as one Swagger 2.0 document."""
    paths: Json = {}
    schemas: Json = {}
    for one in served.SERVED:
        paths.update(_paths(one, three=False))
        schemas.update(_schemas(one, "#/definitions/"))
    return {"swagger": "2.0", "info": INFO, "paths": paths, "definitions": schemas}


def document_3(group: str, version: str) -> Json:
    """The kinds of one group and version as an OpenAPI 3.0 document."""
    paths: Json = {}
    schemas: Json = {}
    for one in served.of(group, version):
        paths.update(_paths(one, three=True))
        schemas.update(_schemas(one, "#/components/schemas/"))
    return {"openapi": "3.0.0", "info": INFO, "paths": paths, "components": {"schemas": schemas}}


@cache
def _protobuf() -> bytes:
    return openapi_protobuf.document(document_2())


@cache
def _bytes_3(group: str, version: str) -> bytes:
    return msgspec.json.encode(document_3(group, version))


@cache
def _hash(group: str, version: str) -> str:
    """Changes whenever the document does: kubectl keeps documents on disk by it."""
    return hashlib.sha256(_bytes_3(group, version)).hexdigest()[:32].upper()


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _type_name(one: Served) -> str:
    """What `explain` shows the end of: org.projectcalico.v3.NetworkPolicy."""
    return ".".join([*reversed((one.group or "core.k8s.io").split(".")), one.version, one.name])


def _schemas(one: Served, to: str) -> Json:
    """The kind, and every struct below it, by name."""
    below: Json = {}
    package = _type_name(one).rpartition(".")[0]
    top = outline(one.struct)
    parts = {name: part for name, part in top.fields.items() if name not in ("apiVersion", "kind", "metadata")}
    properties = {name: _schema(part, to, package, below) for name, part in parts.items()}
    metadata = top.fields["metadata"]
    fields = _struct(metadata, to, META.rpartition(".")[0], below)
    below[META] = {**fields, "description": "Who and what the object is."}
    about = {"apiVersion": {"type": "string", "description": "Group and version of the kind."},
             "kind": {"type": "string", "description": "The kind."},
             "metadata": {"description": "Name, namespace, labels, annotations and the like.", **_reference(to, META)}}
    below[_type_name(one)] = {
        "type": "object", "description": _flat(one.struct.__doc__ or ""), "properties": {**about, **properties},
        "x-kubernetes-group-version-kind": [{"group": one.group, "version": one.version, "kind": one.name}],
    }
    return below


def _schema(found: Outline, to: str, package: str, below: Json) -> Json:
    doc = {"description": _flat(found.doc)} if found.doc else {}
    match found.sort:
        case Sort.STRUCT:
            name = f"{package}.{found.title}"
            if name not in below:
                below[name] = {}
                below[name] = _struct(found, to, package, below)
            return {**doc, **_reference(to, name)}
        case Sort.LIST:
            assert found.item is not None
            return {**doc, "type": "array", "items": _schema(found.item, to, package, below)}
        case Sort.MAP:
            assert found.item is not None
            return {**doc, "type": "object", "additionalProperties": _schema(found.item, to, package, below)}
        case sort:
            schema = {**doc, **_SCALARS[sort]}
            return {**schema, "enum": list(found.enum)} if found.enum and not found.any_case else schema


def _struct(found: Outline, to: str, package: str, below: Json) -> Json:
    schema: Json = {
        "type": "object",
        "properties": {name: _schema(part, to, package, below) for name, part in found.fields.items()},
    }
    if required := [name for name, part in found.fields.items() if part.required]:
        schema["required"] = required
    return schema


def _reference(to: str, name: str) -> Json:
    """OpenAPI 3 allows nothing beside a $ref, so it is wrapped where a description stands beside it."""
    return {"allOf": [{"$ref": to + name}]} if "components" in to else {"$ref": to + name}


def _flat(doc: str) -> str:
    return " ".join(doc.replace("`", "").split())


def _paths(one: Served, *, three: bool) -> Json:
    scope = "/namespaces/{namespace}" if one.namespaced else ""
    collection = f"{one.base}{scope}/{one.plural}"

    def operations(**verbs: str) -> Json:
        return {method: _operation(one, action, three) for method, action in verbs.items()}

    return {
        collection: operations(get="list", post="post", delete="deletecollection"),
        collection + "/{name}": operations(get="get", put="put", patch="patch", delete="delete"),
    }


def _operation(one: Served, action: str, three: bool) -> Json:
    names = ("dryRun", "fieldManager", "fieldValidation") if action in ("post", "put", "patch") else ("dryRun",)
    text: Json = {"schema": {"type": "string"}} if three else {"type": "string"}
    return {
        "operationId": f"{action}{one.group.title().replace('.', '')}{one.version.title()}{one.name}",
        "parameters": [{"name": name, "in": "query", **text} for name in names],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": one.group, "version": one.version, "kind": one.name},
    }
