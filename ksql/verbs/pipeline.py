"""The one door for writes, and for reads too: authorize, then answer from memory or walk to the log.

A write is prepared outside the lock against memory (patch, structure, defaults, admission, validation)
and decided under it against exact state: when the object has moved meanwhile it is prepared once more,
so concurrent patches all land. A dry run walks the same way against a rehearsal that is never appended.
`writes.py` holds the plans of the verbs, `reading.py` gets and lists, `watching.py` watches.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from ksql.auth.authenticate import Authenticator
from ksql.auth.authorize import refusal
from ksql.auth.identity import Authorizer
from ksql.auth.tokens import Tokens, make_key
from ksql.base.clock import Clock, new_uid
from ksql.base.documents import Document, lookup
from ksql.log.event import Actor, Draft, Event
from ksql.log.protocol import Batch, EventLog, LogUnavailableError, LogUncertainError
from ksql.schema import structure
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import NotFoundError, NotImplementedYetError, TimedOutError, UnavailableError
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.state.entry import Entry, Frame
from ksql.state.objects import Objects
from ksql.verbs import (
    components,
    customwrites,
    freshness,
    managing,
    noderestriction,
    permissions,
    quota,
    reviews,
    shaping,
    subresources,
    tokens,
)
from ksql.verbs.allocation import SERVICE_RANGE, Allocations
from ksql.verbs.conversion import Conversions, Converter, NoConverter, UnpreparedError
from ksql.verbs.decider import Author, Outcome
from ksql.verbs.definitions import Definitions
from ksql.verbs.deletion import ANSWERS_WITH_OBJECT, success
from ksql.verbs.guards import forms
from ksql.verbs.guards.review import Caller, Desk, NoCaller, Review, UnreviewedError
from ksql.verbs.guards.table import Guards
from ksql.verbs.paging import Pager
from ksql.verbs.podsecuritysettings import Standards
from ksql.verbs.reading import Reading
from ksql.verbs.request import Page, Request, Result, Selection
from ksql.verbs.selection import Matcher
from ksql.verbs.view import Rehearsal, View
from ksql.verbs.watching import open_watch
from ksql.verbs.writes import Delete, Ground, Plan, is_dry

# Objects that one transaction of a deletecollection takes: long enough to spread the cost of a commit,
# short enough that other writers hardly notice.
DELETE_COLLECTION_BATCH = 500
# How often one write is prepared: its object may move, and each version of it may have to be converted.
PREPARED_MAX = 16
# Different actors kept for reuse; a cluster has a few per component and person.
ACTORS_MAX = 4096


class Pipeline:
    """Every door's way in. `perform` for one object, `page` for lists, `watch` for feeds."""

    def __init__(
        self,
        log: EventLog,
        objects: Objects,
        catalogue: Catalogue,
        authorizer: Authorizer,
        clock: Clock,
        *,
        service_range: str = SERVICE_RANGE,
        authenticator: Authenticator | None = None,
        converter: Converter | None = None,
        caller: Caller | None = None,
        standards: Standards | None = None,
    ) -> None:
        self.log, self.objects, self.catalogue = log, objects, catalogue
        self.authorizer, self.clock = authorizer, clock
        # A cluster that lives in memory alone may sign with a key that dies with it.
        self.authenticator = authenticator or Authenticator(
            clock, {}, Tokens(make_key(), clock, objects.document)
        )
        # What `kubectl get componentstatuses` tells of; the roof adds the other parts.
        self.components: dict[str, components.Check] = {"event-log": self._log_health}
        self._definitions = Definitions(objects, catalogue)
        self._conversions = Conversions(converter or NoConverter())
        self._pager = Pager(objects, log, clock)
        self.reading = Reading(self._pager, self._conversions)
        self._desk = Desk(Guards(objects, catalogue), catalogue, authorizer, caller or NoCaller(), clock)
        allocations = Allocations(objects, service_range)
        self._ground = Ground(
            catalogue, clock, allocations, self.authorize, self._desk, standards or Standards(), authorizer
        )
        self._actors: dict[tuple[str, tuple[str, ...], str, str, str], Actor] = {}

    @property
    def service_range(self) -> str:
        """The addresses that Services are given."""
        return str(self._ground.allocations.network)

    @property
    def first_service_address(self) -> str:
        """The first address of the service range: the API server's own."""
        return str(self._ground.allocations.network[1])

    def _log_health(self) -> str:
        return "" if self.objects.revision >= self.log.head else "the state is not loaded yet"

    # --- single objects

    async def perform(self, request: Request) -> Result:
        """get, create, update, patch or delete one object or its subresource."""
        if request.verb == "create" and request.type.key in reviews.KINDS:
            return await self._reviewed(request)
        self.authorize(request)
        if request.verb == "get":
            return await self._get(request)
        if request.subresource == "token":
            return await self._token(request)
        plan = customwrites.plan_of(request, self._ground)
        outcome, entry = await self._write(request, plan)
        return await self._answer(request, outcome, entry)

    def authorize(self, request: Request, selection: Selection | None = None) -> None:
        """`ForbiddenError` unless the user may."""
        question = permissions.question(request, selection)
        verdict = self.authorizer.authorize(question)
        if not verdict.allowed:
            raise refusal(question, verdict)

    async def _reviewed(self, request: Request) -> Result:
        """A question about identity or permission answered; nothing is stored and nothing logged."""
        self.authorize(request)
        body, warnings = structure.check(
            self.catalogue, request.type, request.body, request.options.field_validation, request.repeats
        )
        request.warnings.extend(one for one in warnings if one not in request.warnings)
        if request.type.resource == "tokenreviews" and self.authenticator is not None:
            token = str(lookup(body, "spec", "token", default=""))
            await self.authenticator.consult_token(token.encode())
        answerer = reviews.Answerer(self.authorizer, self.authenticator, self.catalogue, self.clock)
        document = reviews.answered(request, body, answerer)
        return Result(document=document, created=True, warnings=tuple(request.warnings))

    async def reviewed(
        self, request: Request, operation: str, kind: GroupVersionKind, document: Document
    ) -> Document:
        """Something that is asked for and kept nowhere (a token, a conversation), after its guards."""
        review, form = Review(self._desk, request), forms.of_body(operation, kind)
        for _ in range(PREPARED_MAX):
            if not review.concerns:
                break
            try:
                made = review.mutated(self._rehearsal(), form, document, None, lambda same: same)
                assert made is not None
                review.validated(self._rehearsal(), form, made, None)
                return made
            except UnreviewedError as need:
                await need.ask()
        return document

    async def _token(self, request: Request) -> Result:
        """A service account's token, signed and handed over."""
        accounts = self.authenticator.accounts
        if request.type.key != "serviceaccounts" or accounts is None:
            raise NotImplementedYetError("this server has no key to sign tokens with")
        if self._desk.guards.any(request.type) and isinstance(request.body, dict):
            body = await self.reviewed(request, "CREATE", tokens.TOKEN_REQUEST, request.body)
            request = replace(request, body=body)
        noderestriction.review(request, request.type, request.body, None, self._rehearsal())
        document = tokens.answered(request, self.catalogue, accounts, self.objects.document, self.clock)
        return Result(document=document, created=True, warnings=tuple(request.warnings))

    async def _get(self, request: Request) -> Result:
        type = request.type
        if type.key == components.KEY:
            request.warnings.append(components.DEPRECATED)
            document = components.get(request, self.components)
            return Result(document=document, warnings=tuple(request.warnings))
        return await self.reading.get(request)

    # --- writes

    async def _write(self, request: Request, plan: Plan) -> tuple[Outcome, Entry | None]:
        """The outcome and, unless nothing was appended, the entry it led to."""
        for _ in range(PREPARED_MAX):
            try:
                return await self._attempt(request, plan)
            except UnreviewedError as need:
                await need.ask()
            except UnpreparedError as need:
                await self._conversions.resolve(need)
        return await self._attempt(request, plan)

    async def _attempt(self, request: Request, plan: Plan) -> tuple[Outcome, Entry | None]:
        plan.prepare(self._rehearsal())
        if request.options.dry_run or is_dry(plan):
            view, author = self._rehearsal(), self.author(request)
            outcome = plan.decide(view, author)
            quota.settled(outcome.drafts, self.catalogue, author, view)
            return outcome, None
        outcome, events = await self._append(plan, self.author(request))
        if not events:
            return outcome, outcome.current or self.objects.by_uid(outcome.stream.uid)
        return outcome, self._entry_of(events[-1])

    def _rehearsal(self) -> View:
        return View(self.objects, Rehearsal(self.objects.revision + 1, self.clock.now()))

    async def _append(self, plan: Plan, author: Author) -> tuple[Outcome, Sequence[Event]]:
        outcome: Outcome | None = None

        def decide(batch: Batch) -> Sequence[Draft]:
            nonlocal outcome
            view = View(self.objects, batch)
            outcome = plan.decide(view, author)
            return quota.settled(outcome.drafts, self.catalogue, author, view)

        events = await self._appended(decide)
        assert outcome is not None
        return outcome, events

    async def _appended(self, decide: Callable[[Batch], Sequence[Draft]]) -> Sequence[Event]:
        try:
            return await self.log.append(decide)
        except LogUncertainError as error:
            raise TimedOutError(f"the change may or may not have been made: {error}") from error
        except LogUnavailableError as error:
            raise UnavailableError(f"the event log cannot be written now: {error}") from error

    def _entry_of(self, event: Event) -> Entry:
        """The kept entry of an event, whose bytes others may want too; another when it has moved on."""
        entry = self.objects.by_uid(event.stream.uid)
        return entry if entry is not None and entry.revision == event.revision else Entry(event)

    def author(self, request: Request) -> Author:
        """Who writes and why, as each event of the request will say."""
        user = request.user
        key = (user.name, user.groups, user.impersonator, request.user_agent, request.source)
        actor = self._actors.get(key)
        if actor is None:
            if len(self._actors) >= ACTORS_MAX:
                self._actors.clear()
            actor = self._actors[key] = Actor(*key)
        manager = managing.manager_of(request)
        verb = "apply" if request.patch_type == "apply" else request.verb
        correlation = request.correlation or new_uid(self.clock)
        return Author(actor, verb, request.subresource, manager, request.cause, correlation)

    async def _answer(self, request: Request, outcome: Outcome, entry: Entry | None) -> Result:
        type = request.type
        warnings = tuple(request.warnings)
        if request.subresource in subresources.ANSWERS_STATUS or type.key == "bindings":
            return Result(document=subresources.CREATED, created=True, warnings=warnings)
        if request.subresource == "scale":
            revision = str(entry.revision) if entry else outcome.current_revision
            if type.custom is not None:
                shown = await self._converted_document(type, outcome)
                scale = customwrites.scale_of(type.custom, shown, revision)
                return Result(document=scale, warnings=warnings)
            document = subresources.scale_of(outcome.document, revision)
            return Result(document=document, warnings=warnings)
        if request.verb == "delete" and outcome.deleted and type.key not in ANSWERS_WITH_OBJECT:
            document = success(type, outcome.stream.name, outcome.stream.uid)
            return Result(document=document, deleted=True, warnings=warnings)
        if entry is None:
            if type.custom is not None:
                document = await self._converted_document(type, outcome)
            else:
                document = shaping.served(type, outcome.image())
            return Result(None, document, outcome.created, outcome.deleted, warnings)
        shown_entry = (await self.reading.shown(type, [entry]))[0]
        return Result(shown_entry, None, outcome.created, outcome.deleted, warnings)

    async def _converted_document(self, type: ResourceType, outcome: Outcome) -> Document:
        """The object that a decision came to, in the version that is spoken."""
        revision = outcome.current.revision if outcome.current is not None else 0
        shown = await self._conversions.shown(type, [Entry.of(outcome.stream, revision, outcome.image())])
        return shown[0].document

    async def wait_for(self, version: str) -> None:
        """Until what is answered is not older than a resourceVersion; 504 when that does not come in time."""
        await self._pager.wait_for(freshness.parse(version))

    # --- many objects

    async def page(self, request: Request, selection: Selection) -> Page:
        """A list, or one page of it."""
        self.authorize(request, selection)
        return await self._page(request, selection)

    async def _page(self, request: Request, selection: Selection) -> Page:
        type = request.type
        if type.key == components.KEY:
            return components.page(request, selection, self.components, self.objects.revision)
        return await self.reading.page(request, selection)

    async def delete_collection(self, request: Request, selection: Selection) -> Page:
        """Delete all that is meant; answers what was asked to go."""
        self.authorize(request, selection)
        page = await self._page(request, selection)
        if self._desk.guards.any(request.type):
            await self._delete_each(request, page.entries)
            return page
        author = self.author(request)
        for first in range(0, len(page.entries), DELETE_COLLECTION_BATCH):
            entries = page.entries[first : first + DELETE_COLLECTION_BATCH]
            decide = self._deleting(request, author, [entry.stream.uid for entry in entries])
            if request.options.dry_run:
                decide(Rehearsal(self.objects.revision + 1, self.clock.now()))
            else:
                await self._appended(decide)
        return page

    async def _delete_each(self, request: Request, entries: Sequence[Entry]) -> None:
        """Delete objects one by one, since guards are asked about each."""
        for entry in entries:
            stream = entry.stream
            options = replace(request.options, precondition_uid=stream.uid)
            one = replace(request, namespace=stream.namespace, name=stream.name, options=options)
            # One that has gone meanwhile is as gone as was asked.
            if self.objects.by_uid(stream.uid) is not None:
                with suppress(NotFoundError):
                    await self._write(one, Delete(one, self._ground))

    def _deleting(
        self, request: Request, author: Author, uids: Sequence[str]
    ) -> Callable[[Batch], Sequence[Draft]]:
        def decide(batch: Batch) -> Sequence[Draft]:
            view = View(self.objects, batch)
            drafts: list[Draft] = []
            for uid in uids:
                # One that has gone meanwhile is as gone as was asked.
                entry = self.objects.by_uid(uid)
                if entry is None:
                    continue
                current = view.get(*entry.key)
                if current is not None and current.stream.uid == uid:
                    outcome = self._ground.delete(author, request.type, current, request.options, view)
                    drafts += outcome.drafts
            return quota.settled(drafts, self.catalogue, author, view)

        return decide

    def watch(self, request: Request, selection: Selection) -> AsyncIterator[Sequence[Frame]]:
        """Batches of frames; refusals that can be known at once are raised here, not in the iteration."""
        self.authorize(request, selection)
        matcher = Matcher(request.type, request.namespace, selection)
        frames = open_watch(
            self.objects, self.clock, request.type.key, matcher, selection, self._pager.wait_for,
            self._is_over(request.type), self._preparing(request.type) if matcher.asks_a_webhook else None,
        )  # fmt: skip
        return self.reading.frames(request.type, frames)

    def _preparing(self, type: ResourceType) -> Callable[[Sequence[Entry]], Awaitable[object]]:
        return lambda entries: self._conversions.shown(type, entries)

    def _is_over(self, type: ResourceType) -> Callable[[], bool]:
        custom = type.custom
        return lambda: custom is not None and custom.is_over
