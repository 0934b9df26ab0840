"""How long to gather the echoes of many dependents before looking again.

A round over n pods costs a few microseconds a pod, and n pods coming up provoke n rounds: quadratic, unless
rounds are spaced. The pause grows with n so that one workload's rounds take a small constant share of the
processor whatever its size; a small workload is never held up. It depends on the count alone, not on
measured time, so that a run stays repeatable.
"""

from ksql.control.informer import Update
from ksql.control.queue import WorkQueue

# Below this a round is well under a millisecond.
UNDAMPED_MAX = 100
# A round costs 3 to 5 microseconds a pod: rounds thus take at most some five percent of one processor.
SECONDS_PER_DEPENDENT = 100e-6
# Nobody should wait longer than this to see a count move.
PAUSE_SECONDS_MAX = 1.0


def pause(dependents: int) -> float:
    """Seconds to gather before a round over that many."""
    if dependents <= UNDAMPED_MAX:
        return 0.0
    return min(PAUSE_SECONDS_MAX, dependents * SECONDS_PER_DEPENDENT)


def mark(queue: WorkQueue, key: str, update: Update, dependents: int) -> None:
    """Mark the key that one of so many dependents belongs to."""
    queue.add_after(key, pause(dependents), update.trigger)
