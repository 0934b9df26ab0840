"""One append transaction while it is being decided: which drafts, at which revisions, under which numbers.

Pure: it knows the head it was begun on and the registry, and changes neither. When the database has taken
it, `learned` is what the registry must add; when not, it is dropped and nothing has happened.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from ksql.base.clock import from_microseconds
from ksql.log.event import Actor, Change, Draft, Event, from_draft
from ksql.log.registry import Action, Place, Registry, digest, pack

if TYPE_CHECKING:
    from ksql.log.objectkeys import KeyRow
    from ksql.log.vault import ObjectKey


@dataclass(frozen=True, slots=True)
class Head:
    """The one row that orders everything."""

    revision: int = 0
    durable: int = 0  # the newest revision in `events`
    time: int = 0  # microseconds
    horizon: int = 0


class Arriving(Protocol):
    """The database's answer to a transaction, on its way."""

    @property
    def socket(self) -> int:
        """Readable when there is news."""

    def receive(self) -> bool:
        """Take in what has come; whether that is all."""


@dataclass(frozen=True, slots=True)
class _Names:
    """What an earlier transaction has numbered and the registry does not know yet."""

    actors: Mapping[Actor, int] = field(default_factory=dict)
    actions: Mapping[Action, int] = field(default_factory=dict)
    places: Mapping[Place, int] = field(default_factory=dict)
    streams: Mapping[str, int | None] = field(default_factory=dict)


class DraftError(ValueError):
    """A decision returned drafts that contradict the streams: a fault of its author, not of the database."""


class Transaction:
    """A `Batch` for `decide`, and the columns that the dialects insert."""

    def __init__(self, head: Head, registry: Registry, time: int, earlier: "Transaction | None" = None) -> None:
        """`earlier` is the one that `head` ends, when the registry has not learned it yet."""
        self.head = head
        self.micros = max(time, head.time)
        self.registry = registry
        self.drafts: list[Draft] = []
        self.rows: list[Row] = []
        self.drafted: dict[tuple[str, str, str], Draft] = {**earlier.drafted} if earlier else {}
        self.durable = head.durable
        self.payload_bytes = 0
        self.beats = 0
        # What the registry does not know yet.
        self.actors: dict[Actor, int] = {}
        self.actions: dict[Action, int] = {}
        self.places: dict[Place, int] = {}
        # What the vault adds: keys by stream, the new ones' rows, and the salts of encrypted events by their place.
        self.hidden: dict[int, ObjectKey] = {}
        self.keyed: list[KeyRow] = []
        self.salts: dict[int, bytes] = {}
        # Streams begun here: number, place, uid as stored, name.
        self.born: list[tuple[int, int, bytes, str]] = []
        self._streams: dict[str, int | None] = {}
        self._earlier = _Names() if earlier is None else _Names(
            earlier.actors, earlier.actions, earlier.places, earlier._streams
        )  # fmt: skip

    @property
    def revision(self) -> int:
        return self.head.revision + len(self.drafts) + 1

    @property
    def time(self) -> datetime:
        return from_microseconds(self.micros)

    @property
    def after(self) -> Head:
        """The head once this is committed."""
        return Head(self.head.revision + len(self.drafts), self.durable, self.micros, self.head.horizon)

    @property
    def is_plain(self) -> bool:
        """Whether it adds events alone: no new names, no keys, no heartbeats."""
        return not (self.actors or self.actions or self.places or self.beats or self.keyed)

    def take(self, drafts: Sequence[Draft]) -> None:
        """Give each draft its place. All or none: `DraftError` leaves the transaction as it was."""
        if len(drafts) > 1:
            self._check(drafts)
        for draft in drafts:
            number = self._number(draft.stream.uid)
            if (number is None) != (draft.change is Change.ADDED):
                raise _contradiction(draft, number is not None)
            self._place(draft, number)

    def _check(self, drafts: Sequence[Draft]) -> None:
        lives: dict[str, bool] = {}
        for draft in drafts:
            uid = draft.stream.uid
            alive = lives[uid] if uid in lives else self._number(uid) is not None
            if alive == (draft.change is Change.ADDED):
                raise _contradiction(draft, alive)
            lives[uid] = draft.change is not Change.DELETED

    def _number(self, uid: str) -> int | None:
        if uid in self._streams:
            return self._streams[uid]
        if uid in self._earlier.streams:
            return self._earlier.streams[uid]
        return self.registry.living.get(uid)

    def _place(self, draft: Draft, number: int | None) -> None:
        stream, change = draft.stream, draft.change
        revision = self.head.revision + len(self.drafts) + 1
        if number is None:
            number = self._streams[stream.uid] = revision
            # As with actions below, a plain tuple finds an equal Place.
            place = (stream.resource, stream.namespace, draft.transient)
            self.born.append(
                (number, self.registry.places.get(place) or self._place_number(place),  # type: ignore[call-overload]
                 pack(stream.uid), stream.name)
            )  # fmt: skip
        elif change is Change.DELETED:
            self._streams[stream.uid] = None
        skipped = 0
        if draft.transient:
            self.beats += 1
        else:
            skipped = revision - self.durable - 1
            self.durable = revision
        # A plain tuple finds an equal Action, and is made in half the time.
        action = (change, draft.verb, draft.subresource, draft.field_manager)
        correlation, spelled = _identity(draft.correlation)
        self.rows.append(
            (revision, number, draft.cause,
             self.registry.actors.get(draft.actor) or self._actor(draft.actor),
             self.registry.actions.get(action) or self._action(action),  # type: ignore[call-overload]
             correlation, skipped, spelled)
        )  # fmt: skip
        self.drafts.append(draft)
        self.drafted[stream.resource, stream.namespace, stream.name] = draft
        self.payload_bytes += len(draft.payload)

    def _actor(self, actor: Actor) -> int:
        """The number of an actor that the registry does not know yet."""
        known = self.actors.get(actor) or self._earlier.actors.get(actor)
        if known is None:
            known = len(self.registry.actors) + len(self._earlier.actors) + len(self.actors) + 1
            self.actors[actor] = known
        return known

    def _action(self, action: tuple[Change, str, str, str]) -> int:
        """The number of an action that the registry does not know yet."""
        named = Action(*action)
        known = self.actions.get(named) or self._earlier.actions.get(named)
        if known is None:
            known = len(self.registry.actions) + len(self._earlier.actions) + len(self.actions) + 1
            # Below zero when it ends its stream: so an index can hold the ends alone.
            self.actions[named] = known = -known if named.change is Change.DELETED else known
        return known

    def _place_number(self, place: tuple[str, str, bool]) -> int:
        """The number of a place that the registry does not know yet."""
        named = Place(*place)
        known = self.places.get(named) or self._earlier.places.get(named)
        if known is None:
            known = len(self.registry.places) + len(self._earlier.places) + len(self.places) + 1
            self.places[named] = known
        return known

    def learned(self) -> None:
        """Committed: the registry knows the new numbers from now on."""
        self.registry.know_actors((number, actor) for actor, number in self.actors.items())
        self.registry.know_actions((number, action) for action, number in self.actions.items())
        self.registry.know_places((number, place) for place, number in self.places.items())
        living = self.registry.living
        for uid, number in self._streams.items():
            if number is None:
                living.pop(uid, None)
            else:
                living[uid] = number

    def events(self) -> list[Event]:
        """The drafts as the events they have become."""
        time, first = self.time, self.head.revision + 1
        made = [from_draft(draft, first + index, time) for index, draft in enumerate(self.drafts)]
        for index, salt in self.salts.items():
            made[index].salt = salt
        return made


def _contradiction(draft: Draft, alive: bool) -> DraftError:
    what = "already lives" if alive else "does not live"
    return DraftError(f"{draft.change} of {draft.stream}: the stream {what}")


def _identity(correlation: str) -> tuple[bytes | None, str]:
    """The sixteen bytes of a correlation, and its spelling where they do not tell it."""
    if not correlation:
        return None, ""
    packed = pack(correlation)
    return (packed, "") if len(packed) == 16 else (digest(correlation), correlation)


# revision, stream, cause, actor, action, correlation, heartbeats right before it, correlation as spelled
Row = tuple[int, int, int | None, int, int, bytes | None, int, str]
