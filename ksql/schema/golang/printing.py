"""A document as Go prints the object it was read into: zeroes that `omitempty` drops, and those it cannot.

Go knows no difference between an absent field and its zero unless the field is a pointer. So kube-apiserver
answers `hostNetwork: false` or `labels: {}` with nothing, and an absent `lastTransitionTime` with null, an
absent inner structure with its own zeroes. Which field is which stands in the table of messages
(`protobuf.fields_of`). Each message is compiled into a function when first met; the function shares what it
does not change and returns the same object when all is well.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from ksql.base.documents import Document
from ksql.schema.protobuf import reading as protobuf
from ksql.schema.resources import GroupVersionKind

Print = Callable[[Any], Any]

# Scalars and the zero that Go prints for one that is not left out. Lists and maps print null.
_ZEROS: Mapping[str, Any] = {"s": "", "b": False, "i": 0, "l": 0, "d": 0, "y": None, "x": None}
# Structures with a text form: never left out, since `omitempty` does not look into structures.
_TEXTS: Mapping[str, Any] = {"t": None, "u": None, "q": "0", "o": 0}
# Pointers that are printed when they point at nothing, and get no default.
_NULLS = frozenset(
    {
        ("core.v1.TypedLocalObjectReference", "apiGroup"),
        ("core.v1.TypedObjectReference", "apiGroup"),
        ("resource.v1.DeviceRequestAllocationResult", "adminAccess"),
    }
)
# Times marked `omitzero`, which does look.
_OMITTED = frozenset({("meta.v1.ObjectMeta", "creationTimestamp")})


def printed(gvk: GroupVersionKind, document: Document) -> Document:
    """The document as Go prints it; the same object where that is how it stands."""
    name = protobuf.message_name(gvk.api_version, gvk.kind)
    if name is None:
        return document
    result: Document = _printer(name).apply(document)
    return result


def structure(name: str, value: Document) -> Document:
    """As `printed`, for a structure within a document by its message's name (meta.v1.LabelSelector)."""
    result: Document = _printer(name).apply(value)
    return result


class _Printer:
    """One message: what to drop when empty, what to add when missing, what to look into."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dropped: set[str] = set()
        self.inner: dict[str, Print] = {}
        self.always: dict[str, Callable[[], Any]] = {}

    def fill(self) -> None:
        for field in protobuf.fields_of(self.name):
            if field.inline:
                self._absorb(_printer(field.type[1:-1]))
            elif (self.name, field.name) not in _OMITTED:
                self._add(field)

    def _absorb(self, other: "_Printer") -> None:
        self.dropped |= other.dropped
        self.inner |= other.inner
        self.always |= other.always

    def _add(self, field: protobuf.Field) -> None:
        name, code = field.name, field.type
        structure = _printer(code[1:-1]) if code.startswith("<") else None
        many = field.listed or field.mapped
        if structure is not None:
            apply = structure.apply
            self.inner[name] = _each(apply) if field.listed else _values(apply) if field.mapped else apply
        if many or code in _ZEROS:
            if field.pointer and not many:
                if (self.name, name) in _NULLS:
                    self.always[name] = lambda: None
                return
            if field.always:
                zero = None if many else _ZEROS[code]
                self.always[name] = lambda: zero
                if many or zero is None:
                    self.inner[name] = _or_null(self.inner.get(name))
            else:
                self.dropped.add(name)
        elif not field.pointer and code in _TEXTS:
            self.always[name] = lambda: _TEXTS[code]
        elif field.pointer and code in ("t", "u"):
            # Behind a pointer an instant that is null is none.
            self.dropped.add(name)
        elif not field.pointer and structure is not None:
            self.always[name] = structure.zero

    def zero(self) -> Document:
        """What the structure prints when nothing is in it."""
        return {name: make() for name, make in self.always.items()}

    def apply(self, value: Any) -> Any:
        if value.__class__ is not dict:
            return value
        result = value
        dropped, inner = self.dropped, self.inner
        for key, item in value.items():
            if key in inner:
                if not item and key in dropped:
                    result = {name: kept for name, kept in result.items() if name != key}
                    continue
                new = inner[key](item)
                if new is not item:
                    if result is value:
                        result = value.copy()
                    result[key] = new
            elif not item and key in dropped:
                result = {name: kept for name, kept in result.items() if name != key}
        for key, make in self.always.items():
            if key not in value:
                if result is value:
                    result = value.copy()
                result[key] = make()
        return result


def _each(apply: Print) -> Print:
    def print_each(values: Any) -> Any:
        if not values:
            return values
        out = [apply(value) for value in values]
        for index, value in enumerate(values):
            if out[index] is not value:
                return out
        return values

    return print_each


def _values(apply: Print) -> Print:
    def print_values(values: Any) -> Any:
        if not values:
            return values
        out = {key: apply(value) for key, value in values.items()}
        return out if any(out[key] is not value for key, value in values.items()) else values

    return print_values


def _or_null(inner: Print | None) -> Print:
    """An empty list that cannot be left out has lost its emptiness on the way through storage."""

    def print_or_null(value: Any) -> Any:
        if not value:
            return None
        return inner(value) if inner is not None else value

    return print_or_null


@cache
def _made(name: str) -> _Printer:
    return _Printer(name)


_complete: set[str] = set()


def _printer(name: str) -> _Printer:
    """The message's printer, filled once; JSON schemas contain themselves, hence in two steps."""
    printer = _made(name)
    if name not in _complete:
        _complete.add(name)
        printer.fill()
    return printer
