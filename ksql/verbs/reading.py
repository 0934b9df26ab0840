"""Get and list over a state, whichever: the present in memory or the cluster as it was at a moment.

`State` is all that reads need to know of a state. What comes after it (versions converted, subresources shown,
what is missing told) is the same code for the present and for the past, so the two cannot drift apart.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from ksql.schema.errors import NotImplementedYetError
from ksql.schema.resources import ResourceType
from ksql.state.entry import Entry, Frame
from ksql.verbs import customwrites, refusals, shaping, subresources
from ksql.verbs.conversion import Conversions
from ksql.verbs.request import Page, Request, Result, Selection
from ksql.verbs.selection import Matcher


class State(Protocol):
    """What is, or what was."""

    async def get(self, resource: str, namespace: str, name: str) -> Entry | None:
        """One object; None when there is none."""

    async def listed(self, resource: str, namespace: str) -> Sequence[Entry]:
        """All of a resource (of one namespace) by namespace and name."""

    async def page(self, resource: str, matcher: Matcher, selection: Selection) -> Page:
        """A list of what is meant, or one page of it."""


class Reading:
    """Answers from one state. Whether somebody may ask is decided before."""

    def __init__(self, state: State, conversions: Conversions) -> None:
        self.state, self.conversions = state, conversions

    async def get(self, request: Request) -> Result:
        """One object or its subresource."""
        type = request.type
        entry = await self.state.get(type.key, request.namespace, request.name)
        if entry is None:
            raise refusals.not_found(type, request.name)
        if request.subresource == "scale" and type.custom is not None:
            shown = (await self.conversions.shown(type, [entry]))[0]
            return Result(document=customwrites.scale_of(type.custom, shown.document, str(entry.revision)))
        if request.subresource == "scale":
            return Result(document=subresources.scale_of(entry.document, str(entry.revision)))
        if request.subresource not in subresources.READABLE:
            raise NotImplementedYetError(f"{type.resource}/{request.subresource} is not implemented yet")
        return Result(entry=(await self.shown(type, [entry]))[0])

    async def page(self, request: Request, selection: Selection) -> Page:
        """A list, or one page of it."""
        type = request.type
        matcher = Matcher(type, request.namespace, selection)
        if matcher.asks_a_webhook:
            await self.conversions.shown(type, await self.state.listed(type.key, matcher.namespace))
        page = await self.state.page(type.key, matcher, selection)
        if shaping.is_storage(type) and type.custom is None:
            return page
        entries = await self.shown(type, page.entries)
        return Page(entries, page.revision, page.continue_token, page.remaining)

    async def shown(self, type: ResourceType, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The entries in the version that is spoken."""
        if type.custom is not None:
            return await self.conversions.shown(type, entries)
        if shaping.is_storage(type):
            return entries
        return [self._served(type, entry) for entry in entries]

    def _served(self, type: ResourceType, entry: Entry) -> Entry:
        return Entry.of(entry.stream, entry.revision, shaping.served(type, entry.document))

    def frames(
        self, type: ResourceType, batches: AsyncIterator[Sequence[Frame]]
    ) -> AsyncIterator[Sequence[Frame]]:
        """The frames of a watch with their objects in the version that is spoken."""
        if type.custom is None and shaping.is_storage(type):
            return batches
        return self._converted(type, batches)

    async def _converted(
        self, type: ResourceType, batches: AsyncIterator[Sequence[Frame]]
    ) -> AsyncIterator[Sequence[Frame]]:
        async for frames in batches:
            shown = iter(await self.shown(type, [f.entry for f in frames if f.entry is not None]))
            yield [frame if frame.entry is None else frame.showing(next(shown)) for frame in frames]
