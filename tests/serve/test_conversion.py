"""Custom resources in two shapes, converted by a real webhook over TLS, and all that it may do wrong."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import ADMIN_GROUP, User
from ksql.base.clock import SystemClock
from ksql.base.documents import Document
from ksql.log.protocol import EventLog
from ksql.log.store import open_log
from ksql.log.verify import verify
from ksql.schema import catalogue as catalogues
from ksql.schema.custom.definitions import DEFINITIONS
from ksql.schema.errors import ApiError, InternalError
from ksql.serve import webhooks as calling
from ksql.serve.webhooks import Webhooks
from ksql.state.objects import Objects
from ksql.verbs.local import LocalClient
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Request, Selection
from tests.support.webhook import SERVICE, Webhook, webhook

HOOKS = "hooks.example.com"
ABOUT = "conversion webhook for example.com/v1, Kind=Hook"


def _schema(*fields: str) -> Document:
    properties = {field: {"type": "string"} for field in fields}
    return {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}}


def definition(config: Document, storage: str = "v1") -> Document:
    names = {"plural": "hooks", "singular": "hook", "kind": "Hook", "listKind": "HookList"}
    versions = [
        {"name": "v1", "served": True, "storage": storage == "v1", "schema": _schema("hostPort")},
        {"name": "v2", "served": True, "storage": storage == "v2", "schema": _schema("host", "port")},
    ]
    webhook = {"clientConfig": config, "conversionReviewVersions": ["v1"]}
    spec = {
        "group": "example.com", "scope": "Namespaced", "names": names, "versions": versions,
        "conversion": {"strategy": "Webhook", "webhook": webhook},
    }  # fmt: skip
    document = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return {**document, "metadata": {"name": HOOKS}, "spec": spec}


@dataclass
class Place:
    log: EventLog
    objects: Objects
    pipeline: Pipeline
    client: LocalClient
    hook: Webhook

    async def define(self, config: Document, storage: str = "v1") -> None:
        """Define the kind, or define it anew; established at once, as the controller would."""
        wanted = definition(config, storage)
        if self.objects.get(DEFINITIONS, "", HOOKS) is None:
            await self.client.create(DEFINITIONS, wanted)
            status = {
                "acceptedNames": wanted["spec"]["names"],
                "conditions": [{"type": "Established", "status": "True", "reason": "x", "message": "",
                                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            }  # fmt: skip
            await self.client.patch(DEFINITIONS, "", HOOKS, {"status": status}, subresource="status")
        else:
            await self.client.patch(DEFINITIONS, "", HOOKS, {"spec": wanted["spec"]})

    async def create(self, version: str, name: str, **spec: str) -> Document:
        metadata = {"name": name, "namespace": "default", "labels": {"l": "1"}}
        body = {"apiVersion": f"example.com/{version}", "kind": "Hook", "metadata": metadata, "spec": spec}
        return await self.client.create(HOOKS, body)

    def request(self, verb: str, version: str, name: str = "", **more: Any) -> Request:
        type = self.pipeline.catalogue.find("example.com", version, "hooks")
        assert type is not None
        return Request(User("alice", (ADMIN_GROUP,)), verb, type, "default", name, **more)

    async def get(self, version: str, name: str) -> Document:
        result = await self.pipeline.perform(self.request("get", version, name))
        assert result.entry is not None
        return result.entry.document


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Webhook]:
    with webhook(tmp_path) as found:
        yield found


@pytest.fixture
async def place(hook: Webhook) -> AsyncIterator[Place]:
    clock = SystemClock(seed=1)
    log, objects = open_log("sqlite://", clock), Objects(clock)
    log.fold_into(objects.fold)
    await log.open()
    await objects.load(log)
    hooks = Webhooks(objects, clock)
    pipeline = Pipeline(log, objects, catalogues.load(), AdminAuthorizer(), clock, converter=hooks)
    client = LocalClient(pipeline, User("alice", (ADMIN_GROUP,)), "test")
    await client.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    found = Place(log, objects, pipeline, client, hook)
    await found.define(hook.config())
    try:
        yield found
    finally:
        assert await verify(log) is None
        await hooks.aclose()
        await log.aclose()


async def test_an_object_is_kept_in_one_shape_and_shown_in_both(place: Place) -> None:
    made = await place.create("v2", "a", host="h", port="1")
    assert made["apiVersion"] == "example.com/v2" and made["spec"] == {"host": "h", "port": "1"}
    entry = place.objects.get(HOOKS, "default", "a")
    assert entry is not None and entry.document["spec"] == {"hostPort": "h:1"}
    assert (await place.get("v1", "a"))["spec"] == {"hostPort": "h:1"}
    assert (await place.get("v2", "a"))["spec"] == {"host": "h", "port": "1"}
    assert {one["request"]["desiredAPIVersion"] for one in place.hook.asked} == {"example.com/v1", "example.com/v2"}


async def test_a_patch_is_made_in_the_shape_that_its_writer_speaks(place: Place) -> None:
    await place.create("v1", "a", hostPort="h:1")
    body = {"spec": {"port": "2"}}
    await place.pipeline.perform(place.request("patch", "v2", "a", body=body, patch_type="merge"))
    entry = place.objects.get(HOOKS, "default", "a")
    assert entry is not None and entry.document["spec"] == {"hostPort": "h:2"}
    assert entry.document["metadata"]["generation"] == 2


async def test_a_list_is_converted_in_one_question_and_then_remembered(place: Place) -> None:
    for number in range(5):
        await place.create("v1", f"a{number}", hostPort=f"h:{number}")
    place.hook.asked.clear()
    page = await place.pipeline.page(place.request("list", "v2"), Selection())
    assert [entry.document["spec"]["port"] for entry in page.entries] == ["0", "1", "2", "3", "4"]
    assert [len(one["request"]["objects"]) for one in place.hook.asked] == [5]
    await place.pipeline.page(place.request("list", "v2"), Selection())
    assert len(place.hook.asked) == 1


async def test_selectors_judge_the_shape_that_is_spoken(place: Place) -> None:
    await place.create("v1", "a", hostPort="one:1")
    await place.create("v1", "b", hostPort="two:2")
    fields = [{"jsonPath": ".spec.host"}]
    crd = await place.client.get(DEFINITIONS, "", HOOKS)
    versions = [crd["spec"]["versions"][0], {**crd["spec"]["versions"][1], "selectableFields": fields}]
    await place.client.patch(DEFINITIONS, "", HOOKS, {"spec": {"versions": versions}})
    page = await place.pipeline.page(place.request("list", "v2"), Selection(field_selector="spec.host=two"))
    assert [entry.stream.name for entry in page.entries] == ["b"]
    feed = place.pipeline.watch(
        place.request("watch", "v2"), Selection(field_selector="spec.host=two", timeout_seconds=20)
    )
    batches = aiter(feed)
    assert [frame.entry.stream.name for frame in await anext(batches) if frame.entry] == ["b"]
    await place.create("v1", "c", hostPort="two:3")
    (frame,) = await anext(batches)
    assert frame.entry is not None and frame.entry.document["spec"] == {"host": "two", "port": "3"}


async def test_a_change_of_the_stored_version_leaves_what_is_stored_and_tells_it(place: Place) -> None:
    await place.create("v1", "old", hostPort="h:1")
    await place.define(place.hook.config(), storage="v2")
    await place.create("v1", "new", hostPort="h:2")
    stored = {entry.stream.name: entry.document["apiVersion"] for entry in place.objects.list(HOOKS)}
    assert stored == {"old": "example.com/v1", "new": "example.com/v2"}
    assert (await place.get("v2", "old"))["spec"] == {"host": "h", "port": "1"}
    crd = await place.client.get(DEFINITIONS, "", HOOKS)
    assert crd["status"]["storedVersions"] == ["v1", "v2"]


async def test_only_labels_and_annotations_of_the_metadata_are_the_webhooks_to_change(place: Place) -> None:
    await place.create("v1", "a", hostPort="h:1")

    def meddle(answer: Any) -> Any:
        metadata = answer["response"]["convertedObjects"][0]["metadata"]
        metadata["labels"], metadata["finalizers"] = {"x": "y"}, ["a/b"]
        return answer

    place.hook.spoil = meddle
    metadata = (await place.get("v2", "a"))["metadata"]
    assert metadata["labels"] == {"x": "y"} and "finalizers" not in metadata


def _response(**fields: Any) -> Callable[[Any], Any]:
    return lambda answer: {**answer, "response": {**answer["response"], **fields}}


def _object(**fields: Any) -> Callable[[Any], Any]:
    def spoil(answer: Any) -> Any:
        one = answer["response"]["convertedObjects"][0]
        metadata = {**one["metadata"], **fields.get("metadata", {})}
        return _response(convertedObjects=[{**one, **fields, "metadata": metadata}])(answer)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_response(uid="x"), 'failed: expected response.uid="UID", got "x"'),
        (_response(convertedObjects=[]), "returned 0 objects, expected 1"),
        (_response(result={"status": "Failure", "message": "no way"}), "failed: no way"),
        (_response(result={"status": "Failure"}), "failed: response.result.status was 'Failure', not 'Success'"),
        (lambda answer: {**answer, "response": None}, "failed: no response provided"),
        (lambda answer: {**answer, "apiVersion": "apiextensions.k8s.io/v9"}, "failed: expected webhook response of "
         "apiextensions.k8s.io/v1, Kind=ConversionReview, got apiextensions.k8s.io/v9, Kind=ConversionReview"),
        (_object(metadata={"name": "b"}), "returned invalid object: must have the same name: a != b"),
        (_object(metadata={"namespace": "b"}), "returned invalid object: must have the same namespace: default != b"),
        (_object(kind="Other"), "returned invalid object at index 0: invalid kind (expected Hook, received Other)"),
        (_object(apiVersion="example.com/v9"), "returned invalid object at index 0: invalid groupVersion "
         "(expected example.com/v2, received example.com/v9)"),
        (lambda answer: b"[]", "failed: couldn't get version/kind: the answer is no ConversionReview"),
        (lambda answer: _response(convertedObjects=[3])(answer), "returned invalid object at index 0: it is no object"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_refused(place: Place, spoil: Callable[[Any], Any], message: str) -> None:
    await place.create("v1", "a", hostPort="h:1")
    place.hook.spoil = spoil
    with pytest.raises(InternalError) as refused:
        await place.get("v2", "a")
    uid = place.hook.asked[-1]["request"]["uid"]
    assert refused.value.message == f"{ABOUT} {message.replace('UID', uid)}"
    # Nobody who speaks the stored version needs the webhook.
    assert (await place.get("v1", "a"))["spec"] == {"hostPort": "h:1"}


async def test_a_write_that_cannot_be_converted_writes_nothing(place: Place) -> None:
    head = place.log.head
    place.hook.spoil = _response(result={"status": "Failure", "message": "no way"})
    with pytest.raises(ApiError, match="no way"):
        await place.create("v2", "a", host="h", port="1")
    assert place.log.head == head


async def test_a_webhook_that_answers_with_an_error_not_at_all_or_too_late(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.create("v1", "a", hostPort="h:1")
    place.hook.code = 500
    with pytest.raises(InternalError, match="an error on the server"):
        await place.get("v2", "a")
    place.hook.code, place.hook.delay_seconds = 200, 1.0
    monkeypatch.setattr(calling, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(InternalError, match=r'Post ".*/convert\?timeout=0.2s": context deadline exceeded'):
        await place.get("v2", "a")
    await place.define({"url": "https://127.0.0.1:1/x", "caBundle": place.hook.authority})
    with pytest.raises(InternalError, match="connection refused"):
        await place.get("v2", "a")


async def test_a_webhook_that_nobody_vouches_for_is_not_believed(place: Place) -> None:
    await place.create("v1", "a", hostPort="h:1")
    place.hook.asked.clear()
    await place.define({"url": place.hook.url, "caBundle": None})
    with pytest.raises(InternalError, match="x509: certificate signed by unknown authority"):
        await place.get("v2", "a")
    other = place.hook.url.replace("127.0.0.1", "localhost")
    await place.define(place.hook.config(url=other))
    with pytest.raises(InternalError, match="failed to verify certificate"):
        await place.get("v2", "a")
    assert not place.hook.asked


async def test_a_service_without_endpoints_is_told_of(place: Place) -> None:
    await place.create("v1", "a", hostPort="h:1")
    service = {"name": "hook", "namespace": "default", "port": 443, "path": "/convert"}
    await place.define({"service": service, "caBundle": place.hook.authority, "url": None})
    with pytest.raises(InternalError, match='service "hook" not found'):
        await place.get("v2", "a")
    spec = {"ports": [{"port": 443, "targetPort": place.hook.port}]}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook", "namespace": "default"}, "spec": spec}
    await place.client.create("services", body)
    with pytest.raises(InternalError, match='no endpoints available for service "hook"'):
        await place.get("v2", "a")


async def test_a_service_is_asked_under_its_own_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.create("v1", "a", hostPort="h:1")
    service = {"name": "hook", "namespace": "default", "port": 443, "path": "/convert"}
    await place.define({"service": service, "caBundle": place.hook.authority, "url": None})
    # No endpoint may lie on the loopback, so the choice of one is what stands in here.
    backend = calling.Backend("127.0.0.1", place.hook.port, "")
    monkeypatch.setattr(Webhooks, "_backend", lambda self, namespace, name, port: backend)
    assert (await place.get("v2", "a"))["spec"] == {"host": "h", "port": "1"}
    assert SERVICE == "hook.default.svc"
