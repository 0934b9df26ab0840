"""Whether one pod may speak to another: NetworkPolicies, judged as a network plugin would.

Pure. A pod that no policy selects for a direction is open in it; one that some select lets through what any of
them allows. Both ends must agree: the sender's egress and the receiver's ingress.
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ksql.base.documents import Document, lookup
from ksql.node.surroundings import containers_of
from ksql.schema.selectors import from_document

# The labels of a namespace by its name.
Namespaces = Callable[[str], Document]


def allows(
    policies: Sequence[Document], namespaces: Namespaces, source: Document, target: Document, port: int, protocol: str
) -> bool:
    """Whether `source` may open `port` of `target`."""
    # On the node's own network no policy is asked, and nobody keeps a pod from itself.
    if source["metadata"].get("uid") == target["metadata"].get("uid") or target["spec"].get("hostNetwork"):
        return True
    ends = ((target, source, "Ingress", "ingress", "from"), (source, target, "Egress", "egress", "to"))
    for pod, peer, type, field, side in ends:
        ruling = [policy for policy in policies if _rules(policy, pod, type)]
        rules = [rule for policy in ruling for rule in lookup(policy, "spec", field) or ()]
        if ruling and not any(
            _ports(rule.get("ports"), target, port, protocol)
            and _peers(rule.get(side), peer, pod["metadata"]["namespace"], namespaces)
            for rule in rules
        ):
            return False
    return True


def _rules(policy: Document, pod: Document, type: str) -> bool:
    """Whether a policy selects a pod for a direction."""
    spec = policy.get("spec") or {}
    types = spec.get("policyTypes") or (["Ingress"] + ["Egress"] * ("egress" in spec))
    same = policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return type in types and same and from_document(spec.get("podSelector") or {}).matches(_labels(pod))


def _peers(peers: Iterable[Document] | None, pod: Document, namespace: str, namespaces: Namespaces) -> bool:
    """Whether a pod is among a rule's peers; a rule without peers means everybody."""
    return not peers or any(_is_peer(peer, pod, namespace, namespaces) for peer in peers)


def _is_peer(peer: Document, pod: Document, namespace: str, namespaces: Namespaces) -> bool:
    if block := peer.get("ipBlock"):
        return _in_block(block, str(lookup(pod, "status", "podIP") or ""))
    here = pod["metadata"]["namespace"]
    if (chosen := peer.get("namespaceSelector")) is not None:
        if not from_document(chosen).matches(namespaces(here)):
            return False
    elif here != namespace:
        return False
    return from_document(peer.get("podSelector") or {}).matches(_labels(pod))


def _in_block(block: Document, address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    inside = found in ipaddress.ip_network(block["cidr"], strict=False)
    return inside and not any(found in ipaddress.ip_network(one, strict=False) for one in block.get("except") or ())


def _ports(ports: Sequence[Document] | None, target: Document, port: int, protocol: str) -> bool:
    """Whether a rule is about a port of the receiver; one without ports is about all."""
    return not ports or any(_is_port(one, target, port, protocol) for one in ports)


def _is_port(wanted: Document, target: Document, port: int, protocol: str) -> bool:
    if wanted.get("protocol", "TCP") != protocol:
        return False
    named: Any = wanted.get("port")
    if named is None:
        return True
    if isinstance(named, str):
        known = (one for container in containers_of(target) for one in container.get("ports") or ())
        return any(one.get("name") == named and one["containerPort"] == port for one in known)
    last = wanted.get("endPort", named)
    return bool(named <= port <= last)


def _labels(pod: Document) -> Document:
    return lookup(pod, "metadata", "labels") or {}
