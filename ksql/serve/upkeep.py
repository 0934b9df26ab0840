"""Objects that the API server itself keeps: made at start, made again when they go, set right when changed.

A plan looks at what is and says what is wanted; the keeper writes it through the pipeline as the server
itself, at once when the resources it watches change. A plan that is carried out and made again is empty,
so a settled cluster writes nothing; what the server adds to a document on its way in is remembered, so
that the keeper never quarrels with it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ksql.base.clock import Clock
from ksql.base.documents import Document, canonical
from ksql.base.tasks import Tasks
from ksql.schema.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from ksql.verbs.bootstrap import APISERVER, APISERVER_AGENT
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Request

logger = logging.getLogger(__name__)

# Before a write that failed is planned again.
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wish:
    """One write: `verb` is create, update or delete; the document is whole, but for apiVersion and kind."""

    verb: str
    resource: str
    document: Document
    subresource: str = ""


Plan = Callable[[], Sequence[Wish]]


class Keeper:
    """Carries out one plan, again and again."""

    def __init__(self, name: str, pipeline: Pipeline, clock: Clock, resources: Sequence[str], plan: Plan) -> None:
        self._name, self._pipeline, self._clock, self._plan = name, pipeline, clock, plan
        self._changed = asyncio.Event()
        # What was last written over each object, and the revision that came of it.
        self._made: dict[tuple[str, str, str, str], tuple[bytes, int]] = {}
        self._tasks = Tasks()
        for resource in resources:
            pipeline.objects.listen(resource, self._changed.set)

    async def start(self) -> None:
        """Carry the plan out once, then go on beside everything else."""
        await self._round()
        self._tasks.start(self._name, self._run())

    async def aclose(self) -> None:
        await self._tasks.aclose()

    def wake(self) -> None:
        """Something else has changed that the plan looks at."""
        self._changed.set()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            if not await self._round():
                await self._clock.sleep(RETRY_SECONDS)
                self._changed.set()

    async def _round(self) -> bool:
        """Whether all that was wanted was written."""
        is_done = True
        while self._changed.is_set() or is_done:
            self._changed.clear()
            wishes = [wish for wish in self._plan() if not self._is_futile(wish)]
            if not wishes:
                return is_done
            # Side by side: one commit carries many.
            is_done = all(await asyncio.gather(*map(self._carry_out, wishes)))
            if not is_done:
                return False
        return is_done

    def _is_futile(self, wish: Wish) -> bool:
        """Whether just this was written, and what the object came to since is the server's own addition."""
        key = _key(wish)
        return wish.verb == "update" and self._made.get(key) == (_body(wish), self._revision(wish))

    def _revision(self, wish: Wish) -> int:
        metadata = wish.document["metadata"]
        entry = self._pipeline.objects.get(wish.resource, metadata.get("namespace", ""), metadata["name"])
        return entry.revision if entry is not None else 0

    async def _carry_out(self, wish: Wish) -> bool:
        try:
            await perform(self._pipeline, wish)
            if wish.verb == "update":
                self._made[_key(wish)] = (_body(wish), self._revision(wish))
        except (AlreadyExistsError, ConflictError, NotFoundError):
            # Somebody else was faster; the next look will tell.
            self._changed.set()
        except ApiError as error:
            logger.warning("%s: %s %s: %s", self._name, wish.verb, wish.resource, error)
            return False
        return True


def _key(wish: Wish) -> tuple[str, str, str, str]:
    metadata = wish.document["metadata"]
    return wish.resource, metadata.get("namespace", ""), metadata["name"], wish.subresource


def _body(wish: Wish) -> bytes:
    """What a wish is about: all but the metadata, which every write changes."""
    return canonical({key: value for key, value in wish.document.items() if key != "metadata"})


async def perform(pipeline: Pipeline, wish: Wish) -> None:
    """Write as the API server itself."""
    type = pipeline.catalogue.by_key(wish.resource)
    metadata = wish.document["metadata"]
    name = "" if wish.verb == "create" else metadata["name"]
    body = None
    if wish.verb != "delete":
        body = {**wish.document, "apiVersion": type.api_version, "kind": type.kind}
    request = Request(
        APISERVER, wish.verb, type, metadata.get("namespace", ""), name, wish.subresource, body=body,
        user_agent=APISERVER_AGENT,
    )  # fmt: skip
    await pipeline.perform(request)
