"""What a conversion webhook is asked and what it may answer: ConversionReview, both ways. Pure.

A webhook may change everything of an object but who it is: of the metadata only labels and annotations are
taken from its answer. Complaints are kube-apiserver's.
"""

from collections.abc import Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema.custom.definitions import CustomVersion
from ksql.schema.errors import InternalError

GROUP = "apiextensions.k8s.io"
# The forms of the review that are spoken here; a CRD names those of its webhook, best first.
SPOKEN = ("v1", "v1beta1")


def review_version(custom: CustomVersion) -> str:
    """The form that the webhook reads."""
    assert custom.conversion is not None
    given = custom.conversion["webhook"].get("conversionReviewVersions") or ()
    return next((version for version in given if version in SPOKEN), SPOKEN[0])


def review(version: str, uid: str, documents: Sequence[Document], api_version: str) -> Document:
    """The question."""
    request = {"uid": uid, "desiredAPIVersion": api_version, "objects": list(documents)}
    return {"kind": "ConversionReview", "apiVersion": f"{GROUP}/{version}", "request": request}


def failed(document: Document, why: str) -> InternalError:
    """The refusal of whatever needed the conversion; `document` is one that was to be converted."""
    return InternalError(f"conversion webhook for {_kind(document)} failed: {why}")


def _kind(document: Document) -> str:
    return f"{document.get('apiVersion')}, Kind={document.get('kind')}"


def answered(
    answer: Any, version: str, uid: str, documents: Sequence[Document], api_version: str
) -> list[Document]:
    """The converted documents of an answer; `InternalError` says what is wrong with it."""
    first = documents[0]
    if not isinstance(answer, dict) or answer.get("kind") != "ConversionReview":
        raise failed(first, "couldn't get version/kind: the answer is no ConversionReview")
    if answer.get("apiVersion") != f"{GROUP}/{version}":
        wanted = f"{GROUP}/{version}, Kind=ConversionReview"
        raise failed(first, f"expected webhook response of {wanted}, got {_kind(answer)}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise failed(first, "no response provided")
    if response.get("uid") != uid:
        raise failed(first, f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    result = response.get("result")
    result = result if isinstance(result, dict) else {}
    if result.get("status") != "Success":
        said = result.get("message")
        raise failed(first, said or f"response.result.status was '{result.get('status', '')}', not 'Success'")
    converted = response.get("convertedObjects")
    converted = converted if isinstance(converted, list) else []
    if len(converted) != len(documents):
        raise InternalError(
            f"conversion webhook for {_kind(first)} returned {len(converted)} objects, expected {len(documents)}"
        )
    return [
        _restored(index, document, found, api_version)
        for index, (document, found) in enumerate(zip(documents, converted, strict=True))
    ]


def _restored(index: int, document: Document, converted: Any, api_version: str) -> Document:
    """A converted document with the metadata of the one it was made from, labels and annotations apart."""
    about = f"conversion webhook for {_kind(document)} returned invalid object"
    if not isinstance(converted, dict):
        raise InternalError(f"{about} at index {index}: it is no object")
    for field, wanted, named in (
        ("apiVersion", api_version, "groupVersion"), ("kind", document.get("kind"), "kind"),
    ):  # fmt: skip
        if converted.get(field) != wanted:
            given = converted.get(field)
            raise InternalError(f"{about} at index {index}: invalid {named} (expected {wanted}, received {given})")
    before, after = document["metadata"], converted.get("metadata")
    if not isinstance(after, dict):
        raise InternalError(f"{about}: missing metadata in converted object")
    for field, name in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        if before.get(field, "") != after.get(field, ""):
            said = f"{before.get(field, '')} != {after.get(field, '')}"
            raise InternalError(f"{about}: must have the same {name}: {said}")
    kept = {key: value for key, value in before.items() if key not in ("labels", "annotations")}
    for field in ("labels", "annotations"):
        given = after.get(field)
        if given is None:
            continue
        if not isinstance(given, dict) or not all(isinstance(one, str) for one in given.values()):
            raise InternalError(f"{about}: metadata.{field} is no map of texts")
        if given:
            kept[field] = given
    return {**converted, "metadata": kept}
