"""Strategic merge patch: what kubectl apply, edit, set, label, cordon and rollout send.

A merge patch that knows the schema: lists whose schema names a merge key are merged element by element,
and directives in the patch delete, replace and order what plain merging cannot. Each definition is
compiled once into a plan that answers, for a field, how its value merges; plans are kept in the
catalogue. No library for it exists in Python. The order rules are those of Kubernetes' design "preserve
order in strategic merge patch"; documents are never changed, results share what the patch leaves alone.
"""

from collections.abc import Mapping, Sequence
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

    def knows(self, key: str) -> bool:
        return self._properties is None or key in self._properties

    def _compiled(self, key: str) -> "Field":
        if self._properties is not None and key in self._properties:
            # Only keys of the schema are remembered: a map's keys come from clients and have no end.
            self._fields[key] = Field(self._catalogue, self._properties[key])
            return self._fields[key]
        return Field(self._catalogue, self._rest) if isinstance(self._rest, dict) else FREE


class Field:
    """How one field merges. `plan` is of the object it holds, or of its list's elements."""

    __slots__ = ("merge_key", "merges", "plan", "replaces")

    def __init__(self, catalogue: Catalogue | None, schema: Mapping[str, Any]) -> None:
        strategies = schema.get("x-kubernetes-patch-strategy", "").split(",")
        self.merges = "merge" in strategies
        self.replaces = "replace" in strategies
        self.merge_key: str = schema.get("x-kubernetes-patch-merge-key", "")
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
    directive = patch.get(DIRECTIVE)
    # Merging is what happens anyway; kube-apiserver refuses to be told, though its documentation names it.
    if directive is not None and directive != "merge":
        return _directed(directive, patch, plan)
    result = _retained(original, patch)
    ordered = _apply_orders(result, patch, plan)
    for key, value in patch.items():
        if key[:1] == "$":
            if key.startswith(DELETE_PRIMITIVES):
                _apply_deletions(result, key, value)
            if key.startswith((DELETE_PRIMITIVES, ELEMENT_ORDER)) or key in (DIRECTIVE, RETAIN_KEYS):
                continue
        if key in ordered:
            continue
        if value is None:
            result.pop(key, None)
            continue
        after = _value(result.get(key, _MISSING), value, plan.field(key))
        if after is not _MISSING:
            result[key] = after
    return result


def _directed(directive: Any, patch: Document, plan: Plan) -> Document:
    if directive == "delete":
        return {}
    if directive == "replace":
        return _merged({}, {key: value for key, value in patch.items() if key != DIRECTIVE}, plan)
    raise _unknown_directive(directive, patch)


def _value(old: Any, new: Any, field: Field) -> Any:
    """A field's value after the patch; `_MISSING` when the patch deletes what was not there."""
    if new.__class__ is dict:
        if old.__class__ is dict and not (field.replaces and DIRECTIVE not in new):
            return _merged(old, new, field.plan)
        return _taken(new, field)
    if new.__class__ is list:
        if old.__class__ is list and field.merges:
            return _merged_list(old, new, field)
        return _taken(new, field)
    return new


def _taken(value: Any, field: Field) -> Any:
    """What the patch says where there is nothing to merge with: without its nulls and directives."""
    # kube-apiserver drops an object that says `$patch: replace` here, which nobody can have meant.
    if value.__class__ is dict:
        return _MISSING if value.get(DIRECTIVE) == "delete" else _merged({}, value, field.plan)
    if value.__class__ is list:
        if not any(item.__class__ is dict for item in value):
            return value
        directed = ("delete", "replace") if field.merges else ("delete",)
        return [
            _merged({}, item, field.plan) if item.__class__ is dict else item
            for item in value
            if item.__class__ is not dict or item.get(DIRECTIVE) not in directed
        ]
    return value


def _retained(original: Document, patch: Document) -> Document:
    """A copy of the original: all of it, or what the patch's list of keys to retain names."""
    if RETAIN_KEYS not in patch:
        return dict(original)
    keys = patch[RETAIN_KEYS]
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise BadRequestError(_BAD_RETAIN_KEYS)
    retained = frozenset(keys)
    for key, value in patch.items():
        # A field that the patch sets and clears at once is a contradiction.
        if value is not None and key[:1] != "$" and key not in retained:
            raise BadRequestError(_BAD_RETAIN_KEYS)
    return {key: value for key, value in original.items() if key in retained}


# --- lists


def _apply_orders(result: Document, patch: Document, plan: Plan) -> Sequence[str]:
    """Merge and order the lists for which the patch gives an order; answer their names."""
    done = []
    for directive, order in patch.items():
        if not directive.startswith(ELEMENT_ORDER):
            continue
        head, slash, name = directive.partition("/")
        if head != ELEMENT_ORDER or not slash:
            raise BadRequestError(_BAD_ORDER)
        if not plan.knows(name):
            words = f"unable to find api field in struct {plan.name} for the json field {_quoted(name)}"
            raise BadRequestError(words)
        old, new = result.get(name, _MISSING), patch.get(name, _MISSING)
        for found in (order, old, new):
            if found is not _MISSING and not isinstance(found, list):
                raise BadRequestError(f"expected a []interface {{}}, but received a {_go_type(found)}")
        if old is _MISSING and new is _MISSING:
            continue
        result[name] = _ordered(old, new, order, plan.field(name))
        done.append(name)
    return done


def _ordered(old: Any, new: Any, order: list[Any], field: Field) -> list[Any]:
    """The merged list: what the order names stands in that order, the rest keeps its place where it can."""
    key = field.merge_key
    if new is not _MISSING:
        _check_order(new, order, key)
    if old is _MISSING:
        merged = _taken(new, field)
    elif new is _MISSING:
        merged = old
    else:
        merged = _merged_list(old, new, field) if field.merges else _taken(new, field)
    before = [] if old is _MISSING else _keys(old, key)
    if new is not _MISSING:
        before += _successors(before, new, key)
    return _arranged(merged, _keys(order, key), before, key)


def _successors(before: Sequence[Any], new: list[Any], key: str) -> list[Any]:
    """The new elements that count as if they had stood at the list's end already.

    As many as the patch deletes: kube-apiserver writes new elements into the room that deleted ones leave,
    before it looks at the old order. Clients see the resulting order, so it is kept.
    """
    directives = [item[DIRECTIVE] for item in new if item.__class__ is dict and DIRECTIVE in item]
    if not directives or "replace" in directives:
        return []
    known = frozenset(before)
    gone = [item for item in new if item.__class__ is dict and item.get(DIRECTIVE) == "delete"]
    deleted = frozenset(_keys(gone, key))
    room = sum(own in deleted for own in before)
    plain = _keys([item for item in new if item.__class__ is not dict or DIRECTIVE not in item], key)
    return [own for own in plain if own not in known][:room]


def _check_order(new: list[Any], order: list[Any], key: str) -> None:
    """The patch's elements must be among those ordered, and in the same order."""
    wanted = iter(_keys(order, key))
    plain = [item for item in new if item.__class__ is not dict or DIRECTIVE not in item]
    for own in _keys(plain, key):
        if order and own not in wanted:
            raise BadRequestError(
                f"The order in patch list:\n{_go(new)}\n doesn't match {ELEMENT_ORDER} list:\n{_go(order)}\n"
            )


def _merged_list(old: list[Any], new: list[Any], field: Field) -> list[Any]:
    """Two lists of a field with strategy merge."""
    if not new:
        return old
    _check_elements(old, new)
    if new[0].__class__ is not dict:
        return _arranged(_unique([*old, *new]), _keys(new, ""), _keys(old, ""), "")
    key = field.merge_key
    if not key:
        raise BadRequestError("cannot merge lists without merge key for type struct")
    kept, plain, replaced = _without_special(old, new, key)
    if replaced:
        return [_merged({}, item, field.plan) for item in plain]
    merged = list(kept)
    places: dict[Any, int] = {}
    for place, own in enumerate(_keys(kept, key)):
        places.setdefault(own, place)
    wanted = _keys(plain, key)
    for item, own in zip(plain, wanted, strict=True):
        if own in places:
            merged[places[own]] = _merged(merged[places[own]], item, field.plan)
        else:
            places[own] = len(merged)
            merged.append(_merged({}, item, field.plan))
    return _arranged(merged, wanted, _keys(kept, key), key) if plain else merged


def _without_special(old: list[Any], new: list[Any], key: str) -> tuple[list[Any], list[Any], bool]:
    """The old list without what the patch deletes, the patch's plain elements, whether these replace all."""
    plain, replaced = [], False
    gone: list[Any] = []
    for item in new:
        directive = item.get(DIRECTIVE)
        if directive is None:
            plain.append(item)
        elif directive == "delete":
            gone.append(item)
        elif directive == "replace":
            replaced = True
        elif directive == "merge":
            raise BadRequestError("merging lists cannot yet be specified in the patch")
        else:
            raise _unknown_directive(directive, item)
    if gone:
        deleted = frozenset(_keys(gone, key))
        kept = zip(old, _keys(old, key, strict=False), strict=True)
        old = [one for one, own in kept if own not in deleted]
    return old, plain, replaced


def _arranged(items: list[Any], order: Sequence[Any], before: Sequence[Any], key: str) -> list[Any]:
    """Items the order names come in that order; the others keep theirs, each before the first named item
    that stood behind it, as far as the two orders allow."""
    rank: dict[Any, int] = {}
    for position, own in enumerate(order):
        rank.setdefault(own, position)
    place: dict[Any, int] = {}
    for position, own in enumerate(before):
        place.setdefault(own, position)
    named: list[tuple[Any, Any]] = []
    others: list[tuple[Any, Any]] = []
    for own, item in zip(_keys(items, key), items, strict=True):
        (named if own in rank else others).append((own, item))
    named.sort(key=lambda pair: rank[pair[0]])
    others.sort(key=lambda pair: place.get(pair[0], 0))
    arranged, left = [], 0
    for own, item in named:
        if own in place:
            while left < len(others) and others[left][0] in place and place[others[left][0]] < place[own]:
                arranged.append(others[left][1])
                left += 1
        arranged.append(item)
    return arranged + [item for _, item in others[left:]]


def _apply_deletions(result: Document, directive: str, gone: Any) -> None:
    """Take the named values out of a list of plain values."""
    head, slash, name = directive.partition("/")
    if head != DELETE_PRIMITIVES or not slash or not isinstance(gone, list):
        raise BadRequestError(_BAD_DELETION)
    if isinstance(result.get(name), list):
        deleted = frozenset(_keys(gone, ""))
        old = result[name]
        result[name] = [item for item, own in zip(old, _keys(old, ""), strict=True) if own not in deleted]


# --- elements


def _keys(items: Sequence[Any], key: str, *, strict: bool = True) -> list[Any]:
    """What tells the elements apart: their merge key, or the value itself; 1 and true are not the same."""
    keys = []
    for item in items:
        value = item
        if key:
            if item.__class__ is not dict:
                words = f"expected a map[string]interface {{}}, but received a {_go_type(item)}"
                raise BadRequestError(words)
            value = item.get(key)
            if value is None and strict:
                raise BadRequestError(f"map: {_go(item)} does not contain declared merge key: {key}")
        if value.__class__ is not str:
            if isinstance(value, dict | list):
                raise BadRequestError(f"expected a string, but received a {_go_type(value)}")
            value = (value.__class__, value)
        keys.append(value)
    return keys


def _check_elements(old: list[Any], new: list[Any]) -> None:
    """All elements must be of one type, and none a list."""
    kind = new[0].__class__
    for item in (*old, *new):
        if item.__class__ is list:
            raise BadRequestError("lists of lists are not supported")
        if item.__class__ is not kind:
            raise BadRequestError(f"list element types are not identical: {_go([old, new])}")


def _unique(items: list[Any]) -> list[Any]:
    return list(dict(zip(_keys(items, ""), items, strict=True)).values())


def _unknown_directive(directive: Any, patch: Document) -> BadRequestError:
    return BadRequestError(f"unknown patch type: {_go(directive)} in map: {_go(patch)}")


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
        return "<nil>"
    containers = {dict: "map[string]interface {}", list: "[]interface {}"}
    return containers.get(value.__class__) or {str: "string", bool: "bool", int: "int64"}.get(
        value.__class__, "float64"
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
