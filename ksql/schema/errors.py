"""Errors as Kubernetes says them: each is one Status with a reason, a code and named causes.

Both wings speak them: the pipeline raises them, the doors print them, clients read them back with
`from_status`. The words of messages follow kube-apiserver's, since programs match on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ksql.base.documents import Document


@dataclass(frozen=True, slots=True)
class Cause:
    """One field's fault: `reason` such as FieldValueInvalid, `field` such as spec.replicas."""

    reason: str
    message: str
    field: str = ""

    def document(self) -> Document:
        out = {"reason": self.reason, "message": self.message}
        return {**out, "field": self.field} if self.field else out


class ApiError(Exception):
    """A refusal with its Status. Subclasses fix code and reason; raise those."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        group: str = "",
        kind: str = "",
        name: str = "",
        uid: str = "",
        causes: Sequence[Cause] = (),
        retry_after_seconds: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        # Kubernetes puts the resource (plural) or the kind here, as each error's source happens to.
        self.group, self.kind, self.name, self.uid = group, kind, name, uid
        self.causes = tuple(causes)
        self.retry_after_seconds = retry_after_seconds

    def status(self) -> Document:
        """The Status, keys in the order Go prints them (some suites compare the text)."""
        details: Document = {}
        for key, value in (("name", self.name), ("group", self.group), ("kind", self.kind), ("uid", self.uid)):
            if value:
                details[key] = value
        if self.causes:
            details["causes"] = [cause.document() for cause in self.causes]
        if self.retry_after_seconds:
            details["retryAfterSeconds"] = self.retry_after_seconds
        out: Document = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if details:
            out["details"] = details
        out["code"] = self.code
        return out


class BadRequestError(ApiError):
    code, reason = 400, "BadRequest"


class UnauthorizedError(ApiError):
    code, reason = 401, "Unauthorized"


class ForbiddenError(ApiError):
    """`missing` is the rule that would have allowed it: for the record, no caller is told."""

    code, reason = 403, "Forbidden"
    missing: Document | None = None


class NotFoundError(ApiError):
    code, reason = 404, "NotFound"


class MethodNotAllowedError(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptableError(ApiError):
    code, reason = 406, "NotAcceptable"


class AlreadyExistsError(ApiError):
    code, reason = 409, "AlreadyExists"


class ConflictError(ApiError):
    """The object is no longer at the expected revision, or a precondition failed."""

    code, reason = 409, "Conflict"


class GoneError(ApiError):
    """The revision asked for is older than the window REST keeps."""

    code, reason = 410, "Expired"


class TooLargeError(ApiError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaTypeError(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class InvalidError(ApiError):
    """The document breaks the rules of its kind; `causes` name each field."""

    code, reason = 422, "Invalid"


class TooManyRequestsError(ApiError):
    code, reason = 429, "TooManyRequests"


class InternalError(ApiError):
    code, reason = 500, "InternalError"


class NotImplementedYetError(ApiError):
    """Kubernetes has it, ksql does not yet; the message says what."""

    code, reason = 501, "NotImplemented"


class UnavailableError(ApiError):
    """The log cannot be written now (disk, database); reads go on and the caller may retry."""

    code, reason = 503, "ServiceUnavailable"


class UnreachableError(ApiError):
    """Whoever should answer a proxied request does not; asking again at once would not help."""

    code, reason = 503, "ServiceUnavailable"


class TimedOutError(ApiError):
    code, reason = 504, "Timeout"


_BY_REASON: dict[str, type[ApiError]] = {
    error.reason: error
    for error in (
        BadRequestError, UnauthorizedError, ForbiddenError, NotFoundError, MethodNotAllowedError,
        NotAcceptableError, AlreadyExistsError, ConflictError, GoneError, TooLargeError,
        UnsupportedMediaTypeError, InvalidError, TooManyRequestsError, InternalError,
        NotImplementedYetError, UnavailableError, TimedOutError,
    )
}  # fmt: skip


def from_status(status: Document) -> ApiError:
    """The error a Status tells of (a client's side of `ApiError.status`)."""
    details: dict[str, Any] = status.get("details") or {}
    kind = _BY_REASON.get(status.get("reason", ""), InternalError)
    return kind(
        status.get("message", "unknown error"),
        group=details.get("group", ""),
        kind=details.get("kind", ""),
        name=details.get("name", ""),
        uid=details.get("uid", ""),
        causes=[
            Cause(c.get("reason", ""), c.get("message", ""), c.get("field", ""))
            for c in details.get("causes") or ()
        ],
        retry_after_seconds=details.get("retryAfterSeconds", 0),
    )
