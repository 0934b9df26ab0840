"""Rules of where a pod may run: tolerations, affinity, node selectors, spreading."""

from collections.abc import Mapping, Sequence
from typing import Any

from ksql.schema import names
from ksql.schema.checks import one_of, selector
from ksql.schema.errors import Cause
from ksql.schema.faults import forbidden, required, unsupported, wrong

Structure = Mapping[str, Any]

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def check_tolerations(tolerations: Sequence[Structure], path: str, out: list[Cause]) -> None:
    for index, toleration in enumerate(tolerations):
        where = f"{path}[{index}]"
        key, operator, value = toleration.get("key"), toleration.get("operator"), toleration.get("value")
        if key:
            out += [wrong(f"{where}.key", key, text) for text in names.qualified(key)]
        elif operator != "Exists":
            words = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            out.append(wrong(f"{where}.operator", operator or "", words))
        if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
            words = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            out.append(wrong(f"{where}.effect", toleration.get("effect", ""), words))
        if operator in (None, "", "Equal"):
            out += [wrong(f"{where}.operator", value, text) for text in names.label_value(value or "")]
        elif operator == "Exists":
            if value:
                out.append(
                    wrong(f"{where}.operator", toleration, "value must be empty when `operator` is 'Exists'")
                )
        else:
            out.append(unsupported(f"{where}.operator", operator, ("Equal", "Exists")))
        one_of(toleration, where, "effect", EFFECTS, out)


def check_affinity(affinity: Structure, path: str, out: list[Cause]) -> None:
    node = affinity.get("nodeAffinity") or {}
    where = f"{path}.nodeAffinity"
    wanted = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    if wanted is not None:
        check_node_selector(wanted, f"{where}.requiredDuringSchedulingIgnoredDuringExecution", out)
    for index, term in enumerate(node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
        at = f"{where}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        _check_weight(term, at, out)
        _check_node_term(term.get("preference") or {}, f"{at}.preference", out)
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        where = f"{path}.{kind}"
        for index, term in enumerate(pods.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
            _check_pod_term(term, f"{where}.requiredDuringSchedulingIgnoredDuringExecution[{index}]", out)
        for index, term in enumerate(pods.get("preferredDuringSchedulingIgnoredDuringExecution") or ()):
            at = f"{where}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            _check_weight(term, at, out)
            _check_pod_term(term.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm", out)


def _check_weight(term: Structure, path: str, out: list[Cause]) -> None:
    if not 1 <= term.get("weight", 0) <= 100:
        out.append(wrong(f"{path}.weight", term.get("weight", 0), "must be in the range 1-100"))


def check_node_selector(wanted: Structure, path: str, out: list[Cause]) -> None:
    terms = wanted.get("nodeSelectorTerms") or ()
    if not terms:
        out.append(required(f"{path}.nodeSelectorTerms", "must have at least one node selector term"))
    for index, term in enumerate(terms):
        _check_node_term(term, f"{path}.nodeSelectorTerms[{index}]", out)


def _check_node_term(term: Structure, path: str, out: list[Cause]) -> None:
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator", ""), expression.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                out.append(
                    required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
                )
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                out.append(forbidden(f"{where}.values", words))
        elif operator in ("Gt", "Lt"):
            if len(values) != 1:
                words = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                out.append(required(f"{where}.values", words))
        else:
            out.append(wrong(f"{where}.operator", operator, "not a valid selector operator"))
        key = expression.get("key", "")
        out += [wrong(f"{where}.key", key, text) for text in names.qualified(key)]


def _check_pod_term(term: Structure, path: str, out: list[Cause]) -> None:
    if term.get("labelSelector"):
        selector(term["labelSelector"], f"{path}.labelSelector", out)
    if term.get("namespaceSelector"):
        selector(term["namespaceSelector"], f"{path}.namespaceSelector", out)
    key = term.get("topologyKey")
    if not key:
        out.append(required(f"{path}.topologyKey", "can not be empty"))
    else:
        out += [wrong(f"{path}.topologyKey", key, text) for text in names.qualified(key)]


def check_spread(constraints: Sequence[Structure], path: str, out: list[Cause]) -> None:
    for index, constraint in enumerate(constraints):
        where = f"{path}[{index}]"
        skew = constraint.get("maxSkew", 0)
        if skew <= 0:
            out.append(wrong(f"{where}.maxSkew", skew, "must be greater than zero"))
        if not constraint.get("topologyKey"):
            out.append(required(f"{where}.topologyKey", "can not be empty"))
        choice = constraint.get("whenUnsatisfiable", "")
        if choice not in ("DoNotSchedule", "ScheduleAnyway"):
            out.append(unsupported(f"{where}.whenUnsatisfiable", choice, ("DoNotSchedule", "ScheduleAnyway")))
        if constraint.get("labelSelector"):
            selector(constraint["labelSelector"], f"{where}.labelSelector", out)
