"""An authorizer elsewhere: what a webhook answers to a SubjectAccessReview, and for how long that counts.

An authorizer never waits. What the webhook was not asked yet is `UndecidedError`, raised before anything was done; the
door asks, and looks at the request once more from the beginning, when the answer is in memory. Answers are kept as
Kubernetes keeps them: longer when they allow. One that does not come is no opinion or a refusal, as the operator says.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ksql.auth.identity import Question, Rules, User, Verdict
from ksql.base.clock import Clock
from ksql.base.documents import Document
from ksql.schema.cel.claims import Program
from ksql.schema.cel.programs import EvaluationError
from ksql.schema.errors import UnavailableError

# Answers kept: those of some minutes of a busy cluster. Beyond it the oldest are asked for again.
KEPT_MAX = 16_384
# How long a missing answer counts: the request that waits for it must find it, and the next should ask anew.
FAILED_SECONDS = 1.0

Key = tuple[Any, ...]
# The status of a SubjectAccessReview, or None where nobody answered.
Ask = Callable[[Document], Awaitable[dict[str, Any] | None]]


class UndecidedError(UnavailableError):
    """Nothing was done yet: the webhook has to be asked first (`asked`), and the request looked at again."""

    def __init__(self, authorizer: "Consulted", question: Question) -> None:
        super().__init__(f"the authorizer {authorizer.name!r} has not answered yet: try again", retry_after_seconds=1)
        self._authorizer, self._question = authorizer, question

    async def asked(self) -> None:
        """Wait for the answer, which was asked for when this was raised."""
        await self._authorizer.look(self._question)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says of a webhook."""

    allowed_seconds: float = 300.0
    denied_seconds: float = 30.0
    denies_on_failure: bool = False
    conditions: tuple[Program, ...] = ()


class Consulted:
    """One webhook. `ask` puts a review to it."""

    def __init__(self, name: str, ask: Ask, clock: Clock, terms: Terms) -> None:
        self.name, self._ask, self._clock, self._terms = name, ask, clock, terms
        self._kept: dict[Key, tuple[Verdict, float]] = {}
        self._on_their_way: dict[Key, asyncio.Task[None]] = {}

    def authorize(self, question: Question) -> Verdict:
        found = self._kept.get(_key(question))
        if found is not None and self._clock.monotonic() < found[1]:
            return found[0]
        try:
            if not all(program.run("request", _request(question)) is True for program in self._terms.conditions):
                return Verdict(False)
        except EvaluationError as error:
            return self._failed(f"match condition: {error}")
        # Asked for at once: where nobody waits for the answer, the next try finds it.
        self._asking(question)
        raise UndecidedError(self, question)

    def rules(self, user: User, namespace: str) -> Rules:
        return Rules(incomplete=True, error="webhook authorizer does not support user rule resolution")

    async def look(self, question: Question) -> None:
        """Have the answer; who asks the same at once shares it."""
        # One asker's end must not end the asking for the others.
        await asyncio.shield(self._asking(question))

    def _asking(self, question: Question) -> "asyncio.Task[None]":
        key = _key(question)
        task = self._on_their_way.get(key)
        if task is None:
            task = self._on_their_way[key] = asyncio.get_running_loop().create_task(self._answered(key, question))
            task.add_done_callback(lambda _: self._on_their_way.pop(key, None))
        return task

    async def _answered(self, key: Key, question: Question) -> None:
        status = await self._ask(review_of(question))
        if status is None:
            verdict, seconds = self._failed("no answer"), FAILED_SECONDS
        else:
            allowed, denied = status.get("allowed") is True, status.get("denied") is True
            reason = str(status.get("reason") or "")
            if allowed and denied:
                verdict, seconds = self._failed("the answer both allows and denies"), FAILED_SECONDS
            elif allowed:
                verdict, seconds = Verdict(True, rule=f"webhook {self.name}"), self._terms.allowed_seconds
            else:
                verdict, seconds = Verdict(False, reason=reason, denied=denied), self._terms.denied_seconds
        while len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = verdict, self._clock.monotonic() + max(seconds, FAILED_SECONDS)

    def _failed(self, why: str) -> Verdict:
        return Verdict(False, reason=f"webhook {self.name}: {why}", denied=self._terms.denies_on_failure)


def _key(q: Question) -> Key:
    user = q.user
    extra = tuple(sorted((key, tuple(values)) for key, values in user.extra.items()))
    return (
        user.name, user.groups, user.uid, extra, q.verb, q.group, q.resource, q.subresource, q.namespace, q.name,
        q.path, q.field_selector, q.label_selector,
    )  # fmt: skip


def review_of(question: Question) -> Document:
    """The question as a SubjectAccessReview."""
    return {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {},
        "spec": _request(question),
    }  # fmt: skip


def _request(q: Question) -> dict[str, Any]:
    user = q.user
    spec: dict[str, Any] = {"user": user.name, "groups": list(user.groups), "uid": user.uid}
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    if q.path:
        return {**spec, "nonResourceAttributes": {"path": q.path, "verb": q.verb}}
    attributes: dict[str, Any] = {
        "verb": q.verb, "group": q.group, "resource": q.resource, "subresource": q.subresource,
        "namespace": q.namespace, "name": q.name,
    }  # fmt: skip
    for name, selector in (("fieldSelector", q.field_selector), ("labelSelector", q.label_selector)):
        if selector:
            attributes[name] = {"rawSelector": selector}
    return {**spec, "resourceAttributes": attributes}

