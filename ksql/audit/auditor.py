"""The trail of a request: what the policy says of it, and its records at each stage.

The doors open a trail when a request is let in, aim it once they know what is asked for, and finish it with
the answer. What holds whatever the policy says is here: refusals are kept, and reads of Secrets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ksql.audit.journal import Journal
from ksql.audit.policy import Attributes, Decision, Level, Policy, Stage
from ksql.audit.record import READS, Body, Record
from ksql.audit.sinks import Sink
from ksql.auth.consulted import UndecidedError
from ksql.auth.identity import Authorizer, Question, User
from ksql.auth.rules import compact, missing
from ksql.base.clock import Clock, to_microseconds
from ksql.log.event import Event
from ksql.log.protocol import EventLog

# Correlations of the newest writes, by which an answer is known to have its event: what is appended between
# an append and its answer is a few thousand at most.
WRITES_REMEMBERED = 8_192
# Of a request's address: proxies add theirs; more than these say nothing.
SOURCES_MAX = 16
# A URI may be as long as a head; what is kept of it is what a reader can use.
URI_CHARACTERS_MAX = 2048
MESSAGE_CHARACTERS_MAX = 2048
# Different things of one query that are told of: more than a query's limits let it ask for.
WITHIN_MAX = 1_000
_SECRETS = "secrets"
# Subresources that Kubernetes counts among what goes on for long.
_LONG = frozenset({"attach", "exec", "log", "portforward", "proxy"})
_REFUSED = (401, 403)


@dataclass(slots=True)
class Trail:
    """One request on its way. Bodies are taken only where the policy asks for them."""

    auditor: "Auditor"
    correlation: str
    uri: str
    sources: Sequence[str]
    user_agent: str
    time: int
    user: User | None = None
    asked: Attributes | None = None
    version: str = ""
    decision: Decision = field(default_factory=lambda: Decision(Level.NONE))
    request: Body | None = None
    response: Body | None = None
    # Whether the answer goes on for long: then its beginning is a stage of its own.
    is_long: bool = False
    # What admission noted of it.
    annotations: Mapping[str, str] = field(default_factory=dict)
    _within: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def takes_request(self) -> bool:
        return self.decision.level >= Level.REQUEST

    @property
    def takes_response(self) -> bool:
        return self.decision.level >= Level.REQUEST_RESPONSE

    def aim(
        self, user: User, verb: str, *, group: str = "", version: str = "", resource: str = "",
        subresource: str = "", namespace: str = "", name: str = "", path: str = "",
    ) -> None:  # fmt: skip
        """What is asked for is known."""
        self.user, self.version = user, version
        self.asked = Attributes(
            user.name, user.groups, verb, group, resource, subresource, namespace, name, path
        )
        self.is_long = verb == "watch" or subresource in _LONG
        self.decision = self.auditor.policy.decide(self.asked)
        if self.decision.level is not Level.NONE:
            self.auditor.send(self, Stage.RECEIVED)

    def started(self, code: int) -> None:
        """The answer to a request that goes on for long has begun."""
        self.auditor.conclude(self, Stage.STARTED, code, "", "")

    def within(
        self, user: User, verb: str, group: str, resource: str, namespace: str, name: str, *, code: int,
        reason: str = "", message: str = "", subresource: str = "",
    ) -> None:  # fmt: skip
        """One request asks for many things: this was one of them, told once."""
        said = (verb, group, resource, subresource, namespace, name, str(code))
        if said in self._within or len(self._within) >= WITHIN_MAX:
            return
        self._within.add(said)
        part = Trail(self.auditor, self.correlation, self.uri, self.sources, self.user_agent, self.time, user)
        part.asked = Attributes(user.name, user.groups, verb, group, resource, subresource, namespace, name)
        part.decision = self.auditor.policy.decide(part.asked)
        self.auditor.conclude(part, Stage.COMPLETE, code, reason, message)

    def finished(self, code: int, reason: str = "", message: str = "") -> None:
        """The answer is out."""
        stage = Stage.PANIC if code == 500 and reason == "InternalError" else Stage.COMPLETE
        self.auditor.conclude(self, stage, code, reason, message)


class Auditor:
    """Keeps trails by a policy. Register `fold` with the log before it is opened where `watches_writes`."""

    def __init__(
        self, policy: Policy, log: EventLog, clock: Clock, authorizer: Authorizer, journal: Journal,
        sinks: Sequence[Sink] = (), *, waits: bool = False,
    ) -> None:  # fmt: skip
        self.policy, self._log, self._clock = policy, log, clock
        self._authorizer, self.journal, self.sinks, self._waits = authorizer, journal, sinks, waits
        self._writes: dict[str, None] = {}

    @property
    def watches_writes(self) -> bool:
        """Whether an allowed write can come to a record at all."""
        return bool(self.policy.rules)

    def fold(self, events: Sequence[Event]) -> None:
        """Remember which requests have left an event."""
        writes = self._writes
        for event in events:
            writes[event.correlation] = None
        while len(writes) > WRITES_REMEMBERED:
            del writes[next(iter(writes))]

    async def room(self) -> None:
        """Wait where records must not be lost and there is no room for one."""
        if self._waits and self.journal.is_full:
            await self.journal.room()

    def open(
        self, correlation: str, uri: str, peer: str, user_agent: str, headers: Mapping[bytes, bytes]
    ) -> Trail:
        """A request was let in."""
        return Trail(self, correlation, uri, _sources(peer, headers), user_agent, to_microseconds(self._clock.now()))

    def conclude(self, trail: Trail, stage: Stage, code: int, reason: str, message: str) -> None:
        """Keep a stage of a request, if that is to be done."""
        asked, decision = trail.asked, trail.decision
        is_kept = decision.level is not Level.NONE and stage not in decision.omit_stages
        if not is_kept and not (stage is not Stage.STARTED and _is_kept_always(asked, code)):
            return
        stored = not self._has_event(trail, code)
        record = self._record(trail, stage, code, reason, message)
        if stored:
            self.journal.put(record)
        if is_kept:
            for sink in self.sinks:
                sink.put(record)

    def send(self, trail: Trail, stage: Stage) -> None:
        """Tell the sinks of a request that has come; the journal keeps what became of it."""
        if self.sinks and stage not in trail.decision.omit_stages:
            record = self._record(trail, stage, 0, "", "")
            for sink in self.sinks:
                sink.put(record)

    def _has_event(self, trail: Trail, code: int) -> bool:
        # A request of many parts may have read as well as written, and the event tells of the write alone.
        is_read = trail.asked is not None and trail.asked.verb in READS
        return code < 400 and not is_read and trail.correlation in self._writes

    def _record(self, trail: Trail, stage: Stage, code: int, reason: str, message: str) -> Record:
        asked = trail.asked or Attributes("", (), "", path=trail.uri)
        user = trail.user or User("system:anonymous" if code == 401 else "")
        allowed, rule = self._verdict(trail, code, message)
        return Record(
            max(trail.decision.level, Level.METADATA), stage, trail.correlation, trail.time,
            to_microseconds(self._clock.now()), self._log.head, trail.uri[:URI_CHARACTERS_MAX], asked.verb,
            user.name, user.groups, user.uid, tuple(user.extra.items()), user.impersonator, trail.sources,
            trail.user_agent, asked.group, trail.version, asked.resource, asked.subresource, asked.namespace,
            asked.name, code, reason, message[:MESSAGE_CHARACTERS_MAX],
            "" if allowed is None else "allow" if allowed else "forbid", rule,
            trail.decision.omit_managed_fields,
            # A body may have been announced by a level that the stage does not have yet.
            None if stage is Stage.RECEIVED else trail.request,
            None if stage is Stage.RECEIVED else trail.response,
            annotations={} if stage is Stage.RECEIVED else dict(trail.annotations),
        )  # fmt: skip

    def _verdict(self, trail: Trail, code: int, message: str) -> tuple[bool | None, str]:
        """What authorization says of it, and why: asked again, since it is pure and this is off the way."""
        asked, user = trail.asked, trail.user
        if asked is None or user is None or code == 401:
            return None, ""
        question = Question(
            user, asked.verb, asked.group, asked.resource, asked.subresource, asked.namespace, asked.name,
            "" if asked.resource else asked.path,
        )  # fmt: skip
        try:
            verdict = self._authorizer.authorize(question)
        except UndecidedError:
            # An answer from elsewhere that counts no more: it is not asked for again for the sake of the record.
            return (None, "") if code < 400 else (False, message)
        if verdict.allowed:
            return True, verdict.rule
        # Here, and only here, it is said which rule would have allowed it.
        lacks = f"missing rule {compact(missing(question))}"
        return False, f"{verdict.reason}; {lacks}" if verdict.reason else lacks


def _is_kept_always(asked: Attributes | None, code: int) -> bool:
    """Refusals, also of a write for what it says; and reads of Secrets."""
    if code in _REFUSED:
        return True
    if asked is None or not asked.resource:
        return False
    if asked.verb not in READS:
        return code >= 400
    return asked.resource == _SECRETS and not asked.group


def _sources(peer: str, headers: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """The addresses that a request came by, the peer's own last: what comes before it is the client's word."""
    forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1")
    found = [part.strip() for part in forwarded.split(",") if part.strip()][:SOURCES_MAX]
    real = headers.get(b"x-real-ip", b"").decode("latin-1").strip()
    if real and real not in found:
        found.append(real)
    if peer and (not found or found[-1] != peer):
        found.append(peer)
    return tuple(one[:64] for one in found)
