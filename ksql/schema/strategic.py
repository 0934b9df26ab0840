"""Strategic merge patch: what kubectl apply, edit, set, label, cordon and rollout send.

A merge patch that knows the schema: lists whose schema names a merge key are merged element by element,
and directives in the patch delete, replace and order what plain merging cannot. Each definition is
compiled once into a plan that answers, for a field, how its value merges; plans are kept in the
catalogue. No library for it exists in Python. The order rules are those of Kubernetes' design "preserve
order in strategic merge patch"; documents are never changed, results share what the patch leaves alone.
"""

from collections.abc import Mapping
from typing import Any

from ksql.base.documents import Document
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import BadRequestError
from ksql.schema.resources import GroupVersionKind, ResourceType

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
ELEMENT_ORDER = "$setElementOrder"
DELETE_PRIMITIVES = "$deleteFromPrimitiveList"

_BAD_RETAIN_KEYS = "invalid patch format of retainKeys"
_BAD_ORDER = "invalid patch format of setElementOrder list"
_BAD_DELETION = "invalid patch format of primitive list"
_MISSING = object()


class Plan:
    """How the fields of one definition merge. Fields are compiled when first met, since definitions recur."""

    __slots__ = ("_catalogue", "_fields", "_properties", "_rest", "name")

    def __init__(self, catalogue: Catalogue | None, schema: Mapping[str, Any], name: str = "") -> None:
        self._catalogue = catalogue
        self._properties: Mapping[str, Any] | None = schema.get("properties")
        self._rest = schema.get("additionalProperties")
        self._fields: dict[str, Field] = {}
        self.name = name

    def field(self, key: str) -> "Field":
        """How the value under this key merges; a key the schema does not know merges as free-form JSON."""
        found = self._fields.get(key)
        return found if found is not None else self._compiled(key)

    def inner_field(self, key: str) -> "Field":
        """How an object or a list merges that both sides have; what a map holds is merged by nobody."""
        if self._properties is None and isinstance(self._rest, dict):
            raise BadRequestError("merging an object in json but data type is not struct, instead is: map")
        return self.field(key)

    def list_field(self, key: str) -> "Field":
        """How a list merges; refused for what the schema does not know, or knows as something else."""
        if self._properties is None:
            return self.inner_field(key)
        if key not in self._properties:
            raise BadRequestError(
                f"unable to find api field in struct {self.name} for the json field {_quoted(key)}"
            )
        found = self.field(key)
        if not found.is_list:
            raise BadRequestError("expected slice or array type, but got: struct")
        return found

    @property
    def go_kind(self) -> str:
        """What Go calls the type, for messages."""
        return "map" if self._properties is None else "struct"

    def _compiled(self, key: str) -> "Field":
        if self._properties is not None and key in self._properties:
            # Only keys of the schema are remembered: a map's keys come from clients and have no end.
            self._fields[key] = Field(self._catalogue, self._properties[key])
            return self._fields[key]
        return Field(self._catalogue, self._rest) if isinstance(self._rest, dict) else FREE


class Field:
    """How one field merges. `plan` is of the object it holds, or of its list's elements."""

    __slots__ = ("is_list", "merge_key", "merges", "plan", "replaces")

    def __init__(self, catalogue: Catalogue | None, schema: Mapping[str, Any]) -> None:
        strategies = schema.get("x-kubernetes-patch-strategy", "").split(",")
        self.merges = "merge" in strategies
        self.replaces = "replace" in strategies
        self.merge_key: str = schema.get("x-kubernetes-patch-merge-key", "")
        self.is_list = schema.get("type") == "array" or not schema
        target = schema.get("items") or schema
        self.plan = _plan_of(catalogue, target) if catalogue is not None else FREE_PLAN


def _plan_of(catalogue: Catalogue, schema: Mapping[str, Any]) -> Plan:
    reference = schema.get("$ref") or next((part.get("$ref") for part in schema.get("allOf") or ()), None)
    if reference is None:
        return Plan(catalogue, schema)
    key = ("strategic", reference)
    if key not in catalogue.compiled:
        name = reference.rpartition(".")[2]
        catalogue.compiled[key] = Plan(catalogue, catalogue.definition(reference), name)
    plan: Plan = catalogue.compiled[key]
    return plan


FREE_PLAN = Plan(None, {})
FREE = Field(None, {})


def supports(catalogue: Catalogue, type: ResourceType | GroupVersionKind) -> bool:
    """Whether the kind has a schema with merge keys. Custom resources have none: their patches are a 415."""
    return catalogue.definition_name(_gvk(type)) is not None


def apply(
    catalogue: Catalogue, type: ResourceType | GroupVersionKind, document: Document, patch: Any
) -> Document:
    """The document after the patch; `BadRequestError` for a patch that means nothing."""
    if not isinstance(patch, dict):
        name = {list: "array", str: "string", bool: "bool"}.get(patch.__class__, "number")
        words = f"json: cannot unmarshal {name} into Go value of type map[string]interface {{}}"
        raise BadRequestError(words)
    definition = catalogue.definition_name(_gvk(type))
    plan = _plan_of(catalogue, {"$ref": definition}) if definition else FREE_PLAN
    try:
        return _merged(document, patch, plan)
    except RecursionError:
        raise BadRequestError("the patch is nested too deeply") from None


def _gvk(type: ResourceType | GroupVersionKind) -> GroupVersionKind:
    return type.gvk if isinstance(type, ResourceType) else type


# --- objects


def _merged(original: Document, patch: Document, plan: Plan) -> Document:
    """The original with the patch merged in."""
    if DIRECTIVE in patch:
        return _directed(patch[DIRECTIVE], patch)
    result = _retained(original, patch)
    ordered = _apply_orders(result, patch, plan)
    for key, value in patch.items():
        if key in ordered or key == RETAIN_KEYS:
            continue
        deletes = key[:1] == "$" and key.startswith(DELETE_PRIMITIVES)
        if deletes:
            key = _directed_key(key, DELETE_PRIMITIVES, _BAD_DELETION) or key
        if value is None:
            result.pop(key, None)
            continue
        if key not in result or _go_kind(result[key]) != _go_kind(value):
            if not deletes:
                _set(result, key, _without_directives(_without_nulls(value)))
            continue
        if value.__class__ is dict:
            field = plan.inner_field(key)
            result[key] = value if field.replaces else _merged(result[key], value, field.plan)
        elif value.__class__ is list:
            field = plan.list_field(key)
            # What is to be deleted from a list goes whatever the list's strategy is.
            if field.merges or deletes:
                result[key] = _merged_list(result[key], value, field, deletes=deletes).items
            else:
                result[key] = value
        else:
            result[key] = value
    return result


def _set(result: Document, key: str, value: Any) -> None:
    if value is _MISSING:
        result.pop(key, None)
    else:
        result[key] = value


def _directed(directive: Any, patch: Document) -> Document:
    if directive == "delete":
        return {}
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != DIRECTIVE}
    raise _unknown_directive(directive, patch)


def _directed_key(key: str, directive: str, words: str) -> str:
    """The field that a directive such as `$setElementOrder/containers` is about."""
    head, slash, name = key.partition("/")
    if head != directive or not slash:
        raise BadRequestError(words)
    return name


def _without_nulls(value: Any) -> Any:
    """A value without the nulls that its objects hold, however deep."""
    if value.__class__ is dict:
        kept = {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
        same = len(kept) == len(value) and all(kept[key] is value[key] for key in kept)
        return value if same else kept
    if value.__class__ is list:
        items = [_without_nulls(item) for item in value]
        return items if any(one is not other for one, other in zip(items, value, strict=True)) else value
    return value


def _without_directives(value: Any) -> Any:
    """A value without the objects that carry a `$patch`; `_MISSING` when it is one itself.

    Other directives stay where they are, as nobody reads them where there is nothing to merge with: the
    decoder knows no such field.
    """
    if value.__class__ is dict:
        if DIRECTIVE in value:
            return _MISSING
        kept = {key: _without_directives(inner) for key, inner in value.items()}
        if all(kept[key] is value[key] for key in kept):
            return value
        return {key: inner for key, inner in kept.items() if inner is not _MISSING}
    if value.__class__ is list:
        items = [_without_directives(item) for item in value]
        if all(one is other for one, other in zip(items, value, strict=True)):
            return value
        return [item for item in items if item is not _MISSING]
    return value


def _retained(original: Document, patch: Document) -> Document:
    """A copy of the original: all of it, or what the patch's list of keys to retain names."""
    if RETAIN_KEYS not in patch:
        return dict(original)
    keys = patch[RETAIN_KEYS]
    if not isinstance(keys, list):
        raise BadRequestError(_BAD_RETAIN_KEYS)
    retained = {key for key in keys if isinstance(key, str)}
    for key, value in patch.items():
        if value is None or key == RETAIN_KEYS or key.startswith((DELETE_PRIMITIVES, ELEMENT_ORDER)):
            continue
        # A field that the patch sets and clears at once is a contradiction.
        if key not in retained:
            raise BadRequestError(_BAD_RETAIN_KEYS)
    return {key: value for key, value in original.items() if key in retained}


# --- lists


class _Merge:
    """A merged list, and the live list as merging leaves it: what new elements are placed by.

    Upstream merges in the live list's own memory: elements that are deleted make room, into which new ones
    are written before the live order is looked at. Clients see the order that results, so it is kept.
    """

    __slots__ = ("before", "items")

    def __init__(self, items: list[Any], before: list[Any]) -> None:
        self.items, self.before = items, before


def _apply_orders(result: Document, patch: Document, plan: Plan) -> set[str]:
    """Merge and order the lists for which the patch gives an order; answer the keys that are done with."""
    done: set[str] = set()
    for directive, order in patch.items():
        if not directive.startswith(ELEMENT_ORDER):
            continue
        done.add(directive)
        if not isinstance(order, list):
            raise BadRequestError(f"expected a []interface {{}}, but received a {_go_type(order)}")
        name = _directed_key(directive, ELEMENT_ORDER, _BAD_ORDER)
        old, new = result.get(name, _MISSING), patch.get(name, _MISSING)
        for found in (old, new):
            if found is not _MISSING and not isinstance(found, list):
                raise BadRequestError(f"expected a []interface {{}}, but received a {_go_type(found)}")
        field = plan.list_field(name)
        if new is not _MISSING:
            _check_order(new, order, field.merge_key)
        if old is _MISSING and new is _MISSING:
            continue
        result[name] = _ordered(old, new, order, field)
        done.add(name)
    return done


def _ordered(old: Any, new: Any, order: list[Any], field: Field) -> list[Any]:
    """The merged list: what the order names stands in that order, the rest keeps its place where it can."""
    if old is _MISSING:
        merge = _Merge(_without_directives(new), [])
    elif new is _MISSING:
        merge = _Merge(old, old)
    elif field.merges:
        merge = _merged_list(old, new, field)
    else:
        merge = _Merge(new, old)
    key = field.merge_key
    named, others = _parted(merge.items, order, key)
    kind = _element_kind([] if old is _MISSING else old, [] if new is _MISSING else new)
    return _arranged(named, others, order, merge.before, key, kind)


def _check_order(new: list[Any], order: list[Any], key: str) -> None:
    """The patch's elements must be among those ordered, and in the same order."""
    if not order or not new:
        return
    kept = new
    if key:
        for item in new:
            _of_object(item)
        kept = [item for item in new if item.get(DIRECTIVE) != "delete"]
    at, to = 0, 0
    while at < len(kept) and to < len(order):
        if kept[at].__class__ is dict and DIRECTIVE in kept[at]:
            at += 1
            continue
        if _is_same(kept[at], order[to], key):
            at += 1
        to += 1
    if at < len(kept) and to >= len(order):
        raise BadRequestError(
            f"The order in patch list:\n{_go(new)}\n doesn't match {ELEMENT_ORDER} list:\n{_go(order)}\n"
        )


def _is_same(left: Any, right: Any, key: str) -> bool:
    if key:
        for item in (left, right):
            _of_object(item)
        for item in (left, right):
            if key not in item:
                raise _no_merge_key(item, key)
        left, right = left[key], right[key]
    return left.__class__ is right.__class__ and _value_key(left) == _value_key(right)


def _merged_list(old: list[Any], new: list[Any], field: Field, *, deletes: bool = False) -> _Merge:
    """Two lists of a field with strategy merge, or what is left of one by a list of what is to go."""
    if not old and not new:
        return _Merge(old, old)
    kind = _element_kind(old, new)
    if kind is not dict:
        if deletes:
            gone = {_value_key(item) for item in new}
            return _Merge([item for item in old if _value_key(item) not in gone], old)
        merged = _unique([*old, *new])
        named, others = _parted(merged, new, "")
        return _Merge(_arranged(named, others, new, old, "", kind), old)
    key = field.merge_key
    if not key:
        raise BadRequestError(f"cannot merge lists without merge key for {field.plan.go_kind}")
    return _merged_objects(old, new, field)


def _merged_objects(old: list[Any], new: list[Any], field: Field) -> _Merge:
    key = field.merge_key
    before, live, plain, replaced = _without_special(old, new, key)
    if replaced:
        live, plain = plain, []
    merged = list(live)
    for item in plain:
        if key not in item:
            raise _no_merge_key(item, key)
        own = _value_key(item[key])
        at = next((i for i, one in enumerate(merged) if key in one and _value_key(one[key]) == own), -1)
        if at >= 0:
            merged[at] = _merged(merged[at], item, field.plan)
        else:
            merged.append(item)
    if not replaced:
        # What grows into the room of what was deleted counts as if it had stood there.
        room = len(before) - len(live)
        before = [*live, *merged[len(live) : len(live) + room], *before[len(merged) :]]
    named, others = _parted(merged, plain, key)
    return _Merge(_arranged(named, others, plain, live, key, dict), before)


def _without_special(
    old: list[Any], new: list[Any], key: str
) -> tuple[list[Any], list[Any], list[Any], bool]:
    """The live list with what was deleted moved out of its front, what is left of it, the patch's plain
    elements, and whether these replace all."""
    plain, replaced = [], False
    live = old
    for item in new:
        if DIRECTIVE not in item:
            plain.append(item)
            continue
        directive = item[DIRECTIVE]
        if directive == "delete":
            if key not in item:
                raise _no_merge_key(item, key)
            own = _value_key(item[key])
            live = [one for one in live if key not in one or _value_key(one[key]) != own]
        elif directive == "replace":
            replaced = True
        elif directive == "merge":
            raise BadRequestError("merging lists cannot yet be specified in the patch")
        else:
            raise _unknown_directive(directive, item)
    return [*live, *old[len(live) :]], live, plain, replaced


def _parted(items: list[Any], order: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """The elements that the order names, and the others."""
    named: list[Any] = []
    others: list[Any] = []
    if not key:
        wanted = {_value_key(item) for item in order}
        for item in items:
            (named if _value_key(item) in wanted else others).append(item)
        return named, others
    for item in items:
        _of_object(item)
        if key not in item:
            raise _no_merge_key(item, key)
        own = _value_key(item[key])
        found = False
        for index, one in enumerate(order):
            if one.__class__ is not dict:
                raise BadRequestError(f"value for key {index} is not a map")
            if key in one and _value_key(one[key]) == own:
                found = True
                break
        (named if found else others).append(item)
    return named, others


def _arranged(
    named: list[Any], others: list[Any], order: list[Any], before: list[Any], key: str, kind: Any
) -> list[Any]:
    """Named elements in the order given, the others as they stood, each before the first named one that stood
    behind it, as far as the two orders allow."""
    named = _sorted(named, order, key, kind)
    others = _sorted(others, before, key, kind)
    place = _places(before, key, kind)
    arranged: list[Any] = []
    left = 0
    for item in named:
        own = place.get(_own(item, key, kind))
        while own is not None and left < len(others):
            other = place.get(_own(others[left], key, kind))
            if other is None or other >= own:
                break
            arranged.append(others[left])
            left += 1
        arranged.append(item)
    return arranged + others[left:]


def _sorted(items: list[Any], order: list[Any], key: str, kind: Any) -> list[Any]:
    """Elements by their place in an order; upstream's own sorting where the order does not know them all."""
    gone: list[Any] = []
    if kind is dict:
        for one in (*items, *order):
            _of_object(one)
            if key not in one:
                raise _no_merge_key(one, key)
        gone = [item for item in items if item.get(DIRECTIVE) == "delete"]
        items = [item for item in items if item.get(DIRECTIVE) != "delete"]
    place = _places(order, key, kind)
    places = [place.get(_own(item, key, kind), -1) for item in items]
    if -1 not in places:
        ranked = sorted(zip(places, range(len(items)), strict=True))
        return [items[index] for _, index in ranked] + gone
    # An element that is not found counts as less than any: the comparison is no order, so only the same
    # steps (insertion, from the left) lead to the same result.
    pairs = list(zip(places, items, strict=True))
    for index in range(1, len(pairs)):
        at = index
        while at > 0 and _is_less(pairs[at][0], pairs[at - 1][0]):
            pairs[at], pairs[at - 1] = pairs[at - 1], pairs[at]
            at -= 1
    return [item for _, item in pairs] + gone


def _is_less(left: int, right: int) -> bool:
    return left < right if left >= 0 and right >= 0 else True


def _places(items: list[Any], key: str, kind: Any) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for index, item in enumerate(items):
        found.setdefault(_own(item, key, kind), index)
    return found


# --- elements


def _own(item: Any, key: str, kind: Any) -> Any:
    """What tells an element from others: its merge key, or itself."""
    if kind is dict:
        return _value_key(item.get(key)) if item.__class__ is dict else _value_key(None)
    return _value_key(item)


def _value_key(value: Any) -> Any:
    """A value to look up by: 1, 1.0 and true are three."""
    if value.__class__ is str:
        return value
    if value.__class__ in (dict, list):
        raise BadRequestError(f"expected a string, but received a {_go_type(value)}")
    return (value.__class__, value)


def _of_object(item: Any) -> None:
    if item.__class__ is not dict:
        raise BadRequestError(f"expected a map[string]interface {{}}, but received a {_go_type(item)}")


def _element_kind(old: list[Any], new: list[Any]) -> Any:
    """The one type of all elements; none may be a list."""
    kind: Any = None
    for item in (*old, *new):
        own = _go_kind(item)
        if kind is None:
            kind = own
            if own is list:
                raise BadRequestError("lists of lists are not supported")
        elif own is not kind:
            raise BadRequestError(f"list element types are not identical: {_go([old, new])}")
    if kind is None:
        raise BadRequestError("no elements in any of the given slices")
    return kind


def _go_kind(value: Any) -> Any:
    return value.__class__


def _unique(items: list[Any]) -> list[Any]:
    """Without repetitions; the last one moves to the place of what goes, as upstream does it."""
    kept = list(items)
    at = 0
    while at < len(kept) - 1:
        to = at + 1
        own = _value_key(kept[at])
        while to < len(kept):
            if _value_key(kept[to]) == own:
                kept[to] = kept[-1]
                kept.pop()
            else:
                to += 1
        at += 1
    return kept


def _no_merge_key(item: Any, key: str) -> BadRequestError:
    return BadRequestError(f"map: {_go(item)} does not contain declared merge key: {key}")


def _unknown_directive(directive: Any, patch: Document) -> BadRequestError:
    # kube-apiserver answers 500 to what it has no words for; the mistake is the client's all the same.
    return BadRequestError(f"unknown patch type: {_go_text(directive)} in map: {_go(patch)}")


def _go_text(value: Any) -> str:
    """A value as Go's %s prints it, which is meant for text."""
    if isinstance(value, str):
        return value
    return f"%!s({_go_type(value)}={_go(value)})" if value is not None else "%!s(<nil>)"


def _go(value: Any) -> str:
    """A value as Go's %v prints it, for messages."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_go, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "<nil>", True: "true", False: "false"}[value]
    return str(value)


def _go_type(value: Any) -> str:
    if value is None:
        return "%!s(<nil>)"
    containers = {dict: "map[string]interface {}", list: "[]interface {}"}
    return containers.get(value.__class__) or {str: "string", bool: "bool", int: "int64"}.get(
        value.__class__, "float64"
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
