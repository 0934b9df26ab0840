"""Rules of what the cluster as a whole is run by: roles, priorities, runtimes, leases, served APIs."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, unsupported, wrong
from ksql.schema.metadata import check_labels
from ksql.schema.rules.checks import PORT_MAX, PORT_RANGE, each, immutable, selector, untagged
from ksql.schema.rules.resources import check_resources
from ksql.schema.rules.scheduling import check_tolerations

Structure = Mapping[str, Any]

RBAC_GROUP = "rbac.authorization.k8s.io"
USER_PRIORITY_MAX = 1_000_000_000
GROUP_PRIORITY_MAX, VERSION_PRIORITY_MAX = 20000, 1000

# --- leases and priorities -------------------------------------------------------------------------


def check_lease(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        out.append(wrong("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        out.append(wrong("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))


# The two classes that are the cluster's own: name to value.
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def check_priority_class(document: Document, out: list[Cause]) -> None:
    name = (document.get("metadata") or {}).get("name", "")
    value = document.get("value", 0)
    if name.startswith("system-"):
        if why := _not_the_systems(name, value, bool(document.get("globalDefault"))):
            words = f"priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            out.append(forbidden("metadata.name", words))
    elif value > USER_PRIORITY_MAX:
        words = f"maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"
        out.append(forbidden("value", words))
    policy = document.get("preemptionPolicy")
    if policy == "":
        out.append(required("preemptionPolicy"))
    elif policy not in (None, "Never", "PreemptLowerPriority"):
        out.append(unsupported("preemptionPolicy", policy, ("PreemptLowerPriority", "Never")))


def _not_the_systems(name: str, value: int, is_default: bool) -> str:
    known = SYSTEM_CLASSES.get(name)
    if known is None:
        return f"{name} is not a known system priority class"
    if value != known:
        return f"value of {name} PriorityClass must be {known}"
    return f"globalDefault of {name} PriorityClass must be false" if is_default else ""


def check_priority_class_change(document: Document, old: Document, out: list[Cause]) -> None:
    if document.get("value", 0) != old.get("value", 0):
        out.append(forbidden("value", "may not be changed in an update."))
    immutable(document, old, "", ("preemptionPolicy",), out)


# --- runtimes --------------------------------------------------------------------------------------


def check_runtime_class(document: Document, out: list[Cause]) -> None:
    handler = document.get("handler", "")
    if not handler:
        out.append(required("handler"))
    else:
        out += [wrong("handler", handler, text) for text in names.label_name(handler)]
    if overhead := document.get("overhead"):
        check_resources({"limits": overhead.get("podFixed") or {}}, (), "overhead", out)
    scheduling = document.get("scheduling") or {}
    check_labels(scheduling.get("nodeSelector") or {}, "scheduling.nodeSelector", out)
    tolerations = scheduling.get("tolerations") or ()
    check_tolerations(tolerations, "scheduling.tolerations", out)
    seen: list[Any] = []
    for toleration, path in each(tolerations, "scheduling.tolerations"):
        key = [toleration.get(field, "") for field in ("key", "operator", "value", "effect")]
        if key in seen:
            out.append(duplicate(path, _toleration_shown(toleration)))
        seen.append(key)


def _toleration_shown(toleration: Structure) -> Structure:
    """As Go prints the structure, which has no tags."""
    shown = {field.capitalize(): toleration.get(field, "") for field in ("key", "operator", "value", "effect")}
    return {**shown, "TolerationSeconds": toleration.get("tolerationSeconds")}


def check_runtime_class_change(document: Document, old: Document, out: list[Cause]) -> None:
    immutable(document, old, "", ("handler",), out)


# --- served APIs -----------------------------------------------------------------------------------


def check_api_service(document: Document, out: list[Cause]) -> None:
    spec, name = document.get("spec") or {}, (document.get("metadata") or {}).get("name", "")
    group, version = spec.get("group", ""), spec.get("version", "")
    wanted = f"{version}.{group}"
    if name != wanted and not names.path_segment(name):
        out.append(wrong("metadata.name", name, f'must be `spec.version+"."+spec.group`: "{wanted}"'))
    if not group and version != "v1":
        words = "only v1 may have an empty group and it better be legacy kube"
        out.append(required("spec.group", words))
    if group:
        out += [wrong("spec.group", group, text) for text in names.subdomain(group)]
    out += [wrong("spec.version", version, text) for text in names.label_name_1035(version)]
    for field, limit in (
        ("groupPriorityMinimum", GROUP_PRIORITY_MAX), ("versionPriority", VERSION_PRIORITY_MAX),
    ):  # fmt: skip
        value = spec.get(field, 0)
        if not 0 < value <= limit:
            out.append(wrong(f"spec.{field}", value, f"must be positive and less than {limit}"))
    _check_api_server(spec, out)


def _check_api_server(spec: Structure, out: list[Cause]) -> None:
    service, bundle, blind = spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify")
    if service is None:
        if bundle:
            size = f"{len(b64decode(bundle))} bytes"
            out.append(wrong("spec.caBundle", size, "local APIServices may not have a caBundle"))
        if blind:
            words = "local APIServices may not have insecureSkipTLSVerify"
            out.append(wrong("spec.insecureSkipTLSVerify", blind, words))
        return
    for field in ("namespace", "name"):
        if not service.get(field):
            out.append(required(f"spec.service.{field}"))
    number = service.get("port", 0)
    if not 1 <= number <= PORT_MAX:
        out.append(wrong("spec.service.port", number, f"port is not valid: {PORT_RANGE}"))
    if blind and bundle:
        out.append(wrong("spec.insecureSkipTLSVerify", blind, "may not be true if caBundle is present"))


def check_api_service_status(document: Document, old: Document, out: list[Cause]) -> None:
    choices = ("True", "False", "Unknown")
    for condition, path in each((document.get("status") or {}).get("conditions"), "status.conditions"):
        if condition.get("status", "") not in choices:
            out.append(unsupported(f"{path}.status", condition.get("status", ""), choices))


# --- RBAC ------------------------------------------------------------------------------------------


def check_role(document: Document, out: list[Cause]) -> None:
    _check_rules(document.get("rules") or (), True, out)


def check_cluster_role(document: Document, out: list[Cause]) -> None:
    _check_rules(document.get("rules") or (), False, out)
    rule, path = document.get("aggregationRule"), "aggregationRule.clusterRoleSelectors"
    if rule is not None and not rule.get("clusterRoleSelectors"):
        words = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        out.append(required(path, words))
    for chosen, place in each((rule or {}).get("clusterRoleSelectors"), path):
        count = len(out)
        selector(chosen, place, out)
        if len(out) > count:
            # What is shown there is what the selector was compiled to: nothing.
            out.append(wrong(place, None, "invalid label selector."))


def _check_rules(rules: Sequence[Structure], namespaced: bool, out: list[Cause]) -> None:
    for index, rule in enumerate(rules):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            out.append(required(f"{path}.verbs", "verbs must contain at least one value"))
        if urls := rule.get("nonResourceURLs"):
            if namespaced:
                words = "namespaced rules cannot apply to non-resource URLs"
                out.append(wrong(f"{path}.nonResourceURLs", urls, words))
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                words = "rules cannot apply to both regular resources and non-resource URLs"
                out.append(wrong(f"{path}.nonResourceURLs", urls, words))
            continue
        if not rule.get("apiGroups"):
            words = "resource rules must supply at least one api group"
            out.append(required(f"{path}.apiGroups", words))
        if not rule.get("resources"):
            words = "resource rules must supply at least one resource"
            out.append(required(f"{path}.resources", words))


def check_role_binding(document: Document, out: list[Cause]) -> None:
    _check_binding(document, ("Role", "ClusterRole"), True, out)


def check_cluster_role_binding(document: Document, out: list[Cause]) -> None:
    _check_binding(document, ("ClusterRole",), False, out)


def _check_binding(document: Document, kinds: Sequence[str], namespaced: bool, out: list[Cause]) -> None:
    ref = document.get("roleRef") or {}
    if ref.get("apiGroup") != RBAC_GROUP:
        out.append(unsupported("roleRef.apiGroup", ref.get("apiGroup", ""), (RBAC_GROUP,)))
    if ref.get("kind") not in kinds:
        out.append(unsupported("roleRef.kind", ref.get("kind", ""), kinds))
    if not ref.get("name"):
        out.append(required("roleRef.name"))
    else:
        out += [wrong("roleRef.name", ref["name"], text) for text in names.path_segment(ref["name"])]
    for index, subject in enumerate(document.get("subjects") or ()):
        _check_subject(subject, f"subjects[{index}]", namespaced, out)


def _check_subject(subject: Structure, path: str, namespaced: bool, out: list[Cause]) -> None:
    name, kind, group = subject.get("name", ""), subject.get("kind", ""), subject.get("apiGroup", "")
    if not name:
        out.append(required(f"{path}.name"))
    if kind == "ServiceAccount":
        if name:
            out += [wrong(f"{path}.name", name, text) for text in names.subdomain(name)]
        if group:
            out.append(unsupported(f"{path}.apiGroup", group, ("",)))
        if not namespaced and not subject.get("namespace"):
            out.append(required(f"{path}.namespace"))
    elif kind in ("User", "Group"):
        if group != RBAC_GROUP:
            out.append(unsupported(f"{path}.apiGroup", group, (RBAC_GROUP,)))
    else:
        out.append(unsupported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group")))


def check_binding_change(document: Document, old: Document, out: list[Cause]) -> None:
    if document.get("roleRef") != old.get("roleRef"):
        shown = untagged(document.get("roleRef") or {}, ("APIGroup", "Kind", "Name"))
        shown = {**shown, "APIGroup": (document.get("roleRef") or {}).get("apiGroup", "")}
        out.append(wrong("roleRef", shown, "cannot change roleRef"))
