"""How often one user may ask, and how much of his may go on at once, over all his connections."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from graphql import GraphQLError

from ksql.base.clock import Clock
from ksql.serve.gql.bounds import Bounds
from ksql.serve.gql.errors import refusal

# A burst may be as long as this at the full rate: whoever comes back after a pause opens all his windows at once.
BURST_SECONDS = 10.0
# Users whose haste is remembered; whoever has not asked for longest is forgotten, which lets him ask anew.
USERS_KEPT_MAX = 10_000


class Rates:
    """A bucket of tokens for each user: one goes with each operation, and they come back at the rate."""

    def __init__(self, bounds: Bounds, clock: Clock) -> None:
        self._bounds, self._clock = bounds, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when they were counted
        self._going: Counter[str] = Counter()

    def take(self, user: str, operations: int = 1) -> GraphQLError | None:
        """Take so many tokens; the refusal where there are not as many."""
        now, rate = self._clock.monotonic(), self._bounds.rate
        full = rate * BURST_SECONDS
        tokens, since = self._buckets.pop(user, (full, now))
        tokens = min(full, tokens + (now - since) * rate)
        if tokens < min(operations, full):
            self._buckets[user] = (tokens, now)
            seconds = round((operations - tokens) / rate + 0.05, 1)
            said = f"you ask more than {rate:g} operations a second: try again in {seconds:g} s"
            return refusal(said, "TOO_MANY_REQUESTS", retryAfterSeconds=seconds)
        self._buckets[user] = (tokens - operations, now)
        while len(self._buckets) > USERS_KEPT_MAX:
            self._buckets.popitem(last=False)
        return None

    @contextmanager
    def going_on(self, user: str) -> Iterator[GraphQLError | None]:
        """While an operation goes on; the refusal where too many of the user's do already."""
        limit = self._bounds.followers
        if self._going[user] >= limit:
            yield refusal(f"you have {limit} operations open: end some first", "TOO_MANY_REQUESTS")
            return
        self._going[user] += 1
        try:
            yield None
        finally:
            self._going[user] -= 1
            if not self._going[user]:
                del self._going[user]
