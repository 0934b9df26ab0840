"""What differs between two moments in many objects: a selection, a namespace, the whole cluster.

Few events between the moments: those tell which objects changed at all, and nothing else is read. Many: the
states of both moments are read and laid side by side. Either way the answer is the same, which
`tests/properties/test_comparison.py` holds it to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ksql.log.event import Change, Event
from ksql.log.protocol import EventFilter, EventLog

# Events between two moments that are read one by one; reading both states of a cluster of ten thousand objects
# costs as much.
EVENTS_BETWEEN_MAX = 5_000

Key = tuple[str, str, str]  # resource, namespace, name


@dataclass(frozen=True, slots=True)
class Pair:
    """One object as it was at both moments; None where there was none by that name."""

    key: Key
    before: Event | None
    after: Event | None

    @property
    def is_another(self) -> bool:
        """Whether the name is another object's now."""
        both = self.before is not None and self.after is not None
        return both and self.before.stream.uid != self.after.stream.uid  # type: ignore[union-attr]


async def pairs(
    log: EventLog, older: int, newer: int, where: EventFilter, tests: Sequence[Callable[[Event], bool]] = (),
    *, between_max: int = EVENTS_BETWEEN_MAX,
) -> list[Pair]:  # fmt: skip
    """The objects that are not at `newer` what they were at `older`, in order; equal ones may be among them."""
    read = await log.read(older, between_max + 1, replace(where, up_to=newer))
    if len(read) > between_max:
        found = await _side_by_side(log, older, newer, where)
    else:
        found = await _touched(log, read)
    return [pair for pair in found if any(_passes(event, tests) for event in (pair.before, pair.after))]


def _passes(event: Event | None, tests: Sequence[Callable[[Event], bool]]) -> bool:
    return event is not None and all(test(event) for test in tests)


async def _touched(log: EventLog, read: Sequence[Event]) -> list[Pair]:
    first: dict[str, Event] = {}
    last: dict[str, Event] = {}
    for event in read:
        first.setdefault(event.stream.uid, event)
        last[event.stream.uid] = event
    found = await log.preceding([event.revision for event in first.values() if event.change is not Change.ADDED])
    before = [found[event.revision] for event in first.values() if event.revision in found]
    after = [event for event in last.values() if event.change is not Change.DELETED]
    return _paired(before, after)


async def _side_by_side(log: EventLog, older: int, newer: int, where: EventFilter) -> list[Pair]:
    before, after = await log.at(older, where), await log.at(newer, where)
    same = {event.revision for event in before} & {event.revision for event in after}
    return _paired([e for e in before if e.revision not in same], [e for e in after if e.revision not in same])


def _paired(before: Sequence[Event], after: Sequence[Event]) -> list[Pair]:
    old, new = ({_key(event): event for event in events} for events in (before, after))
    return [Pair(key, old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys())]


def _key(event: Event) -> Key:
    return (event.stream.resource, event.stream.namespace, event.stream.name)
