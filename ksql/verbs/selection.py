"""Which objects a list, a watch or a deletecollection means, ready to be asked object by object.

A `Matcher` is the compiled form of the two selectors and the namespace. For a watch it turns a change of
an object into what the selection sees of it: an object that begins to match is ADDED, one that no longer
does is DELETED (API concepts, "Efficient detection of changes").
"""

from collections.abc import Iterable, Iterator, Sequence

from ksql.log.event import Change
from ksql.schema import selectors
from ksql.schema.resources import ResourceType
from ksql.state.entry import Entry, Frame
from ksql.verbs.conversion import shown_at_once
from ksql.verbs.request import Selection


class Matcher:
    """The objects of one resource that are meant."""

    __slots__ = ("_custom", "_fields", "_labels", "everything", "name", "namespace", "part")

    def __init__(self, type: ResourceType, namespace: str, selection: Selection) -> None:
        self._custom = type.custom
        self._labels = selectors.parse_labels(selection.label_selector)
        self._fields = selectors.parse_fields(type, selection.field_selector)
        exact = self._fields.exact
        self.namespace = namespace or exact.get("metadata.namespace", "")
        self.name = exact.get("metadata.name", "")
        # Nothing but the namespace has to be looked at.
        self.everything = self._labels.empty and self._fields.empty
        self.part = self._part(exact.get("spec.nodeName", ""))

    def _part(self, node: str) -> tuple[str, str] | None:
        """The narrowest slice of the watch window that holds all that is meant."""
        named, here = ("metadata.name", self.name), ("metadata.namespace", self.namespace)
        parts = (named, ("spec.nodeName", node), here)
        return next((part for part in parts if part[1]), None)

    @property
    def asks_a_webhook(self) -> bool:
        """Whether objects must be converted by their CRD's webhook before they can be judged."""
        if self._custom is None or self._custom.conversion is None:
            return False
        return not self._labels.empty or any(not label.startswith("metadata.") for label in self._fields.labels)

    def selects(self, entry: Entry) -> bool:
        """Whether the selectors mean this object; its namespace is known to be right."""
        if self.name and entry.stream.name != self.name:
            return False
        if self._custom is not None:
            # Custom objects are judged in the version that is spoken, defaults included.
            entry = shown_at_once(self._custom, entry) or entry
        if not self._labels.empty:
            labels = entry.document["metadata"].get("labels")
            if not self._labels.matches(labels):
                return False
        return self._fields.empty or self._fields.matches(entry.document)

    def matches(self, entry: Entry) -> bool:
        if self.namespace and entry.stream.namespace != self.namespace:
            return False
        return self.everything or self.selects(entry)

    def of(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Those of `entries` (already of the namespace) that are meant."""
        return iter(entries) if self.everything else filter(self.selects, entries)

    def seen(self, frame: Frame) -> Frame | None:
        """What a change looks like from here; None when it does not show."""
        entry = frame.entry
        assert entry is not None
        if self.namespace and entry.stream.namespace != self.namespace:
            return None
        if self.everything:
            return frame
        before = frame.previous is not None and self.selects(frame.previous)
        if frame.change is Change.DELETED:
            return frame if before else None
        if self.selects(entry):
            return frame if before or frame.change is Change.ADDED else frame.met()
        return frame.left() if before else None

    def sees(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        if self.everything and not self.namespace:
            return frames
        return [seen for frame in frames if (seen := self.seen(frame)) is not None]
