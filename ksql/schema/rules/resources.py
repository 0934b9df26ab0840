"""Rules of amounts: what containers and pods may ask for and be limited to, and how resources are called."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ksql.schema import names, quantities
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, forbidden, required, unknown, unsupported, wrong
from ksql.schema.rules.checks import NOT_NEGATIVE, complain

Structure = Mapping[str, Any]
NameRule = Callable[[str, str, list[Cause]], None]

STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")
POD_RESOURCES = ("cpu", "hugepages-", "memory")
COUNTED = frozenset(
    {
        "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets",
        "services", "services.loadbalancers", "services.nodeports",
    }
)  # fmt: skip
QUOTA_RESOURCES = COUNTED | {
    "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
    "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
}  # fmt: skip
KNOWN_RESOURCES = QUOTA_RESOURCES | {"storage"}
HUGE = "hugepages-"


def check_name(name: str, path: str, out: list[Cause]) -> bool:
    """A resource of any kind: well-known or qualified. Says whether it is."""
    if complaints := names.qualified(name):
        complain(path, name, complaints, out)
        return False
    if "/" not in name and name not in KNOWN_RESOURCES and not name.startswith((HUGE, "requests.hugepages-")):
        out.append(wrong(path, name, "must be a standard resource type or fully qualified"))
        return False
    return True


def check_container_name(name: str, path: str, out: list[Cause]) -> None:
    """A resource that containers have: compute, huge pages, devices."""
    check_name(name, path, out)
    if "/" not in name:
        if name not in STANDARD_RESOURCES and not name.startswith(HUGE):
            out.append(wrong(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        out.append(wrong(path, name, "doesn't follow extended resource name standard"))


def _check_pod_name(name: str, path: str, out: list[Cause]) -> None:
    if check_name(name, path, out) and name not in ("cpu", "memory") and not name.startswith(HUGE):
        out.append(unsupported(path, name, POD_RESOURCES))


def is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


@lru_cache(maxsize=names.REMEMBERED_MAX)
def is_extended(name: str) -> bool:
    """A device: its name must also do for a quota."""
    return not is_native(name) and not name.startswith("requests.") and not names.qualified(f"requests.{name}")


def check_quantity(name: str, amount: str, path: str, out: list[Cause]) -> None:
    """No debts; whole numbers of what is counted."""
    if amount[:1] == "-":
        out.append(wrong(path, amount, NOT_NEGATIVE))
    if (name in COUNTED or ("/" in name and is_extended(name))) and quantities.milli(amount) % 1000:
        out.append(wrong(path, amount, "must be an integer"))


def check_resources(resources: Structure, claims: Collection[str], path: str, out: list[Cause]) -> None:
    """Limits and requests of a container, and the claims of its pod that it uses."""
    _check(resources, check_container_name, claims, path, out)


def check_pod_resources(resources: Structure, path: str, out: list[Cause]) -> None:
    """Limits and requests of a whole pod."""
    if "claims" in resources:
        out.append(forbidden(f"{path}.claims", "claims may not be set for Resources at pod-level"))
    _check(resources, _check_pod_name, (), path, out)


def _check(resources: Structure, name_rule: NameRule, claims: Collection[str], path: str, out: list[Cause]) -> None:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, amount in limits.items():
        _check_one(name, amount, f"{path}.limits", name_rule, out)
    for name, amount in requests.items():
        _check_one(name, amount, f"{path}.requests", name_rule, out)
        limit = limits.get(name)
        if limit is None:
            if name not in STANDARD_RESOURCES and not _is_overcommitted(name):
                words = "Limit must be set for non overcommitable resources"
                out.append(required(f"{path}.limits", words))
        elif limit != amount:
            _check_limit(name, amount, limit, f"{path}.requests", out)
    names_given = limits.keys() | requests.keys()
    if (
        names_given
        and "cpu" not in names_given
        and "memory" not in names_given
        and any(name.startswith(HUGE) for name in names_given)
    ):
        out.append(forbidden(path, "HugePages require cpu or memory"))
    if "claims" in resources:
        _check_claims(resources["claims"] or (), claims, f"{path}.claims", out)


def _check_one(name: str, amount: str, path: str, name_rule: NameRule, out: list[Cause]) -> None:
    if name in STANDARD_RESOURCES and name_rule is check_container_name:
        if amount[:1] == "-":
            out.append(wrong(f"{path}[{name}]", amount, NOT_NEGATIVE))
        return
    where = f"{path}[{name}]"
    name_rule(name, where, out)
    check_quantity(name, amount, where, out)
    if name.startswith(HUGE) and not _is_divisible(name, amount):
        out.append(wrong(where, amount, f"{amount} is not positive integer multiple of {name}"))


def _is_divisible(name: str, amount: str) -> bool:
    try:
        page = quantities.parse(name.removeprefix(HUGE))
    except ValueError:
        return False
    if page.milli <= 0 or page.milli % 1000:
        return False
    return quantities.value(amount) % page.value == 0


def _is_overcommitted(name: str) -> bool:
    return is_native(name) and not name.startswith(HUGE)


def _check_limit(name: str, amount: str, limit: str, path: str, out: list[Cause]) -> None:
    order = _order(amount, limit)
    if order and not _is_overcommitted(name):
        out.append(wrong(path, amount, f"must be equal to {name} limit of {limit}"))
    elif order > 0:
        out.append(wrong(path, amount, f"must be less than or equal to {name} limit of {limit}"))


@lru_cache(maxsize=names.REMEMBERED_MAX)
def _order(amount: str, limit: str) -> int:
    return quantities.compare(amount, limit)


def _check_claims(used: Sequence[Structure], claims: Collection[str], path: str, out: list[Cause]) -> None:
    seen: set[str] = set()
    for index, claim in enumerate(used):
        name, request, where = claim.get("name", ""), claim.get("request", ""), f"{path}[{index}]"
        if not name:
            out.append(required(where))
            continue
        if name in seen:
            out.append(duplicate(where, name))
        else:
            key = name
            if request:
                complain(f"{where}.request", request, names.label_name(request), out)
                key = f"{name}/{request}"
            if key in seen:
                out.append(duplicate(where, key))
            elif not request:
                out += [duplicate(where, name) for one in sorted(seen) if one.partition("/")[0] == name]
            seen.add(key)
        if name not in claims:
            listed = f": {', '.join(sorted(claims))}" if claims else " which is empty"
            cause = unknown(where, name)
            words = f"must be one of the names in pod.spec.resourceClaims{listed}"
            out.append(Cause(cause.reason, f"{cause.message}: {words}", where))
