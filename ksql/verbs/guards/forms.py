"""How the documents of a plan look to guards, and how what guards made of one comes back into the plan.

Built-in kinds are prepared in the version they are kept in and shown as they are served; custom resources are
prepared as their writer speaks them. Bodies that are no object of the resource (a Scale, an Eviction, the options
of a conversation) are shown as they are.
"""

from collections.abc import Callable
from dataclasses import replace

from ksql.base.documents import Document
from ksql.schema.catalogue import Catalogue
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.verbs import shaping
from ksql.verbs.decider import with_metadata
from ksql.verbs.guards.review import Form
from ksql.verbs.request import Request
from ksql.verbs.view import Current

# What a new object has not got yet when it may still be changed.
_UNBORN = {"uid": None, "creationTimestamp": None}


def of_builtin(
    catalogue: Catalogue, request: Request, operation: str, current: Current | None = None, *, is_nameless: bool = False
) -> Form:
    """Objects of a built-in kind. `is_nameless`: the name was generated, and guards do not know it yet."""
    revision = current.revision if current is not None else ""

    def shown(type: ResourceType, document: Document) -> Document:
        return _as_seen(shaping.served(type, document), revision, is_nameless, operation)

    def kept(type: ResourceType, document: Document) -> Document:
        asked = replace(request, type=type, verb="update", repeats=None)
        return shaping.stored(type, shaping.accepted(catalogue, asked, document, "Ignore"))

    return Form(shown, kept, operation)


def of_custom(
    request: Request,
    operation: str,
    convert: Callable[[ResourceType, ResourceType, Document], Document],
    accept: Callable[[Request, Document], Document],
    current: Current | None = None,
    *,
    is_nameless: bool = False,
) -> Form:
    """Custom resources, which their plan holds in the version of its request."""
    revision, own = current.revision if current is not None else "", request.type

    def shown(type: ResourceType, document: Document) -> Document:
        found = document if type is own else convert(own, type, document)
        return _as_seen(found, revision, is_nameless, operation)

    def kept(type: ResourceType, document: Document) -> Document:
        accepted = accept(replace(request, type=type, verb="update", repeats=None), document)
        return accepted if type is own else convert(type, own, accepted)

    return Form(shown, kept, operation)


def of_body(operation: str, kind: GroupVersionKind) -> Form:
    """A body that is no object of the resource."""
    return Form(lambda _, document: document, lambda _, document: document, operation, kind)


def _as_seen(document: Document, revision: str, is_nameless: bool, operation: str) -> Document:
    if revision:
        return with_metadata(document, resourceVersion=revision)
    if operation == "CREATE" and is_nameless:
        return with_metadata(document, **_UNBORN, name=None)
    return document
