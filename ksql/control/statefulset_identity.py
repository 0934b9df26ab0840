"""Who a StatefulSet's pods are: names by ordinal, their claims, and pods made from a revision of the template.

Pure: a set, a revision and an ordinal in; documents out. A pod's name, hostname, index label and claims
follow from its ordinal alone, so that its successor is the same to everybody who knew it.
"""

from collections.abc import Iterator, Mapping, Sequence

from ksql.base.documents import Document
from ksql.control.claims import owner_reference
from ksql.control.pods import condition, phase

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
# Its value is a revision's whole name.
REVISION_LABEL = "controller-revision-hash"


def replicas_of(statefulset: Document) -> int:
    replicas = statefulset["spec"].get("replicas")
    return 1 if replicas is None else int(replicas)


def start_of(statefulset: Document) -> int:
    """The first ordinal."""
    return int((statefulset["spec"].get("ordinals") or {}).get("start") or 0)


def ordinals_of(statefulset: Document) -> range:
    start = start_of(statefulset)
    return range(start, start + replicas_of(statefulset))


def pod_name(statefulset: Document, ordinal: int) -> str:
    return f"{statefulset['metadata']['name']}-{ordinal}"


def ordinal_of(statefulset: Document, pod: Document) -> int | None:
    """The ordinal that a pod's name says; None when it is not of this set's names."""
    name, _, number = str(pod["metadata"]["name"]).rpartition("-")
    # "web-01" is nobody's: each ordinal has one name.
    if name != statefulset["metadata"]["name"] or not number.isdecimal() or str(int(number)) != number:
        return None
    return int(number)


def revision_of(pod: Document) -> str:
    """The name of the revision a pod was made from."""
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))


def is_running_and_ready(pod: Document) -> bool:
    ready = condition(pod, "Ready")
    return phase(pod) == "Running" and ready is not None and ready.get("status") == "True"


def claim_names(statefulset: Document, ordinal: int) -> Iterator[tuple[str, str]]:
    """(volume, claim) for each claim template."""
    for template in statefulset["spec"].get("volumeClaimTemplates") or ():
        name = template["metadata"]["name"]
        yield name, f"{name}-{pod_name(statefulset, ordinal)}"


def new_claims(statefulset: Document, ordinal: int) -> Iterator[Document]:
    """The claims of one ordinal, as they are to be made."""
    labels = (statefulset["spec"].get("selector") or {}).get("matchLabels") or {}
    owners = claim_owners(statefulset, None)
    for template in statefulset["spec"].get("volumeClaimTemplates") or ():
        given = template["metadata"]
        metadata: Document = {
            "name": f"{given['name']}-{pod_name(statefulset, ordinal)}",
            "namespace": statefulset["metadata"]["namespace"],
            "labels": {**(given.get("labels") or {}), **labels},
            **({"annotations": given["annotations"]} if given.get("annotations") else {}),
            **({"ownerReferences": owners} if owners else {}),
        }
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata,
            "spec": template["spec"],
        }


def retention(statefulset: Document) -> tuple[bool, bool]:
    """(deleted with the set, deleted when scaled away): what becomes of claims."""
    policy = statefulset["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return policy.get("whenDeleted") == "Delete", policy.get("whenScaled") == "Delete"


def claim_owners(statefulset: Document, condemned: Document | None) -> list[Document]:
    """Who a claim's owners are by the retention policy. `condemned` is its pod when that is scaled away."""
    with_set, with_pod = retention(statefulset)
    if condemned is not None and with_pod:
        metadata = condemned["metadata"]
        reference = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        return [reference]
    if with_set:
        whole = owner_reference(statefulset)
        return [{key: whole[key] for key in ("apiVersion", "kind", "name", "uid")}]
    return []


def new_pod(statefulset: Document, template: Document, revision: str, ordinal: int) -> Document:
    """The pod of an ordinal, from a template of the set's."""
    name = pod_name(statefulset, ordinal)
    given, spec = template.get("metadata") or {}, template["spec"]
    labels = {
        **(given.get("labels") or {}),
        POD_NAME_LABEL: name,
        POD_INDEX_LABEL: str(ordinal),
        REVISION_LABEL: revision,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": statefulset["metadata"]["namespace"],
            "labels": labels,
            **{key: given[key] for key in ("annotations", "finalizers") if given.get(key)},
            "ownerReferences": [owner_reference(statefulset)],
        },
        "spec": {
            **spec,
            "hostname": name,
            **({"subdomain": service} if (service := statefulset["spec"].get("serviceName")) else {}),
            **_volumes(statefulset, spec, ordinal),
        },
    }


def _volumes(statefulset: Document, spec: Document, ordinal: int) -> dict[str, list[Document]]:
    """The template's volumes, those of claim templates pointing to this ordinal's claims."""
    claims = dict(claim_names(statefulset, ordinal))
    own: Sequence[Document] = [
        {"name": volume, "persistentVolumeClaim": {"claimName": claim}} for volume, claim in claims.items()
    ]
    others = [volume for volume in spec.get("volumes") or () if volume["name"] not in claims]
    return {"volumes": [*own, *others]} if own or others else {}


def identity_labels(statefulset: Document, ordinal: int) -> Mapping[str, str]:
    """The labels that say who a pod is, whatever its template says."""
    return {POD_NAME_LABEL: pod_name(statefulset, ordinal), POD_INDEX_LABEL: str(ordinal)}
