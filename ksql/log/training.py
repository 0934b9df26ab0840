"""Which dictionary the log writes with: made at first start, trained anew when it pays.

The first is trained from typical objects. Once the log has enough of its own, a dictionary is trained from
those, and again whenever payloads come out clearly longer than when the current one was new. Training runs
in a worker of its own; the appender only hears of the result.
"""

import logging
from functools import cache

import sqlalchemy as sa

from ksql.log import codec, samples
from ksql.log.pages import HIDDEN, Page
from ksql.log.queries import dictionary, newest_dictionary
from ksql.log.schema import dictionaries, events

logger = logging.getLogger(__name__)

# A dictionary wants about a hundred times its size in samples; so many 2 KB payloads give fifty.
SAMPLES = 3000
# Samples are every so many'th event: neighbours are often the same object twice.
SAMPLE_STEP = 7
# The first training from the log itself waits for so many events.
FIRST_EVENTS = SAMPLES * SAMPLE_STEP
# Later ones look again after so many more, and train when payloads have grown by this factor.
AGAIN_EVENTS = 100_000
DECAYED = 1.15
# A new dictionary must save this much on the samples, or the old one stays: each is a row for ever.
WORTH = 0.95


def first(connection: sa.Connection, time: int) -> tuple[int, bytes, int]:
    """The log's newest dictionary and what it was trained up to; one of typical objects when it has none."""
    found = newest_dictionary(connection)
    if found is not None:
        return found
    data = typical()
    # Should the rows have been lost, no event may be read with a dictionary it was not written with.
    opening = sa.func.substr(events.c.payload, 1, codec.HEADER_BYTES)
    highest = sa.select(opening).where(events.c.payload.is_not(None)).order_by(opening.desc()).limit(1)
    page = connection.execute(highest).scalar_one_or_none()
    used = codec.dictionary_of(page) if page else 0
    # Two servers may start on the same empty log: the second takes what the first has put there.
    insert = sa.text(
        "INSERT INTO dictionaries (id, time, trained_to, data) VALUES (:id, :time, 0, :data)"
        " ON CONFLICT (id) DO NOTHING"
    )
    connection.execute(insert, {"id": used + 1, "time": time, "data": data})
    stored = newest_dictionary(connection)
    assert stored is not None
    return stored


@cache
def typical() -> bytes:
    """The dictionary of typical objects: a quarter of a second, once in a process."""
    return codec.train(samples.payloads())


class Schedule:
    """When to train again, from how much was written and how short it came out. Pure."""

    def __init__(self, durable: int, trained_to: int) -> None:
        self._fresh_ratio = 0.0
        self._due_at = max(durable, trained_to + AGAIN_EVENTS) if trained_to else FIRST_EVENTS
        self._own = trained_to > 0
        self._plain = self._packed = 0

    def is_due(self, durable: int, plain: int, packed: int) -> bool:
        """Whether to train now. `plain` and `packed` count all bytes given and stored so far."""
        if durable < self._due_at or plain == self._plain:
            return False
        ratio = (packed - self._packed) / (plain - self._plain)
        self._plain, self._packed = plain, packed
        self._due_at = durable + AGAIN_EVENTS
        if self._own and not self._fresh_ratio:
            # First look after a start: this is what the dictionary does at present.
            self._fresh_ratio = ratio
        return not self._own or ratio > self._fresh_ratio * DECAYED

    def trained(self) -> None:
        """A dictionary of the log's own is in use; what it reaches is seen at the next look."""
        self._own, self._fresh_ratio = True, 0.0


def retrain(engine: sa.Engine, time: int) -> tuple[int, bytes] | None:
    """Train from the newest events and store the dictionary; None when it would be no gain. Blocking."""
    with engine.connect() as connection:
        fragments, newest = _fragments(connection)
        current = newest_dictionary(connection)
        connection.rollback()
    if len(fragments) < SAMPLES // 2 or current is None:
        return None
    # Every other one trains, the rest judge: a dictionary is always good at its own samples.
    data = codec.train(fragments[::2])
    judges = fragments[1::2]
    before, after = _size(judges, current[1]), _size(judges, data)
    if after > before * WORTH:
        return None
    number = current[0] + 1
    with engine.begin() as connection:
        row = {"id": number, "time": time, "trained_to": newest, "data": data}
        connection.execute(dictionaries.insert(), row)
    logger.info("dictionary %d is in use: payloads are %.0f %% shorter", number, 100 * (1 - after / before))
    return number, data


def _fragments(connection: sa.Connection) -> tuple[list[bytes], int]:
    """What the log's newest pages hold, as it is compressed."""
    reader = codec.Codec(lambda number: dictionary(connection, number))
    newest = connection.execute(sa.select(sa.func.max(events.c.revision))).scalar_one_or_none() or 0
    query = (
        sa.select(events.c.revision, events.c.payload)
        .where(events.c.revision > newest - SAMPLES * SAMPLE_STEP, events.c.payload.is_not(None))
        .order_by(events.c.revision)
    )
    found = [
        fragment[1:]
        for revision, payload in connection.execute(query)
        for of, fragment in Page(reader.decode(payload), revision, 0).fragments.items()
        # What is encrypted is chance to a dictionary; what it says must not get into one.
        if of % SAMPLE_STEP == 0 and not fragment[0] & HIDDEN
    ]
    return found[:SAMPLES], newest


def _size(fragments: list[bytes], data: bytes) -> int:
    probe = codec.Codec(lambda _: None)
    probe.use(1, data)
    return sum(len(probe.encode(fragment)) for fragment in fragments)
