"""Events made by hand, for tests of what a fold makes of them."""

from datetime import UTC, datetime
from typing import Any

from ksql.base.documents import Document, encode
from ksql.log.event import Actor, Change, Event, Stream

ALICE = Actor("alice")
NOW = datetime(2030, 1, 1, tzinfo=UTC)


def event(
    revision: int,
    name: str,
    change: Change = Change.ADDED,
    *,
    resource: str = "configmaps",
    namespace: str = "shop",
    uid: str = "",
    parsed: bool = True,
    owners: tuple[str, ...] = (),
    **fields: Any,
) -> Event:
    """`parsed`: as this process wrote it; otherwise as it comes from the database."""
    uid = uid or f"uid-of-{namespace}-{name}"
    metadata: Document = {"name": name, "namespace": namespace, "uid": uid}
    if owners:
        metadata["ownerReferences"] = [
            {"uid": owner, "kind": "Deployment", "name": owner} for owner in owners
        ]
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields}
    return Event(
        revision, NOW, Stream(resource, namespace, name, uid), change, change.value.lower(), ALICE,
        encode(document), document=document if parsed else None,
    )  # fmt: skip
