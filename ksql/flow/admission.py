"""Who may begin: the thin shell around the queues, which makes callers wait and refuses them.

Schemas and levels are compiled anew when their objects change; what a request is turned into is remembered,
since the same few clients ask for the same few things. Nothing runs in the background: seats are dealt
anew by whoever comes first after the time for it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from ksql.auth.identity import User
from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.flow.queues import Queues, Refused, Ticket
from ksql.flow.rules import Digest, Schema, compiled
from ksql.flow.seats import ADJUST_SECONDS, SEATS, Demand, dealt, shares_of
from ksql.flow.shuffle import hand_of, hash_of, is_dealable
from ksql.schema.errors import TooManyRequestsError

# How long a request may wait for its turn: a quarter of what it may take altogether.
QUEUE_SECONDS = 15.0
RETRY_SECONDS = 1
# Requests whose flow is remembered; beyond that the memory starts anew.
FLOWS_KEPT = 8192

Header = tuple[bytes, bytes]
# Answers all FlowSchemas and all PriorityLevelConfigurations.
Read = Callable[[], tuple[Sequence[Document], Sequence[Document]]]


class Level:
    """One priority level at work. `queues` is None where nothing is limited."""

    def __init__(self, document: Document) -> None:
        self.name: str = document["metadata"]["name"]
        self.demand = Demand()
        self.nominal = 0
        self.dispatched: Counter[str] = Counter()  # by schema
        self.rejected: Counter[tuple[str, str]] = Counter()  # by schema and reason
        self.exempt_running = 0
        self.queues: Queues | None = None
        self.hand = 0
        self.configure(document)

    def configure(self, document: Document) -> list[Ticket]:
        """Take a changed object in; answers those who waited in queues that are no more."""
        self.uid: str = document["metadata"].get("uid", "")
        spec = document["spec"]
        if spec["type"] == "Exempt":
            return self.replace(None)
        response = (spec.get("limited") or {}).get("limitResponse") or {}
        count, hand, length = _queuing(response)
        self.hand = hand
        if self.queues is None or len(self.queues.queues) != count:
            return self.replace(Queues(self.queues.limit if self.queues else 1, count, length))
        self.queues.length = length
        return []

    def replace(self, queues: Queues | None) -> list[Ticket]:
        """Other queues from now on; answers those who waited in the old ones."""
        old, self.queues = self.queues, queues
        return [ticket for queue in old.queues for ticket in queue.waiting] if old is not None else []


def _queuing(response: Document) -> tuple[int, int, int]:
    """Queues, hand and length; no queues for a level that refuses instead."""
    if response.get("type") != "Queue":
        return 0, 0, 0
    given = response.get("queuing") or {}
    count, hand = given.get("queues") or 64, given.get("handSize") or 8
    # Validation lets nothing else in; a level must work whatever it is told.
    if not is_dealable(count, hand):
        hand = 1
    return count, hand, given.get("queueLengthLimit") or 50


class Flow:
    """Requests that are told apart by one schema, as long as the configuration stands."""

    __slots__ = ("distinguisher", "hand", "headers", "level", "schema")

    def __init__(self, schema: Schema, level: Level, distinguisher: str) -> None:
        self.schema, self.level, self.distinguisher = schema.name, level, distinguisher
        count = len(level.queues.queues) if level.queues is not None else 0
        self.hand = hand_of(hash_of(schema.name, distinguisher), count, level.hand) if count else ()
        self.headers: tuple[Header, ...] = (
            (b"x-kubernetes-pf-flowschema-uid", schema.uid.encode()),
            (b"x-kubernetes-pf-prioritylevel-uid", level.uid.encode()),
        )


class Admission:
    """The one place where requests of all doors get their turn."""

    def __init__(self, clock: Clock, read: Read, total: int = SEATS) -> None:
        """`read` answers the schemas and levels that there are; `stale` says that they have changed."""
        self._clock, self._read, self._total = clock, read, total
        self._is_stale = True
        self._schemas: list[Schema] = []
        self.levels: dict[str, Level] = {}
        self._documents: dict[str, Document] = {}
        self._flows: dict[object, Flow | None] = {}
        self._turns: dict[Ticket, asyncio.Future[None]] = {}
        self._due = 0.0

    def stale(self) -> None:
        """The objects have changed: the next request finds them as they are then."""
        self._is_stale = True

    def _configure(self) -> None:
        self._is_stale = False
        schemas, levels = self._read()
        self._schemas = compiled(schemas)
        self._flows.clear()
        self._documents = {document["metadata"]["name"]: document for document in levels}
        for name in [name for name in self.levels if name not in self._documents]:
            self._let_in(self.levels.pop(name).replace(None))
        for name, document in self._documents.items():
            known = self.levels.get(name)
            if known is None:
                self.levels[name] = Level(document)
            else:
                self._let_in(known.configure(document))
        self._adjust(self._clock.monotonic())

    def _let_in(self, stranded: Sequence[Ticket]) -> None:
        """Those whose queues are gone have waited long enough."""
        for ticket in stranded:
            ticket.home = None
            _flow(ticket).level.exempt_running += 1
            self._call(ticket)

    def flow(
        self, user: User, verb: str, group: str = "", resource: str = "", namespace: str = "", path: str = ""
    ) -> Flow | None:
        """Which flow a request belongs to; None while no configuration is there."""
        if self._is_stale:
            self._configure()
        key = (user.name, user.groups, verb, group, resource, namespace, path)
        try:
            return self._flows[key]
        except KeyError:
            pass
        if len(self._flows) >= FLOWS_KEPT:
            self._flows.clear()
        found = self._flows[key] = self._classified(Digest(user, verb, group, resource, namespace, path))
        return found

    def _classified(self, digest: Digest) -> Flow | None:
        for schema in self._schemas:
            if schema.level in self.levels and schema.matches(digest):
                return Flow(schema, self.levels[schema.level], schema.flow(digest))
        return None

    def enter(self, flow: Flow, width: int) -> Ticket:
        """A ticket: in already, or one to `wait` for. `TooManyRequestsError` where there is no room for it."""
        level, now = flow.level, self._clock.monotonic()
        if now >= self._due:
            self._adjust(now)
        queues = level.queues
        if queues is None:
            ticket = Ticket(flow, None, None, width, now)
            ticket.is_in = True
            level.exempt_running += 1
            level.dispatched[flow.schema] += 1
            return ticket
        try:
            ticket = queues.arrive(flow, flow.hand, width, now)
        except Refused as refused:
            raise self._refusal(flow, refused.reason) from None
        level.demand.note(queues.in_use + queues.waiting_seats, now)
        if ticket.is_in:
            level.dispatched[flow.schema] += 1
        elif queues.waiting == 1:
            # It may be alone in waiting and yet have its turn, as after seats were dealt anew.
            self._admit(level, now)
        return ticket

    async def wait(self, ticket: Ticket) -> None:
        """Return once it is this ticket's turn; `TooManyRequestsError` when that takes too long."""
        if not ticket.is_waiting:
            return
        turn = self._turns[ticket] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(QUEUE_SECONDS):
                await turn
        except TimeoutError:
            self._abandon(ticket)
            raise self._refusal(_flow(ticket), "time-out") from None
        except asyncio.CancelledError:
            self._abandon(ticket)
            raise
        finally:
            self._turns.pop(ticket, None)

    def leave(self, ticket: Ticket) -> None:
        """What the ticket was for has ended. Asked twice it does nothing."""
        if not ticket.is_in:
            return
        level, home = _flow(ticket).level, ticket.home
        if home is None:
            ticket.is_in = False
            level.exempt_running -= 1
            return
        now = self._clock.monotonic()
        home.leave(ticket, now)
        if home is level.queues:
            level.demand.note(home.in_use + home.waiting_seats, now)
            if home.waiting:
                self._admit(level, now)

    def _abandon(self, ticket: Ticket) -> None:
        """Nobody waits behind this ticket any more."""
        if ticket.is_waiting and ticket.home is not None:
            now = self._clock.monotonic()
            ticket.home.give_up(ticket, now)
            self._admit(_flow(ticket).level, now)
        else:
            self.leave(ticket)

    def _admit(self, level: Level, now: float) -> None:
        if level.queues is None:
            return
        for ticket in level.queues.admitted(now):
            level.dispatched[_flow(ticket).schema] += 1
            self._call(ticket)

    def _call(self, ticket: Ticket) -> None:
        ticket.is_waiting, ticket.is_in = False, True
        turn = self._turns.get(ticket)
        if turn is not None and not turn.done():
            turn.set_result(None)

    def _adjust(self, now: float) -> None:
        """Deal the seats anew."""
        self._due = now + ADJUST_SECONDS
        shares = shares_of(list(self._documents.values()), self._total)
        limited = {name: level for name, level in self.levels.items() if level.queues is not None}
        for level in limited.values():
            level.demand.settle(now)
        rights = {name: shares[name] for name in limited}
        seats = dealt(rights, {name: level.demand for name, level in limited.items()}, self._total)
        for name, level in limited.items():
            level.nominal = shares[name].nominal
            level.demand.begin()
            assert level.queues is not None
            level.queues.limit = seats[name]
            self._admit(level, now)

    def _refusal(self, flow: Flow, reason: str) -> TooManyRequestsError:
        flow.level.rejected[flow.schema, reason] += 1
        return TooManyRequestsError(
            "Too many requests, please try again later.", retry_after_seconds=RETRY_SECONDS
        )


def _flow(ticket: Ticket) -> Flow:
    assert isinstance(ticket.flow, Flow)
    return ticket.flow
