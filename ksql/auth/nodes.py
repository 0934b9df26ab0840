"""What nodes may: a node sees its own pods and what these name, and writes what a kubelet writes.

`Relations` is a fold of pods, volumes, attachments and slices: which object leads to which node. Changes are
only noted when they happen and taken in when a node asks, since pods change by the thousand and nodes ask
for secrets seldom. What a node may create or change on objects that it may write at all is judged by
admission, which sees them. The reasons are kube-apiserver's. Pure.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from ksql.auth.identity import NODE_USER, NODES_GROUP, Question, Rules, User, Verdict
from ksql.auth.rules import Role
from ksql.base.documents import Document, lookup

_MIRROR = "kubernetes.io/config.mirror"
LEASES_NAMESPACE = "kube-node-lease"

PODS, CLAIMS, VOLUMES = "pods", "persistentvolumeclaims", "persistentvolumes"
ATTACHMENTS, SLICES = "volumeattachments.storage.k8s.io", "resourceslices.resource.k8s.io"
FOLLOWED = (PODS, VOLUMES, ATTACHMENTS, SLICES)

Thing = tuple[str, str, str]  # resource, namespace, name


class Relations:
    """Which things lead to which nodes."""

    def __init__(self) -> None:
        self._nodes: dict[Thing, Counter[str]] = {}
        self._of: dict[Thing, tuple[str, tuple[Thing, ...]]] = {}
        # Things that lead to a node through others: a volume through its claim, a secret through a volume.
        self._through: dict[Thing, dict[Thing, Thing]] = {}  # thing: {source: next}
        self._sources: dict[Thing, tuple[tuple[Thing, Thing], ...]] = {}

    def clear(self) -> None:
        for each in (self._nodes, self._of, self._through, self._sources):
            each.clear()

    def put(self, resource: str, document: Document) -> None:
        metadata = document["metadata"]
        thing = (resource, metadata.get("namespace", ""), metadata["name"])
        if resource == VOLUMES:
            self._lead(thing, tuple(_of_volume(thing, document)))
            return
        node = lookup(document, "spec", "nodeName", default="")
        things = (thing, *_of_pod(document)) if resource == PODS else (thing,)
        known = self._of.get(thing)
        if known == (node, things):
            return
        self._forget(thing)
        if node:
            self._of[thing] = (node, things)
            for each in things:
                self._nodes.setdefault(each, Counter())[node] += 1

    def remove(self, resource: str, namespace: str, name: str) -> None:
        thing = (resource, namespace, name)
        if resource == VOLUMES:
            self._lead(thing, ())
        else:
            self._forget(thing)

    def _forget(self, thing: Thing) -> None:
        node, things = self._of.pop(thing, ("", ()))
        for each in things:
            counts = self._nodes[each]
            counts[node] -= 1
            if not counts[node]:
                del counts[node]
            if not counts:
                del self._nodes[each]

    def _lead(self, source: Thing, pairs: tuple[tuple[Thing, Thing], ...]) -> None:
        for thing, _ in self._sources.pop(source, ()):
            steps = self._through[thing]
            steps.pop(source, None)
            if not steps:
                del self._through[thing]
        for thing, step in pairs:
            self._through.setdefault(thing, {})[source] = step
        if pairs:
            self._sources[source] = pairs

    def leads(self, thing: Thing, node: str) -> bool:
        """Whether there is a way from the thing to the node."""
        if node in self._nodes.get(thing, ()):
            return True
        return any(self.leads(step, node) for step in self._through.get(thing, {}).values())


def _of_volume(volume: Thing, document: Document) -> Iterator[tuple[Thing, Thing]]:
    claim = lookup(document, "spec", "claimRef")
    if not claim:
        return
    home = claim.get("namespace", "")
    yield volume, (CLAIMS, home, claim.get("name", ""))
    for source in document["spec"].values():
        for key in ("secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"):
            secret = source.get(key) if isinstance(source, dict) else None
            if isinstance(secret, dict) and secret.get("name"):
                yield ("secrets", secret.get("namespace") or home, secret["name"]), volume


def _of_pod(pod: Document) -> Iterator[Thing]:
    """What a pod gives its node. A mirror pod gives it nothing: the node made it."""
    if _MIRROR not in (pod["metadata"].get("annotations") or {}):
        yield from named_by(pod)


def named_by(pod: Document) -> Iterator[Thing]:
    """What a pod names: its account, its secrets and config maps, its claims."""
    metadata, spec = pod["metadata"], pod["spec"]
    home = metadata.get("namespace", "")
    if account := spec.get("serviceAccountName"):
        yield "serviceaccounts", home, account
    for secret in spec.get("imagePullSecrets") or ():
        if secret.get("name"):
            yield "secrets", home, secret["name"]
    for volume in spec.get("volumes") or ():
        yield from ((resource, home, name) for resource, name in _of_mount(metadata["name"], volume))
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            yield from ((resource, home, name) for resource, name in _of_container(container))
    for claim in lookup(pod, "status", "resourceClaimStatuses", default=None) or ():
        if claim.get("resourceClaimName"):
            yield "resourceclaims.resource.k8s.io", home, claim["resourceClaimName"]
    for claim in spec.get("resourceClaims") or ():
        if claim.get("resourceClaimName"):
            yield "resourceclaims.resource.k8s.io", home, claim["resourceClaimName"]


def _of_mount(pod: str, volume: Document) -> Iterator[tuple[str, str]]:
    for source in (volume, *(lookup(volume, "projected", "sources", default=None) or ())):
        secret, config = source.get("secret") or {}, source.get("configMap") or {}
        if name := secret.get("secretName") or secret.get("name"):
            yield "secrets", name
        if name := config.get("name"):
            yield "configmaps", name
    for source in volume.values():
        if isinstance(source, dict):
            for key in ("secretRef", "nodePublishSecretRef"):
                if name := lookup(source, key, "name"):
                    yield "secrets", name
    if name := lookup(volume, "azureFile", "secretName"):
        yield "secrets", name
    if name := lookup(volume, "persistentVolumeClaim", "claimName"):
        yield CLAIMS, name
    if "ephemeral" in volume:
        yield CLAIMS, f"{pod}-{volume['name']}"


def _of_container(container: Document) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        for key, resource in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            if name := lookup(source, key, "name"):
                yield resource, name
    for variable in container.get("env") or ():
        for key, resource in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
            if name := lookup(variable, "valueFrom", key, "name"):
                yield resource, name


# --- questions


def node_of(user: User) -> str | None:
    """The node whose agent this is; None for everybody else."""
    if NODES_GROUP not in user.groups or not user.name.startswith(NODE_USER):
        return None
    return user.name[len(NODE_USER) :]


class NodeAuthorizer:
    """Answers for nodes, and has nothing to say of anybody else."""

    def __init__(self, relations: Callable[[], Relations], rules: Iterable[Document]) -> None:
        self._relations, self._role = relations, Role(tuple(rules))

    def authorize(self, question: Question) -> Verdict:
        node = node_of(question.user)
        if node is None:
            return _SILENT
        if not node:
            return _no(f'unknown node for user "{question.user.name}"')
        judge = None if question.path else _JUDGES.get((question.group, question.resource))
        if judge is None:
            return Verdict(True, rule=_RULE) if self._role.allows(question) else _SILENT
        return judge(self, question, node)

    def rules(self, user: User, namespace: str) -> Rules:
        if node_of(user) is None:
            return Rules()
        return Rules((), True, "node authorizer does not support user rule resolution")

    def related(self, question: Question, node: str) -> Verdict:
        if not question.name:
            return _no("No Object name found")
        key = f"{question.resource}.{question.group}" if question.group else question.resource
        if self._relations().leads((key, question.namespace, question.name), node):
            return _YES
        return _no(f"no relationship found between node '{node}' and this object")


_RULE = "node"
_YES, _SILENT = Verdict(True, rule=_RULE), Verdict(False)
Judge = Callable[[NodeAuthorizer, Question, str], Verdict]


def _no(reason: str) -> Verdict:
    return Verdict(False, reason=reason)


def _read(authorizer: NodeAuthorizer, question: Question, node: str) -> Verdict:
    if question.verb not in ("get", "list", "watch"):
        return _no("can only read resources of this type")
    if question.subresource:
        return _no("cannot read subresource")
    if not question.namespace:
        return _no("can only read namespaced object of this type")
    return authorizer.related(question, node)


def _get(authorizer: NodeAuthorizer, question: Question, node: str) -> Verdict:
    if question.verb != "get":
        return _no("can only get individual resources of this type")
    if question.subresource:
        return _no("cannot get subresource")
    return authorizer.related(question, node)


def _claim(authorizer: NodeAuthorizer, question: Question, node: str) -> Verdict:
    if question.subresource != "status":
        return _get(authorizer, question, node)
    if question.verb not in ("update", "patch"):
        return _no("can only get/update/patch this type")
    return authorizer.related(question, node)


def _account(authorizer: NodeAuthorizer, question: Question, node: str) -> Verdict:
    if question.verb == "get" and not question.subresource:
        return _read(authorizer, question, node)
    if question.verb != "create" or not question.name:
        return _no("can only create tokens for individual service accounts")
    if question.subresource != "token":
        return _no("can only create token subresource of serviceaccount")
    return authorizer.related(question, node)


_OWN_VERBS = ("get", "create", "update", "patch", "delete")


def _lease(authorizer: NodeAuthorizer, question: Question, node: str) -> Verdict:
    if question.verb not in _OWN_VERBS:
        return _no("can only get, create, update, patch, or delete a node lease")
    if question.namespace != LEASES_NAMESPACE:
        return _no(f'can only access leases in the "{LEASES_NAMESPACE}" system namespace')
    if question.verb != "create" and question.name != node:
        return _no("can only access node lease with the same name as the requesting node")
    return _YES


def _csi_node(authorizer: NodeAuthorizer, question: Question, node: str) -> Verdict:
    if question.verb not in _OWN_VERBS:
        return _no("can only get, create, update, patch, or delete a CSINode")
    if question.subresource:
        return _no("cannot authorize CSINode subresources")
    if question.verb != "create" and question.name != node:
        return _no("can only access CSINode with the same name as the requesting node")
    return _YES


def _slice(authorizer: NodeAuthorizer, question: Question, node: str) -> Verdict:
    if question.subresource:
        return _no("cannot authorize ResourceSlice subresources")
    if question.verb == "create":
        return _YES
    if question.verb in _OWN_VERBS:
        return authorizer.related(question, node)
    if question.verb in ("watch", "list", "deletecollection"):
        if selects(question.field_selector, "spec.nodeName", node):
            return _YES
        return _no("can only list/watch/deletecollection resourceslices with nodeName field selector")
    verbs = "get, watch, list, create, update, patch, delete, deletecollection"
    return _no(f"only the following verbs are allowed for a ResourceSlice: {verbs}")


def _node(authorizer: NodeAuthorizer, question: Question, node: str) -> Verdict:
    writes = question.verb in ("update", "patch")
    if question.subresource == "status" and writes:
        return _YES
    if question.subresource:
        return _SILENT
    if writes or question.verb == "create":
        return _YES
    if question.verb not in ("get", "list", "watch"):
        return _SILENT
    if question.name == node:
        return _YES
    which = f"'{question.name}'" if question.name else "all nodes"
    return _no(f"node '{node}' cannot read {which}, only its own Node object")


def _pod(authorizer: NodeAuthorizer, question: Question, node: str) -> Verdict:
    verb, subresource = question.verb, question.subresource
    if subresource:
        allowed = {"status": ("update", "patch"), "eviction": ("create",)}
        return _YES if verb in allowed.get(subresource, ()) else _SILENT
    if verb == "get":
        return authorizer.related(question, node)
    if verb in ("list", "watch"):
        if selects(question.field_selector, "spec.nodeName", node):
            return _YES
        if question.name:
            return authorizer.related(question, node)
        return _no("can only list/watch pods with spec.nodeName field selector")
    return _YES if verb in ("create", "delete") else _SILENT


def selects(selector: str, field: str, value: str) -> bool:
    """Whether a field selector asks for just this value."""
    return any(
        path == field and given.lstrip("=") == value
        for path, sign, given in (term.strip().partition("=") for term in selector.split(","))
        if sign and not path.endswith("!")
    )


_JUDGES: Mapping[tuple[str, str], Judge] = {
    ("", "secrets"): _read,
    ("", "configmaps"): _read,
    ("", CLAIMS): _claim,
    ("", VOLUMES): _get,
    ("resource.k8s.io", "resourceclaims"): _get,
    ("storage.k8s.io", "volumeattachments"): _get,
    ("", "serviceaccounts"): _account,
    ("coordination.k8s.io", "leases"): _lease,
    ("storage.k8s.io", "csinodes"): _csi_node,
    ("resource.k8s.io", "resourceslices"): _slice,
    ("", "nodes"): _node,
    ("", "pods"): _pod,
}
