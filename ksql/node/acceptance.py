"""Whether a node takes a pod that no scheduler has placed on it: a kubelet's last word, with its reasons. Pure.

What the scheduler has bound fits by its count. Who writes `spec.nodeName` by hand is told here, by a pod that
fails, that the machine has no room, that a port of it is taken, or that it is not the machine that was meant.
"""

from collections.abc import Iterator, Sequence

from ksql.base.documents import Document
from ksql.schema import quantities, usage

# Reason and message of a pod that is turned away.
Refusal = tuple[str, str]

_AMOUNTS = (("cpu", "OutOfcpu"), ("memory", "OutOfmemory"))


def is_placed(pod: Document) -> bool:
    """Whether a scheduler says that it chose the node."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "PodScheduled" and one["status"] == "True" for one in conditions)


def refusal(pod: Document, others: Sequence[Document], node: Document) -> Refusal | None:
    """Why a node with these other pods does not take it; None when it does."""
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    room = int(allocatable.get("pods", 0))
    if len(others) + 1 > room:
        return "OutOfpods", _short("pods", 1, len(others), room)
    asked, used = _requests([pod]), _requests(others)
    for name, reason in _AMOUNTS:
        capacity = _number(name, allocatable.get(name, "0"))
        if asked[name] and used[name] + asked[name] > capacity:
            return reason, _short(name, asked[name], used[name], capacity)
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (pod["spec"].get("nodeSelector") or {}).items()):
        return "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    taken = [port for other in others for port in _host_ports(other)]
    if any(_clash(port, other) for port in _host_ports(pod) for other in taken):
        return "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    return None


def _short(name: str, asked: int, used: int, capacity: int) -> str:
    return f"Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {capacity}"


def _requests(pods: Sequence[Document]) -> dict[str, int]:
    found = dict.fromkeys(("cpu", "memory"), 0)
    for pod in pods:
        amounts = usage.usage_of("pods", pod)
        for name in found:
            if f"requests.{name}" in amounts:
                amount = amounts[f"requests.{name}"]
                found[name] += amount.milli if name == "cpu" else amount.value
    return found


def _number(name: str, text: str) -> int:
    amount = quantities.parse(text)
    return amount.milli if name == "cpu" else amount.value


def _host_ports(pod: Document) -> Iterator[tuple[str, str, int]]:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                yield port.get("hostIP") or "0.0.0.0", port.get("protocol", "TCP"), int(port["hostPort"])


def _clash(left: tuple[str, str, int], right: tuple[str, str, int]) -> bool:
    """Whether both cannot be had: an address that stands for all of them meets each."""
    return left[1:] == right[1:] and (left[0] == right[0] or "0.0.0.0" in (left[0], right[0]))
