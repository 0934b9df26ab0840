"""Patches: from an object and a patch to the object that is wanted.

The three kinds Kubernetes knows beside apply (which is `managing.py`'s); each is a pure function of `ksql/schema` or of
`ksql/base/documents.py`. The result walks the same way as an update's body.
"""

from typing import Any

from ksql.base.documents import Document, merged
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import BadRequestError
from ksql.schema.patches import jsonpatch, strategic
from ksql.schema.resources import ResourceType


def patched(catalogue: Catalogue, type: ResourceType, document: Document, patch: Any, kind: str) -> Document:
    """`document` after the patch. `kind` is json, merge or strategic."""
    if kind == "json":
        result = jsonpatch.apply(document, patch)
    elif not isinstance(patch, dict):
        raise BadRequestError("the patch is no JSON object")
    elif kind == "merge":
        result = merged(document, patch)
    elif kind == "strategic":
        result = strategic.apply(catalogue, type, document, patch)
    else:
        raise BadRequestError(f"unknown kind of patch {kind!r}")
    if not isinstance(result, dict):
        raise BadRequestError("the patch does not leave an object")
    return result
