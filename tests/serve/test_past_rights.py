"""The past is under the rights of the present: every door of it, by construction, and Secrets' values above all."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio

from ksql.auth.identity import User
from ksql.schema.resources import ResourceType
from ksql.verbs import roles
from ksql.verbs.permissions import Permissions
from tests.serve.audited import Audited, audited
from tests.serve.cluster import BOB, TOKEN, in_process

VALUE = "cGxhbnRlZC1pbi10aGUtcGFzdA=="
PLAIN = "planted-in-the-past"
VIEWER, LISTER, GETTER, NAMED = "viewer-token", "lister-token", "getter-token", "named-token"
USERS = {
    VIEWER: User("viewer", ("system:authenticated",)), LISTER: User("lister", ("system:authenticated",)),
    GETTER: User("getter", ("system:authenticated",)), NAMED: User("named", ("system:authenticated",)),
}  # fmt: skip
# A secret lived, changed and was deleted; another lives.
_DB = 'ref: {resource: "secrets", namespace: "default", name: "db"}'
QUERIES = (
    '{ object(kind: "Secret", namespace: "default", name: "db", at: "%(at)s") { manifest(reveal: true) } }',
    '{ object(kind: "Secret", namespace: "default", name: "db", at: "%(at)s") { manifest } }',
    '{ object(kind: "Secret", namespace: "default", name: "db", at: "%(at)s")'
    ' { field(path: "data.password", reveal: true) blame { lines { text } } diff(from: %(first)d) { text } } }',
    '{ objects(resource: "secrets", namespace: "default", at: "%(at)s") { nodes { manifest(reveal: true) } } }',
    '{ history(kind: "Secret", namespace: "default", name: "db")'
    " { nodes { sentence diff { text changes { old new } } } } }",
    '{ events(filter: {resources: ["secrets"]}) { nodes { sentence object { manifest(reveal: true) } } } }',
    "{ diff(%(db)s, from: %(first)d, to: %(last)d) { text changes { old new } } }",
    '{ blame(ref: {resource: "secrets", namespace: "default", name: "live"}) { lines { text } } }',
    "{ event(revision: %(last)d) { sentence object { manifest(reveal: true) } causes { events { sentence } } } }",
    '{ search(query: "kind:Secret") { hits { event { sentence diff { text } object { manifest(reveal: true) } } } } }',
    "{ changes(from: %(first)d, to: %(last)d) { objects { name diff { text } } } }",
)


async def made(http: httpx.AsyncClient) -> tuple[int, int]:
    path = "/api/v1/namespaces/default/secrets"
    first = await http.post(path, json={"metadata": {"name": "db"}, "data": {"password": VALUE}})
    last = await http.put(f"{path}/db", json={"metadata": {"name": "db"}, "data": {"password": VALUE, "b": VALUE}})
    assert (await http.delete(f"{path}/db")).status_code == 200
    assert (await http.post(path, json={"metadata": {"name": "live"}, "data": {"k": VALUE}})).status_code == 201
    return int(first.json()["metadata"]["resourceVersion"]), int(last.json()["metadata"]["resourceVersion"])


async def granted(world: Audited) -> None:
    rules = {
        "lister": {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
        "getter": {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]},
        "named": {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["live"]},
    }  # fmt: skip
    for name, rule in rules.items():
        await world.rooms.make("clusterroles.rbac.authorization.k8s.io", {"metadata": {"name": name}, "rules": [rule]})
    for name in ("view", *rules):
        user = "viewer" if name == "view" else name
        await world.rooms.make("rolebindings.rbac.authorization.k8s.io", {
            "metadata": {"name": f"of-{user}", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
        })  # fmt: skip


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Audited]:
    namespaces = ("default", "kube-system", "kube-public")
    async with audited(permissions=Permissions, namespaces=namespaces, tokens=USERS) as world:
        await roles.reconcile(world.rooms.pipeline)
        await granted(world)
        yield world


def reads(type: ResourceType) -> list[str]:
    root = f"/apis/{type.group}/{type.version}" if type.group else f"/api/{type.version}"
    place = f"{root}{'/namespaces/default' if type.namespaced else ''}/{type.resource}"
    out = [f"{place}/x"] if "get" in type.verbs else []
    out += [place] if "list" in type.verbs else []
    return [*out, f"{place}?watch=true&timeoutSeconds=0"] if "watch" in type.verbs else out


async def test_every_resource_of_every_moment_is_open_to_whom_its_present_is(world: Audited) -> None:
    log, wrong, tried = world.rooms.log, [], 0
    for token in (None, BOB, VIEWER, GETTER, NAMED):
        async with in_process(world.rooms.door, token) as http:
            for type in world.rooms.catalogue.types:
                for path in reads(type):
                    if "watch" in path and token in (VIEWER, GETTER):
                        # What is allowed goes on for long; `list` was asked with the same rights.
                        continue
                    now, then = await http.get(path), await http.get(f"/at/r{log.head}{path}")
                    refused = now.status_code in (401, 403), then.status_code in (401, 403)
                    tried += 1
                    if refused[0] != refused[1] or (token in (None, BOB) and not all(refused)):
                        wrong.append((token, path, now.status_code, then.status_code))
    assert wrong == [] and tried > 500


async def test_values_of_a_secret_leave_by_no_door_without_get_on_it(world: Audited) -> None:
    async with in_process(world.rooms.door, TOKEN) as admin:
        first, last = await made(admin)
    told: dict[Any, list[str]] = {}
    for token in (BOB, VIEWER, LISTER, NAMED, GETTER):
        async with in_process(world.rooms.door, token) as http:
            seen = told[token] = []
            for query in QUERIES:
                for at in (f"r{first}", f"r{last}"):
                    text = query % {"at": at, "first": first, "last": last, "db": _DB}
                    answer = await http.post("/graphql", json={"query": text})
                    assert answer.status_code < 500, answer.text
                    if VALUE in answer.text or PLAIN in answer.text:
                        seen.append(query)
            for path in ("secrets/db", "secrets/live"):
                for moment in ("", f"/at/r{first}", f"/at/r{last}"):
                    answer = await http.get(f"{moment}/api/v1/namespaces/default/{path}")
                    if VALUE in answer.text:
                        seen.append(f"{moment and 'past'} {path}")
    async with in_process(world.rooms.door, TOKEN) as admin:
        for query in QUERIES:
            answer = await admin.post(
                "/graphql", json={"query": query % {"at": f"r{first}", "first": first, "last": last, "db": _DB}}
            )
            # A question that means nothing would find nothing for the wrong reason.
            assert "errors" not in answer.json(), (query, answer.text)
    assert told[BOB] == [] and told[VIEWER] == []
    # Whoever may list sees that they are there; GraphQL's values ask for `get` on each.
    assert told[LISTER] == []
    assert set(told[NAMED]) == {" secrets/live"}
    # The search would find what is there: whoever may, gets it.
    assert QUERIES[0] in told[GETTER] and "past secrets/db" in told[GETTER]


async def test_a_refusal_tells_the_record_which_rule_was_missing_and_not_the_caller(world: Audited) -> None:
    async with in_process(world.rooms.door, TOKEN) as admin:
        first, _ = await made(admin)
    async with in_process(world.rooms.door, BOB) as bob:
        refused = await bob.get(f"/at/r{first}/api/v1/namespaces/default/secrets/db")
    assert refused.status_code == 403 and "missing" not in refused.text and "rule" not in refused.text
    kept = [row for row in await world.kept() if row.user == "bob" and row.code == 403]
    assert kept and kept[-1].name == "db" and "missing rule" in kept[-1].message
