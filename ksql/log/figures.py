"""What the log counts of itself. Plain numbers: who shows them, and in which form, is another room's affair.

Each is written by one thread alone (the appender's loop, or its worker) and may be read by any.
"""

from bisect import bisect_left
from collections.abc import Sequence

# Events in one transaction: from a lone write to the most requests that one takes.
BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
# Seconds from handing a transaction to the database until it is durable.
COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Spread:
    """How many values fell into each bucket, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Figures:
    """Since the process began, of what this process appended."""

    def __init__(self) -> None:
        self.events = self.heartbeats = 0
        # Requests whose decision raised, and those that met a log that could not be written.
        self.refused = self.unavailable = 0
        self.batches = Spread(BATCH_BUCKETS)
        self.commits = Spread(COMMIT_BUCKETS)
        # Payloads as given, images by how they were kept, and the bytes of their pages by codec.
        self.payload_bytes = 0
        self.whole = self.differences = 0
        self.stored_bytes = {"raw": 0, "zstd": 0}

    @property
    def packed_bytes(self) -> int:
        """What the payloads became."""
        return sum(self.stored_bytes.values())
