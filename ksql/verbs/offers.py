"""Offers: what is free on each node, for schedulers outside, and whether a binding made on one still fits.

Two-level scheduling: the cluster tells what there is, somebody else decides what for. A `Ledger` follows the state and
keeps what every node has left, step by step, and at which revision that last changed. Whoever was offered a node binds
a pod to it with the annotation `scheduler.ksql.dev/offer` (that revision) on the Binding: with the head of the log held
it is looked at exactly, and refused when the node has not enough left any more. A binding without one is made as it
stands, as Kubernetes does. That look goes over all pods: it is for those alone who ask for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ksql.base.documents import Document
from ksql.schema.quantities import Quantity, parse
from ksql.schema.usage import TERMINAL, Amounts, totals
from ksql.state.entry import Frame
from ksql.state.objects import Objects

OFFER_ANNOTATION = "scheduler.ksql.dev/offer"
ONE = parse(1)


@dataclass(frozen=True, slots=True)
class Offer:
    """One node with what it has left. `revision` is when that last changed."""

    node: Document
    free: Mapping[str, Quantity]
    revision: int


@dataclass(slots=True)
class _Node:
    used: dict[str, int] = field(default_factory=dict)  # billionths, by resource
    revision: int = 0


def asked_by(pod: Document) -> Amounts:
    """What a pod takes of its node: nothing once it has run its course."""
    if (pod.get("status") or {}).get("phase") in TERMINAL:
        return {}
    return {**totals(pod["spec"], "requests"), "pods": ONE}


def free_of(node: Document, used: Mapping[str, int]) -> dict[str, Quantity]:
    """What is left of a node's allocatable amounts; less than nothing where it is over-committed."""
    allocatable = ((node.get("status") or {}).get("allocatable") or {}).items()
    amounts = {name: parse(text) for name, text in allocatable}
    return {name: Quantity(amount.nano - used.get(name, 0), amount.format) for name, amount in amounts.items()}


def shortage(pod: Document, node: Document, others: Iterable[Document]) -> str:
    """What a node lacks for a pod beside the others on it, as a sentence's end; empty when it fits."""
    used: dict[str, int] = {}
    for other in others:
        _add(used, asked_by(other), 1)
    free = free_of(node, used)
    lacking = [
        f"{name} ({amount} asked for, {free[name]} left)" if name in free else f"{name} ({amount} asked for, none)"
        for name, amount in sorted(asked_by(pod).items())
        if amount.nano > 0 and (name not in free or free[name] < amount)
    ]
    return f"it has not enough {', '.join(lacking)}" if lacking else ""


def _add(used: dict[str, int], amounts: Amounts, sign: int) -> None:
    for name, amount in amounts.items():
        used[name] = used.get(name, 0) + sign * amount.nano


class Ledger:
    """What every node has left, kept up to date with the state."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._nodes: dict[str, _Node] = {}
        self._gone: dict[str, int] = {}  # by name: when a node went that was offered once
        self._placed: dict[str, tuple[str, Amounts]] = {}  # by uid of the pod
        self._load()
        objects.follow("pods", self._on_pod)
        objects.follow("nodes", self._on_node)

    def _load(self) -> None:
        self._nodes.clear()
        self._placed.clear()
        for entry in self._objects.list("pods"):
            self._place(entry.stream.uid, entry.document, entry.revision)
        for entry in self._objects.list("nodes"):
            node = self._nodes.setdefault(entry.stream.name, _Node())
            node.revision = max(node.revision, entry.revision)

    def changed(self, after: int) -> tuple[list[Offer], list[str]]:
        """The offers that are not what they were at a revision, and the names of nodes that went since."""
        offers = []
        for name, known in self._nodes.items():
            entry = self._objects.get("nodes", "", name) if known.revision > after else None
            if entry is not None:
                offers.append(Offer(entry.document, free_of(entry.document, known.used), known.revision))
        gone = [name for name, revision in self._gone.items() if revision > after]
        return offers, gone

    def _on_node(self, frame: Frame | None) -> None:
        if frame is None or frame.entry is None:
            self._load()
            return
        name = frame.entry.stream.name
        if self._objects.get("nodes", "", name) is None:
            self._gone[name] = frame.revision
        else:
            self._gone.pop(name, None)
        self._nodes.setdefault(name, _Node()).revision = frame.revision

    def _on_pod(self, frame: Frame | None) -> None:
        if frame is None or frame.entry is None:
            return  # nodes' frame loads all
        entry = frame.entry
        is_there = self._objects.get("pods", entry.stream.namespace, entry.stream.name) is entry
        self._place(entry.stream.uid, entry.document if is_there else None, frame.revision)

    def _place(self, uid: str, pod: Document | None, revision: int) -> None:
        name = ((pod or {}).get("spec") or {}).get("nodeName") or ""
        now = (name, asked_by(pod)) if pod is not None and name else None
        before = self._placed.get(uid)
        if now == before:
            return
        if before is not None:
            self._count(before, -1, revision)
            del self._placed[uid]
        if now is not None:
            self._placed[uid] = now
            self._count(now, 1, revision)

    def _count(self, placed: tuple[str, Amounts], sign: int, revision: int) -> None:
        node = self._nodes.setdefault(placed[0], _Node())
        _add(node.used, placed[1], sign)
        node.revision = max(node.revision, revision)
