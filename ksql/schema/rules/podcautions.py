"""What is odd about a pod, or the template of one, and yet allowed: told as warnings, in kube-apiserver's words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ksql.schema import addresses, names, quantities
from ksql.schema.rules.checks import each

Structure = Mapping[str, Any]

_NOTHING = "a null labelSelector results in matching no pod"
_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_OF = "container.seccomp.security.alpha.kubernetes.io/"
_APPARMOR_OF = "container.apparmor.security.beta.kubernetes.io/"
# Volumes whose drivers are gone.
GONE_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
# The names that Go gives to two of them.
_GO_NAMES = {"storageos": "storageOS"}


def of_pod(pod: Structure, prefix: str, *, is_template: bool) -> Iterator[str]:
    """The warnings for a pod, or for a template that stands at `prefix` (spec.template.)."""
    spec, meta = pod.get("spec") or {}, pod.get("metadata") or {}
    path, annotations = f"{prefix}spec", meta.get("annotations") or {}
    yield from _placed(spec, path)
    for key, said in _ANNOTATIONS.items():
        if key in annotations:
            yield f"{prefix}metadata.annotations[{key}]: {said}"
    yield from _volumes(spec.get("volumes") or (), f"{path}.volumes")
    yield from _repeated(spec, path)
    yield from _fractions(spec.get("overhead"), f"{path}.overhead", ("memory", "ephemeral-storage"))
    yield from _containers(spec, annotations, prefix, is_template)
    yield from _ports(spec, path)
    seconds = spec.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds < 0:
        said = "must be >= 0; negative values are invalid and will be treated as 1"
        yield f"{path}.terminationGracePeriodSeconds: {said}"
    yield from _affinities(spec.get("affinity") or {}, f"{path}.affinity")
    for text, place in each((spec.get("dnsConfig") or {}).get("nameservers"), f"{path}.dnsConfig.nameservers"):
        yield from addresses.cautions(text, place)
    for alias, place in each(spec.get("hostAliases"), f"{path}.hostAliases"):
        yield from addresses.cautions(alias.get("ip", ""), f"{place}.ip")


# --- places ----------------------------------------------------------------------------------------


def label_caution(key: str) -> str:
    """What is said of a label of nodes that is no longer kept; mostly nothing."""
    return _LABELS.get(key, "")


def of_term(term: Structure, path: str, *, checks_values: bool = False) -> Iterator[str]:
    """A term of a node selector."""
    for one, place in each(term.get("matchExpressions"), f"{path}.matchExpressions"):
        if said := _LABELS.get(one.get("key", "")):
            yield f"{place}.key: {one['key']} is {said}"
        if checks_values:
            for value, where in each(one.get("values"), f"{place}.values"):
                yield from (f"{where}: {value} is invalid, {text}" for text in names.label_value(value))


def _placed(spec: Structure, path: str) -> Iterator[str]:
    for key in spec.get("nodeSelector") or ():
        if key in _LABELS:
            yield f"{path}.nodeSelector[{key}]: {_LABELS[key]}"
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    needed, wished = (f"{when}DuringSchedulingIgnoredDuringExecution" for when in ("required", "preferred"))
    terms = (affinity.get(needed) or {}).get("nodeSelectorTerms")
    for term, place in each(terms, f"{path}.affinity.nodeAffinity.{needed}.nodeSelectorTerms"):
        yield from of_term(term, place)
    for term, place in each(affinity.get(wished), f"{path}.affinity.nodeAffinity.{wished}"):
        yield from of_term(term.get("preference") or {}, f"{place}.preference", checks_values=True)
    for constraint, place in each(spec.get("topologySpreadConstraints"), f"{path}.topologySpreadConstraints"):
        key = constraint.get("topologyKey", "")
        if key in _LABELS:
            yield f"{place}.topologyKey: {key} is {_LABELS[key]}"
        if "labelSelector" not in constraint:
            yield f"{place}.labelSelector: {_NOTHING}"


def _affinities(affinity: Structure, path: str) -> Iterator[str]:
    needed, wished = (f"{when}DuringSchedulingIgnoredDuringExecution" for when in ("required", "preferred"))
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        for term, place in each(terms.get(needed), f"{path}.{kind}.{needed}"):
            if "labelSelector" not in term:
                yield f"{place}.labelSelector: {_NOTHING}"
        for term, place in each(terms.get(wished), f"{path}.{kind}.{wished}"):
            if "labelSelector" not in (term.get("podAffinityTerm") or {}):
                yield f"{place}.podAffinityTerm.labelSelector: {_NOTHING}"


def _repeated(spec: Structure, path: str) -> Iterator[str]:
    aliases, secrets = spec.get("hostAliases") or (), spec.get("imagePullSecrets") or ()
    for at, one in _again(alias.get("ip", "") for alias in aliases):
        yield f'{path}.hostAliases[{at}].ip: duplicate ip "{one}"'
    for at, one in _again(secret.get("name", "") for secret in secrets):
        yield f'{path}.imagePullSecrets[{at}].name: duplicate name "{one}"'
    for at, secret in enumerate(secrets):
        if not secret.get("name"):
            yield f'{path}.imagePullSecrets[{at}].name: invalid empty name ""'


def _again(values: Iterable[str]) -> Iterator[tuple[int, str]]:
    seen: set[str] = set()
    for at, value in enumerate(values):
        if value in seen:
            yield at, value
        seen.add(value)


# --- amounts ---------------------------------------------------------------------------------------


def of_claim(spec: Structure, path: str) -> Iterator[str]:
    """A claim's specification."""
    resources = spec.get("resources") or {}
    for field in ("requests", "limits"):
        yield from _fractions(resources.get(field), f"{path}.resources.{field}", ("storage",))


def _fractions(amounts: Structure | None, path: str, which: Sequence[str]) -> Iterator[str]:
    """There is no part of a byte."""
    for name in which:
        amount = (amounts or {}).get(name)
        if amount is not None and quantities.milli(amount) % 1000:
            yield f'{path}[{name}]: fractional byte value "{amount}" is invalid, must be an integer'


# --- volumes ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    path: str
    source: str = ""

    def __str__(self) -> str:
        return f'"{self.path}" ({self.source})' if self.source else f'"{self.path}"'


def _volumes(volumes: Sequence[Structure], path: str) -> Iterator[str]:
    for volume, place in each(volumes, path):
        for field, said in GONE_VOLUMES.items():
            if volume.get(field) is not None:
                yield f"{place}.{_GO_NAMES.get(field, field)}: {said}"
        template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if template is not None:
            yield from of_claim(template.get("spec") or {}, f"{place}.ephemeral.volumeClaimTemplate.spec")
    for volume in volumes:
        yield from _overlaps(volume)


def _overlaps(volume: Structure) -> Iterator[str]:
    name = volume.get("name", "")
    for field, what, naming in (("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName")):
        source = volume.get(field)
        if source is not None:
            said = f'{what} "{source.get(naming, "")}"'
            yield from _collisions([_Place(one.get("path", "")) for one in source.get("items") or ()], name, said)
    if (source := volume.get("downwardAPI")) is not None:
        yield from _collisions([_Place(one.get("path", "")) for one in source.get("items") or ()], name, "DownwardAPI")
    if (source := volume.get("projected")) is not None:
        places: list[_Place] = []
        for one in source.get("sources") or ():
            if not one:
                yield f'volume "{name}" (Projected) has no sources provided'
            places += _projected(one)
        yield from _collisions(places, name, "Projected")


def _projected(source: Structure) -> list[_Place]:
    for field, what in (("configMap", "ConfigMap"), ("secret", "Secret")):
        if field in source and source[field].get("items") is not None:
            said = f'{what} "{source[field].get("name", "")}"'
            return [_Place(one.get("path", ""), said) for one in source[field]["items"]]
    if "downwardAPI" in source and source["downwardAPI"].get("items") is not None:
        return [_Place(one.get("path", ""), "DownwardAPI") for one in source["downwardAPI"]["items"]]
    if "serviceAccountToken" in source:
        return [_Place(source["serviceAccountToken"].get("path", ""), "ServiceAccountToken")]
    if (bundle := source.get("clusterTrustBundle")) is not None:
        name = bundle.get("name", bundle.get("signerName", ""))
        return [_Place(bundle.get("path", ""), f'ClusterTrustBundle "{name}"')]
    certificate = source.get("podCertificate") or {}
    fields = {"certificateChainPath": "chain", "keyPath": "key", "credentialBundlePath": "credential bundle"}
    return [_Place(certificate[key], f"PodCertificate {what}") for key, what in fields.items() if certificate.get(key)]


def _collisions(places: Sequence[_Place], volume: str, what: str) -> Iterator[str]:
    """Two files at one place, or one where the other has a folder."""
    seen: list[_Place] = []
    for given in places:
        place = replace(given, path=given.path.rstrip("/"))
        for other in seen:
            inside = f"{place.path}/".startswith(f"{other.path}/") or f"{other.path}/".startswith(f"{place.path}/")
            if place.path and other.path and inside:
                yield f'volume "{volume}" ({what}): overlapping paths: {place} with {other}'
        seen.append(place)


# --- containers ------------------------------------------------------------------------------------


def _each_container(spec: Structure, path: str) -> Iterator[tuple[Structure, str]]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from each(spec.get(field), f"{path}.{field}")


def _containers(spec: Structure, annotations: Structure, prefix: str, is_template: bool) -> Iterator[str]:
    context = spec.get("securityContext") or {}
    where = f"{prefix}metadata.annotations"
    if context.get("seccompProfile") is None and _SECCOMP in annotations:
        yield f'{where}[{_SECCOMP}]: non-functional in v1.27+; use the "seccompProfile" field instead'
    for container, place in _each_container(spec, f"{prefix}spec"):
        own, name = container.get("securityContext") or {}, container.get("name", "")
        if own.get("seccompProfile") is None and f"{_SECCOMP_OF}{name}" in annotations:
            key = f"{_SECCOMP_OF}{name}"
            yield f'{where}[{key}]: non-functional in v1.27+; use the "seccompProfile" field instead'
        key = f"{_APPARMOR_OF}{name}"
        is_old = is_template and own.get("appArmorProfile") is None and key in annotations
        if is_old and context.get("appArmorProfile", {}) != _apparmor(annotations[key]):
            yield f'{where}[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead'
        resources = container.get("resources") or {}
        for which in ("memory", "ephemeral-storage"):
            for field in ("limits", "requests"):
                yield from _fractions(resources.get(field), f"{place}.resources.{field}", (which,))
        yield from _variables(container.get("env") or (), place)


def _apparmor(annotation: str) -> Structure | None:
    """The profile that an annotation stands for."""
    if annotation == "unconfined":
        return {"type": "Unconfined"}
    if annotation == "runtime/default":
        return {"type": "RuntimeDefault"}
    head, _, name = annotation.partition("/")
    return {"type": "Localhost", "localhostProfile": name} if head == "localhost" else None


def _variables(env: Sequence[Structure], path: str) -> Iterator[str]:
    seen: set[str] = set()
    for at, variable in enumerate(env):
        name, value = variable.get("name", ""), variable.get("value", "")
        reference = f"$({name})"
        hides = "valueFrom" in variable or value == reference or reference not in value
        if name in seen and hides:
            yield f'{path}.env[{at}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


# --- ports -----------------------------------------------------------------------------------------


def _ports(spec: Structure, path: str) -> Iterator[str]:
    by_number: dict[tuple[int, str], list[tuple[str, Structure]]] = {}
    by_name: dict[str, str] = {}
    named: list[str] = []
    for container, place in _each_container(spec, path):
        for port, where in each(container.get("ports"), f"{place}.ports"):
            if port.get("hostIP") and not port.get("hostPort"):
                yield f"{where}: hostIP set without hostPort: {_printed(port)}"
            others = by_number.setdefault((port.get("containerPort", 0), port.get("protocol", "")), [])
            for other, one in others:
                if said := _conflict(port, one):
                    yield f"{where}: {said} port definition with {other}"
            others.append((where, port))
            name = port.get("name", "")
            if name in by_name:
                first = by_name[name]
                named.append(
                    f'{where}: duplicate port name "{name}" with {first}, services and probes that select ports by '
                    f"name will use {first}"
                )
            elif name:
                by_name[name] = where
    yield from named


def _conflict(port: Structure, other: Structure) -> str:
    address, others = port.get("hostIP", ""), other.get("hostIP", "")
    number, another = port.get("hostPort", 0), other.get("hostPort", 0)
    if address == others and number == another:
        return "duplicate"
    if not number or not another:
        return "overlapping"
    return "dangerously ambiguous" if number == another and (not address) != (not others) else ""


def _printed(port: Structure) -> str:
    fields = (("Name", "name", ""), ("HostPort", "hostPort", 0), ("ContainerPort", "containerPort", 0),
              ("Protocol", "protocol", ""), ("HostIP", "hostIP", ""))  # fmt: skip
    return "{" + " ".join(f"{go}:{port.get(name, zero)}" for go, name, zero in fields) + "}"
