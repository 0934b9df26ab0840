"""GraphQL's way to let old events of a running server's log go: what `ksql log archive`, `thin` and `drop` ask for.

Only whoever may do it to the whole log may do it to a part: the right is `delete` on the path `/log`.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Protocol

import strawberry

from ksql.auth.authorize import refusal as forbidden
from ksql.auth.identity import Question
from ksql.log.retired import Retirement
from ksql.log.retirement import Plan
from ksql.log.retiring import Action, RetentionError, Rule, checked, seconds
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, changing
from ksql.serve.gql.nodes import Info
from ksql.serve.gql.scalars import Revision
from ksql.serve.gql.values import Entry

PATH = "/log"
# Names in one rule, as in a policy's file.
NAMES_MAX = 100


class Retirer(Protocol):
    """Lets ranges of the log go, one at a time."""

    async def next(self, rules: Sequence[Rule]) -> Retirement | None: ...
    async def foretell(self, rules: Sequence[Rule]) -> Plan | None: ...


@strawberry.enum(description="What becomes of old events.")
class RetireAction(Enum):
    ARCHIVE = strawberry.enum_value("archive", description="They go into files that history goes on reading.")
    THIN = strawberry.enum_value("thin", description="Those that change some fields are archived; the others go.")
    DROP = strawberry.enum_value("drop", description="They go for good.")


@strawberry.input(description="Which old events are to go, and how.")
class RetireInput:
    action: RetireAction = strawberry.field(description="What becomes of them.")
    older_than: str = strawberry.field(description="Sealed so long ago: 30d, 12h, 1w2d.")
    resources: list[str] = strawberry.field(default_factory=list, description="Of these: pods, deployments.apps.")
    namespaces: list[str] = strawberry.field(default_factory=list, description="In these.")
    fields: list[str] = strawberry.field(default_factory=list, description="Of THIN: whose changes stay.")
    dry_run: bool = strawberry.field(default=False, description="Only say what would go.")


@strawberry.type(name="Retirement", description="A range of the log from which events went, or would go.")
class RetirementNode:
    last: Revision = strawberry.field(description="The range's last revision.")
    recorded: Revision | None = strawberry.field(description="The event that records it; null where nothing was done.")
    archive: str | None = strawberry.field(description="The file they went to, on the server; null for none.")
    counts: list[Entry] = strawberry.field(description="How many, by what became of them.")
    events: int | None = strawberry.field(description="Of a dry run: how many would go.")
    kept: int | None = strawberry.field(description="Of a dry run: how many stay, since something living needs them.")
    bytes: int | None = strawberry.field(description="Of a dry run: how many bytes of objects would go.")


@strawberry.type
class Retiring:
    """The change that makes a log smaller."""

    @changing(
        "Let the next range of old events go; null when nothing is that old. Ask again until then: ranges are bounded."
    )
    async def retire(
        self, info: Info, input: Annotated[RetireInput, about("Which events, and how.")]
    ) -> RetirementNode | None:
        ctx = info.context
        _require(ctx)
        rules, retirer = (_rule(input),), ctx.rooms.retirer
        if retirer is None:
            raise refusal("nothing goes from this log: it is a recording, or is not sealed", "NOT_FOUND")
        if input.dry_run:
            found = await retirer.foretell(rules)
            return None if found is None else _foretold(found)
        done = await retirer.next(rules)
        return None if done is None else _done(done)


def _require(ctx: Context) -> None:
    question = Question(ctx.user, "delete", path=PATH)
    verdict = ctx.rooms.pipeline.authorizer.authorize(question)
    if not verdict.allowed:
        raise forbidden(question, verdict)


def _rule(wanted: RetireInput) -> Rule:
    names = (*wanted.resources, *wanted.namespaces, *wanted.fields)
    if len(names) > NAMES_MAX:
        raise refusal(f"a rule has at most {NAMES_MAX} names")
    try:
        rule = Rule(
            Action(str(wanted.action.value)), seconds(wanted.older_than), tuple(wanted.resources),
            tuple(wanted.namespaces), tuple(wanted.fields),
        )  # fmt: skip
        checked(rule, "fields")
    except RetentionError as error:
        raise refusal(str(error)) from None
    return rule


def _counts(counts: dict[str, int]) -> list[Entry]:
    return [Entry(key=key, value=str(number)) for key, number in counts.items() if number]


def _done(done: Retirement) -> RetirementNode:
    return RetirementNode(
        last=Revision(done.last), recorded=Revision(done.event), archive=done.archive or None,
        counts=_counts(done.counts), events=None, kept=None, bytes=None,
    )  # fmt: skip


def _foretold(found: Plan) -> RetirementNode:
    return RetirementNode(
        last=Revision(found.last), recorded=None, archive=None, counts=_counts(found.counts),
        events=len(found.doomed), kept=found.kept, bytes=found.payload_bytes,
    )  # fmt: skip
