"""What a node may write: its own Node, lease and pods, and nothing that would make it more than it is.

The plugin NodeRestriction. The node authorizer (`ksql/auth/nodes.py`) says which objects a node may reach; here is
judged what it does to them, since a node that is taken over asks with its own good name. Pure; whoever is no node
pays one look at his groups.
"""

from collections.abc import Callable, Iterator, Mapping

from ksql.auth.identity import NODE_USER, NODES_GROUP, User
from ksql.base.documents import Document, lookup
from ksql.schema.resources import ResourceType
from ksql.verbs import refusals
from ksql.verbs.request import Request
from ksql.verbs.view import View

_MIRROR = "kubernetes.io/config.mirror"
_LEASES = "kube-node-lease"
# What a kubelet may say of its node among Kubernetes' own labels; of others it may say what it likes.
_OWN_LABELS = frozenset(
    (
        "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/region", "topology.kubernetes.io/zone", "node.kubernetes.io/windows-build",
    )
)  # fmt: skip
_OWN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESTRICTED_DOMAIN = "node-restriction.kubernetes.io"

_Judge = Callable[[str, Request, Document | None, Document | None, View], str]


def review(request: Request, type: ResourceType, document: Document | None, old: Document | None, view: View) -> None:
    """`ForbiddenError` when a node does what only others may. `document` is None for a delete."""
    if NODES_GROUP not in request.user.groups:
        return
    found = _JUDGES.get(type.key)
    if found is None:
        return
    name = request.name or lookup(document if document is not None else old, "metadata", "name", default="")
    node = node_of(request.user)
    why = found(node, request, document, old, view) if node else "could not determine node from user"
    if why:
        raise refusals.forbidden(type, name, why)


def node_of(user: User) -> str:
    """The node that a user is; empty for who is none."""
    return user.name.removeprefix(NODE_USER) if user.name.startswith(NODE_USER) else ""


# --- pods


def _pod(node: str, request: Request, document: Document | None, old: Document | None, view: View) -> str:
    if request.subresource == "eviction":
        pod = view.look("pods", request.namespace, request.name)
        return _of_own(node, pod, "evict pods")
    if request.subresource == "status":
        if document is not None and old is not None:
            new, before = (one["metadata"].get("labels") or {} for one in (document, old))
            if new != before:
                return f'node "{node}" cannot update labels through pod status'
        return _of_own(node, old, "update pod status for pods")
    if request.subresource:
        return f"unexpected pod subresource \"{request.subresource}\", only 'status' and 'eviction' are allowed"
    if document is None:
        return _of_own(node, old, "delete pods")
    if old is not None:
        return 'unexpected operation "UPDATE", node may only create and delete pods'
    return _new_pod(node, document)


def _of_own(node: str, pod: Document | None, what: str) -> str:
    """Refuses what a node does to a pod of another; one that is not there is somebody else's to miss."""
    if pod is None or lookup(pod, "spec", "nodeName") == node:
        return ""
    return f'node "{node}" can only {what} with spec.nodeName set to itself'


def _new_pod(node: str, pod: Document) -> str:
    spec = pod.get("spec") or {}
    if _MIRROR not in (pod["metadata"].get("annotations") or {}):
        return f'pod does not have "{_MIRROR}" annotation, node "{node}" can only create mirror pods'
    if spec.get("nodeName") != node:
        return f'node "{node}" can only create pods with spec.nodeName set to itself'
    owners = pod["metadata"].get("ownerReferences") or ()
    if [(one.get("kind"), one.get("name")) for one in owners] != [("Node", node)]:
        return f'node "{node}" can only create pods with an owner reference set to itself'
    for what in _referenced(spec):
        return f'node "{node}" can not create pods that reference {what}'
    return ""


def _referenced(spec: Document) -> Iterator[str]:
    """What a mirror pod may not lead its node to."""
    for volume in spec.get("volumes") or ():
        sources = [volume, *(lookup(volume, "projected", "sources", default=None) or ())]
        for source in sources:
            if source.get("secret"):
                yield "secrets"
            if source.get("configMap"):
                yield "configmaps"
        if volume.get("persistentVolumeClaim") or volume.get("ephemeral"):
            yield "persistentvolumeclaims"
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for one in container.get("envFrom") or ():
            yield "secrets" if one.get("secretRef") else "configmaps"
        for one in container.get("env") or ():
            source = one.get("valueFrom") or {}
            if source.get("secretKeyRef"):
                yield "secrets"
            if source.get("configMapKeyRef"):
                yield "configmaps"


# --- nodes


def _node(node: str, request: Request, document: Document | None, old: Document | None, view: View) -> str:
    metadata = (document if document is not None else old or {}).get("metadata") or {}
    name = request.name or metadata.get("name", "")
    if name != node:
        return f'node "{node}" is not allowed to modify node "{name}"'
    if document is None:
        return ""
    labels, before = metadata.get("labels") or {}, lookup(old, "metadata", "labels", default=None) or {}
    changed = [key for key in {**before, **labels} if labels.get(key) != before.get(key) and _is_not_own(key)]
    if changed:
        verb = "set" if old is None else "modify"
        return f"is not allowed to {verb} the following labels: {', '.join(sorted(changed))}"
    if old is not None and request.subresource == "":
        if lookup(document, "spec", "taints", default=None) != lookup(old, "spec", "taints", default=None):
            return f'node "{node}" is not allowed to modify taints'
        if metadata.get("ownerReferences") != old["metadata"].get("ownerReferences"):
            return f'node "{node}" is not allowed to modify ownerReferences'
    return ""


def _is_not_own(label: str) -> bool:
    domain = label.rpartition("/")[0]
    if domain == _RESTRICTED_DOMAIN or domain.endswith(f".{_RESTRICTED_DOMAIN}"):
        return True
    is_kubernetes = any(domain == one or domain.endswith(f".{one}") for one in ("kubernetes.io", "k8s.io"))
    if not is_kubernetes or label in _OWN_LABELS:
        return False
    return not any(domain == one or domain.endswith(f".{one}") for one in _OWN_DOMAINS)


# --- the rest


def _token(node: str, request: Request, document: Document | None, old: Document | None, view: View) -> str:
    if request.subresource != "token":
        return ""
    bound = lookup(document, "spec", "boundObjectRef", default=None) or {}
    if bound.get("kind") != "Pod" or bound.get("apiVersion", "v1") != "v1":
        return "node requested token not bound to a pod"
    name, uid = bound.get("name", ""), bound.get("uid", "")
    if not name:
        return "node requested token bound to a pod without a name"
    if not uid:
        return "node requested token with a pod binding without a uid"
    pod = view.look("pods", request.namespace, name)
    if pod is None:
        return f'pod "{name}" not found'
    if pod["metadata"]["uid"] != uid:
        return (
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
    if lookup(pod, "spec", "nodeName") != node:
        return "node requested token bound to a pod scheduled on a different node"
    return ""


def _lease(node: str, request: Request, document: Document | None, old: Document | None, view: View) -> str:
    if request.namespace != _LEASES:
        return f'can only access leases in the "{_LEASES}" system namespace'
    return _same_name(node, request, document, "node lease")


def _csi_node(node: str, request: Request, document: Document | None, old: Document | None, view: View) -> str:
    return _same_name(node, request, document, "CSINode")


def _same_name(node: str, request: Request, document: Document | None, what: str) -> str:
    name = request.name or lookup(document, "metadata", "name", default="")
    return "" if name == node else f"can only access {what} with the same name as the requesting node"


def _slice(node: str, request: Request, document: Document | None, old: Document | None, view: View) -> str:
    for one in (document, old):
        if one is not None and lookup(one, "spec", "nodeName") != node:
            return f'can only create and delete ResourceSlice with the same NodeName as the requesting node "{node}"'
    return ""


_JUDGES: Mapping[str, _Judge] = {
    "pods": _pod,
    "nodes": _node,
    "serviceaccounts": _token,
    "leases.coordination.k8s.io": _lease,
    "csinodes.storage.k8s.io": _csi_node,
    "resourceslices.resource.k8s.io": _slice,
}
