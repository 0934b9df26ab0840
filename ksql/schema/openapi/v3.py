"""OpenAPI v3 of what is served: an index with digests, and one document per group-version.

kubectl reads these for `explain`, for checking documents before it sends them, and, above all, to learn
from the parameters of PATCH and POST that `fieldValidation` and `dryRun` are understood. A document is the
closure of the definitions its kinds need, with paths synthesised from the catalogue. Bytes are made once.

`v2.py` says the same in the older language.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ksql.base.documents import Document
from ksql.schema.catalogue import Catalogue
from ksql.schema.derive import REF, closure
from ksql.schema.errors import NotFoundError
from ksql.schema.resources import GroupVersionKind, ResourceType, Subresource

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_TEXT: Document = {"type": "string", "uniqueItems": True}
_NUMBER: Document = {"type": "integer", "uniqueItems": True}
_FLAG: Document = {"type": "boolean", "uniqueItems": True}

_PRETTY = ("pretty", _TEXT)
_WRITE = (
    ("dryRun", _TEXT),
    ("fieldManager", _TEXT),
    ("fieldValidation", _TEXT),
)
_LIST = (
    ("allowWatchBookmarks", _FLAG),
    ("continue", _TEXT),
    ("fieldSelector", _TEXT),
    ("labelSelector", _TEXT),
    ("limit", _NUMBER),
    ("resourceVersion", _TEXT),
    ("resourceVersionMatch", _TEXT),
    ("sendInitialEvents", _FLAG),
    ("timeoutSeconds", _NUMBER),
    ("watch", _FLAG),
)
_DELETE = (
    ("dryRun", _TEXT),
    ("gracePeriodSeconds", _NUMBER),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", _FLAG),
    ("orphanDependents", _FLAG),
    ("propagationPolicy", _TEXT),
)
_PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
# A custom resource has no Go type that would say how its lists are merged; kubectl reads here that it has not.
_PATCHES_CUSTOM = _PATCHES[:3]

# verb: (HTTP method, x-kubernetes-action, parameters)
_COLLECTION = {
    "list": ("get", "list", _LIST),
    "create": ("post", "post", _WRITE),
    "deletecollection": ("delete", "deletecollection", (*_DELETE, *_LIST)),
}
_OBJECT: Mapping[str, tuple[str, str, tuple[tuple[str, Document], ...]]] = {
    "get": ("get", "get", ()),
    "create": ("post", "post", _WRITE),
    "update": ("put", "put", _WRITE),
    "patch": ("patch", "patch", (*_WRITE, ("force", _FLAG))),
    "delete": ("delete", "delete", _DELETE),
}


def index(catalogue: Catalogue) -> Document:
    """/openapi/v3: where each group-version's document is; the digest changes with its content."""
    return {
        "paths": {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest(catalogue, path)}"}
            for path in sorted(paths(catalogue))
        }
    }


def paths(catalogue: Catalogue) -> list[str]:
    """The group-versions as OpenAPI names them: api/v1, apis/apps/v1."""
    return [_root(g, v).lstrip("/") for g, versions in catalogue.groups().items() for v in versions]


def digest(catalogue: Catalogue, path: str) -> str:
    """The document's digest, also its ETag."""
    return _rendered(catalogue, path)[1]


def document(catalogue: Catalogue, path: str) -> bytes:
    """The document of `api/v1` or `apis/{group}/{version}` as JSON; `NotFoundError` for anything else."""
    return _rendered(catalogue, path)[0]


def _rendered(catalogue: Catalogue, path: str) -> tuple[bytes, str]:
    key = ("openapi", path)
    found: tuple[bytes, str] | None = _kept(catalogue, path).get(key)
    if found is None:
        text = orjson.dumps(_document(catalogue, path))
        found = _kept(catalogue, path)[key] = (text, hashlib.sha512(text).hexdigest().upper())
    return found


def _kept(catalogue: Catalogue, path: str) -> dict[Any, Any]:
    """Where a document is kept: with the minor, or as long as the custom kinds of its version stay."""
    _, _, group_version = path.partition("/")
    group, _, version = group_version.rpartition("/")
    custom = [found.custom for found in catalogue.custom if (found.group, found.version) == (group, version)]
    if custom and custom[0] is not None and len(custom) == 1:
        return custom[0].printed
    return catalogue.printed if custom else catalogue.compiled


def _document(catalogue: Catalogue, path: str) -> Document:
    if path not in paths(catalogue):
        raise NotFoundError("the server could not find the requested resource")
    _, _, group_version = path.partition("/")
    group, _, version = group_version.rpartition("/")
    types = [found for found in catalogue.types if (found.group, found.version) == (group, version)]
    items = {where: item for found in types for where, item in _paths(catalogue, found)}
    schemas = closure(catalogue.definitions, _roots(catalogue, types))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": f"v{catalogue.minor}.0"},
        "paths": items,
        "components": {
            "schemas": {name: catalogue.definitions[name] for name in sorted(schemas)},
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey",
                    "name": "authorization",
                    "in": "header",
                    "description": "Bearer token",
                }
            },
        },
    }


def _roots(catalogue: Catalogue, types: list[ResourceType]) -> list[str]:
    names = [f"{_META}{name}" for name in ("DeleteOptions", "Status", "Patch", "WatchEvent")]
    for found in types:
        kinds = [found.gvk, *(sub.kind for sub in found.subresources.values())]
        known = [name for kind in kinds if (name := catalogue.definition_name(kind))]
        names += [*known, *(f"{name}List" for name in known[:1] if found.custom is None)]
        names += list(found.custom.definitions()) if found.custom is not None else []
    return names


def _root(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


def _paths(catalogue: Catalogue, found: ResourceType) -> Iterator[tuple[str, Document]]:
    root = _root(found.group, found.version)
    scope = "/namespaces/{namespace}" if found.namespaced else ""
    collection = f"{root}{scope}/{found.resource}"
    yield collection, _item(catalogue, found, found.gvk, found.verbs, _COLLECTION, collection)
    if found.namespaced and "list" in found.verbs:
        everywhere = f"{root}/{found.resource}"
        yield everywhere, _item(catalogue, found, found.gvk, ("list",), _COLLECTION, everywhere)
    one = f"{collection}/{{name}}"
    if "get" in found.verbs:
        verbs = [verb for verb in found.verbs if verb != "create"]
        yield one, _item(catalogue, found, found.gvk, verbs, _OBJECT, one)
    for sub in found.subresources.values():
        where = f"{one}/{sub.name}"
        yield where, _item(catalogue, found, sub.kind, sub.verbs, _OBJECT, where, sub)


def _item(
    catalogue: Catalogue,
    found: ResourceType,
    kind: GroupVersionKind,
    verbs: tuple[str, ...] | list[str],
    table: Mapping[str, tuple[str, str, tuple[tuple[str, Document], ...]]],
    path: str,
    sub: Subresource | None = None,
) -> Document:
    body = catalogue.definition_name(kind)
    item: Document = {}
    for verb, (method, action, parameters) in table.items():
        if verb in verbs:
            operation = _operation(found, kind, verb, action if body else "connect", body, parameters)
            operation["operationId"] = _operation_id(found, verb, method, path, sub)
            item[method] = operation
    item["parameters"] = [*_path_parameters(path), _query(*_PRETTY)]
    return item


def _operation(
    found: ResourceType,
    kind: GroupVersionKind,
    verb: str,
    action: str,
    body: str | None,
    parameters: tuple[tuple[str, Document], ...],
) -> Document:
    first, *rest = _group_words(found.group)
    tag = first + "".join(word[:1].upper() + word[1:] for word in rest) + f"_{found.version}"
    operation: Document = {"tags": [tag]}
    if parameters and action != "connect":
        operation["parameters"] = [_query(*parameter) for parameter in parameters]
    if body and verb in ("create", "update"):
        operation["requestBody"] = {"content": {"*/*": _schema(body)}, "required": True}
    elif verb == "patch" and body:
        media_types = _PATCHES if found.custom is None else _PATCHES_CUSTOM
        operation["requestBody"] = {
            "content": {media: _schema(f"{_META}Patch") for media in media_types},
            "required": True,
        }
    elif verb in ("delete", "deletecollection"):
        operation["requestBody"] = {"content": {"*/*": _schema(f"{_META}DeleteOptions")}}
    answer = {"list": f"{body}List", "delete": f"{_META}Status", "deletecollection": f"{_META}Status"}.get(
        verb, body
    )
    media = (
        {"application/json": _schema(answer)}
        if answer and action != "connect"
        else {"*/*": {"schema": _TEXT}}
    )
    operation["responses"] = {"200": {"description": "OK", "content": media}}
    operation["x-kubernetes-action"] = action
    operation["x-kubernetes-group-version-kind"] = {
        "group": kind.group,
        "version": kind.version,
        "kind": kind.kind,
    }
    return operation


def _schema(name: str) -> Document:
    return {"schema": {"$ref": REF + name}}


def _query(name: str, schema: Document) -> Document:
    return {"name": name, "in": "query", "schema": schema}


def _path_parameters(path: str) -> Iterator[Document]:
    for name in ("name", "namespace"):
        if f"{{{name}}}" in path:
            yield {"name": name, "in": "path", "required": True, "schema": _TEXT}


_ACTIONS = {
    "get": "read", "list": "list", "create": "create", "update": "replace", "patch": "patch",
    "delete": "delete", "deletecollection": "delete",
}  # fmt: skip


def _operation_id(found: ResourceType, verb: str, method: str, path: str, sub: Subresource | None) -> str:
    """As upstream names operations, which generated clients take their methods' names from."""
    words = _group_words(found.group)
    group = "".join(word[:1].upper() + word[1:] for word in words) + found.version[:1].upper() + found.version[1:]
    suffix = "".join(word[:1].upper() + word[1:] for word in (sub.name if sub else "").split("-"))
    if sub is not None and sub.name in _CONNECTED:
        action, group = "connect", group + method.title()
    else:
        action = _ACTIONS[verb]
    collection = "Collection" if verb == "deletecollection" else ""
    scope = "Namespaced" if "{namespace}" in path else ""
    everywhere = "ForAllNamespaces" if found.namespaced and not scope else ""
    return f"{action}{group}{collection}{scope}{found.kind}{suffix}{everywhere}"


_CONNECTED = ("attach", "exec", "portforward", "proxy")


def _group_words(group: str) -> list[str]:
    """The parts of a group's name that count in names made of it."""
    return (group.removesuffix(".k8s.io") or "core").split(".")
