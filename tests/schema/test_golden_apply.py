"""Field management against what Kubernetes' own library made of the same writes, step by step."""

from collections.abc import Iterator, Sequence
from typing import Any

from ksql.base.documents import Document, canonical
from ksql.schema import catalogue
from ksql.schema.errors import ApiError
from ksql.schema.managed import applying, fieldsets, resets, typed
from ksql.schema.managed.applying import Domain
from ksql.schema.resources import GroupVersionKind
from tests.schema.recorded import vectors

CATALOGUE = catalogue.load()
TIME = "2026-01-01T00:00:00Z"


class Story:
    """The writes of one object, one after the other."""

    def __init__(self, vector: Any, schemas: Any) -> None:
        self.group, self.version, self.kind = vector["gvk"]
        self.hub, self.mode, self.reset = vector["hub"], vector["crd"], vector["reset"]
        self.schemas = schemas
        self.live: Document | None = None

    def type_of(self, api_version: str) -> typed.Type | None:
        group, _, version = api_version.rpartition("/")
        if group != self.group:
            return None
        if not self.mode:
            return typed.type_of(CATALOGUE, GroupVersionKind(group, version, self.kind))
        if self.mode == "deduced":
            return typed.DEDUCED
        schema = self.schemas.get(f"example.oracle.{version}.{self.kind}")
        if schema is None:
            return None
        # The recorded schemas say `metadata: {type: object}`, which is taken apart field by field.
        preserve = {"x-kubernetes-preserve-unknown-fields": self.mode == "preserve"}
        return typed.plain_type_of_schema(CATALOGUE, {**schema, **preserve})

    def domain(self, step: Any) -> Domain:
        sent = step["object"].get("apiVersion") or ""
        at = sent if self.mode and self.type_of(sent) is not None else self.hub
        gvk = GroupVersionKind(self.group, at.rpartition("/")[2], self.kind)
        door = step.get("subresource", "")
        ignored = fieldsets.of(
            *(tuple(f"f:{name}" for name in path) for path in self.reset.get(door, {}).get(at, ()))
        )
        type = self.type_of(at)
        assert type is not None
        zero = {"apiVersion": at, "kind": self.kind}
        return Domain(gvk, type, self.type_of, renamed, zero, door, resets.without(ignored) if ignored else None)

    def take(self, step: Any) -> Document:
        domain = self.domain(step)
        live = None if self.live is None else renamed(self.live, domain.api_version)
        if step["do"] == "apply":
            force = step.get("force", False)
            made = applying.applied(domain, live, step["object"], step["manager"], TIME, force=force).document
        else:
            made = applying.updated(domain, live, step["object"], step["manager"], TIME)
        return renamed(made, self.hub)


def renamed(document: Document, api_version: str) -> Document:
    if document["apiVersion"] == api_version:
        return document
    return {**document, "apiVersion": api_version}


def without_times(entries: Sequence[Document] | None) -> list[bytes]:
    return sorted(
        canonical({key: value for key, value in entry.items() if key != "time"}) for entry in entries or ()
    )


def agrees(story: Story, step: Any, want: Any) -> bool:
    before = story.live
    if step["do"] == "update":
        # The pipeline lets nothing come so far that is not of its kind.
        found = typed.complaints(story.domain(step).type, step["object"], duplicates=True)
        if found:
            return str(want.get("error")).endswith(f" to smd typed: {typed.told(found)}")
    try:
        made = story.take(step)
    except ApiError as error:
        status = error.status()
        causes, wanted = status.get("details", {}).get("causes", []), want.get("causes", [])
        # Upstream lists managers in no order.
        return error.message == want.get("error") and sorted(map(canonical, causes)) == sorted(map(canonical, wanted))
    if "error" in want:
        # An update is never refused for its managers: those of the object stay.
        was = before["metadata"].get("managedFields") if before else None
        return step["do"] == "update" and made["metadata"].get("managedFields") == was
    story.live = made
    bare = {key: value for key, value in made["metadata"].items() if key != "managedFields"}
    same = applying.walks.equal({**made, "metadata": bare}, want["object"])
    return same and without_times(made["metadata"].get("managedFields")) == without_times(want["managed"])


def stories() -> Iterator[tuple[Any, Story]]:
    lines = vectors("apply")
    schemas = next(lines)["schemas"]
    for vector in lines:
        yield vector, Story(vector, schemas)


def test_every_recorded_write_leaves_its_object_and_its_managers() -> None:
    count, wrong = 0, []
    for number, (vector, story) in enumerate(stories()):
        for index, entry in enumerate(vector["steps"]):
            count += 1
            if not agrees(story, entry["step"], entry["want"]):
                wrong.append((number, index))
                break
    assert count > 9_000 and not wrong
