"""What the nodes' documents say to a template, for all nodes at once: selectors, affinity, taints.

Nodes that are alike in every label that the template names, in their taints and in being cordoned are judged once,
by one of them. Answers stay until a node changes; then that row alone is judged anew.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ksql.base.documents import Document, canonical
from ksql.control.scheduling.demand import Constraints
from ksql.control.scheduling.table import Ints, Mask, Table
from ksql.control.scheduling.terms import NODE_AFFINITY, Verdict, verdict

NAME_FIELD = "metadata.name"


class Suits:
    """One template's verdicts by row. `ok` is where nothing refuses; `refusals` counts the reasons elsewhere."""

    def __init__(self, constraints: Constraints) -> None:
        self._constraints = constraints
        self._seen = -1
        self._keys = sorted(set(_keys(constraints)))
        self._names = _names(constraints.required)
        self._is_by_name = _is_by_name(constraints, self._names)
        self._reasons: dict[str, int] = {"": 0}
        self.ok: Mask = np.zeros(0, np.bool_)
        self.affinity: Mask = self.ok  # for spreading, which counts nodes by affinity and by taints apart
        self.tolerated: Mask = self.ok
        self.preferred: Ints = np.zeros(0, np.int64)
        self.disliked: Ints = self.preferred
        self._codes: NDArray[np.int16] = np.zeros(0, np.int16)
        self.is_particular = False  # whether any node is preferred or disliked at all
        self.refusals: dict[str, int] = {}

    def refresh(self, table: Table) -> None:
        """Take in what has changed about nodes."""
        if self._seen == table.nodes.position:
            return
        changed = table.nodes.since(self._seen) if self._seen >= 0 else None
        if changed is None or len(changed) > table.capacity // 4:
            self._judge_all(table)
        else:
            for row in set(changed):
                self._judge(table, row)
        self._seen = table.nodes.position
        self._count(table)

    def _judge_all(self, table: Table) -> None:
        capacity = table.capacity
        self.ok, self.affinity, self.tolerated = (np.zeros(capacity, np.bool_) for _ in range(3))
        self.preferred, self.disliked = (np.zeros(capacity, np.int64) for _ in range(2))
        self._codes = np.zeros(capacity, np.int16)
        rows = np.flatnonzero(table.present)
        if not len(rows):
            return
        if self._is_by_name:
            firsts = groups = np.arange(len(rows))
        else:
            firsts, groups = _alike(table, rows, self._keys)
        judged = [self._verdict(table, int(row), self._names is None) for row in rows[firsts]]
        self._codes[rows] = np.array([self._code(one.reason) for one in judged], np.int16)[groups]
        self.affinity[rows] = np.array([one.affinity_suits for one in judged], np.bool_)[groups]
        self.tolerated[rows] = np.array([one.taints_suit for one in judged], np.bool_)[groups]
        self.preferred[rows] = np.array([one.preferred for one in judged], np.int64)[groups]
        self.disliked[rows] = np.array([one.disliked for one in judged], np.int64)[groups]
        self.ok[rows] = self._codes[rows] == 0
        if self._names is not None:
            self._judge_named(table, rows)

    def _judge_named(self, table: Table, rows: NDArray[np.intp]) -> None:
        """The template names its nodes: all others are refused without a look."""
        assert self._names is not None
        refused = rows[self.ok[rows]]
        self._codes[refused] = self._code(NODE_AFFINITY)
        self.ok[refused] = False
        self.affinity[rows] = False
        for view in table.views:
            if view is not None and view.document is not None and view.name in self._names:
                self._judge(table, view.row)

    def _judge(self, table: Table, row: int) -> None:
        view = table.views[row]
        if view is None or view.document is None:
            self.ok[row] = self.affinity[row] = self.tolerated[row] = False
            self.preferred[row] = self.disliked[row] = self._codes[row] = 0
            return
        one = self._verdict(table, row, True)
        self._codes[row] = self._code(one.reason)
        self.ok[row], self.affinity[row], self.tolerated[row] = not one.reason, one.affinity_suits, one.taints_suit
        self.preferred[row], self.disliked[row] = one.preferred, one.disliked

    def _verdict(self, table: Table, row: int, with_affinity: bool) -> Verdict:
        view = table.views[row]
        assert view is not None and view.document is not None
        constraints = self._constraints
        if not with_affinity:
            constraints = Constraints(
                constraints.key, constraints.selector, None, constraints.preferred, constraints.tolerations
            )
        return verdict(constraints, view.name, view.document)

    def _code(self, reason: str) -> int:
        return self._reasons.setdefault(reason, len(self._reasons))

    def _count(self, table: Table) -> None:
        counts = np.bincount(self._codes[table.present], minlength=len(self._reasons))
        self.refusals = {
            reason: int(counts[code]) for reason, code in self._reasons.items() if code and counts[code]
        }
        self.is_particular = bool(self.preferred.any() or self.disliked.any())


def _alike(table: Table, rows: NDArray[np.intp], keys: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Nodes alike in the labels named, in taints and in being cordoned: the first of each group, and each row's."""
    repels: dict[bytes, int] = {}
    mixed = np.empty(len(rows), np.int64)
    for index, row in enumerate(rows):
        view = table.views[row]
        assert view is not None and view.document is not None
        spec = view.document.get("spec") or {}
        taints = spec.get("taints")
        bare = b"" if not taints and not spec.get("unschedulable") else _repels(spec)
        mixed[index] = repels.setdefault(bare, len(repels))
    for key in keys:
        domains = table.domains(key)
        # Renumbered at each step, so that the product cannot overflow.
        _, mixed = np.unique(mixed * (domains.count + 1) + domains.codes[rows] + 1, return_inverse=True)
    _, firsts, groups = np.unique(mixed, return_index=True, return_inverse=True)
    return firsts, groups


def _repels(spec: Document) -> bytes:
    return canonical([spec.get("taints") or [], bool(spec.get("unschedulable"))])


def _keys(constraints: Constraints) -> Iterator[str]:
    """The labels that a template's verdict depends on."""
    yield from constraints.selector
    required = constraints.required or ()
    for term in (*required, *(preferred["preference"] for preferred in constraints.preferred)):
        yield from (expression["key"] for expression in term.get("matchExpressions") or ())


def _names(required: Sequence[Document] | None) -> frozenset[str] | None:
    """The only nodes that required affinity can suit, when it names them, as a DaemonSet's pods do."""
    if not required:
        return None
    found: set[str] = set()
    for term in required:
        fields = [f for f in term.get("matchFields") or () if f["key"] == NAME_FIELD and f.get("operator") == "In"]
        if not fields:
            return None
        found.update(*(field.get("values") or () for field in fields))
    return frozenset(found)


def _is_by_name(constraints: Constraints, names: frozenset[str] | None) -> bool:
    """Whether the verdict looks at names otherwise, so that no two nodes are alike."""
    preferences = [preferred["preference"] for preferred in constraints.preferred]
    terms = (*(constraints.required or ()), *preferences) if names is None else preferences
    return any(term.get("matchFields") for term in terms)
