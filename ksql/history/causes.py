"""Back along the causes to who started it, forward along the effects to what came of it.

Each event names the revision that provoked it, always a smaller one, so a chain ends. Effects are the
same links read the other way, level by level. Both walks are bounded and say when a bound cut them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ksql.history.actors import is_outside
from ksql.log.event import Event
from ksql.log.protocol import EventFilter, EventLog

# A rollout's chain has some six links; one this long is a loop of controllers worth seeing cut.
CHAIN_EVENTS_MAX = 100
# Five levels lead from an apply to the status of its pods; deeper trees are asked for from a lower event.
EFFECTS_DEPTH_DEFAULT = 5
EFFECTS_DEPTH_MAX = 20
# What one answer holds at most: a deployment of 100 pods with all their status updates.
EFFECTS_EVENTS_MAX = 1_000


class Root(StrEnum):
    """Where a chain of causes ends."""

    PERSON = "PERSON"  # somebody, or a program, from outside the cluster's machinery
    COMPONENT = "COMPONENT"  # a component acted on its own: a timer, a lapse, its start
    HORIZON = "HORIZON"  # the log no longer has the cause
    LIMIT = "LIMIT"  # the chain is longer than one answer


@dataclass(frozen=True, slots=True)
class Chain:
    """The event asked for first, its cause next, the beginning last."""

    events: Sequence[Event]
    root: Root


@dataclass(frozen=True, slots=True)
class Effect:
    """One consequence: how many links from the event asked about, and which event provoked it."""

    event: Event
    depth: int
    parent: int


@dataclass(frozen=True, slots=True)
class Effects:
    """Consequences by revision. `cut`: there are more, beyond the depth or the number asked for."""

    found: Sequence[Effect]
    cut: bool


async def causes(log: EventLog, event: Event) -> Chain:
    """The chain from `event` back to its beginning."""
    links = await log.chain(event.revision, CHAIN_EVENTS_MAX)
    chain = [event, *links[1:]]
    return Chain(chain, _root(chain))


def _root(chain: Sequence[Event]) -> Root:
    if len(chain) >= CHAIN_EVENTS_MAX:
        return Root.LIMIT
    last = chain[-1]
    if last.cause is not None:
        return Root.HORIZON
    return Root.PERSON if is_outside(last.actor) else Root.COMPONENT


async def effects(
    log: EventLog, revision: int, depth: int = EFFECTS_DEPTH_DEFAULT, limit: int = EFFECTS_EVENTS_MAX
) -> Effects:
    """What `revision` led to, at most `depth` links away and `limit` events, by revision."""
    depth, limit = min(depth, EFFECTS_DEPTH_MAX), min(limit, EFFECTS_EVENTS_MAX)
    found: list[Effect] = []
    level, cut = [revision], False
    for distance in range(1, depth + 1):
        # The nearest levels stay whole as long as they can; of the last, the earliest events.
        reached = await _provoked(log, level, limit - len(found) + 1)
        if len(found) + len(reached) > limit:
            reached, cut = reached[: limit - len(found)], True
        found += [Effect(event, distance, event.cause or 0) for event in reached]
        level = [event.revision for event in reached]
        if cut or not level:
            break
    else:
        cut = bool(await _provoked(log, level, 1))
    return Effects(sorted(found, key=lambda effect: effect.event.revision), cut)


async def _provoked(log: EventLog, causes: Sequence[int], limit: int) -> Sequence[Event]:
    """The earliest events that name one of these causes, in order."""
    # A cause is always an earlier event, so nothing up to the first of them has one of them.
    found = await log.read(min(causes), limit, EventFilter(causes=tuple(causes)))
    # One that names a later event as its cause was never written by our pipeline: it would lead in a circle.
    return [event for event in found if event.cause is not None and event.cause < event.revision]
