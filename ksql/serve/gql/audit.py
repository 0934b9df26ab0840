"""GraphQL's audit: who asked for what and what they were told; changes from the log, the rest from the journal.

An allowed write is its event and stands nowhere else, so a page is put together from both, newest first, by
the revision that each came after. Who may get the path /audit sees all of it, whatever else he may see.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Annotated, Any

import orjson
import strawberry

from ksql.audit.journal import Wanted, unpacked
from ksql.auth.authorize import refusal as forbidden
from ksql.auth.identity import Question
from ksql.base.clock import from_microseconds, to_microseconds
from ksql.history import finding, search
from ksql.history.actors import users_called
from ksql.history.moments import BeforeHorizonError
from ksql.history.search import VERBS, Query
from ksql.log.event import Change, Event
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, resolved
from ksql.serve.gql.nodes import After, First, Info
from ksql.serve.gql.pages import asked, cursor, place
from ksql.serve.gql.scalars import Json, Revision, Timestamp
from ksql.serve.gql.values import PageInfo, page_info

PATH = "/audit"
# What a filter may say of a request; the others speak of objects.
KEYS = ("kind", "ns", "name", "part", "actor", "verb", "since", "until", "request")
READS = ("get", "list", "watch")
VERBS_MAX, CODES_MAX, TEXT_CHARACTERS_MAX = 20, 50, 200


@strawberry.enum(description="What became of a request.")
class AuditOutcome(Enum):
    ALLOWED = strawberry.enum_value("allowed", description="It was done, or answered.")
    REFUSED = strawberry.enum_value("refused", description="It was refused, or failed: a code from 400 on.")


@strawberry.type(description="One request, or one stage of one that goes on for long.")
class AuditEntry:
    time: Timestamp = strawberry.field(description="When the request came.")
    user: str = strawberry.field(description="Who asked, or in whose name.")
    groups: list[str] = strawberry.field(description="Their groups.")
    impersonator: str = strawberry.field(description="Who it was that acted in their name; empty: themselves.")
    user_agent: str = strawberry.field(description="What the client calls itself.")
    source: str = strawberry.field(description="The address that it came from; empty: from within.")
    verb: str = strawberry.field(description="get, list, watch, create, …; of no resource: the method.")
    resource: str = strawberry.field(description="The plural with its group; empty for a plain path.")
    subresource: str = strawberry.field(description="Such as status or exec.")
    namespace: str = strawberry.field(description="Of the object.")
    name: str = strawberry.field(description="Of the object; empty for a list.")
    uri: str = strawberry.field(description="What was asked for, as it was written; empty where an event tells.")
    outcome: AuditOutcome = strawberry.field(description="What became of it.")
    code: int = strawberry.field(description="The code of the answer; 0 while it goes on.")
    reason: str = strawberry.field(description="Why it was refused, in one word.")
    message: str = strawberry.field(description="Why it was refused, or what allowed it.")
    level: str = strawberry.field(description="How much is kept of it: Metadata, Request, RequestResponse, or Event.")
    stage: str = strawberry.field(description="ResponseStarted, ResponseComplete or Panic.")
    correlation: str = strawberry.field(description="The request's id, which its answer carried as Audit-Id.")
    revision: Revision | None = strawberry.field(description="The event that it made.")
    seconds: float | None = strawberry.field(description="How long it took up to this stage.")
    request: Json | None = strawberry.field(description="What was sent, where the policy keeps that.")
    response: Json | None = strawberry.field(description="What was answered, where the policy keeps that.")


@strawberry.type(description="A page of the audit, newest first.")
class AuditPage:
    nodes: list[AuditEntry] = strawberry.field(description="The entries.")
    page_info: PageInfo = strawberry.field(description="Whether there is more.")
    dropped: int = strawberry.field(description="Records that this server could not keep since it started.")
    horizon: Revision = strawberry.field(description="Changes before this revision are no longer in the log.")


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question to both halves."""

    rows: Wanted
    events: finding.Sought | None  # None: no event can match
    source: str


@strawberry.type
class Auditing:
    """The question who asked for what."""

    @resolved("Who asked for what and what they were told: reads, refusals and writes, newest first.")
    async def audit(
        self, info: Info,
        query: Annotated[str, about("kind:Secret ns:shop actor:bob since:1h, as for search.")] = "",
        verbs: Annotated[list[str] | None, about("get, list, watch, create, …: one of these.")] = None,
        outcome: Annotated[AuditOutcome | None, about("Only what was allowed, or refused.")] = None,
        codes: Annotated[list[int] | None, about("Answered with one of these codes.")] = None,
        source: Annotated[str | None, about("From this address.")] = None,
        first: First = None, after: After = None,
    ) -> AuditPage:  # fmt: skip
        ctx, ask = info.context, asked(first, after, None, None)
        _require(ctx)
        journal = ctx.rooms.journal
        if journal is None:
            raise refusal("this server keeps no audit", "NOT_FOUND")
        what = await _asked(ctx, query, verbs or [], outcome, codes or [], source or "")
        event_at, row_at = (0, 0) if ask.after is None else [_number(part) for part in place(ask.after, "u", 2)]
        rows = await journal.read(what.rows, row_at, ask.count + 1)
        events: Sequence[Event] = ()
        is_cut, reached = False, 0
        if what.events is not None and (event_at != 1):
            rooms, sought = ctx.rooms, what.events
            found = await finding.find(
                rooms.log, rooms.images, sought, lambda event: _is_from(event, what.source), event_at, ask.count + 1,
                newest_first=True,
            )  # fmt: skip
            events, is_cut, reached = found.events, found.more, found.reached
        merged = _merged(events, rows, reached if is_cut else 0)
        shown = merged[: ask.count]
        cursors, at = [], (event_at, row_at)
        for one in shown:
            at = (one.revision, at[1]) if isinstance(one, Event) else (at[0], one.id)
            cursors.append(cursor("u", *at))
        more = len(merged) > len(shown) or is_cut
        info_ = page_info(cursors, ask.after is not None, more)
        if is_cut and not shown:
            # Nothing matched as far as was looked: go on from there.
            info_.end_cursor = cursor("u", reached, row_at)
        return AuditPage(
            nodes=[_of_event(one) if isinstance(one, Event) else _of_row(one) for one in shown], page_info=info_,
            dropped=journal.dropped, horizon=Revision(ctx.rooms.log.horizon),
        )  # fmt: skip


def _require(ctx: Context) -> None:
    question = Question(ctx.user, "get", path=PATH)
    verdict = ctx.rooms.pipeline.authorizer.authorize(question)
    if not verdict.allowed:
        raise forbidden(question, verdict)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise refusal("that is no cursor of this connection")
    return int(text)


async def _asked(
    ctx: Context, text: str, verbs: Sequence[str], outcome: AuditOutcome | None, codes: Sequence[int], source: str
) -> _Asked:  # fmt: skip
    if len(verbs) > VERBS_MAX or len(codes) > CODES_MAX or any(len(one) > TEXT_CHARACTERS_MAX for one in verbs):
        raise refusal(f"at most {VERBS_MAX} verbs and {CODES_MAX} codes")
    query = search.parse(text)
    for term in query.terms:
        if term.key not in KEYS:
            known = ", ".join(key for key in KEYS if key != "part")
            raise refusal(f"{term.key}: says nothing of a request; the audit knows {known}")
        if term.negated:
            raise refusal(f"{term.key}: cannot be turned round with - here")
    written = tuple(dict.fromkeys((*query.values("verb"), *[verb.lower() for verb in verbs])))
    rows = await _bounded(ctx, query, _wanted(ctx, query, written, outcome, codes, source))
    is_written = not written or any(verb in VERBS for verb in written)
    is_answered = not codes or any(code in (200, 201) for code in codes)
    if outcome is AuditOutcome.REFUSED or not is_written or not is_answered:
        return _Asked(rows, None, source)
    keys = {word: ctx.type(word).key for word in query.values("kind")}
    actors = query.values("actor")
    user = await ctx.actor(actors[0]) if len(actors) == 1 else None
    sought = finding.sought(query, keys, user, None)
    if written:
        sought = replace(sought, where=replace(sought.where, verbs=tuple(v for v in written if v in VERBS)))
    return _Asked(rows, replace(sought, **await _span(ctx, query)), source)


def _wanted(
    ctx: Context, query: Query, verbs: tuple[str, ...], outcome: AuditOutcome | None, codes: Sequence[int], source: str
) -> Wanted:  # fmt: skip
    names = (*query.values("name"), *[f"*{part}*" for part in query.values("part")])
    return Wanted(
        users=tuple(user for name in query.values("actor") for user in users_called(name)), verbs=verbs,
        resources=tuple(ctx.type(word).key for word in query.values("kind")), namespaces=query.values("ns"),
        names=names, source=source, correlation=query.one("request") or "", codes=tuple(codes),
        refused=None if outcome is None else outcome is AuditOutcome.REFUSED,
    )  # fmt: skip


async def _bounded(ctx: Context, query: Query, wanted: Wanted) -> Wanted:
    """The same between the moments that the query gives."""
    for key, instant_field, revision_field in (("since", "since", "lowest"), ("until", "until", "highest")):
        text = query.one(key)
        if text is None:
            continue
        try:
            instant = await ctx.instant(text)
        except BeforeHorizonError:
            continue
        change: dict[str, Any]
        if instant.time is not None and not text.lower().removeprefix("r").isdecimal():
            change = {instant_field: to_microseconds(instant.time)}
        else:
            change = {revision_field: instant.revision}
        wanted = replace(wanted, **change)
    return wanted


async def _span(ctx: Context, query: Query) -> dict[str, Any]:
    """The revisions between which the query looks."""
    found: dict[str, Any] = {}
    for key, name in (("since", "lowest"), ("until", "highest")):
        text = query.one(key)
        if text is None:
            continue
        try:
            instant = await ctx.instant(text)
        except BeforeHorizonError:
            continue
        # The state at an instant is older than what was done after it.
        is_time = key == "since" and not text.lower().removeprefix("r").isdecimal()
        found[name] = instant.revision + 1 if is_time else instant.revision
    return found


def _is_from(event: Event, source: str) -> bool:
    return not source or event.actor.source == source


def _merged(events: Sequence[Event], rows: Sequence[Any], reached: int) -> list[Any]:
    """Both, newest first. Rows older than where the search for events stopped wait for the next page."""
    fresh = [row for row in rows if row.revision >= reached]
    ordered = [((event.revision, 0, 0), event) for event in events]
    ordered += [((row.revision, 1, row.id), row) for row in fresh]
    ordered.sort(key=lambda pair: pair[0], reverse=True)
    return [one for _, one in ordered]


def _of_event(event: Event) -> AuditEntry:
    actor, stream = event.actor, event.stream
    return AuditEntry(
        time=_time(event.time), user=actor.user, groups=list(actor.groups), impersonator=actor.impersonator,
        user_agent=actor.user_agent, source=actor.source, verb=event.verb, resource=stream.resource,
        subresource=event.subresource, namespace=stream.namespace, name=stream.name, uri="",
        outcome=AuditOutcome.ALLOWED, code=201 if event.change is Change.ADDED else 200, reason="", message="",
        level="Event", stage="ResponseComplete", correlation=event.correlation, revision=Revision(event.revision),
        seconds=None, request=None, response=None,
    )  # fmt: skip


def _of_row(row: Any) -> AuditEntry:
    request, response = unpacked(row.bodies)
    return AuditEntry(
        time=_time(from_microseconds(row.time)), user=row.user, groups=orjson.loads(row.groups),
        impersonator=row.impersonator, user_agent=row.user_agent, source=row.source, verb=row.verb,
        resource=row.resource, subresource=row.subresource, namespace=row.namespace, name=row.name, uri=row.uri,
        outcome=AuditOutcome.REFUSED if row.code >= 400 else AuditOutcome.ALLOWED, code=row.code, reason=row.reason,
        message=row.message, level=row.level, stage=row.stage, correlation=row.correlation, revision=None,
        seconds=(row.reached - row.time) / 1e6, request=request, response=response,
    )  # fmt: skip


def _time(instant: datetime) -> Timestamp:
    return Timestamp(instant)
