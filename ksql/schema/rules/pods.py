"""Rules of pods and pod templates: what their parts must have of each other.

The parts have rules of their own: `containers`, `volumes`, `scheduling`,
`security`. What may change in a pod is in `pod_changes`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.addresses import lax_ip
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, too_long, unknown, unsupported, wrong
from ksql.schema.golang.internal import inside
from ksql.schema.metadata import check_annotations, check_labels
from ksql.schema.rules.aggregates import check_pod_level
from ksql.schema.rules.annotations import check_pod_annotations, check_profiles_agree
from ksql.schema.rules.checks import complain, one_of, within
from ksql.schema.rules.containers import (
    Pod,
    check_containers,
    check_ephemeral_containers,
    check_image_is_trimmed,
    check_init_containers,
)
from ksql.schema.rules.resources import check_resources
from ksql.schema.rules.scheduling import check_affinity, check_spread, check_tolerations
from ksql.schema.rules.security import (
    ID_MAX,
    check_host_processes,
    check_host_users,
    check_pod_security,
    check_system,
    containers,
)
from ksql.schema.rules.volumes import check_volumes

Structure = Mapping[str, Any]

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
NAMESERVERS_MAX = 3
SEARCHES_MAX = 32
SEARCH_BYTES_MAX = 2048
# What a kernel takes as the name of a machine.
HOSTNAME_MAX = 64


def check_pod(pod: Document, out: list[Cause]) -> None:
    metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
    if annotations := metadata.get("annotations"):
        check_pod_annotations(annotations, spec, "metadata.annotations", out)
    check_pod_spec(spec, "spec", out, is_pod=True)
    _check_ephemeral_claims(spec, metadata.get("name") or "", out)
    if not spec.get("serviceAccountName"):
        _forbid_tokens(spec, out)
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            check_image_is_trimmed(container, f"spec.{field}[{index}]", out)


def check_pod_birth(pod: Document, out: list[Cause]) -> None:
    """What a new pod must not have yet."""
    spec = pod.get("spec") or {}
    if spec.get("ephemeralContainers"):
        out.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        words = "cannot be set until all schedulingGates have been cleared"
        out.append(forbidden("spec.nodeName", words))
    if annotations := (pod.get("metadata") or {}).get("annotations"):
        check_profiles_agree(annotations, spec, "spec", out)


def check_template(template: Structure, path: str, out: list[Cause]) -> None:
    """A pod template: labels, annotations, spec."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    if labels := metadata.get("labels"):
        check_labels(labels, f"{path}.labels", out)
    if annotations := metadata.get("annotations"):
        check_annotations(annotations, f"{path}.annotations", out)
        check_pod_annotations(annotations, spec, f"{path}.annotations", out)
    check_pod_spec(spec, f"{path}.spec", out)
    if annotations:
        check_profiles_agree(annotations, spec, f"{path}.spec", out)
    if spec.get("ephemeralContainers"):
        words = "ephemeral containers not allowed in pod template"
        out.append(forbidden(f"{path}.spec.ephemeralContainers", words))


# Specifications found faultless, by their bytes, oldest first: the pods of a ReplicaSet, and it and its
# Deployment, say the same over and over. At about 2 KB each this is some megabytes at most.
_FAULTLESS_MAX = 2048
_faultless: dict[bytes, None] = {}


def check_pod_spec(spec: Structure, path: str, out: list[Cause], *, is_pod: bool = False) -> None:
    """The specification of a pod; `path` is spec or spec.template.spec."""
    content = orjson.dumps((is_pod, spec))
    if content in _faultless:
        return
    before = len(out)
    _check_pod_spec(spec, path, out, is_pod)
    if len(out) == before:
        if len(_faultless) >= _FAULTLESS_MAX:
            del _faultless[next(iter(_faultless))]
        _faultless[content] = None


def _check_pod_spec(spec: Structure, path: str, out: list[Cause], is_pod: bool) -> None:
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        out.append(required(f"{path}.terminationGracePeriodSeconds"))
    volumes = check_volumes(spec.get("volumes") or (), f"{path}.volumes", out)
    if is_pod:
        _require_image_references(spec, f"{path}.volumes", out)
    if "resourceClaims" in spec:
        _check_claims(spec["resourceClaims"] or (), f"{path}.resourceClaims", out)
    pod = Pod(
        volumes,
        frozenset(one["name"] for one in spec.get("resourceClaims") or () if one.get("name")),
        grace,
        spec.get("restartPolicy") or "",
        spec["os"].get("name", "") if "os" in spec else None,
        spec.get("hostUsers") is not False,
    )
    regular, first = spec.get("containers") or (), spec.get("initContainers") or ()
    check_containers(regular, f"{path}.containers", pod, out)
    if first:
        check_init_containers(first, regular, f"{path}.initContainers", pod, out)
    if "ephemeralContainers" in spec:
        others = [*regular, *first]
        added = spec["ephemeralContainers"] or ()
        check_ephemeral_containers(added, others, f"{path}.ephemeralContainers", pod, out)
    if "resources" in spec:
        check_pod_level(spec, path, out)
    if spec.get("hostNetwork"):
        _check_host_network(regular, f"{path}.containers", is_pod, out)
    _check_policies(spec, path, out)
    for check in _RULES:
        check(spec, path, out)


def _check_policies(spec: Structure, path: str, out: list[Cause]) -> None:
    if spec.get("restartPolicy") not in RESTART_POLICIES:
        one_of(spec, path, "restartPolicy", RESTART_POLICIES, out, needed=True)
    if spec.get("dnsPolicy") not in DNS_POLICIES:
        one_of(spec, path, "dnsPolicy", DNS_POLICIES, out, needed=True)


def _check_host_network(given: Sequence[Structure], path: str, is_pod: bool, out: list[Cause]) -> None:
    """On the host's network a container's port is the host's."""
    for index, container in enumerate(given):
        for place, port in enumerate(container.get("ports") or ()):
            host, own = port.get("hostPort", 0), port.get("containerPort", 0)
            if (is_pod or host) and host != own:
                words = "must match `containerPort` when `hostNetwork` is true"
                out.append(wrong(f"{path}[{index}].ports[{place}].hostPort", host, words))


# --- volumes and claims ----------------------------------------------------------------------------


def _require_image_references(spec: Structure, path: str, out: list[Cause]) -> None:
    for index, volume in enumerate(spec.get("volumes") or ()):
        alone = "image" in volume and len(volume) == 2
        if alone and not volume["image"].get("reference"):
            out.append(required(f"{path}[{index}].image.reference"))


def _check_ephemeral_claims(spec: Structure, pod: str, out: list[Cause]) -> None:
    """The claims that come with a pod are named after it and its volumes, and nothing else uses them."""
    if not pod:
        return
    volumes = spec.get("volumes") or ()
    made = {f"{pod}-{volume.get('name', '')}" for volume in volumes if "ephemeral" in volume}
    if not made:
        return
    for index, volume in enumerate(volumes):
        name = volume.get("name", "")
        if "ephemeral" in volume and name:
            claim = f"{pod}-{name}"
            complaints = tuple(f'PVC name "{claim}": {text}' for text in names.subdomain(claim))
            complain(f"spec.volumes[{index}].name", name, complaints, out)
        used = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if used in made:
            words = "must not reference a PVC that gets created for an ephemeral volume"
            out.append(wrong(f"spec.volumes[{index}].persistentVolumeClaim.claimName", used, words))


def _forbid_tokens(spec: Structure, out: list[Cause]) -> None:
    """No account, no token."""
    for index, volume in enumerate(spec.get("volumes") or ()):
        for place, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if "serviceAccountToken" in source:
                where = f"spec.volumes[{index}].projected.sources[{place}].serviceAccountToken"
                out.append(forbidden(where, "must not be specified when serviceAccountName is not set"))


def _check_claims(claims: Sequence[Structure], path: str, out: list[Cause]) -> None:
    """Claims of devices: made before, or made from a template for this pod."""
    seen: set[str] = set()
    for index, claim in enumerate(claims):
        where, name = f"{path}[{index}]", claim.get("name", "")
        if not name:
            out.append(required(f"{where}.name"))
        elif name in seen:
            out.append(duplicate(f"{where}.name", name))
        else:
            complain(f"{where}.name", name, names.label_name(name), out)
            seen.add(name)
        given = [field for field in ("resourceClaimName", "resourceClaimTemplateName") if field in claim]
        shown = inside("core.PodResourceClaim", claim)
        if len(given) == 2:
            words = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            out.append(wrong(where, shown, words))
        if not given:
            words = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            out.append(wrong(where, shown, words))
        for field in given:
            complain(f"{where}.{field}", claim[field], names.subdomain(claim[field]), out)


# --- the rest of the specification -----------------------------------------------------------------


def _check_dns(spec: Structure, path: str, out: list[Cause]) -> None:
    config, where = spec.get("dnsConfig"), f"{path}.dnsConfig"
    if spec.get("dnsPolicy") == "None":
        if config is None:
            out.append(required(where, "must provide `dnsConfig` when `dnsPolicy` is None"))
            return
        if not config.get("nameservers"):
            words = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            out.append(required(f"{where}.nameservers", words))
            return
    if config is None:
        return
    servers, searches = config.get("nameservers") or (), config.get("searches") or ()
    if len(servers) > NAMESERVERS_MAX:
        words = f"must not have more than {NAMESERVERS_MAX} nameservers"
        out.append(wrong(f"{where}.nameservers", servers, words))
    for index, server in enumerate(servers):
        lax_ip(server, f"{where}.nameservers[{index}]", out)
    if len(searches) > SEARCHES_MAX:
        words = f"must not have more than {SEARCHES_MAX} search paths"
        out.append(wrong(f"{where}.searches", searches, words))
    if len(" ".join(searches)) > SEARCH_BYTES_MAX:
        words = f"must not have more than {SEARCH_BYTES_MAX} characters (including spaces) in the search list"
        out.append(wrong(f"{where}.searches", searches, words))
    for index, search in enumerate(searches):
        if search != ".":
            bare = search.removesuffix(".")
            complain(f"{where}.searches[{index}]", bare, names.search_domain(bare), out)
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            out.append(required(f"{where}.options[{index}]", "must not be empty"))


def _check_gates(spec: Structure, path: str, out: list[Cause]) -> None:
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        kind = gate.get("conditionType", "")
        complain(f"{path}.readinessGates[{index}].conditionType", kind, names.qualified(kind), out)
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        name, where = gate.get("name", ""), f"{path}.schedulingGates[{index}]"
        complain(where, name, names.qualified(name), out)
        if name in seen:
            out.append(duplicate(where, name))
        seen.add(name)


def _check_hostname(spec: Structure, path: str, out: list[Cause]) -> None:
    """A name that replaces the one the pod would have."""
    name, where = spec.get("hostnameOverride"), f"{path}.hostnameOverride"
    if name is None:
        return
    if spec.get("setHostnameAsFQDN"):
        out.append(forbidden(where, "may not be specified when setHostnameAsFQDN is true"))
    if spec.get("hostNetwork"):
        out.append(forbidden(where, "may not be specified when hostNetwork is true"))
    if len(name) > HOSTNAME_MAX:
        out.append(too_long(where, HOSTNAME_MAX))
    complain(where, name, names.subdomain(name), out)


def _check_aliases(spec: Structure, path: str, out: list[Cause]) -> None:
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        where = f"{path}.hostAliases[{index}]"
        lax_ip(alias.get("ip") or "", f"{where}.ip", out)
        for place, name in enumerate(alias.get("hostnames") or ()):
            complain(f"{where}.hostnames[{place}]", name, names.subdomain(name), out)


def _name(field: str, syntax: Callable[[str], names.Complaints]) -> "Rule":
    def check(spec: Structure, path: str, out: list[Cause]) -> None:
        if value := spec.get(field):
            complain(f"{path}.{field}", value, syntax(value), out)

    return check


def _part(field: str, rule: Callable[[Any, str, list[Cause]], None]) -> "Rule":
    def check(spec: Structure, path: str, out: list[Cause]) -> None:
        if value := spec.get(field):
            rule(value, f"{path}.{field}", out)

    return check


def _check_deadline(spec: Structure, path: str, out: list[Cause]) -> None:
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= ID_MAX:
        out.append(wrong(f"{path}.activeDeadlineSeconds", deadline, within(1, ID_MAX)))


def _check_runtime(spec: Structure, path: str, out: list[Cause]) -> None:
    name, policy = spec.get("runtimeClassName"), spec.get("preemptionPolicy")
    if name is not None:
        complain(f"{path}.runtimeClassName", name, names.subdomain(name), out)
    if policy == "":
        out.append(required(f"{path}.preemptionPolicy"))
    elif policy is not None and policy not in ("PreemptLowerPriority", "Never"):
        choices = ("PreemptLowerPriority", "Never")
        out.append(unsupported(f"{path}.preemptionPolicy", policy, choices))
    if overhead := spec.get("overhead"):
        check_resources({"limits": overhead}, (), f"{path}.overhead", out)
    if "os" in spec:
        check_system(spec, path, out)


def _check_file_refs(spec: Structure, path: str, out: list[Cause]) -> None:
    """Variables from files come from volumes that live as long as the pod."""
    volumes = {volume.get("name"): volume for volume in spec.get("volumes") or ()}
    for container, where in containers(spec, path):
        for index, variable in enumerate(container.get("env") or ()):
            ref = (variable.get("valueFrom") or {}).get("fileKeyRef")
            if ref is None:
                continue
            name, at = ref.get("volumeName", ""), f"{where}.env[{index}].valueFrom.fileKeyRef.volumeName"
            if name not in volumes:
                out.append(unknown(at, name))
            elif "emptyDir" not in volumes[name]:
                out.append(wrong(at, name, "referenced volume must be of type emptyDir"))


Rule = Callable[[Structure, str, list[Cause]], None]

_RULES: Sequence[Rule] = (
    _part("nodeSelector", check_labels),
    check_pod_security,
    _part("affinity", check_affinity),
    _check_dns,
    _check_gates,
    _part("topologySpreadConstraints", check_spread),
    check_host_processes,
    check_host_users,
    _check_hostname,
    _name("serviceAccountName", names.subdomain),
    _name("nodeName", names.subdomain),
    _check_deadline,
    _name("hostname", names.label_name),
    _name("subdomain", names.label_name),
    _part("tolerations", check_tolerations),
    _check_aliases,
    _name("priorityClassName", names.subdomain),
    _check_runtime,
    _check_file_refs,
)

__all__ = ["check_pod", "check_pod_birth", "check_pod_spec", "check_template"]
