"""Admission webhooks over real TLS, and all that one may do wrong on the wire."""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import ADMIN_GROUP, User
from ksql.base.clock import SystemClock
from ksql.base.documents import Document
from ksql.log.store import open_log
from ksql.schema import catalogue as catalogues
from ksql.schema.errors import ApiError
from ksql.serve import webhooks as calling
from ksql.serve.webhooks import Webhooks
from ksql.state.objects import Objects
from ksql.verbs.bootstrap import bootstrap
from ksql.verbs.local import LocalClient
from ksql.verbs.pipeline import Pipeline
from tests.support.webhook import SERVICE, Webhook, webhook


def answered(question: Document) -> Document:
    """What an agreeable webhook says."""
    response = {"uid": question["request"]["uid"], "allowed": True}
    return {"kind": "AdmissionReview", "apiVersion": question["apiVersion"], "response": response}


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Webhook]:
    with webhook(tmp_path, answer=answered) as found:
        yield found


@pytest.fixture
async def client() -> AsyncIterator[LocalClient]:
    clock = SystemClock(seed=1)
    log = open_log("sqlite://", clock)
    objects = Objects(clock)
    log.fold_into(objects.fold)
    await log.open()
    await objects.load(log)
    webhooks = Webhooks(objects, clock)
    pipeline = Pipeline(log, objects, catalogues.load(), AdminAuthorizer(), clock, caller=webhooks)
    await bootstrap(pipeline)
    yield LocalClient(pipeline, User("alice", (ADMIN_GROUP,)), "test")
    await webhooks.aclose()
    await log.aclose()


async def configure(client: LocalClient, config: Document, kind: str = "Validating", **more: Any) -> None:
    rules = [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]
    one = {
        "name": "hook.example.com", "clientConfig": config, "rules": rules, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "timeoutSeconds": 1, **more,
    }  # fmt: skip
    document = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": f"{kind}WebhookConfiguration"}
    resource = f"{kind.lower()}webhookconfigurations.admissionregistration.k8s.io"
    await client.create(resource, {**document, "metadata": {"name": "hooks"}, "webhooks": [one]})


async def create(client: LocalClient) -> Document:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
    return await client.create("configmaps", body)


async def refused(client: LocalClient) -> str:
    with pytest.raises(ApiError) as error:
        await create(client)
    assert (error.value.code, error.value.reason) == (500, "InternalError")
    told = 'Internal error occurred: failed calling webhook "hook.example.com": '
    assert error.value.message.startswith(told)
    return error.value.message.removeprefix(told)


async def test_a_webhook_is_asked_over_tls_and_its_patch_is_laid_down(client: LocalClient, hook: Webhook) -> None:
    patch = base64.b64encode(json.dumps([{"op": "add", "path": "/data", "value": {"by": "hook"}}]).encode()).decode()

    def spoil(answer: Document) -> Document:
        return {**answer, "response": {**answer["response"], "patchType": "JSONPatch", "patch": patch}}

    hook.spoil = spoil
    await configure(client, hook.config(), "Mutating")
    assert (await create(client))["data"] == {"by": "hook"}
    assert hook.asked[0]["request"]["object"]["metadata"]["name"] == "a"


async def test_a_service_is_reached_at_an_endpoint_under_its_own_name(
    client: LocalClient, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, namespace, _ = SERVICE.split(".")
    metadata = {"name": name, "namespace": namespace}
    spec = {"ports": [{"port": 443, "targetPort": hook.port}]}
    await client.create("services", {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    service = {"service": {"name": name, "namespace": namespace, "path": "/check"}, "caBundle": hook.authority}
    await configure(client, service)
    assert "failed to call webhook: " in await refused(client) and hook.asked == []
    # No Endpoints may name this very machine: where the Service leads is put in here.
    backend = calling.Backend("127.0.0.1", hook.port, "")
    monkeypatch.setattr(Webhooks, "_backend", lambda self, namespace, name, port: backend)
    await create(client)
    assert len(hook.asked) == 1


async def test_one_that_hangs_is_given_up_in_its_time(client: LocalClient, hook: Webhook) -> None:
    hook.delay_seconds = 3.0
    await configure(client, hook.config())
    begun = time.monotonic()
    assert await refused(client) == (f'failed to call webhook: Post "{hook.url}?timeout=1s": context deadline exceeded')
    assert time.monotonic() - begun < 2.5


async def test_one_that_answers_a_byte_at_a_time_is_given_up_too(client: LocalClient, hook: Webhook) -> None:
    drops: list[int] = []

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        try:
            while True:
                writer.write(b" ")
                await writer.drain()
                drops.append(1)
                await asyncio.sleep(0.05)
        except OSError:
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(hook.pem)
    server = await asyncio.start_server(drip, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    await configure(client, {"url": f"https://127.0.0.1:{port}/drip", "caBundle": hook.authority})
    assert "context deadline exceeded" in await refused(client)
    assert drops, "it was answering"
    server.close()


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (lambda answer: b"no", 200, "couldn't get version/kind"),
        (lambda answer: b"\xff\x00", 200, "couldn't get version/kind"),
        (lambda answer: answer, 500, "an error on the server"),
        (lambda answer: b"go there", 302, "an error on the server"),
        (lambda answer: {**answer, "response": None}, 200, "webhook response was absent"),
        (lambda answer: [answer], 200, "webhook response was absent"),
        (lambda answer: {**answer, "kind": "Other"}, 200, "expected webhook response of admission.k8s.io/v1, "),
        (lambda answer: {**answer, "response": {"uid": "x", "allowed": True}}, 200, "expected response.uid="),
        (lambda answer: b" " * (17 * 1024 * 1024), 200, "the answer is larger than"),
    ],
)
async def test_an_answer_that_is_none_refuses(
    client: LocalClient, hook: Webhook, spoil: Any, code: int, said: str
) -> None:
    hook.spoil, hook.code = spoil, code
    await configure(client, hook.config(), timeoutSeconds=10)
    assert said in await refused(client)


async def test_a_certificate_of_another_authority_is_not_believed(
    client: LocalClient, hook: Webhook, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with webhook(tmp_path_factory.mktemp("other"), answer=answered) as other:
        await configure(client, {"url": hook.url, "caBundle": other.authority})
        assert "x509: certificate signed by unknown authority" in await refused(client)
    assert hook.asked == []


async def test_nobody_there_refuses_or_is_passed_over(client: LocalClient, hook: Webhook) -> None:
    config = {"url": "https://127.0.0.1:1/check", "caBundle": hook.authority}
    await configure(client, config)
    assert "connect: connection refused" in await refused(client)
    await configure(client, config, "Mutating", failurePolicy="Ignore")
    await client.delete("validatingwebhookconfigurations.admissionregistration.k8s.io", "", "hooks")
    await create(client)


async def test_others_write_while_a_webhook_thinks(client: LocalClient, hook: Webhook) -> None:
    hook.delay_seconds = 0.8
    await configure(client, hook.config(), timeoutSeconds=10)
    slow = asyncio.create_task(create(client))
    for number in range(20):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"n-{number}"}}
        await client.create("namespaces", body)
    assert not slow.done(), "no write waits for another's webhook"
    await slow
