"""Pods that wait for a node: by priority, then in the order in which they came.

A pod that fits nowhere is set aside until something happens that could help it (`helped`), and even then
not before its back-off is over: a cluster that changes a hundred times a second must not be searched a
hundred times a second for the same pod. Pure but for the time it is told.
"""

import heapq
import itertools
from collections.abc import Callable
from enum import Enum, Flag, auto

from ksql.base.documents import Document
from ksql.control.scheduling.demand import Demand, Shape

# kube-scheduler's numbers: waits after the first, second… failure; and the longest that a pod is left
# alone even though nothing happened that should help it.
BACK_OFF_SECONDS_MIN = 1.0
BACK_OFF_SECONDS_MAX = 10.0
SET_ASIDE_SECONDS_MAX = 300.0


class Help(Flag):
    """What could make a pod fit that fits nowhere; an event that is none of it leaves the pod alone."""

    NODES = auto()  # a node that comes, or changes what it has, is or lets in
    ROOM = auto()  # a pod that leaves
    COMPANY = auto()  # pods that come, leave or change their labels; namespaces that do
    OTHER = auto()  # volumes and claims


EVERYTHING = Help.NODES | Help.ROOM | Help.COMPANY | Help.OTHER


class Place(Enum):
    """Where a pending pod is."""

    ACTIVE = "active"
    BACKING_OFF = "backing off"
    SET_ASIDE = "set aside"
    TAKEN = "taken"


class Pending:
    """One pod without a node. `cause` is the revision that its next attempt is owed to."""

    __slots__ = (
        "attempts", "cause", "demand", "due", "hopes", "order", "place", "pod", "said", "said_at", "set_aside_at",
        "ticket",
    )  # fmt: skip

    def __init__(self, pod: Document, demand: Demand, cause: int, order: int) -> None:
        self.pod, self.demand, self.cause, self.order = pod, demand, cause, order
        self.attempts = 0
        self.due = self.set_aside_at = 0.0
        self.place, self.hopes = Place.ACTIVE, EVERYTHING
        self.ticket = 0  # which of its entries in a heap still counts
        self.said, self.said_at = "", 0.0  # the last reason told to people, and when


class PlacementQueue:
    """All pods without a node. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._pods: dict[str, Pending] = {}
        self._aside: dict[str, Pending] = {}  # those set aside, longest first: few, however many wait
        self._awaiting: dict[str, Pending] = {}  # those set aside for the room that others are leaving
        self._active: list[tuple[int, int, int, str]] = []
        self._backing_off: list[tuple[float, int, int, str]] = []
        self._order = itertools.count()
        self._tickets = itertools.count(1)

    def __len__(self) -> int:
        return len(self._pods)

    def count(self, place: Place) -> int:
        return sum(1 for pending in self._pods.values() if pending.place is place)

    def get(self, uid: str) -> Pending | None:
        return self._pods.get(uid)

    def add(self, pod: Document, demand: Demand, cause: int) -> None:
        """A pod that waits, or one that waits and has changed in what it asks for: it is tried at once."""
        known = self._pods.get(demand.uid)
        if known is None:
            known = self._pods[demand.uid] = Pending(pod, demand, cause, next(self._order))
        else:
            known.pod, known.demand, known.cause, known.attempts = pod, demand, cause, 0
            if known.place is Place.TAKEN:
                return
        self._activate(known)

    def refresh(self, uid: str, pod: Document) -> None:
        """The pod has changed in nothing that it asks for."""
        known = self._pods.get(uid)
        if known is not None:
            known.pod = pod

    def remove(self, uid: str) -> None:
        self._pods.pop(uid, None)
        self._aside.pop(uid, None)
        self._awaiting.pop(uid, None)

    def take(self, now: float) -> Pending | None:
        """The next pod to try; it stays yours until `set_aside`, `again` or `remove`."""
        self._wake(now)
        while self._active:
            _, _, ticket, uid = heapq.heappop(self._active)
            pending = self._pods.get(uid)
            if pending is not None and pending.ticket == ticket and pending.place is Place.ACTIVE:
                pending.place = Place.TAKEN
                pending.attempts += 1
                return pending
        return None

    def set_aside(self, pending: Pending, now: float, hopes: Help = EVERYTHING) -> None:
        """It fits nowhere: wait for something that helps."""
        pending.place, pending.set_aside_at, pending.hopes = Place.SET_ASIDE, now, hopes
        self._aside[pending.demand.uid] = pending
        pending.due = now + self._back_off(pending)

    def again(self, pending: Pending, now: float) -> None:
        """Its attempt failed for reasons that are not the cluster's shape: try again after the back-off."""
        pending.due = now + self._back_off(pending)
        self._back_off_until_due(pending)

    def helped(
        self, cause: int, now: float, help: Help = EVERYTHING, would: Callable[[Shape], bool] | None = None
    ) -> None:
        """Something has changed: try those set aside whom it could help.

        `would` says for a shape whether it did; it is asked once for all pods of one. Pods for which others were
        driven out wait for their node (`vacated`) and are left alone by whatever happens to the room elsewhere.
        """
        answers: dict[Shape, bool] = {}
        for pending in list(self._aside.values()):
            if not pending.hopes & help:
                continue
            shape = pending.demand.shape
            if would is not None and pending.hopes & help == Help.ROOM:
                if shape not in answers:
                    answers[shape] = would(shape)
                if not answers[shape]:
                    continue
            pending.cause = cause
            self._resume(pending, now)

    def await_room(self, pending: Pending) -> None:
        """Set aside for the room that pods driven out will leave."""
        self._aside.pop(pending.demand.uid, None)
        self._awaiting[pending.demand.uid] = pending

    def vacated(self, uid: str, cause: int) -> None:
        """A pod has left the node where room is made for this one: it is tried at once."""
        pending = self._awaiting.get(uid)
        if pending is not None:
            pending.cause = cause
            self._activate(pending)

    def next_due(self) -> float | None:
        """When `take` may have more than now; None when only an event can change that."""
        dues = [self._backing_off[0][0]] if self._backing_off else []
        for waiting in (self._aside, self._awaiting):
            if waiting:
                dues.append(next(iter(waiting.values())).set_aside_at + SET_ASIDE_SECONDS_MAX)
        return min(dues, default=None)

    def _wake(self, now: float) -> None:
        while self._backing_off and self._backing_off[0][0] <= now:
            _, _, ticket, uid = heapq.heappop(self._backing_off)
            pending = self._pods.get(uid)
            if pending is not None and pending.ticket == ticket and pending.place is Place.BACKING_OFF:
                self._activate(pending)
        for waiting in (self._aside, self._awaiting):
            while waiting:
                longest = next(iter(waiting.values()))
                if longest.set_aside_at + SET_ASIDE_SECONDS_MAX > now:
                    break
                self._activate(longest)

    def _resume(self, pending: Pending, now: float) -> None:
        if pending.due <= now:
            self._activate(pending)
        else:
            self._back_off_until_due(pending)

    def _activate(self, pending: Pending) -> None:
        self._aside.pop(pending.demand.uid, None)
        self._awaiting.pop(pending.demand.uid, None)
        pending.place, pending.ticket = Place.ACTIVE, next(self._tickets)
        entry = (-pending.demand.shape.priority, pending.order, pending.ticket, pending.demand.uid)
        heapq.heappush(self._active, entry)

    def _back_off_until_due(self, pending: Pending) -> None:
        self._aside.pop(pending.demand.uid, None)
        pending.place, pending.ticket = Place.BACKING_OFF, next(self._tickets)
        heapq.heappush(self._backing_off, (pending.due, pending.order, pending.ticket, pending.demand.uid))

    def _back_off(self, pending: Pending) -> float:
        doublings = min(pending.attempts - 1, 16)
        return float(min(BACK_OFF_SECONDS_MAX, BACK_OFF_SECONDS_MIN * 2.0**doublings))
