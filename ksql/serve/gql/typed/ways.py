"""Ways from objects to others: pure of who asks, read a resource at a time for all rows that go the same way.

What a way needs of a listing (who names whom, who owns whom, which selector may mean which labels) is one pass over
it, kept while the listing is the current one. A live listing stays the same value until something in it changes, a past
one for ever, so that a table that is asked for again and again costs one pass, and a thousand rows none each.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ksql.base.documents import Document, lookup
from ksql.schema.resources import ResourceType
from ksql.schema.selectors import LabelSelector
from ksql.serve.gql.states import State
from ksql.state.entry import Entry

Key = tuple[str, str]  # namespace and name
Index = Mapping[Any, Sequence[Entry]]

# Passes kept for a server: as many ways as a dashboard shows at once, over a few moments.
INDEXES_MAX = 256


class Indexes:
    """What was made of listings, the one not asked for for longest going first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], tuple[Sequence[Entry], Any]] = OrderedDict()

    def of(self, purpose: object, place: tuple[Any, ...], listing: Sequence[Entry], make: Callable[[], Any]) -> Any:
        """What `make` makes of the listing; made anew when it is another one."""
        key = (purpose, *place)
        found = self._kept.get(key)
        if found is not None and found[0] is listing:
            self._kept.move_to_end(key)
            return found[1]
        made = make()
        self.put(purpose, place, listing, made)
        return made

    def get(self, purpose: object, place: tuple[Any, ...]) -> Any:
        """What was put for something that never changes; None when it is not there (any more)."""
        found = self._kept.get((purpose, *place))
        return None if found is None else found[1]

    def put(self, purpose: object, place: tuple[Any, ...], listing: Sequence[Entry], made: Any) -> None:
        key = (purpose, *place)
        self._kept[key] = (listing, made)
        self._kept.move_to_end(key)
        if len(self._kept) > INDEXES_MAX:
            self._kept.popitem(last=False)


class Reader:
    """The state that ways lead through, for one request."""

    def __init__(self, state: State, types: Callable[[str], ResourceType], indexes: Indexes) -> None:
        self.state, self._types, self._indexes = state, types, indexes

    async def index(
        self, resource: str, namespace: str, purpose: object, keys: Callable[[Entry], Iterable[Any]]
    ) -> Index:
        """The objects of a resource by what `keys` says of each."""
        listing = await self.state.listed(self._types(resource), namespace)

        def make() -> Index:
            found: dict[Any, list[Entry]] = {}
            for entry in listing:
                for key in keys(entry):
                    found.setdefault(key, []).append(entry)
            return found

        made: Index = self._indexes.of(purpose, (resource, namespace, self.state.moment), listing, make)
        return made

    def home(self, resource: str, rows: Sequence[Entry]) -> str:
        """Where to read a resource of the rows' namespaces: in their one namespace, or everywhere."""
        spaces = {row.stream.namespace for row in rows}
        return spaces.pop() if len(spaces) == 1 and self._types(resource).namespaced else ""


class Way(Protocol):
    """From rows to the objects they lead to, in each row's order."""

    async def __call__(self, reader: Reader, rows: Sequence[Entry]) -> list[list[Entry]]: ...


def _name(entry: Entry) -> Iterable[Key]:
    yield (entry.stream.namespace, entry.stream.name)


def naming(target: str, names: Callable[[Document], Iterable[Key]]) -> Way:
    """To objects that a document names."""

    async def way(reader: Reader, rows: Sequence[Entry]) -> list[list[Entry]]:
        wanted = [list(dict.fromkeys(names(row.document))) for row in rows]
        spaces = {namespace for keys in wanted for namespace, _ in keys}
        if not spaces:
            return [[] for _ in rows]
        home = spaces.pop() if len(spaces) == 1 else ""
        found = await reader.index(target, home, _name, _name)
        return [[one for key in keys for one in found.get(key, ())] for keys in wanted]

    return way


def named_by(source: str, names: Callable[[Document], Iterable[Key]], *, anywhere: bool = False) -> Way:
    """Back: to the objects that name this one. `anywhere`: those of other namespaces may, too."""

    async def way(reader: Reader, rows: Sequence[Entry]) -> list[list[Entry]]:
        home = "" if anywhere else reader.home(source, rows)
        found = await reader.index(source, home, names, lambda entry: dict.fromkeys(names(entry.document)))
        return [list(found.get((row.stream.namespace, row.stream.name), ())) for row in rows]

    return way


SelectorOf = Callable[[Document], LabelSelector]


def _labels(entry: Entry) -> Mapping[str, str]:
    found = lookup(entry.document, "metadata", "labels")
    return found if isinstance(found, dict) else {}


def _pairs(entry: Entry) -> Iterable[tuple[str, str, str]]:
    return ((entry.stream.namespace, key, str(value)) for key, value in _labels(entry).items())


def _space(entry: Entry) -> Iterable[str]:
    yield entry.stream.namespace


def selecting(target: str, selector_of: SelectorOf) -> Way:
    """To the objects of the same namespace whose labels a selector means."""

    async def way(reader: Reader, rows: Sequence[Entry]) -> list[list[Entry]]:
        home = reader.home(target, rows)
        by_pair = await reader.index(target, home, _pairs, _pairs)
        by_space = await reader.index(target, home, _space, _space)
        return [_meant(selector_of(row.document), row.stream.namespace, by_pair, by_space) for row in rows]

    return way


def _meant(selector: LabelSelector, namespace: str, by_pair: Index, by_space: Index) -> list[Entry]:
    # One exact label leaves few to be looked at; without any it is all of the namespace.
    exact = next(iter(selector.exact.items()), None)
    candidates = by_space.get(namespace, ()) if exact is None else by_pair.get((namespace, *exact), ())
    return [entry for entry in candidates if selector.matches(_labels(entry))]


def selected_by(source: str, selector_of: SelectorOf) -> Way:
    """Back: to the objects of the same namespace whose selector means this one."""

    def first(entry: Entry) -> Iterable[tuple[str, str, str]]:
        exact = next(iter(selector_of(entry.document).exact.items()), ("", ""))
        yield (entry.stream.namespace, *exact)

    async def way(reader: Reader, rows: Sequence[Entry]) -> list[list[Entry]]:
        found = await reader.index(source, reader.home(source, rows), selector_of, first)
        return [_meaning(row, found, selector_of) for row in rows]

    return way


def _meaning(row: Entry, found: Index, selector_of: SelectorOf) -> list[Entry]:
    labels, namespace = _labels(row), row.stream.namespace
    candidates = list(found.get((namespace, "", ""), ()))
    for key, value in labels.items():
        candidates += found.get((namespace, key, str(value)), ())
    kept = [entry for entry in candidates if selector_of(entry.document).matches(labels)]
    return sorted(kept, key=lambda entry: entry.key)


def owner_uids(entry: Entry) -> Iterable[str]:
    """Whom an object names as its owners."""
    for reference in lookup(entry.document, "metadata", "ownerReferences") or ():
        yield str(reference.get("uid", ""))


def owning(*chain: str) -> Way:
    """To what an object owns: of the last of these resources, by way of those before it."""

    async def way(reader: Reader, rows: Sequence[Entry]) -> list[list[Entry]]:
        found: list[list[Entry]] = [[row] for row in rows]
        for resource in chain:
            owned = await reader.index(resource, reader.home(resource, rows), owner_uids, owner_uids)
            found = [[inner for one in each for inner in owned.get(one.stream.uid, ())] for each in found]
        return [sorted(each, key=lambda entry: entry.key) for each in found]

    return way


def owned_by(*chain: str) -> Way:
    """Back: to the owner of the last of these resources, by way of those before it."""

    async def way(reader: Reader, rows: Sequence[Entry]) -> list[list[Entry]]:
        found: list[list[Entry]] = [[row] for row in rows]
        for resource in chain:
            by_uid = await reader.index(resource, reader.home(resource, rows), _uid, _uid)
            found = [
                [owner for one in each for uid in owner_uids(one) for owner in by_uid.get(uid, ())] for each in found
            ]
        return found

    return way


def _uid(entry: Entry) -> Iterable[str]:
    yield entry.stream.uid
