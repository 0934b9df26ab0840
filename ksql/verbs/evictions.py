"""What an eviction asks for: its body carries the options of the deletion that it is.

A dry run, a grace period, preconditions: all that a DELETE takes from its own body or query stands one level
deeper here, and is judged alike. Pure.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ksql.base.documents import Document
from ksql.schema import faults
from ksql.schema.errors import Cause
from ksql.schema.resources import GroupVersionKind
from ksql.verbs.deletion import Policy
from ksql.verbs.request import Options

DELETE_OPTIONS = GroupVersionKind("meta.k8s.io", "v1", "DeleteOptions")
# What clients of before 1.22 send; the words are the same.
OLD_VERSION, VERSION = "policy/v1beta1", "policy/v1"


def current(body: Any) -> Any:
    """The body in the version that is served, for clients that still know the older one."""
    if isinstance(body, dict) and body.get("apiVersion") == OLD_VERSION and body.get("kind") == "Eviction":
        return {**body, "apiVersion": VERSION}
    return body


def options(given: Options, body: Document) -> Options:
    """The options of the request, with those of the body over them; `InvalidError` for what is none."""
    asked = body.get("deleteOptions") or {}
    policy, orphan, dry = (asked.get(key) for key in ("propagationPolicy", "orphanDependents", "dryRun"))
    if causes := _causes(policy, orphan, dry or ()):
        raise faults.invalid(DELETE_OPTIONS, "", causes)
    if orphan is not None:
        policy = str(Policy.ORPHAN if orphan else Policy.BACKGROUND)
    conditions = asked.get("preconditions") or {}
    return replace(
        given,
        dry_run=given.dry_run or bool(dry),
        grace_period_seconds=asked.get("gracePeriodSeconds", given.grace_period_seconds),
        propagation_policy=given.propagation_policy if policy is None else policy,
        precondition_uid=conditions.get("uid", given.precondition_uid),
        precondition_resource_version=conditions.get("resourceVersion", given.precondition_resource_version),
    )


def _causes(policy: str | None, orphan: bool | None, dry: Sequence[str]) -> list[Cause]:
    causes = []
    if policy is not None and policy not in tuple(Policy):
        choices = (Policy.FOREGROUND, Policy.BACKGROUND, Policy.ORPHAN, "nil")
        causes.append(faults.unsupported("propagationPolicy", policy, choices))
    if policy is not None and orphan is not None:
        words = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(faults.wrong("propagationPolicy", policy, words))
    if any(one != "All" for one in dry):
        causes.append(faults.unsupported("dryRun", list(dry), ("All",)))
    return causes
