"""Reads what a picture of the cluster over time needs: few queries, however long the stretch and large the cluster.

First which lanes there are (`EventLog.lives`), then when those of one page changed (`strides`), then the events that
their bars and marks stand for. What a picture keeps of an event is remembered, so that moving about reads little.
Every bound is named and every answer says what it left out.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ksql.base.documents import Document, lookup
from ksql.history import finding
from ksql.history.actors import is_outside
from ksql.history.images import Images
from ksql.history.lanes import (
    Beat,
    Group,
    Key,
    Lane,
    Mark,
    MarkKind,
    bars,
    beat_of,
    key_of,
    marks,
    milliseconds,
    ordered,
    owner_of,
    rank,
)
from ksql.history.states import STATEFUL, State, state_of
from ksql.log.event import Change, Event, Stream
from ksql.log.protocol import EventFilter, EventLog, Life, Stride
from ksql.schema.selectors import LabelSelector
from ksql.state.entry import Entry
from ksql.state.objects import Objects

# Lanes of one page: what somebody scrolls through before he filters.
LANES_MAX = 500
# Events that one page of lanes is drawn from: half a second's reading when none of them is remembered.
EVENTS_MAX = 20_000
# Warnings looked at, and changes by people that are shown one by one however dense a lane is.
WARNINGS_MAX, PEOPLE_MAX = 2_000, 2_000
# Events that a filter of marks may find.
HITS_MAX = 2_000
BINS_MAX = 1_000
# Beats kept: some tens of megabytes, and several pages of several stretches.
BEATS_KEPT_MAX = 100_000
# Owners of lives kept: a life's owner never changes but by a person's hand.
OWNERS_KEPT_MAX = 100_000

# What has no lane unless it is asked for: reports and echoes of others' changes.
ECHOES = frozenset({
    "events", "events.events.k8s.io", "leases.coordination.k8s.io", "endpoints", "endpointslices.discovery.k8s.io",
    "controllerrevisions.apps", "componentstatuses", "csinodes.storage.k8s.io",
})  # fmt: skip

# What the cluster makes for itself, by the hundred: it has lanes where people have changed it.
FURNITURE = frozenset({
    "apiservices.apiregistration.k8s.io", "clusterroles.rbac.authorization.k8s.io", "serviceaccounts",
    "clusterrolebindings.rbac.authorization.k8s.io", "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io", "flowschemas.flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", "priorityclasses.scheduling.k8s.io",
    "storageclasses.storage.k8s.io", "csidrivers.storage.k8s.io", "servicecidrs.networking.k8s.io",
    "ipaddresses.networking.k8s.io",
})  # fmt: skip
ROOT_CA = "kube-root-ca.crt"
# What stays when it has nothing left to do, and then only fills lanes.
IDLING = ("replicasets.apps", "jobs.batch")

Sees = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lanes (all that is given must hold), and which marks: None is all."""

    resources: tuple[str, ...] = ()
    namespace: str | None = None
    tests: tuple[Callable[[Stream], bool], ...] = ()
    labels: tuple[LabelSelector, ...] = ()
    uids: frozenset[str] | None = None
    marks: finding.Sought | None = None

    @property
    def names_lanes(self) -> bool:
        """Whether it says which lanes: then the quiet ones are wanted too."""
        return bool(self.resources or self.tests or self.labels or self.uids is not None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A stretch of time, (low, high] in revisions, and which part of its picture."""

    start: datetime
    end: datetime
    low: int
    high: int
    group: Group = Group.OWNER
    filter: Filter = Filter()
    first: int = LANES_MAX
    after: int = 0  # lanes before the page
    bins: int = 120


@dataclass(slots=True)
class Histogram:
    """How much was written in each of equally long intervals."""

    writes: list[int]
    people: list[int]
    deletions: list[int]
    warnings: list[int]


@dataclass(slots=True)
class Picture:
    """What was asked for. `total` lanes there are; `hidden` more the asker may not see."""

    lanes: Sequence[Lane]
    total: int
    hidden: int
    histogram: Histogram
    last_before: Event | None
    notes: list[str] = field(default_factory=list)


class Panorama:
    """Draws pictures from a log; one for a server."""

    def __init__(self, log: EventLog, objects: Objects, images: Images, kind_of: Callable[[str], str]) -> None:
        self._log, self._objects, self._images, self._kind_of = log, objects, images, kind_of
        self._beats: OrderedDict[int, Beat] = OrderedDict()
        self._owners: OrderedDict[str, str] = OrderedDict()

    async def draw(self, wanted: Wanted, sees: Sees) -> Picture:
        """The picture; what `sees` refuses is counted, not drawn."""
        notes: list[str] = []
        lives, hidden = await self._lives(wanted, sees, notes)
        hits = await self._hits(wanted, sees, notes)
        if hits is not None:
            uids = {event.stream.uid for event in hits}
            lives = [life for life in lives if life.stream.uid in uids]
        people = [] if hits is not None else await self._people(wanted, sees)
        lives = await self._shown(wanted, lives, {event.stream.uid for event in people})
        rows, page = await self._order(wanted, lives)
        lanes = await self._lanes(wanted, rows, page, lives, people if hits is None else hits, hits is not None)
        warnings = await self._warnings(wanted, sees, notes)
        if hits is None:
            _warn(lanes, warnings)
        return Picture(
            lanes, len(rows), hidden, await self._histogram(wanted, sees, warnings),
            None if lives else await self._last(wanted, sees), notes,
        )  # fmt: skip

    async def _lives(self, wanted: Wanted, sees: Sees, notes: list[str]) -> tuple[list[Life], int]:
        """The lives that the filter means, and how many are hidden."""
        asked = wanted.filter
        where = EventFilter(resources=asked.resources, namespace=asked.namespace)
        found = await self._log.lives(wanted.low, wanted.high, where)
        if found.left_out:
            notes.append(f"{found.left_out} objects more ended in this range: only the newest are shown")
        lives, hidden = [], 0
        seen: dict[tuple[str, str], bool] = {}
        for life in found.found:
            stream = life.stream
            if stream.resource in ECHOES and stream.resource not in asked.resources:
                continue
            if asked.uids is not None and stream.uid not in asked.uids:
                continue
            if not all(test(stream) for test in asked.tests):
                continue
            place = (stream.resource, stream.namespace)
            if place not in seen:
                seen[place] = sees(*place)
            if seen[place]:
                lives.append(life)
            else:
                hidden += 1
        if asked.labels:
            lives = await self._labelled(wanted, lives, asked.labels)
        return lives, hidden

    async def _labelled(
        self, wanted: Wanted, lives: Sequence[Life], selectors: Sequence[LabelSelector]
    ) -> list[Life]:  # fmt: skip
        documents = await self._documents(lives, wanted.high)
        return [
            life
            for life in lives
            if (document := documents.get(life.number)) is not None
            and all(selector.matches(lookup(document, "metadata", "labels")) for selector in selectors)
        ]

    async def _documents(self, lives: Sequence[Life], high: int) -> Mapping[int, Document]:
        """Each life's object as it is now where it lives, else as it last was."""
        out: dict[int, Document] = {}
        gone: dict[int, int] = {}
        for life in lives:
            entry = self._present(life)
            if entry is not None:
                out[life.number] = entry.document
            else:
                gone[life.ended or life.number] = life.number
        events = await self._log.events(gone)
        return out | {gone[revision]: event.document for revision, event in events.items()}

    def _present(self, life: Life) -> Entry | None:
        entry = self._objects.get(*key_of(life.stream))
        return entry if entry is not None and entry.stream.uid == life.stream.uid else None

    async def _shown(self, wanted: Wanted, lives: Sequence[Life], touched: set[str]) -> list[Life]:
        """Without those that stood still and are of no kind that has states, and without furniture that nobody
        `touched`, unless the filter names lanes."""
        if wanted.filter.names_lanes or wanted.filter.marks is not None:
            return list(lives)
        quiet = [life for life in lives if life.ended is None and life.number <= wanted.low]
        moved = await self._log.changed([life.number for life in quiet], wanted.low, wanted.high)
        out = []
        for life in lives:
            stream = life.stream
            if (stream.resource in FURNITURE or stream.name == ROOT_CA) and stream.uid not in touched:
                continue
            still = life.ended is None and life.number <= wanted.low and life.number not in moved
            if still and (stream.resource not in STATEFUL or self._is_idle(life)):
                continue
            out.append(life)
        return out

    def _is_idle(self, life: Life) -> bool:
        """Whether it is one of those that are kept for the record: old ReplicaSets at nothing, Jobs that are done."""
        if life.stream.resource not in IDLING:
            return False
        entry = self._present(life)
        return entry is not None and state_of(entry.document).state is State.ENDED

    async def _order(self, wanted: Wanted, lives: Sequence[Life]) -> tuple[Sequence[tuple[Key, int, int]], range]:
        """All lanes in their order, and which of them the page holds."""
        streams = {key_of(life.stream): life.stream for life in lives}
        parents: dict[Key, Key | None] = {}
        if wanted.group is not Group.KIND:
            by_uid = {life.stream.uid: key_of(life.stream) for life in lives}
            if wanted.group is Group.OWNER:
                owners = await self._owners_of(lives)
                parents = {key_of(life.stream): by_uid.get(owners.get(life.stream.uid, "")) for life in lives}
            else:
                nodes = await self._nodes_of([life for life in lives if life.stream.resource == "pods"], wanted.high)
                parents = {key_of(life.stream): ("nodes", "", node) for life, node in nodes if node}
        rows = ordered(streams, parents, _ranks(streams, wanted.group))
        return rows, range(min(wanted.after, len(rows)), min(wanted.after + wanted.first, len(rows)))

    async def _owners_of(self, lives: Sequence[Life]) -> Mapping[str, str]:
        """The owner's uid of each uid, as the life began."""
        unknown = []
        for life in lives:
            if life.stream.uid not in self._owners:
                entry, owners = self._present(life), self._objects.owners(life.stream.uid)
                if entry is None:
                    unknown.append(life)
                else:
                    # Only among several does the object itself have to say which of them controls it.
                    self._own(life.stream.uid, owner_of(entry.document) if len(owners) > 1 else "".join(owners))
        events = await self._log.events([life.number for life in unknown])
        for life in unknown:
            event = events.get(life.number)
            self._own(life.stream.uid, "" if event is None else owner_of(event.document))
        return self._owners

    def _own(self, uid: str, owner: str) -> None:
        self._owners[uid] = owner
        while len(self._owners) > OWNERS_KEPT_MAX:
            self._owners.popitem(last=False)

    async def _nodes_of(self, pods: Sequence[Life], high: int) -> list[tuple[Life, str]]:
        documents = await self._documents(pods, high)
        return [(life, str(lookup(documents.get(life.number, {}), "spec", "nodeName") or "")) for life in pods]

    async def _lanes(
        self, wanted: Wanted, rows: Sequence[tuple[Key, int, int]], page: range, lives: Sequence[Life],
        chosen: Sequence[Event], chosen_only: bool,
    ) -> list[Lane]:  # fmt: skip
        """The page's lanes with their bars, and the marks: all, or only the chosen ones."""
        keys = {rows[place][0]: place for place in page}
        here = [life for life in lives if key_of(life.stream) in keys]
        steps = await self._log.strides([life.number for life in here], wanted.low, wanted.high, EVENTS_MAX)
        beats = await self._beats_of(stride.revision for strides in steps.values() for stride in strides)
        start, end = milliseconds(wanted.start), milliseconds(wanted.end)
        extra: dict[str, list[Beat]] = {}
        for event in chosen:
            extra.setdefault(event.stream.uid, []).append(self._keep(event))
        lanes = {key: Lane(key[0], self._kind_of(key[0]), key[1], key[2]) for key in keys}
        for life in sorted(here, key=lambda life: life.number):
            lane = lanes[key_of(life.stream)]
            _fill(lane, life, steps[life.number], beats, extra.get(life.stream.uid, []), (start, end, wanted.low),
                  chosen_only)  # fmt: skip
        for key, place in keys.items():
            _, parent, depth = rows[place]
            lanes[key].parent, lanes[key].depth = parent, depth
        return [lanes[rows[place][0]] for place in page]

    async def _beats_of(self, revisions: Iterable[int]) -> Mapping[int, Beat]:
        wanted = list(revisions)
        missing = [revision for revision in wanted if revision not in self._beats]
        if missing:
            for event in (await self._log.events(missing)).values():
                self._keep(event)
        return {revision: beat for revision in wanted if (beat := self._beats.get(revision)) is not None}

    def _keep(self, event: Event) -> Beat:
        beat = self._beats.get(event.revision)
        if beat is None:
            beat = self._beats[event.revision] = beat_of(event)
            while len(self._beats) > BEATS_KEPT_MAX:
                self._beats.popitem(last=False)
        return beat

    async def _hits(self, wanted: Wanted, sees: Sees, notes: list[str]) -> Sequence[Event] | None:
        """The events that the filter of marks means; None when it means all."""
        asked = wanted.filter.marks
        if asked is None:
            return None
        found: list[Event] = []
        position, more = 0, True
        while more and len(found) < HITS_MAX:
            page = await finding.find(
                self._log, self._images, asked, lambda event: sees(event.stream.resource, event.stream.namespace),
                position, HITS_MAX - len(found), newest_first=True,
            )  # fmt: skip
            found += page.events
            # A search that stops where it began has come to its end.
            more, position = page.more and page.reached != position, page.reached
        if more:
            notes.append(f"more than {HITS_MAX} events match: only the newest are shown")
        return found

    async def _people(self, wanted: Wanted, sees: Sees) -> Sequence[Event]:
        """What people did: shown one by one, however dense the lane."""
        everything = EventFilter()
        tallied = await self._log.tally((wanted.start, wanted.end), wanted.low, wanted.high, everything)
        users = dict.fromkeys(one.actor.user for one in tallied if is_outside(one.actor))
        found: list[Event] = []
        for user in users:
            where = EventFilter(user=user, up_to=wanted.high)
            read = await self._log.read(0, PEOPLE_MAX // max(1, len(users)), where, newest_first=True)
            found += [event for event in read if event.revision > wanted.low]
        return [event for event in found if sees(event.stream.resource, event.stream.namespace)]

    async def _warnings(self, wanted: Wanted, sees: Sees, notes: list[str]) -> Sequence[Event]:
        """The newest warnings that were reported in the range."""
        where = EventFilter(resources=("events", "events.events.k8s.io"), up_to=wanted.high)
        read = await self._log.read(0, WARNINGS_MAX, where, newest_first=True)
        inside = [event for event in read if event.revision > wanted.low and event.change is not Change.DELETED]
        if len(read) == WARNINGS_MAX and len(inside) == len(read):
            notes.append(f"of more than {WARNINGS_MAX} reports only the newest are shown as warnings")
        return [
            event
            for event in inside
            if b'"Warning"' in event.payload and event.document.get("type") == "Warning"
            and sees(event.stream.resource, event.stream.namespace)
        ]  # fmt: skip

    async def _histogram(self, wanted: Wanted, sees: Sees, warnings: Sequence[Event]) -> Histogram:
        bins, length = wanted.bins, (wanted.end - wanted.start) / wanted.bins
        instants = [wanted.start + length * place for place in range(bins)] + [wanted.end]
        asked = wanted.filter
        where = EventFilter(resources=asked.resources, namespace=asked.namespace)
        if asked.marks is not None:
            where = EventFilter(
                resources=asked.resources, namespace=asked.namespace, user=asked.marks.where.user,
                verbs=asked.marks.where.verbs,
            )  # fmt: skip
        out = Histogram([0] * bins, [0] * bins, [0] * bins, [0] * bins)
        for one in await self._log.tally(instants, wanted.low, wanted.high, where):
            if one.resource in ECHOES or not sees(one.resource, one.namespace):
                continue
            series = [out.writes]
            if is_outside(one.actor):
                series.append(out.people)
            if one.action.change is Change.DELETED:
                series.append(out.deletions)
            for into in series:
                for place, count in enumerate(one.counts):
                    into[place] += count
        for event in warnings:
            place = int((event.time - wanted.start) / max(length, timedelta(microseconds=1)))
            if 0 <= place < bins:
                out.warnings[place] += 1
        return out

    async def _last(self, wanted: Wanted, sees: Sees) -> Event | None:
        """The newest event before an empty range: where to go from there."""
        where = EventFilter(
            resources=wanted.filter.resources, namespace=wanted.filter.namespace, up_to=max(wanted.low, 1)
        )
        read = await self._log.read(0, 50, where, newest_first=True)
        return next((event for event in read if sees(event.stream.resource, event.stream.namespace)), None)


def _ranks(streams: Mapping[Key, Stream], group: Group) -> Callable[[Key], tuple[Any, ...]]:
    """What lanes are sorted by: by node, the nodes come first."""
    if group is Group.NODE:
        return lambda key: (key[0] != "nodes", *rank(streams[key]))
    return lambda key: rank(streams[key])


def _fill(
    lane: Lane, life: Life, strides: Sequence[Stride], beats: Mapping[int, Beat], extra: Sequence[Beat],
    where: tuple[int, int, int], extra_only: bool,
) -> None:  # fmt: skip
    """Add a life's bars and marks to its lane."""
    start, end, low = where
    counted = {stride.revision: stride.count for stride in strides}
    known = {stride.revision: beats[stride.revision] for stride in strides if stride.revision in beats}
    known |= {beat.revision: beat for beat in extra}
    told = [known[revision] for revision in sorted(known)]
    lane.uids.append(life.stream.uid)
    if told:
        lane.owner = told[-1].owner
        lane.node = next((beat.node for beat in reversed(told) if beat.node), lane.node)
    until = end
    if life.ended is not None and life.ended in known:
        until = min(end, known[life.ended].time)
    lane.spans += bars(life, told, start, until)
    shown = extra if extra_only else told
    lane.marks += marks(((beat, counted.get(beat.revision, 1)) for beat in shown), low)
    if life.ended is not None:
        lane.marks = [
            Mark(m.time, m.revision, MarkKind.DELETE, m.actor, m.count) if m.revision == life.ended else m
            for m in lane.marks
        ]
    lane.marks.sort(key=lambda mark: mark.revision)


def _warn(lanes: Sequence[Lane], warnings: Sequence[Event]) -> None:
    """Put each warning on the lane of the object that it is about."""
    by_uid = {uid: lane for lane in lanes for uid in lane.uids}
    touched: dict[int, Lane] = {}
    for event in warnings:
        document = event.document
        about = document.get("involvedObject") or document.get("regarding") or {}
        lane = by_uid.get(str(about.get("uid", "")))
        if lane is not None:
            text = f"{document.get('reason', '')}: {document.get('message') or document.get('note') or ''}"
            lane.marks.append(
                Mark(milliseconds(event.time), event.revision, MarkKind.WARNING, event.actor, 1, True, text[:200])
            )
            touched[id(lane)] = lane
    for lane in touched.values():
        lane.marks.sort(key=lambda mark: mark.revision)
