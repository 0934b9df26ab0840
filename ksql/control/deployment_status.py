"""What a Deployment's status says: counts, whether it is available, and whether it gets on.

Reasons and messages are kube-controller-manager's, since `kubectl rollout status` and scripts match them.
Progress is any count moving the right way; when none has for `progressDeadlineSeconds` the Deployment
says so, and that moment is when `plan` asks to be called again.
"""

from datetime import datetime, timedelta

from ksql.base.clock import parse_rfc3339, rfc3339
from ksql.base.documents import Document
from ksql.control.deployment_scaling import Scene, sizes, total
from ksql.control.pods import condition

# What kube-controller-manager takes as "never".
NO_DEADLINE = 2**31 - 1
# Instants in documents have whole seconds: look a second later, when the deadline has surely passed.
DEADLINE_MARGIN_SECONDS = 1.0


def status_of(scene: Scene, now: datetime, created: str = "") -> tuple[Document, float | None]:
    """The status as of now, and in how many seconds it changes by time alone.

    `created` names the ReplicaSet that is being made for a new revision.
    """
    deployment = scene.deployment
    before = deployment.get("status") or {}
    sets = scene.all
    available = total(sets, "availableReplicas")
    counts = {
        "replicas": total(sets, "replicas"),
        "updatedReplicas": total([scene.current], "replicas") if scene.current else 0,
        "readyReplicas": total(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sizes(sets) - available),
        "collisionCount": int(before.get("collisionCount") or 0),
    }
    status: Document = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    status.update({key: count for key, count in counts.items() if count})
    conditions = [_availability(scene, available)]
    progressing = _progress(scene, status, now, created)
    if progressing is not None:
        conditions.append(progressing)
    conditions += [
        each
        for replicaset in sets[::-1]
        if (each := condition(replicaset, "ReplicaFailure")) is not None
    ][:1]  # fmt: skip
    status["conditions"] = [_dated(deployment, each, now) for each in conditions]
    return status, _deadline_in(scene, status, now)


def _availability(scene: Scene, available: int) -> Document:
    if available >= scene.replicas - scene.unavailable:
        return {
            "type": "Available",
            "status": "True",
            "reason": "MinimumReplicasAvailable",
            "message": "Deployment has minimum availability.",
        }
    return {
        "type": "Available",
        "status": "False",
        "reason": "MinimumReplicasUnavailable",
        "message": "Deployment does not have minimum availability.",
    }


def _progress(scene: Scene, status: Document, now: datetime, created: str) -> Document | None:
    """The Progressing condition, or None when the Deployment sets no deadline."""
    if _deadline(scene) is None:
        return None
    before = condition(scene.deployment, "Progressing")
    reason = before.get("reason") if before else None
    name = scene.current["metadata"]["name"] if scene.current else ""
    subject = f'ReplicaSet "{name}"' if name else f'Deployment "{scene.deployment["metadata"]["name"]}"'
    if created:
        return _progressing("True", "NewReplicaSetCreated", f'Created new replica set "{created}"')
    if scene.is_paused and reason != "ProgressDeadlineExceeded":
        return _progressing("Unknown", "DeploymentPaused", "Deployment is paused")
    if reason == "DeploymentPaused" and not scene.is_paused:
        return _progressing("Unknown", "DeploymentResumed", "Deployment is resumed")
    if status.get("replicas", 0) == status.get("updatedReplicas", 0) and reason == "NewReplicaSetAvailable":
        return before
    if scene.is_complete and scene.current is not None:
        return _progressing("True", "NewReplicaSetAvailable", f"{subject} has successfully progressed.")
    if _got_on(scene.deployment.get("status") or {}, status):
        return _progressing("True", "ReplicaSetUpdated", f"{subject} is progressing.")
    if before is None:
        if not name:
            return None
        return _progressing("True", "FoundNewReplicaSet", f'Found new replica set "{name}"')
    if _timed_out(scene, before, now):
        return _progressing("False", "ProgressDeadlineExceeded", f"{subject} has timed out progressing.")
    return before


def _progressing(status: str, reason: str, message: str) -> Document:
    return {"type": "Progressing", "status": status, "reason": reason, "message": message}


def _got_on(before: Document, after: Document) -> bool:
    """Whether any count moved the right way since the status was last written."""

    def old(status: Document) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    return old(after) < old(before) or any(
        after.get(count, 0) > before.get(count, 0)
        for count in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def _dated(deployment: Document, fresh: Document, now: datetime) -> Document:
    """The condition with its instants: both kept while it says the same, one while only the reason differs.

    Progress restarts the deadline, so ReplicaSetUpdated is dated anew whenever it is said.
    """
    before = condition(deployment, fresh["type"])
    if before is fresh:
        return fresh
    says = ("status", "reason", "message")
    same = before is not None and all(before.get(key) == fresh.get(key) for key in says)
    if before is not None and same and fresh["reason"] != "ReplicaSetUpdated":
        return before
    instant = rfc3339(now)
    kept = before is not None and before.get("status") == fresh["status"]
    since = before.get("lastTransitionTime", instant) if before is not None and kept else instant
    return {
        "type": fresh["type"],
        "status": fresh["status"],
        "lastUpdateTime": instant,
        "lastTransitionTime": since,
        "reason": fresh.get("reason", ""),
        "message": fresh.get("message", ""),
    }


def _deadline(scene: Scene) -> int | None:
    seconds = scene.deployment["spec"].get("progressDeadlineSeconds")
    if seconds is None or int(seconds) >= NO_DEADLINE:
        return None
    return int(seconds)


def _timed_out(scene: Scene, progressing: Document, now: datetime) -> bool:
    if progressing.get("reason") == "NewReplicaSetAvailable" or scene.is_paused:
        return False
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return True
    deadline = _deadline(scene)
    return deadline is not None and _last_update(progressing) + timedelta(seconds=deadline) < now


def _deadline_in(scene: Scene, status: Document, now: datetime) -> float | None:
    """Seconds until lack of progress has to be reported; None when it never will be."""
    deadline = _deadline(scene)
    progressing = next((each for each in status["conditions"] if each["type"] == "Progressing"), None)
    if deadline is None or progressing is None or scene.is_paused:
        return None
    if progressing.get("reason") in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    left = (_last_update(progressing) + timedelta(seconds=deadline) - now).total_seconds()
    return max(0.0, left) + DEADLINE_MARGIN_SECONDS


def _last_update(progressing: Document) -> datetime:
    return parse_rfc3339(progressing["lastUpdateTime"])
