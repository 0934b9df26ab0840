"""Custom resources in another version than the one they are kept in.

Most conversions change the apiVersion alone and are made on the spot. Those that a webhook makes need time
and may fail, so they never happen where state is decided: whoever needs one and has it not raises
`UnpreparedError`, the pipeline asks the webhook outside every lock and begins anew. What was asked is kept
in the write's own `Table`, or, for reads, beside the entry. The log holds the outcome: a replay asks nobody.
"""

from collections.abc import Sequence
from typing import Protocol

from ksql.base.documents import Document, canonical
from ksql.schema.custom import bodies as custom_bodies
from ksql.schema.custom.definitions import CustomVersion
from ksql.schema.errors import InternalError, UnavailableError
from ksql.schema.resources import ResourceType
from ksql.state.entry import Entry


class Converter(Protocol):
    """Asks a CRD's conversion webhook."""

    async def convert(
        self, custom: CustomVersion, documents: Sequence[Document], api_version: str
    ) -> Sequence[Document]:
        """The documents in another apiVersion, in their order; `InternalError` says why that cannot be."""


class NoConverter:
    """Where nobody can be asked, as in a simulation."""

    async def convert(
        self, custom: CustomVersion, documents: Sequence[Document], api_version: str
    ) -> Sequence[Document]:
        raise InternalError(f"conversion webhook for {custom.definition} failed: no webhook can be called here")


class UnpreparedError(UnavailableError):
    """What was prepared is not enough to decide. `documents` are to be converted, for `table`; without any,
    the object has moved and is to be prepared once more outside the lock."""

    def __init__(
        self,
        custom: CustomVersion,
        documents: Sequence[Document] = (),
        api_version: str = "",
        table: "Table | None" = None,
    ) -> None:
        super().__init__("the object is being changed by others, try again", retry_after_seconds=1)
        self.custom, self.documents, self.api_version, self.table = custom, documents, api_version, table


class Table:
    """The conversions of one write, by what was converted."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, str], Document] = {}

    def put(self, document: Document, converted: Document, api_version: str) -> None:
        self._known[canonical(document), api_version] = converted

    def shown(self, custom: CustomVersion, document: Document) -> Document:
        """A stored document as this version shows it."""
        found = custom_bodies.converted(custom, document)
        if found is not None:
            return found
        stored = custom_bodies.stored_form(custom, document)
        return custom_bodies.shown_form(custom, self._asked(custom, stored, custom.api_version))

    def stored(self, custom: CustomVersion, document: Document) -> Document:
        """A document of this version as it is kept."""
        if custom.storage == custom.api_version:
            return document
        if custom.conversion is None:
            kept = custom_bodies.renamed(document, custom.storage)
        else:
            kept = self._asked(custom, document, custom.storage)
        home = custom.siblings.get(custom.storage.rpartition("/")[2])
        return kept if home is None else custom_bodies.shown_form(home, kept)

    def _asked(self, custom: CustomVersion, document: Document, api_version: str) -> Document:
        found = self._known.get((canonical(document), api_version))
        if found is None:
            raise UnpreparedError(custom, [document], api_version, self)
        return found


class Conversions:
    """Entries of custom resources as a version shows them."""

    def __init__(self, converter: Converter) -> None:
        self._converter = converter

    async def resolve(self, need: UnpreparedError) -> None:
        """Ask for what a write lacks."""
        if need.documents and need.table is not None:
            made = await self._converter.convert(need.custom, need.documents, need.api_version)
            for document, converted in zip(need.documents, made, strict=True):
                need.table.put(document, converted, need.api_version)

    async def shown(self, type: ResourceType, entries: Sequence[Entry]) -> list[Entry]:
        """The entries in the version of `type`; all that a webhook must convert goes in one question."""
        custom = type.custom
        assert custom is not None
        lacking = [entry for entry in entries if shown_at_once(custom, entry) is None]
        if lacking:
            documents = [custom_bodies.stored_form(custom, entry.document) for entry in lacking]
            made = await self._converter.convert(custom, documents, custom.api_version)
            for entry, document in zip(lacking, made, strict=True):
                _keep(custom, entry, custom_bodies.shown_form(custom, document))
        found = [shown_at_once(custom, entry) for entry in entries]
        return [entry for entry in found if entry is not None]


def shown_at_once(custom: CustomVersion, entry: Entry) -> Entry | None:
    """The entry as this version shows it, where no webhook must be asked for it."""
    if entry.shown is not None and entry.shown[0] is custom:
        return entry.shown[1] or entry
    was_parsed = entry.is_parsed
    found = custom_bodies.converted(custom, entry.document)
    if found is None:
        return None
    shown = _keep(custom, entry, found)
    if shown is entry and not was_parsed:
        # Most objects are shown as they are kept, and their bytes say so in a fifth of the memory.
        entry.forget()
    return shown


def _keep(custom: CustomVersion, entry: Entry, document: Document) -> Entry:
    shown = None if document is entry.document else Entry.of(entry.stream, entry.revision, document)
    entry.shown = (custom, shown)
    return shown or entry
