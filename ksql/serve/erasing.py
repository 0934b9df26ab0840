"""POST /erasures: an object's past is made unreadable for good, by destroying the key under which it lies encrypted.

Who may is said by roles, with a verb of its own on the resource: `erase`. The deed is recorded like any change, as an
object in kube-system with the name of whoever asked and the reason, before it is done: should the server end in
between, asking again does the rest.
"""

from contextlib import suppress
from typing import Any

from ksql.auth.authorize import refusal
from ksql.auth.identity import Question, User
from ksql.base.documents import Document, DocumentError, decode
from ksql.log.erasing import ErasureError, Life
from ksql.log.protocol import EventLog
from ksql.log.store import SqlEventLog
from ksql.schema.errors import AlreadyExistsError, BadRequestError, ConflictError, NotFoundError
from ksql.schema.resources import ResourceType
from ksql.serve.exchange import Exchange
from ksql.state.objects import Objects
from ksql.verbs.bootstrap import APISERVER
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Request

PATH = "/erasures"
VERB = "erase"
NAMESPACE, RESOURCE, LABEL = "kube-system", "configmaps", "ksql.io/erasure"
BODY_BYTES_MAX = 16 * 1024
_FIELDS = ("kind", "namespace", "name", "reason")


class Eraser:
    """Answers the path. Erasing is one at a time: it is rare, and each looks through a whole past."""

    def __init__(self, pipeline: Pipeline, log: EventLog, objects: Objects) -> None:
        self._pipeline, self._log, self._objects = pipeline, log, objects

    async def answer(self, exchange: Exchange) -> None:
        user = exchange.user
        assert user is not None
        asked = _asked(await exchange.body(BODY_BYTES_MAX))
        type = self._type(asked["kind"])
        namespace, name = asked["namespace"] if type.namespaced else "", asked["name"]
        question = Question(user, VERB, type.group, type.resource, namespace=namespace, name=name)
        verdict = self._pipeline.authorizer.authorize(question)
        if not verdict.allowed:
            raise refusal(question, verdict)
        log = self._log
        if not isinstance(log, SqlEventLog) or log.vault is None:
            raise ConflictError("nothing is encrypted here, so no key's end makes anything unreadable")
        try:
            lives = await log.erasable(type.key, namespace, name)
        except ErasureError as error:
            raise ConflictError(str(error)) from None
        if not lives:
            raise NotFoundError(f"{type.key} {name!r} has no past that could be erased")
        told = [await self._erase(log, life, user, asked["reason"], exchange) for life in lives]
        self._forget()
        await exchange.answer_json(200, {"erased": told})

    async def _erase(
        self, log: SqlEventLog, life: Life, user: User, reason: str, exchange: Exchange
    ) -> Document:  # fmt: skip
        revision = await self._record(life, user, reason, exchange)
        try:
            await log.erase([life], revision)
        except ErasureError as error:
            raise ConflictError(str(error)) from None
        return {"uid": life.uid, "events": len(life.commitments), "recorded": f"r{revision}"}

    async def _record(self, life: Life, user: User, reason: str, exchange: Exchange) -> int:
        name, of = f"ksql-erasure-{life.uid}", life.first.stream
        type = self._pipeline.catalogue.by_key(RESOURCE)
        body = {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {LABEL: life.uid}},
            "data": {
                "resource": of.resource, "namespace": of.namespace, "name": of.name, "uid": life.uid,
                "events": str(len(life.commitments)), "by": user.name, "reason": reason,
            },
        }  # fmt: skip
        # The server writes it, in the name of whoever asked: he needs no right to write in kube-system.
        actor = User(APISERVER.name, APISERVER.groups, impersonator=user.name)
        request = Request(
            actor, "create", type, NAMESPACE, name, body=body, correlation=exchange.correlation,
            user_agent=exchange.user_agent, source=exchange.source,
        )  # fmt: skip
        # One that is there already is of an attempt that ended before its deed.
        with suppress(AlreadyExistsError):
            await self._pipeline.perform(request)
        entry = self._objects.get(RESOURCE, NAMESPACE, name)
        assert entry is not None
        return entry.revision

    def _forget(self) -> None:
        """Watches must not tell any more what they could have told: whoever follows lists anew."""
        window = self._objects.window
        window.end()
        window.start(self._objects.revision)

    def _type(self, kind: str) -> ResourceType:
        wanted = kind.lower()
        for type in self._pipeline.catalogue.types:
            if wanted in (type.kind.lower(), type.resource, type.singular, type.key):
                return type
        raise NotFoundError(f"there is no kind {kind[:80]!r}")


def _asked(data: bytes) -> dict[str, str]:
    try:
        found: Any = decode(data)
    except DocumentError as error:
        raise BadRequestError(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise BadRequestError("expected an object with texts: kind, namespace, name, reason")
    for field in found:
        if field not in _FIELDS:
            raise BadRequestError(f"{field[:80]}: this field is not known here")
    for field in ("kind", "name", "reason"):
        if not found.get(field):
            raise BadRequestError(f"{field}: it has to be said" + (", for the record" if field == "reason" else ""))
    return {"namespace": "", **found}
