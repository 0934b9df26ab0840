"""Rules of networking and discovery: Ingress and its class, policies, addresses and ranges, endpoint slices."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ksql.base.documents import Document
from ksql.schema import addresses, names
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, forbidden, required, too_long, too_many, unsupported, wrong
from ksql.schema.metadata import check_labels
from ksql.schema.rules.checks import choice, each, immutable, named, port, reference, selector, untagged
from ksql.schema.rules.containers import PROTOCOLS

Structure = Mapping[str, Any]

CONTROLLER_LENGTH_MAX = 250
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PARTS, _BAD_ENDS = ("//", "/./", "/../", "%2f", "%2F"), ("/..", "/.")
_NOT_AN_ADDRESS = "must be a DNS name, not an IP address"

# --- Ingress ---------------------------------------------------------------------------------------


def check_ingress(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    rules, default = spec.get("rules") or (), spec.get("defaultBackend")
    if not rules and default is None:
        words = "either `defaultBackend` or `rules` must be specified"
        out.append(wrong("spec", spec.get("rules"), words))
    if default is not None:
        _check_backend(default, "spec.defaultBackend", out)
    for rule, path in each(rules, "spec.rules"):
        if host := rule.get("host"):
            if addresses.parsed(host) is not None:
                out.append(wrong(f"{path}.host", host, _NOT_AN_ADDRESS))
            _check_host(host, f"{path}.host", out)
        if "http" in rule:
            paths = rule["http"].get("paths") or ()
            if not paths:
                out.append(required(f"{path}.http.paths"))
            for item, place in each(paths, f"{path}.http.paths"):
                _check_path(item, place, out)
    for tls, path in each(spec.get("tls"), "spec.tls"):
        for host, place in each(tls.get("hosts"), f"{path}.hosts"):
            _check_host(host, place, out)
        named(tls, path, "secretName", names.subdomain, out)
    if "ingressClassName" in spec:
        value = spec["ingressClassName"]
        out += [wrong("spec.ingressClassName", value, text) for text in names.subdomain(value)]


def check_ingress_birth(document: Document, out: list[Cause]) -> None:
    """The old annotation and the field must agree, when an Ingress is made."""
    old = ((document.get("metadata") or {}).get("annotations") or {}).get(_CLASS_ANNOTATION)
    new = (document.get("spec") or {}).get("ingressClassName")
    if old is not None and new is not None and old != new:
        words = "must match `ingressClassName` when both are specified"
        out.append(wrong(f"annotations.{_CLASS_ANNOTATION}", old, words))


def check_ingress_status(document: Document, old: Document, out: list[Cause]) -> None:
    balancer = (document.get("status") or {}).get("loadBalancer") or {}
    for item, path in each(balancer.get("ingress"), "status.loadBalancer.ingress"):
        if item.get("ip"):
            addresses.lax_ip(item["ip"], f"{path}.ip", out)
        if host := item.get("hostname"):
            out += [wrong(f"{path}.hostname", host, text) for text in names.subdomain(host)]
            if addresses.parsed(host) is not None:
                out.append(wrong(f"{path}.hostname", host, _NOT_AN_ADDRESS))


def _check_host(host: str, path: str, out: list[Cause]) -> None:
    syntax = names.wildcard_subdomain if "*" in host else names.subdomain
    out += [wrong(path, host, text) for text in syntax(host)]


def _check_path(item: Structure, path: str, out: list[Cause]) -> None:
    kind, where = item.get("pathType"), item.get("path", "")
    if kind is None:
        out.append(required(f"{path}.pathType", "pathType must be specified"))
        return
    if kind in ("Exact", "Prefix"):
        if not where.startswith("/"):
            out.append(wrong(f"{path}.path", where, "must be an absolute path"))
        out += [wrong(f"{path}.path", where, f"must not contain '{p}'") for p in _BAD_PARTS if p in where]
        ends = [part for part in _BAD_ENDS if where.endswith(part)]
        out += [wrong(f"{path}.path", where, f"cannot end with '{part}'") for part in ends]
    elif kind == "ImplementationSpecific":
        if where and not where.startswith("/"):
            out.append(wrong(f"{path}.path", where, "must be an absolute path"))
    else:
        out.append(unsupported(f"{path}.pathType", kind, _PATH_TYPES))
    _check_backend(item.get("backend") or {}, f"{path}.backend", out)


def _check_backend(backend: Structure, path: str, out: list[Cause]) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        out.append(wrong(path, "", "cannot set both resource and service backends"))
    elif resource is not None:
        _check_reference(resource, f"{path}.resource", out)
    elif service is None:
        out.append(wrong(path, "", "resource or service backend is required"))
    else:
        _check_service_backend(service, path, out)


def _check_service_backend(service: Structure, path: str, out: list[Cause]) -> None:
    name = service.get("name")
    if not name:
        out.append(required(f"{path}.service.name"))
    else:
        out += [wrong(f"{path}.service.name", name, text) for text in names.label_name_1035(name)]
    given = service.get("port") or {}
    if given.get("name") and given.get("number"):
        out.append(wrong(path, "", "cannot set both port name & port number"))
    elif given.get("name"):
        port(given["name"], f"{path}.service.port.name", out)
    elif given.get("number"):
        port(given["number"], f"{path}.service.port.number", out)
    else:
        out.append(required(path, "port name or number is required"))


def _check_reference(given: Structure, path: str, out: list[Cause]) -> None:
    """A kind of some group and its name."""
    if given.get("apiGroup") is not None:
        group = given["apiGroup"]
        out += [wrong(f"{path}.apiGroup", group, text) for text in names.subdomain(group)]
    reference(given, path, ("kind", "name"), out)


# --- IngressClass ----------------------------------------------------------------------------------


def check_ingress_class(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    controller = spec.get("controller", "")
    if len(controller) > CONTROLLER_LENGTH_MAX:
        out.append(too_long("spec.controller", CONTROLLER_LENGTH_MAX))
    _check_prefixed_path(controller, "spec.controller", out)
    given, path = spec.get("parameters"), "spec.parameters"
    if given is None:
        return
    _check_reference(given, path, out)
    scope, namespace = given.get("scope"), given.get("namespace")
    if scope not in ("Cluster", "Namespace"):
        out.append(unsupported(f"{path}.scope", scope, ("Cluster", "Namespace")))
    elif scope == "Cluster":
        if namespace is not None:
            out.append(forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    elif namespace is None:
        out.append(required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
    else:
        out += [wrong(f"{path}.namespace", namespace, text) for text in names.label_name(namespace)]


def check_ingress_class_change(document: Document, old: Document, out: list[Cause]) -> None:
    immutable(document.get("spec") or {}, old.get("spec") or {}, "spec", ("controller",), out, "")


_HTTP_PATH = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+"


def _check_prefixed_path(value: str, path: str, out: list[Cause]) -> None:
    """acme.io/foo"""
    if not value:
        out.append(required(path))
        return
    host, _, rest = value.partition("/")
    if not host or not rest:
        out.append(wrong(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")'))
        return
    out += [wrong(path, host, text) for text in names.subdomain(host)]
    if not re.fullmatch(_HTTP_PATH, rest):
        out.append(wrong(path, rest, f"Invalid path (regex used for validation is '{_HTTP_PATH}')"))


# --- NetworkPolicy ---------------------------------------------------------------------------------


def check_network_policy(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    selector(spec.get("podSelector") or {}, "spec.podSelector", out)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for rule, path in each(spec.get(direction), f"spec.{direction}"):
            for item, place in each(rule.get("ports"), f"{path}.ports"):
                _check_policy_port(item, place, out)
            for peer, place in each(rule.get(peers), f"{path}.{peers}"):
                _check_peer(peer, place, out)
    kinds = spec.get("policyTypes") or ()
    if len(kinds) > 2:
        out.append(wrong("spec.policyTypes", kinds, "may not specify more than two policyTypes"))
        return
    for kind, path in each(kinds, "spec.policyTypes"):
        if kind not in ("Ingress", "Egress"):
            out.append(unsupported(path, kind, ("Ingress", "Egress")))


def _check_policy_port(item: Structure, path: str, out: list[Cause]) -> None:
    if item.get("protocol") is not None and item["protocol"] not in ("TCP", "UDP", "SCTP"):
        out.append(unsupported(f"{path}.protocol", item["protocol"], ("TCP", "UDP", "SCTP")))
    first, last = item.get("port"), item.get("endPort")
    if first is None:
        if last is not None:
            words = "may not be specified when `port` is not specified"
            out.append(wrong(f"{path}.endPort", last, words))
    elif isinstance(first, str):
        if last is not None:
            out.append(wrong(f"{path}.endPort", last, "may not be specified when `port` is non-numeric"))
        port(first, f"{path}.port", out)
    else:
        port(first, f"{path}.port", out)
        if last is not None:
            if last < first:
                out.append(wrong(f"{path}.endPort", first, "must be greater than or equal to `port`"))
            port(last, f"{path}.endPort", out)


def _check_peer(peer: Structure, path: str, out: list[Cause]) -> None:
    for field in ("podSelector", "namespaceSelector"):
        if field in peer:
            selector(peer[field], f"{path}.{field}", out)
    block = peer.get("ipBlock")
    if block is not None:
        _check_block(block, f"{path}.ipBlock", out)
    if not peer:
        out.append(required(path, "must specify a peer"))
    elif block is not None and len(peer) > 1:
        out.append(forbidden(path, "may not specify both ipBlock and another peer"))


def _check_block(block: Structure, path: str, out: list[Cause]) -> None:
    if not block.get("cidr"):
        out.append(required(f"{path}.cidr"))
        return
    whole = addresses.lax_cidr(block["cidr"], f"{path}.cidr", out)
    if whole is None:
        return
    for text, place in each(block.get("except"), f"{path}.except"):
        part = addresses.lax_cidr(text, place, out)
        if part is None:
            continue
        inside = part.version == whole.version and part.network_address in whole
        if not inside or whole.prefixlen >= part.prefixlen:
            out.append(wrong(place, text, "must be a strict subset of `cidr`"))


# --- IPAddress and ServiceCIDR ---------------------------------------------------------------------


def check_address(document: Document, out: list[Cause]) -> None:
    parent, path = (document.get("spec") or {}).get("parentRef"), "spec.parentRef"
    if parent is None:
        out.append(required(path))
        return
    named(parent, path, "group", names.subdomain, out)
    reference(parent, path, ("resource", "name"), out)
    named(parent, path, "namespace", names.path_segment, out)


def check_address_change(document: Document, old: Document, out: list[Cause]) -> None:
    parent = (document.get("spec") or {}).get("parentRef")
    if parent != (old.get("spec") or {}).get("parentRef"):
        shown = parent and untagged(parent, ("Group", "Resource", "Namespace", "Name"))
        out.append(wrong("spec.parentRef", shown, IMMUTABLE))


def check_service_range(document: Document, out: list[Cause]) -> None:
    ranges, path = (document.get("spec") or {}).get("cidrs") or (), "spec.cidrs"
    if not ranges:
        out.append(required(path, "at least one CIDR required"))
        return
    if len(ranges) > 2:
        out.append(wrong(path, {"CIDRs": ranges}, "may only hold up to 2 values"))
        return
    for text, place in each(ranges, path):
        addresses.cidr(text, place, out)
    families = [found.version for found in map(addresses.parsed_range, ranges) if found is not None]
    if len(families) == 2 and families[0] == families[1]:
        words = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        out.append(wrong(path, ranges, words))


def check_service_range_change(document: Document, old: Document, out: list[Cause]) -> None:
    """A range stays; one of the other family may be added."""
    path = "spec.cidrs"
    new, before = (one.get("spec") or {} for one in (document, old))
    ranges, kept = new.get("cidrs") or [], before.get("cidrs") or []
    if len(ranges) == len(kept) or (len(kept), len(ranges)) == (1, 2):
        for index, text in enumerate(kept):
            if ranges[index] != text:
                out.append(wrong(f"{path}[{index}]", ranges[index], IMMUTABLE))
        if len(ranges) != len(kept):
            check_service_range(document, out)
    else:
        out.append(wrong(path, new.get("cidrs"), IMMUTABLE))


# --- EndpointSlice ---------------------------------------------------------------------------------

ADDRESSES_MAX, ENDPOINTS_MAX, PORTS_MAX, LABELS_MAX, HINTS_MAX = 100, 1000, 20000, 16, 8
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")


def check_endpoint_slice(document: Document, out: list[Cause]) -> None:
    kind = document.get("addressType")
    if not kind:
        out.append(required("addressType"))
    elif kind not in _ADDRESS_TYPES:
        out.append(unsupported("addressType", kind, _ADDRESS_TYPES))
    _check_slice_ports(document.get("ports") or (), out)
    endpoints = document.get("endpoints") or ()
    if len(endpoints) > ENDPOINTS_MAX:
        out.append(too_many("endpoints", len(endpoints), ENDPOINTS_MAX))
        return
    for endpoint, path in each(endpoints, "endpoints"):
        _check_endpoint(endpoint, kind or "", path, out)


def _check_endpoint(endpoint: Structure, kind: str, path: str, out: list[Cause]) -> None:
    found = endpoint.get("addresses") or ()
    if not found:
        out.append(required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(found) > ADDRESSES_MAX:
        out.append(too_many(f"{path}.addresses", len(found), ADDRESSES_MAX))
    for text, place in each(found, f"{path}.addresses"):
        _check_address(text, kind, place, f"{path}.addresses", out)
    if "nodeName" in endpoint:
        node = endpoint["nodeName"]
        out += [wrong(f"{path}.nodeName", node, text) for text in names.subdomain(node)]
    if topology := endpoint.get("deprecatedTopology"):
        if len(topology) > LABELS_MAX:
            out.append(too_many(f"{path}.deprecatedTopology", len(topology), LABELS_MAX))
        check_labels(topology, f"{path}.deprecatedTopology", out)
    if "hostname" in endpoint:
        host = endpoint["hostname"]
        out += [wrong(f"{path}.hostname", host, text) for text in names.label_name(host)]
    if hints := endpoint.get("hints"):
        _check_hints(hints.get("forZones") or (), f"{path}.hints.forZones", names.label_value, out)
        _check_hints(hints.get("forNodes") or (), f"{path}.hints.forNodes", names.subdomain, out)


def _check_address(text: str, kind: str, path: str, listed: str, out: list[Cause]) -> None:
    if kind == "FQDN":
        _check_domain(text, path, out)
    elif kind in ("IPv4", "IPv6"):
        judge = addresses.lax_ip if kind == "IPv4" else addresses.ip
        address = judge(text, path, out)
        if address is not None:
            if f"IPv{address.version}" != kind:
                out.append(wrong(listed, text, f"must be an {kind} address"))
            addresses.endpoint(text, path, out)


def _check_domain(text: str, path: str, out: list[Cause]) -> None:
    """A fully qualified domain name."""
    if not text:
        out.append(required(path))
        return
    name = text.removesuffix(".")
    if complaints := names.subdomain(name):
        out.append(wrong(path, name, ",".join(complaints)))
    elif "." not in name:
        words = "should be a domain with at least two segments separated by dots"
        out.append(wrong(path, name, words))
    else:
        for label in name.split("."):
            if complaints := names.label_name(label):
                out.append(wrong(path, label, ",".join(complaints)))
                return


def _check_slice_ports(ports: Sequence[Structure], out: list[Cause]) -> None:
    if len(ports) > PORTS_MAX:
        out.append(too_many("ports", len(ports), PORTS_MAX))
        return
    taken: set[str] = set()
    for item, path in each(ports, "ports"):
        name = item.get("name", "")
        if name:
            out += [wrong(f"{path}.name", name, text) for text in names.label_name(name)]
        if name in taken:
            out.append(duplicate(f"{path}.name", name))
        taken.add(name)
        choice(item, path, "protocol", PROTOCOLS, out)
        if "appProtocol" in item:
            protocol = item["appProtocol"]
            out += [wrong(f"{path}.appProtocol", protocol, text) for text in names.qualified(protocol)]


def _check_hints(
    hints: Sequence[Structure], path: str, syntax: Any, out: list[Cause]
) -> None:
    if len(hints) > HINTS_MAX:
        out.append(too_many(path, len(hints), HINTS_MAX))
        return
    taken: set[str] = set()
    for hint, place in each(hints, path):
        name = hint.get("name", "")
        if name in taken:
            out.append(duplicate(f"{place}.name", name))
        taken.add(name)
        out += [wrong(f"{place}.name", name, text) for text in syntax(name)]


def check_endpoint_slice_change(document: Document, old: Document, out: list[Cause]) -> None:
    immutable(document, old, "", ("addressType",), out)


