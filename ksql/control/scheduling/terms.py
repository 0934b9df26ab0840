"""Does a node's document suit a pod: selectors, affinity, taints. Pure comparisons of two documents.

These answers change only when the node or the template does, so `Cluster` keeps them (`Verdict`) and one
placement looks only at what moves: room, ports and neighbours.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ksql.base.documents import Document
from ksql.control.scheduling.demand import Constraints

UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"

NODE_UNSCHEDULABLE = "node(s) were unschedulable"
NODE_AFFINITY = "node(s) didn't match Pod's node affinity/selector"


class Verdict(NamedTuple):
    """What a node's document says to a template: `reason` is empty when it suits."""

    reason: str
    affinity_suits: bool  # for spreading, which counts nodes by affinity and by taints apart
    taints_suit: bool
    preferred: int  # weights of the preferred terms that match
    disliked: int  # PreferNoSchedule taints that are not tolerated


def verdict(constraints: Constraints, name: str, node: Document) -> Verdict:
    """Judge one node for one template, reasons in kube-scheduler's order of filters."""
    labels = node["metadata"].get("labels") or {}
    spec = node.get("spec") or {}
    taints = spec.get("taints") or ()
    suits = affinity_suits(constraints, name, labels)
    repelled = untolerated(taints, constraints.tolerations, ("NoSchedule", "NoExecute"))
    reason = ""
    if spec.get("unschedulable") and not _tolerates_unschedulable(constraints.tolerations):
        reason = NODE_UNSCHEDULABLE
    elif repelled is not None:
        reason = f"node(s) had untolerated taint {{{repelled['key']}: {repelled.get('value') or ''}}}"
    elif not suits:
        reason = NODE_AFFINITY
    preferred = sum(
        term.get("weight", 0) for term in constraints.preferred
        if matches_term(term["preference"], name, labels)
    )  # fmt: skip
    disliked = sum(
        1 for taint in taints if taint.get("effect") == "PreferNoSchedule"
        and not is_tolerated(taint, constraints.tolerations)
    )  # fmt: skip
    return Verdict(reason, suits, repelled is None, preferred, disliked)


def affinity_suits(constraints: Constraints, name: str, labels: Mapping[str, str]) -> bool:
    """Node selector and required node affinity."""
    if any(labels.get(key) != value for key, value in constraints.selector.items()):
        return False
    if constraints.required is None:
        return True
    return any(matches_term(term, name, labels) for term in constraints.required)


def matches_term(term: Document, name: str, labels: Mapping[str, str]) -> bool:
    """One node selector term: all its expressions and fields. A term that says nothing matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    # metadata.name is the only field that a term may name.
    return all(_matches(expression, labels) for expression in expressions) and all(
        field["key"] == "metadata.name" and _matches(field, {"metadata.name": name}) for field in fields
    )


def _matches(expression: Document, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _compare(value, values) == 1
        case "Lt":
            return _compare(value, values) == -1
    return False


def _compare(value: str | None, values: Sequence[str]) -> int | None:
    """-1, 0 or 1 as the label is below, at or above the one bound; None when they cannot be compared."""
    try:
        label, bound = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return None
    return (label > bound) - (label < bound)


def tolerates(toleration: Document, taint: Document) -> bool:
    """Whether one toleration covers one taint; empty key and effect cover all."""
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator") == "Exists":
        return True
    # Without a key only Exists is allowed; validation has seen to it.
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def is_tolerated(taint: Document, tolerations: Iterable[Document]) -> bool:
    return any(tolerates(toleration, taint) for toleration in tolerations)


def untolerated(
    taints: Iterable[Document], tolerations: Sequence[Document], effects: tuple[str, ...]
) -> Document | None:
    """The first taint with one of the effects that nothing tolerates."""
    for taint in taints:
        if taint.get("effect") in effects and not is_tolerated(taint, tolerations):
            return taint
    return None


def _tolerates_unschedulable(tolerations: Sequence[Document]) -> bool:
    return is_tolerated({"key": UNSCHEDULABLE_TAINT, "effect": "NoSchedule"}, tolerations)
