"""Table answers: what `kubectl get` prints, and the metadata-only views of objects.

A client that accepts `as=Table` gets rows of cells instead of objects, one that accepts
`as=PartialObjectMetadata` their metadata alone. Columns and cell functions come from the other
modules; kinds without any show their name and when they were created. Computing a pod's row costs a few
microseconds, so lists of ten thousand stay cheap.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ksql.base.documents import Document
from ksql.schema.columns import cluster, network, pods, storage, workloads
from ksql.schema.columns.column import Moment, Printer, Printers, columns, name
from ksql.schema.errors import BadRequestError, NotAcceptableError
from ksql.schema.resources import GroupVersionKind, ResourceType

INCLUDES = ("Metadata", "Object", "None")
VERSIONS = ("v1", "v1beta1")
GROUP = "meta.k8s.io"

_PRINTERS: Printers = {
    **cluster.PRINTERS,
    **network.PRINTERS,
    **pods.PRINTERS,
    **storage.PRINTERS,
    **workloads.PRINTERS,
}


def _plain_cells(document: Document, _: Moment) -> list[Any]:
    return [name(document), document["metadata"].get("creationTimestamp")]


_PLAIN = Printer(columns("Name|Created At@"), _plain_cells)


def _printer(type: ResourceType | GroupVersionKind) -> Printer:
    if isinstance(type, ResourceType) and type.custom is not None:
        return type.custom.printer
    return _PRINTERS.get((type.group, type.kind), _PLAIN)


def table(
    type: ResourceType | GroupVersionKind,
    documents: Iterable[Document],
    *,
    now: datetime,
    include: str = "Metadata",
    version: str = "v1",
    resource_version: str = "",
    continue_token: str = "",
    remaining: int | None = None,
    definitions: bool = True,
) -> Document:
    """A Table with one row for each object.

    `include` says what stands beside the cells: Metadata, Object or None (query parameter includeObject).
    A watch sends one-row tables, `definitions` only in its first; a bookmark's has no rows.
    `BadRequestError` for an unknown include, `NotAcceptableError` for an unknown version.
    """
    _check(include, version)
    printer, moment = _printer(type), Moment(now)
    rows = [_row(printer, document, moment, include, version) for document in documents]
    return {
        "kind": "Table",
        "apiVersion": f"{GROUP}/{version}",
        "metadata": list_metadata(resource_version, continue_token, remaining),
        "columnDefinitions": list(printer.columns) if definitions else None,
        "rows": rows,
    }


def rows(
    type: ResourceType | GroupVersionKind,
    documents: Iterable[Document],
    *,
    now: datetime,
    include: str = "Metadata",
    version: str = "v1",
) -> list[Document]:
    """The rows of many objects, for a table that is made piece by piece."""
    _check(include, version)
    printer, moment = _printer(type), Moment(now)
    return [_row(printer, document, moment, include, version) for document in documents]


def row(
    type: ResourceType | GroupVersionKind,
    document: Document,
    *,
    now: datetime,
    include: str = "Metadata",
    version: str = "v1",
) -> Document:
    """One object's row."""
    _check(include, version)
    return _row(_printer(type), document, Moment(now), include, version)


def _check(include: str, version: str) -> None:
    if include not in INCLUDES:
        raise BadRequestError(f"unrecognized includeObject value: {include!r}")
    check_version(version)


def check_version(version: str) -> None:
    if version not in VERSIONS:
        raise NotAcceptableError(
            "the server was unable to respond with a content type that the client supports"
        )


def _row(printer: Printer, document: Document, moment: Moment, include: str, version: str) -> Document:
    out: Document = {"cells": printer.cells(document, moment)}
    if printer.conditions is not None and (conditions := printer.conditions(document)):
        out["conditions"] = conditions
    if include == "Metadata":
        out["object"] = partial_metadata(document, version)
    elif include == "Object":
        out["object"] = document
    else:
        # Go prints the missing object, and clients written in it expect the key.
        out["object"] = None
    return out


def list_metadata(resource_version: str, continue_token: str = "", remaining: int | None = None) -> Document:
    """A list's metadata, keys in Go's order."""
    out: Document = {"resourceVersion": resource_version} if resource_version else {}
    if continue_token:
        out["continue"] = continue_token
    if remaining is not None:
        out["remainingItemCount"] = remaining
    return out


def partial_metadata(document: Document, version: str = "v1") -> Document:
    """The object's metadata alone, as a PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"{GROUP}/{version}",
        "metadata": document["metadata"],
    }


def partial_metadata_list(
    documents: Iterable[Document],
    *,
    version: str = "v1",
    resource_version: str = "",
    continue_token: str = "",
    remaining: int | None = None,
) -> Document:
    """The metadata of many objects, as a PartialObjectMetadataList."""
    check_version(version)
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": f"{GROUP}/{version}",
        "metadata": list_metadata(resource_version, continue_token, remaining),
        "items": [partial_metadata(document, version) for document in documents],
    }
