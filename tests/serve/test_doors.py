"""Every door there is, walked by construction: shut to whoever has no name, and to whoever has no right.

The doors are read from the route table and from the catalogue, so that one added tomorrow is tried tomorrow.
"""

import re
from collections.abc import AsyncIterator, Iterator

import pytest_asyncio

from ksql.auth.authorize import is_public
from ksql.auth.sessions import Sessions
from ksql.base.clock import SystemClock
from ksql.schema.resources import ResourceType
from ksql.verbs import roles
from ksql.verbs.permissions import Permissions
from tests.serve.cluster import BOB, Rooms, in_process, rooms

# What the roles system:discovery, system:public-info-viewer, ksql:graphql and ksql:sessions open to everybody with a
# name: a list of sessions is that of his own.
OPEN = (
    "/api", "/apis", "/openapi", "/graphql", "/version", "/healthz", "/livez", "/readyz", "/session", "/login",
    "/logout", "/timeline", "/erasures",
)  # fmt: skip
# Questions about oneself, by the role system:basic-user.
ABOUT_ONESELF = {"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"}
METHODS = {
    "get": ("GET", True), "list": ("GET", False), "create": ("POST", False), "update": ("PUT", True),
    "patch": ("PATCH", True), "delete": ("DELETE", True), "deletecollection": ("DELETE", False),
}  # fmt: skip


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Rooms]:
    sessions, namespaces = Sessions(SystemClock()), ("default", "kube-system", "kube-public")
    async with rooms(permissions=Permissions, namespaces=namespaces, sessions=sessions) as server:
        await roles.reconcile(server.pipeline)
        yield server


def path_of(type: ResourceType, named: bool) -> str:
    root = f"/apis/{type.group}/{type.version}" if type.group else f"/api/{type.version}"
    place = "/namespaces/default" if type.namespaced else ""
    return f"{root}{place}/{type.resource}{'/x' if named else ''}"


def doors(server: Rooms) -> Iterator[tuple[str, str, str]]:
    """Method, path and resource of everything that a type lets be asked."""
    for type in server.catalogue.types:
        for verb in type.verbs:
            if verb in METHODS:
                method, named = METHODS[verb]
                yield method, path_of(type, named), type.resource


async def test_no_resource_is_open_to_whoever_has_no_name_or_no_right(server: Rooms) -> None:
    tried, wrong = 0, []
    async with in_process(server.door, None) as nobody, in_process(server.door, BOB) as bob:
        for method, path, resource in doors(server):
            tried += 1
            headers = {"content-type": "application/merge-patch+json" if method == "PATCH" else "application/json"}
            body = None if method in ("GET", "DELETE") else b"{}"
            if (await nobody.request(method, path, content=body, headers=headers)).status_code != 401:
                wrong.append(("nobody", method, path))
            answer = await bob.request(method, path, content=body, headers=headers)
            if resource not in ABOUT_ONESELF and answer.status_code != 403:
                wrong.append((f"bob {answer.status_code}", method, path))
    assert wrong == [] and tried > 300


async def test_no_other_path_is_open_but_those_that_roles_open(server: Rooms) -> None:
    wrong = []
    async with in_process(server.door, None) as nobody, in_process(server.door, BOB) as bob:
        for route in server.door.router.routes:
            path = re.sub(r"\{[^}]*\}", "x", getattr(route, "path", ""))
            told = (await nobody.get(path)).status_code
            if not is_public(path) and told != 401:
                wrong.append(("nobody", told, path))
            told = (await bob.get(path)).status_code
            if not path.startswith(OPEN) and told != 403:
                wrong.append(("bob", told, path))
    assert wrong == []
