"""The door between the wings: how controllers, nodes and the command line reach the API server.

Inside one process the pipeline itself stands behind it (`ksql/verbs/local.py`), across machines HTTPS
(`HttpClient` in `ksql/https.py`); the suite `tests/contracts/test_client.py` holds both to the same claims.
Resources are named by their key (`pods`, `deployments.apps`), objects are documents as the API server
prints them, errors are `ksql.schema.errors.ApiError`.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ksql.auth.identity import User
from ksql.base.documents import Document


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects at one snapshot; a watch from `revision` on misses nothing."""

    items: Sequence[Document]
    revision: int


@dataclass(frozen=True, slots=True)
class Notice:
    """One step of a watch: ADDED, MODIFIED, DELETED or BOOKMARK (then only the revision means anything).

    For DELETED the document is the object as it last was, and `revision` that of its deletion.
    """

    change: str
    revision: int
    document: Document


class Client(Protocol):
    """Acts as one user with one field manager. `cause` is the revision that provoked the write."""

    async def get(self, resource: str, namespace: str, name: str) -> Document:
        """The object; `NotFoundError` when there is none."""

    async def list(
        self, resource: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        """All matching objects (an empty namespace means all)."""

    def watch(
        self,
        resource: str,
        after: int,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Sequence[Notice]]:
        """Batches of changes after a revision, for ever; `GoneError` when it is too old: list again."""

    async def create(
        self, resource: str, document: Document, *, subresource: str = "", cause: int | None = None
    ) -> Document:
        """The object as stored. metadata.namespace says where.

        With a subresource (pods/binding, pods/eviction) metadata.name names the object it is asked of.
        """

    async def update(
        self, resource: str, document: Document, *, subresource: str = "", cause: int | None = None
    ) -> Document:
        """Replace it; metadata.resourceVersion, when given, must still be current."""

    async def patch(
        self,
        resource: str,
        namespace: str,
        name: str,
        patch: Any,
        *,
        kind: str = "merge",
        force: bool = False,
        subresource: str = "",
        cause: int | None = None,
    ) -> Document:
        """kind: merge, json, strategic, apply.

        An apply makes what is not there; the patch is the whole of what this manager wants and names its apiVersion
        and kind. `ConflictError` with a cause for each field that another manager has, unless `force` takes them over.
        """

    async def delete(
        self,
        resource: str,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
        cause: int | None = None,
    ) -> None:
        """Ask for its end; preconditions as given."""


class Connect(Protocol):
    """Makes clients: one per component, so that each write names its true author."""

    def __call__(self, user: User, component: str) -> Client:
        """A client acting as `user`, with `component` as user agent and field manager."""
