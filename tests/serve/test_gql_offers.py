"""Offers to schedulers outside: what is free, told as it changes, and bindings that hold only while it is."""

import asyncio
import json
from typing import Any

import pytest

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import ADMIN_GROUP, User
from ksql.schema import catalogue
from ksql.schema.errors import ConflictError
from ksql.verbs import bootstrap
from ksql.verbs.local import connect
from ksql.verbs.offers import OFFER_ANNOTATION
from ksql.verbs.pipeline import Pipeline
from tests.history import story
from tests.serve.gql_door import app_of, as_user, listening
from tests.serve.test_gql_subscriptions import PATIENCE_SECONDS, serving, socket_to, subscribe

OFFERS = """subscription($cpu: String) { offers(cpu: $cpu) {
  offers { node revision amounts { resource free allocatable } } withdrawn } }"""


def node(name: str, cpu: str = "2") -> dict[str, Any]:
    room = {"cpu": cpu, "memory": "4Gi", "pods": "10"}
    return {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip


def pod(name: str, cpu: str) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], "schedulerName": "outside"},
    }  # fmt: skip


def binding(name: str, to: str, offer: int | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "default"}
    if offer is not None:
        metadata["annotations"] = {OFFER_ANNOTATION: str(offer)}
    target = {"apiVersion": "v1", "kind": "Node", "name": to}
    return {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}


async def client_of(told: story.Story) -> Any:
    pipeline = Pipeline(told.log, told.objects, catalogue.load(), AdminAuthorizer(), told.clock)
    await bootstrap.bootstrap(pipeline)
    return connect(pipeline)(User("outside", (ADMIN_GROUP,)), "outside")


async def update(socket: Any) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        message = json.loads(await socket.recv())
    assert message["type"] == "next", message
    found: dict[str, Any] = message["payload"]["data"]["offers"]
    return found


def free(offer: dict[str, Any]) -> dict[str, str]:
    return {amount["resource"]: amount["free"] for amount in offer["amounts"]}


async def test_offers_follow_bindings_and_the_ends_of_pods() -> None:
    async with story.told() as told, serving(told) as url, socket_to(url) as socket:
        client = await client_of(told)
        await client.create("nodes", node("big"))
        await subscribe(socket, OFFERS, cpu="1")
        offers = {one["node"]: one for one in (await update(socket))["offers"]}
        assert free(offers["big"]) == {"cpu": "2", "memory": "4Gi", "pods": "10"}
        await client.create("pods", pod("p", "700m"))
        await client.create("pods", binding("p", "big", offers["big"]["revision"]), subresource="binding")
        (offer,) = (await update(socket))["offers"]
        assert (free(offer)["cpu"], free(offer)["pods"]) == ("1300m", "9")
        assert offer["revision"] > offers["big"]["revision"]
        await client.create("pods", pod("q", "600m"))
        await client.create("pods", binding("q", "big", offer["revision"]), subresource="binding")
        assert (await update(socket))["withdrawn"] == ["big"]
        await client.delete("pods", "default", "p", grace_period_seconds=0)
        (offer,) = (await update(socket))["offers"]
        assert free(offer)["cpu"] == "1400m"
        await client.delete("nodes", "", "big")
        assert (await update(socket))["withdrawn"] == ["big"]


async def test_a_binding_on_an_offer_that_no_longer_holds_is_refused_and_uses_no_revision() -> None:
    async with story.told() as told:
        client = await client_of(told)
        await client.create("nodes", node("small", cpu="1"))
        for name in ("first", "second"):
            await client.create("pods", pod(name, "600m"))
        revision = told.log.head
        await client.create("pods", binding("first", "small", revision), subresource="binding")
        head = told.log.head
        with pytest.raises(ConflictError, match=r'offer of node "small" is withdrawn: it has not enough cpu \(600m'):
            await client.create("pods", binding("second", "small", revision), subresource="binding")
        with pytest.raises(ConflictError, match='offer of node "gone" is withdrawn'):
            await client.create("pods", binding("second", "gone", revision), subresource="binding")
        assert told.log.head == head
        # Without an offer it is bound as it stands, as Kubernetes does.
        await client.create("pods", binding("second", "small"), subresource="binding")


async def test_who_may_not_list_nodes_is_offered_nothing() -> None:
    async with (
        story.told() as told, listening(as_user(app_of(told), User("nobody"))) as address,
        socket_to(f"ws://{address}/graphql") as socket,
    ):  # fmt: skip
        await subscribe(socket, OFFERS)
        async with asyncio.timeout(PATIENCE_SECONDS):
            message = json.loads(await socket.recv())
        assert message["type"] in ("error", "next")
        assert "cannot list resource" in json.dumps(message)
