"""Restart and roll back: the patches that `kubectl rollout` makes, for doors that offer both in one word.

A restart is a note in the pod template; a rollback puts an older template back, which a Deployment keeps in its
ReplicaSets and the others in ControllerRevisions. Pure: objects in, a patch out. `RolloutError` says in kubectl's
words why there is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksql.base.documents import Document, lookup

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
REVISION = "deployment.kubernetes.io/revision"
REPLICA_SETS, REVISIONS = "replicasets.apps", "controllerrevisions.apps"
# Where the templates that a workload has had are kept.
HISTORIES: Mapping[str, str] = {
    "deployments.apps": REPLICA_SETS, "daemonsets.apps": REVISIONS, "statefulsets.apps": REVISIONS,
}  # fmt: skip
# What says something about one Deployment as it is: a rollback neither takes it from the old ReplicaSet nor loses it.
OWN_ANNOTATIONS = frozenset({
    "kubectl.kubernetes.io/last-applied-configuration", REVISION, "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
})  # fmt: skip
_HASH_LABEL = "pod-template-hash"


class RolloutError(ValueError):
    """The workload cannot be restarted or rolled back; the message says why."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """The patch that puts an older template back: `kind` is json or strategic; `to` the number gone back to."""

    kind: str
    patch: Any
    to: int


def restart(resource: str, workload: Document, time: str) -> Document:
    """The strategic patch that lets every pod be replaced."""
    _check(resource, workload, "restart")
    if lookup(workload, "spec", "paused"):
        raise RolloutError("can't restart paused deployment (run rollout resume first)")
    return {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: time}}}}}


def rollback(resource: str, workload: Document, kept: Sequence[Document], to: int | None) -> Rollback:
    """The way back to a numbered template, or to the one before the present; `kept` are those it owns."""
    _check(resource, workload, "roll back")
    if lookup(workload, "spec", "paused"):
        raise RolloutError(
            "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again"
        )
    numbered = sorted(((_number(resource, one), one) for one in kept), key=lambda pair: pair[0])
    number, chosen = _chosen(resource, workload, [pair for pair in numbered if pair[0] > 0], to)
    if resource == "deployments.apps":
        return _to_replica_set(workload, chosen, number)
    return _to_revision(workload, chosen, number)


def owned(workload: Document, kept: Sequence[Document]) -> list[Document]:
    """Those of `kept` that the workload controls."""
    uid = lookup(workload, "metadata", "uid")
    return [
        one
        for one in kept
        if any(ref.get("uid") == uid and ref.get("controller") for ref in one["metadata"].get("ownerReferences") or ())
    ]


def _check(resource: str, workload: Document, what: str) -> None:
    if resource not in HISTORIES:
        raise RolloutError(f"{resource} cannot {what}: only {', '.join(HISTORIES)} can")
    if lookup(workload, "spec", "template") is None:
        raise RolloutError("it has no pod template")


def _number(resource: str, kept: Document) -> int:
    if resource == "deployments.apps":
        text = str(lookup(kept, "metadata", "annotations", REVISION, default="0"))
        return int(text) if text.isascii() and text.isdecimal() else 0
    number = kept.get("revision")
    return number if isinstance(number, int) else 0


def _chosen(
    resource: str, workload: Document, numbered: Sequence[tuple[int, Document]], to: int | None
) -> tuple[int, Document]:
    if to is not None:
        found = next((pair for pair in numbered if pair[0] == to), None)
        if found is None:
            raise RolloutError(f"unable to find specified revision {to} in history")
        return found
    if len(numbered) < 2:
        kind, name = resource.partition(".")[0].removesuffix("s"), lookup(workload, "metadata", "name")
        raise RolloutError(f'no rollout history found for {kind} "{name}"')
    return numbered[-2]


def _to_replica_set(deployment: Document, kept: Document, number: int) -> Rollback:
    template = _without_hash(kept["spec"]["template"])
    if template == _without_hash(deployment["spec"]["template"]):
        raise _same(number)
    before = deployment["metadata"].get("annotations") or {}
    then = kept["metadata"].get("annotations") or {}
    annotations = {key: value for key, value in before.items() if key in OWN_ANNOTATIONS}
    annotations |= {key: value for key, value in then.items() if key not in OWN_ANNOTATIONS}
    return Rollback("json", [
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
    ], number)  # fmt: skip


def _to_revision(workload: Document, kept: Document, number: int) -> Rollback:
    patch = kept.get("data") or {}
    wanted = lookup(patch, "spec", "template", default={})
    if {key: value for key, value in wanted.items() if key != "$patch"} == workload["spec"]["template"]:
        raise _same(number)
    return Rollback("strategic", patch, number)


def _same(number: int) -> RolloutError:
    return RolloutError(f"skipped rollback (current template already matches revision {number})")


def _without_hash(template: Document) -> Document:
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != _HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}
