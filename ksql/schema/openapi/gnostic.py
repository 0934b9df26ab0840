"""The protobuf form of an OpenAPI v2 document, which kubectl of 1.28 and before reads instead of JSON. Pure.

The form is that of the gnostic project's `openapi.v2.Document`: maps become lists of named values,
alternatives become messages around messages, and whatever has no shape of its own (defaults, enumerations,
`x-…` fields) is carried as the text of its YAML, for which its JSON is as good. Field numbers were read
from the struct tags in the type table of a kubectl (see `derive_protobuf.py`). Only what our own documents
say is written; an unknown key is refused loudly, since the document is made here and never by a client.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ksql.base.documents import Document, encode
from ksql.schema.protobuf.wire import VARINT, counted, double, tag, varint

_Writer = Callable[[int, Any], bytes]


def encode_document(document: Mapping[str, Any]) -> bytes:
    """The document as bytes."""
    return _message(document, _DOCUMENT)


def _message(value: Mapping[str, Any], fields: Mapping[str, tuple[int, _Writer]], extensions: int = 0) -> bytes:
    parts: list[tuple[int, bytes]] = []
    for key, inner in value.items():
        if key.startswith("x-") and extensions:
            parts.append((extensions, _named(extensions, key, _any_body(inner))))
            continue
        number, write = fields[key]
        parts.append((number, write(number, inner)))
    # In the order of their numbers, as every encoder writes them.
    return b"".join(data for _, data in sorted(parts, key=lambda part: part[0]))


# --- how values are written


def _text(number: int, value: str) -> bytes:
    return counted(number, value.encode()) if value else b""


def _flag(number: int, value: bool) -> bytes:
    return tag(number, VARINT) + b"\x01" if value else b""


def _integer(number: int, value: int) -> bytes:
    return tag(number, VARINT) + varint(int(value)) if value else b""


def _number(number: int, value: float) -> bytes:
    return double(number, float(value)) if value else b""


def _texts(number: int, values: list[str]) -> bytes:
    return b"".join(counted(number, value.encode()) for value in values)


def _any_body(value: Any) -> bytes:
    """An Any: its second field is the YAML of the value."""
    return counted(2, encode(value) + b"\n")


def _any(number: int, value: Any) -> bytes:
    return counted(number, _any_body(value))


def _anys(number: int, values: list[Any]) -> bytes:
    return b"".join(_any(number, value) for value in values)


def _named(number: int, name: str, body: bytes) -> bytes:
    """One entry of what is a map elsewhere."""
    return counted(number, counted(1, name.encode()) + counted(2, body))


def _schema_body(schema: Mapping[str, Any]) -> bytes:
    return _message(schema, _SCHEMA, 31)


def _schema(number: int, schema: Mapping[str, Any]) -> bytes:
    return counted(number, _schema_body(schema))


def _schemas(number: int, schemas: list[Document]) -> bytes:
    return b"".join(_schema(number, schema) for schema in schemas)


def _items(number: int, schema: Mapping[str, Any] | list[Document]) -> bytes:
    listed = schema if isinstance(schema, list) else [schema]
    return counted(number, b"".join(counted(1, _schema_body(one)) for one in listed))


def _additional(number: int, value: Mapping[str, Any] | bool) -> bytes:
    if isinstance(value, bool):
        return counted(number, tag(2, VARINT) + varint(value))
    return counted(number, counted(1, _schema_body(value)))


def _type(number: int, value: str | list[str]) -> bytes:
    return counted(number, _texts(1, value if isinstance(value, list) else [value]))


def _properties(number: int, properties: Mapping[str, Document]) -> bytes:
    return counted(number, b"".join(_named(1, name, _schema_body(one)) for name, one in properties.items()))


def _external(number: int, value: Mapping[str, Any]) -> bytes:
    return counted(number, _message(value, {"description": (1, _text), "url": (2, _text)}, 3))


# --- operations


def _parameters(number: int, values: list[Document]) -> bytes:
    return b"".join(counted(number, counted(1, _parameter(value))) for value in values)


def _parameter(value: Mapping[str, Any]) -> bytes:
    if value["in"] == "body":
        return counted(1, _message(value, _BODY_PARAMETER, 6))
    # Within the messages of parameters in path and query the same names have other numbers.
    if value["in"] == "path":
        return counted(2, counted(4, _message(value, _PATH_PARAMETER, 22)))
    return counted(2, counted(3, _message(value, _QUERY_PARAMETER, 23)))


def _responses(number: int, responses: Mapping[str, Document]) -> bytes:
    return counted(
        number,
        b"".join(_named(1, code, counted(1, _message(one, _RESPONSE, 5))) for code, one in responses.items()),
    )


def _response_schema(number: int, schema: Mapping[str, Any]) -> bytes:
    return counted(number, _schema(1, schema))


def _operation(number: int, value: Mapping[str, Any]) -> bytes:
    return counted(number, _message(value, _OPERATION, 13))


def _paths(number: int, paths: Mapping[str, Document]) -> bytes:
    return counted(number, b"".join(_named(2, path, _message(item, _ITEM, 10)) for path, item in paths.items()))


# --- the document


def _security(number: int, requirements: list[Mapping[str, list[str]]]) -> bytes:
    return b"".join(counted(number, b"".join(_requirements(one))) for one in requirements)


def _requirements(requirement: Mapping[str, list[str]]) -> Iterator[bytes]:
    return (_named(1, name, _texts(1, scopes)) for name, scopes in requirement.items())


def _security_definitions(number: int, found: Mapping[str, Document]) -> bytes:
    # The second alternative is a key in a header, the only one that is used.
    named = (_named(1, name, counted(2, _message(one, _API_KEY, 5))) for name, one in found.items())
    return counted(number, b"".join(named))


def _info(number: int, value: Mapping[str, Any]) -> bytes:
    return counted(number, _message(value, {"title": (1, _text), "version": (2, _text)}, 7))


_SCHEMA: Mapping[str, tuple[int, _Writer]] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _any),
    "multipleOf": (6, _number),
    "maximum": (7, _number),
    "exclusiveMaximum": (8, _flag),
    "minimum": (9, _number),
    "exclusiveMinimum": (10, _flag),
    "maxLength": (11, _integer),
    "minLength": (12, _integer),
    "pattern": (13, _text),
    "maxItems": (14, _integer),
    "minItems": (15, _integer),
    "uniqueItems": (16, _flag),
    "maxProperties": (17, _integer),
    "minProperties": (18, _integer),
    "required": (19, _texts),
    "enum": (20, _anys),
    "additionalProperties": (21, _additional),
    "type": (22, _type),
    "items": (23, _items),
    "allOf": (24, _schemas),
    "properties": (25, _properties),
    "discriminator": (26, _text),
    "readOnly": (27, _flag),
    "externalDocs": (29, _external),
    "example": (30, _any),
}
_BODY_PARAMETER: Mapping[str, tuple[int, _Writer]] = {
    "description": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "required": (4, _flag),
    "schema": (5, _schema),
}
_PATH_PARAMETER: Mapping[str, tuple[int, _Writer]] = {
    "required": (1, _flag),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (5, _text),
    "format": (6, _text),
    "uniqueItems": (19, _flag),
}
_QUERY_PARAMETER: Mapping[str, tuple[int, _Writer]] = {
    "required": (1, _flag),
    "in": (2, _text),
    "description": (3, _text),
    "name": (4, _text),
    "type": (6, _text),
    "format": (7, _text),
    "uniqueItems": (20, _flag),
}
_RESPONSE: Mapping[str, tuple[int, _Writer]] = {"description": (1, _text), "schema": (2, _response_schema)}
_OPERATION: Mapping[str, tuple[int, _Writer]] = {
    "tags": (1, _texts),
    "summary": (2, _text),
    "description": (3, _text),
    "operationId": (5, _text),
    "produces": (6, _texts),
    "consumes": (7, _texts),
    "parameters": (8, _parameters),
    "responses": (9, _responses),
    "schemes": (10, _texts),
    "deprecated": (11, _flag),
    "security": (12, _security),
}
_ITEM: Mapping[str, tuple[int, _Writer]] = {
    "get": (2, _operation),
    "put": (3, _operation),
    "post": (4, _operation),
    "delete": (5, _operation),
    "options": (6, _operation),
    "head": (7, _operation),
    "patch": (8, _operation),
    "parameters": (9, _parameters),
}
_API_KEY: Mapping[str, tuple[int, _Writer]] = {
    "type": (1, _text),
    "name": (2, _text),
    "in": (3, _text),
    "description": (4, _text),
}
_DOCUMENT: Mapping[str, tuple[int, _Writer]] = {
    "swagger": (1, _text),
    "info": (2, _info),
    "host": (3, _text),
    "basePath": (4, _text),
    "schemes": (5, _texts),
    "paths": (8, _paths),
    "definitions": (9, _properties),
    "security": (12, _security),
    "securityDefinitions": (13, _security_definitions),
}
