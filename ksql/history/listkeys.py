"""What tells the items of a list apart, as the kind's own schema says it.

The catalogue marks lists with the keys by which a patch merges them. A list it calls atomic, or does not
know, has no such key: there `diff` goes by what people would call its items.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from ksql.base.documents import Document
from ksql.history.diff import ListKeys
from ksql.schema.catalogue import Catalogue
from ksql.schema.resources import GroupVersionKind

# Paths kept per kind. A kind has some hundred lists; only below maps do clients choose the paths.
PATHS_KEPT_MAX = 1_000

Schema = Mapping[str, Any]


def of(catalogue: Catalogue, document: Document | None) -> ListKeys | None:
    """The list keys of the document's kind in its version; None for a kind that has no schema."""
    if document is None:
        return None
    group, _, version = str(document.get("apiVersion", "")).rpartition("/")
    name = catalogue.definition_name(GroupVersionKind(group, version, str(document.get("kind", ""))))
    if name is None:
        return None
    key = ("list keys", name)
    if key not in catalogue.compiled:
        catalogue.compiled[key] = keys_in(catalogue.definition(name), catalogue.definition)
    found: ListKeys = catalogue.compiled[key]
    return found


def keys_in(schema: Schema, definition: Callable[[str], Schema]) -> ListKeys:
    """The list keys that a schema states; `definition` follows its references."""

    @lru_cache(PATHS_KEPT_MAX)
    def keys(path: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        found = schema
        for name in path:
            inner = _field(found, name, definition)
            if inner is None:
                return ()
            found = inner
        return _stated(found) or _stated(_resolved(found, definition))

    return keys


def _field(schema: Schema, name: str, definition: Callable[[str], Schema]) -> Schema | None:
    """The schema of a field of the object, or of the objects in the list, that `schema` describes."""
    schema = _resolved(schema, definition)
    while isinstance(items := schema.get("items"), dict):
        schema = _resolved(items, definition)
    properties, rest = schema.get("properties") or {}, schema.get("additionalProperties")
    found: Schema | None = properties.get(name, rest if isinstance(rest, dict) else None)
    return found


def _resolved(schema: Schema, definition: Callable[[str], Schema]) -> Schema:
    reference = schema.get("$ref") or next((part.get("$ref") for part in schema.get("allOf") or ()), None)
    return schema if reference is None else definition(reference)


def _stated(schema: Schema) -> tuple[tuple[str, ...], ...]:
    if schema.get("x-kubernetes-list-type") == "set":
        return ((),)
    # The merge key alone first: shorter to say, and where it is not unique the map's keys together are.
    merge, keys = schema.get("x-kubernetes-patch-merge-key"), schema.get("x-kubernetes-list-map-keys")
    stated = ([(merge,)] if merge else []) + ([tuple(keys)] if keys else [])
    return tuple(dict.fromkeys(stated))
