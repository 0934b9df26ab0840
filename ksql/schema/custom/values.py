"""Is a custom resource what its schema allows? Every fault, in kube-apiserver's words.

Values first (`structural_values.py`), then embedded objects and lists with keys, then the rules in CEL: those
are asked only of objects that are otherwise sound enough to be asked.
"""

from ksql.base.documents import Document, lookup
from ksql.schema import faults
from ksql.schema.custom.definitions import CustomVersion
from ksql.schema.custom.structural_rules import broken, has_rules
from ksql.schema.custom.structural_values import duplicates, embedded_faults, faults_of
from ksql.schema.errors import Cause

_INT32_MAX = 2**31 - 1


def validate(
    custom: CustomVersion, document: Document, old: Document | None = None, subresource: str = ""
) -> list[Cause]:
    """What is wrong with a document of this version; `old` is what it was in the same version."""
    root = custom.structure
    out = faults_of(root, document, old)
    if subresource != "status":
        out += _scale_faults(custom, document)
    if root.has_embedded and (old is None or not list(embedded_faults(root, old))):
        out += embedded_faults(root, document)
    found = list(duplicates(root, document))
    # Lists that held something twice before the schema forbade it may go on doing so.
    if found and (old is None or not any(duplicates(root, old))):
        out += found
    if has_rules(root):
        if any(cause.reason in _BLOCKING for cause in out):
            out.append(_UNCHECKED)
        else:
            out += broken(root, document, old)
    return out


# Faults after which nobody knows whether the rules could be asked at all.
_BLOCKING = frozenset(
    {
        "FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)  # fmt: skip
_UNCHECKED = faults.wrong(
    "<nil>", None,
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation",
)  # fmt: skip


def _scale_faults(custom: CustomVersion, document: Document) -> list[Cause]:
    """The numbers a Scale would show must be numbers."""
    out: list[Cause] = []
    if custom.scale is None:
        return out
    for field in ("specReplicasPath", "statusReplicasPath"):
        path = custom.scale[field]
        value = lookup(document, *path.strip(".").split("."))
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            kind = {str: "string", bool: "bool", float: "float64", list: "[]interface {}"}
            named = kind.get(type(value), "map[string]interface {}")
            shown = value if isinstance(value, str | float) else faults.shown(value)
            said = f"{path} accessor error: {shown} is of the type {named}, expected int64"
            out.append(faults.wrong(path, 0, said))
        elif value < 0:
            out.append(faults.wrong(path, value, "should be a non-negative integer"))
        elif value > _INT32_MAX:
            said = f"should be less than or equal to {_INT32_MAX}"
            out.append(faults.wrong(path, value, said))
    return out
