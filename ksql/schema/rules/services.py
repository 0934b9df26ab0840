"""Rules of services: what they select, how they are reached, and what stays once it was given."""

from collections.abc import Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.addresses import endpoint, lax_cidr, lax_ip, parsed
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, forbidden, required, unsupported, wrong
from ksql.schema.metadata import check_labels
from ksql.schema.rules.checks import PORT_MAX, PORT_RANGE, complain, port
from ksql.schema.rules.containers import PROTOCOLS

Structure = Mapping[str, Any]

SERVICE_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
FAMILIES = ("IPv4", "IPv6")
FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
AFFINITY_SECONDS_MAX = 86400
HINTS, MODE = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"

_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"
_ONE_EACH = "may specify no more than one IP for each IP family"
_FIXED = "may not change once set"


def check_service(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    annotations = (document.get("metadata") or {}).get("annotations") or {}
    kind, headless, ports = spec.get("type") or "", is_headless(spec), spec.get("ports") or ()
    if MODE in annotations and HINTS in annotations and annotations[MODE] != annotations[HINTS]:
        words = f"must match annotations[{HINTS}] when both are specified"
        out.append(wrong(f"metadata.annotations[{MODE}]", annotations[MODE], words))
    if not ports and not headless and kind != "ExternalName":
        out.append(required("spec.ports"))
    _check_type(spec, kind, headless, out)
    taken: set[str] = set()
    for index, item in enumerate(ports):
        _check_port(item, f"spec.ports[{index}]", len(ports) > 1, taken, out)
    if spec.get("selector"):
        check_labels(spec["selector"], "spec.selector", out)
    _check_affinity(spec, out)
    _check_addresses(spec, kind, out)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        path = f"spec.externalIPs[{index}]"
        if lax_ip(address, path, out) is not None:
            endpoint(address, path, out)
    if not kind:
        out.append(required("spec.type"))
    elif kind not in SERVICE_TYPES:
        out.append(unsupported("spec.type", kind, SERVICE_TYPES))
    _check_ports_together(ports, kind, out)
    _check_source_ranges(spec, annotations, kind, out)
    if "allocateLoadBalancerNodePorts" in spec and kind != "LoadBalancer":
        out.append(forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCED))
    _check_class(spec, kind, out)
    _check_traffic(spec, kind, out)


def is_headless(spec: Structure) -> bool:
    return cluster_ips(spec) == ["None"]


def cluster_ips(spec: Structure) -> list[str]:
    """The addresses of a service; the first has a field of its own, which older clients set alone."""
    if "clusterIPs" in spec:
        return list(spec["clusterIPs"] or ())
    return [spec["clusterIP"]] if spec.get("clusterIP") else []


def _check_type(spec: Structure, kind: str, headless: bool, out: list[Cause]) -> None:
    if headless and kind in ("LoadBalancer", "NodePort"):
        out.append(wrong("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    if kind != "ExternalName":
        return
    for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        given = cluster_ips(spec) if field == "clusterIPs" else spec.get(field)
        if given or (given is not None and field == "ipFamilyPolicy"):
            out.append(forbidden(f"spec.{field}", "may not be set for ExternalName services"))
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        complain("spec.externalName", name, names.subdomain(name), out)
    else:
        out.append(required("spec.externalName"))


def _check_port(item: Structure, path: str, needs_name: bool, taken: set[str], out: list[Cause]) -> None:
    name, number = item.get("name") or "", item.get("port", 0)
    if name:
        complain(f"{path}.name", name, names.label_name(name), out)
        if name in taken:
            out.append(duplicate(f"{path}.name", name))
        taken.add(name)
    elif needs_name:
        out.append(required(f"{path}.name"))
    if not 1 <= number <= PORT_MAX:
        out.append(wrong(f"{path}.port", number, PORT_RANGE))
    protocol = item.get("protocol")
    if not protocol:
        out.append(required(f"{path}.protocol"))
    elif protocol not in PROTOCOLS:
        out.append(unsupported(f"{path}.protocol", protocol, PROTOCOLS))
    port(item.get("targetPort", 0), f"{path}.targetPort", out)
    application = item.get("appProtocol")
    if application is not None:
        complain(f"{path}.appProtocol", application, names.qualified(application), out)


def _check_affinity(spec: Structure, out: list[Cause]) -> None:
    kind, config, path = spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"), "spec.sessionAffinityConfig"
    if not kind:
        out.append(required("spec.sessionAffinity"))
    elif kind not in ("ClientIP", "None"):
        out.append(unsupported("spec.sessionAffinity", kind, ("ClientIP", "None")))
    elif kind == "None":
        if config is not None:
            out.append(forbidden(path, "must not be set when session affinity is None"))
    else:
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds", 0)
        if not 0 < seconds <= AFFINITY_SECONDS_MAX:
            words = f"must be greater than 0 and less than {AFFINITY_SECONDS_MAX}"
            out.append(wrong(f"{path}.clientIP.timeoutSeconds", seconds, words))


# --- addresses -------------------------------------------------------------------------------------


def _check_addresses(spec: Structure, kind: str, out: list[Cause]) -> None:
    if kind == "ExternalName":
        return
    addresses, families, path = cluster_ips(spec), spec.get("ipFamilies") or (), "spec.clusterIPs"
    first = spec.get("clusterIP") or ""
    if first and not addresses:
        out.append(required(path))
    elif first and addresses[0] != first:
        out.append(wrong(path, addresses, "first value must match `clusterIP`"))
    elif addresses and not first:
        out.append(wrong(path, addresses, "must be empty when `clusterIP` is not specified"))
    for index, family in enumerate(families):
        where = f"spec.ipFamilies[{index}]"
        if family not in FAMILIES:
            out.append(unsupported(where, family, FAMILIES))
        if family in families[:index]:
            out.append(duplicate(where, family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in FAMILY_POLICIES:
        out.append(unsupported("spec.ipFamilyPolicy", policy, FAMILY_POLICIES))
    before = len(out)
    for index, address in enumerate(addresses):
        if index == 0 and address == "None":
            if len(addresses) > 1:
                out.append(wrong(path, addresses, "'None' must be the first and only value"))
        else:
            lax_ip(address, f"{path}[{index}]", out)
    bad = len(out) > before
    if len(addresses) > 2:
        out.append(wrong(path, addresses, "may only hold up to 2 values"))
    if bad or addresses == ["None"]:
        return
    _check_families(addresses, families, path, out)


def _check_families(addresses: Sequence[str], families: Sequence[str], path: str, out: list[Cause]) -> None:
    if len(addresses) > 1 and len({_family(one) for one in addresses}) != 2:
        out.append(wrong(path, list(addresses), _ONE_EACH))
    for index, (address, family) in enumerate(zip(addresses, families, strict=False)):
        if family in FAMILIES and _family(address) != family:
            words = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            out.append(wrong(f"{path}[{index}]", address, words))


def _family(address: str) -> str:
    found = parsed(address)
    return "IPv6" if found is not None and found.version == 6 else "IPv4"


# --- ports, sources, traffic -----------------------------------------------------------------------


def _check_ports_together(ports: Sequence[Structure], kind: str, out: list[Cause]) -> None:
    nodes: set[tuple[Any, int]] = set()
    pairs: set[tuple[Any, int]] = set()
    if kind == "ClusterIP":
        for index, item in enumerate(ports):
            if item.get("nodePort"):
                words = "may not be used when `type` is 'ClusterIP'"
                out.append(forbidden(f"spec.ports[{index}].nodePort", words))
    for index, item in enumerate(ports):
        if number := item.get("nodePort"):
            if (item.get("protocol"), number) in nodes:
                out.append(duplicate(f"spec.ports[{index}].nodePort", number))
            nodes.add((item.get("protocol"), number))
    for index, item in enumerate(ports):
        pair = (item.get("protocol") or "", item.get("port", 0))
        if pair in pairs:
            shown = {
                "Name": "", "Protocol": pair[0], "AppProtocol": None, "Port": pair[1], "TargetPort": 0,
                "NodePort": 0,
            }  # fmt: skip
            out.append(duplicate(f"spec.ports[{index}]", shown))
        pairs.add(pair)


def _check_source_ranges(
    spec: Structure, annotations: Mapping[str, str], kind: str, out: list[Cause]
) -> None:
    if ranges := spec.get("loadBalancerSourceRanges"):
        path = "spec.LoadBalancerSourceRanges"
        if kind != "LoadBalancer":
            out.append(forbidden(path, _ONLY_BALANCED))
        for index, text in enumerate(ranges):
            lax_cidr(text.strip(), f"{path}[{index}]", out)
    elif SOURCE_RANGES in annotations:
        path = f"metadata.annotations[{SOURCE_RANGES}]"
        if kind != "LoadBalancer":
            out.append(forbidden(path, _ONLY_BALANCED))
        if listed := annotations[SOURCE_RANGES].strip():
            for text in listed.split(","):
                lax_cidr(text.strip(), path, out)


def _check_class(spec: Structure, kind: str, out: list[Cause]) -> None:
    name, path = spec.get("loadBalancerClass"), "spec.loadBalancerClass"
    if name is None:
        return
    if kind == "LoadBalancer":
        complain(path, name, names.qualified(name), out)
    else:
        out.append(forbidden(path, _ONLY_BALANCED))


def is_external(spec: Structure) -> bool:
    """Can it be reached from outside the cluster?"""
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Structure) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _check_traffic(spec: Structure, kind: str, out: list[Cause]) -> None:
    outside, inside = spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy")
    if not is_external(spec):
        if outside:
            words = "may only be set for externally-accessible services"
            out.append(wrong("spec.externalTrafficPolicy", outside, words))
    elif not outside:
        out.append(required("spec.externalTrafficPolicy"))
    elif outside not in ("Cluster", "Local"):
        out.append(unsupported("spec.externalTrafficPolicy", outside, ("Cluster", "Local")))
    check_port = spec.get("healthCheckNodePort", 0)
    if not needs_health_check(spec):
        if check_port:
            words = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            out.append(wrong("spec.healthCheckNodePort", check_port, words))
    elif check_port and not 1 <= check_port <= PORT_MAX:
        out.append(wrong("spec.healthCheckNodePort", check_port, PORT_RANGE))
    if inside is None:
        if kind in ("NodePort", "LoadBalancer", "ClusterIP"):
            out.append(required("spec.internalTrafficPolicy"))
    elif inside not in ("Cluster", "Local"):
        out.append(unsupported("spec.internalTrafficPolicy", inside, ("Cluster", "Local")))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in DISTRIBUTIONS:
        out.append(unsupported("spec.trafficDistribution", distribution, DISTRIBUTIONS))


# --- changes ---------------------------------------------------------------------------------------


def check_service_change(document: Document, old: Document, out: list[Cause]) -> None:
    """An address that was given stays; a second one may come and go.

    What is faulty otherwise is asked about the class of its balancers alone, a second time.
    """
    spec, before = document.get("spec") or {}, old.get("spec") or {}
    faults: list[Cause] = []
    if spec.get("type") == before.get("type") == "LoadBalancer" and spec.get("loadBalancerClass") != before.get(
        "loadBalancerClass"
    ):
        faults.append(wrong("spec.loadBalancerClass", spec.get("loadBalancerClass"), _FIXED))
    _check_class(spec, spec.get("type", ""), faults)
    if out:
        out[:0] = faults
        return
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        if not (is_headless(spec) and is_headless(before)):
            _check_address_change(spec, before, out)
        if is_headless(spec) == is_headless(before) and not is_headless(spec):
            _check_family_change(spec, before, out)
    out.extend(faults)
    if needs_health_check(spec) and needs_health_check(before):
        given, now = before.get("healthCheckNodePort", 0), spec.get("healthCheckNodePort", 0)
        if now and given != now:
            out.append(forbidden("spec.healthCheckNodePort", IMMUTABLE))


def _check_address_change(spec: Structure, before: Structure, out: list[Cause]) -> None:
    now, given, path = cluster_ips(spec), cluster_ips(before), "spec.clusterIPs"
    if len(now) == len(given):
        for index, address in enumerate(given):
            if address != now[index]:
                out.append(wrong(f"{path}[{index}]", now, _FIXED))
        return
    if not now:
        out.append(wrong(f"{path}[0]", None, "primary clusterIP can not be unset"))
    elif given and now[0] != given[0]:
        out.append(wrong(f"{path}[0]", now, _FIXED))
    if len(now) < len(given) and len(now) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        words = "must be set to 'SingleStack' when releasing the secondary clusterIP"
        out.append(wrong("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), words))


def _check_family_change(spec: Structure, before: Structure, out: list[Cause]) -> None:
    now, given = spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    path = "spec.ipFamilies[0]"
    if len(now) == len(given):
        for index, family in enumerate(given):
            if family != now[index]:
                out.append(wrong(path, now, _FIXED))
        return
    if len(now) < len(given):
        if not cluster_ips(spec):
            out.append(wrong(path, now or None, "primary ipFamily can not be unset"))
        if now and now[0] != given[0]:
            out.append(wrong(path, cluster_ips(spec) or None, _FIXED))
        if len(now) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
            words = "must be set to 'SingleStack' when releasing the secondary ipFamily"
            out.append(wrong("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), words))
    elif given and now[0] != given[0]:
        out.append(wrong(path, cluster_ips(spec) or None, _FIXED))


def check_service_status(document: Document, old: Document, out: list[Cause]) -> None:
    """Where a load balancer can be reached; what stood there before is not judged again."""
    balancer = (document.get("status") or {}).get("loadBalancer") or {}
    before = ((old.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    known = {one.get("ip") for one in before}
    ingress, path = balancer.get("ingress") or (), "status.loadBalancer.ingress"
    if ingress and (document.get("spec") or {}).get("type") != "LoadBalancer":
        out.append(forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'"))
        return
    for index, point in enumerate(ingress):
        where, address, mode = f"{path}[{index}]", point.get("ip") or "", point.get("ipMode")
        if address and address not in known:
            lax_ip(address, f"{where}.ip", out)
        if mode is not None and not address:
            out.append(forbidden(f"{where}.ipMode", "may not be specified when `ip` is not set"))
        elif mode is not None and mode not in ("Proxy", "VIP"):
            out.append(unsupported(f"{where}.ipMode", mode, ("Proxy", "VIP")))
        if name := point.get("hostname"):
            complain(f"{where}.hostname", name, names.subdomain(name), out)
            if parsed(name) is not None:
                out.append(wrong(f"{where}.hostname", name, "must be a DNS name, not an IP address"))
