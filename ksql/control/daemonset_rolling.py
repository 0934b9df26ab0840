"""From a DaemonSet's old template to its present one, never more nodes without service than allowed.

Two ways: end old pods first, at most `maxUnavailable` nodes at a time (pods that do not serve go at once and
count), or start new pods beside old ones, at most `maxSurge` nodes at a time, and end an old one when its
successor is available. OnDelete rolls nothing: whoever deletes a pod gets the new template.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ksql.base.documents import Document
from ksql.control.pods import available_in, is_terminating

HASH_LABEL = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class Roll:
    """A set, the hash of its present template, and its pods by node, for the nodes that are meant."""

    daemonset: Document
    letters: str
    pods: Mapping[str, Sequence[Document]]
    now: datetime

    @staticmethod
    def surges(daemonset: Document) -> bool:
        """Whether new pods may stand beside old ones."""
        return _bounds(daemonset, 100)[0] > 0


@dataclass(frozen=True, slots=True)
class Steps:
    """Pods to end, and nodes on which to start one beside the old."""

    end: Sequence[Document] = ()
    start: Sequence[str] = ()


def rolled(roll: Roll) -> Steps:
    """The next step of the rollout; nothing when there is none to take now."""
    strategy = roll.daemonset["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return Steps()
    surge, unavailable = _bounds(roll.daemonset, len(roll.pods))
    return _surging(roll, surge) if surge > 0 else _ending(roll, unavailable)


def _bounds(daemonset: Document, desired: int) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as counts of nodes; percentages round up."""
    strategy = daemonset["spec"].get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    surge = _scaled(rolling.get("maxSurge", 0), desired)
    unavailable = _scaled(rolling.get("maxUnavailable", 1), desired)
    # With neither nothing would ever move.
    return surge, unavailable if surge or unavailable else 1


def _scaled(value: int | str, total: int) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return math.ceil(int(value[:-1]) * total / 100)
    return int(value)


def is_current(pod: Document, letters: str) -> bool:
    """Whether it was made from the present template."""
    return (pod["metadata"].get("labels") or {}).get(HASH_LABEL) == letters


def _is_available(roll: Roll, pod: Document) -> bool:
    min_ready = int(roll.daemonset["spec"].get("minReadySeconds") or 0)
    return not is_terminating(pod) and available_in(pod, min_ready, roll.now) == 0


def _ending(roll: Roll, allowed: int) -> Steps:
    """End old pods: those that do not serve first, since they cost nobody anything."""
    idle: list[Document] = []
    serving: list[Document] = []
    without = 0
    for pods in roll.pods.values():
        old = [pod for pod in pods if not is_current(pod, roll.letters) and not is_terminating(pod)]
        if not any(_is_available(roll, pod) for pod in pods):
            without += 1
            idle += old
        else:
            serving += old
    room = max(0, allowed - without)
    return Steps(end=[*idle, *serving[:room]])


def _surging(roll: Roll, allowed: int) -> Steps:
    """Start successors beside old pods, and end whom a successor has relieved."""
    end: list[Document] = []
    start: list[str] = []
    waiting: list[str] = []
    surging = 0
    for name, pods in roll.pods.items():
        old = [pod for pod in pods if not is_current(pod, roll.letters)]
        new = [pod for pod in pods if is_current(pod, roll.letters) and not is_terminating(pod)]
        living = [pod for pod in old if not is_terminating(pod)]
        if not living:
            continue
        if new:
            if any(_is_available(roll, pod) for pod in new):
                end += living
            else:
                surging += 1
        elif not any(_is_available(roll, pod) for pod in living):
            # An old pod that does not serve need not be waited for.
            start.append(name)
        else:
            waiting.append(name)
    room = max(0, allowed - surging - len(start))
    return Steps(end=end, start=[*start, *waiting[:room]])
