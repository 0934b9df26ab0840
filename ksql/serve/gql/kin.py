"""An object's kin: its owners, what it owns however far down, and what was reported of it.

All rows that ask at once are answered together: the present from memory, a past state with one read for each resource
or namespace that the rows need.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from strawberry.dataloader import DataLoader

from ksql.base.documents import lookup
from ksql.log.protocol import EventFilter
from ksql.schema.resources import ResourceType
from ksql.serve.gql import reads
from ksql.serve.gql.context import Context, Seen
from ksql.serve.gql.pages import Ask, Slice, sliced
from ksql.serve.gql.typed.ways import Reader, owner_uids
from ksql.state.entry import Entry

# Of what an object owns by way of others, level by level: more than a namespace's largest application has.
DESCENDANTS_MAX = 5_000

_EVENTS = "events"
_REFERENCES = b'"ownerReferences"'


async def owners(ctx: Context, seen: Seen) -> list[Seen]:
    """The objects that own this one and existed at the same moment; the controlling one first."""
    found = await _loaded(ctx, "owners", seen, _owners)
    shown = [one for one in found if ctx.may("get", one.stream.resource, one.stream.namespace, one.stream.name)]
    return [Seen(one, seen.moment) for one in shown]


async def owned(ctx: Context, seen: Seen, resource: str | None, *, deep: bool) -> tuple[list[Entry], int]:
    """What an object owns, `deep`: by way of others too; and how much of it is hidden."""
    found = await _loaded(ctx, "owned", seen, _owned)
    if deep:
        found = await _descendants(ctx, seen, found)
    key = None if resource is None else ctx.type(resource).key
    wanted = [one for one in found if key is None or one.stream.resource == key]
    shown = [one for one in wanted if ctx.may("list", one.stream.resource, one.stream.namespace)]
    return sorted(shown, key=lambda one: one.key), len(wanted) - len(shown)


async def reported(ctx: Context, seen: Seen) -> tuple[list[Entry], int]:
    """The Kubernetes events about an object, and how many are hidden."""
    found = await _loaded(ctx, "reported", seen, _reported)
    shown = [one for one in found if ctx.may("list", _EVENTS, one.stream.namespace)]
    return sorted(shown, key=lambda one: one.key), len(found) - len(shown)


def page(entries: Sequence[Entry], moment: int | None, ask: Ask) -> Slice[Seen]:
    """A page of objects that are in order."""
    found: Slice[Entry] = sliced(entries, reads.place_key, ask, reads.object_place)
    return Slice([Seen(one, moment) for one in found.items], found.has_previous, found.has_next)


Load = Callable[[Context, int | None, list[Entry]], Any]


async def _loaded(ctx: Context, what: str, seen: Seen, load: Load) -> Sequence[Entry]:
    key = (what, seen.moment)
    loader = ctx.loaders.get(key)
    if loader is None:

        async def rows(entries: list[Entry]) -> list[list[Entry]]:
            found: list[list[Entry]] = await load(ctx, seen.moment, entries)
            return found

        loader = ctx.loaders[key] = DataLoader(rows, cache=False)
    found: Sequence[Entry] = await loader.load(seen.entry)
    return found


async def _owners(ctx: Context, moment: int | None, rows: list[Entry]) -> list[list[Entry]]:
    if moment is None:
        return [[one for uid in _uids(row) if (one := ctx.rooms.objects.by_uid(uid)) is not None] for row in rows]
    known: dict[str, Entry] = {}
    reader = _reader(ctx, moment)
    homes: dict[str, set[str]] = {}
    for row in rows:
        for type in _owner_types(ctx, row):
            homes.setdefault(type.key, set()).add(row.stream.namespace if type.namespaced else "")
    for key, spaces in homes.items():
        index = await reader.index(key, spaces.pop() if len(spaces) == 1 else "", _uid, _uid)
        known |= {uid: found[0] for row in rows for uid in _uids(row) if (found := index.get(uid))}
    return [[known[uid] for uid in _uids(row) if uid in known] for row in rows]


def _reader(ctx: Context, moment: int | None) -> Reader:
    return Reader(ctx.state(moment), ctx.rooms.catalogue.by_key, ctx.rooms.indexes)


def _uid(entry: Entry) -> Iterable[str]:
    yield entry.stream.uid


def _references(entry: Entry) -> list[Mapping[str, Any]]:
    found = list(lookup(entry.document, "metadata", "ownerReferences") or ())
    return sorted(found, key=lambda one: not one.get("controller"))


def _uids(entry: Entry) -> list[str]:
    return [str(one.get("uid", "")) for one in _references(entry)]


def _owner_types(ctx: Context, entry: Entry) -> list[ResourceType]:
    found = []
    for one in _references(entry):
        group, _, version = str(one.get("apiVersion", "")).rpartition("/")
        type = ctx.rooms.catalogue.kind(group, version, str(one.get("kind", "")))
        if type is not None:
            found.append(ctx.rooms.catalogue.by_key(type.key))
    return found


async def _owned(ctx: Context, moment: int | None, rows: list[Entry]) -> list[list[Entry]]:
    if moment is None:
        return [list(ctx.rooms.objects.dependents(row.stream.uid)) for row in rows]
    found = []
    for row in rows:
        # An object owns only within its namespace, unless it has none.
        index = await _owned_in(ctx, moment, row.stream.namespace)
        found.append(list(index.get(row.stream.uid, ())))
    return found


async def _owned_in(ctx: Context, moment: int, namespace: str) -> Mapping[str, Sequence[Entry]]:
    """What was owned in a namespace (or anywhere), by the owners' uids: one read, kept a while."""
    place = (namespace, moment)
    known: Mapping[str, Sequence[Entry]] | None = ctx.rooms.indexes.get("owned", place)
    if known is not None:
        return known
    made: dict[str, list[Entry]] = {}
    for event in await ctx.rooms.log.at(moment, EventFilter(namespace=namespace or None)):
        if _REFERENCES in event.payload:
            entry = Entry(event)
            for uid in owner_uids(entry):
                made.setdefault(uid, []).append(entry)
    ctx.rooms.indexes.put("owned", place, (), made)
    return made


async def _descendants(ctx: Context, seen: Seen, level: Sequence[Entry]) -> list[Entry]:
    found: dict[str, Entry] = {}
    while level and len(found) < DESCENDANTS_MAX:
        fresh = [one for one in level if one.stream.uid not in found]
        found |= {one.stream.uid: one for one in fresh}
        level = [one for inner in await _owned(ctx, seen.moment, fresh) for one in inner]
    return list(found.values())[:DESCENDANTS_MAX]


async def _reported(ctx: Context, moment: int | None, rows: list[Entry]) -> list[list[Entry]]:
    # What is said of an object without a namespace is kept in another.
    spaces = {row.stream.namespace for row in rows}
    home = spaces.pop() if len(spaces) == 1 else ""
    index = await _reader(ctx, moment).index(_EVENTS, home, _involved, _involved)
    return [list(index.get(row.stream.uid, ())) for row in rows]


def _involved(entry: Entry) -> Iterable[str]:
    if uid := lookup(entry.document, "involvedObject", "uid"):
        yield str(uid)
