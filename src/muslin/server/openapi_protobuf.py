"""An OpenAPI 2 document as protobuf: the one form in which kubectl accepts it.

The message is openapi.v2.Document of the gnostic project; of its some hundred fields these are written, by number. What
JSON calls `x-...` goes along as a named value that holds YAML text, and JSON is YAML.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from muslin.server.refusals import Json

_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}
_TEXTS = {"$ref": 1, "format": 2, "title": 3, "description": 4}


def document(openapi: Json) -> bytes:
    info = _field(1, openapi["info"]["title"]) + _field(2, openapi["info"]["version"])
    paths = b"".join(_field(2, _named(path, _path(item))) for path, item in openapi["paths"].items())
    definitions = b"".join(_field(1, _named(name, _schema(body))) for name, body in openapi["definitions"].items())
    return _field(1, openapi["swagger"]) + _field(2, info) + _field(8, paths) + _field(9, definitions)


def _path(item: Json) -> bytes:
    return b"".join(_field(_METHODS[method], _operation(body)) for method, body in item.items())


def _operation(operation: Json) -> bytes:
    ok = _field(1, _named("200", _field(1, _field(1, "OK"))))
    parameters = b"".join(_field(8, _parameter(one)) for one in operation["parameters"])
    return _field(5, operation["operationId"]) + parameters + _field(9, ok) + _extensions(13, operation)


def _parameter(parameter: Json) -> bytes:
    """ParametersItem.parameter.non_body_parameter.query_parameter_sub_schema."""
    query = _field(2, parameter["in"]) + _field(4, parameter["name"]) + _field(6, parameter["type"])
    return _field(1, _field(2, _field(3, query)))


def _schema(schema: Json) -> bytes:
    parts = [_field(number, schema[name]) for name, number in _TEXTS.items() if name in schema]
    parts += [_field(19, name) for name in schema.get("required", ())]
    parts += [_field(20, _yaml(value)) for value in schema.get("enum", ())]
    if "additionalProperties" in schema:
        parts.append(_field(21, _field(1, _schema(schema["additionalProperties"]))))
    if "type" in schema:
        parts.append(_field(22, _field(1, schema["type"])))
    if "items" in schema:
        parts.append(_field(23, _field(1, _schema(schema["items"]))))
    if "properties" in schema:
        named: Iterable[bytes] = (_field(1, _named(name, _schema(body))) for name, body in schema["properties"].items())
        parts.append(_field(25, b"".join(named)))
    return b"".join(parts) + _extensions(31, schema)


def _extensions(number: int, holder: Json) -> bytes:
    return b"".join(_field(number, _named(name, _yaml(value))) for name, value in holder.items() if name[:2] == "x-")


def _named(name: str, value: bytes) -> bytes:
    return _field(1, name) + _field(2, value)


def _yaml(value: object) -> bytes:
    return _field(2, msgspec.json.encode(value).decode() + "\n")


def _field(number: int, content: str | bytes) -> bytes:
    """A length-delimited field."""
    data = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
