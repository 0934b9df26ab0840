"""Permissions follow the stored roles and bindings; nobody gives what he has not."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ksql.auth.identity import AUTHENTICATED, User
from ksql.auth.rbac import BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, GROUP, ROLES
from ksql.base.clock import VirtualClock
from ksql.base.documents import Document
from ksql.schema.errors import ApiError, ForbiddenError, NotFoundError
from ksql.state.objects import Objects
from ksql.verbs import roles
from ksql.verbs.permissions import Permissions
from ksql.verbs.request import Selection
from tests.verbs.room import Room, config, opened, pod

BOB = User("bob", ("devs", AUTHENTICATED))
ONE_POD = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


@pytest_asyncio.fixture
async def room() -> AsyncIterator[Room]:
    async with opened(VirtualClock(1), permissions=Permissions) as room:
        await roles.reconcile(room.pipeline)
        yield room


async def role(room: Room, name: str, *rules: Document, namespace: str = "", **fields: Any) -> Document:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    document = {"metadata": metadata, "rules": list(rules)}
    return await room.create(ROLES if namespace else CLUSTER_ROLES, document, **fields)


async def bind(
    room: Room, name: str, kind: str, role: str, user: str = "bob", namespace: str = "", **fields: Any
) -> None:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    reference = {"apiGroup": GROUP, "kind": kind, "name": role}
    subjects = [{"apiGroup": GROUP, "kind": "User", "name": user}]
    document = {"metadata": metadata, "roleRef": reference, "subjects": subjects}
    await room.create(BINDINGS if namespace else CLUSTER_BINDINGS, document, **fields)


async def refused(awaitable: Any) -> str:
    with pytest.raises(ForbiddenError) as caught:
        await awaitable
    return caught.value.message


async def test_a_permission_comes_and_goes_with_its_binding(room: Room) -> None:
    await room.create("pods", pod())
    said = await refused(room.get("pods", "shop", "web-1", user=BOB))
    assert said == (
        'pods "web-1" is forbidden: User "bob" cannot get resource "pods" in API group "" in the namespace "shop"'
    )
    await role(room, "reader", ONE_POD)
    await bind(room, "b", "ClusterRole", "reader", namespace="shop")
    assert (await room.get("pods", "shop", "web-1", user=BOB))["metadata"]["name"] == "web-1"
    await refused(room.perform("delete", "pods", "shop", "web-1", user=BOB))
    await room.delete(BINDINGS, "shop", "b")
    await refused(room.get("pods", "shop", "web-1", user=BOB))


async def test_a_restart_comes_to_the_same_permissions(room: Room) -> None:
    await role(room, "reader", ONE_POD)
    await bind(room, "b", "ClusterRole", "reader", namespace="shop")
    anew = Objects(room.clock)
    permissions = Permissions(anew)
    await anew.load(room.log)
    for user in (BOB, User("carol", (AUTHENTICATED,))):
        found, expected = (each.rules(user, "shop").rules for each in (permissions, room.pipeline.authorizer))
        assert sorted(map(str, found)) == sorted(map(str, expected))
    before = room.log.head
    await roles.reconcile(room.pipeline)
    assert room.log.head == before


async def test_a_default_that_was_harmed_is_mended_at_the_next_start(room: Room) -> None:
    await room.patch(CLUSTER_ROLES, "", "system:discovery", {"rules": []})
    await room.delete(CLUSTER_BINDINGS, "", "system:discovery")
    await roles.reconcile(room.pipeline)
    assert (await room.get(CLUSTER_ROLES, "", "system:discovery"))["rules"] != []
    assert (await room.get(CLUSTER_BINDINGS, "", "system:discovery"))["subjects"][0]["name"] == AUTHENTICATED


async def test_whoever_may_write_roles_gives_no_more_than_he_has(room: Room) -> None:
    await role(
        room,
        "manages-roles",
        {"apiGroups": [GROUP], "resources": ["*"], "verbs": ["create", "update", "patch", "get"]},
        ONE_POD,
    )
    await bind(room, "b", "ClusterRole", "manages-roles", namespace="shop")
    await role(room, "mine", ONE_POD, namespace="shop", user=BOB)
    more = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "delete"]}
    said = await refused(role(room, "theirs", more, namespace="shop", user=BOB))
    assert said == (
        f'roles.{GROUP} "theirs" is forbidden: user "bob" (groups=["devs" "system:authenticated"]) is attempting to '
        "grant RBAC permissions not currently held:\n"
        '{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "delete"]}'
    )
    await refused(room.patch(ROLES, "shop", "mine", {"rules": [more]}, user=BOB))
    await room.patch(ROLES, "shop", "mine", {"metadata": {"finalizers": ["x.io/y"]}}, user=BOB)
    await role(room, "strong", more)
    said = await refused(_bind(room, "strong"))
    assert "attempting to grant RBAC permissions not currently held" in said
    with pytest.raises(NotFoundError, match=f'clusterroles.{GROUP} "nothing" not found'):
        await _bind(room, "nothing")


async def _bind(room: Room, to: str) -> None:
    reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": to}
    subjects = [{"apiGroup": GROUP, "kind": "User", "name": "bob"}]
    document = {"metadata": {"name": f"to-{to}", "namespace": "shop"}, "roleRef": reference, "subjects": subjects}
    await room.create(BINDINGS, document, user=BOB)


async def test_escalate_and_bind_are_permissions_of_their_own(room: Room) -> None:
    rules = {"apiGroups": [GROUP], "resources": ["roles", "rolebindings"], "verbs": ["create", "escalate"]}
    binds = {"apiGroups": [GROUP], "resources": ["clusterroles"], "verbs": ["bind"], "resourceNames": ["edit"]}
    await role(room, "chief", rules, binds)
    await bind(room, "b", "ClusterRole", "chief", namespace="shop")
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    await role(room, "all", everything, namespace="shop", user=BOB)
    await _bind(room, "edit")
    await refused(_bind(room, "cluster-admin"))


async def test_only_who_may_everything_aggregates(room: Room) -> None:
    rules = {"apiGroups": [GROUP], "resources": ["clusterroles"], "verbs": ["create"]}
    await role(room, "maker", rules)
    await bind(room, "b", "ClusterRole", "maker")
    selectors = [{"matchLabels": {"a": "b"}}]
    gathers = {"metadata": {"name": "g"}, "aggregationRule": {"clusterRoleSelectors": selectors}, "rules": []}
    said = await refused(room.create(CLUSTER_ROLES, gathers, user=BOB))
    assert said == (
        f'clusterroles.{GROUP} "g" is forbidden: must have cluster-admin privileges to use the aggregationRule'
    )


async def test_a_list_of_one_name_asks_for_that_object(room: Room) -> None:
    await room.create("configmaps", config("mine"))
    await role(
        room, "one", {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"], "resourceNames": ["mine"]}
    )
    await bind(room, "b", "ClusterRole", "one", namespace="shop")
    request = room.request("list", "configmaps", "shop", user=BOB)
    page = await room.pipeline.page(request, Selection(field_selector="metadata.name=mine"))
    assert [entry.stream.name for entry in page.entries] == ["mine"]
    with pytest.raises(ApiError):
        await room.pipeline.page(request, Selection(field_selector="metadata.name=theirs"))
    with pytest.raises(ApiError):
        await room.pipeline.page(request, Selection())


async def test_what_nodes_may_read_follows_the_pods(room: Room) -> None:
    node = User("system:node:n1", ("system:nodes", AUTHENTICATED))
    await room.create("secrets", {"metadata": {"name": "s", "namespace": "shop"}})
    await refused(room.get("secrets", "shop", "s", user=node))
    made = pod("web-1", node="n1")
    made["spec"]["volumes"] = [{"name": "s", "secret": {"secretName": "s"}}]
    await room.create("pods", made)
    await room.get("secrets", "shop", "s", user=node)
    await refused(room.get("secrets", "shop", "s", user=User("system:node:n2", ("system:nodes", AUTHENTICATED))))
    await room.delete("pods", "shop", "web-1", grace_period_seconds=0)
    await refused(room.get("secrets", "shop", "s", user=node))
