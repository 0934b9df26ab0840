"""The authorizer as expressions ask it: a question put together step by step, and its answer.

`authorizer.group('apps').resource('deployments').namespace('shop').check('create').allowed()` is a chain of plain
maps; only `check` asks anybody, through what `asking` was given for the time of an evaluation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from cel_expr_python import cel

T = cel.Type
_KIND = "@kind"
TYPES = ("Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision")
AUTHORIZER, PATH, GROUP, RESOURCE, DECISION = (T(f"kubernetes.{name}") for name in TYPES)

# What may be asked: the parts of a question (verb, group, resource, … or path, and whose account) to a verdict.
Ask = Callable[[Mapping[str, Any]], tuple[bool, str]]
_ASKED: ContextVar[Ask] = ContextVar("asked")


@contextmanager
def asking(ask: Ask) -> Iterator[None]:
    """Let expressions evaluated inside ask this."""
    token = _ASKED.set(ask)
    try:
        yield
    finally:
        _ASKED.reset(token)


def authorizer(**known: Any) -> dict[str, Any]:
    """The value of the variable; with a resource known already, that of `authorizer.requestResource`."""
    return {_KIND: "authorizer", **known}


def _with(field: str) -> Callable[[Mapping[str, Any], str], dict[str, Any]]:
    return lambda value, text: {**value, field: text}


def _path(value: Mapping[str, Any], path: str) -> dict[str, Any]:
    if not path:
        raise ValueError("path must not be empty")
    return {**value, "path": path}


def _account(value: Mapping[str, Any], namespace: str, name: str) -> dict[str, Any]:
    return {**value, "account": f"{namespace}:{name}"}


def _check(value: Mapping[str, Any], verb: str) -> dict[str, Any]:
    allowed, reason = _ASKED.get()({**value, "verb": verb})
    return {_KIND: "decision", "allowed": allowed, "reason": reason}


# name, is a member, parameters, result, function: rows as `functions.py` declares them.
ROWS: Sequence[tuple[str, bool, Sequence[Any], Any, Callable[..., Any]]] = (
    ("path", True, [AUTHORIZER, T.STRING], PATH, _path),
    ("group", True, [AUTHORIZER, T.STRING], GROUP, _with("group")),
    ("serviceAccount", True, [AUTHORIZER, T.STRING, T.STRING], AUTHORIZER, _account),
    ("resource", True, [GROUP, T.STRING], RESOURCE, _with("resource")),
    ("subresource", True, [RESOURCE, T.STRING], RESOURCE, _with("subresource")),
    ("namespace", True, [RESOURCE, T.STRING], RESOURCE, _with("namespace")),
    ("name", True, [RESOURCE, T.STRING], RESOURCE, _with("name")),
    ("check", True, [PATH, T.STRING], DECISION, _check),
    ("check", True, [RESOURCE, T.STRING], DECISION, _check),
    ("allowed", True, [DECISION], T.BOOL, lambda value: value["allowed"]),
    ("reason", True, [DECISION], T.STRING, lambda value: value["reason"]),
    # No authorizer here fails: it says yes or no from memory.
    ("errored", True, [DECISION], T.BOOL, lambda value: False),
    ("error", True, [DECISION], T.STRING, lambda value: ""),
)
