"""Webhooks that suites deploy: reviews of admissions and conversions, judged by what the objects say."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ksql.base.documents import Document
from ksql.node.images.certificates import given_context
from ksql.node.images.web import options_of, port_of, serve
from ksql.node.responder import Question, Reply
from ksql.node.shell import Run

# The label and key by which an object asks for a webhook's attention.
_MARK = "webhook-e2e-test"
_DELAY_SECONDS = 5.0
# Longer than any webhook is waited for.
_FOREVER_SECONDS = 3600.0

Verdict = Callable[[Document], Document]


async def webhook(run: Run, arguments: list[str]) -> int:
    """Judges and changes what it is asked about."""

    async def answer(question: Question) -> Reply:
        path = urlsplit(question.path).path
        if path == "/readyz":
            return Reply(200, b"ok")
        judge = _JUDGES.get(path)
        if judge is None:
            return Reply(404, b"404 page not found\n")
        try:
            review = json.loads(question.body)
            asked = review["request"]
        except (ValueError, KeyError, TypeError) as error:
            return Reply(400, f"request could not be decoded: {error}\n".encode())
        if path == "/always-allow-delay-5s":
            await run.place.wait(_DELAY_SECONDS)
        if path == "/pods" and _labels(asked).get(_MARK) == "wait-forever":
            await run.place.wait(_FOREVER_SECONDS)
        review["response"] = {"uid": asked["uid"], **judge(asked)}
        del review["request"]
        return Reply(200, json.dumps(review).encode(), "application/json")

    return await _serve_secretly(run, arguments, answer)


async def conversion(run: Run, arguments: list[str]) -> int:
    """Converts between a host and port in one word and in two."""

    async def answer(question: Question) -> Reply:
        path = urlsplit(question.path).path
        if path == "/readyz":
            return Reply(200, b"ok")
        if path != "/crdconvert":
            return Reply(404, b"404 page not found\n")
        review = json.loads(question.body)
        asked = review["request"]
        result: Document = {"status": "Success"}
        converted: list[Document] = []
        for one in asked["objects"]:
            try:
                converted.append(_converted(one, asked["desiredAPIVersion"]))
            except ValueError as error:
                result, converted = {"status": "Failure", "message": str(error)}, []
                break
        review["response"] = {"uid": asked["uid"], "convertedObjects": converted, "result": result}
        del review["request"]
        return Reply(200, json.dumps(review).encode(), "application/json")

    return await _serve_secretly(run, arguments, answer)


async def _serve_secretly(run: Run, arguments: list[str], answer: Any) -> int:
    given, port = options_of(arguments), port_of(arguments, "port", 443)
    context = given_context(run, given.get("tls-cert-file", ""), given.get("tls-private-key-file", ""))
    return await serve(run, {port: answer}, secrets={port: context})


def _converted(document: Document, wanted: str) -> Document:
    version = wanted.rpartition("/")[2]
    had = str(document.get("apiVersion", ""))
    if had == wanted:
        raise ValueError(f"conversion from a version to itself should not call the webhook: {wanted}")
    rest = {key: value for key, value in document.items() if key not in ("hostPort", "host", "port")}
    if version == "v2" and "hostPort" in document:
        parts = str(document["hostPort"]).split(":")
        if len(parts) != 2:
            raise ValueError(f"invalid hostPort value `{document['hostPort']}`")
        rest |= {"host": parts[0], "port": parts[1]}
    elif version == "v1" and ("host" in document or "port" in document):
        rest["hostPort"] = f"{document.get('host', '')}:{document.get('port', '')}"
    elif version not in ("v1", "v2"):
        raise ValueError(f'unexpected conversion version "{wanted}"')
    return {**rest, "apiVersion": wanted}


def _object(asked: Document) -> Document:
    """What is asked about: the object, or what is being deleted."""
    return asked.get("oldObject" if asked.get("operation") == "DELETE" else "object") or {}


def _labels(asked: Document) -> Document:
    return (_object(asked).get("metadata") or {}).get("labels") or {}


def _refused(**result: object) -> Document:
    return {"allowed": False, "status": result}


def _patched(*operations: Document) -> Document:
    patch = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": patch} if operations else {"allowed": True}


def _add(path: str, value: object) -> Document:
    return {"op": "add", "path": path, "value": value}


def _deny(asked: Document) -> Document:
    return _refused(message="this webhook denies all requests")


def _add_label(asked: Document) -> Document:
    labels = _labels(asked)
    if labels.get("added-label") == "yes":
        return {"allowed": True}
    if labels:
        return _patched(_add("/metadata/labels/added-label", "yes"))
    return _patched(_add("/metadata/labels", {"added-label": "yes"}))


def _data(unwanted: str, undeletable: str) -> Verdict:
    """Refuse what is marked in an object's data."""

    def judge(asked: Document) -> Document:
        marked = (_object(asked).get("data") or {}).get(_MARK)
        if marked == "webhook-disallow" and asked["operation"] in ("CREATE", "UPDATE"):
            return _refused(reason=unwanted)
        if marked == "webhook-nondeletable" and asked["operation"] == "DELETE":
            return _refused(reason=undeletable)
        return {"allowed": True}

    return judge


def _stages(asked: Document) -> Document:
    """Two steps of a change, the second only once the first is there."""
    data = _object(asked).get("data") or {}
    if data.get("mutation-stage-1") == "yes":
        return _patched(_add("/data/mutation-stage-2", "yes"))
    return _patched(*([_add("/data/mutation-stage-1", "yes")] if data.get("mutation-start") == "yes" else []))


def _pods(asked: Document) -> Document:
    said = []
    if _labels(asked).get(_MARK) == "webhook-disallow":
        said.append("the pod contains unwanted label;")
    containers = (_object(asked).get("spec") or {}).get("containers") or ()
    said += ["the pod contains unwanted container name;" for one in containers if "webhook-disallow" in one["name"]]
    return _refused(message=" ".join(said)) if said else {"allowed": True}


def _change_pods(asked: Document) -> Document:
    pod, added = _object(asked), "webhook-added-init-container"
    first = (pod.get("spec") or {}).get("initContainers") or ()
    if (pod.get("metadata") or {}).get("name") != "webhook-to-be-mutated" or any(one["name"] == added for one in first):
        return {"allowed": True}
    return _patched(_add("/spec/initContainers", [{"image": "webhook-added-image", "name": added, "resources": {}}]))


def _attaching(asked: Document) -> Document:
    options = _object(asked)
    is_meant = options.get("stdin") and options.get("container") == "container1"
    if asked.get("name") != "to-be-attached-pod" or not is_meant:
        return {"allowed": True}
    return _refused(message="attaching to pod 'to-be-attached-pod' is not allowed")


def _definitions(asked: Document) -> Document:
    if _labels(asked).get(_MARK) == "webhook-disallow":
        return _refused(message="the crd contains unwanted label")
    return {"allowed": True}


_JUDGES: Mapping[str, Verdict] = {
    "/add-label": _add_label,
    "/always-allow-delay-5s": lambda asked: {"allowed": True},
    "/always-deny": _deny,
    "/configmaps": _data(
        "the configmap contains unwanted key and value",
        "the configmap cannot be deleted because it contains unwanted key and value",
    ),
    "/crd": _definitions,
    "/custom-resource": _data(
        "the custom resource contains unwanted data",
        "the custom resource cannot be deleted because it contains unwanted key and value",
    ),
    "/mutating-configmaps": _stages,
    "/mutating-custom-resource": _stages,
    "/mutating-pods": _change_pods,
    "/pods": _pods,
    "/pods/attach": _attaching,
}
