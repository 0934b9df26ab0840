"""Which dictionary the log writes with: made at first start, trained anew when it pays.

The first is trained from typical objects. Once the log has enough of its own, a dictionary is trained from
those, and again whenever payloads come out clearly longer than when the current one was new. Training runs
in a worker of its own; the appender only hears of the result.
"""

import logging

import sqlalchemy as sa

from ksql.log import codec, samples
from ksql.log.queries import dictionary, newest_dictionary
from ksql.log.schema import dictionaries, events

logger = logging.getLogger(__name__)

# A dictionary wants about a hundred times its size in samples; these many 2 KB payloads give fifty.
SAMPLES = 3000
# The first training from the log itself waits for so many events.
FIRST_EVENTS = 20_000
# Later ones look again after so many more, and train when payloads have grown by this factor.
AGAIN_EVENTS = 100_000
DECAYED = 1.15
# A new dictionary must save this much on the samples, or the old one stays: each is a row for ever.
WORTH = 0.95


def first(connection: sa.Connection, time: int) -> tuple[int, bytes]:
    """The newest dictionary of the log, made from typical objects when it has none."""
    found = newest_dictionary(connection)
    if found is not None:
        return found
    data = codec.train(samples.payloads())
    connection.execute(dictionaries.insert(), {"id": 1, "time": time, "trained_to": 0, "data": data})
    return 1, data


class Watch:
    """Counts what the appender writes and says when training is due."""

    def __init__(self) -> None:
        self.events = 0
        self.due_at = FIRST_EVENTS
        self._plain = 0
        self._packed = 0
        self._fresh_ratio = 0.0

    def note(self, plain: int, packed: int, n_events: int) -> None:
        self.events += n_events
        self._plain += plain
        self._packed += packed

    @property
    def ratio(self) -> float:
        """Bytes on disk per byte of JSON since the last look."""
        return self._packed / self._plain if self._plain else 0.0

    def is_due(self) -> bool:
        """Whether a look is due and the ratio calls for training."""
        if self.events < self.due_at:
            return False
        ratio, first_time = self.ratio, self._fresh_ratio == 0.0
        self._plain = self._packed = 0
        self.due_at = self.events + AGAIN_EVENTS
        return first_time or ratio > self._fresh_ratio * DECAYED

    def trained(self, ratio: float) -> None:
        """What the dictionary now in use reached on fresh payloads."""
        self._fresh_ratio = ratio


def retrain(engine: sa.Engine, time: int) -> tuple[int, bytes, float] | None:
    """Train from the log's newest events. The new dictionary (stored) and its ratio; None when it is no gain."""
    with engine.begin() as connection:
        payloads, newest = _payloads(connection)
        current = newest_dictionary(connection)
        if len(payloads) < SAMPLES // 2:
            return None
        # Every other payload trains, the rest judge: a dictionary is always good at its own samples.
        data = codec.train(payloads[::2])
        judges = payloads[1::2]
        before = _size(judges, current[1]) if current else sum(map(len, judges))
        after = _size(judges, data)
        if after > before * WORTH:
            return None
        number = current[0] + 1 if current else 1
        row = {"id": number, "time": time, "trained_to": newest, "data": data}
        connection.execute(dictionaries.insert(), row)
        logger.info("dictionary %d: %.1f %% smaller", number, 100 * (1 - after / before))
        return number, data, after / sum(map(len, judges))


def _payloads(connection: sa.Connection) -> tuple[list[bytes], int]:
    """Newest payloads of the log, spread over ten times as many events."""
    reader = codec.Codec(lambda number: dictionary(connection, number))
    newest = connection.execute(sa.select(sa.func.max(events.c.revision))).scalar_one_or_none() or 0
    step = 10
    query = (
        sa.select(events.c.codec, events.c.dictionary, events.c.payload)
        .where(events.c.revision > newest - SAMPLES * step, events.c.revision % step == 0)
        .limit(SAMPLES)
    )
    return [reader.decode(*row) for row in connection.execute(query)], newest


def _size(payloads: list[bytes], data: bytes) -> int:
    probe = codec.Codec(lambda _: None)
    probe.use(1, data)
    return sum(len(probe.encode(payload)[2]) for payload in payloads)


