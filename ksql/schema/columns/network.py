"""Rows of how pods are reached: services, endpoints, ingresses, policies, addresses."""

from collections.abc import Iterable
from typing import Any

from ksql.base.documents import Document
from ksql.schema.columns.column import (
    NONE,
    UNKNOWN,
    UNSET,
    Moment,
    Printer,
    columns,
    labels_text,
    name,
    part,
    selector_text,
    some_of,
)

# How many addresses, ports or hosts a cell names before it counts the rest.
SHOWN_MAX = 3


def _service(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    addresses = spec.get("clusterIPs")
    ports = spec.get("ports") or ()
    return [
        name(document),
        spec.get("type") or "ClusterIP",
        addresses[0] if addresses else NONE,
        _external_address(spec, part(document, "status")),
        ",".join(_service_port(port) for port in ports) or NONE,
        moment.age(document),
        labels_text(spec.get("selector")),
    ]


def _service_port(port: Document) -> str:
    number, protocol = port.get("port", 0), port.get("protocol") or "TCP"
    node_port = port.get("nodePort")
    return f"{number}:{node_port}/{protocol}" if node_port else f"{number}/{protocol}"


def _external_address(spec: Document, status: Document) -> str:
    type, own = spec.get("type") or "ClusterIP", spec.get("externalIPs") or []
    if type in ("ClusterIP", "NodePort"):
        return ",".join(own) or NONE
    if type == "LoadBalancer":
        balancer = _balancer(part(status, "loadBalancer"))
        return ",".join([*([balancer] if balancer else []), *own]) or "<pending>"
    return spec.get("externalName") or "" if type == "ExternalName" else UNKNOWN


def _balancer(status: Document) -> str:
    """Addresses of a load balancer, sorted."""
    found = {point.get("ip") or point.get("hostname") for point in status.get("ingress") or ()}
    return ",".join(sorted(address for address in found if address))


def _endpoints(document: Document, moment: Moment) -> list[Any]:
    shown: list[str] = []
    count = 0
    for subset in document.get("subsets") or ():
        addresses = subset.get("addresses") or ()
        for port in subset.get("ports") or [None]:
            count += len(addresses)
            shown += [_host_port(address.get("ip", ""), port) for address in addresses]
    return [
        name(document),
        some_of(shown, SHOWN_MAX, NONE if not document.get("subsets") else "", count),
        moment.age(document),
    ]


def _host_port(address: str, port: Document | None) -> str:
    if port is None:
        return address
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port.get('port', 0)}"


def _endpoint_slice(document: Document, moment: Moment) -> list[Any]:
    ports = [_slice_port(port) for port in document.get("ports") or ()]
    addresses = [a for endpoint in document.get("endpoints") or () for a in endpoint.get("addresses") or ()]
    return [
        name(document),
        document.get("addressType", ""),
        some_of(ports, SHOWN_MAX, UNSET),
        some_of(addresses, SHOWN_MAX, UNSET),
        moment.age(document),
    ]


def _slice_port(port: Document) -> str:
    number = port.get("port")
    if number is not None:
        return str(number)
    return "*" if port.get("name") is None else str(port["name"])


def _ingress(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    return [
        name(document),
        NONE if spec.get("ingressClassName") is None else spec["ingressClassName"],
        _hosts(spec.get("rules") or []),
        _balancer(part(part(document, "status"), "loadBalancer")),
        "80, 443" if spec.get("tls") else "80",
        moment.age(document),
    ]


def _hosts(rules: list[Document]) -> str:
    """The hosts of the rules; a rule beyond the first few hosts is only counted."""
    hosts: list[str] = []
    more = False
    for rule in rules:
        more = more or len(hosts) == SHOWN_MAX
        if not more and rule.get("host"):
            hosts.append(rule["host"])
    if not hosts:
        return "*"
    return f"{','.join(hosts)} + {len(rules) - SHOWN_MAX} more..." if more else ",".join(hosts)


def _ingress_class(document: Document, moment: Moment) -> list[Any]:
    spec = part(document, "spec")
    parameters = spec.get("parameters")
    words = NONE
    if parameters:
        group = parameters.get("apiGroup")
        kind = parameters.get("kind", "")
        words = f"{f'{kind}.{group}' if group is not None else kind}/{parameters.get('name', '')}"
    return [name(document), spec.get("controller") or "", words, moment.age(document)]


def _network_policy(document: Document, moment: Moment) -> list[Any]:
    return [
        name(document),
        selector_text(part(document, "spec").get("podSelector") or {}),
        moment.age(document),
    ]


def _service_cidr(document: Document, moment: Moment) -> list[Any]:
    return [name(document), _joined(part(document, "spec").get("cidrs")), moment.age(document)]


def _joined(words: Iterable[str] | None) -> str:
    return ",".join(words or ())


def _ip_address(document: Document, moment: Moment) -> list[Any]:
    parent = part(document, "spec").get("parentRef")
    words = NONE
    if parent:
        group = parent.get("group")
        resource = f"{parent.get('resource', '')}.{group}" if group else parent.get("resource", "")
        parts = [resource.lower(), parent.get("namespace"), parent.get("name", "")]
        words = "/".join(word for word in parts if word is not None and word != "")
    return [name(document), words]


PRINTERS = {
    ("", "Service"): Printer(columns("Name|Type|Cluster-IP|External-IP|Port(s)|Age|+Selector"), _service),
    ("", "Endpoints"): Printer(columns("Name|Endpoints|Age"), _endpoints),
    ("discovery.k8s.io", "EndpointSlice"): Printer(
        columns("Name|AddressType|Ports|Endpoints|Age"), _endpoint_slice
    ),
    ("networking.k8s.io", "Ingress"): Printer(columns("Name|Class|Hosts|Address|Ports|Age"), _ingress),
    ("networking.k8s.io", "IngressClass"): Printer(columns("Name|Controller|Parameters|Age"), _ingress_class),
    ("networking.k8s.io", "NetworkPolicy"): Printer(columns("Name|Pod-Selector|Age"), _network_policy),
    ("networking.k8s.io", "ServiceCIDR"): Printer(columns("Name|CIDRs|Age"), _service_cidr),
    ("networking.k8s.io", "IPAddress"): Printer(columns("Name|ParentRef"), _ip_address),
}
