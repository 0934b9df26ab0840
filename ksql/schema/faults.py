"""How a field's fault is worded: reason, value and detail as kube-apiserver prints them.

Rules collect `Cause`s into a list; these functions make them. Values are quoted as Go does: strings with
escapes, numbers bare, everything else as JSON.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from ksql.schema.errors import Cause, InvalidError
from ksql.schema.golang import gotext
from ksql.schema.resources import GroupVersionKind, ResourceType

IMMUTABLE = "field is immutable"


def required(field: str, detail: str = "") -> Cause:
    return Cause("FieldValueRequired", _joined("Required value", detail), field)


def wrong(field: str, value: Any, detail: str = "") -> Cause:
    """Invalid value."""
    return Cause("FieldValueInvalid", _joined(f"Invalid value: {shown(value)}", detail), field)


def unsupported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    choices = ", ".join(quoted(choice) for choice in supported)
    detail = f"supported values: {choices}" if choices else ""
    return Cause("FieldValueNotSupported", _joined(f"Unsupported value: {shown(value)}", detail), field)


def forbidden(field: str, detail: str) -> Cause:
    return Cause("FieldValueForbidden", _joined("Forbidden", detail), field)


def duplicate(field: str, value: Any) -> Cause:
    return Cause("FieldValueDuplicate", f"Duplicate value: {shown(value)}", field)


def unknown(field: str, value: Any) -> Cause:
    """Not found: a name that refers to nothing."""
    return Cause("FieldValueNotFound", f"Not found: {shown(value)}", field)


def too_long(field: str, limit: int) -> Cause:
    unit = "byte" if limit == 1 else "bytes"
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} {unit}", field)


def too_many(field: str, count: int, limit: int) -> Cause:
    items = "item" if limit == 1 else "items"
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {limit} {items}", field)


def invalid(type: ResourceType | GroupVersionKind, name: str, causes: Sequence[Cause]) -> InvalidError:
    """The refusal of a document for these causes: 422, each field named."""
    qualified = f"{type.kind}.{type.group}" if type.group else type.kind
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return InvalidError(
        f'{qualified} "{name}" is invalid: {listed}',
        group=type.group,
        kind=type.kind,
        name=name,
        causes=causes,
    )


def invalid_patch(patch: Any, fault: str, *, is_strategic: bool = False) -> InvalidError:
    """The refusal of a patch that does not leave an object of its kind: 422, and the one field is the patch.

    kube-apiserver shows the whole object after a JSON or merge patch; the patch alone says more in less, and
    nothing to who may write an object and not read it.
    """
    text = gotext.plain(patch) if is_strategic else orjson.dumps(patch).decode()
    return invalid(GroupVersionKind("", "", ""), "", [wrong("patch", text, fault)])


def shown(value: Any) -> str:
    """A value inside a message."""
    if isinstance(value, str):
        return quoted(value)
    text = orjson.dumps(value).decode()
    # Go escapes what HTML would read, in whole structures but not in texts by themselves.
    for sign, word in _HTML:
        if sign in text:
            text = text.replace(sign, word)
    return text


_HTML = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"))


def quoted(text: str) -> str:
    """Go's %q for all that is printable; control characters as escapes."""
    return orjson.dumps(text).decode()


def _joined(head: str, detail: str) -> str:
    return f"{head}: {detail}" if detail else head
