"""What an object depends on: its owners and what it owns, its node, what its pods read, who selects it, what rules it.

Pure: objects as they were, at one moment or at several, in; distances out. References count by name, whether or not
the object they name is there: what is missing is the likeliest culprit. Several moments are laid over each other,
so that a selector that was changed leads both to what it selected and to what it selects.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ksql.base.documents import Document, encode, lookup
from ksql.log.event import Event

Key = tuple[str, str, str]  # resource, namespace, name

DISTANCE_MAX = 5
WEBHOOKS = (
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
)
POLICIES = (
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
)
# What has no namespace and may matter to something in one.
CLUSTER = (
    "nodes", "namespaces", "persistentvolumes", "storageclasses.storage.k8s.io",
    "priorityclasses.scheduling.k8s.io", "runtimeclasses.node.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io", *WEBHOOKS, *POLICIES,
)  # fmt: skip
# What rules over every pod of a namespace.
_RULES = ("resourcequotas", "limitranges")
_TEMPLATES = frozenset({
    "deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch",
    "replicationcontrollers", "podtemplates",
})  # fmt: skip
_WORD = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Reach:
    """How an object was reached: how far it is, and over which object, by which relation."""

    distance: int
    over: Key | None
    relation: str


@dataclass(slots=True)
class Graph:
    """Relations between objects, as directed edges from what depends to what it depends on."""

    edges: dict[Key, dict[Key, str]] = field(default_factory=dict)

    def add(self, start: Key, end: Key, relation: str) -> None:
        if start != end:
            self.edges.setdefault(start, {}).setdefault(end, relation)

    def reached(self, root: Key) -> dict[Key, Reach]:
        """Everything within `DISTANCE_MAX` steps of `root`, by the shortest way."""
        found = {root: Reach(0, None, "itself")}
        waiting = deque([root])
        while waiting:
            here = waiting.popleft()
            distance = found[here].distance + 1
            if distance > DISTANCE_MAX:
                continue
            for there, relation in self.edges.get(here, {}).items():
                if there not in found:
                    found[there] = Reach(distance, here, relation)
                    waiting.append(there)
        return found


def key_of(event: Event) -> Key:
    return (event.stream.resource, event.stream.namespace, event.stream.name)


def graph(states: Iterable[Iterable[Event]]) -> Graph:
    """The relations that hold in any of these states."""
    out, laid = Graph(), [{key_of(event): event for event in state} for state in states]
    # A machine that is gone is where a pod could have run, too.
    nodes = dict.fromkeys(key for state in laid for key in state if key[0] == "nodes")
    for state in laid:
        _lay(out, state, list(nodes))
    return out


@dataclass(frozen=True, slots=True)
class Ground:
    """What every pod of a state may be related to, gathered once; by namespace."""

    state: Mapping[Key, Event]
    rules: Mapping[str, Sequence[Key]]
    services: Mapping[str, Sequence[Key]]
    policies: Sequence[Key]


def _ground(state: Mapping[Key, Event]) -> Ground:
    rules: dict[str, list[Key]] = {}
    services: dict[str, list[Key]] = {}
    for key in state:
        if key[0] in _RULES:
            rules.setdefault(key[1], []).append(key)
        elif key[0] == "services":
            services.setdefault(key[1], []).append(key)
    return Ground(state, rules, services, [key for key in state if key[0] in POLICIES])


def _lay(out: Graph, state: Mapping[Key, Event], nodes: Sequence[Key]) -> None:
    by_uid = {event.stream.uid: key for key, event in state.items()}
    pods = {key: event.document for key, event in state.items() if key[0] == "pods"}
    ground = _ground(state)
    makers = {
        key: lookup(event.document, "spec", "template", "metadata", "labels") or {}
        for key, event in state.items()
        if key[0] in _TEMPLATES and not lookup(event.document, "metadata", "ownerReferences")
    }
    for key, event in state.items():
        document = event.document
        for owner in lookup(document, "metadata", "ownerReferences") or ():
            above = by_uid.get(str(owner.get("uid")))
            if above is not None:
                out.add(key, above, "its owner")
                out.add(above, key, "which it owns")
        spec = pod_spec(key, document)
        if spec is not None:
            _lay_pod(out, key, document, spec, ground)
            if key[0] == "pods":
                _lay_node(out, key, spec, nodes)
        if key[0] == "services":
            _lay_service(out, key, document, pods, makers)
        elif key[0] in ("networkpolicies.networking.k8s.io", "poddisruptionbudgets.policy"):
            for pod in _selected(key, lookup(document, "spec", "podSelector", default={}), pods):
                out.add(pod, key, "which selects it")
        elif key[0] == "horizontalpodautoscalers.autoscaling":
            _lay_scaler(out, key, document, state)
        elif key[0] in WEBHOOKS:
            _lay_webhook(out, key, document)
        elif key[0] == "persistentvolumeclaims":
            _lay_claim(out, key, document)
        if "." in key[0]:
            out.add(key, ("customresourcedefinitions.apiextensions.k8s.io", "", key[0]), "its definition")


def pod_spec(key: Key, document: Document) -> Document | None:
    """The specification of a pod, or of the pods that a workload makes."""
    if key[0] == "pods":
        found = document.get("spec")
    elif key[0] in _TEMPLATES:
        found = lookup(document, "spec", "template", "spec") or lookup(document, "template", "spec")
    elif key[0] == "cronjobs.batch":
        found = lookup(document, "spec", "jobTemplate", "spec", "template", "spec")
    else:
        found = None
    return found if isinstance(found, dict) else None


def _lay_pod(out: Graph, key: Key, document: Document, spec: Document, ground: Ground) -> None:
    namespace = key[1]
    for resource, name, relation in references(spec):
        out.add(key, (resource, "" if resource in CLUSTER else namespace, name), relation)
    out.add(key, ("namespaces", "", namespace), "its namespace")
    for rule in ground.rules.get(namespace, ()):
        out.add(key, rule, "which rules its namespace")
    for policy in ground.policies:
        out.add(key, policy, "which may refuse it")
    if lookup(document, "metadata", "ownerReferences"):
        return  # its owner's template says the same
    text = _words(spec)
    for read in [end for end in out.edges.get(key, {}) if end[0] == "configmaps"]:
        if read in ground.state:
            text |= _words(ground.state[read].document.get("data"))
    for service in ground.services.get(namespace, ()):
        if service[2] in text:
            out.add(key, service, "which it speaks of")


def references(spec: Document) -> Iterator[tuple[str, str, str]]:
    """Resource and name of what a pod's specification names, with how it depends on it."""
    account = spec.get("serviceAccountName") or "default"
    yield "serviceaccounts", account, "its service account"
    if name := spec.get("priorityClassName"):
        yield "priorityclasses.scheduling.k8s.io", name, "its priority class"
    if name := spec.get("runtimeClassName"):
        yield "runtimeclasses.node.k8s.io", name, "its runtime class"
    for secret in spec.get("imagePullSecrets") or ():
        yield "secrets", str(secret.get("name", "")), "with which its images are pulled"
    for volume in spec.get("volumes") or ():
        yield from _volume(volume)
    for field_ in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field_) or ():
            yield from _environment(container)


def _volume(volume: Document) -> Iterator[tuple[str, str, str]]:
    for source in (volume, *(lookup(volume, "projected", "sources") or ())):
        if name := lookup(source, "configMap", "name"):
            yield "configmaps", name, "which it mounts"
        if name := lookup(source, "secret", "secretName") or lookup(source, "secret", "name"):
            yield "secrets", name, "which it mounts"
    if name := lookup(volume, "persistentVolumeClaim", "claimName"):
        yield "persistentvolumeclaims", name, "its volume claim"


def _environment(container: Document) -> Iterator[tuple[str, str, str]]:
    for source in container.get("envFrom") or ():
        for kind, resource in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if name := lookup(source, kind, "name"):
                yield resource, name, "which it reads"
    for variable in container.get("env") or ():
        for kind, resource in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
            if name := lookup(variable, "valueFrom", kind, "name"):
                yield resource, name, "which it reads"


def asked_for(spec: Document) -> Iterator[tuple[str, str, str]]:
    """What a pod's specification asks of other objects by a word: resource, name (empty: any) and the word."""
    for key in spec.get("nodeSelector") or ():
        yield "nodes", "", key
    required = lookup(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    for term in (required or {}).get("nodeSelectorTerms") or ():
        for expression in term.get("matchExpressions") or ():
            yield "nodes", "", str(expression.get("key"))
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for variable in container.get("env") or ():
            for kind, resource in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
                if reference := lookup(variable, "valueFrom", kind):
                    yield resource, str(reference.get("name")), str(reference.get("key"))
    for volume in spec.get("volumes") or ():
        for kind, name, resource in (("configMap", "name", "configmaps"), ("secret", "secretName", "secrets")):
            for item in lookup(volume, kind, "items") or ():
                yield resource, str(volume[kind].get(name)), str(item.get("key"))


def _words(value: Any) -> set[str]:
    """The words in a document's text that may be the name of a service."""
    return set(_WORD.findall(encode(value).decode().lower())) if value else set()


def _lay_node(out: Graph, key: Key, spec: Document, nodes: Iterable[Key]) -> None:
    name = spec.get("nodeName")
    if name:
        out.add(key, ("nodes", "", name), "its node")
        return
    for node in nodes:
        out.add(key, node, "where it could run")


def _lay_service(
    out: Graph, key: Key, document: Document, pods: Mapping[Key, Document], makers: Mapping[Key, Document]
) -> None:
    for resource in ("endpoints", "endpointslices.discovery.k8s.io"):
        out.add(key, (resource, key[1], key[2]), "its endpoints")
    selector = lookup(document, "spec", "selector")
    if not selector:
        return
    for pod in _selected(key, {"matchLabels": selector}, pods):
        out.add(key, pod, "which it leads to")
        out.add(pod, key, "which leads to it")
    # What makes the pods counts although there may be none of them now.
    for workload, labels in makers.items():
        if workload[1] == key[1] and selector.items() <= labels.items():
            out.add(key, workload, "which it leads to")


def _selected(key: Key, selector: Any, pods: Mapping[Key, Document]) -> Iterator[Key]:
    """The pods of the namespace whose labels a selector's matchLabels mean."""
    wanted = (selector or {}).get("matchLabels") or {}
    for pod, document in pods.items():
        labels = lookup(document, "metadata", "labels") or {}
        if pod[1] == key[1] and all(labels.get(name) == value for name, value in wanted.items()):
            yield pod


def _lay_scaler(out: Graph, key: Key, document: Document, state: Mapping[Key, Event]) -> None:
    target = lookup(document, "spec", "scaleTargetRef") or {}
    for other, event in state.items():
        if other[1] == key[1] and other[2] == target.get("name") and event.document.get("kind") == target.get("kind"):
            out.add(other, key, "which scales it")


def _lay_webhook(out: Graph, key: Key, document: Document) -> None:
    """A webhook may refuse what it is asked about; what answers for it is what it depends on."""
    for webhook in document.get("webhooks") or ():
        if name := lookup(webhook, "clientConfig", "service", "name"):
            service = ("services", lookup(webhook, "clientConfig", "service", "namespace", default=""), name)
            out.add(key, service, "which answers for it")


def asked_about(document: Document, resource: str) -> bool:
    """Whether a webhook configuration is asked about this resource, or about pods."""
    plural = resource.partition(".")[0]
    for webhook in document.get("webhooks") or ():
        for rule in webhook.get("rules") or ():
            if {"*", "*/*", plural, "pods"} & set(rule.get("resources") or ()):
                return True
    return False


def _lay_claim(out: Graph, key: Key, document: Document) -> None:
    if name := lookup(document, "spec", "volumeName"):
        out.add(key, ("persistentvolumes", "", name), "its volume")
    if name := lookup(document, "spec", "storageClassName"):
        out.add(key, ("storageclasses.storage.k8s.io", "", name), "its storage class")
