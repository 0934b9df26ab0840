"""The matrix of rights: every root field with all below it, asked by users who may not; nothing of others comes out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ksql.auth.identity import ADMIN_GROUP, AUTHENTICATED, Question, User, Verdict
from ksql.base.clock import SystemClock
from ksql.serve.gql.app import graphql_app, served_by
from tests.serve.asking import Asking
from tests.serve.follower import House
from tests.serve.gql_door import as_user
from tests.verbs.room import Room, deployment, opened, pod

AUTHOR = User("marker-author", (ADMIN_GROUP,))
CAROL = User("carol", (AUTHENTICATED,))
MARK = "marker"
# What the cluster tells everybody who is somebody: positions, their seals, and what kinds there are.
# Pages, empty for whoever sees nothing.
PAGES = {"events", "effects", "nodes", "search", "changes", "standing", "activity", "timeline"}
TOLD_TO_ALL = {"head", "horizon", "cuts", "moment", "revisionAt", "resources", "playback", "seals"}


@dataclass(frozen=True)
class Only:
    """Allows everything of these resources, and nothing else."""

    resources: tuple[str, ...] = ()

    def authorize(self, question: Question) -> Verdict:
        is_inside = ADMIN_GROUP in question.user.groups or question.user.name.startswith("system:")
        return Verdict(is_inside or (bool(question.resource) and question.resource in self.resources))

    def rules(self, user: User, namespace: str) -> Any:
        raise NotImplementedError


@asynccontextmanager
async def shop(*resources: str) -> AsyncIterator[tuple[Room, httpx.AsyncClient]]:
    """A namespace full of marks, and carol, who may see some resources."""
    async with opened(SystemClock(seed=1), permissions=lambda objects: Only(resources)) as room:
        made: dict[str, Any] = {"user": AUTHOR, "user_agent": "marker-agent; reason: marker-reason"}
        mark = {"labels": {"l": "marker-label"}, "annotations": {"a": "marker-annotation"}}
        for name in ("asked", "marker-other"):
            meta = {"name": name, "namespace": "shop", **mark}
            await room.create("secrets", {"metadata": meta, "stringData": {"k": "marker-secret"}}, **made)
            body = deployment(name)
            body["metadata"] |= mark
            await room.create("deployments.apps", body, **made)
            body = pod(name, node="marker-node")
            body["metadata"] |= mark
            body["spec"]["containers"][0]["image"] = "marker-image:1"
            await room.create("pods", body, **made)
            await room.create("nodes", {"metadata": {"name": name, **mark}}, **made)
        owner = room.objects.get("secrets", "shop", "asked")
        assert owner is not None
        meta = {"name": "asked", "namespace": "shop", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Secret", "name": "asked", "uid": owner.stream.uid}]}  # fmt: skip
        # Of this carol may see everything, in the second half: by whom it was made belongs to it.
        bob = User("bob", (ADMIN_GROUP,))
        await room.create("configmaps", {"metadata": meta, "data": {"colour": "blue"}}, user=bob)
        app = graphql_app(room.pipeline, room.objects, room.log, room.catalogue, room.clock)
        transport = httpx.ASGITransport(as_user(app, CAROL))
        async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:
            yield room, http


def uids(room: Room, *resources: str) -> list[str]:
    keys = ("secrets", "deployments.apps", "pods", "nodes", "configmaps")
    return [e.stream.uid for key in keys if key not in resources for e in room.objects.list(key)]


@pytest.mark.parametrize("operation", ["query", "mutation"])
async def test_who_may_nothing_learns_nothing_by_any_field(operation: str) -> None:
    async with shop() as (room, http):
        asking = Asking(served_by(room.catalogue)._schema)
        roots, head = asking.roots(operation), room.log.head
        assert len(roots) > (100 if operation == "query" else 10)
        open_to_all = set()
        for name, query in roots:
            answer = await http.post("/graphql", json={"query": query})
            assert answer.status_code == 200, (name, answer.text)
            text = answer.text
            assert MARK not in text, (name, query, text)
            assert not [uid for uid in uids(room) if uid in text], (name, text)
            found = answer.json()
            codes = {error["extensions"]["code"] for error in found.get("errors", ())}
            assert "INTERNAL" not in codes and "GRAPHQL_VALIDATION_FAILED" not in codes, (name, query, text)
            if (found.get("data") or {}).get(name) not in (None, []) and not codes:
                open_to_all.add(name)
        assert room.log.head == head, "nothing was written"
        if operation == "query":
            # Whatever else answers without a refusal has nothing to tell: pages without rows.
            assert open_to_all - TOLD_TO_ALL - PAGES == set(), open_to_all
            assert {"head", "horizon", "moment"} <= open_to_all


async def test_who_may_see_one_kind_learns_nothing_of_others_through_it() -> None:
    async with shop("configmaps") as (room, http):
        asking = Asking(served_by(room.catalogue)._schema)
        seen = 0
        for name, query in asking.roots("query"):
            answer = await http.post("/graphql", json={"query": query})
            text = answer.text
            assert MARK not in text, (name, query, text)
            # The reference to its owner is a part of what she may see.
            owner = room.objects.get("secrets", "shop", "asked")
            others = {uid for uid in uids(room, "configmaps") if uid in text}
            assert owner is not None and others <= {owner.stream.uid}, (name, text)
            seen += '"blue"' in text
        assert seen >= 2, "what she may see she does"


async def test_who_may_nothing_can_follow_nothing() -> None:
    async with shop() as (room, _):
        house = House(room)
        for name, query in Asking(house.schema._schema).roots("subscription"):
            async with house.follow(query, CAROL) as follower:
                if name == "events":
                    await asyncio.sleep(0.05)
                    await room.create("configmaps", {"metadata": {"name": MARK, "namespace": "shop"}}, user=AUTHOR)
                    await asyncio.sleep(0.1)
                    assert follower.waiting == 0
                    continue
                answer = await follower.next()
                assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", (name, answer)


def test_the_matrix_leaves_no_root_out() -> None:
    from ksql.schema import catalogue

    asking = Asking(served_by(catalogue.load())._schema)
    for operation in ("query", "mutation", "subscription"):
        asking.roots(operation)
    assert not [one for one in asking.left_out if one.startswith(("Query.", "Mutation.", "Subscription."))]
