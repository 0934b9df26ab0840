"""The client of another machine's server: `Client` over HTTPS, as kubectl would reach it.

Resources are named by key (`deployments.apps`); which path that is, discovery says once. Watches end when
the server ends them (its time is up, it stops): whoever follows lists or watches again from where it was.
What the server refuses is raised as the `ApiError` its Status tells of, what does not reach it as
`UnavailableError`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import httpx

from ksql.auth.identity import User
from ksql.base.documents import Document, DocumentError, decode, encode
from ksql.client import Client, Connect, Listing, Notice
from ksql.kubeconfig import Connection
from ksql.schema.errors import BadRequestError, InternalError, NotFoundError, UnavailableError, from_status
from ksql.schema.resources import group_resource

# How long to wait for a connection and for each answer; a write may wait a minute for the log.
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 65.0
# A watch that says nothing for this long, not even a bookmark (they come each minute), has lost its peer.
SILENCE_SECONDS = 150.0
# A line of a watch holds one object, and no object is larger than what the server takes.
LINE_BYTES_MAX = 8 * 1024 * 1024
# Connections of one client: its watches and the writes beside them.
CONNECTIONS_MAX = 256

_PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",  # JSON is YAML
}
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class GraphQLError(Exception):
    """The errors of a GraphQL answer; `errors` are as the server sent them."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        super().__init__("; ".join(str(error.get("message", error)) for error in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a resource is served."""

    prefix: str  # /api/v1 or /apis/GROUP/VERSION
    resource: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        within = f"/namespaces/{quote(namespace, safe='')}" if namespace and self.namespaced else ""
        below = "".join(f"/{quote(step, safe='')}" for step in (name, subresource) if step)
        return f"{self.prefix}{within}/{self.resource}{below}"


# Each key with its places, the preferred version first.
_Places = dict[str, list[_Place]]


class HttpClient:
    """One user of one server, with one component as user agent and field manager."""

    def __init__(self, connection: Connection, component: str = "ksql") -> None:
        self._component = component
        extensions = {"sni_hostname": connection.server_name} if connection.server_name else {}
        self._extensions: dict[str, Any] = extensions
        self._http = httpx.AsyncClient(
            base_url=connection.server,
            verify=connection.ssl_context(),
            headers=[("User-Agent", component), ("Accept", "application/json"), *connection.headers()],
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            # A proxy from the environment is for the web, not for one's cluster.
            trust_env=False,
        )
        self._places: _Places = {}

    async def aclose(self) -> None:
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One request as it is; an answer that is an error is raised."""
        content = None if body is None else encode(body)
        sent = {"Content-Type": "application/json", **(headers or {})} if content is not None else headers
        try:
            answer = await self._http.request(
                method, path, params=query, content=content, headers=sent, extensions=self._extensions
            )
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        _raise_for(answer.status_code, answer.content)
        return answer

    async def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> Document:
        """The data of a GraphQL query; `GraphQLError` when the answer tells of errors."""
        body = {"query": query, "variables": dict(variables or {})}
        answer = _document((await self.request("POST", "/graphql", body=body)).content)
        if answer.get("errors"):
            raise GraphQLError(answer["errors"])
        return dict(answer.get("data") or {})

    async def get(self, resource: str, namespace: str, name: str) -> Document:
        place = await self._place(resource)
        return _document((await self.request("GET", place.path(namespace, name))).content)

    async def list(
        self, resource: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        place = await self._place(resource)
        query = _selectors(label_selector, field_selector)
        answer = _document((await self.request("GET", place.path(namespace), query=query)).content)
        return Listing(answer.get("items") or [], int(answer["metadata"]["resourceVersion"]))

    async def watch(
        self,
        resource: str,
        after: int,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> AsyncIterator[Sequence[Notice]]:
        place = await self._place(resource)
        query = {
            **_selectors(label_selector, field_selector),
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(after),
        }
        if not after:
            # To Kubernetes revision 0 means any, state first; here it means after the very beginning.
            query |= {"sendInitialEvents": "false", "resourceVersionMatch": "NotOlderThan"}
        async with self._streaming(place.path(namespace), query) as chunks:
            async for lines in _lines(chunks):
                if notices := [_notice(line) for line in lines if line.strip()]:
                    yield notices

    @asynccontextmanager
    async def _streaming(self, path: str, query: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, read=SILENCE_SECONDS)
        try:
            async with self._http.stream(
                "GET", path, params=query, timeout=timeout, extensions=self._extensions
            ) as answer:
                if answer.status_code >= 400:
                    _raise_for(answer.status_code, await answer.aread())
                yield answer.aiter_bytes()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    async def create(
        self, resource: str, document: Document, *, subresource: str = "", cause: int | None = None
    ) -> Document:
        place = await self._place(resource, {} if subresource else document)
        metadata = document.get("metadata") or {}
        namespace = metadata.get("namespace", "")
        # An object is created in its collection, a binding or an eviction below the object it concerns.
        below = (metadata.get("name", ""), subresource) if subresource else ("", "")
        return await self._write("POST", place.path(namespace, *below), document, cause)

    async def update(
        self, resource: str, document: Document, *, subresource: str = "", cause: int | None = None
    ) -> Document:
        place = await self._place(resource, {} if subresource == "scale" else document)
        metadata = document.get("metadata") or {}
        if not metadata.get("name"):
            raise BadRequestError("name must be provided")
        path = place.path(metadata.get("namespace", ""), metadata["name"], subresource)
        return await self._write("PUT", path, document, cause)

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
        place = await self._place(resource, patch if kind == "apply" and not subresource else None)
        path = place.path(namespace, name, subresource)
        return await self._write("PATCH", path, patch, cause, _PATCHES[kind], force=force)

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
        place = await self._place(resource)
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        given = {
            "gracePeriodSeconds": grace_period_seconds,
            "propagationPolicy": propagation_policy,
            "preconditions": _given(preconditions) or None,
        }
        options = {"apiVersion": "v1", "kind": "DeleteOptions", **_given(given)}
        await self._write("DELETE", place.path(namespace, name), options, cause)

    async def _write(
        self,
        method: str,
        path: str,
        body: Any,
        cause: int | None,
        media: str = "application/json",
        *,
        force: bool = False,
    ) -> Document:
        headers = {"Content-Type": media}
        if cause is not None:
            headers["Ksql-Cause"] = str(cause)
        query = {} if method == "DELETE" else {"fieldManager": self._component}
        if force:
            query["force"] = "true"
        return _document((await self.request(method, path, query=query, body=body, headers=headers)).content)

    async def _place(self, resource: str, document: Document | None = None) -> _Place:
        """Where a resource key is served: in the version that a document speaks, or the preferred one."""
        if resource not in self._places:
            # Kinds may come while a client lives, so what is not known is asked for again.
            self._places = await self._discovered()
        if resource not in self._places:
            raise NotFoundError("the server could not find the requested resource")
        served = self._places[resource]
        spoken = f"/{(document or {}).get('apiVersion') or ''}"
        return next((place for place in served if place.prefix.endswith(spoken)), served[0])

    async def _discovered(self) -> "_Places":
        found: _Places = {}
        for root in ("/api", "/apis"):
            answer = await self.request("GET", root, headers={"Accept": _AGGREGATED})
            for group in _document(answer.content).get("items") or ():
                for key, place in _places(root, group):
                    found.setdefault(key, []).append(place)
        return found

    def _unreachable(self, error: httpx.TransportError) -> UnavailableError:
        said = str(error) or type(error).__name__
        return UnavailableError(f"cannot reach {self._http.base_url}: {said}")


def _places(root: str, group: Document) -> list[tuple[str, _Place]]:
    name = group.get("metadata", {}).get("name", "")
    found = []
    for version in group.get("versions") or ():
        prefix = f"{root}/{name}/{version['version']}" if name else f"{root}/{version['version']}"
        for row in version.get("resources") or ():
            key = group_resource(name, row["resource"])
            found.append((key, _Place(prefix, row["resource"], row.get("scope") == "Namespaced")))
    return found


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    given = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {key: value for key, value in given.items() if value}


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """Whole lines, as many at a time as have arrived together."""
    rest: list[bytes] = []
    size = 0
    async for chunk in chunks:
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            rest.append(head)
            yield b"".join(rest).split(b"\n")
            rest, size = [], 0
        rest.append(tail)
        size += len(tail)
        if size > LINE_BYTES_MAX:
            raise InternalError("a line of the watch is longer than any object may be")


def _notice(line: bytes) -> Notice:
    """One step of a watch; an ERROR is raised."""
    step = _document(line)
    found = step["object"]
    if step["type"] == "ERROR":
        raise from_status(found)
    return Notice(step["type"], int(found["metadata"]["resourceVersion"]), found)


def _document(data: bytes) -> Document:
    try:
        found = decode(data)
    except DocumentError as error:
        raise InternalError(f"the server's answer is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InternalError("the server's answer is no JSON object")
    return found


def _raise_for(code: int, data: bytes) -> None:
    if code < 400:
        return
    try:
        status = decode(data)
    except DocumentError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        raise from_status(status)
    said = data[:200].decode("utf-8", "replace").strip()
    raise (UnavailableError if code == 503 else InternalError)(f"the server answered {code}: {said}")


def connecting(connection: Connection) -> Connect:
    """Clients for several users: the connection's own must be allowed to act in their names."""

    def connect(user: User, component: str) -> Client:
        acting = replace(connection, impersonate_user=user.name, impersonate_groups=user.groups)
        return HttpClient(acting, component)

    return connect
