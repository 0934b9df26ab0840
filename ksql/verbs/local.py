"""The door between the wings when both live in one process: a `Client` that is the pipeline itself.

Controllers and nodes of the same process walk the same path as everybody (authorize, admit, decide,
append); only the wire is left out, so documents are shared and never copied. Deterministic under virtual
time. `tests/contracts/test_client.py` holds this and the HTTPS client to the same claims.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from ksql.auth.identity import User
from ksql.base.documents import Document, lookup
from ksql.client import Client, Connect, Listing, Notice
from ksql.schema.errors import BadRequestError, NotFoundError
from ksql.schema.faults import forbidden, invalid
from ksql.schema.resources import GroupVersionKind, ResourceType
from ksql.state.entry import Frame
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Options, Request, Result, Selection

# An informer is told how far it is although nothing happens to its resource, so that its position never
# leaves the window.
_BOOKMARKS = True

_PATCH_OPTIONS = GroupVersionKind("meta.k8s.io", "v1", "PatchOptions")


def connect(pipeline: Pipeline) -> Connect:
    """A maker of clients that need no wire."""

    def make(user: User, component: str) -> Client:
        return LocalClient(pipeline, user, component)

    return make


class LocalClient:
    """One component's client: acts as `user`, signs as `component`."""

    def __init__(self, pipeline: Pipeline, user: User, component: str) -> None:
        self._pipeline, self._user, self._component = pipeline, user, component

    def _type(self, resource: str) -> ResourceType:
        try:
            return self._pipeline.catalogue.by_key(resource)
        except KeyError:
            raise NotFoundError("the server could not find the requested resource") from None

    def _type_of(self, resource: str, document: Document) -> ResourceType:
        """The resource in the version that a document speaks."""
        preferred = self._type(resource)
        group, _, version = str(document.get("apiVersion") or "").rpartition("/")
        if version in ("", preferred.version) or group != preferred.group:
            return preferred
        return self._pipeline.catalogue.find(group, version, preferred.resource) or preferred

    def _request(self, verb: str, type: ResourceType, namespace: str, name: str, **fields: Any) -> Request:
        options = fields.pop("options", None) or Options(field_manager=self._component)
        return Request(
            self._user, verb, type, namespace if type.namespaced else "", name, options=options,
            user_agent=self._component, **fields,
        )  # fmt: skip

    async def _perform(self, request: Request) -> Document:
        return _document(await self._pipeline.perform(request))

    async def get(self, resource: str, namespace: str, name: str) -> Document:
        return await self._perform(self._request("get", self._type(resource), namespace, name))

    async def list(
        self, resource: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        request = self._request("list", self._type(resource), namespace, "")
        page = await self._pipeline.page(request, Selection(label_selector, field_selector))
        return Listing([entry.document for entry in page.entries], page.revision)

    async def watch(
        self,
        resource: str,
        after: int,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Sequence[Notice]]:
        request = self._request("watch", self._type(resource), namespace, "")
        selection = Selection(
            label_selector, field_selector, resource_version=str(after), allow_bookmarks=_BOOKMARKS
        )
        async for frames in self._pipeline.watch(request, selection):
            yield [_notice(frame) for frame in frames]

    async def create(
        self, resource: str, document: Document, *, subresource: str = "", cause: int | None = None
    ) -> Document:
        type = self._type(resource) if subresource else self._type_of(resource, document)
        namespace = lookup(document, "metadata", "namespace", default="")
        name = lookup(document, "metadata", "name", default="")
        request = self._request(
            "create", type, namespace, name, subresource=subresource, body=document, cause=cause
        )
        return await self._perform(request)

    async def update(
        self, resource: str, document: Document, *, subresource: str = "", cause: int | None = None
    ) -> Document:
        type = self._type(resource) if subresource == "scale" else self._type_of(resource, document)
        name = lookup(document, "metadata", "name", default="")
        if not name:
            raise BadRequestError("name must be provided")
        namespace = lookup(document, "metadata", "namespace", default="")
        request = self._request(
            "update", type, namespace, name, subresource=subresource, body=document, cause=cause
        )
        return await self._perform(request)

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
        if force and kind != "apply":
            said = [forbidden("force", "may not be specified for non-apply patch")]
            raise invalid(_PATCH_OPTIONS, "", said)
        # What is applied says in which version it speaks.
        type = self._type_of(resource, patch) if kind == "apply" and not subresource else self._type(resource)
        request = self._request(
            "patch", type, namespace, name, subresource=subresource, body=patch, patch_type=kind, cause=cause,
            options=Options(field_manager=self._component, force=force),
        )  # fmt: skip
        return await self._perform(request)

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
        options = Options(
            field_manager=self._component,
            grace_period_seconds=grace_period_seconds,
            propagation_policy=propagation_policy,
            precondition_uid=uid,
            precondition_resource_version=resource_version,
        )
        request = self._request("delete", self._type(resource), namespace, name, options=options, cause=cause)
        await self._pipeline.perform(request)


def _document(result: Result) -> Document:
    if result.document is not None:
        return result.document
    assert result.entry is not None
    return result.entry.document


def _notice(frame: Frame) -> Notice:
    if frame.entry is None or frame.change is None:
        return Notice("BOOKMARK", frame.revision, {})
    return Notice(frame.change.value, frame.revision, frame.entry.document)
