"""Pod Security: what a namespace's labels let pods be, refused, warned of or noted in the audit trail.

The plugin PodSecurity of kube-apiserver: pods are held to the level a namespace enforces, workloads are only warned
of what their pods would meet, and whoever tightens a namespace is told which of its pods would no longer come in.
What is wrong with a pod says `ksql/schema/podsecurity.py`; here stands who is asked and what becomes of it.
"""

from collections.abc import Mapping, Sequence

from ksql.base.documents import Document, lookup
from ksql.schema import faults
from ksql.schema.errors import Cause
from ksql.schema.podsecurity import LATEST, LEVELS, Version, is_version, reasons, violations
from ksql.schema.resources import ResourceType
from ksql.verbs import refusals
from ksql.verbs.podsecuritysettings import MODES, Level, Standards
from ksql.verbs.request import Request
from ksql.verbs.view import View

PREFIX = "pod-security.kubernetes.io/"
# Where the pod of a workload stands in it.
_TEMPLATES: Mapping[str, Sequence[str]] = {
    "podtemplates": ("template",),
    "replicationcontrollers": ("spec", "template"),
    "replicasets.apps": ("spec", "template"),
    "deployments.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}
_KEYS = frozenset((*_TEMPLATES, "pods", "namespaces"))
# How many pods of a namespace are looked at when it is tightened: kube-apiserver's own bound.
PODS_MAX = 3000
_SECURITY_ANNOTATIONS = ("container.apparmor.security.beta.kubernetes.io/", "seccomp.security.alpha.kubernetes.io/")


def review(
    request: Request, type: ResourceType, document: Document, old: Document | None, view: View,
    standards: Standards,
) -> None:  # fmt: skip
    """Refuse, warn of or note what a namespace's labels say of this object."""
    if type.key not in _KEYS or request.subresource not in ("", "ephemeralcontainers"):
        return
    if type.key == "namespaces":
        _review_namespace(request, type, document, old, view, standards)
        return
    namespace = view.look("namespaces", "", request.namespace)
    labels = lookup(namespace, "metadata", "labels", default=None) or {}
    # Few namespaces have such labels, and all others pay no more than this.
    if not standards.is_strict and not any(label.startswith(PREFIX) for label in labels):
        return
    pod = document if type.key == "pods" else lookup(document, *_TEMPLATES[type.key], default=None)
    if pod is None or _is_exempt(request, pod, standards):
        return
    if type.key == "pods" and old is not None and not _is_significant(document, old):
        return
    _review_pod(request, type, pod, levels(labels, standards), is_pod=type.key == "pods")


def levels(labels: Mapping[str, str], standards: Standards) -> Mapping[str, Level]:
    """The level of each mode. A label that says none counts as the strictest, a version as the latest."""
    found = {}
    for mode in MODES:
        default = standards.defaults[mode]
        name = labels.get(PREFIX + mode, default.name)
        version = labels.get(f"{PREFIX}{mode}-version", default.version.text)
        if name not in LEVELS:
            # For whom nothing is refused, nothing is warned of either.
            name = "restricted" if mode == "enforce" else "privileged"
        found[mode] = Level(name, Version(version if is_version(version) else LATEST))
    return found


def _review_pod(
    request: Request, type: ResourceType, pod: Document, wanted: Mapping[str, Level], *, is_pod: bool
) -> None:
    known: dict[Level, str] = {}

    def wrong(level: Level) -> str:
        if level not in known:
            known[level] = violations(level.name, level.version, pod.get("metadata") or {}, pod.get("spec") or {})
        return known[level]

    audit = wrong(wanted["audit"])
    if is_pod:
        request.annotations[f"{PREFIX}enforce-policy"] = str(wanted["enforce"])
    if audit:
        request.annotations[f"{PREFIX}audit-violations"] = f'would violate PodSecurity "{wanted["audit"]}": {audit}'
    if is_pod and (found := wrong(wanted["enforce"])):
        name = lookup(pod, "metadata", "name", default="")
        raise refusals.forbidden(type, name, f'violates PodSecurity "{wanted["enforce"]}": {found}')
    if found := wrong(wanted["warn"]):
        _warn(request, f'would violate PodSecurity "{wanted["warn"]}": {found}')


def _is_exempt(request: Request, pod: Document, standards: Standards) -> bool:
    if request.namespace in standards.namespaces or request.user.name in standards.users:
        kind = "namespace" if request.namespace in standards.namespaces else "user"
        request.annotations[f"{PREFIX}exempt"] = kind
        return True
    if lookup(pod, "spec", "runtimeClassName", default=None) in standards.runtime_classes:
        request.annotations[f"{PREFIX}exempt"] = "runtimeClass"
        return True
    return False


def _is_significant(pod: Document, old: Document) -> bool:
    """Whether an update changes anything that the standards look at: images, new containers, old annotations."""
    kinds = ("initContainers", "containers", "ephemeralContainers")
    for kind in kinds:
        new, before = pod["spec"].get(kind) or (), old["spec"].get(kind) or ()
        if [one.get("image") for one in new] != [one.get("image") for one in before]:
            return True
    return _annotations(pod) != _annotations(old)


def _annotations(pod: Document) -> Mapping[str, str]:
    annotations = pod["metadata"].get("annotations") or {}
    return {key: text for key, text in annotations.items() if key.startswith(_SECURITY_ANNOTATIONS)}


# --- namespaces


def _review_namespace(
    request: Request, type: ResourceType, document: Document, old: Document | None, view: View, standards: Standards
) -> None:
    if request.subresource:
        return
    labels = document["metadata"].get("labels") or {}
    before = {} if old is None else old["metadata"].get("labels") or {}
    causes = _faults(labels)
    # Labels that were wrong before stand in nobody's way.
    if causes and causes != _faults(before):
        raise faults.invalid(type, document["metadata"]["name"], causes)
    name = document["metadata"]["name"]
    if old is None or causes or name in standards.namespaces or request.user.name in standards.users:
        return
    new, was = levels(labels, standards)["enforce"], levels(before, standards)["enforce"]
    if new != was and new.name != "privileged" and not _is_looser(new, was):
        _tell_of_pods(request, name, new, view)


def _is_looser(new: Level, was: Level) -> bool:
    return new.version == was.version and LEVELS.index(new.name) < LEVELS.index(was.name)


def _faults(labels: Mapping[str, str]) -> list[Cause]:
    found: list[Cause] = []
    for mode in MODES:
        level, version = labels.get(PREFIX + mode), labels.get(f"{PREFIX}{mode}-version")
        if level is not None and level not in LEVELS:
            words = f"must be one of {', '.join(LEVELS)}"
            found.append(faults.wrong(f"metadata.labels[{PREFIX}{mode}]", level, words))
        if version is not None and not is_version(version):
            words = 'must be "latest" or "v1.x"'
            found.append(faults.wrong(f"metadata.labels[{PREFIX}{mode}-version]", version, words))
    return found


def _tell_of_pods(request: Request, namespace: str, level: Level, view: View) -> None:
    """Warn of the pods that would not come in any more, those with the same faults together."""
    pods = view.list("pods", namespace)
    wrong: dict[str, list[str]] = {}
    for pod in pods[:PODS_MAX]:
        if said := reasons(level.name, level.version, pod["metadata"], pod["spec"]):
            wrong.setdefault(said, []).append(pod["metadata"]["name"])
    if len(pods) > PODS_MAX:
        looked = f"the first {PODS_MAX} of {len(pods)} existing pods"
        _warn(request, f"new PodSecurity enforce level only checked against {looked}")
    if not wrong:
        return
    _warn(request, f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{level}"')
    for line in sorted(_line(names, said) for said, names in wrong.items()):
        _warn(request, line)


def _line(names: Sequence[str], said: str) -> str:
    first, others = min(names), len(names) - 1
    rest = "" if not others else f" (and {others} other {'pod' if others == 1 else 'pods'})"
    return f"{first}{rest}: {said}"


def _warn(request: Request, text: str) -> None:
    if text not in request.warnings:
        request.warnings.append(text)
