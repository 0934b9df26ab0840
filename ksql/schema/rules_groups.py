"""Rules of the smaller groups: networking, policy, scaling, RBAC, storage, scheduling, extension points."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.checks import (
    PORT_MAX,
    PORT_RANGE,
    amount_or_percent,
    needed,
    not_negative,
    one_of,
    port,
    selector,
)
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, forbidden, required, unsupported, wrong
from ksql.schema.rules_containers import PROTOCOLS

Structure = Mapping[str, Any]

RBAC_GROUP = "rbac.authorization.k8s.io"
USER_PRIORITY_MAX = 1_000_000_000

# --- networking ------------------------------------------------------------------------------------


def check_ingress(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    rules, default = spec.get("rules") or (), spec.get("defaultBackend")
    if not rules and default is None:
        words = "either `defaultBackend` or `rules` must be specified"
        out.append(wrong("spec", spec.get("rules") or [], words))
    if default is not None:
        _check_backend(default, "spec.defaultBackend", out)
    for index, rule in enumerate(rules):
        path = f"spec.rules[{index}]"
        if host := rule.get("host"):
            _check_host(host, f"{path}.host", out)
        if "http" in rule:
            paths = rule["http"].get("paths") or ()
            if not paths:
                out.append(required(f"{path}.http.paths"))
            for place, item in enumerate(paths):
                _check_path(item, f"{path}.http.paths[{place}]", out)
    for index, tls in enumerate(spec.get("tls") or ()):
        for place, host in enumerate(tls.get("hosts") or ()):
            _check_host(host, f"spec.tls[{index}].hosts[{place}]", out)
    if spec.get("ingressClassName"):
        value = spec["ingressClassName"]
        out += [wrong("spec.ingressClassName", value, text) for text in names.subdomain(value)]


def _check_host(host: str, path: str, out: list[Cause]) -> None:
    try:
        ipaddress.ip_address(host)
        out.append(wrong(path, host, "must be a DNS name, not an IP address"))
        return
    except ValueError:
        pass
    out += [wrong(path, host, text) for text in names.subdomain(host.removeprefix("*."))]


def _check_path(item: Structure, path: str, out: list[Cause]) -> None:
    kind = item.get("pathType")
    where = item.get("path", "")
    if not kind:
        out.append(required(f"{path}.pathType", "pathType must be specified"))
    elif kind in ("Exact", "Prefix"):
        if not where.startswith("/"):
            out.append(wrong(f"{path}.path", where, "must be an absolute path"))
        for part in ("//", "/./", "/../", "%2f", "%2F"):
            if part in where:
                out.append(wrong(f"{path}.path", where, f"must not contain '{part}'"))
    elif kind == "ImplementationSpecific":
        if where and not where.startswith("/"):
            out.append(wrong(f"{path}.path", where, "must be an absolute path"))
    else:
        out.append(unsupported(f"{path}.pathType", kind, ("Exact", "ImplementationSpecific", "Prefix")))
    _check_backend(item.get("backend") or {}, f"{path}.backend", out)


def _check_backend(backend: Structure, path: str, out: list[Cause]) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        out.append(wrong(path, "", "cannot set both resource and service backends"))
    elif resource is not None:
        needed(resource, f"{path}.resource", ("kind", "name"), out)
    elif service is None:
        # What the service's fields would have said.
        out.append(required(f"{path}", "port name or number is required" if backend else ""))
    else:
        if not service.get("name"):
            out.append(required(f"{path}.service.name"))
        else:
            out += [
                wrong(f"{path}.service.name", service["name"], t)
                for t in names.label_name_1035(service["name"])
            ]
        number = service.get("port") or {}
        if not number.get("name") and not number.get("number"):
            out.append(required(path, "port name or number is required"))
        elif number.get("name") and number.get("number"):
            out.append(wrong(path, "", "cannot set both port name & port number"))
        else:
            value = number.get("name") or number.get("number")
            port(value, f"{path}.service.port.{'name' if number.get('name') else 'number'}", out)


def check_network_policy(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    selector(spec.get("podSelector") or {}, "spec.podSelector", out)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for place, item in enumerate(rule.get("ports") or ()):
                _check_policy_port(item, f"{path}.ports[{place}]", out)
            for place, peer in enumerate(rule.get(peers) or ()):
                _check_peer(peer, f"{path}.{peers}[{place}]", out)
    kinds = spec.get("policyTypes") or ()
    if len(kinds) > 2:
        out.append(wrong("spec.policyTypes", kinds, "may not specify more than two policyTypes"))
    for index, kind in enumerate(kinds):
        if kind not in ("Egress", "Ingress"):
            out.append(unsupported(f"spec.policyTypes[{index}]", kind, ("Egress", "Ingress")))


def _check_policy_port(item: Structure, path: str, out: list[Cause]) -> None:
    one_of(item, path, "protocol", PROTOCOLS, out)
    if "port" in item:
        port(item["port"], f"{path}.port", out)
        last = item.get("endPort")
        if last is not None:
            if isinstance(item["port"], str):
                out.append(wrong(f"{path}.endPort", last, "may not be specified when `port` is non-numeric"))
            elif last < item["port"]:
                out.append(wrong(f"{path}.endPort", last, "must be greater than or equal to `port`"))
    elif "endPort" in item:
        out.append(
            wrong(f"{path}.endPort", item["endPort"], "may not be specified when `port` is not specified")
        )


def _check_peer(peer: Structure, path: str, out: list[Cause]) -> None:
    for field in ("podSelector", "namespaceSelector"):
        if field in peer:
            selector(peer[field], f"{path}.{field}", out)
    block = peer.get("ipBlock")
    if block is not None:
        if len(peer) > 1:
            out.append(forbidden(path, "may not specify both ipBlock and another peer"))
        _check_cidr(block.get("cidr", ""), f"{path}.ipBlock.cidr", out)
        for index, cidr in enumerate(block.get("except") or ()):
            _check_cidr(cidr, f"{path}.ipBlock.except[{index}]", out)
    elif not peer:
        out.append(required(path, "must specify a peer"))


def _check_cidr(cidr: str, path: str, out: list[Cause]) -> None:
    if not cidr:
        out.append(required(path))
        return
    try:
        ipaddress.ip_network(cidr, strict=False)
        valid = "/" in cidr
    except ValueError:
        valid = False
    if not valid:
        out.append(wrong(path, cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))


def check_endpoint_slice(document: Document, out: list[Cause]) -> None:
    kind = document.get("addressType")
    if not kind:
        out.append(required("addressType"))
    elif kind not in ("FQDN", "IPv4", "IPv6"):
        out.append(unsupported("addressType", kind, ("FQDN", "IPv4", "IPv6")))
    for index, endpoint in enumerate(document.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            out.append(required(f"endpoints[{index}].addresses", "must contain at least 1 address"))
    taken: dict[str, None] = {}
    for index, item in enumerate(document.get("ports") or ()):
        path, name = f"ports[{index}]", item.get("name", "")
        if name in taken:
            out.append(duplicate(f"{path}.name", name))
        taken[name] = None
        if name:
            out += [wrong(f"{path}.name", name, text) for text in names.label_name(name)]
        number = item.get("port")
        if number is not None and not 1 <= number <= PORT_MAX:
            out.append(wrong(f"{path}.port", number, PORT_RANGE))
        one_of(item, path, "protocol", PROTOCOLS, out, needed=True)


def check_endpoint_slice_change(document: Document, old: Document, out: list[Cause]) -> None:
    if document.get("addressType") != old.get("addressType"):
        out.append(wrong("addressType", document.get("addressType"), IMMUTABLE))


# --- policy, autoscaling, coordination, scheduling -------------------------------------------------


def check_disruption_budget(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        out.append(wrong("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for field in ("minAvailable", "maxUnavailable"):
        amount_or_percent(spec.get(field), f"spec.{field}", out)
    if spec.get("selector"):
        selector(spec["selector"], "spec.selector", out)
    one_of(spec, "spec", "unhealthyPodEvictionPolicy", ("AlwaysAllow", "IfHealthyBudget"), out)


def check_autoscaler(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if least is not None and least < 1:
        out.append(wrong("spec.minReplicas", least, "must be greater than or equal to 1"))
    if most < 1:
        out.append(wrong("spec.maxReplicas", most, "must be greater than 0"))
    if least is not None and most < least:
        out.append(wrong("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    needed(spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef", ("kind", "name"), out)
    for index, metric in enumerate(spec.get("metrics") or ()):
        path, kind = f"spec.metrics[{index}]", metric.get("type", "")
        field = _METRICS.get(kind)
        if not kind:
            out.append(required(f"{path}.type", "must specify a metric source type"))
        elif field is None:
            out.append(unsupported(f"{path}.type", kind, sorted(_METRICS)))
        elif field not in metric:
            words = "must populate information for the given metric source"
            out.append(required(f"{path}.{field}", words))


_METRICS = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}


def check_scale(document: Document, out: list[Cause]) -> None:
    not_negative(document.get("spec") or {}, "spec", ("replicas",), out)


def check_lease(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        out.append(wrong("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        out.append(wrong("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))


def check_priority_class(document: Document, out: list[Cause]) -> None:
    name = (document.get("metadata") or {}).get("name", "")
    value = document.get("value", 0)
    if name.startswith("system-"):
        if name not in ("system-node-critical", "system-cluster-critical"):
            words = "priority class names with 'system-' prefix are reserved for system use only"
            out.append(forbidden("metadata.name", words))
    elif value > USER_PRIORITY_MAX:
        words = f"maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"
        out.append(forbidden("value", words))
    policy = document.get("preemptionPolicy")
    if policy not in (None, "Never", "PreemptLowerPriority"):
        out.append(unsupported("preemptionPolicy", policy, ("Never", "PreemptLowerPriority")))


def check_priority_class_change(document: Document, old: Document, out: list[Cause]) -> None:
    if document.get("value", 0) != old.get("value", 0):
        out.append(forbidden("value", "may not be changed in an update."))
    if document.get("preemptionPolicy") != old.get("preemptionPolicy"):
        out.append(wrong("preemptionPolicy", document.get("preemptionPolicy"), IMMUTABLE))


# --- RBAC ------------------------------------------------------------------------------------------


def check_role(document: Document, out: list[Cause]) -> None:
    _check_rules(document.get("rules") or (), True, out)


def check_cluster_role(document: Document, out: list[Cause]) -> None:
    _check_rules(document.get("rules") or (), False, out)
    for index, chosen in enumerate((document.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()):
        selector(chosen, f"aggregationRule.clusterRoleSelectors[{index}]", out)


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
        out.append(wrong("roleRef", document.get("roleRef"), "cannot change roleRef"))


# --- storage ---------------------------------------------------------------------------------------


def check_storage_class(document: Document, out: list[Cause]) -> None:
    provisioner = document.get("provisioner", "")
    if not provisioner:
        out.append(required("provisioner"))
    else:
        out += [wrong("provisioner", provisioner, text) for text in names.qualified(provisioner.lower())]
    policy, mode = document.get("reclaimPolicy"), document.get("volumeBindingMode")
    if policy not in ("Delete", "Retain"):
        out.append(unsupported("reclaimPolicy", policy, ("Delete", "Retain")))
    if mode not in ("Immediate", "WaitForFirstConsumer"):
        out.append(unsupported("volumeBindingMode", mode, ("Immediate", "WaitForFirstConsumer")))


def check_storage_class_change(document: Document, old: Document, out: list[Cause]) -> None:
    for field in ("parameters", "provisioner", "reclaimPolicy"):
        if document.get(field) != old.get(field):
            out.append(forbidden(field, f"updates to {field} are forbidden."))
    if document.get("volumeBindingMode") != old.get("volumeBindingMode"):
        out.append(wrong("volumeBindingMode", document.get("volumeBindingMode"), IMMUTABLE))


# --- extension points and certificates -------------------------------------------------------------


def check_webhooks(document: Document, out: list[Cause]) -> None:
    taken: dict[str, None] = {}
    for index, hook in enumerate(document.get("webhooks") or ()):
        path, name = f"webhooks[{index}]", hook.get("name", "")
        if not name:
            out.append(required(f"{path}.name"))
        else:
            out += [wrong(f"{path}.name", name, text) for text in names.subdomain(name)]
            if name.count(".") < 2:
                words = "should be a domain with at least three segments separated by dots"
                out.append(wrong(f"{path}.name", name, words))
        if name in taken:
            out.append(duplicate(f"{path}.name", name))
        taken[name] = None
        _check_hook(hook, path, out)


def _check_hook(hook: Structure, path: str, out: list[Cause]) -> None:
    if not hook.get("admissionReviewVersions"):
        out.append(required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1"))
    one_of(hook, path, "sideEffects", ("None", "NoneOnDryRun"), out, needed=True)
    one_of(hook, path, "failurePolicy", ("Fail", "Ignore"), out)
    one_of(hook, path, "matchPolicy", ("Equivalent", "Exact"), out)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and seconds > 30:
        words = "the timeout value must not be greater than 30 seconds"
        out.append(wrong(f"{path}.timeoutSeconds", seconds, words))
    elif seconds is not None and seconds < 1:
        out.append(
            wrong(f"{path}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
        )
    client = hook.get("clientConfig") or {}
    if ("url" in client) == ("service" in client):
        words = "exactly one of url or service is required"
        out.append(required(f"{path}.clientConfig", words))
    elif "service" in client:
        needed(client["service"], f"{path}.clientConfig.service", ("name", "namespace"), out)
    for field in ("namespaceSelector", "objectSelector"):
        if hook.get(field):
            selector(hook[field], f"{path}.{field}", out)


def check_signing_request(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    if not spec.get("usages"):
        out.append(required("spec.usages"))
    signer = spec.get("signerName", "")
    if not signer:
        out.append(required("spec.signerName"))
    elif "/" not in signer:
        words = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        out.append(wrong("spec.signerName", signer, words))
    if not spec.get("request"):
        out.append(
            wrong("spec.request", spec.get("request", ""), "PEM block type must be CERTIFICATE REQUEST")
        )


def check_definition(document: Document, out: list[Cause]) -> None:
    """A CustomResourceDefinition: enough to be sure of its names; the rest comes with custom resources."""
    spec = document.get("spec") or {}
    plural, group = (spec.get("names") or {}).get("plural", ""), spec.get("group", "")
    name = (document.get("metadata") or {}).get("name", "")
    if name != f"{plural}.{group}":
        out.append(wrong("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    needed(spec, "spec", ("group", "scope"), out)
    one_of(spec, "spec", "scope", ("Cluster", "Namespaced"), out)
    needed(spec.get("names") or {}, "spec.names", ("plural", "singular", "kind", "listKind"), out)
    versions = spec.get("versions") or ()
    if sum(1 for version in versions if version.get("storage")) != 1:
        out.append(
            wrong("spec.versions", versions, "must have exactly one version marked as storage version")
        )
