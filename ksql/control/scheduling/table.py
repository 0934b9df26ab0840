"""Nodes as rows of arrays, so that one look at all of them costs microseconds.

A node has a row for as long as anything names it; what it has and what is taken stand in columns of integers, a
label's values in columns of small codes. Whoever works something out per row remembers how far it has read the
journal and works out anew only the rows that have changed since. Rows say nothing about order: where one node of
several equals must be chosen, `order` decides, a number made from the name alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ksql.base.documents import Document
from ksql.control.scheduling.demand import Demand, amounts, image_name

Ints = NDArray[np.int64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

ROWS_MIN = 64
# Changed rows remembered for readers; one that has fallen further behind reads every row anew, which at that many
# changes is cheaper anyhow.
JOURNAL_MAX = 8192


class NodeView:
    """One node with its sums, as plain integers: what a look at this one node reads."""

    __slots__ = (
        "cpu", "cpu_used", "document", "extended", "extended_used", "labels", "memory", "memory_used", "name",
        "nominated", "pods", "pods_max", "ports", "row", "scored_cpu", "scored_memory",
    )  # fmt: skip

    def __init__(self, name: str, row: int) -> None:
        self.name, self.row = name, row
        self.document: Document | None = None  # None: pods name this node, but it is not (or no longer) there
        self.labels: Mapping[str, str] = {}
        self.cpu = self.memory = self.pods_max = 0
        self.extended: Mapping[str, int] = {}
        self.cpu_used = self.memory_used = 0
        self.scored_cpu = self.scored_memory = 0
        self.extended_used: dict[str, int] = {}
        self.ports: dict[tuple[str, int, str], int] = {}
        self.pods: dict[str, Demand] = {}
        self.nominated: dict[str, Demand] = {}  # pods for which others are being driven out

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
        shape = demand.shape
        self.cpu_used += sign * shape.cpu
        self.memory_used += sign * shape.memory
        self.scored_cpu += sign * shape.scored_cpu
        self.scored_memory += sign * shape.scored_memory
        for resource, count in shape.extended:
            self.extended_used[resource] = self.extended_used.get(resource, 0) + sign * count
        for port in shape.ports:
            self.ports[port] = self.ports.get(port, 0) + sign
            if not self.ports[port]:
                del self.ports[port]


class Journal:
    """Which rows have changed, in order."""

    __slots__ = ("_dropped", "_rows")

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._dropped = 0

    @property
    def position(self) -> int:
        return self._dropped + len(self._rows)

    def add(self, row: int) -> None:
        self._rows.append(row)
        if len(self._rows) > JOURNAL_MAX:
            half = JOURNAL_MAX // 2
            del self._rows[:half]
            self._dropped += half

    def add_all(self) -> None:
        """Everything may have changed: no reader finds its position any more."""
        self._dropped += len(self._rows) + 1
        self._rows.clear()

    def since(self, position: int) -> Sequence[int] | None:
        """The rows changed after a position (some perhaps twice); None when all must be read anew."""
        if position < self._dropped:
            return None
        return self._rows[position - self._dropped :]


class Domains:
    """One label's values as small numbers: `codes[row]` is its value's, -1 where the node lacks the label."""

    __slots__ = ("_numbers", "codes")

    def __init__(self, capacity: int) -> None:
        self.codes: Codes = np.full(capacity, -1, np.int32)
        self._numbers: dict[str, int] = {}

    @property
    def count(self) -> int:
        """How many values have ever been seen."""
        return len(self._numbers)

    def set(self, row: int, value: str | None) -> None:
        self.codes[row] = -1 if value is None else self._numbers.setdefault(value, len(self._numbers))

    def sums(self, counts: NDArray[Any], where: Mask | None = None) -> Floats:
        """Counts by row summed up by value, as many as `count`; rows without the label, or not in `where`, apart."""
        shifted = self.codes + 1
        if where is not None:
            shifted = np.where(where, shifted, 0)
        sums: Floats = np.bincount(shifted, weights=counts, minlength=self.count + 1).astype(np.float64)[1:]
        return sums

    def spread(self, by_value: NDArray[Any], missing: Any) -> NDArray[Any]:
        """A number per value laid out by row; `missing` where the label is missing."""
        return np.append(by_value, missing)[self.codes]


class Table:
    """The rows and their columns."""

    def __init__(self) -> None:
        self.capacity = ROWS_MIN
        self.views: list[NodeView | None] = [None] * ROWS_MIN
        self.present: Mask = np.zeros(ROWS_MIN, np.bool_)
        self.order: NDArray[np.uint64] = np.zeros(ROWS_MIN, np.uint64)
        self.cpu, self.memory, self.pods_max = (np.zeros(ROWS_MIN, np.int64) for _ in range(3))
        self.cpu_used, self.memory_used, self.pods = (np.zeros(ROWS_MIN, np.int64) for _ in range(3))
        self.scored_cpu, self.scored_memory = (np.zeros(ROWS_MIN, np.int64) for _ in range(2))
        self.loads, self.nodes = Journal(), Journal()
        self._free = list(range(ROWS_MIN - 1, -1, -1))
        self._domains: dict[str, Domains] = {}
        self._images: dict[str, Ints] = {}  # bytes of an image on each row that has it
        self._taints: dict[bytes, int] = {}

    @property
    def is_full(self) -> bool:
        return not self._free

    def add(self, name: str) -> NodeView:
        """A row for a node that is named for the first time. `grow` first when the table is full."""
        row = self._free.pop()
        view = self.views[row] = NodeView(name, row)
        self.order[row] = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
        return view

    def drop(self, view: NodeView) -> None:
        """Give back the row of a node that nothing names."""
        self.views[view.row] = None
        self._free.append(view.row)

    def grow(self) -> None:
        """Twice the rows. Columns that others keep must be grown by them."""
        old, self.capacity = self.capacity, 2 * self.capacity
        self.views += [None] * old
        self._free[:0] = range(self.capacity - 1, old - 1, -1)
        for name in (
            "present", "order", "cpu", "memory", "pods_max", "cpu_used", "memory_used", "pods", "scored_cpu",
            "scored_memory",
        ):  # fmt: skip
            setattr(self, name, grown(getattr(self, name), self.capacity))
        for domains in self._domains.values():
            domains.codes = grown(domains.codes, self.capacity, -1)
        self._images = {image: grown(sizes, self.capacity) for image, sizes in self._images.items()}
        self.loads.add_all()
        self.nodes.add_all()

    def describe(self, view: NodeView) -> None:
        """Take over what a node's document says, or that there is none."""
        row = view.row
        there = view.document is not None
        self.present[row] = there
        self.cpu[row], self.memory[row], self.pods_max[row] = view.cpu, view.memory, view.pods_max
        for key, domains in self._domains.items():
            domains.set(row, view.labels.get(key) if there else None)
        for sizes in self._images.values():
            sizes[row] = 0
        for image, size in images_of(view.document or {}):
            self._sizes(image)[row] = size
        self.nodes.add(row)
        self.loads.add(row)

    def load(self, view: NodeView) -> None:
        """Take over what is taken on a node."""
        row = view.row
        self.cpu_used[row], self.memory_used[row], self.pods[row] = view.cpu_used, view.memory_used, len(view.pods)
        self.scored_cpu[row], self.scored_memory[row] = view.scored_cpu, view.scored_memory
        self.loads.add(row)

    def domains(self, key: str) -> Domains:
        """The column of a label."""
        found = self._domains.get(key)
        if found is None:
            found = self._domains[key] = Domains(self.capacity)
            for view in self.views:
                if view is not None and view.document is not None:
                    found.set(view.row, view.labels.get(key))
        return found

    def sizes(self, image: str) -> Ints | None:
        """Bytes of an image by row; None when no node has ever had it."""
        return self._images.get(image)

    def _sizes(self, image: str) -> Ints:
        found = self._images.get(image)
        if found is None:
            found = self._images[image] = np.zeros(self.capacity, np.int64)
        return found


def images_of(node: Document) -> list[tuple[str, int]]:
    """The images that a node says it holds, by every name it gives them, with their bytes."""
    return [
        (image_name(name), int(image.get("sizeBytes") or 0))
        for image in (node.get("status") or {}).get("images") or ()
        for name in image.get("names") or ()
    ]


def grown(column: NDArray[Any], capacity: int, filling: int = 0) -> NDArray[Any]:
    """The column with more rows."""
    new = np.full(capacity, filling, column.dtype)
    new[: len(column)] = column
    return new
