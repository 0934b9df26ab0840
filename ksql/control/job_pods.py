"""The pods of a Job: made with its labels, finalizer and index, and released from the finalizer."""

from collections.abc import Iterable, Mapping, Sequence

from ksql.base.documents import Document
from ksql.control.claims import owner_reference
from ksql.control.job_count import FINALIZER, is_indexed
from ksql.control.job_indexes import FAILURES, INDEX, failures_of, index_of
from ksql.control.job_policy import ruling
from ksql.control.plan import ERROR, NAME, Amend, Change, Create, Remark, removal
from ksql.control.pods import is_ready, is_terminating, node_name, phase
from ksql.recorder import NORMAL, WARNING

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
# A pod's name is cut so that name, index and the server's letters fit a label.
NAME_MAX = 58


def creation(job: Document, index: int | None = None, failures: int = 0) -> Create:
    """A pod from the template; `failures` is how often its index has failed before."""
    metadata, template = job["metadata"], job["spec"]["template"]
    given, spec = template.get("metadata") or {}, template["spec"]
    prefix = f"{metadata['name']}-"
    made: Document = {
        "namespace": metadata["namespace"],
        "labels": dict(given.get("labels") or {}),
        "annotations": dict(given.get("annotations") or {}),
        "finalizers": [*(given.get("finalizers") or ()), FINALIZER],
        "ownerReferences": [owner_reference(job)],
    }
    if index is not None:
        prefix = f"{prefix[:NAME_MAX]}{index}-"
        made["labels"][INDEX] = made["annotations"][INDEX] = str(index)
        if "backoffLimitPerIndex" in job["spec"]:
            made["annotations"][FAILURES] = str(failures)
        spec = _indexed(spec, f"{metadata['name']}-{index}")
    made = {"generateName": prefix, **{key: value for key, value in made.items() if value}}
    return Create(
        "pods",
        {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": spec},
        remark=Remark(job, NORMAL, "SuccessfulCreate", f"Created pod: {NAME}"),
        refused=Remark(job, WARNING, "FailedCreate", f"Error creating: {ERROR}"),
    )


def _indexed(spec: Document, hostname: str) -> Document:
    """The template's spec told its index: by hostname, and by a variable in each container."""
    field = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    variable = {"name": INDEX_VARIABLE, "valueFrom": field}

    def told(containers: Iterable[Document]) -> list[Document]:
        return [
            each
            if any(one["name"] == INDEX_VARIABLE for one in each.get("env") or ())
            else {**each, "env": [*(each.get("env") or ()), variable]}
            for each in containers
        ]

    out = {**spec, "hostname": hostname, "containers": told(spec["containers"])}
    if spec.get("initContainers"):
        out["initContainers"] = told(spec["initContainers"])
    return out


def released(pod: Document, *, as_seen: bool = False) -> Amend:
    """The finalizer taken off: it is counted, or need not be; `as_seen`, if nothing has become of it since."""
    metadata = pod["metadata"]
    patch = {"metadata": {"uid": metadata["uid"], "$deleteFromPrimitiveList/finalizers": [FINALIZER]}}
    if as_seen:
        patch["metadata"]["resourceVersion"] = metadata["resourceVersion"]
    return Amend("pods", metadata["namespace"], metadata["name"], patch, kind="strategic")


def deletion(job: Document, pod: Document) -> Change:
    name = pod["metadata"]["name"]
    return removal(
        "pods",
        pod,
        remark=Remark(job, NORMAL, "SuccessfulDelete", f"Deleted pod: {name}"),
        refused=Remark(job, WARNING, "FailedDelete", f"Error deleting: {ERROR}"),
    )


def expendable(job: Document, active: Sequence[Document], keep: int) -> list[Document]:
    """The pods to end so that `keep` remain: doubles of an index and strange ones first, then the least far."""
    ordered = sorted(active, key=_progress)
    if not is_indexed(job):
        return ordered[: max(0, len(active) - keep)]
    total = int(job["spec"].get("completions") or 0)
    seen: set[int] = set()
    doubles: list[Document] = []
    rest: list[Document] = []
    # The farthest of an index stays.
    for pod in reversed(ordered):
        index = index_of(pod)
        if index is None or index >= total or index in seen:
            doubles.append(pod)
        else:
            seen.add(index)
            rest.append(pod)
    # Of those that are one of a kind the highest index goes first.
    rest.sort(key=lambda pod: -(index_of(pod) or 0))
    return [*doubles, *rest[: max(0, len(rest) - keep)]]


def _progress(pod: Document) -> tuple[int, int, int, str, str]:
    """Lower is less far: no node, pending, not ready, younger."""
    metadata = pod["metadata"]
    created = metadata.get("creationTimestamp") or ""
    inverse = "".join(chr(255 - ord(letter)) if ord(letter) < 256 else letter for letter in created)
    rank = {"Pending": 0, "Unknown": 1}.get(phase(pod), 2)
    return (1 if node_name(pod) else 0, rank, 1 if is_ready(pod) else 0, inverse, metadata["name"])


def index_failures(job: Document, failed: Sequence[Document]) -> dict[int, int]:
    """How often each index has failed, counting what the failure policy counts."""
    found: dict[int, int] = {}
    for pod in failed:
        index = index_of(pod)
        if index is not None and ruling(job, pod).action != "Ignore":
            found[index] = max(found.get(index, 0), failures_of(pod) + 1)
    return found


def failed_indexes(job: Document, failed: Sequence[Document], failures: Mapping[int, int]) -> set[int]:
    """Indexes beyond their own limit, or given up by a rule."""
    limit = job["spec"].get("backoffLimitPerIndex")
    if limit is None:
        return set()
    found = {index for index, count in failures.items() if count > int(limit)}
    for pod in failed:
        index = index_of(pod)
        if index is not None and ruling(job, pod).action == "FailIndex":
            found.add(index)
    return found


def is_active(pod: Document) -> bool:
    return phase(pod) not in ("Succeeded", "Failed") and not is_terminating(pod)
