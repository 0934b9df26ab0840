"""Archives: sealed ranges moved out of the database into files of Parquet, which the log goes on reading.

A row is an event with all that its header holds, its payload and its leaf (`leaves.py`); one that was left
out by a rule is only its revision and leaf, so that the seal's root can still be computed. What is
encrypted in the log is encrypted here too, each payload under its object's key, so that erasing reaches it. Any reader
of Parquet reads the others (DuckDB: `SELECT * FROM 'archives/*.parquet' WHERE payload IS NOT NULL`). pyarrow is an
extra: without it archives are neither written nor read, and whoever asks is told so.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import zstandard

from ksql.base.clock import from_microseconds, to_microseconds
from ksql.log.event import Actor, Change, Event, Stream
from ksql.log.protocol import EventFilter, HorizonError
from ksql.log.vault import Keys, ObjectKey

# Rows that a reader must look at to find one; small enough to unpack in a few milliseconds.
GROUP_ROWS = 5_000
LEVEL = 9
EMPTY: Mapping[int, tuple[int, bytes]] = {}
# What is authenticated along, beside stream and revision: bytes of a page cannot stand in an archive.
_OPENING = b"archive"

FindKeys = Callable[[Iterable[int]], Keys]

_TEXTS = (
    "change", "verb", "subresource", "field_manager", "resource", "namespace", "name", "uid", "user", "groups",
    "impersonator", "user_agent", "source", "correlation",
)  # fmt: skip


class ArchiveError(HorizonError):
    """An archive cannot be read; the message names the file, or what to install."""


@dataclass(frozen=True, slots=True)
class Archive:
    """One file: the revisions it covers, and its hash as it was signed."""

    path: Path
    first: int
    last: int
    digest: str = ""


def _parquet() -> tuple[Any, Any, Any]:
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError:
        raise ArchiveError("archives need pyarrow: pip install 'ksql[archive]'") from None
    return pyarrow, pyarrow.compute, pyarrow.parquet


def write(
    path: Path, events: Sequence[tuple[int, Event | None, bytes]], hidden: Mapping[int, tuple[int, bytes]] = EMPTY
) -> str:
    """Write an archive and return its hash. Each entry: revision, the event (None: left out), its leaf.

    `hidden`: by revision, streams and payloads of those that are encrypted (`hide`)."""
    arrow, _, parquet = _parquet()
    columns: dict[str, list[Any]] = {"revision": [revision for revision, _, _ in events]}
    columns["time"] = [None if e is None else to_microseconds(e.time) for _, e, _ in events]
    columns["cause"] = [None if e is None else e.cause for _, e, _ in events]
    rows = [_texts(event) for _, event, _ in events]
    for index, name in enumerate(_TEXTS):
        columns[name] = [None if row is None else row[index] for row in rows]
    columns["payload"] = [
        None if e is None else "" if revision in hidden else e.payload.decode() for revision, e, _ in events
    ]
    columns["stream"] = [hidden[revision][0] if revision in hidden else None for revision, _, _ in events]
    columns["encrypted"] = [hidden[revision][1] if revision in hidden else None for revision, _, _ in events]
    columns["leaf"] = [leaf for _, _, leaf in events]
    types = {"time": arrow.timestamp("us", "UTC"), "revision": arrow.int64(), "cause": arrow.int64(),
             "leaf": arrow.binary(32), "stream": arrow.int64(), "encrypted": arrow.binary()}  # fmt: skip
    table = arrow.table(
        {name: arrow.array(values, types.get(name, arrow.string())) for name, values in columns.items()}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    parquet.write_table(
        table, beside, compression="zstd", compression_level=LEVEL, row_group_size=GROUP_ROWS,
        use_dictionary=[name for name in _TEXTS if name not in ("uid", "correlation")],
    )  # fmt: skip
    # Secrets may be in it.
    beside.chmod(0o600)
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    digest = digest_of(beside)
    beside.replace(path)
    return digest


def digest_of(path: Path) -> str:
    found = sha256()
    with path.open("rb") as file:
        while part := file.read(1024 * 1024):
            found.update(part)
    return found.hexdigest()


def _texts(event: Event | None) -> tuple[str, ...] | None:
    if event is None:
        return None
    stream, actor = event.stream, event.actor
    return (
        event.change, event.verb, event.subresource, event.field_manager, stream.resource, stream.namespace,
        stream.name, stream.uid, actor.user, orjson.dumps(actor.groups).decode(), actor.impersonator,
        actor.user_agent, actor.source, event.correlation,
    )  # fmt: skip


def leaves_of(archive: Archive) -> dict[int, bytes]:
    """The leaf of each event of an archive, left-out ones too."""
    table = _table(archive, ["revision", "leaf"])
    return dict(zip(table.column("revision").to_pylist(), table.column("leaf").to_pylist(), strict=True))


def _table(archive: Archive, columns: list[str] | None = None, filters: Any = None) -> Any:
    _, _, parquet = _parquet()
    if not archive.path.exists():
        raise ArchiveError(f"the archive {archive.path} is missing: it holds r{archive.first}..r{archive.last}")
    try:
        return parquet.read_table(archive.path, columns=columns, filters=filters)
    except (OSError, ValueError) as error:
        raise ArchiveError(f"the archive {archive.path} cannot be read: {error}") from error


def hide(key: ObjectKey, stream: int, revision: int, payload: bytes) -> bytes:
    """A payload as an archive keeps it that may not be read without its object's key."""
    return key.hide(stream, revision, _OPENING, zstandard.compress(payload))


class Archives:
    """All archives of a log, oldest first. Blocking; read in the log's own reader threads.

    `keys` finds the keys of streams; without it encrypted payloads are not read."""

    def __init__(self, archives: Sequence[Archive], keys: FindKeys | None = None) -> None:
        self.archives, self._keys = tuple(archives), keys

    @property
    def through(self) -> int:
        """The newest revision that any of them covers."""
        return max((archive.last for archive in self.archives), default=0)

    def read(self, after: int, limit: int, where: EventFilter, newest_first: bool) -> list[Event]:
        """As `EventLog.read`, of what is archived."""
        found: list[Event] = []
        low, high = (1, after - 1) if newest_first and after else (1, None) if newest_first else (after + 1, None)
        if where.up_to is not None:
            high = where.up_to if high is None else min(high, where.up_to)
        for archive in self._ordered(newest_first):
            if archive.last < low or (high is not None and archive.first > high):
                continue
            events = self._events(archive, _filter(where, low, high), limit, newest_first)
            found = sorted([*found, *events], key=lambda event: event.revision, reverse=newest_first)[:limit]
        return found

    def _ordered(self, newest_first: bool) -> Sequence[Archive]:
        return self.archives[::-1] if newest_first else self.archives

    def _events(self, archive: Archive, condition: Any, limit: int | None, newest_first: bool = False) -> list[Event]:
        """The events of one archive that meet a condition; payloads are unpacked only of those that are wanted."""
        _, compute, _ = _parquet()
        chosen = _table(archive, ["revision"], condition).column("revision")
        revisions = sorted(set(chosen.to_pylist()), reverse=newest_first)[:limit]
        if not revisions:
            return []
        table = _table(archive, None, compute.field("revision").isin(revisions))
        return sorted(self._rows(table), key=lambda event: event.revision, reverse=newest_first)

    def _rows(self, table: Any) -> Iterable[Event]:
        """Rows as events, decrypted where they have to be."""
        rows = table.to_pylist()
        streams = {row["stream"] for row in rows if row.get("encrypted") is not None}
        if not streams:
            return list(_events_of(rows))
        if self._keys is None:
            raise ArchiveError("archived payloads are encrypted, and no encryption keys are at hand")
        keys = self._keys(streams)
        found = []
        for row, event in zip(rows, _events_of(rows), strict=True):
            if row.get("encrypted") is not None:
                key = keys.of(row["stream"], event.revision)
                if key is None:
                    erased = keys.erased[row["stream"]]
                    event.payload, event.committed = erased.placeholder, erased.commitments[event.revision]
                else:
                    data = key.reveal(row["stream"], event.revision, _OPENING, row["encrypted"])
                    event.payload, event.salt = zstandard.decompress(data), key.salt(event.revision)
            found.append(event)
        return found

    def events(self, revisions: Iterable[int]) -> dict[int, Event]:
        """Those of these events that are archived."""
        _, compute, _ = _parquet()
        wanted = list(revisions)
        found: dict[int, Event] = {}
        for archive in self.archives:
            inside = [revision for revision in wanted if archive.first <= revision <= archive.last]
            if inside:
                condition = compute.field("revision").isin(inside) & ~compute.field("payload").is_null()
                found |= {event.revision: event for event in self._events(archive, condition, None)}
        return found

    def newest_before(self, bounds: Mapping[str, int]) -> dict[str, Event]:
        """For each uid its newest archived event before a revision."""
        _, compute, _ = _parquet()
        newest: dict[str, int] = {}
        for archive in self.archives:
            condition = compute.field("uid").isin(list(bounds)) & ~compute.field("payload").is_null()
            table = _table(archive, ["revision", "uid"], condition)
            for revision, uid in _pairs(table):
                if revision < bounds[uid]:
                    newest[uid] = max(revision, newest.get(uid, 0))
        return {event.stream.uid: event for event in self.events(newest.values()).values()}

    def state(self, revision: int, where: EventFilter) -> dict[str, Event]:
        """The newest archived event of each stream up to a revision, ends included, by uid."""
        newest: dict[str, int] = {}
        for archive in self.archives:
            if archive.first > revision:
                continue
            for at, uid in _pairs(_table(archive, ["revision", "uid"], _filter(where, 1, revision))):
                newest[uid] = max(at, newest.get(uid, 0))
        return {event.stream.uid: event for event in self.events(newest.values()).values()}

    def revision_at(self, micros: int) -> int:
        """The newest archived revision at or before an instant."""
        arrow, compute, _ = _parquet()
        best = 0
        for archive in self.archives:
            instant = arrow.scalar(micros, arrow.timestamp("us", "UTC"))
            column = _table(archive, ["revision"], compute.field("time") <= instant).column("revision")
            best = max(best, compute.max(column).as_py() or 0)
        return best


def _pairs(table: Any) -> Iterable[tuple[int, str]]:
    return zip(table.column("revision").to_pylist(), table.column("uid").to_pylist(), strict=True)


def _filter(where: EventFilter, low: int, high: int | None) -> Any:
    """A filter as pyarrow has them; payload is null where an event was left out."""
    arrow, compute, _ = _parquet()
    field = compute.field
    condition = ~field("payload").is_null() & (field("revision") >= low)
    if high is not None:
        condition &= field("revision") <= high
    for column, values in (("resource", where.resources), ("verb", where.verbs), ("uid", where.uids),
                           ("cause", where.causes)):  # fmt: skip
        if values:
            condition &= field(column).isin(list(values))
    equal = {"namespace": where.namespace, "name": where.name, "uid": where.uid, "user": where.user,
             "cause": where.cause, "correlation": where.correlation}  # fmt: skip
    for column, value in equal.items():
        if value is not None:
            condition &= field(column) == value
    for instant, is_since in ((where.since, True), (where.until, False)):
        if instant is not None:
            at = arrow.scalar(to_microseconds(instant), arrow.timestamp("us", "UTC"))
            condition &= field("time") >= at if is_since else field("time") <= at
    return condition


def _events_of(rows: Iterable[Any]) -> Iterable[Event]:
    actors: dict[tuple[str, ...], Actor] = {}
    for row in rows:
        told = (row["user"], row["groups"], row["impersonator"], row["user_agent"], row["source"])
        actor = actors.get(told)
        if actor is None:
            actor = actors[told] = Actor(told[0], tuple(orjson.loads(told[1])), *told[2:])
        yield Event(
            row["revision"], from_microseconds(to_microseconds(row["time"])),
            Stream(row["resource"], row["namespace"], row["name"], row["uid"]), Change(row["change"]), row["verb"],
            actor, row["payload"].encode(), row["subresource"], row["field_manager"], row["cause"],
            row["correlation"],
        )  # fmt: skip
