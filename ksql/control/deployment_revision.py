"""Revisions: which ReplicaSet belongs to a template, its name and number, and when it is forgotten.

A ReplicaSet is the current one when its template equals the Deployment's, whatever made it so: that is how
`kubectl rollout undo`, which only puts an old template back, finds the old ReplicaSet, which then gets the
next number. Names end in a hash of the template, in the letters that Kubernetes deems safe.
"""

from collections.abc import Sequence

from ksql.base.documents import Document
from ksql.control.claims import owner_reference
from ksql.control.deployment_rolling import room
from ksql.control.deployment_scaling import SETS, Scene, counted, size_annotations, size_of
from ksql.control.plan import ERROR, Amend, Change, Create, Remark, removal
from ksql.control.pods import is_terminating
from ksql.control.revisions import plain, safe_hash
from ksql.recorder import NORMAL, WARNING

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISIONS_BEFORE = "deployment.kubernetes.io/revision-history"
HISTORY_LIMIT_DEFAULT = 10
# What a ReplicaSet does not copy from its Deployment: each of these says something about one of them alone.
OWN_ANNOTATIONS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISIONS_BEFORE,
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
)


def without_hash(template: Document) -> Document:
    """A template without the label that the hash itself adds."""
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    return {**template, "metadata": {**metadata, "labels": labels}}


def template_hash(template: Document, collisions: int) -> str:
    """Ten safe letters that any change of the template changes."""
    return safe_hash(plain(without_hash(template)), collisions)


def current_of(deployment: Document, sets: Sequence[Document]) -> Document | None:
    """The oldest ReplicaSet with the Deployment's very template."""
    template = plain(without_hash(deployment["spec"]["template"]))
    for each in sets:
        if plain(without_hash(each["spec"]["template"])) == template:
            return each
    return None


def revision_number(document: Document) -> int:
    text = (document["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdecimal() else 0


def _next_revision(scene: Scene) -> int:
    return max((revision_number(each) for each in scene.old), default=0) + 1


def _copied(deployment: Document) -> dict[str, str]:
    annotations = deployment["metadata"].get("annotations") or {}
    return {key: value for key, value in annotations.items() if key not in OWN_ANNOTATIONS}


def creation(scene: Scene) -> Create:
    """The ReplicaSet of the current template, already as large as the bounds allow."""
    deployment = scene.deployment
    metadata, spec = deployment["metadata"], deployment["spec"]
    collisions = int((deployment.get("status") or {}).get("collisionCount") or 0)
    letters = template_hash(spec["template"], collisions)
    size = room(scene)
    given = spec["template"].get("metadata") or {}
    labels = {**(given.get("labels") or {}), HASH_LABEL: letters}
    selector = spec.get("selector") or {}
    replicaset: Document = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{letters}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {
                **_copied(deployment), REVISION: str(_next_revision(scene)), **size_annotations(scene)
            },
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {
            "replicas": size,
            **({"minReadySeconds": spec["minReadySeconds"]} if spec.get("minReadySeconds") else {}),
            "selector": {
                **selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: letters}
            },
            "template": {**spec["template"], "metadata": {**given, "labels": labels}},
        },
    }  # fmt: skip
    name = replicaset["metadata"]["name"]
    remark = Remark(deployment, NORMAL, "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}")
    refused = Remark(
        deployment, WARNING, "ReplicaSetCreateError", f'Failed to create new replica set "{name}": {ERROR}'
    )
    return Create(SETS, replicaset, remark=remark if size else None, refused=refused)


def revised(scene: Scene) -> list[Change]:
    """Bring the current ReplicaSet's revision, copied annotations and minReadySeconds up to date."""
    replicaset = scene.current
    assert replicaset is not None
    metadata = replicaset["metadata"]
    annotations = metadata.get("annotations") or {}
    wanted = dict(_copied(scene.deployment))
    ours, following = revision_number(replicaset), _next_revision(scene)
    if ours < following:
        wanted[REVISION] = str(following)
        if ours:
            before = [each for each in annotations.get(REVISIONS_BEFORE, "").split(",") if each]
            wanted[REVISIONS_BEFORE] = ",".join([*before, str(ours)])
    amended: Document = {}
    news = {key: value for key, value in wanted.items() if annotations.get(key) != value}
    if news:
        amended["metadata"] = {"uid": metadata["uid"], "annotations": news}
    min_ready = int(scene.deployment["spec"].get("minReadySeconds") or 0)
    if int(replicaset["spec"].get("minReadySeconds") or 0) != min_ready:
        amended["spec"] = {"minReadySeconds": min_ready}
    return [Amend(SETS, metadata["namespace"], metadata["name"], amended)] if amended else []


def revision_note(scene: Scene, replicaset: Document) -> list[Change]:
    """The Deployment carries the number of its current ReplicaSet."""
    metadata = scene.deployment["metadata"]
    number = (replicaset["metadata"].get("annotations") or {}).get(REVISION)
    if number is None or (metadata.get("annotations") or {}).get(REVISION) == number:
        return []
    patch = {"metadata": {"uid": metadata["uid"], "annotations": {REVISION: number}}}
    # Through the status, as no change of what is wanted; so it can also travel with one.
    return [Amend("deployments.apps", metadata["namespace"], metadata["name"], patch, subresource="status")]


def has_revision_changes(changes: Sequence[Change]) -> bool:
    """Whether the current ReplicaSet itself is about to change: it is scaled in the next round then."""
    return any(change.resource == SETS for change in changes)


def obsolete(scene: Scene) -> list[Change]:
    """The old, empty ReplicaSets beyond `revisionHistoryLimit`, lowest revision first."""
    limit = scene.deployment["spec"].get("revisionHistoryLimit")
    keep = HISTORY_LIMIT_DEFAULT if limit is None else int(limit)
    living = [each for each in scene.old if not is_terminating(each)]
    excess = len(living) - keep
    if excess <= 0:
        return []
    lowest = sorted(living, key=revision_number)[:excess]
    return [removal(SETS, each) for each in lowest if _is_empty(each)]


def _is_empty(replicaset: Document) -> bool:
    status, metadata = replicaset.get("status") or {}, replicaset["metadata"]
    up_to_date = metadata.get("generation", 0) <= status.get("observedGeneration", 0)
    return size_of(replicaset) == 0 and counted(replicaset, "replicas") == 0 and up_to_date
