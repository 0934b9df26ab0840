"""POST /erasures: who may, what is refused, what is told of the past afterwards, and that it is recorded."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio

from ksql.auth.identity import User
from ksql.history.images import Images
from ksql.history.undo import Planner
from ksql.verbs import roles
from ksql.verbs.permissions import Permissions
from tests.log.sealed import keyed
from tests.serve.cluster import BOB, TOKEN, Rooms, in_process, rooms

MARKER = "bWFya2VyLW9mLXRoZS10ZXN0LWVyYXNpbmc="
ERIN = "erin's-token"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Rooms]:
    namespaces = ("default", "kube-system", "kube-public")
    tokens = {ERIN: User("erin", ("system:authenticated",))}
    vault = keyed(tmp_path, "secrets")
    async with rooms(permissions=Permissions, namespaces=namespaces, tokens=tokens, vault=vault) as server:
        await roles.reconcile(server.pipeline)
        yield server


def secret(name: str, value: str = MARKER) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"password": value}}


async def lived(http: httpx.AsyncClient, name: str) -> tuple[int, int]:
    """A Secret that was made, changed and deleted: the revisions at which it was there."""
    path = "/api/v1/namespaces/default/secrets"
    made = await http.post(path, json=secret(name))
    changed = await http.put(f"{path}/{name}", json=secret(name, MARKER[:-4] + "eHg="))
    assert (await http.delete(f"{path}/{name}")).status_code == 200
    return tuple(int(answer.json()["metadata"]["resourceVersion"]) for answer in (made, changed))


def wish(name: str, **more: str) -> dict[str, str]:
    return {"kind": "secret", "namespace": "default", "name": name, "reason": "asked for by its owner", **more}


async def test_what_was_erased_is_told_at_no_door_and_that_it_was_there_at_all(server: Rooms) -> None:
    async with in_process(server.door, TOKEN) as http:
        first, second = await lived(http, "gone")
        await lived(http, "kept")
        for revision in (first, second):
            at = f"/at/r{revision}/api/v1/namespaces/default/secrets"
            assert MARKER[:20] in (await http.get(f"{at}/gone")).text
            assert MARKER[:20] in (await http.get(at)).text
        erased = (await http.post("/erasures", json=wish("gone"))).json()["erased"]
        assert [one["events"] for one in erased] == [3]
        for revision in (first, second):
            at = f"/at/r{revision}/api/v1/namespaces/default/secrets"
            told = await http.get(f"{at}/gone")
            assert told.status_code == 410 and told.json()["reason"] == "Expired"
            assert f"was erased: {erased[0]['recorded']} tells by whom and why" in told.json()["message"]
            listed = (await http.get(at)).json()["items"]
            assert [one["metadata"]["annotations"] for one in listed if one["metadata"]["name"] == "gone"] == [
                {"ksql.io/erased": erased[0]["recorded"]}
            ]
            assert all("data" not in one for one in listed if one["metadata"]["name"] == "gone")
        # Watches of the present begin anew, those of the past tell placeholders.
        watch = "/api/v1/namespaces/default/secrets?watch=true&timeoutSeconds=1"
        assert MARKER[:20] not in (await http.get(f"{watch}&resourceVersion={first - 1}")).text.replace("kept", "")
        assert len(await server.log.read(0, 1000)) == server.log.head
        again = await http.post("/erasures", json=wish("gone"))
        assert again.status_code == 404


async def test_the_deed_is_recorded_with_the_name_and_the_reason(server: Rooms) -> None:
    async with in_process(server.door, TOKEN) as http:
        await lived(http, "gone")
        [one] = (await http.post("/erasures", json=wish("gone"))).json()["erased"]
        event = await server.log.event(int(one["recorded"][1:]))
        assert event is not None and event.actor.impersonator == "kubernetes-admin"
        assert event.document["data"] == {
            "resource": "secrets", "namespace": "default", "name": "gone", "uid": one["uid"], "events": "3",
            "by": "kubernetes-admin", "reason": "asked for by its owner",
        }  # fmt: skip


async def test_only_the_verb_erase_on_the_resource_lets_one(server: Rooms) -> None:
    async with in_process(server.door, TOKEN) as http, in_process(server.door, BOB) as bob:
        await lived(http, "gone")
        refused = await bob.post("/erasures", json=wish("gone"))
        assert refused.status_code == 403 and 'cannot erase resource "secrets"' in refused.json()["message"]
        await server.make("clusterroles.rbac.authorization.k8s.io", {
            "metadata": {"name": "eraser"},
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["erase"], "resourceNames": ["gone"]}],
        })  # fmt: skip
        await server.make("rolebindings.rbac.authorization.k8s.io", {
            "metadata": {"name": "eraser", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "eraser"},
            "subjects": [{"kind": "User", "name": "erin", "apiGroup": "rbac.authorization.k8s.io"}],
        })  # fmt: skip
        async with in_process(server.door, ERIN) as erin:
            assert (await erin.post("/erasures", json=wish("other"))).status_code == 403
            assert (await erin.post("/erasures", json=wish("gone"))).status_code == 200


async def test_what_cannot_be_erased_is_refused_with_the_reason(server: Rooms) -> None:
    async with in_process(server.door, TOKEN) as http:
        await http.post("/api/v1/namespaces/default/secrets", json=secret("lives"))
        refused = await http.post("/erasures", json=wish("lives"))
        assert refused.status_code == 409 and "delete it first" in refused.json()["message"]
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain"}}
        await http.post("/api/v1/namespaces/default/configmaps", json=body)
        await http.delete("/api/v1/namespaces/default/configmaps/plain")
        refused = await http.post("/erasures", json=wish("plain", kind="ConfigMap"))
        assert refused.status_code == 409 and "in plain text" in refused.json()["message"]
        assert (await http.post("/erasures", json=wish("never"))).status_code == 404
        assert (await http.post("/erasures", json=wish("x", kind="nothing"))).status_code == 404
        for wrong in ({**wish("x"), "reason": ""}, {"kind": "secret"}, {**wish("x"), "more": "y"}, ["x"], {"kind": 1}):
            assert (await http.post("/erasures", json=wrong)).status_code == 400
        assert (await http.post("/erasures", content=b"{")).status_code == 400
        assert (await http.get("/erasures")).status_code in (403, 405)


async def test_what_was_erased_is_not_restored_as_something_empty(server: Rooms) -> None:
    async with in_process(server.door, TOKEN) as http:
        _, second = await lived(http, "gone")
        await http.post("/erasures", json=wish("gone"))
        planner = Planner(server.log, server.objects, Images(server.log), lambda _: {})
        event = await server.log.event(second)
        assert event is not None
        step = await planner.restore(event, "alice")
        assert step.document is None and "was erased" in step.conflicts[0].text
        [step] = await planner.undo([event])
        assert step.document is None and "was erased" in step.conflicts[0].text
