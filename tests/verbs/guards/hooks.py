"""Webhooks made small: functions that answer reviews, called where a server would be over the wire."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ksql.base.documents import Document, decode, encode
from ksql.verbs.guards.webhooks import CallFailure
from tests.verbs.room import Room

Answer = Callable[[Document], Document]


class Hooks:
    """A caller of webhooks by name: `answers` says what each answers, `asked` holds every request."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, Document]] = []

    async def call(self, config: Document, question: Document, seconds: float) -> object:
        name = config["url"].rpartition("/")[2]
        # What goes over the wire is JSON: nothing else may be in it.
        request = decode(encode(question))["request"]
        self.asked.append((name, request))
        if name not in self.answers:
            raise CallFailure(f'Post "{config["url"]}?timeout={seconds:g}s": connect: connection refused')
        response = {"uid": request["uid"], "allowed": True, **self.answers[name](request)}
        return {"kind": "AdmissionReview", "apiVersion": question["apiVersion"], "response": response}

    @property
    def order(self) -> list[str]:
        return [name for name, _ in self.asked]


def patch(*steps: Mapping[str, Any]) -> Document:
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(steps).encode()).decode()}


def label(key: str, value: str) -> Document:
    """An answer that sets a label of an object which has some."""
    return patch({"op": "add", "path": f"/metadata/labels/{key}", "value": value})


def hook(name: str, **more: Any) -> Document:
    rules = [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]
    found: Document = {
        "name": f"{name}.example.com", "clientConfig": {"url": f"https://hooks.example.com/{name}"}, "rules": rules,
        "sideEffects": "None", "admissionReviewVersions": ["v1"],
    }  # fmt: skip
    return {**found, **more}


async def configure(room: Room, kind: str, *hooks: Document, name: str = "hooks") -> None:
    """Set up webhooks, `mutating` or `validating`."""
    resource = f"{kind}webhookconfigurations.admissionregistration.k8s.io"
    await room.create(resource, {"metadata": {"name": name}, "webhooks": list(hooks)})


def labelled(name: str = "settings", **labels: str) -> Document:
    metadata = {"name": name, "namespace": "shop", "labels": labels or {"app": "web"}}
    return {"metadata": metadata, "data": {"colour": "blue"}}


def requests(found: Sequence[tuple[str, Document]], name: str) -> list[Document]:
    return [request for one, request in found if one == name]
