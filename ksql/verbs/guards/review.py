"""One write before its guards: what they are asked, what they answered, and the object after them.

A plan calls `mutated` and `validated` with what it has prepared. Where only policies are for it, they are evaluated
on the spot; where a webhook is, or where the head is held, `UnreviewedError` leads out: the pipeline calls `ask` and
prepares the plan anew, which then finds the answers. They are remembered by what was asked, so that what changed
meanwhile is asked anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from ksql.auth.identity import Authorizer
from ksql.base.clock import Clock, new_uid
from ksql.base.documents import Document, canonical, encode, lookup
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import ApiError, InternalError
from ksql.schema.patches import jsonpatch
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.verbs import refusals
from ksql.verbs.conversion import UnpreparedError
from ksql.verbs.decider import with_metadata
from ksql.verbs.guards import mutating, webhooks
from ksql.verbs.guards.conditions import ConditionsError
from ksql.verbs.guards.evaluation import Evaluation
from ksql.verbs.guards.parameters import ParametersError
from ksql.verbs.guards.parameters import of as parameters_of
from ksql.verbs.guards.policies import Denial, Invocation, Policy, denied, unchanged, validate
from ksql.verbs.guards.questions import Question
from ksql.verbs.guards.rounds import Rounds
from ksql.verbs.guards.table import Guards
from ksql.verbs.guards.webhooks import CallFailure, Hook
from ksql.verbs.request import Request
from ksql.verbs.view import View

# Answers that one write remembers. It is prepared a few times at most, each time with two questions.
ANSWERS_MAX = 64

_MUTATION = "mutation.webhook.admission.k8s.io"
_PATCH = "patch.webhook.admission.k8s.io"
_FAILURE = "validation.policy.admission.k8s.io/validation_failure"


class Caller(Protocol):
    """Reaches webhooks."""

    async def call(self, config: Document, question: Document, seconds: float) -> object:
        """What one answers; `CallFailure` when it does not."""


class NoCaller:
    """Where nobody can be asked, as in a simulation."""

    async def call(self, config: Document, question: Document, seconds: float) -> object:
        raise CallFailure("no webhook can be called here")


@dataclass(frozen=True, slots=True)
class Desk:
    """Whom every review of a cluster asks."""

    guards: Guards
    catalogue: Catalogue
    authorizer: Authorizer
    caller: Caller
    clock: Clock


class UnreviewedError(UnpreparedError):
    """Guards have to be asked first, outside the lock; `ask` does it."""

    def __init__(self, ask: Callable[[], Awaitable[None]]) -> None:
        ApiError.__init__(self, "the object is being changed by others, try again", retry_after_seconds=1)
        self.documents, self.table, self.ask = (), None, ask


@dataclass(frozen=True, slots=True)
class Form:
    """How a plan's documents look to guards: in another version, and back.

    `kind` is set where the object is not of the resource's own kind; `options` is the request's options object.
    """

    shown: Callable[[ResourceType, Document], Document]
    kept: Callable[[ResourceType, Document], Document]
    operation: str  # CREATE, UPDATE, DELETE, CONNECT
    kind: GroupVersionKind | None = None
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class _Call:
    """A webhook to be called: what a chain of mutators waits for."""

    hook: Hook
    question: Question
    type: ResourceType


@dataclass(slots=True)
class _Pass:
    """One walk through the mutators."""

    document: Document | None
    round: int = 0
    hooks: Rounds = field(default_factory=Rounds)
    policies: Rounds = field(default_factory=Rounds)
    was_changed: bool = False
    failures: list[Denial] = field(default_factory=list)


_Chain = Generator[_Call, Any, Document | None]


class Review:
    """The guards of one write."""

    def __init__(self, desk: Desk, request: Request) -> None:
        self._desk, self._request = desk, request
        self._answers: dict[Any, Any] = {}

    @property
    def concerns(self) -> bool:
        """Whether there may be guards for this write at all: the one question that most writes ask."""
        return self._desk.guards.any(self._request.type)

    # --- mutating

    def mutated(
        self,
        view: View,
        form: Form,
        document: Document | None,
        old: Document | None,
        again: Callable[[Document], Document],
    ) -> Document | None:
        """The object after all mutating guards. `again` walks the cluster's own mutators once more."""
        guards = self._desk.guards
        question = self._question(view, form, document, old)
        hooks = [hook for hook in guards.mutating_hooks if hook.match.version_for(question) is not None]
        policies = [one for one in guards.mutating_policies if one.match.version_for(question) is not None]
        if not hooks and not policies:
            return document
        key = ("mutated", _fingerprint(document), _fingerprint(old))
        if key in self._answers:
            return _with_managers(self._answers[key], document)
        # A guard may come to match by what another one changed: the walk looks at all of them.
        walk = partial(self._walk, view, form, document, old, again)
        if not guards.mutating_hooks and _may_take_time(view):
            return _at_once(walk())

        async def ask() -> None:
            self._keep(key, await self._driven(walk()))

        raise UnreviewedError(ask)

    def _walk(
        self,
        view: View,
        form: Form,
        document: Document | None,
        old: Document | None,
        again: Callable[[Document], Document],
    ) -> _Chain:
        walk = _Pass(document)
        yield from self._round(walk, view, form, old)
        if walk.was_changed and walk.document is not None:
            before, walk.round = walk.document, 1
            walk.document = again(walk.document)
            if walk.document != before:
                walk.hooks.object_changed()
                walk.policies.object_changed()
            yield from self._round(walk, view, form, old)
        return walk.document

    def _round(self, walk: _Pass, view: View, form: Form, old: Document | None) -> _Chain:
        guards = self._desk.guards
        for policy in guards.mutating_policies:
            self._mutate(walk, policy, view, form, old)
        question = self._question(view, form, walk.document, old)
        if walk.failures:
            raise unchanged(question, walk.failures)
        for index, hook in enumerate(guards.mutating_hooks):
            question = self._question(view, form, walk.document, old)
            type = self._called_in(hook, question)
            if type is None or (walk.round and not walk.hooks.is_again(hook.key)):
                continue
            answer = yield _Call(hook, question, type)
            patched = self._patched(form, hook, type, question, answer, walk, index)
            changed = patched is not walk.document and patched != walk.document
            walk.hooks.asked(hook.key, reinvoked=hook.reinvoked, changed=changed)
            walk.was_changed |= changed
            walk.document = patched
        return walk.document

    def _called_in(self, hook: Hook, question: Question) -> ResourceType | None:
        """The version in which a webhook is asked; None when it is not to be."""
        type = hook.match.version_for(question)
        if type is None or not hook.conditions:
            return type
        try:
            holds = hook.conditions.hold(Evaluation(question, type, self._desk.authorizer))
        except ConditionsError as error:
            if hook.ignores_failure:
                return None
            raise refusals.forbidden(question.type, question.name, str(error)) from None
        return type if holds else None

    def _patched(
        self, form: Form, hook: Hook, type: ResourceType, question: Question, answer: Any, walk: _Pass, index: int
    ) -> Document | None:
        """The object after a webhook's answer; None answers of one that failed and may."""
        place = f"round_{walk.round}_index_{index}"
        who = {"configuration": hook.configuration, "webhook": hook.name}
        if answer is None:
            self._annotate(f"failed-open.{_MUTATION}/{place}", hook.name)
            self._annotate(f"{_MUTATION}/{place}", encode({**who, "mutated": False}).decode())
            return walk.document
        if not answer.patch:
            self._annotate(f"{_MUTATION}/{place}", encode({**who, "mutated": False}).decode())
            return walk.document
        seen = question.in_version(type, False)
        if seen is None or walk.document is None:
            raise InternalError(
                f'Internal error occurred: admission webhook "{hook.name}" attempted to modify the object, which is '
                "not supported for this operation"
            )
        try:
            made = form.kept(type, jsonpatch.apply(seen, list(answer.patch)))
        except ApiError as error:
            raise InternalError(f"Internal error occurred: {error.message}") from None
        made = _identified(made, walk.document)
        self._annotate(f"{_MUTATION}/{place}", encode({**who, "mutated": made != walk.document}).decode())
        self._annotate(
            f"{_PATCH}/{place}", encode({**who, "patch": list(answer.patch), "patchType": "JSONPatch"}).decode()
        )
        return made

    def _mutate(self, walk: _Pass, policy: Policy, view: View, form: Form, old: Document | None) -> None:
        """What a mutating policy makes of the object."""
        if walk.document is None:
            return
        question = self._question(view, form, walk.document, old)
        for invocation in self._invocations(policy, question, view, walk.failures):
            if walk.round and not walk.policies.is_again(invocation.key):
                continue
            before = walk.document
            for mutation in policy.mutations:
                question = self._question(view, form, walk.document, old)
                evaluation = Evaluation(question, invocation.type, self._desk.authorizer, invocation.params)
                try:
                    made = mutating.mutated(self._desk.catalogue, mutation, evaluation, question, invocation.type)
                    if made is not None:
                        walk.document = _identified(form.kept(invocation.type, made), walk.document)
                except (mutating.MutationError, ApiError) as error:
                    if not policy.ignores_failure:
                        walk.failures.append(Denial(policy.name, invocation.binding.name, str(error)))
            changed = walk.document != before
            walk.policies.asked(invocation.key, reinvoked=policy.reinvoked, changed=changed)
            walk.was_changed |= changed

    # --- validating

    def validated(self, view: View, form: Form, document: Document | None, old: Document | None) -> None:
        """Let all validating guards look at the object; the first to say no is what the caller is told."""
        guards = self._desk.guards
        question = self._question(view, form, document, old)
        policies = [one for one in guards.validating_policies if one.match.version_for(question) is not None]
        hooks = [hook for hook in guards.validating_hooks if hook.match.version_for(question) is not None]
        if not policies and not hooks:
            return
        key = ("validated", _fingerprint(document), _fingerprint(old))
        if key in self._answers:
            return
        if not hooks and _may_take_time(view):
            self._validate(policies, question, view)
            return

        async def ask() -> None:
            self._validate(policies, question, view)
            await self._agreed(hooks, question)
            self._keep(key, True)

        raise UnreviewedError(ask)

    def _validate(self, policies: Sequence[Policy], question: Question, view: View) -> None:
        denials: list[Denial] = []
        audited: list[Document] = []
        noted: dict[str, list[str]] = {}
        evaluations: dict[Any, Evaluation] = {}
        for policy in policies:
            for invocation in self._invocations(policy, question, view, denials, evaluations):
                evaluation = self._evaluation(evaluations, question, invocation)
                found, annotations = validate(policy, evaluation, invocation.binding)
                for one in found:
                    denials += [one] if "Deny" in one.actions else []
                    self._tell(one)
                    audited += [_audited(one)] if "Audit" in one.actions else []
                for name, text in annotations.items():
                    texts = noted.setdefault(f"{policy.name}/{name}", [])
                    texts += [] if text in texts else [text]
        for name, texts in noted.items():
            self._annotate(name, ", ".join(texts))
        if audited:
            self._annotate(_FAILURE, encode(audited).decode())
        if denials:
            raise denied(question, denials)

    def _tell(self, one: Denial) -> None:
        if "Warn" in one.actions:
            said = f"Validation failed for ValidatingAdmissionPolicy '{one.policy}' with binding '{one.binding}': "
            self._warn(said + one.message)

    async def _agreed(self, hooks: Sequence[Hook], question: Question) -> None:
        """All validating webhooks at once: none sees what another said."""
        called = [(hook, self._called_in(hook, question)) for hook in hooks]
        asked = [
            self._call(_Call(hook, question, type), f"validating.webhook.admission.k8s.io/round_0_index_{index}")
            for index, (hook, type) in enumerate(called)
            if type is not None
        ]
        for found in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(found, BaseException):
                raise found

    # --- what both share

    def _invocations(
        self, policy: Policy, question: Question, view: View, failures: list[Denial],
        evaluations: dict[Any, Evaluation] | None = None,
    ) -> Sequence[Invocation]:  # fmt: skip
        """A policy with each of its bindings and sets of parameters that are for the question."""
        type = policy.match.version_for(question)
        if type is None:
            return ()
        found: list[Invocation] = []
        for binding in policy.bindings:
            if binding.match.version_for(question) is None:
                continue
            if not policy.conditions and (policy.param_kind is None or binding.params is None):
                found.append(Invocation(policy, binding, type))
                continue
            try:
                given = parameters_of(policy, binding, question.namespace, view, self._desk.catalogue, _shown_params)
                for params in given:
                    invocation = Invocation(policy, binding, type, params)
                    evaluation = self._evaluation(evaluations, question, invocation)
                    if not policy.conditions or policy.conditions.hold(evaluation):
                        found.append(invocation)
            except ParametersError as error:
                said = f"failed to configure binding: {error}"
                failures += [] if policy.ignores_failure else [Denial(policy.name, binding.name, said)]
            except ConditionsError as error:
                failures += [] if policy.ignores_failure else [Denial(policy.name, binding.name, str(error))]
        return found

    def _evaluation(
        self, known: dict[Any, Evaluation] | None, question: Question, invocation: Invocation
    ) -> Evaluation:
        """The evaluation of the same object with the same parameters, shared by all policies."""
        known = {} if known is None else known
        key = (invocation.type.api_version, id(invocation.params))
        if key not in known:
            known[key] = Evaluation(question, invocation.type, self._desk.authorizer, invocation.params)
        return known[key]

    async def _driven(self, chain: _Chain) -> Document | None:
        """Walk a chain of mutators, calling each webhook that it waits for."""
        answer: Any = None
        while True:
            try:
                call = chain.send(answer)
            except StopIteration as end:
                document: Document | None = end.value
                return document
            answer = await self._call(call, "")

    async def _call(self, call: _Call, place: str) -> webhooks.Answer | None:
        """A webhook's answer; None when it failed and may."""
        hook = call.hook
        if self._request.options.dry_run and not hook.harmless:
            raise webhooks.no_dry_run(hook)
        uid = new_uid(self._desk.clock)
        try:
            try:
                asked = webhooks.review(hook, call.question, call.type, uid)
                said = await self._desk.caller.call(hook.client, asked, hook.seconds)
            except CallFailure as error:
                raise CallFailure(f"failed to call webhook: {error}") from None
            answer = webhooks.answer_of(hook, said, uid)
        except CallFailure as error:
            if not hook.ignores_failure:
                raise webhooks.failed(hook, error) from None
            if place:
                self._annotate(f"failed-open.{place}", hook.name)
            return None
        for key, text in (answer.annotations or {}).items():
            self._annotate(f"{hook.name}/{key}", text)
        for text in answer.warnings:
            self._warn(text)
        if not answer.allowed:
            raise webhooks.rejection(hook, answer.result)
        return answer

    def _question(self, view: View, form: Form, document: Document | None, old: Document | None) -> Question:
        request, guards = self._request, self._desk.guards
        type, namespace = request.type, request.namespace
        around = view.look("namespaces", "", namespace) if namespace else None
        if namespace and around is None:
            named = ResourceType("", "v1", "namespaces", "namespace", "Namespace", False, ())
            raise refusals.not_found(named, namespace)
        name = request.name or lookup(document if document is not None else old, "metadata", "name", default="") or ""
        if type.key == "namespaces":
            # A Namespace is in itself, as guards see it.
            namespace = name
        return Question(
            type, form.operation, request.user, namespace, name, form.subresource or request.subresource, document, old,
            _options(request), request.options.dry_run, form.kind, around,
            [one for one in guards.versions(type) if one is not type], form.shown,
        )  # fmt: skip

    def _keep(self, key: Any, answer: Any) -> None:
        if len(self._answers) >= ANSWERS_MAX:
            self._answers.clear()
        self._answers[key] = answer

    def _annotate(self, key: str, text: str) -> None:
        self._request.annotations[key] = text

    def _warn(self, text: str) -> None:
        if text not in self._request.warnings:
            self._request.warnings.append(text)


def _at_once(chain: _Chain) -> Document | None:
    """Walk a chain in which no webhook is called."""
    try:
        next(chain)
    except StopIteration as end:
        document: Document | None = end.value
        return document
    raise AssertionError("a webhook was to be called where none is")


def _may_take_time(view: View) -> bool:
    """Whether this is a preparation or a dry run, and not a decision with the head held."""
    return view.is_rehearsal


def _shown_params(type: ResourceType, document: Document) -> Document:
    from ksql.verbs import shaping

    return document if type.custom is not None else shaping.served(type, document)


def _fingerprint(document: Document | None) -> bytes:
    """What tells documents apart, but for who manages their fields: that has a time in it."""
    if document is None:
        return b""
    # Bodies that are no objects (the options of a conversation) have no metadata.
    return canonical(with_metadata(document, managedFields=None) if "metadata" in document else document)


def _with_managers(made: Document | None, document: Document | None) -> Document | None:
    if made is None or document is None or "metadata" not in document:
        return made
    return with_metadata(made, managedFields=document["metadata"].get("managedFields"))


def _identified(made: Document, document: Document) -> Document:
    """What a guard made, as the same object still: its identity is not a guard's to change."""
    if "metadata" not in document:
        return made
    before = document["metadata"]
    kept = {key: before[key] for key in ("name", "generateName", "namespace", "uid") if key in before}
    rest = {key: value for key, value in (made.get("metadata") or {}).items() if key not in _SERVERS}
    if "managedFields" in before:
        rest["managedFields"] = before["managedFields"]
    for key in ("creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if key in before:
            rest[key] = before[key]
    # In the order of before, so that the same content gives the same bytes.
    ordered = {key: rest[key] for key in before if key in rest}
    return {**made, "metadata": {**kept, **ordered, **rest, **kept}}


_SERVERS = ("resourceVersion", "selfLink", "managedFields", "creationTimestamp", "generation", "uid", "namespace")


_OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}
_VERBS = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions", "delete": "DeleteOptions"}


def _options(request: Request) -> Document:
    """The options object of the request, as guards see it."""
    options, kind = request.options, _VERBS.get(request.verb, "DeleteOptions")
    found: Document = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    if options.dry_run:
        found["dryRun"] = ["All"]
    if kind == "DeleteOptions":
        if options.grace_period_seconds is not None:
            found["gracePeriodSeconds"] = options.grace_period_seconds
        if options.propagation_policy is not None:
            found["propagationPolicy"] = options.propagation_policy
        return found
    if kind == "PatchOptions" and options.force:
        found["force"] = True
    if options.field_manager:
        found["fieldManager"] = options.field_manager
    if options.field_validation:
        found["fieldValidation"] = options.field_validation
    return found


def _audited(one: Denial) -> Document:
    return {
        "message": one.message, "policy": one.policy, "binding": one.binding, "expressionIndex": one.index,
        "validationActions": list(one.actions),
    }  # fmt: skip
