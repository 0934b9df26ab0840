"""The scheduler's view of the cluster: nodes with what is taken on them, kept up to date step by step.

Every informer step changes the sums of one node, so a placement never adds up pods. A pod that has been
chosen a node counts there from that moment (`assume`), not from when its binding comes back through the
watch: the next pod, microseconds later, must not be given the same room. `forget` takes it back when
the binding failed. View and change are one: nothing here is ever read half-updated.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from ksql.base.documents import Document
from ksql.control.scheduling.demand import TERMINAL, Constraints, Demand, Interest, Shape, Term, demand_of
from ksql.control.scheduling.profiles import DEFAULT, Profile
from ksql.control.scheduling.room import Room
from ksql.control.scheduling.suits import Suits
from ksql.control.scheduling.table import Codes, Ints, NodeView, Table, grown, images_of

# Answers kept per template, amounts and selector: each is a few columns of all nodes. The one not asked for for
# longest goes first; what is worked out anew costs a millisecond.
SUITS_MAX = 512
ROOMS_MAX = 512
OWNERS_MAX = 256
# Counts kept for that many selectors (spread constraints, pod affinity), dropped all at once; each costs
# one label match per shape of pods.
CENSUSES_MAX = 1024
MEMBERSHIPS_MAX = 16_384

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Held:
    """What placed pods hold towards others (a term, with its weight): how many hold it on each row."""

    __slots__ = ("counts", "term", "total", "weight")

    def __init__(self, term: Term, weight: int, capacity: int) -> None:
        self.term, self.weight, self.total = term, weight, 0
        self.counts: Codes = np.zeros(capacity, np.int32)


class Level:
    """What pods of one priority take on each row, or would take: what driving them out would give back."""

    __slots__ = ("cpu", "memory", "pods", "total")

    def __init__(self, capacity: int) -> None:
        self.cpu: Ints = np.zeros(capacity, np.int64)
        self.memory: Ints = np.zeros(capacity, np.int64)
        self.pods: Ints = np.zeros(capacity, np.int64)
        self.total = 0


class Cluster:
    """Nodes, the pods on them, and the counts that spreading and affinity ask for."""

    def __init__(self) -> None:
        self.table = Table()
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.assumed: dict[str, str] = {}  # node by uid of the pod, until the binding is seen
        self.nominated: dict[str, str] = {}  # node by uid of the pod that others make room for
        self.leaving: set[str] = set()  # uids of pods that are being driven out
        self.levels: dict[int, Level] = {}  # what placed pods take, by priority
        self.nominations: dict[int, Level] = {}  # what is kept for nominated ones
        self._views: dict[str, NodeView] = {}
        self._nodes: list[NodeView] | None = None
        self._at: dict[str, str] = {}  # node by uid of the pod
        self._suits: OrderedDict[bytes, Suits] = OrderedDict()
        self._rooms: OrderedDict[Hashable, Room] = OrderedDict()
        self._censuses: dict[Interest, Codes] = {}
        self._members: dict[Shape, list[Codes]] = {}  # the censuses that count pods of a shape
        self._owned: dict[str, dict[int, int]] = {}  # owner's uid: pods by row
        self._owners: OrderedDict[str, Codes] = OrderedDict()  # the same as columns, for owners asked about
        self._guards: dict[Term, Held] = {}  # required anti-affinity
        self._pulls: dict[tuple[Term, int], Held] = {}  # preferences, and required affinity's, towards others

    @classmethod
    def of(
        cls, nodes: Iterable[Document], pods: Iterable[Document] = (), namespaces: Iterable[Document] = ()
    ) -> "Cluster":
        """The view of the documents given."""
        cluster = cls()
        for namespace in namespaces:
            cluster.set_namespace(namespace)
        for node in nodes:
            cluster.set_node(node)
        for pod in pods:
            cluster.set_pod(pod)
        return cluster

    @property
    def nodes(self) -> list[NodeView]:
        """Nodes that exist, by name."""
        if self._nodes is None:
            found = (view for view in self._views.values() if view.document is not None)
            self._nodes = sorted(found, key=lambda view: view.name)
        return self._nodes

    def node(self, name: str) -> NodeView | None:
        view = self._views.get(name)
        return view if view is not None and view.document is not None else None

    # Steps.

    def set_namespace(self, document: Document) -> None:
        self.namespaces[document["metadata"]["name"]] = document["metadata"].get("labels") or {}

    def remove_namespace(self, name: str) -> None:
        self.namespaces.pop(name, None)

    def set_node(self, document: Document) -> bool:
        """Learn of a node. Answers whether anything that placement looks at has changed."""
        name = document["metadata"]["name"]
        view = self._view(name)
        old = view.document
        if old is not None and _same_for_placement(old, document):
            view.document = document
            return False
        view.describe(document)
        self.table.describe(view)
        if old is None:
            self._nodes = None
        return True

    def remove_node(self, name: str) -> None:
        """Forget a node; pods that still name it keep counting there, in case it comes back."""
        view = self._views.get(name)
        if view is None:
            return
        view.document = None
        self.table.describe(view)
        self._nodes = None
        self._drop_unnamed(view)

    def set_pod(self, pod: Document, demand: Demand | None = None) -> bool:
        """Learn of a pod. Answers whether it has let go of room that it held."""
        metadata, spec = pod["metadata"], pod["spec"]
        uid, node = metadata.get("uid", ""), spec.get("nodeName")
        if not node:
            # An assumed pod whose binding is not seen yet stays assumed.
            return False
        if (pod.get("status") or {}).get("phase") in TERMINAL:
            return self.remove_pod(uid)
        held = self._at.get(uid)
        if held is not None:
            self.assumed.pop(uid, None)
            before = self._views[held].pods[uid]
            unchanged = (
                held == node
                and before.terminating == bool(metadata.get("deletionTimestamp"))
                and before.shape.labels == (metadata.get("labels") or {})
                and before.containers == spec.get("containers")
            )
            if unchanged:
                return False
            self.remove_pod(uid)
        self._put(node, demand or demand_of(pod))
        return held is not None

    def remove_pod(self, uid: str) -> bool:
        """Forget a pod. Answers whether it held room."""
        self.assumed.pop(uid, None)
        self.leaving.discard(uid)
        node = self._at.pop(uid, None)
        if node is None:
            return False
        self._lift(self._views[node], uid)
        self._drop_unnamed(self._views[node])
        return True

    def assume(self, demand: Demand, node: str) -> None:
        """Count a pod on its chosen node before its binding is written."""
        self.assumed[demand.uid] = node
        self._put(node, demand)

    def forget(self, uid: str) -> None:
        """The binding failed: give back what was assumed. A pod seen as bound meanwhile stays."""
        if uid in self.assumed:
            self.remove_pod(uid)

    def nominate(self, demand: Demand, node: str) -> None:
        """Keep room on a node for a pod that others are being driven out for: no lighter pod gets it."""
        self.denominate(demand.uid)
        view = self._view(node)
        view.nominated[demand.uid] = demand
        self.nominated[demand.uid] = node
        _weigh_level(self.nominations, demand.shape, view.row, 1, self.table.capacity)
        self.table.loads.add(view.row)

    def denominate(self, uid: str) -> str | None:
        """End a pod's nomination; answers the node it was for."""
        node = self.nominated.pop(uid, None)
        if node is not None:
            view = self._views[node]
            demand = view.nominated.pop(uid)
            _weigh_level(self.nominations, demand.shape, view.row, -1, self.table.capacity)
            self.table.loads.add(view.row)
            self._drop_unnamed(view)
        return node

    @contextmanager
    def without(self, view: NodeView, gone: Iterable[Demand]) -> Iterator[None]:
        """The cluster as it would be if these pods left their node."""
        pods = list(gone)
        for demand in pods:
            self._lift(view, demand.uid)
        try:
            yield
        finally:
            for demand in pods:
                view.pods[demand.uid] = demand
                self._weigh(view, demand, 1)

    # Questions.

    def suits(self, constraints: Constraints) -> Suits:
        """What each node's document says to a template, by row."""
        found = _recent(self._suits, constraints.key, lambda: Suits(constraints), SUITS_MAX)
        found.refresh(self.table)
        return found

    def room(self, shape: Shape, profile: Profile = DEFAULT) -> Room:
        """Whether each row has room for a shape, and how much it likes to give it."""
        amounts = (shape.cpu, shape.memory, shape.extended, shape.scored_cpu, shape.scored_memory)
        key = (*amounts, shape.priority, *profile.room_key)
        found = _recent(self._rooms, key, lambda: Room(shape, profile), ROOMS_MAX)
        found.refresh(self.table)
        return found

    def census(self, interest: Interest) -> Codes:
        """How many pods of interest run on each row."""
        found = self._censuses.get(interest)
        if found is None:
            if len(self._censuses) >= CENSUSES_MAX:
                self._censuses.clear()
            found = self._censuses[interest] = np.zeros(self.table.capacity, np.int32)
            self._members.clear()
            for view in self._views.values():
                found[view.row] = sum(1 for pod in view.pods.values() if _counts(interest, pod))
        return found

    def owned(self, owner: str) -> Codes | None:
        """How many pods of one controller run on each row; None when there are none."""
        rows = self._owned.get(owner)
        if rows is None:
            return None

        def column() -> Codes:
            counts = np.zeros(self.table.capacity, np.int32)
            counts[list(rows)] = list(rows.values())
            return counts

        return _recent(self._owners, owner, column, OWNERS_MAX)

    def guards(self) -> Mapping[Term, Held]:
        """The anti-affinity terms that placed pods hold against others, with where they stand."""
        return self._guards

    def pulls(self) -> Mapping[tuple[Term, int], Held]:
        """The preferences that placed pods have for (or against) company, with where they stand."""
        return self._pulls

    # Inside.

    def _view(self, name: str) -> NodeView:
        view = self._views.get(name)
        if view is None:
            if self.table.is_full:
                self._grow()
            view = self._views[name] = self.table.add(name)
        return view

    def _drop_unnamed(self, view: NodeView) -> None:
        if view.document is None and not view.pods and not view.nominated:
            del self._views[view.name]
            self.table.drop(view)

    def _grow(self) -> None:
        self.table.grow()
        capacity = self.table.capacity
        self._suits.clear()
        self._rooms.clear()
        self._censuses.clear()
        self._members.clear()
        self._owners.clear()
        for held in (*self._guards.values(), *self._pulls.values()):
            held.counts = grown(held.counts, capacity)
        for level in (*self.levels.values(), *self.nominations.values()):
            level.cpu, level.memory = grown(level.cpu, capacity), grown(level.memory, capacity)
            level.pods = grown(level.pods, capacity)

    def _put(self, node: str, demand: Demand) -> None:
        view = self._view(node)
        view.pods[demand.uid] = demand
        self._at[demand.uid] = node
        self._weigh(view, demand, 1)

    def _lift(self, view: NodeView, uid: str) -> None:
        self._weigh(view, view.pods.pop(uid), -1)

    def _weigh(self, view: NodeView, demand: Demand, sign: int) -> None:
        """Count a pod in, or out, everywhere it counts."""
        view.take(demand, sign)
        self.table.load(view)
        shape, row = demand.shape, view.row
        _weigh_level(self.levels, shape, row, sign, self.table.capacity)
        if not demand.terminating:
            # A pod on its way out is no neighbour any more (nor does kube-scheduler spread around it).
            for counts in self._membership(shape):
                counts[row] += sign
        if shape.owner:
            self._weigh_owner(shape.owner, row, sign)
        for term in shape.anti_affinity:
            self._hold(self._guards, term, term, 1, row, sign)
        for weight, term in shape.preferred:
            self._hold(self._pulls, (term, weight), term, weight, row, sign)
        for term in shape.affinity:
            self._hold(self._pulls, (term, 1), term, 1, row, sign)

    def _weigh_owner(self, owner: str, row: int, sign: int) -> None:
        rows = self._owned.setdefault(owner, {})
        rows[row] = rows.get(row, 0) + sign
        if not rows[row]:
            del rows[row]
        if not rows:
            del self._owned[owner]
        column = self._owners.get(owner)
        if column is not None:
            column[row] += sign

    def _hold(self, table: dict[K, Held], key: K, term: Term, weight: int, row: int, sign: int) -> None:
        held = table.get(key)
        if held is None:
            held = table[key] = Held(term, weight, self.table.capacity)
        held.counts[row] += sign
        held.total += sign
        if not held.total:
            del table[key]

    def _membership(self, shape: Shape) -> list[Codes]:
        found = self._members.get(shape)
        if found is None:
            if len(self._members) >= MEMBERSHIPS_MAX:
                self._members.clear()
            found = self._members[shape] = [
                counts for interest, counts in self._censuses.items()
                if interest.covers(shape.namespace, shape.labels)
            ]  # fmt: skip
        return found


def _weigh_level(levels: dict[int, Level], shape: Shape, row: int, sign: int, capacity: int) -> None:
    level = levels.get(shape.priority)
    if level is None:
        level = levels[shape.priority] = Level(capacity)
    level.cpu[row] += sign * shape.cpu
    level.memory[row] += sign * shape.memory
    level.pods[row] += sign
    level.total += sign
    if not level.total:
        del levels[shape.priority]


def _counts(interest: Interest, demand: Demand) -> bool:
    return not demand.terminating and interest.covers(demand.namespace, demand.shape.labels)


def _recent(table: OrderedDict[K, V], key: K, make: Callable[[], V], most: int) -> V:
    """What is kept under a key, made when it is not there; the one not asked for for longest makes room."""
    found = table.get(key)
    if found is None:
        if len(table) >= most:
            table.popitem(last=False)
        found = table[key] = make()
    else:
        table.move_to_end(key)
    return found


def _same_for_placement(old: Document, new: Document) -> bool:
    before, after = old.get("status") or {}, new.get("status") or {}
    return (
        old["metadata"].get("labels") == new["metadata"].get("labels")
        and old.get("spec") == new.get("spec")
        and before.get("allocatable") == after.get("allocatable")
        and (before.get("images") == after.get("images") or images_of(old) == images_of(new))
    )
