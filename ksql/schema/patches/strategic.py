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
from ksql.schema.golang import gotext
from ksql.schema.patches.strategic_order import (
    DIRECTIVE,
    arranged,
    check_object,
    element_kind,
    no_merge_key,
    parted,
    type_name,
    unique,
    value_key,
)
from ksql.schema.resources import GroupVersionKind, ResourceType

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
                f"unable to find api field in struct {self.name} for the json field {gotext.quoted(key)}"
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
        if key not in result or result[key].__class__ is not value.__class__:
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
            raise BadRequestError(f"expected a []interface {{}}, but received a {type_name(order)}")
        name = _directed_key(directive, ELEMENT_ORDER, _BAD_ORDER)
        old, new = result.get(name, _MISSING), patch.get(name, _MISSING)
        for found in (old, new):
            if found is not _MISSING and not isinstance(found, list):
                raise BadRequestError(f"expected a []interface {{}}, but received a {type_name(found)}")
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
    named, others = parted(merge.items, order, key)
    kind = element_kind([] if old is _MISSING else old, [] if new is _MISSING else new)
    return arranged(named, others, order, merge.before, key, kind)


def _check_order(new: list[Any], order: list[Any], key: str) -> None:
    """The patch's elements must be among those ordered, and in the same order."""
    if not order or not new:
        return
    kept = new
    if key:
        for item in new:
            check_object(item)
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
            f"The order in patch list:\n{gotext.plain(new)}\n"
            f" doesn't match {ELEMENT_ORDER} list:\n{gotext.plain(order)}\n"
        )


def _is_same(left: Any, right: Any, key: str) -> bool:
    if key:
        for item in (left, right):
            check_object(item)
        for item in (left, right):
            if key not in item:
                raise no_merge_key(item, key)
        left, right = left[key], right[key]
    return left.__class__ is right.__class__ and value_key(left) == value_key(right)


def _merged_list(old: list[Any], new: list[Any], field: Field, *, deletes: bool = False) -> _Merge:
    """Two lists of a field with strategy merge, or what is left of one by a list of what is to go."""
    if not old and not new:
        return _Merge(old, old)
    kind = element_kind(old, new)
    if kind is not dict:
        if deletes:
            gone = {value_key(item) for item in new}
            return _Merge([item for item in old if value_key(item) not in gone], old)
        merged = unique([*old, *new])
        named, others = parted(merged, new, "")
        return _Merge(arranged(named, others, new, old, "", kind), old)
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
    places: dict[Any, int] = {}
    for at, one in enumerate(live):
        if key in one:
            places.setdefault(value_key(one[key]), at)
    for item in plain:
        if key not in item:
            raise no_merge_key(item, key)
        at = places.setdefault(value_key(item[key]), len(merged))
        if at < len(merged):
            merged[at] = _merged(merged[at], item, field.plan)
        else:
            merged.append(item)
    if not replaced:
        # What grows into the room of what was deleted counts as if it had stood there.
        room = len(before) - len(live)
        before = [*live, *merged[len(live) : len(live) + room], *before[len(merged) :]]
    named, others = parted(merged, plain, key)
    return _Merge(arranged(named, others, plain, live, key, dict), before)


def _without_special(
    old: list[Any], new: list[Any], key: str
) -> tuple[list[Any], list[Any], list[Any], bool]:
    """The live list with what was deleted moved out of its front, what is left of it, the patch's plain
    elements, and whether these replace all."""
    plain, replaced = [], False
    gone = set()
    for item in new:
        if DIRECTIVE not in item:
            plain.append(item)
            continue
        directive = item[DIRECTIVE]
        if directive == "delete":
            if key not in item:
                raise no_merge_key(item, key)
            gone.add(value_key(item[key]))
        elif directive == "replace":
            replaced = True
        elif directive == "merge":
            raise BadRequestError("merging lists cannot yet be specified in the patch")
        else:
            raise _unknown_directive(directive, item)
    live = [one for one in old if key not in one or value_key(one[key]) not in gone] if gone else old
    return [*live, *old[len(live) :]], live, plain, replaced


def _unknown_directive(directive: Any, patch: Document) -> BadRequestError:
    # kube-apiserver answers 500 to what it has no words for; the mistake is the client's all the same.
    return BadRequestError(f"unknown patch type: {gotext.as_text(directive)} in map: {gotext.plain(patch)}")
