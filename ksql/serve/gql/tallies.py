"""Counting objects by what some of their fields hold, change by change. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from ksql.base.documents import Document
from ksql.history import paths
from ksql.log.event import Change
from ksql.serve.gql.errors import LIMIT, refusal
from ksql.state.entry import Entry, Frame

# Fields that make a sort together: namespace, phase, node and a label are what dashboards want.
FIELDS_MAX = 4
# Sorts that are told: a thousand nodes, or a hundred namespaces by some phases.
GROUPS_MAX = 2_000
PATH_CHARACTERS_MAX = 500

Values = tuple[str, ...]


def paths_of(by: Sequence[str]) -> list[str]:
    """The fields to count by, each proved to be a path."""
    if not 1 <= len(by) <= FIELDS_MAX:
        raise refusal(f"by names 1 to {FIELDS_MAX} fields")
    for path in by:
        if len(path) > PATH_CHARACTERS_MAX:
            raise refusal(f"a path has at most {PATH_CHARACTERS_MAX} characters")
        paths.lookup({}, path)
    return list(by)


class Tally:
    """How many objects hold which values."""

    def __init__(self, by: Sequence[str]) -> None:
        self._by = by
        self._of: dict[str, Values] = {}
        self.counts: Counter[Values] = Counter()

    @property
    def total(self) -> int:
        return len(self._of)

    def begin(self, frames: Iterable[Frame]) -> None:
        """Take in what is there."""
        self.take(list(frames))

    def take(self, frames: Sequence[Frame]) -> list[Values]:
        """Take changes in; the sorts whose counts are no longer what they were."""
        before: dict[Values, int] = {}
        for frame in frames:
            entry = frame.entry
            assert entry is not None
            uid = entry.stream.uid
            old = self._of.pop(uid, None)
            new = None if frame.change is Change.DELETED else self._values(entry)
            if new is not None:
                self._of[uid] = new
            if old != new:
                self._move(old, new, before)
        if len(self.counts) > GROUPS_MAX:
            raise refusal(f"that makes more than {GROUPS_MAX} sorts: count by fewer fields, or fewer objects", LIMIT)
        return [values for values, count in before.items() if self.counts.get(values, 0) != count]

    def _move(self, old: Values | None, new: Values | None, before: dict[Values, int]) -> None:
        for values, step in ((old, -1), (new, 1)):
            if values is None:
                continue
            count = self.counts.get(values, 0)
            before.setdefault(values, count)
            if count + step:
                self.counts[values] = count + step
            else:
                del self.counts[values]

    def _values(self, entry: Entry) -> Values:
        document = entry.document
        return tuple(_text(document, path) for path in self._by)


def _text(document: Document, path: str) -> str:
    value = paths.lookup(document, path)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
