"""The scheduler's view of the cluster: nodes with what is taken on them, kept up to date step by step.

Every informer step changes the sums of one node, so a placement never adds up pods. A pod that has been
chosen a node counts there from that moment (`assume`), not from when its binding comes back through the
watch: the next pod, microseconds later, must not be given the same room. `forget` takes it back when
the binding failed. View and change are one: nothing here is ever read half-updated.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from ksql.base.documents import Document
from ksql.control.scheduling.demand import Constraints, Demand, Interest, Term, amounts, demand_of
from ksql.control.scheduling.terms import Verdict, verdict

# Kept answers for that many templates; a cluster has hundreds. When it is full all are dropped at once:
# they are rebuilt in a fraction of a millisecond each.
VERDICTS_MAX = 4096
# Counts kept for that many selectors (spread constraints, pod affinity), dropped the same way; each costs
# one label match per pod that comes or goes.
CENSUSES_MAX = 1024

TERMINAL: Final = ("Succeeded", "Failed")

K = TypeVar("K")


class NodeView:
    """One node with its sums. Changed by `Cluster` only."""

    __slots__ = (
        "cpu", "cpu_used", "document", "extended", "extended_used", "labels", "memory", "memory_used", "name",
        "pods", "pods_max", "ports", "scored_cpu", "scored_memory",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.document: Document | None = None  # None: pods name this node, but it is not (or no longer) there
        self.labels: Mapping[str, str] = {}
        self.cpu = self.memory = self.pods_max = 0
        self.extended: Mapping[str, int] = {}
        self.cpu_used = self.memory_used = 0
        self.scored_cpu = self.scored_memory = 0
        self.extended_used: dict[str, int] = {}
        self.ports: dict[tuple[str, int, str], int] = {}
        self.pods: dict[str, Demand] = {}

    def describe(self, document: Document) -> None:
        self.document = document
        self.labels = document["metadata"].get("labels") or {}
        allocatable = amounts((document.get("status") or {}).get("allocatable"))
        self.cpu = allocatable.pop("cpu", 0)
        self.memory = allocatable.pop("memory", 0)
        self.pods_max = allocatable.pop("pods", 0)
        self.extended = allocatable

    def take(self, demand: Demand, sign: int) -> None:
        """Add (1) or subtract (-1) what a pod asks for."""
        self.cpu_used += sign * demand.cpu
        self.memory_used += sign * demand.memory
        self.scored_cpu += sign * demand.scored_cpu
        self.scored_memory += sign * demand.scored_memory
        for resource, count in demand.extended:
            self.extended_used[resource] = self.extended_used.get(resource, 0) + sign * count
        for port in demand.ports:
            self.ports[port] = self.ports.get(port, 0) + sign
            if not self.ports[port]:
                del self.ports[port]


class Cluster:
    """Nodes in the order of their names, pods by node, and the counts that spreading and affinity ask for."""

    def __init__(self) -> None:
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.assumed: dict[str, str] = {}  # node by uid of the pod, until the binding is seen
        self._views: dict[str, NodeView] = {}
        self._nodes: list[NodeView] | None = None
        self._at: dict[str, str] = {}  # node by uid of the pod
        self._verdicts: dict[bytes, list[Verdict]] = {}
        self._censuses: dict[Interest, dict[str, int]] = {}
        self._owned: dict[str, dict[str, int]] = {}  # owner's uid: pods by node
        self._guards: dict[Term, dict[str, int]] = {}  # required anti-affinity of placed pods: pods by node

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
        """Nodes that exist, by name: the order in which verdicts stand, and no trace of who came first."""
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
        self._verdicts.clear()
        if old is None:
            self._nodes = None
        return True

    def remove_node(self, name: str) -> None:
        """Forget a node; pods that still name it keep counting there, in case it comes back."""
        view = self._views.get(name)
        if view is None:
            return
        view.document = None
        if not view.pods:
            del self._views[name]
        self._nodes = None
        self._verdicts.clear()

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
                and before.labels == (metadata.get("labels") or {})
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
        node = self._at.pop(uid, None)
        if node is None:
            return False
        view = self._views[node]
        demand = view.pods.pop(uid)
        view.take(demand, -1)
        self._count(demand, node, -1)
        if view.document is None and not view.pods:
            del self._views[node]
        return True

    def assume(self, demand: Demand, node: str) -> None:
        """Count a pod on its chosen node before its binding is written."""
        self.assumed[demand.uid] = node
        self._put(node, demand)

    def forget(self, uid: str) -> None:
        """The binding failed: give back what was assumed. A pod seen as bound meanwhile stays."""
        if uid in self.assumed:
            self.remove_pod(uid)

    # Questions.

    def verdicts(self, constraints: Constraints) -> list[Verdict]:
        """What each node's document says to a template, aligned with `nodes`."""
        found = self._verdicts.get(constraints.key)
        if found is None:
            if len(self._verdicts) >= VERDICTS_MAX:
                self._verdicts.clear()
            found = [verdict(constraints, view.name, view.document or {}) for view in self.nodes]
            self._verdicts[constraints.key] = found
        return found

    def census(self, interest: Interest) -> Mapping[str, int]:
        """How many pods of interest run on each node (nodes without any may be absent)."""
        found = self._censuses.get(interest)
        if found is None:
            if len(self._censuses) >= CENSUSES_MAX:
                self._censuses.clear()
            found = self._censuses[interest] = {}
            for name, view in self._views.items():
                count = sum(1 for pod in view.pods.values() if _counts(interest, pod))
                if count:
                    found[name] = count
        return found

    def owned(self, owner: str) -> Mapping[str, int]:
        """How many pods of one controller run on each node."""
        return self._owned.get(owner, {})

    def guards(self) -> Mapping[Term, Mapping[str, int]]:
        """The anti-affinity terms that placed pods hold against others, with where they stand."""
        return self._guards

    # Inside.

    def _view(self, name: str) -> NodeView:
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = NodeView(name)
        return view

    def _put(self, node: str, demand: Demand) -> None:
        view = self._view(node)
        view.pods[demand.uid] = demand
        view.take(demand, 1)
        self._at[demand.uid] = node
        self._count(demand, node, 1)

    def _count(self, demand: Demand, node: str, sign: int) -> None:
        for interest, counts in self._censuses.items():
            if _counts(interest, demand):
                _bump(counts, node, sign)
        if demand.owner:
            _bump_in(self._owned, demand.owner, node, sign)
        for term in demand.anti_affinity:
            _bump_in(self._guards, term, node, sign)


def _counts(interest: Interest, demand: Demand) -> bool:
    # A pod that is on its way out is no neighbour any more (nor does kube-scheduler spread around it).
    return not demand.terminating and interest.covers(demand.namespace, demand.labels)


def _bump(counts: dict[str, int], node: str, sign: int) -> None:
    counts[node] = counts.get(node, 0) + sign
    if not counts[node]:
        del counts[node]


def _bump_in(table: dict[K, dict[str, int]], key: K, node: str, sign: int) -> None:
    counts = table.setdefault(key, {})
    _bump(counts, node, sign)
    if not counts:
        del table[key]


def _same_for_placement(old: Document, new: Document) -> bool:
    return (
        old["metadata"].get("labels") == new["metadata"].get("labels")
        and old.get("spec") == new.get("spec")
        and (old.get("status") or {}).get("allocatable") == (new.get("status") or {}).get("allocatable")
    )
