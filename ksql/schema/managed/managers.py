"""Who manages which fields: the entries of `metadata.managedFields`, read and printed.

A manager is told by its name, by whether it updates or applies, by the version it updated in and by the
subresource it went through; what it holds is a set of fields in a version. The sets are the FieldsV1 trees of
the entries themselves (`fieldsets.py`), so reading an object's managers costs next to nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ksql.base.documents import Document
from ksql.schema.golang import gotext
from ksql.schema.managed import fieldsets
from ksql.schema.managed.fieldsets import EMPTY, FieldSet, FieldSetError, canonical, union

APPLY, UPDATE = "Apply", "Update"
FIELDS_TYPE = "FieldsV1"
# Kubernetes' bound on what updates may leave behind: an object that a hundred programs once touched need not
# name them all for ever.
UPDATE_MANAGERS_MAX = 10
ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"
UNKNOWN = "unknown"


class Manager(NamedTuple):
    """Whose fields. `api_version` is empty for one that applies: it is one manager in every version."""

    name: str
    operation: str
    api_version: str
    subresource: str

    @property
    def identifier(self) -> str:
        """The text that Go's maps of managers are sorted by."""
        parts = (
            ("manager", self.name), ("operation", self.operation), ("apiVersion", self.api_version),
            ("subresource", self.subresource),
        )  # fmt: skip
        return "{" + ",".join(f'"{key}":{fieldsets.go_json(value)}' for key, value in parts if value) + "}"

    def __str__(self) -> str:
        """As conflicts name it."""
        text = gotext.quoted(self.name)
        if self.subresource:
            text += f" with subresource {gotext.quoted(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


class Share(NamedTuple):
    """What a manager holds, in the version that its paths speak of."""

    fields: FieldSet
    api_version: str


class Managed:
    """The managers of one object, and when each last changed it. Made anew for each write, then worked on."""

    __slots__ = ("_entries", "shares", "times")

    def __init__(self) -> None:
        self.shares: dict[Manager, Share] = {}
        self.times: dict[Manager, str | None] = {}
        # What was read: printed again as it is where nothing changed.
        self._entries: dict[Manager, Document] = {}

    def entries(self) -> list[Document]:
        """The entries as `metadata.managedFields` lists them: appliers first, then by age."""
        found = [self._entry(manager, share) for manager, share in self.shares.items()]
        return sorted(found, key=_place) if len(found) > 1 else found

    def _entry(self, manager: Manager, share: Share) -> Document:
        time = self.times.get(manager)
        known = self._entries.get(manager)
        if (
            known is not None
            and known.get("fieldsV1") is share.fields
            and known.get("time") == time
            and known.get("apiVersion") == share.api_version
        ):
            return known
        entry: Document = {
            "manager": manager.name, "operation": manager.operation, "apiVersion": share.api_version,
            "time": time, "fieldsType": FIELDS_TYPE, "fieldsV1": share.fields, "subresource": manager.subresource,
        }  # fmt: skip
        return {key: value for key, value in entry.items() if key == "fieldsV1" or value}

    def replace(self, manager: Manager, fields: FieldSet) -> None:
        """Keep the manager with other fields, or drop it when it has none left."""
        if fields:
            self.shares[manager] = Share(fields, self.shares[manager].api_version)
        else:
            del self.shares[manager]

    def capped(self) -> None:
        """Merge the oldest of the managers that update until no more are left than may be."""
        updaters = [manager for manager in self.shares if manager.operation == UPDATE]
        surplus = len(updaters) - UPDATE_MANAGERS_MAX
        if surplus <= 0:
            return
        updaters.sort(key=lambda manager: (self.times.get(manager) or "", manager.identifier))
        first_of: dict[str, Manager] = {}
        for manager in updaters:
            if surplus <= 0:
                return
            share = self.shares[manager]
            bucket = Manager(ANCIENT, UPDATE, share.api_version, "")
            first = first_of.setdefault(share.api_version, manager)
            if first is manager:
                continue
            if bucket not in self.shares:
                self.shares[bucket] = self.shares.pop(first)
            self.shares[bucket] = Share(union(share.fields, self.shares[bucket].fields), share.api_version)
            # The bucket may be the very manager that is merged into it.
            if manager != bucket:
                del self.shares[manager]
            self.times[bucket] = self.times.get(manager)
            surplus -= 1


def _place(entry: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    return (
        entry["operation"], entry.get("time", ""), entry.get("manager", ""), entry["apiVersion"],
        entry.get("subresource", ""),
    )  # fmt: skip


def read(entries: Sequence[Mapping[str, Any]] | None) -> Managed:
    """The managers of a stored object."""
    managed = Managed()
    for entry in entries or ():
        _take(managed, entry, entry.get("fieldsV1") or EMPTY)
    return managed


def sent(entries: Any) -> Managed:
    """The managers that a client sent; `FieldSetError` for entries that mean nothing."""
    managed = Managed()
    for index, entry in enumerate(entries or ()):
        if entry.get("operation") not in (APPLY, UPDATE):
            raise FieldSetError("operation must be `Apply` or `Update`")
        if not entry.get("apiVersion"):
            raise FieldSetError("apiVersion must not be empty")
        kind = entry.get("fieldsType")
        if kind != FIELDS_TYPE:
            words = f"invalid fieldsType {gotext.quoted(kind)}" if kind else "missing fieldsType"
            raise FieldSetError(f"{words} in managed fields entry {index}")
        _take(managed, entry, canonical(entry.get("fieldsV1") or {}))
    return managed


def _take(managed: Managed, entry: Mapping[str, Any], fields: FieldSet) -> None:
    operation, version = entry["operation"], entry["apiVersion"]
    manager = Manager(
        entry.get("manager", ""), operation, "" if operation == APPLY else version, entry.get("subresource", "")
    )
    managed.shares[manager] = Share(fields, version)
    managed.times[manager] = entry.get("time")
    managed._entries[manager] = dict(entry)


def is_reset(entries: Any) -> bool:
    """Whether a client asks for all managers to be forgotten: an empty list, or one empty entry."""
    if not isinstance(entries, list):
        return False
    return not entries or (len(entries) == 1 and not any((entries[0] or {}).values()))


def timeless(entries: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Entries without their times, to be compared."""
    return [{key: value for key, value in entry.items() if key != "time"} for entry in entries or ()]
