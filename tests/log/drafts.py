"""Small drafts for the log's tests, and deciders that make them."""

import uuid
from collections.abc import Callable, Sequence

from ksql.base.documents import Document, encode
from ksql.log.event import Actor, Change, Draft, Stream
from ksql.log.protocol import Batch, Decide

ALICE = Actor("alice", ("dev", "system:authenticated"), user_agent="kubectl/v1.35", source="127.0.0.1")


def stream(name: str, resource: str = "configmaps", namespace: str = "default", uid: str = "") -> Stream:
    """A stream whose uid follows from its name, so that a test may say it twice."""
    return Stream(
        resource,
        namespace,
        name,
        uid or str(uuid.uuid5(uuid.NAMESPACE_OID, f"{resource}/{namespace}/{name}")),
    )


def document(of: Stream, value: object) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": of.name, "namespace": of.namespace, "uid": of.uid},
        "data": {"value": str(value)},
    }


def draft(
    of: Stream | str,
    change: Change = Change.ADDED,
    value: object = "",
    *,
    verb: str = "",
    actor: Actor = ALICE,
    cause: int | None = None,
    correlation: str = "",
    transient: bool = False,
) -> Draft:
    target = stream(of) if isinstance(of, str) else of
    body = document(target, value)
    verbs = {Change.ADDED: "create", Change.MODIFIED: "update", Change.DELETED: "delete"}
    return Draft(
        target, change, verb or verbs[change], actor, body, encode(body), field_manager="tests", cause=cause,
        correlation=correlation, transient=transient,
    )  # fmt: skip


def deciding(*drafts: Draft) -> Decide:
    """A decision that always comes to these drafts."""
    return lambda _: drafts


def put(of: Stream, value: object, living: Callable[[], bool]) -> Decide:
    """Create or update, whichever state calls for."""

    def decide(batch: Batch) -> Sequence[Draft]:
        newest = batch.drafted.get((of.resource, of.namespace, of.name))
        alive = living() if newest is None else newest.change is not Change.DELETED
        return [draft(of, Change.MODIFIED if alive else Change.ADDED, value)]

    return decide
