"""A log of any length for the past's bench, through the real append path: lives begin, are reported on and end.

Beside the crowd there is what will be asked for: a namespace of a thousand pods that are updated and now and
then replaced, one Deployment of a thousand versions spread over all of it, and a person who writes rarely.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from ksql.base.clock import SystemClock
from ksql.log.event import Actor, Change, Draft, Event, Stream
from ksql.log.migrate import migrate
from ksql.log.store import open_log
from tests.bench.log import ACTORS, lives

# Templates of lives: enough that neighbours differ as they do in a cluster.
TEMPLATES = 600
# Lives under way at once, and objects that live before the oldest of them ends.
ACTIVE, LIVING = 400, 20_000
# Drafts in one append, and appends under way: batches as large as the log takes, for it is not what is measured here.
DRAFTS, APPENDS = 64, 8

PERSON = Actor("alice@example.com", ("dev",), user_agent="kubectl/v1.35")
STEADY, STEADY_PODS, VERSIONS = "steady", 1000, 1000
# Every so many events one of the steady pods is updated; of so many updates one replaces it.
STEADY_EVERY, REPLACED_EVERY = 200, 50
# The person's writes, whatever the length.
PERSON_WRITES = 200
# Updates that the bench will ask for, spread over the whole length.
MARKS = 200


@dataclass
class Facts:
    """What is there to be asked for."""

    events: int = 0
    deployment: str = "versions"
    # Revisions of a few updates of steady pods over the whole length, with name and correlation.
    marks: list[tuple[int, str, str]] = field(default_factory=list)


class Crowd:
    """Drafts without end, in an order in which the log accepts them."""

    def __init__(self, events: int, seed: int = 1) -> None:
        self.random, self.events = Random(seed), events
        source = lives(seed)
        self.templates = [next(source) for _ in range(TEMPLATES)]
        self.written = 0
        self.living: deque[tuple[Stream, bytes]] = deque()
        self.steady: list[tuple[Stream, bytes]] = []
        pod = next(life for life in self.templates if life[0][0] == "pods")[-2]
        self.pod = pod
        self.deployment = next(one for life in self.templates for one in life if one[0] == "deployments")

    def uid(self) -> str:
        h = f"{self.random.getrandbits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"

    def draft(self, stream: Stream, change: Change, payload: bytes, actor: Actor, correlation: str) -> Draft:
        self.written += 1
        cause = self.written - 40 if self.written > 200 and self.written % 4 else None
        verb = "create" if change is Change.ADDED else "delete" if change is Change.DELETED else "update"
        if actor is PERSON:
            verb = "patch"
        return Draft(
            stream, change, verb, actor, {}, payload, field_manager="bench", cause=cause, correlation=correlation
        )

    def drafts(self) -> Iterator[tuple[Draft, bool]]:
        """Each draft, and whether it is one of the marked updates."""
        yield from ((draft, False) for draft in self._opening())
        active = [self._life() for _ in range(ACTIVE)]
        every_person, every_version = max(1, self.events // PERSON_WRITES), max(1, self.events // VERSIONS)
        ticks = 0
        while self.written < self.events:
            if self.written % STEADY_EVERY == 0:
                ticks += 1
                for draft in self._tick(ticks):
                    yield draft, draft.change is Change.MODIFIED
            elif self.written % every_person == every_person // 2 + 1:
                yield self._update(self.random.randrange(STEADY_PODS), PERSON), False
            elif self.written % every_version == 1:
                payload = _ticked(self.deployment[4], self.written)
                yield self.draft(self.versions, Change.MODIFIED, payload, ACTORS[0], self.uid()), False
            else:
                at = self.random.randrange(ACTIVE)
                draft = next(active[at], None)
                if draft is None:
                    active[at] = self._life()
                    continue
                yield draft, False

    def _opening(self) -> Iterator[Draft]:
        for number in range(STEADY_PODS):
            stream, payload = self._pod(f"pod-{number}")
            self.steady.append((stream, payload))
            yield self.draft(stream, Change.ADDED, payload, ACTORS[1], self.uid())
        *_, uid, payload = self.deployment
        self.versions = Stream("deployments.apps", STEADY, "versions", uid)
        yield self.draft(self.versions, Change.ADDED, payload, ACTORS[0], self.uid())

    def _pod(self, name: str) -> tuple[Stream, bytes]:
        _, _, old_name, old_uid, payload = self.pod
        uid = self.uid()
        return Stream("pods", STEADY, name, uid), _renamed(payload, old_name, name, old_uid, uid)

    def _tick(self, ticks: int) -> Iterator[Draft]:
        at = self.random.randrange(STEADY_PODS)
        if ticks % REPLACED_EVERY:
            yield self._update(at, ACTORS[2])
            return
        stream, payload = self.steady[at]
        yield self.draft(stream, Change.DELETED, payload, ACTORS[1], self.uid())
        self.steady[at] = stream, payload = self._pod(stream.name)
        yield self.draft(stream, Change.ADDED, payload, ACTORS[1], self.uid())

    def _update(self, at: int, actor: Actor) -> Draft:
        stream, payload = self.steady[at]
        return self.draft(stream, Change.MODIFIED, _ticked(payload, self.written), actor, self.uid())

    def _life(self) -> Iterator[Draft]:
        """A template's objects under names of their own; what it leaves ends when it is among the oldest."""
        template = self.random.choice(self.templates)
        known: dict[str, Stream] = {}
        correlation = self.uid()
        for index, (resource, namespace, name, uid, payload) in enumerate(template):
            stream = known.get(uid)
            change = Change.MODIFIED
            if stream is None:
                change = Change.ADDED
                stream = known[uid] = Stream(resource, namespace, f"{name}-{self.written:x}", self.uid())
            image = _renamed(payload, name, stream.name, uid, stream.uid)
            if resource == "pods" and index == len(template) - 1:
                change = Change.DELETED
            elif change is Change.ADDED and resource != "pods":
                self.living.append((stream, image))
            yield self.draft(stream, change, image, self.random.choice(ACTORS), correlation)
            # Never one whose own life is still being told: so many are born before it comes to its turn.
            if len(self.living) > LIVING:
                old, last = self.living.popleft()
                yield self.draft(old, Change.DELETED, last, ACTORS[0], self.uid())


def _renamed(payload: bytes, name: str, to: str, uid: str, to_uid: str) -> bytes:
    named = payload.replace(b'"name":"%b"' % name.encode(), b'"name":"%b"' % to.encode(), 1)
    return named.replace(uid.encode(), to_uid.encode())


def _ticked(payload: bytes, tick: int) -> bytes:
    return payload.replace(b'"creationTimestamp"', b'"annotations":{"tick":"%d"},"creationTimestamp"' % tick, 1)


async def build(url: str, events: int) -> Facts:
    """Append so many events to a new log."""
    migrate(url)
    log = open_log(url, SystemClock(seed=1))
    await log.open()
    facts, crowd = Facts(events), Crowd(events)
    under_way: deque[asyncio.Task[list[Event]]] = deque()
    # Correlations of the updates that will be asked for.
    marks: set[str] = set()

    async def append(drafts: list[Draft]) -> list[Event]:
        return list(await log.append(lambda _: drafts))

    def settle(done: list[Event]) -> None:
        found = [event for event in done if event.correlation in marks]
        facts.marks += [(event.revision, event.stream.name, event.correlation) for event in found]

    drafts: list[Draft] = []
    for draft, markable in crowd.drafts():
        drafts.append(draft)
        if markable and crowd.written * MARKS >= len(marks) * events:
            marks.add(draft.correlation)
        if len(drafts) == DRAFTS:
            under_way.append(asyncio.create_task(append(drafts)))
            drafts = []
            if len(under_way) == APPENDS:
                settle(await under_way.popleft())
    while under_way:
        settle(await under_way.popleft())
    if drafts:
        settle(await append(drafts))
    facts.events = log.head
    await log.aclose()
    return facts
