"""The body of a request becomes plain JSON data, whatever it came as; anything else is refused, never a crash.

JSON mostly. YAML is what people send with curl, and what server-side apply calls its JSON. Protobuf is what kubectl
1.32 and newer send when they create objects of kinds that are compiled into them (`create namespace`, `auth can-i`).

YAML is bounded twice: aliases are refused, because a few lines of them unfold to gigabytes, and what YAML reads as
dates or binary comes out as text.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, Protocol, TypeVar

import msgspec
import yaml
from aiohttp import web

from muslin.errors import Invalid
from muslin.server import protobuf
from muslin.server.refusals import Json, bad_request, unsupported_media_type

JSON = "application/json"
YAML = ("application/yaml", "application/x-yaml", "text/yaml")
PROTOBUF = "application/vnd.kubernetes.protobuf"
MOST = 3 << 20
"""Bytes of a body, as in Kubernetes."""

DEEPEST = 100
"""Levels of YAML: its composer recurses on the C stack."""


class Listed(Protocol):
    """A body of items."""

    @property
    def items(self) -> Sized: ...


Asked = TypeVar("Asked", bound=Listed)


async def read_items(request: web.Request, shape: type[Asked], most: int, what: str) -> Asked:
    """A list of at most so many: `what` names them. Raises Refusal (400)."""
    try:
        asked = msgspec.json.decode(await request.read(), type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is no list of {what}: {error}") from None
    if len(asked.items) > most:
        raise bad_request(f"{len(asked.items)} {what} in one call: at most {most}")
    return asked


async def read_object(request: web.Request) -> Json:
    """The one object of a POST or PUT. A body without Content-Type is JSON: kubectl 1.20 forgets to say so."""
    body = await request.read()
    kind = request.content_type if "Content-Type" in request.headers else JSON
    if body.startswith(protobuf.MAGIC) and kind == PROTOBUF:
        found: object = from_protobuf(body)
    elif kind == JSON:
        found = from_json(body)
    elif kind in YAML:
        found = from_yaml(body)
    else:
        raise unsupported_media_type(kind, (JSON, YAML[0], PROTOBUF))
    return an_object(found)


async def read_options(request: web.Request) -> Json:
    """DeleteOptions: the body of a DELETE, mostly absent."""
    body = await request.read()
    if not body.strip():
        return {}
    return an_object(from_protobuf(body) if body.startswith(protobuf.MAGIC) else from_json(body))


def an_object(found: object) -> Json:
    if not isinstance(found, dict):
        raise bad_request(f"the body must be one object, such as {{\"kind\": ...}}, not {name_of(found)}")
    return found


def from_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise bad_request("the body is nested too deeply") from None


def from_yaml(body: bytes) -> Any:
    try:
        text = body.decode()
        _require_harmless(text)
        return msgspec.json.decode(msgspec.json.encode(yaml.load(text, Loader=yaml.CSafeLoader)))
    except (yaml.YAMLError, ValueError, TypeError, msgspec.MsgspecError) as error:
        raise bad_request(f"the body is not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise bad_request("the body is nested too deeply") from None


def _require_harmless(text: str) -> None:
    """Before anything is built of it. Raises Refusal (400)."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise bad_request("the body uses a YAML alias (*name), which is not accepted: write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise bad_request("the body is nested too deeply")


def from_protobuf(body: bytes) -> Json:
    try:
        return protobuf.decode(body)
    except Invalid as error:
        raise bad_request(str(error)) from None


def name_of(found: object) -> str:
    """What a JSON value is, in words."""
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "nothing"}
    return words.get(type(found), "a number")
