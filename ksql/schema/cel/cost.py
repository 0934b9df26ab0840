"""What an expression can cost at most, in the units of cel-go: kube-apiserver refuses rules that could take too long.

The tree of the checked expression is gone over once. Each part has a range of costs, and what holds several things (a
text, a list, a map) a range of sizes, told from the expression itself or from the place in the schema that it comes
from (`sizes.py`). The figures are cel-go's and those of Kubernetes' own functions (`cost_functions.py`); with others,
rules would be refused here that are accepted there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ksql.schema.cel import cost_functions
from ksql.schema.cel.cost_functions import LIST, MAP, PATTERN, STRUCTURE, TRAVERSAL, Call, Part
from ksql.schema.cel.ranges import ANY, ENDLESS, NOTHING, ONE, Range
from ksql.schema.cel.sizes import Size
from ksql.schema.cel.syntax import Checked, kind_of

# kube-apiserver's own limits: of one expression wherever its place occurs, and of all in a schema.
EXPRESSION_COST_MAX = 10_000_000
SCHEMA_COST_MAX = 100_000_000
_ACCUMULATORS = ("__result__", "@result")


def too_much(cost: int, limit: int) -> str:
    """By how much a cost is beyond a limit, in kube-apiserver's words; empty when it is not."""
    if cost <= limit:
        return ""
    factor = cost / limit
    by = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return (
        f"exceeds budget by factor of {by} (try simplifying the rule, or adding maxItems, maxProperties, and "
        "maxLength where arrays, maps, and strings are declared)"
    )


def times(cost: int, often: int) -> int:
    return min(cost * often, ENDLESS)


@dataclass(frozen=True, slots=True)
class _Entries:
    """The sizes of what a list or a map holds."""

    is_list: bool
    keys: Range
    values: Range


@dataclass(frozen=True, slots=True)
class _Local:
    path: tuple[str, ...]
    size: Range | None
    entries: _Entries | None


class Estimate:
    """The estimate of one expression over `self` (and `oldSelf`) of a size."""

    def __init__(self, checked: Checked, root: Size | None) -> None:
        self._checked, self._root = checked, root
        self._paths: dict[int, tuple[str, ...]] = {}
        self._sizes: dict[int, Range] = {}
        self._entries: dict[int, _Entries] = {}
        self._locals: dict[str, list[_Local]] = {}
        self.cost = self._cost(checked.root)

    # --- the parts

    def _cost(self, e: Any) -> Range:
        if e.HasField("const_expr"):
            return NOTHING
        if e.HasField("ident_expr"):
            name = e.ident_expr.name
            known = self._locals.get(name)
            self._paths[e.id] = known[-1].path if known else (name,)
            return ONE
        if e.HasField("select_expr"):
            return self._select(e)
        if e.HasField("call_expr"):
            return self._call(e)
        if e.HasField("list_expr"):
            return self._list(e)
        if e.HasField("struct_expr"):
            return self._structure(e)
        if e.HasField("comprehension_expr"):
            return self._loop(e)
        return NOTHING

    def _select(self, e: Any) -> Range:
        operand = e.select_expr.operand
        cost = self._cost(operand)
        if e.select_expr.test_only:
            # To ask for a field is free.
            return cost
        if kind_of(self._checked.type_of(operand)) in ("map", "structure", "parameter"):
            cost = cost.plus(ONE)
        self._paths[e.id] = (*self._path(operand), e.select_expr.field)
        return cost

    def _list(self, e: Any) -> Range:
        cost, size = Range(LIST, LIST), Range(ENDLESS if e.list_expr.elements else 0, 0)
        for inner in e.list_expr.elements:
            cost = cost.plus(self._cost(inner))
            size = size.or_else(self._size_or_any(inner))
        self._entries[e.id] = _Entries(True, ONE, size)
        return cost

    def _structure(self, e: Any) -> Range:
        entries = e.struct_expr.entries
        if e.struct_expr.message_name:
            return Range(STRUCTURE, STRUCTURE).plus(_sum([self._cost(one.value) for one in entries]))
        cost = Range(MAP, MAP)
        keys = values = Range(ENDLESS if entries else 0, 0)
        for one in entries:
            cost = cost.plus(self._cost(one.map_key)).plus(self._cost(one.value))
            keys = keys.or_else(self._size_or_any(one.map_key))
            values = values.or_else(self._size_or_any(one.value))
        self._entries[e.id] = _Entries(False, keys, values)
        return cost

    def _loop(self, e: Any) -> Range:
        loop = e.comprehension_expr
        cost = self._cost(loop.iter_range).plus(self._cost(loop.accu_init))
        accumulator = _Local(
            self._path(loop.accu_init), self._size(loop.accu_init), self._entries_of(loop.accu_init)
        )
        self._push(loop.accu_var, accumulator)
        self._push_variables(loop)
        step = self._cost(loop.loop_condition).plus(self._cost(loop.loop_step))
        for name in (loop.iter_var, loop.iter_var2):
            if name:
                self._locals[name].pop()
        cost = cost.plus(self._cost(loop.result))
        self._locals[loop.accu_var].pop()
        count = self._size_or_any(loop.iter_range)
        cost = cost.plus(count.times(step))
        if loop.accu_init.HasField("const_expr"):
            if (size := self._size(loop.accu_init)) is not None:
                self._sizes[e.id] = size
        elif loop.accu_init.HasField("list_expr") or loop.accu_init.HasField("struct_expr"):
            self._sizes[e.id] = count
            if (entries := self._entries_of(loop.loop_step)) is not None:
                self._entries[e.id] = entries
        return cost

    def _push_variables(self, loop: Any) -> None:
        entries, path = self._entries_of(loop.iter_range), self._path(loop.iter_range)
        kind = kind_of(self._checked.type_of(loop.iter_range))
        is_list = entries.is_list if entries is not None else kind == "list"
        keys = entries.keys if entries is not None else None
        values = entries.values if entries is not None else None
        if loop.iter_var2:
            self._push(loop.iter_var, _Local((*path, "@indices" if is_list else "@keys"), keys, None))
            self._push(loop.iter_var2, _Local((*path, "@items" if is_list else "@values"), values, None))
        elif is_list:
            self._push(loop.iter_var, _Local((*path, "@items"), values, None))
        else:
            self._push(loop.iter_var, _Local((*path, "@keys"), keys, None))

    def _push(self, name: str, local: _Local) -> None:
        self._locals.setdefault(name, []).append(local)

    # --- calls

    def _call(self, e: Any) -> Range:
        call, args = e.call_expr, list(e.call_expr.args)
        if call.function == "dyn":
            cost = self._cost(args[0]).plus(ONE)
            self._copy(e, args[0])
            return cost
        costs = [self._cost(one) for one in args]
        parts = [self._part(one) for one in args]
        overloads = self._checked.overloads(e)
        if not overloads:
            return NOTHING
        target, own = None, NOTHING
        if call.HasField("target"):
            own = self._cost(call.target)
            target = self._part(call.target)
        found, size = Range(ENDLESS, 0), None
        for overload in overloads:
            one = self._function(e, call.function, overload, target, parts, costs)
            found = found.or_else(one.cost)
            if one.size is not None:
                size = one.size if size is None else size.or_else(one.size)
            if overload in ("index_list", "index_map"):
                entries = self._entries_of(args[0])
                size = entries.values if entries is not None else None
                self._paths[e.id] = (*self._path(args[0]), "@items" if overload == "index_list" else "@values")
            if size is None:
                size = self._size(e)
        if size is not None:
            self._sizes[e.id] = size
        return own.plus(found)

    def _function(
        self, e: Any, name: str, overload: str, target: Part | None, args: list[Part], costs: list[Range]
    ) -> Call:
        total = _sum(costs)
        if (own := cost_functions.of(name, self, target, args)) is not None:
            return Call(own.cost.plus(total), own.size)
        if overload in ("logical_or", "logical_and"):
            return Call(Range(costs[0].least, costs[0].plus(costs[1]).most))
        if overload == "conditional":
            return self._conditional(e, args, costs)
        if overload in ("add_string", "add_bytes", "add_list") and len(args) == 2:
            return self._joined(e, overload, args, total)
        if overload in _COMPARED and len(args) == 2:
            most = min(self._known(args[0]).most, self._known(args[1]).most)
            return Call(Range(1 if most else 0, most).scaled(TRAVERSAL).plus(total))
        plain = self._plain(overload, target, args)
        return Call((plain.cost if plain is not None else ONE).plus(total), plain.size if plain is not None else None)

    def _plain(self, overload: str, target: Part | None, args: list[Part]) -> Call | None:
        """The language's own functions whose cost grows with what they are given."""
        if overload == "string_to_bytes":
            size = self._known(args[0])
            return Call(size.scaled(TRAVERSAL), Range(size.least, min(size.most * 4, ENDLESS)))
        if overload == "bytes_to_string":
            size = self._known(args[0])
            return Call(size.scaled(TRAVERSAL), Range(size.least // 4, size.most))
        if overload in ("starts_with_string", "ends_with_string"):
            return Call(self._known(args[0]).scaled(TRAVERSAL))
        if overload == "in_list" and len(args) == 2:
            return Call(self._known(args[1]))
        if overload == "matches_string" and target is not None:
            text = self._known(target).plus(ONE).scaled(TRAVERSAL)
            return Call(text.times(self._known(args[0]).scaled(PATTERN)))
        if overload == "contains_string" and target is not None:
            text = self._known(target).scaled(TRAVERSAL)
            return Call(text.times(self._known(args[0]).scaled(TRAVERSAL)))
        if overload == "string_format" and target is not None:
            return Call(self._known(target).scaled(TRAVERSAL))
        return None

    def _conditional(self, e: Any, args: list[Part], costs: list[Range]) -> Call:
        one, other = (self._entries_of(part.expression) for part in args[1:])
        if one is not None and other is not None:
            self._entries[e.id] = _either(one, other)
        size = self._known(args[1]).or_else(self._known(args[2]))
        return Call(costs[0].plus(costs[1].or_else(costs[2])), size)

    def _joined(self, e: Any, overload: str, args: list[Part], total: Range) -> Call:
        size = self._known(args[0]).plus(self._known(args[1]))
        one, other = (self._entries_of(part.expression) for part in args)
        if one is not None and other is not None:
            self._entries[e.id] = _either(one, other)
        cost = ONE if overload == "add_list" else size.scaled(TRAVERSAL)
        return Call(cost.plus(total), size)

    # --- what functions ask

    def known(self, part: Part) -> Range:
        """The size of a part as functions ask for it."""
        return self._known(part)

    def element(self, part: Part) -> tuple[str, Range] | None:
        """Of a list: what sort of thing it holds, and the size of one."""
        if kind_of(part.type) != "list":
            return None
        kind = kind_of(part.type.list_type.elem_type)
        found = self._of_path((*part.path, "@items")) if part.path else None
        return kind, found if found is not None else ANY

    # --- sizes

    def _known(self, part: Part) -> Range:
        return part.size if part.size is not None else ANY

    def _part(self, e: Any) -> Part:
        path = self._path(e)
        if path and path[0] in _ACCUMULATORS:
            path = ()
        return Part(path, self._checked.type_of(e), self._size(e), e)

    def _path(self, e: Any) -> tuple[str, ...]:
        if e.HasField("ident_expr") and (known := self._locals.get(e.ident_expr.name)):
            return known[-1].path
        return self._paths.get(e.id, ())

    def _of_path(self, path: tuple[str, ...]) -> Range | None:
        # The first step is the variable, whatever its name: rules have no other than the value.
        found = self._root.at(path[1:]) if self._root is not None else None
        return None if found is None else Range(0, found.most)

    def _size_or_any(self, e: Any) -> Range:
        size = self._size(e)
        return size if size is not None else ANY

    def _size(self, e: Any) -> Range | None:
        known = self._sizes.get(e.id)
        if known is None:
            known = _written(e)
        if known is None and (path := self._path(e)) and (known := self._of_path(path)) is not None:
            self._sizes[e.id] = known
        if known is None and _is_scalar(self._checked.type_of(e)):
            known = ONE
        if known is None and e.HasField("ident_expr") and (found := self._locals.get(e.ident_expr.name)):
            known = found[-1].size
        return known

    def _entries_of(self, e: Any) -> _Entries | None:
        known = self._entries.get(e.id)
        if known is None and e.HasField("ident_expr") and (found := self._locals.get(e.ident_expr.name)):
            known = found[-1].entries
        return known

    def _copy(self, e: Any, source: Any) -> None:
        if (size := self._size(source)) is not None:
            self._sizes[e.id] = size
        if (entries := self._entries_of(source)) is not None:
            self._entries[e.id] = entries


def _sum(costs: Sequence[Range]) -> Range:
    total = NOTHING
    for cost in costs:
        total = total.plus(cost)
    return total


def _either(one: _Entries, other: _Entries) -> _Entries:
    return _Entries(one.is_list, one.keys.or_else(other.keys), one.values.or_else(other.values))


def _is_scalar(type: Any) -> bool:
    kind = kind_of(type)
    if kind == "optional":
        return _is_scalar(type.abstract_type.parameter_types[0])
    return kind == "scalar"


def _written(e: Any) -> Range | None:
    """The size of what stands in the expression itself."""
    if e.HasField("const_expr"):
        constant = e.const_expr
        if constant.HasField("string_value"):
            length = len(constant.string_value)
        else:
            length = len(constant.bytes_value) if constant.HasField("bytes_value") else 1
        return Range(length, length)
    if e.HasField("list_expr"):
        return Range(len(e.list_expr.elements), len(e.list_expr.elements))
    if e.HasField("struct_expr") and not e.struct_expr.message_name:
        return Range(len(e.struct_expr.entries), len(e.struct_expr.entries))
    return None


_COMPARED = frozenset(
    {f"{word}_{kind}" for word in ("less", "greater", "less_equals", "greater_equals") for kind in ("string", "bytes")}
    | {"equals", "not_equals"}
)
