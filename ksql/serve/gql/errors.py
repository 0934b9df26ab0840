"""Errors as GraphQL says them: a message, a path, and a code in `extensions`; never a stack trace.

Rooms below raise what they always raise (`ApiError`, `MomentError`, `HorizonError`); this is the one place
that turns them into codes. What nobody foresaw is logged with its trace and told as INTERNAL.
"""

import logging
from typing import Any

from graphql import GraphQLError, GraphQLSyntaxError

from ksql.history.moments import BeforeHorizonError, MomentError
from ksql.history.paths import PathError
from ksql.history.search import SearchError
from ksql.log.protocol import HorizonError, LogUnavailableError
from ksql.schema.errors import ApiError

logger = logging.getLogger(__name__)

BAD_USER_INPUT = "BAD_USER_INPUT"
LIMIT = "LIMIT_EXCEEDED"

_BY_REASON = {
    "BadRequest": BAD_USER_INPUT,
    "Invalid": BAD_USER_INPUT,
    "Unauthorized": "UNAUTHENTICATED",
    "Forbidden": "FORBIDDEN",
    "MethodNotAllowed": "READ_ONLY",
    "NotFound": "NOT_FOUND",
    "Conflict": "CONFLICT",
    "AlreadyExists": "CONFLICT",
    "Expired": "HORIZON",
    "TooManyRequests": "TOO_MANY_REQUESTS",
    "NotImplemented": "NOT_IMPLEMENTED",
    "ServiceUnavailable": "UNAVAILABLE",
    "Timeout": "TIMEOUT",
}


def refusal(message: str, code: str = BAD_USER_INPUT, **extensions: Any) -> GraphQLError:
    """An error of ours, code and all."""
    return GraphQLError(message, extensions={"code": code, **extensions})


def code_of(error: BaseException) -> str | None:
    """The code for an exception from below; None for one that nobody foresaw."""
    if isinstance(error, ApiError):
        return _BY_REASON.get(error.reason)
    if isinstance(error, (BeforeHorizonError, HorizonError)):
        return "HORIZON"
    if isinstance(error, (MomentError, PathError, SearchError)):
        return BAD_USER_INPUT
    if isinstance(error, LogUnavailableError):
        return "UNAVAILABLE"
    if isinstance(error, TimeoutError):
        return "TIMEOUT"
    return None


def coded(error: GraphQLError) -> GraphQLError:
    """The error as it leaves the server."""
    if error.extensions and "code" in error.extensions:
        return error
    original = error.original_error
    while isinstance(original, GraphQLError):
        if original.extensions and "code" in original.extensions:
            return _with(error, error.message, dict(original.extensions))
        original = original.original_error
    if original is not None:
        code = code_of(original)
        if code is None:
            logger.error("resolving %s failed", error.path, exc_info=original)
            return _with(error, "internal error; the server's log has its trace", {"code": "INTERNAL"})
        return _with(error, error.message, {"code": code, **_details(original)})
    if isinstance(error, GraphQLSyntaxError):
        limit = "Parsing aborted" in error.message  # of too many tokens, or too deep for any parser
        return _with(error, error.message, {"code": LIMIT if limit else "GRAPHQL_PARSE_FAILED"})
    if error.message.startswith("Variable "):
        return _with(error, error.message, {"code": BAD_USER_INPUT})
    return _with(error, error.message, {"code": "GRAPHQL_VALIDATION_FAILED"})


def _details(original: BaseException) -> dict[str, Any]:
    if isinstance(original, ApiError) and original.causes:
        return {"causes": [cause.document() for cause in original.causes]}
    return {}


def _with(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(
        message, error.nodes, error.source, error.positions, error.path, None, {**extensions}
    )
