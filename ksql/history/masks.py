"""Secrets' values, replaced by their lengths before anything about them leaves the server.

Applies to every document whose kind is Secret: `data`, `stringData`, and the annotation in which kubectl
keeps a copy of what was applied. Comparing happens on raw documents, showing on masked ones.
"""

import re
from typing import Any

from ksql.base.documents import Document

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_VALUES = ("data", "stringData")
_COPY = ("metadata", "annotations", LAST_APPLIED)
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]*={0,2}\s*")


def is_secret(resource: str) -> bool:
    """Whether objects of this resource key carry values nobody may read by accident."""
    return resource == "secrets"


def size(value: Any) -> int:
    """Bytes of one value of a Secret's data: decoded from base64 where it is that."""
    if not isinstance(value, str):
        return len(str(value))
    if not _BASE64.fullmatch(value):
        return len(value.encode())
    digits = "".join(value.split())
    return len(digits) * 3 // 4 - digits.count("=")


def placeholder(value: Any, encoded: bool = True) -> str:
    """What stands in a value's place. `encoded`: the value is base64, as in `data`."""
    length = size(value) if encoded else len(str(value).encode())
    return f"masked, {length} byte{'' if length == 1 else 's'}"


def _is_value(path: tuple[str, ...]) -> bool:
    return path == _COPY or (len(path) >= 2 and path[0] in _VALUES)


def touches(path: tuple[str, ...]) -> bool:
    """Whether a value at `path` is masked or may hold something that is."""
    return not path or path[0] in _VALUES or path == _COPY[: len(path)]


def masked(value: Any, path: tuple[str, ...] = ()) -> Any:
    """`value`, found at `path` of a Secret, with every confidential part replaced; shares the rest."""
    if value is None or not touches(path):
        return value
    if _is_value(path):
        return placeholder(value, encoded=path[0] == "data")
    if isinstance(value, dict):
        return {key: masked(inner, (*path, key)) for key, inner in value.items()}
    # data that is no map is no Secret the API would store; it is hidden all the same.
    return placeholder(value, encoded=False) if path and path[0] in _VALUES else value


def shown(resource: str, document: Document) -> Document:
    """The document as anyone may see it."""
    if not is_secret(resource):
        return document
    hidden: Document = masked(document)
    return hidden
