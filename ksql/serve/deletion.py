"""DeleteOptions: from a body where there is one, else from the query, checked in kube's words. Pure."""

from collections.abc import Mapping
from typing import Any

from ksql.base.documents import Document
from ksql.schema.errors import BadRequestError, Cause, NotImplementedYetError
from ksql.serve.parameters import (
    Query,
    dry_run,
    flag,
    manager_of,
    not_supported,
    number,
    quoted,
    refuse,
    text,
)
from ksql.verbs.request import Options

PROPAGATION = ("Foreground", "Background", "Orphan")


def deleting(query: Query, body: Document | None, user_agent: str) -> Options:
    """The options of a delete: its body's when there is one, else the query's."""
    given = _delete_query(query) if body is None else _delete_body(body)
    causes: list[Cause] = []
    policy, orphan = given.get("propagationPolicy"), given.get("orphanDependents")
    if policy is not None and policy not in PROPAGATION:
        causes.append(not_supported("propagationPolicy", quoted(policy), (*PROPAGATION, "nil")))
    if policy is not None and orphan is not None:
        message = "orphanDependents and deletionPropagation cannot be both set"
        message = f"Invalid value: {quoted(policy)}: {message}"
        causes.append(Cause("FieldValueInvalid", message, "propagationPolicy"))
    is_dry = dry_run(given.get("dryRun") or (), causes)
    refuse("DeleteOptions", causes)
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    if given.get(_UNREADABLE):
        raise NotImplementedYetError(f"{_UNREADABLE}: deleting what cannot be read is not implemented yet")
    preconditions = given.get("preconditions") or {}
    return Options(
        dry_run=is_dry,
        field_manager=manager_of(user_agent),
        grace_period_seconds=given.get("gracePeriodSeconds"),
        propagation_policy=policy,
        orphan_dependents=orphan,
        precondition_uid=preconditions.get("uid"),
        precondition_resource_version=preconditions.get("resourceVersion"),
    )


def _delete_query(query: Query) -> Document:
    given: Document = {}
    if (grace := number(query, "gracePeriodSeconds")) is not None:
        given["gracePeriodSeconds"] = grace
    if policy := text(query, "propagationPolicy"):
        given["propagationPolicy"] = policy
    if "orphanDependents" in query:
        given["orphanDependents"] = flag(query, "orphanDependents")
    if "dryRun" in query:
        given["dryRun"] = query["dryRun"]
    return given


_UNREADABLE = "ignoreStoreReadErrorWithClusterBreakingPotential"

# What the scheme of options is called in messages about other kinds.
_SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"

# Each field of DeleteOptions with the shape it has to have.
_DELETE_FIELDS: Mapping[str, tuple[type, str]] = {
    "gracePeriodSeconds": (int, "int64"),
    "orphanDependents": (bool, "bool"),
    "propagationPolicy": (str, "string"),
    "preconditions": (dict, "v1.Preconditions"),
    "dryRun": (list, "[]string"),
    _UNREADABLE: (bool, "bool"),
}


def _delete_body(body: Document) -> Document:
    kind = body.get("kind", "DeleteOptions")
    if kind != "DeleteOptions":
        version = body.get("apiVersion") or "v1"
        raise BadRequestError(f'no kind "{kind}" is registered for version "{version}" in scheme "{_SCHEME}"')
    given: Document = {}
    for key, (shape, name) in _DELETE_FIELDS.items():
        value = body.get(key)
        if value is None:
            continue
        if not _is(value, shape):
            raise _wrong_shape(key, value, name)
        given[key] = value
    for item in given.get("dryRun", ()):
        if not isinstance(item, str):
            raise _wrong_shape("dryRun", item, "string")
    for key, value in given.get("preconditions", {}).items():
        if key in ("uid", "resourceVersion") and value is not None and not isinstance(value, str):
            raise _wrong_shape(f"preconditions.{key}", value, "string")
    return given


def _is(value: Any, shape: type) -> bool:
    # In Python, but not in JSON, a boolean is an integer.
    return isinstance(value, shape) and (shape is not int or not isinstance(value, bool))


def _wrong_shape(key: str, value: object, wanted: str) -> BadRequestError:
    names = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
    found = names.get(type(value), "null")
    return BadRequestError(
        f"json: cannot unmarshal {found} into Go struct field DeleteOptions.{key} of type {wanted}"
    )
