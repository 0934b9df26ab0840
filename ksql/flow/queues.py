"""The queues of one level: seats, and whose turn it is when there are none left. Pure: time is told.

Virtual time R advances at the rate at which each queue that has anything would be served if all shared
alike: seats at work, divided by such queues. Each queue keeps the R at which its next request would begin
in that ideal; of those that wait, the one whose request would have ended first begins. A request is charged
a guess when it begins and the truth when it ends. A queue that was idle starts at the present R: nobody
saves up turns.
"""

from collections import deque
from collections.abc import Sequence

# What a request is thought to take until it is known (kube-apiserver's own guess).
GUESS_SECONDS = 0.003


class Ticket:
    """One request: let in (`is_in`), waiting, or neither any more."""

    __slots__ = ("began", "came", "flow", "home", "is_in", "is_waiting", "queue", "width")

    def __init__(
        self, flow: object, home: "Queues | None", queue: "Queue | None", width: int, came: float
    ) -> None:
        # `home` is None where nothing is limited.
        self.flow, self.home, self.queue, self.width, self.came = flow, home, queue, width, came
        self.is_in = self.is_waiting = False
        self.began = 0.0


class Queue:
    """One queue. `turn` is the R at which its next request would begin."""

    __slots__ = ("busy", "index", "turn", "waiting", "waiting_seats")

    def __init__(self, index: int) -> None:
        self.index = index
        self.turn = 0.0
        self.busy = 0  # its requests at work
        self.waiting: deque[Ticket] = deque()
        self.waiting_seats = 0


class Refused(Exception):
    """There is no seat, and no room to wait for one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason  # queue-full or concurrency-limit


class Queues:
    """A level that is limited. Without queues (`count` 0) who finds no seat is refused at once."""

    def __init__(self, limit: int, count: int, length: int) -> None:
        self.limit, self.length = limit, length
        self.queues = [Queue(index) for index in range(count)]
        self.in_use = self.running = self.waiting = self.waiting_seats = 0
        self._active = 0  # queues that have anything
        self._virtual = 0.0
        self._at = 0.0
        self._robin = 0

    def arrive(self, flow: object, hand: Sequence[int], width: int, now: float) -> Ticket:
        """A request comes: its ticket is in, or waits. `Refused` where it can do neither."""
        self._advance(now)
        if not self.queues:
            if not self._fits(width):
                raise Refused("concurrency-limit")
            ticket = Ticket(flow, self, None, width, now)
            self._begin(ticket, now)
            return ticket
        queue = self._choice(hand)
        if len(queue.waiting) >= self.length:
            raise Refused("queue-full")
        if not queue.busy and not queue.waiting:
            queue.turn = self._virtual
            self._active += 1
        ticket = Ticket(flow, self, queue, width, now)
        if not self.waiting and self._fits(width):
            # The ordinary case: nobody waits and there is room.
            self._begin(ticket, now)
            return ticket
        ticket.is_waiting = True
        queue.waiting.append(ticket)
        queue.waiting_seats += width
        self.waiting += 1
        self.waiting_seats += width
        return ticket

    def leave(self, ticket: Ticket, now: float) -> None:
        """A request that was in has ended."""
        self._advance(now)
        ticket.is_in = False
        self.in_use -= ticket.width
        self.running -= 1
        queue = ticket.queue
        if queue is not None:
            queue.busy -= 1
            queue.turn += (now - ticket.began - GUESS_SECONDS) * ticket.width
            self._rest(queue)

    def give_up(self, ticket: Ticket, now: float) -> None:
        """A request that waited does so no more."""
        self._advance(now)
        assert ticket.queue is not None and ticket.is_waiting
        ticket.queue.waiting.remove(ticket)
        self._unwait(ticket)
        self._rest(ticket.queue)

    def admitted(self, now: float) -> list[Ticket]:
        """Let in who may come in now, in their order."""
        found: list[Ticket] = []
        if not self.waiting:
            return found
        self._advance(now)
        while self.waiting:
            queue = self._next()
            ticket = queue.waiting[0]
            # Nobody narrower overtakes: a wide request would wait for ever.
            if not self._fits(ticket.width):
                break
            queue.waiting.popleft()
            self._unwait(ticket)
            self._begin(ticket, now)
            found.append(ticket)
        return found

    def _fits(self, width: int) -> bool:
        return self.in_use + width <= self.limit or not self.in_use

    def _begin(self, ticket: Ticket, now: float) -> None:
        ticket.is_in, ticket.began = True, now
        self.in_use += ticket.width
        self.running += 1
        queue = ticket.queue
        if queue is not None:
            queue.busy += 1
            queue.turn += GUESS_SECONDS * ticket.width

    def _unwait(self, ticket: Ticket) -> None:
        assert ticket.queue is not None
        ticket.is_waiting = False
        ticket.queue.waiting_seats -= ticket.width
        self.waiting -= 1
        self.waiting_seats -= ticket.width

    def _rest(self, queue: Queue) -> None:
        if not queue.busy and not queue.waiting:
            self._active -= 1

    def _advance(self, now: float) -> None:
        passed, self._at = now - self._at, now
        if self._active:
            self._virtual += passed * min(self.in_use + self.waiting_seats, self.limit) / self._active

    def _choice(self, hand: Sequence[int]) -> Queue:
        """The queue of a hand in which least waits."""
        queues = self.queues
        best = queues[hand[0]]
        if not self.waiting:
            return best if not best.busy else min((queues[card] for card in hand), key=lambda queue: queue.busy)
        for card in hand[1:]:
            queue = queues[card]
            if (queue.waiting_seats, queue.busy) < (best.waiting_seats, best.busy):
                best = queue
        return best

    def _next(self) -> Queue:
        """Of the queues in which somebody waits, the one whose first would have ended first."""
        count, best, soonest = len(self.queues), None, float("inf")
        for step in range(1, count + 1):
            queue = self.queues[(self._robin + step) % count]
            if queue.waiting:
                ends = queue.turn + GUESS_SECONDS * queue.waiting[0].width
                if ends < soonest:
                    best, soonest = queue, ends
        assert best is not None
        self._robin = best.index
        return best
