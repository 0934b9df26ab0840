"""One admission webhook: what it is asked, and what its answer means.

Pure. The question is an AdmissionReview of a version the webhook speaks; the answer must be a review of the same
version about the same uid. Whatever else comes back is a failure to call it, which the failure policy turns into a
refusal or passes over. Words and codes are kube-apiserver's.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document, DocumentError, decode
from ksql.schema.errors import ApiError, BadRequestError, InternalError
from ksql.schema.resources import ResourceType
from ksql.verbs.guards.conditions import Conditions
from ksql.verbs.guards.questions import Match, Question, match_of, request_of

# What a webhook that says nothing is given; kube-apiserver's default.
TIMEOUT_SECONDS = 10.0
# Versions of AdmissionReview, the preferred first.
VERSIONS = ("v1", "v1beta1")
GROUP = "admission.k8s.io"
# A patch is made of an object that is no larger than a request; more would be an attack on memory.
PATCH_BYTES_MAX = 3 * 1024 * 1024
# How many steps a patch may have, as in a client's own.
PATCH_STEPS_MAX = 10_000


class CallFailure(Exception):
    """The webhook was not asked, or its answer is none: what the failure policy is about."""


class Rejection(ApiError):
    """The webhook said no, in a Status of its own."""

    def __init__(self, status: Document) -> None:
        super().__init__(status["message"])
        self._status = status
        self.__dict__["code"], self.__dict__["reason"] = status["code"], status.get("reason", "")

    def status(self) -> Document:
        return self._status


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook of a configuration, compiled."""

    configuration: str
    name: str
    client: Document
    match: Match
    conditions: Conditions
    version: str
    seconds: float
    ignores_failure: bool
    harmless: bool  # may be asked in a dry run
    reinvoked: bool = False
    mutates: bool = False

    @property
    def key(self) -> str:
        return f"{self.configuration}/{self.name}"


def hooks_of(configuration: Document) -> list[Hook]:
    """The webhooks of a configuration, in its order."""
    mutates = configuration.get("kind") == "MutatingWebhookConfiguration"
    name = configuration["metadata"]["name"]
    return [_hook(name, document, mutates) for document in configuration.get("webhooks") or ()]


def _hook(configuration: str, document: Document, mutates: bool) -> Hook:
    spoken = document.get("admissionReviewVersions") or ()
    return Hook(
        configuration, document["name"], document.get("clientConfig") or {}, match_of(document, rules="rules"),
        Conditions(document.get("matchConditions") or ()),
        next((one for one in spoken if one in VERSIONS), VERSIONS[0]),
        float(document.get("timeoutSeconds") or TIMEOUT_SECONDS), document.get("failurePolicy") == "Ignore",
        document.get("sideEffects") in ("None", "NoneOnDryRun"), document.get("reinvocationPolicy") == "IfNeeded",
        mutates,
    )  # fmt: skip


def review(hook: Hook, question: Question, type: ResourceType, uid: str) -> Document:
    """The AdmissionReview that asks."""
    request = {
        "uid": uid, **request_of(question, type), "object": question.in_version(type, False),
        "oldObject": question.in_version(type, True),
    }  # fmt: skip
    return {"kind": "AdmissionReview", "apiVersion": f"{GROUP}/{hook.version}", "request": request}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook answered: `patch` is empty where it changes nothing."""

    allowed: bool
    patch: Sequence[Document] = ()
    warnings: Sequence[str] = ()
    annotations: Mapping[str, str] | None = None
    result: Document | None = None


def answer_of(hook: Hook, review: Any, uid: str) -> Answer:
    """The answer that a body holds; `CallFailure` when it holds none."""
    try:
        return _answer(hook, review, uid)
    except CallFailure as error:
        raise CallFailure(f"received invalid webhook response: {error}") from None


def _answer(hook: Hook, review: Any, uid: str) -> Answer:
    response = review.get("response") if isinstance(review, dict) else None
    if not isinstance(response, dict):
        raise CallFailure("webhook response was absent")
    if response.get("uid") != uid:
        raise CallFailure(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    wanted, given = (
        _said(f"{GROUP}/{hook.version}", "AdmissionReview"),
        _said(review.get("apiVersion"), review.get("kind")),
    )
    # The older version was never looked at so closely.
    if hook.version == "v1" and given != wanted:
        raise CallFailure(f"expected webhook response of {wanted}, got {given}")
    warnings, annotations = response.get("warnings") or [], response.get("auditAnnotations") or {}
    if not _are_texts(warnings) or not isinstance(annotations, dict) or not _are_texts(list(annotations.values())):
        raise CallFailure("warnings and auditAnnotations must be texts")
    allowed, result = response.get("allowed", False), response.get("status")
    if not isinstance(allowed, bool) or not isinstance(result, dict | None):
        raise CallFailure("allowed must be a boolean and status an object")
    patch = _patch(hook, response) if hook.mutates and allowed else ()
    return Answer(allowed, patch, warnings, annotations, result)


def _said(api_version: Any, kind: Any) -> str:
    group, _, version = str(api_version or "").rpartition("/")
    return f"{group}/{version}, Kind={kind or ''}"


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(one, str) for one in values)


def _patch(hook: Hook, response: Document) -> Sequence[Document]:
    text, kind = response.get("patch"), response.get("patchType")
    if text and kind is None and hook.version == "v1":
        raise CallFailure("webhook returned response.patch but not response.patchType")
    if not text and kind is not None and hook.version == "v1":
        raise CallFailure("webhook returned response.patchType but not response.patch")
    if not text:
        return ()
    if kind not in (None, "JSONPatch"):
        raise CallFailure(f'unsupported patch type "{kind}"')
    if not isinstance(text, str) or len(text) > PATCH_BYTES_MAX * 4 // 3:
        raise CallFailure(f"the patch is larger than {PATCH_BYTES_MAX} bytes")
    try:
        steps = decode(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, DocumentError) as error:
        raise CallFailure(f"received undecodable patch in webhook response: {error}") from None
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise CallFailure("received undecodable patch in webhook response: it is no list of steps")
    if len(steps) > PATCH_STEPS_MAX:
        raise CallFailure(f"the patch has more than {PATCH_STEPS_MAX} steps")
    return steps


def rejection(hook: Hook, result: Document | None) -> Rejection:
    """What a caller is told when a webhook says no."""
    status = dict(result or {})
    denied = f'admission webhook "{hook.name}" denied the request'
    said = status.get("message") or status.get("reason")
    code = status.get("code")
    found: Document = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": f"{denied}: {said}" if said else f"{denied} without explanation",
    }  # fmt: skip
    for key in ("reason", "details"):
        if status.get(key):
            found[key] = status[key]
    found["code"] = code if isinstance(code, int) and 400 <= code < 600 else 400
    return Rejection(found)


def failed(hook: Hook, why: object) -> InternalError:
    """What a caller is told when a webhook that must agree cannot be asked."""
    return InternalError(f'Internal error occurred: failed calling webhook "{hook.name}": {why}')


def no_dry_run(hook: Hook) -> BadRequestError:
    return BadRequestError(f'admission webhook "{hook.name}" does not support dry run')
