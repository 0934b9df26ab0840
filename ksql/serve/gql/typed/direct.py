"""The direct way: what graphql-core's executor would complete value by value, read by functions made for the selection.

The executor resolves roots and relations as ever, arguments, permissions and errors included; where it comes to a page,
an object or a place of a typed kind, the rest of the way is a `Plan`: what is stored is read by one function
(`readers.py`), and only what is not (history, relations) goes on as ordinary fields. Plans are kept with the schema, by
the nodes of the parsed document and the variables that they use. A selection that is met for the first time with few
rows goes the ordinary way: most are never met again. Whatever goes wrong here is logged and done the ordinary way.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from graphql import FieldNode, GraphQLObjectType, Node, OperationType, VariableNode, Visitor, visit
from graphql.execution.values import get_argument_values
from graphql.pyutils import Path, gather_with_cancel
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from ksql.base.clock import rfc3339_micro
from ksql.base.documents import lookup
from ksql.history import masks, paths
from ksql.history.paths import PathError
from ksql.serve.gql.context import Seen
from ksql.serve.gql.nodes import as_object, object_id, time_text
from ksql.serve.gql.typed.names import Kind
from ksql.serve.gql.typed.pages import Page
from ksql.serve.gql.typed.readers import (
    Constant,
    Made,
    Selected,
    Selection,
    Stored,
    looks_inside,
    place_reader,
    row_reader,
)  # fmt: skip
from ksql.serve.gql.typed.shapes import Field, Shape
from ksql.serve.gql.typed.types import MARK

logger = logging.getLogger(__name__)

# Plans kept for one schema: as many as the documents that are kept, with some places each.
PLANS_MAX = 1_024
# For fewer rows than this, compiling costs more than it saves, unless the selection comes again.
ROWS_MIN = 8

# Introspections kept: those of the two or three tools that look at a server; each is some ten megabytes.
TOLD_MAX = 4

PLANS = "ksql.plans"
_SCHEMA = "__Schema"

Details = list[Any]  # graphql-core's FieldDetails


class _IndirectError(Exception):
    """The selection asks for what only the ordinary way can do."""


@dataclass(slots=True)
class _Known:
    """What is known of one place of a document. The nodes are kept so that their ids stay theirs."""

    nodes: Sequence[FieldNode]
    variables: Sequence[str]
    plans: "dict[str, Plan | None]" = field(default_factory=dict)
    met: int = 0


class Plans:
    """The plans of one schema, those not used for longest going first."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Any, ...], _Known] = OrderedDict()
        self._told: OrderedDict[tuple[int, str], tuple[_Known, Any]] = OrderedDict()

    def known(self, name: str, details: Details, fragments: Mapping[str, Any]) -> _Known:
        key = (name, *(id(one.node) for one in details))
        found = self._known.get(key)
        if found is None:
            nodes = [one.node for one in details]
            found = self._known[key] = _Known(nodes, _variables(nodes, fragments))
            if len(self._known) > PLANS_MAX:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return found


    def told(self, key: tuple[int, str], known: _Known, tell: Callable[[], Any]) -> Any:
        """What the schema says of itself: a third of a second's work that only another schema answers otherwise."""
        found = self._told.get(key)
        if found is None:
            found = self._told[key] = (known, tell())
            if len(self._told) > TOLD_MAX:
                self._told.popitem(last=False)
        return found[1]


class _Named(Visitor):
    """Collects the variables and the fragments below a node."""

    def __init__(self) -> None:
        super().__init__()
        self.variables: dict[str, None] = {}
        self.fragments: dict[str, None] = {}

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.variables[node.name.value] = None

    def enter_fragment_spread(self, node: Any, *_: Any) -> None:
        self.fragments[node.name.value] = None


def _variables(nodes: Sequence[Node], fragments: Mapping[str, Any]) -> list[str]:
    found = _Named()
    for node in nodes:
        visit(node, found)
    done: set[str] = set()
    while todo := [name for name in found.fragments if name not in done]:
        for name in todo:
            done.add(name)
            if name in fragments:
                visit(fragments[name], found)
    return sorted(found.variables)


class Direct(StrawberryGraphQLCoreExecutionContext):
    """graphql-core's executor with a short way through typed kinds."""

    def complete_object_value(
        self, return_type: Any, field_details_list: Any, info: Any, path: Any, result: Any, position_context: Any
    ) -> Any:
        if MARK in return_type.extensions:
            plan = self._plan(return_type, field_details_list, result)
            if plan is not None:
                return plan.read(self, result, path)
        ordinary = super().complete_object_value
        rest = (return_type, field_details_list, info, path, result, position_context)
        plans = self.schema.extensions.get(PLANS)
        if return_type.name != _SCHEMA or plans is None:
            return ordinary(*rest)
        known = plans.known(_SCHEMA, field_details_list, self.fragment_definitions)
        return plans.told((id(known), self._key(known)), known, lambda: ordinary(*rest))

    def _plan(self, type: GraphQLObjectType, details: Details, result: Any) -> "Plan | None":
        plans = self.schema.extensions.get(PLANS)
        if plans is None:
            return None
        known: _Known = plans.known(type.name, details, self.fragment_definitions)
        key = self._key(known)
        if key in known.plans:
            return known.plans[key]
        known.met += 1
        if known.met == 1 and not (isinstance(result, Page) and len(result.entries) >= ROWS_MIN):
            return None
        if len(known.plans) >= PLANS_MAX:
            known.plans.clear()
        plan = known.plans[key] = self._planned(type, details)
        return plan

    def _planned(self, type: GraphQLObjectType, details: Details) -> "Plan | None":
        try:
            return Planner(self).plan(type, details)
        except _IndirectError:
            return None
        except Exception:
            # The ordinary way has the answer, or the error that belongs there.
            logger.exception("a selection of %s could not be compiled", type.name)
            return None

    def _key(self, known: _Known) -> str:
        raw = "raw" if self.takes_bytes else ""
        if not known.variables:
            return raw
        given = self.variable_values.coerced
        return raw + repr([(name, given.get(name)) for name in known.variables if name in given])

    @property
    def takes_bytes(self) -> bool:
        """Whether the answer is encoded as JSON at once, so that it may hold objects as they are encoded."""
        return self.operation.operation is OperationType.QUERY and bool(getattr(self.context_value, "raw", False))

    def later(self, type: GraphQLObjectType, source: Any, kept: "Kept", path: Path) -> list[tuple[str, Any]]:
        """The fields of a row that are no stored ones, as the ordinary way answers them."""
        return [
            (name, self.execute_field(type, source, details, Path(path, name, type.name), None))
            for name, details in kept
        ]


Kept = Sequence[tuple[str, Details]]


class Plan:
    """How one place is answered."""

    def read(self, executor: Direct, value: Any, path: Path) -> Any:
        """The answer, or something to await that gives it."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PlacePlan(Plan):
    """An object within a document."""

    reader: Callable[[Any], dict[str, Any]]

    def read(self, executor: Direct, value: Any, path: Path) -> Any:
        return self.reader(value)


@dataclass(frozen=True, slots=True)
class RowPlan(Plan):
    """An object of the cluster."""

    type: GraphQLObjectType
    reader: Callable[[Seen, Any], dict[str, Any]]
    kept: Kept
    is_secret: bool
    looks_inside: bool

    def read(self, executor: Direct, value: Any, path: Path) -> Any:
        waiting: list[tuple[dict[str, Any], str, Any]] = []
        found = self.row(executor, value.seen, path, waiting)
        return _settled(found, waiting) if waiting else found

    def row(self, executor: Direct, seen: Seen, path: Path, waiting: list[Any]) -> dict[str, Any]:
        """One row; what has to be awaited for it is noted."""
        document = (seen.shown if self.is_secret else seen.document) if self.looks_inside else None
        found = self.reader(seen, document)
        if self.kept:
            for name, value in executor.later(self.type, as_object(seen), self.kept, path):
                if executor.is_awaitable(value):
                    waiting.append((found, name, value))
                else:
                    found[name] = value
        return found

    def rows(self, executor: Direct, page: Page, path: Path, waiting: list[Any]) -> list[dict[str, Any]]:
        moment, reader = page.moment, self.reader
        if not self.kept and not self.is_secret:
            if not self.looks_inside:
                return [reader(Seen(entry, moment), None) for entry in page.entries]
            return [reader(Seen(entry, moment), entry.document) for entry in page.entries]
        return [
            self.row(executor, Seen(entry, moment), Path(path, at, None), waiting)
            for at, entry in enumerate(page.entries)
        ]


@dataclass(frozen=True, slots=True)
class PagePlan(Plan):
    """A connection."""

    parts: Mapping[str, Callable[[Direct, Page, Path, list[Any]], Any]]

    def read(self, executor: Direct, value: Any, path: Path) -> Any:
        waiting: list[tuple[dict[str, Any], str, Any]] = []
        found = {name: part(executor, value, Path(path, name, None), waiting) for name, part in self.parts.items()}
        return _settled(found, waiting) if waiting else found


async def _settled(found: dict[str, Any], waiting: list[tuple[dict[str, Any], str, Awaitable[Any]]]) -> Any:
    values = await gather_with_cancel(*(value for _, _, value in waiting))
    for (row, name, _), value in zip(waiting, values, strict=True):
        row[name] = value
    return found


class Planner:
    """Makes plans of selections, with the fragments and variables of one request."""

    def __init__(self, executor: Direct) -> None:
        self._executor = executor

    def plan(self, type: GraphQLObjectType, details: Details) -> Plan:
        mark = type.extensions[MARK]
        if isinstance(mark, Shape):
            return PlacePlan(place_reader(self._place(type, details)))
        if isinstance(mark, Kind):
            return self._row(type, mark, details)
        if mark is Page:
            return self._page(type, details)
        raise _IndirectError

    def _selected(self, type: GraphQLObjectType, details: Details) -> Mapping[str, Details]:
        grouped, deferred, forbidden = self._executor.collect_subfields(type, details)
        if deferred or forbidden:
            raise _IndirectError
        for found in grouped.values():
            if any(one.fragment_variable_values for one in found):
                raise _IndirectError
        return grouped

    def _place(self, type: GraphQLObjectType, details: Details) -> Selection:
        """What is selected of an object within a document."""
        selection: dict[str, Selected] = {}
        for answer, found in self._selected(type, details).items():
            name = found[0].node.name.value
            if name == "__typename":
                selection[answer] = Constant(type.name)
            elif (declared := type.fields.get(name)) is not None:
                selection[answer] = self._stored(declared, found)
        return selection

    def _stored(self, declared: Any, details: Details) -> Stored:
        mark: Field = declared.extensions[MARK]
        inner = declared.type
        while hasattr(inner, "of_type"):
            inner = inner.of_type
        below = self._place(inner, details) if isinstance(inner, GraphQLObjectType) else None
        return Stored(mark.key, mark.shape, below)

    def _row(self, type: GraphQLObjectType, kind: Kind, details: Details) -> RowPlan:
        selection: dict[str, Selected] = {}
        kept: list[tuple[str, Details]] = []
        for answer, found in self._selected(type, details).items():
            name = found[0].node.name.value
            declared = type.fields.get(name)
            if name == "__typename":
                selection[answer] = Constant(type.name)
            elif declared is None:
                continue
            elif isinstance(declared.extensions.get(MARK), Field):
                selection[answer] = self._stored(declared, found)
            elif (made := self._at_hand(name, declared, found, kind)) is not None:
                selection[answer] = made
            else:
                selection[answer] = Constant(None)
                kept.append((answer, found))
        is_secret = masks.is_secret(kind.type.key)
        return RowPlan(type, row_reader(selection), kept, is_secret, looks_inside(selection))

    def _at_hand(self, name: str, declared: Any, details: Details, kind: Kind) -> Made | None:
        """What every object has and needs nothing but the row; None for what must be asked for."""
        if name in ("labels", "annotations"):
            return self._pairs(name, declared, details)
        if name in _PLAIN:
            return _PLAIN[name]
        if name not in ("manifest", "field"):
            return None
        given = get_argument_values(declared, details[0].node, self._executor.variable_values)
        if given.get("reveal"):
            return None
        if name == "field":
            return _at_path(given["path"])
        if self._executor.takes_bytes and not masks.is_secret(kind.type.key):
            return Made(_encoded, looks_inside=False)
        return Made(_document)

    def _pairs(self, name: str, declared: Any, details: Details) -> Made:
        names = {
            answer: found[0].node.name.value
            for answer, found in self._selected(declared.type.of_type.of_type.of_type, details).items()
        }

        def entries(_seen: Seen, document: Any) -> list[dict[str, Any]]:
            found = lookup(document, "metadata", name) or {}
            return [
                {answer: key if field == "key" else str(value) if field == "value" else "Entry"
                 for answer, field in names.items()}
                for key, value in found.items()
            ]  # fmt: skip

        return Made(entries)

    def _page(self, type: GraphQLObjectType, details: Details) -> PagePlan:
        parts: dict[str, Callable[[Direct, Page, Path, list[Any]], Any]] = {}
        for answer, found in self._selected(type, details).items():
            name = found[0].node.name.value
            if name == "__typename":
                parts[answer] = lambda *_, shown=type.name: shown
            else:
                parts[answer] = self._part(type, name, found)
        return PagePlan(parts)

    def _part(self, type: GraphQLObjectType, name: str, details: Details) -> Callable[..., Any]:
        match name:
            case "nodes":
                node = type.fields["nodes"].type.of_type.of_type.of_type
                return self._row(node, node.extensions[MARK], details).rows
            case "edges":
                return self._edges(type.fields["edges"].type.of_type.of_type.of_type, details)
            case "pageInfo":
                return self._info(type.fields["pageInfo"].type.of_type, details)
            case "totalCount":
                return lambda _e, page, *_: page.total
            case "hiddenCount":
                return lambda _e, page, *_: page.hidden
            case "revision":
                return lambda _e, page, *_: page.revision
        raise _IndirectError

    def _edges(self, type: GraphQLObjectType, details: Details) -> Callable[..., Any]:
        parts: list[tuple[str, Callable[[Direct, Page, int, Path, list[Any]], Any]]] = []
        for answer, found in self._selected(type, details).items():
            match found[0].node.name.value:
                case "cursor":
                    parts.append((answer, lambda _e, page, at, *_: page.place(at).cursor))
                case "node":
                    node = type.fields["node"].type.of_type
                    parts.append((answer, _one_row(self._row(node, node.extensions[MARK], found), answer)))
                case _:
                    parts.append((answer, lambda *_, shown=type.name: shown))

        def edges(executor: Direct, page: Page, path: Path, waiting: list[Any]) -> list[dict[str, Any]]:
            return [
                {answer: part(executor, page, at, path, waiting) for answer, part in parts}
                for at in range(len(page.entries))
            ]

        return edges

    def _info(self, type: GraphQLObjectType, details: Details) -> Callable[..., Any]:
        attributes = {"hasNextPage": "has_next_page", "hasPreviousPage": "has_previous_page",
                      "startCursor": "start_cursor", "endCursor": "end_cursor"}  # fmt: skip
        names = {answer: found[0].node.name.value for answer, found in self._selected(type, details).items()}

        def info(_executor: Direct, page: Page, *_: Any) -> dict[str, Any]:
            found = page.info
            return {
                answer: getattr(found, attributes[name]) if name in attributes else type.name
                for answer, name in names.items()
            }

        return info


def _one_row(plan: RowPlan, answer: str) -> Callable[..., Any]:
    def row(executor: Direct, page: Page, at: int, path: Path, waiting: list[Any]) -> dict[str, Any]:
        seen = Seen(page.entries[at], page.moment)
        return plan.row(executor, seen, Path(Path(path, at, None), answer, None), waiting)

    return row


def _at_path(path: str) -> Made | None:
    try:
        paths.parse(path)
    except PathError:
        return None  # the ordinary way says what is wrong with it
    return Made(lambda _seen, document: paths.lookup(document, path))


def _encoded(seen: Seen, _document: Any) -> orjson.Fragment:
    return orjson.Fragment(seen.entry.body)


def _document(_seen: Seen, document: Any) -> Any:
    return document


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


# The fields of every object that need nothing but the row, each answering as its resolver in nodes.py does.
_PLAIN: Mapping[str, Made] = {
    "id": Made(lambda seen, _: object_id(seen.entry.stream.uid), looks_inside=False),
    "uid": Made(lambda seen, _: seen.entry.stream.uid, looks_inside=False),
    "apiVersion": Made(lambda _, document: str(document.get("apiVersion", ""))),
    "kind": Made(lambda _, document: str(document.get("kind", ""))),
    "resource": Made(lambda seen, _: seen.entry.stream.resource, looks_inside=False),
    "namespace": Made(lambda seen, _: seen.entry.stream.namespace or None, looks_inside=False),
    "name": Made(lambda seen, _: seen.entry.stream.name, looks_inside=False),
    "revision": Made(lambda seen, _: seen.entry.revision, looks_inside=False),
    "generation": Made(lambda _, document: _whole(lookup(document, "metadata", "generation"))),
    "createdAt": Made(lambda _, document: time_text(document, "creationTimestamp")),
    "deletedAt": Made(
        lambda seen, _: None if seen.gone is None else rfc3339_micro(seen.gone.time), looks_inside=False
    ),
    "deletionRequestedAt": Made(lambda _, document: time_text(document, "deletionTimestamp")),
}
