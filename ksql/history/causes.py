"""Back along the causes to who started it, forward along the effects to what came of it.

Each event names the revision that provoked it, always a smaller one, so a chain ends. Effects are the
same links read the other way, level by level. Both walks are bounded and say when a bound cut them.
"""

import asyncio
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
READS_AT_ONCE = 16


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
    chain = [event]
    while len(chain) < CHAIN_EVENTS_MAX:
        last = chain[-1]
        if last.cause is None:
            return Chain(chain, Root.PERSON if is_outside(last.actor) else Root.COMPONENT)
        # A cause that is no earlier event was never written by our pipeline; the chain ends there
        # rather than going in a circle.
        cause = await log.event(last.cause) if last.cause < last.revision else None
        if cause is None:
            return Chain(chain, Root.HORIZON)
        chain.append(cause)
    return Chain(chain, Root.LIMIT)


async def effects(
    log: EventLog, revision: int, depth: int = EFFECTS_DEPTH_DEFAULT, limit: int = EFFECTS_EVENTS_MAX
) -> Effects:
    """What `revision` led to, at most `depth` links away and `limit` events, by revision."""
    depth, limit = min(depth, EFFECTS_DEPTH_MAX), min(limit, EFFECTS_EVENTS_MAX)
    found: list[Effect] = []
    level, cut = [revision], False
    for distance in range(1, depth + 1):
        pages = await _provoked(log, level, limit - len(found) + 1)
        reached = [Effect(event, distance, cause) for cause, page in pages for event in page]
        if len(found) + len(reached) > limit:
            # The nearest levels stay whole as long as they can; of the last, the earliest events.
            reached.sort(key=lambda effect: effect.event.revision)
            reached, cut = reached[: limit - len(found)], True
        found += reached
        level = [effect.event.revision for effect in reached]
        if cut or not level:
            break
    else:
        cut = any(page for _, page in await _provoked(log, level, 1))
    return Effects(sorted(found, key=lambda effect: effect.event.revision), cut)


async def _provoked(log: EventLog, causes: Sequence[int], limit: int) -> list[tuple[int, Sequence[Event]]]:
    """For each cause the events that name it, in order."""
    gate = asyncio.Semaphore(READS_AT_ONCE)

    async def read(cause: int) -> tuple[int, Sequence[Event]]:
        async with gate:
            return cause, await log.read(cause, limit, EventFilter(cause=cause))

    return list(await asyncio.gather(*map(read, causes)))
