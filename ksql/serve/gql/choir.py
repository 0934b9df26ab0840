"""One evaluation for all who follow the same: a selection is a voice, its followers hear what it said.

A thousand windows of a dashboard subscribe to the same selection. Each is brought to the present by a source of its
own (its beginning is its own), and from there listens to one voice, which follows the log once, evaluates the
selection once and keeps what it said, printed, in a bounded ring. A follower holds no queue, only a place in the
ring: one that falls out of it was too slow, is told so and closed, and resumes by revision.

The same is: the same document, operation and variables (but for where to begin), the same schema, zone and user.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

from graphql import DocumentNode, FieldNode, OperationDefinitionNode, VariableNode, Visitor, visit

from ksql.audit.auditor import WITHIN_MAX
from ksql.base.clock import Clock
from ksql.base.documents import canonical
from ksql.serve.gql.course import Course
from ksql.serve.gql.figures import Figures
from ksql.serve.watches import BUSY_GATHERINGS, Pace
from ksql.state.window import Bell

# What a voice keeps for followers that are behind: some seconds of a busy cluster, and no more memory than this.
PAYLOADS_KEPT_MAX = 4_096
BYTES_KEPT_MAX = 16 * 1024 * 1024
# What goes out to a follower at once: the memory that one which stops reading costs.
STRETCH_BYTES_MAX = 256 * 1024
# Joined forms of the newest stretches, for followers of the same kind of connection at the same place.
FORMS_KEPT_MAX = 8

# What a voice says: printed answers with the revision that each reaches.
Said = tuple[int, bytes]
Sing = Callable[[Course, "Echo"], AsyncIterator[Said]]


class TooSlowError(Exception):
    """A follower is further behind than is kept for it."""


class Echo:
    """What an evaluation that many share would tell the audit: it is told for each of them."""

    def __init__(self) -> None:
        self.said: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._known: set[str] = set()

    def within(self, *what: Any, **how: Any) -> None:
        """As of a trail (`ksql/audit/auditor.py`), which tells each thing once."""
        key = repr((what, sorted(how.items())))
        if key not in self._known and len(self.said) < WITHIN_MAX:
            self._known.add(key)
            self.said.append((what, how))


class Voice:
    """One selection, evaluated once for everybody who follows it."""

    def __init__(self, sing: Sing, start: int, figures: Figures) -> None:
        self._figures = figures
        self.course, self.echo = Course(resume=start, position=start, taken=start), Echo()
        self.followers = 0
        self.floor = start  # whoever has heard everything up to here can go on with what is kept
        self.bell = Bell()
        self._sing = sing
        self._start = 0  # the number of the oldest kept
        self._said: list[Said] = []
        self._bytes = 0
        self.is_over = False
        self.error: BaseException | None = None
        self._forms: dict[tuple[int, int, object], object] = {}
        self._task = asyncio.get_running_loop().create_task(self._run(), name="voice")

    @property
    def end(self) -> int:
        return self._start + len(self._said)

    async def _run(self) -> None:
        try:
            async for said in self._sing(self.course, self.echo):
                self._keep(said)
                self._figures.evaluated += 1
                self.bell.strike()
        except Exception as error:
            self.error = error
        finally:
            self.is_over = True
            self.bell.strike()

    def _keep(self, said: Said) -> None:
        self._said.append(said)
        self._bytes += len(said[1])
        while len(self._said) > PAYLOADS_KEPT_MAX or (self._bytes > BYTES_KEPT_MAX and len(self._said) > 1):
            revision, data = self._said.pop(0)
            self._start += 1
            self._bytes -= len(data)
            self.floor = max(self.floor, revision)

    def number_after(self, revision: int) -> int:
        """The number of the first that goes beyond a revision."""
        return self._start + bisect_right(self._said, revision, key=lambda said: said[0])

    def since(self, number: int) -> list[Said]:
        """What was said from a number on, as much as goes out at once; `TooSlowError` when some of it has gone."""
        if number < self._start:
            raise TooSlowError
        first, size = number - self._start, 0
        for at in range(first, len(self._said)):
            size += len(self._said[at][1])
            if size > STRETCH_BYTES_MAX and at > first:
                return self._said[first:at]
        return self._said[first:]

    def form(self, first: int, last: int, kind: object, make: Callable[[], Any]) -> Any:
        """What was said from `first` up to `last` in a form that others want too; made once."""
        key = (first, last, kind)
        found = self._forms.get(key)
        if found is None:
            while len(self._forms) >= FORMS_KEPT_MAX:
                del self._forms[next(iter(self._forms))]
            found = self._forms[key] = make()
        return found

    async def aclose(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


class Stretch:
    """What one follower is to hear next."""

    __slots__ = ("first", "last", "said", "voice")

    def __init__(self, voice: Voice, first: int, said: list[Said]) -> None:
        self.voice, self.first, self.last, self.said = voice, first, first + len(said), said

    def form(self, kind: object, make: Callable[[list[Said]], Any]) -> Any:
        return self.voice.form(self.first, self.last, kind, lambda: make(self.said))


class Choir:
    """All voices of a server."""

    def __init__(self, clock: Clock, figures: Figures | None = None) -> None:
        self._clock, self.figures = clock, figures or Figures()
        self.figures.following = lambda: (self.voices, self.followers)
        self._voices: dict[object, Voice] = {}
        self._pace = Pace()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def voices(self) -> int:
        return len(self._voices)

    @property
    def followers(self) -> int:
        return sum(voice.followers for voice in self._voices.values())

    async def follow(
        self, key: object, sing: Sing, catch_up: Callable[[Course], AsyncIterator[Said]], after: int
    ) -> AsyncIterator[Stretch | Said]:
        """Everything beyond a revision, for whoever has come to the present by himself.

        What lies between his place and the voice's he is told by a source of his own, one by one.
        """
        voice = self._voices.get(key)
        if voice is None or voice.is_over:
            voice = self._voices[key] = Voice(sing, after, self.figures)
        voice.followers += 1
        try:
            fits = after >= voice.course.taken
            while not fits or after < voice.floor:
                # The voice is further: it may be telling changes together between which this place lies.
                course = Course(resume=after, until=voice.course.taken)
                async for said in catch_up(course):
                    yield said
                if not course.is_present:
                    # It has ended for a reason of its own, and said so.
                    return
                after, fits = course.position, True
            voice.course.marks.add(after)
            async for stretch in self._listen(voice, after):
                yield stretch
        finally:
            self._leave(key, voice)

    async def _listen(self, voice: Voice, after: int) -> AsyncIterator[Stretch]:
        number, told = voice.number_after(after), 0.0
        while True:
            said = voice.since(number)
            # What the voice had not said yet when he came may still lie before his place.
            while said and said[0][0] <= after:
                number, said = number + 1, said[1:]
            if not said:
                if voice.is_over:
                    if voice.error is not None:
                        raise voice.error
                    return
                await voice.bell.wait()
                continue
            self.figures.delivered += len(said)
            yield Stretch(voice, number, said)
            number += len(said)
            if number < voice.end:
                continue
            now = self._clock.monotonic()
            if now - told < BUSY_GATHERINGS * self._pace.seconds(voice.followers):
                await self._pace.tick(voice.followers)
                now = self._clock.monotonic()
            told = now

    def _leave(self, key: object, voice: Voice) -> None:
        voice.followers -= 1
        if voice.followers:
            return
        if self._voices.get(key) is voice:
            del self._voices[key]
        task = asyncio.get_running_loop().create_task(voice.aclose(), name="voice ends")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


# --- what is the same


class _Uses(Visitor):
    """Counts how often each variable is used."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        self.counts[node.name.value] = self.counts.get(node.name.value, 0) + 1


def shared(document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any] | None) -> bytes:
    """The variables by which followers of one document differ: all but one that only says where to begin."""
    uses = _Uses()
    visit(document, uses)
    own = set()
    for field in operation.selection_set.selections:
        if isinstance(field, FieldNode):
            for argument in field.arguments or ():
                if argument.name.value == "after" and isinstance(argument.value, VariableNode):
                    own.add(argument.value.name.value)
    # Its definition is one use, the argument the other.
    given = {k: v for k, v in (variables or {}).items() if not (k in own and uses.counts.get(k, 0) <= 2)}
    return canonical(given)
